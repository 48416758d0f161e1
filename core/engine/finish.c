/* finish.c - the end of a job: its result, OUT/job.json, the terminal transition. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/draft.h"
#include "engine/serve.h"

enum { ENDING_TRIES = 5, ENDING_RETRY_US = 1000 * 1000 };

/* ---- job.json --------------------------------------------------------------------------------------------------- */

struct value *finish_json(const char *json) {
  struct value *v = NULL;
  if (!json || value_from_json(json, strlen(json), &v, NULL)) return value_null();
  return v;
}

static void summary_time(struct value *map, const char *key, int64_t wall_us) {
  char text[32];
  if (wall_us) value_set_text(map, key, clock_format(wall_us, text));
}

static void summary_artifacts(const struct job *job, size_t index, struct value *list) {
  const struct manifest *manifest = job->stages[index].manifest;
  if (job->stages[index].record.status != STAGE_FINISHED) return;
  for (size_t i = 0; manifest && i < manifest->count; i++) {
    const struct artifact *a = &manifest->items[i];
    struct value *item = value_map();
    mem_auto char *path = mem_format("%s/%s", job->pipeline->stages[index].id, a->name);
    value_set_text(item, "stage", job->pipeline->stages[index].id);
    value_set_text(item, "port", a->port);
    value_set_text(item, "path", path);
    value_set_int(item, "bytes", a->size_bytes);
    value_set_text(item, "sha256", a->sha256);
    value_set_text(item, "mediaType", a->media_type);
    if (a->metadata_json) value_map_set(item, "metadata", finish_json(a->metadata_json));
    value_list_add(list, item);
  }
}

static struct value *summary_stage(const struct job *job, size_t index) {
  const struct job_stage *stage = &job->stages[index];
  struct value *v = value_map();
  value_set_text(v, "id", job->pipeline->stages[index].id);
  value_set_text(v, "uses", job->pipeline->stages[index].uses);
  value_set_text(v, "status", stage_status_word(stage->record.status));
  value_set_int(v, "attempts", stage->record.tries);
  if (stage->record.reason) value_set_text(v, "reason", stage->record.reason);
  if (stage->record.error_json) value_map_set(v, "error", finish_json(stage->record.error_json));
  summary_time(v, "startedAt", stage->record.started_us);
  summary_time(v, "endedAt", stage->record.ended_us);
  if (stage->record.ended_us && stage->record.started_us)
    value_set_int(v, "durationMs", (stage->record.ended_us - stage->record.started_us) / 1000);
  value_map_set(v, "results", stage->results ? value_copy(stage->results) : value_null());
  return v;
}

static void summary_attempts(const struct job *job, struct value *summary) {
  struct attempt_list attempts = {0};
  struct value *list = value_list();
  int64_t video_frames = 0;
  store_attempts(job->engine->store, job->id, &attempts, NULL);
  for (size_t i = 0; i < attempts.count; i++) {
    const struct attempt_record *a = &attempts.items[i];
    struct value *item = value_map(), *stats = finish_json(a->stats_json);
    value_set_text(item, "stages", a->stages);
    value_set_int(item, "fence", (int64_t)a->fence);
    value_set_text(item, "outcome", a->outcome ? a->outcome : "running");
    if (a->stage_at_fault) value_set_text(item, "stageAtFault", a->stage_at_fault);
    if (a->error_json) value_map_set(item, "error", finish_json(a->error_json));
    summary_time(item, "startedAt", a->started_us);
    summary_time(item, "endedAt", a->ended_us);
    video_frames += value_get_int(stats, "decodedVideoFrames", 0);
    value_map_set(item, "stats", stats);
    value_list_add(list, item);
  }
  attempt_list_clear(&attempts);
  value_map_set(summary, "attempts", list);
  value_set_int(summary, "decodedFrames", video_frames);
}

static struct value *summary_make(const struct job *job, enum job_status status, const struct value *result,
                                  const char *error_json) {
  struct value *v = value_map(), *stages = value_list(), *artifacts = value_list();
  int64_t now_us = clock_wall(loop_clock(job->engine->loop));
  value_set_text(v, "jobId", job->id);
  value_set_text(v, "pipeline", job->pipeline->name);
  value_set_text(v, "pipelineDigest", job->pipeline->digest);
  value_set_text(v, "status", job_status_word(status));
  value_set_text(v, "input", job->input);
  value_map_set(v, "params", value_copy(job->params));
  value_set_int(v, "round", job->record.round);
  summary_time(v, "queuedAt", job->record.created_us);
  summary_time(v, "startedAt", job->record.started_us);
  summary_time(v, "endedAt", now_us);
  if (job->record.started_us) value_set_int(v, "durationMs", (now_us - job->record.started_us) / 1000);
  value_map_set(v, "result", result ? value_copy(result) : value_null());
  value_map_set(v, "error", finish_json(error_json));
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    value_list_add(stages, summary_stage(job, i));
    summary_artifacts(job, i, artifacts);
  }
  value_map_set(v, "stages", stages);
  value_map_set(v, "artifacts", artifacts);
  summary_attempts(job, v);
  return v;
}

/* ---- putting it in its place: written before the job ends, visible once the end is on disk ------------------------ */

/* Beside the attempts: there until the job has ended, then renamed to OUT/job.json, then gone with the folder. */
static char *summary_draft_path(const char *output_folder, const char *job) {
  return mem_format("%s/.stagemill/%s/job.json", output_folder, job);
}

static void summary_show(const char *output_folder, const char *job) {
  mem_auto char *from = summary_draft_path(output_folder, job), *to = mem_format("%s/job.json", output_folder);
  if (rename(from, to) != 0 && errno != ENOENT) log_error("job %s: cannot write %s: %s", job, to, strerror(errno));
}

void summary_settle(const char *output_folder, const char *job) {
  mem_auto char *folder = mem_format("%s/.stagemill/%s", output_folder, job);
  if (access(folder, F_OK) != 0) return;
  summary_show(output_folder, job);
  fs_sync_folder(output_folder, NULL);
  fs_remove_path(folder, NULL);
}

struct ending { /* a job on its way to its end */
  struct job *job;
  struct draft *draft;
  enum job_status status;
  char *path, *old, *text;
  struct error e;
  unsigned tries;
};

static void ending_work(void *context) {
  struct ending *n = context;
  mem_auto char *folder = mem_text_n(n->path, (size_t)(fs_base_name(n->path) - n->path - 1));
  memset(&n->e, 0, sizeof n->e);
  if (fs_make_folders(folder, 0755, &n->e)) return;
  fs_write_durably(n->path, n->text, strlen(n->text), 0644, &n->e);
}

static void ending_drop(void *context) {
  struct ending *n = context;
  free(n->path);
  free(n->old);
  free(n->text);
  free(n);
}

static void finish_show(struct job *job) { summary_show(job->output_folder, job->id); }

static void finish_committed(struct job *job, const struct commit *commit, void *context) {
  (void)context;
  if (commit->status) return; /* refused: what is true now decides what comes next */
  struct engine *engine = job->engine;
  publish_remove(engine, attempt_folder(job, 0));
  turn_return(engine, job->id);
  job_drop(job);
  engine_wake_all(engine);
}

/* The result is in the store whether or not the summary can be written; a stale one of an earlier job must not stand for
 * it. */
static void ending_without_summary(const struct ending *n) {
  log_error("job %s: its summary is missing: %s", n->job->id, n->e.message);
  unlink(n->path);
  unlink(n->old);
}

static void ending_done(void *context) {
  struct ending *n = context;
  struct job *job = n->job;
  if (n->e.code && ++n->tries < ENDING_TRIES) {
    work_later(job->engine, ENDING_RETRY_US, ending_work, ending_done, ending_drop, n);
    return;
  }
  job->committing--; /* the draft counts itself */
  if (job->cancelling || (job->record.cancel_requested && n->status != JOB_CANCELLED)) {
    draft_discard(n->draft); /* a request to cancel came first: it ends otherwise */
    ending_drop(n);
    job_wake(job);
    return;
  }
  if (n->e.code) ending_without_summary(n);
  draft_before_telling(n->draft, finish_show);
  draft_commit(n->draft, finish_committed, NULL);
  ending_drop(n);
}

/* job.json first, durably but out of sight, then the terminal transition, then the place where people look. */
static void finish_end(struct job *job, enum job_status status, const struct value *result, const char *error_json,
                       struct draft *d) {
  value_auto struct value *v = summary_make(job, status, result, error_json);
  struct ending *n = mem_alloc(sizeof *n);
  struct buf text = {0};
  secret_scrub(v);
  value_json(&text, v, VALUE_JSON_PRETTY);
  buf_char(&text, '\n');
  n->job = job;
  n->status = status;
  n->draft = d;
  n->path = summary_draft_path(job->output_folder, job->id);
  n->old = mem_format("%s/job.json", job->output_folder);
  n->text = buf_take(&text);
  job->committing++;
  work_submit(job->engine, ending_work, ending_done, ending_drop, n);
}

/* ---- the terminal transition -------------------------------------------------------------------------------------- */

/* Failed attempts that were followed by another one. */
static uint32_t finish_retries(const struct job *job) {
  uint32_t sum = 0;
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    const struct stage_record *record = &job->stages[i].record;
    sum += record->status == STAGE_SOFT_FAILED && record->attempts ? record->attempts - 1 : record->attempts;
  }
  return sum;
}

static int64_t finish_took_ms(const struct job_record *values) {
  return values->ended_us > values->started_us ? (values->ended_us - values->started_us) / 1000 : 0;
}

static struct job_record *finish_begin(struct job *job, struct draft *d, enum job_status status) {
  struct job_record *values = draft_job(d, JOB_SET_STATUS | JOB_SET_ENDED | JOB_SET_WAIT_REASON);
  values->status = status;
  values->ended_us = clock_wall(loop_clock(job->engine->loop));
  values->wait_reason = NULL;
  if (!values->started_us) values->started_us = values->ended_us;
  return values;
}

static struct value *finish_result(struct job *job, struct error *e) {
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  struct scope scope = plan_scope(&state);
  struct value *result = NULL;
  if (pipeline_result(job->pipeline, &scope, &result, e)) {
    log_warning("job %s: result: %s", job->id, e->message);
    result = value_map();
  }
  free(steps);
  return result;
}

/* A result that no event can carry stands in job.json alone. */
static struct value *finish_carried(const struct value *result) {
  struct buf text = {0};
  value_json(&text, result, VALUE_JSON_COMPACT);
  bool fits = text.size <= RESULTS_BYTES_MAX;
  buf_free(&text);
  return fits ? value_copy(result) : value_null();
}

static void finish_completed(struct job *job) {
  struct error e = {0};
  value_auto struct value *result = finish_result(job, &e);
  value_auto struct value *carried = finish_carried(result);
  struct draft *d = draft_new(job, 0);
  struct job_record *values = finish_begin(job, d, JOB_COMPLETED);
  draft_job(d, JOB_SET_RESULT | JOB_SET_PCT);
  values->pct_ppm = 1000000;
  values->result_json = draft_json(d, carried);
  struct value *body = value_map();
  value_map_set(body, "result", value_copy(carried));
  if (value_is_null(carried)) value_set_text(body, "resultIn", "job.json");
  if (e.code) value_set_text(body, "warning", e.message);
  value_set_int(body, "durationMs", finish_took_ms(values));
  value_set_int(body, "retries", finish_retries(job));
  draft_event(d, "completed", body);
  finish_end(job, JOB_COMPLETED, result, NULL, d);
}

static void finish_failed(struct job *job, size_t stage) {
  const struct stage_record *record = &job->stages[stage].record;
  struct draft *d = draft_new(job, 0);
  struct job_record *values = finish_begin(job, d, JOB_FAILED);
  value_auto struct value *error = finish_json(record->error_json);
  draft_job(d, JOB_SET_ERROR | JOB_SET_ATTEMPT);
  values->error_json = draft_json(d, error);
  values->attempt = record->attempts ? record->attempts : 1;
  values->max_attempts = job->pipeline->stages[stage].retry.attempts;
  struct value *body = value_map();
  value_set_text(body, "stage", record->stage);
  value_set_text(body, "error", value_get_text(error, "message", "the stage failed"));
  value_set_text(body, "code", value_get_text(error, "code", "internal"));
  value_set_int(body, "totalAttempts", values->attempt);
  draft_event(d, "failed", body);
  finish_end(job, JOB_FAILED, NULL, values->error_json, d);
}

static void finish_cancelled(struct job *job) {
  struct draft *d = draft_new(job, 0);
  struct value *body = value_map(), *published = value_list();
  finish_begin(job, d, JOB_CANCELLED);
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    enum stage_status status = job->stages[i].record.status;
    if (status == STAGE_FINISHED) value_list_add(published, value_text(job->pipeline->stages[i].id));
    if (!stage_status_is_terminal(status)) draft_stage(d, i)->status = STAGE_CANCELLED;
  }
  value_map_set(body, "published", published);
  draft_event(d, "cancelled", body);
  finish_end(job, JOB_CANCELLED, NULL, NULL, d);
}

void job_finish(struct job *job, const struct plan *plan) {
  switch (plan->end) {
  case PLAN_COMPLETED: finish_completed(job); break;
  case PLAN_FAILED: finish_failed(job, plan->failed_stage); break;
  case PLAN_CANCELLED: finish_cancelled(job); break;
  case PLAN_GOES_ON: break;
  }
}
