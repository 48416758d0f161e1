/* service.c - how threads that answer requests ask the loop's thread, to which the engine belongs.
 *
 * An ask is shared by the waiting thread and the loop: whoever lets go last frees it. At shutdown nothing new begins,
 * what had begun is answered by the engine as ever, and only what stays without an answer beyond a limit is given up.
 */
#include "service/service.h"

#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { ASKS_MAX = 256 };

enum ask_stage { ASK_POSTED = 1, ASK_BEGUN, ASK_ANSWERED };

struct ask {
  struct ask *next, **link; /* in asks->list until it is answered */
  struct asks *asks;
  enum ask_stage stage;
  unsigned references; /* the waiting thread, and the loop until service_answer or the refusal */
  service_begin *begin;
  void *context;
  struct error error;
  struct value *value;
  pthread_cond_t answered;
};

struct asks {
  pthread_mutex_t lock; /* guards all of it and every ask; never held while calling out */
  struct ask *list;
  struct ask *refused; /* answered before the loop got to them, which it may never do again */
  unsigned count;
  bool stopping;
  struct loop *loop;
  loop_fn *quiet; /* of service_stop */
  void *context;
  struct loop_timer *limit;
};

/* ---- under the lock ---------------------------------------------------------------------------------------------- */

static void ask_unref(struct ask *ask) {
  if (--ask->references) return;
  value_free(&ask->value);
  pthread_cond_destroy(&ask->answered);
  free(ask);
}

static void ask_unlink(struct ask *ask) {
  *ask->link = ask->next;
  if (ask->next) ask->next->link = ask->link;
}

static void ask_link(struct ask *ask, struct ask **list) {
  ask->next = *list;
  ask->link = list;
  if (ask->next) ask->next->link = &ask->next;
  *list = ask;
}

static void ask_settle(struct ask *ask, const struct error *e, struct value *moved) {
  if (e) ask->error = *e;
  ask->value = moved;
  ask->stage = ASK_ANSWERED;
  ask_unlink(ask);
  ask->asks->count--;
  pthread_cond_signal(&ask->answered);
}

static void ask_refuse(struct ask *ask) {
  struct error e = {0};
  bool posted = ask->stage == ASK_POSTED;
  error_set(&e, ERR_BUSY, "the daemon is stopping: ask again when it is back");
  ask_settle(ask, &e, NULL);
  if (posted) ask_link(ask, &ask->asks->refused);
}

/* ---- the waiting side -------------------------------------------------------------------------------------------- */

static void ask_begin(void *context);

static struct ask *ask_new(struct asks *asks, service_begin *begin, void *context) {
  struct ask *ask = mem_alloc(sizeof *ask);
  *ask = (struct ask){.asks = asks, .stage = ASK_POSTED, .references = 2, .begin = begin, .context = context};
  pthread_cond_init(&ask->answered, NULL);
  ask_link(ask, &asks->list);
  asks->count++;
  return ask;
}

enum err service_ask(struct service *service, service_begin *begin, void *context, struct value **answer,
                     struct error *e) {
  struct asks *asks = service->asks;
  enum err err = ERR_OK;
  if (answer) *answer = NULL;
  pthread_mutex_lock(&asks->lock);
  if (asks->stopping)
    err = error_set(e, ERR_BUSY, "the daemon is stopping: ask again when it is back");
  else if (asks->count >= ASKS_MAX)
    err = error_set(e, ERR_BUSY, "%d requests wait for the engine already: ask again in a moment", ASKS_MAX);
  if (!err) {
    struct ask *ask = ask_new(asks, begin, context);
    loop_post(asks->loop, ask_begin, ask);
    while (ask->stage != ASK_ANSWERED) pthread_cond_wait(&ask->answered, &asks->lock);
    err = ask->error.code;
    if (e) *e = ask->error;
    if (answer && !err) *answer = ask->value, ask->value = NULL;
    ask_unref(ask);
  }
  pthread_mutex_unlock(&asks->lock);
  return err;
}

/* ---- the loop's side --------------------------------------------------------------------------------------------- */

static void asks_quiet(struct asks *asks) {
  loop_fn *quiet = asks->quiet;
  asks->quiet = NULL;
  loop_cancel(asks->loop, &asks->limit);
  if (quiet) quiet(asks->context);
}

static void ask_begin(void *context) {
  struct ask *ask = context;
  struct asks *asks = ask->asks;
  pthread_mutex_lock(&asks->lock);
  bool refused = ask->stage == ASK_ANSWERED; /* while it was on its way here: its context is gone */
  if (refused) {
    ask_unlink(ask);
    ask_unref(ask);
  } else {
    ask->stage = ASK_BEGUN;
  }
  pthread_mutex_unlock(&asks->lock);
  if (!refused) ask->begin(ask->context, ask);
}

void service_answer(struct ask *ask, const struct error *e, struct value *moved) {
  struct asks *asks = ask->asks;
  pthread_mutex_lock(&asks->lock);
  if (ask->stage == ASK_BEGUN)
    ask_settle(ask, e, moved);
  else
    value_free(&moved); /* given up meanwhile */
  ask_unref(ask);
  bool quiet = asks->stopping && !asks->count && asks->quiet;
  pthread_mutex_unlock(&asks->lock);
  if (quiet) asks_quiet(asks);
}

void service_answer_done(void *ask, const struct error *e) { service_answer(ask, e, NULL); }

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

void service_open(struct service *service) {
  struct asks *asks = mem_alloc(sizeof *asks);
  pthread_mutex_init(&asks->lock, NULL);
  asks->loop = service->loop;
  service->asks = asks;
}

static void asks_refuse(struct asks *asks, enum ask_stage stage) {
  for (struct ask *ask = asks->list, *next; ask; ask = next) {
    next = ask->next;
    if (ask->stage == stage) ask_refuse(ask);
  }
}

static void asks_give_up(void *context) {
  struct asks *asks = context;
  asks->limit = NULL;
  pthread_mutex_lock(&asks->lock);
  unsigned count = asks->count;
  asks_refuse(asks, ASK_BEGUN);
  pthread_mutex_unlock(&asks->lock);
  if (count) log_warning("%u request%s got no answer from the engine in time", count, count == 1 ? "" : "s");
  asks_quiet(asks);
}

void service_stop(struct service *service, int64_t limit_us, loop_fn *quiet, void *context) {
  struct asks *asks = service->asks;
  asks->quiet = quiet;
  asks->context = context;
  pthread_mutex_lock(&asks->lock);
  asks->stopping = true;
  asks_refuse(asks, ASK_POSTED);
  bool idle = !asks->count;
  pthread_mutex_unlock(&asks->lock);
  asks->limit = loop_after(asks->loop, idle ? 0 : limit_us, asks_give_up, asks);
}

void service_close(struct service *service) {
  struct asks *asks = service->asks;
  if (!asks) return;
  service->asks = NULL;
  while (asks->refused) {
    struct ask *ask = asks->refused;
    ask_unlink(ask);
    ask_unref(ask);
  }
  pthread_mutex_destroy(&asks->lock);
  free(asks);
}
