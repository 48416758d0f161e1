/* cancel.c - the intent first, durably; then whatever of the job is alive is stopped. */
#include <string.h>

#include "base/mem.h"
#include "engine/serve.h"

struct asking {
  engine_done *done;
  void *context;
  struct engine *engine;
  char *job;
  bool holds; /* the job it asks about waits for the answer */
};

static void asking_answer(struct asking *asking, const struct error *e) {
  if (asking->done) asking->done(asking->context, e);
  free(asking->job);
  free(asking);
}

static struct asking *asking_new(struct engine *engine, const char *job, engine_done *done, void *context) {
  struct asking *asking = mem_alloc(sizeof *asking);
  *asking = (struct asking){done, context, engine, mem_text(job), false};
  return asking;
}

static struct value *cancelled_body(const struct job_record *job, const struct stage_list *stages) {
  struct value *body = value_map(), *published = value_list();
  for (size_t i = 0; i < stages->count; i++)
    if (stages->items[i].status == STAGE_FINISHED) value_list_add(published, value_text(stages->items[i].stage));
  value_set_int(body, "attempt", job->attempt);
  value_set_int(body, "maxAttempts", job->max_attempts);
  value_map_set(body, "published", published);
  job_tags(body, job);
  return body;
}

/* Moves the stages that are still open to the front, cancelled; SIZE_MAX: one of them is being published. */
static size_t cancelled_stages(struct stage_list *stages, int64_t now_us) {
  size_t open = 0;
  for (size_t i = 0; i < stages->count; i++) {
    if (stages->items[i].status == STAGE_PUBLISHING) return SIZE_MAX;
    if (stage_status_is_terminal(stages->items[i].status)) continue;
    struct stage_record swap = stages->items[open];
    stages->items[open] = stages->items[i];
    stages->items[i] = swap;
    stages->items[open].status = STAGE_CANCELLED;
    stages->items[open].ended_us = now_us;
    stages->items[open++].fence = 0; /* keep */
  }
  return open;
}

static void cancel_ended(void *context, const struct commit *commit) {
  struct engine *engine = context;
  if (engine->closing || commit->status) return;
  engine_tell_commit(engine, commit);
  serve_place_id(engine, commit->job);
}

/* Without a crew nothing of the job is alive and nothing can be started: it ends here, unless files are still on their way
 * to the output folder; then whoever runs it next finds the intent. */
static void engine_cancel_at_rest(struct engine *engine, const char *id) {
  struct stage_list stages = {0};
  struct job_record job = {0};
  if (store_job(engine->store, id, &job, NULL) || store_stages(engine->store, id, &stages, NULL)) {
    job_record_clear(&job);
    return;
  }
  value_auto struct value *body = cancelled_body(&job, &stages);
  struct buf json = {0};
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct job_record values = {.status = JOB_CANCELLED, .ended_us = clock_wall(loop_clock(engine->loop))};
  size_t open = cancelled_stages(&stages, values.ended_us);
  struct event_draft event = {"cancelled", buf_string(&json)};
  struct change change = {.job = id, .job_fields = JOB_SET_STATUS | JOB_SET_ENDED | JOB_SET_WAIT_REASON,
                          .job_values = &values, .stages = stages.items, .stage_count = open, .events = &event,
                          .event_count = 1};
  if (open != SIZE_MAX) store_change(engine->store, &change, cancel_ended, engine);
  buf_free(&json);
  stage_list_clear(&stages);
  job_record_clear(&job);
}

static void engine_cancel_trials(struct job *job, bool again) {
  for (struct trial *trial = job->trials, *next; trial; trial = next) {
    next = trial->next;
    if (again && trial->late_stages) continue; /* `always` stages of a cancelled job may finish */
    if (trial->attempt) attempt_cancel(trial->attempt, false);
    trial_settle(trial); /* those that were only waiting for this answer */
  }
}

/* A job that never began has nothing to clean up: it need not be brought into memory for that. */
static bool cancel_is_at_rest(struct engine *engine, const char *id) {
  struct job_record record = {0};
  struct job *job = job_find(engine, id);
  if (!engine->crew) return true;
  if (!engine->serving || (job && !job->doomed) || store_job(engine->store, id, &record, NULL)) return false;
  bool fresh = !record.started_us && record.round == 1;
  job_record_clear(&record);
  return fresh;
}

static void engine_cancel_stored(void *context, const struct commit *commit) {
  struct asking *asking = context;
  struct engine *engine = asking->engine;
  struct job *job = job_find(engine, asking->job);
  struct error e = commit->error;
  e.code = commit->status;
  if (!e.code) engine_tell_commit(engine, commit);
  if (asking->holds && job && job->cancelling) job->cancelling--;
  if (!e.code && !engine->closing && cancel_is_at_rest(engine, asking->job)) {
    serve_leave(engine, asking->job);
    engine_cancel_at_rest(engine, asking->job);
  } else if (!e.code && !engine->closing && !job_open(engine, asking->job, &job, &e)) {
    job->record.cancel_requested = true;
    job_recover(job);
    engine_cancel_trials(job, commit->existed);
  }
  if (job && !engine->closing) job_wake(job);
  asking_answer(asking, &e);
}

/* While the request is on its way to disk nothing of the job is finished: what is committed after it comes after it. */
void engine_cancel(struct engine *engine, const char *id, engine_done *done, void *context) {
  struct asking *asking = asking_new(engine, id, done, context);
  struct job *job = job_find(engine, id);
  asking->holds = job && !job->doomed;
  if (asking->holds) job->cancelling++;
  store_request_cancel(engine->store, id, NULL, 0, engine_cancel_stored, asking);
}
