/* run.c - a pass from its prologue to the last verdict. */
#include <errno.h>
#include <libavutil/mathematics.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "media/graph.h"

enum { POLL_MS = 50 };

/* Waits for the next change of a phase, not longer than a moment; looks after cancellation meanwhile. pass.lock held.
 */
static void wait_a_moment(struct pass *pass) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += POLL_MS * 1000000l;
  if (until.tv_nsec >= 1000000000l) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000l;
  }
  pthread_cond_timedwait(&pass->changed, &pass->lock, &until);
  if (pass->stopping) return;
  pthread_mutex_unlock(&pass->lock);
  if (pass->c->cancelled(pass->c)) pass_cancel(pass);
  else stages_check_time(pass);
  pthread_mutex_lock(&pass->lock);
}

static enum stage_phase wait_phase(struct stage *stage, enum stage_phase from) {
  struct pass *pass = stage->pass;
  pthread_mutex_lock(&pass->lock);
  while (stage->phase == from) wait_a_moment(pass);
  enum stage_phase phase = stage->phase;
  pthread_mutex_unlock(&pass->lock);
  return phase;
}

/* ---- prologue ---- */

/* Opens a stage behind the filters it depends on. */
static void open_stage(struct pass *pass, struct stage *stage, int depth) {
  if (!stage->active || stage->phase != STAGE_IDLE || stage->dropped || depth > UNIT_STAGES_MAX) return;
  for (uint32_t i = 0; i < stage->spec->link_count; i++) {
    int32_t from = stage->spec->links[i].from_stage;
    if (from >= 0 && (uint32_t)from < pass->stage_count) open_stage(pass, &pass->stages[from], depth + 1);
  }
  if (pass_stopping(pass) || !stage_start_thread(stage)) return;
  stage_ask(stage, STAGE_OPENING);
  wait_phase(stage, STAGE_OPENING);
}

static void open_stages(struct pass *pass, bool late) {
  for (uint32_t i = 0; i < pass->stage_count && !pass_stopping(pass); i++)
    if (pass->stages[i].late == late) open_stage(pass, &pass->stages[i], 0);
}

static bool feeds_a_stage(struct pass *pass, const struct stage *filter) {
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    const struct stage *stage = &pass->stages[i];
    for (uint32_t k = 0; stage->active && !stage->dropped && k < stage->spec->link_count; k++)
      if (stage->spec->links[k].from_stage == filter->index) return true;
  }
  return false;
}

/* A dropped filter whose consumers stay (the engine does not ask for that) lets its frames pass. */
static void apply_drops(struct pass *pass, const struct value *go) {
  const struct value *drop = go ? value_get(go, "drop") : NULL;
  for (size_t i = 0; drop && i < drop->count; i++) {
    int64_t index = drop->items[i]->integer;
    if (index >= 0 && index < pass->stage_count) pass->stages[index].dropped = true;
  }
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    struct stage *stage = &pass->stages[i];
    if (!stage->dropped || !stage->active) continue;
    if (stage_is_filter(stage) && feeds_a_stage(pass, stage)) {
      if (stage->opened)
        stage->passing = true;
      else
        stage->bypassed = true;
    } else if (stage->has_thread) {
      stage_ask(stage, STAGE_LEAVING);
      wait_phase(stage, STAGE_LEAVING);
    }
  }
}

static struct value *facts_of(struct pass *pass) {
  static const char *const methods[] = {"unknown", "unknown", "header", "scan"};
  const sm_source *info = &pass->origin->info;
  struct value *facts = value_map(), *source = value_map();
  value_set_text(source, "container", info->container);
  value_set_text(source, "name", info->name);
  value_set_bool(source, "seekable", info->seekable);
  if (pass->origin->facts) pass->origin->facts(pass->origin, source);
  value_map_set(facts, "source", source);
  struct value *duration = info->duration_us > 0 ? value_of(VALUE_DURATION, info->duration_us, 0) : value_null();
  value_map_set(facts, "duration", duration);
  value_set_text(facts, "method", methods[info->duration_method & 3]);
  return facts;
}

static bool any_left(struct pass *pass) {
  for (uint32_t i = 0; i < pass->stage_count; i++)
    if (pass->stages[i].active && !pass->stages[i].dropped && pass->stages[i].phase != STAGE_ENDED) return true;
  return false;
}

static void prologue(struct pass *pass) {
  struct value *go = NULL;
  struct error e = {0};
  open_stages(pass, false);
  if (pass_stopping(pass) || !any_left(pass)) return;
  struct value *facts = facts_of(pass);
  enum err err = pass->c->opened(pass->c, facts, &go, &e);
  value_free(&facts);
  if (err == ERR_OK) {
    apply_drops(pass, go);
    open_stages(pass, true);
  } else if (err == ERR_CANCELLED || err == ERR_LOST) {
    pass_cancel(pass);
  } else {
    pass_fault(pass, FAULT_SOURCE, SM_RETRY, e.debug, "the engine did not answer when the source was open: %s",
               e.message);
  }
  value_free(&go);
}

/* ---- flow ---- */

static bool start_origin(struct pass *pass) {
  int64_t *times_us;
  bool nearest, started;
  uint32_t count = graph_times(pass, &times_us, &nearest);
  if (count)
    started = pass->origin->start_seeking(pass, pass->origin, times_us, count, nearest);
  else
    started = pass->origin->start(pass, pass->origin);
  free(times_us);
  return started;
}

static void start(struct pass *pass) {
  if (pass_stopping(pass)) return;
  if (!pass->origin->join_graph(pass, pass->origin)) return;
  graph_connect(pass);
  if (!convert_start(pass) || !start_origin(pass)) return;
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    if (!pass->stages[i].node) continue;
    pass->stages[i].released = true;
    stage_ask(&pass->stages[i], STAGE_RUNNING);
  }
}

/* false: it hangs beyond its time-out, and its thread is left behind. */
static bool await_end(struct pass *pass, struct stage *stage) {
  bool abandoned = false;
  pthread_mutex_lock(&pass->lock);
  while (stage->phase != STAGE_ENDED && !abandoned) {
    wait_a_moment(pass);
    pthread_mutex_unlock(&pass->lock);
    abandoned = stage_abandon(stage);
    pthread_mutex_lock(&pass->lock);
  }
  pthread_mutex_unlock(&pass->lock);
  return !abandoned;
}

/* Every stage that has a thread comes to its end; those that never ran are told to leave. */
static void collect(struct pass *pass) {
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    struct stage *stage = &pass->stages[i];
    if (!stage->has_thread) continue;
    if (!stage->released) stage_ask(stage, STAGE_LEAVING);
  }
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    struct stage *stage = &pass->stages[i];
    if (!stage->has_thread) continue;
    if (await_end(pass, stage)) pthread_join(stage->thread, NULL);
  }
}

/* Stages that got no thread: filters whose sinks are all done, or what a fault left behind. */
static void remaining_verdicts(struct pass *pass) {
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    struct stage *stage = &pass->stages[i];
    if (stage->dropped || stage->abandoned || stage->verdict_sent || (!stage->active && stage->spec->done)) continue;
    bool broken = !stage->ops && !pass_stopping(pass);
    if (broken) pass->c->blame(pass->c, stage->index, SM_FAIL, "this stage brings nothing that works on frames", NULL);
    stage_verdict(stage, broken ? SM_FAIL : stage->active ? SM_CANCELLED : SM_OK);
  }
}

static sm_status outcome(struct pass *pass) {
  bool cancelled = false;
  if (pass->stopping) return pass->fault;
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    const struct stage *stage = &pass->stages[i];
    if (stage->dropped || stage->abandoned) continue;
    cancelled |= stage->verdict == SM_CANCELLED && stage->verdict_sent;
  }
  return cancelled ? SM_CANCELLED : SM_OK;
}

static void pass_free(struct pass *pass) {
  for (uint32_t i = 0; i < pass->origin->count; i++) outlet_free(&pass->origin->streams[i].out);
  for (uint32_t i = 0; i < pass->stage_count; i++) stage_free(&pass->stages[i]);
  convert_free(pass);
  flow_destroy(&pass->flow);
  free(pass->stages);
  pthread_mutex_destroy(&pass->lock);
  pthread_cond_destroy(&pass->changed);
  free(pass);
}

sm_status pass_run(struct pass_context *c, struct origin *origin, struct value *stats) {
  struct pass *pass = mem_alloc(sizeof *pass);
  *pass = (struct pass){.c = c, .origin = origin, .culprit = FAULT_NONE, .tuning = tuning_read(),
                        .begun_us = clock_boot(&clock_system)};
  pthread_mutex_init(&pass->lock, NULL);
  pthread_cond_init(&pass->changed, NULL);
  flow_init(&pass->flow);
  graph_stages(pass);
  for (uint32_t i = 0; i < pass->stage_count; i++) stage_host_init(&pass->stages[i]);
  prologue(pass);
  if (any_left(pass)) start(pass);
  collect(pass);
  flow_close(&pass->flow);
  convert_wait(pass);
  if (origin->wait) origin->wait(origin);
  remaining_verdicts(pass);
  if (origin->stats) origin->stats(origin, stats);
  sm_status status = outcome(pass);
  if (!origin->abandoned) pass_free(pass);
  return status;
}
