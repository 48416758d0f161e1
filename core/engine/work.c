/* work.c - blocking work beside the loop: hashing, moving, syncing, removing. Everything on its way is on the engine's
 * list, so that an engine that ends frees what its loop will never hear of again. */
#include "base/mem.h"
#include "engine/job.h"

struct work {
  struct work *next;
  struct engine *engine;
  loop_fn *run, *done, *drop;
  void *context;
  struct loop_timer *timer; /* it waits for its next try; NULL: the pool has it */
};

static void work_unlink(struct work *w) {
  struct work **at = &w->engine->works;
  while (*at != w) at = &(*at)->next;
  *at = w->next;
}

static void work_run(void *context) {
  struct work *w = context;
  w->run(w->context);
}

static void work_done(void *context) {
  struct work *w = context;
  loop_fn *done = w->done;
  void *with = w->context;
  work_unlink(w);
  free(w);
  done(with);
}

static void work_due(void *context) {
  struct work *w = context;
  w->timer = NULL;
  pool_submit(w->engine->pool, work_run, work_done, w);
}

void work_later(struct engine *engine, int64_t delay_us, loop_fn *run, loop_fn *done, loop_fn *drop, void *context) {
  if (engine->closing) {
    drop(context);
    return;
  }
  struct work *w = mem_alloc(sizeof *w);
  *w = (struct work){engine->works, engine, run, done, drop, context, NULL};
  engine->works = w;
  if (delay_us > 0)
    w->timer = loop_after(engine->loop, delay_us, work_due, w);
  else
    work_due(w);
}

void work_submit(struct engine *engine, loop_fn *run, loop_fn *done, loop_fn *drop, void *context) {
  work_later(engine, 0, run, done, drop, context);
}

bool work_is_quiet(const struct engine *engine) {
  for (const struct work *w = engine->works; w; w = w->next)
    if (!w->timer) return false;
  return true;
}

/* The pool's threads are joined: nothing here runs any more, and no `done` will be heard. */
void work_drop_all(struct engine *engine) {
  while (engine->works) {
    struct work *w = engine->works;
    engine->works = w->next;
    loop_cancel(engine->loop, &w->timer);
    w->drop(w->context);
    free(w);
  }
}
