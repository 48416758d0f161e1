/* finish.c - the end of a job: its result, OUT/job.json, the terminal transition. */
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/draft.h"

/* ---- job.json --------------------------------------------------------------------------------------------------- */

static struct value *json_value(const char *json) {
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
    if (a->metadata_json) value_map_set(item, "metadata", json_value(a->metadata_json));
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
  if (stage->record.error_json) value_map_set(v, "error", json_value(stage->record.error_json));
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
    struct value *item = value_map(), *stats = json_value(a->stats_json);
    value_set_text(item, "stages", a->stages);
    value_set_int(item, "fence", (int64_t)a->fence);
    value_set_text(item, "outcome", a->outcome ? a->outcome : "running");
    if (a->stage_at_fault) value_set_text(item, "stageAtFault", a->stage_at_fault);
    if (a->error_json) value_map_set(item, "error", json_value(a->error_json));
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
  value_map_set(v, "error", json_value(error_json));
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    value_list_add(stages, summary_stage(job, i));
    summary_artifacts(job, i, artifacts);
  }
  value_map_set(v, "stages", stages);
  value_map_set(v, "artifacts", artifacts);
  summary_attempts(job, v);
  return v;
}

static void summary_write(const struct job *job, enum job_status status, const struct value *result,
                          const char *error_json) {
  value_auto struct value *v = summary_make(job, status, result, error_json);
  mem_auto char *path = mem_format("%s/job.json", job->output_folder);
  struct buf text = {0};
  struct error e;
  value_json(&text, v, VALUE_JSON_PRETTY);
  buf_char(&text, '\n');
  log_scrub(text.data);
  if (fs_write_durably(path, text.data, strlen(text.data), 0644, &e))
    log_error("job %s: cannot write %s: %s", job->id, path, e.message);
  buf_free(&text);
}

/* ---- the terminal transition -------------------------------------------------------------------------------------- */

static void finish_committed(struct job *job, const struct commit *commit, void *context) {
  (void)context;
  if (commit->status) return; /* somebody else's terminal transition came first */
  mem_auto char *folder = attempt_folder(job, 0);
  struct error e;
  if (fs_remove_path(folder, &e)) log_warning("cannot remove %s: %s", folder, e.message);
  struct engine *engine = job->engine;
  job_drop(job);
  engine_wake_all(engine);
}

static uint32_t finish_attempts(const struct job *job) {
  uint32_t most = 0;
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.attempts > most) most = job->stages[i].record.attempts;
  return most;
}

static struct job_record *finish_begin(struct job *job, struct draft *d, enum job_status status) {
  struct job_record *values = draft_job(d, JOB_SET_STATUS | JOB_SET_ENDED | JOB_SET_WAIT_REASON);
  values->status = status;
  values->ended_us = clock_wall(loop_clock(job->engine->loop));
  values->wait_reason = NULL;
  if (!values->started_us) values->started_us = values->ended_us;
  return values;
}

static void finish_completed(struct job *job) {
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  struct scope scope = plan_scope(&state);
  struct value *result = NULL;
  struct error e;
  if (pipeline_result(job->pipeline, &scope, &result, &e)) {
    log_warning("job %s: result: %s", job->id, e.message);
    result = value_map();
  }
  free(steps);
  struct draft *d = draft_new(job, 0);
  struct job_record *values = finish_begin(job, d, JOB_COMPLETED);
  draft_job(d, JOB_SET_RESULT | JOB_SET_PCT);
  values->pct_ppm = 1000000;
  values->result_json = draft_json(d, result);
  struct value *body = value_map();
  value_map_set(body, "result", value_copy(result));
  value_set_int(body, "durationMs", (values->ended_us - values->started_us) / 1000);
  value_set_int(body, "retries", finish_attempts(job));
  draft_event(d, "completed", body);
  summary_write(job, JOB_COMPLETED, result, NULL);
  value_free(&result);
  draft_commit(d, finish_committed, NULL);
}

static void finish_failed(struct job *job, size_t stage) {
  const struct stage_record *record = &job->stages[stage].record;
  struct draft *d = draft_new(job, 0);
  struct job_record *values = finish_begin(job, d, JOB_FAILED);
  value_auto struct value *error = json_value(record->error_json);
  draft_job(d, JOB_SET_ERROR | JOB_SET_ATTEMPT);
  values->error_json = draft_text(d, record->error_json ? record->error_json : "{}");
  values->attempt = record->attempts ? record->attempts : 1;
  values->max_attempts = job->pipeline->stages[stage].retry.attempts;
  struct value *body = value_map();
  value_set_text(body, "stage", record->stage);
  value_set_text(body, "error", value_get_text(error, "message", "the stage failed"));
  value_set_text(body, "code", value_get_text(error, "code", "internal"));
  value_set_int(body, "totalAttempts", values->attempt);
  draft_event(d, "failed", body);
  summary_write(job, JOB_FAILED, NULL, values->error_json);
  draft_commit(d, finish_committed, NULL);
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
  summary_write(job, JOB_CANCELLED, NULL, NULL);
  draft_commit(d, finish_committed, NULL);
}

void job_finish(struct job *job, const struct plan *plan) {
  switch (plan->end) {
  case PLAN_COMPLETED: finish_completed(job); break;
  case PLAN_FAILED: finish_failed(job, plan->failed_stage); break;
  case PLAN_CANCELLED: finish_cancelled(job); break;
  case PLAN_GOES_ON: break;
  }
}
