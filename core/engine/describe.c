/* describe.c - what can be said about a job from the store alone, whether or not it is loaded. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/pause.h"
#include "engine/serve.h"
#include "events/envelope.h"

static struct value *described_json(const char *json) {
  struct value *v = NULL;
  if (!json || value_from_json(json, strlen(json), &v, NULL)) return value_null();
  return v;
}

static void described_time(struct value *map, const char *key, int64_t wall_us) {
  char text[32];
  if (wall_us) value_set_text(map, key, clock_format(wall_us, text));
}

static void described_text(struct value *map, const char *key, const char *text) {
  if (text && *text) value_set_text(map, key, text);
}

static void described_pause(struct value *v, const struct job_record *job, const struct value *extra) {
  const struct value *pause = value_get(extra, "pause");
  if (value_is_null(pause) || job_status_is_terminal(job->status)) return;
  value_set_bool(v, "paused", true); /* though what runs may still be finishing */
  described_text(v, "pausedBy", value_get_text(pause, "by", NULL));
  described_time(v, "pausedUntil", value_get_int(pause, "untilUs", 0));
}

/* Of a job that waits for its turn: what stands before it is no part of its record, and changes without it. */
static char *described_wait(struct engine *engine, const struct job_record *job, const struct value *extra) {
  char text[600];
  const struct pause *pause = pause_of_queue(engine);
  const char *group = value_get_text(extra, "group", NULL), *holder = turn_holder(engine, line_digest(group));
  size_t at = engine->serving ? line_position(engine->line, job->id, job->priority) : 0;
  if (!pause) pause = pause_of_pipeline(engine, line_digest(job->pipeline));
  if (job->status != JOB_QUEUED || job_find(engine, job->id)) return mem_text(job->wait_reason);
  if (pause) {
    pause_text(pause, text, sizeof text);
    return mem_text(text);
  }
  if (engine->draining || engine->interrupted) return mem_text("the service is being stopped: goes on when it runs again");
  if (holder && strcmp(holder, job->id) != 0)
    return mem_format("waits for job %s of the same concurrency group '%s'", holder, group);
  if (!at) return mem_text(job->wait_reason);
  return mem_format("waits for a free place: number %zu of %zu in line, %u of %u attempts are running", at,
                    line_count(engine->line), engine->alive, engine->max_attempts);
}

struct value *engine_describe_record(struct engine *engine, const struct job_record *job) {
  struct value *v = value_map();
  value_auto struct value *extra = finish_json(job->extra_json);
  mem_auto char *wait = described_wait(engine, job, extra);
  value_set_text(v, "id", job->id);
  value_set_text(v, "pipeline", job->pipeline);
  described_text(v, "title", job->title);
  described_text(v, "owner", job->owner);
  described_text(v, "asset", job->asset);
  described_text(v, "batchId", job->batch);
  value_set_text(v, "status", job_status_word(job->status));
  value_set_number(v, "pct", job->status == JOB_COMPLETED ? 100 : job->pct_ppm / 1e4);
  described_text(v, "waitReason", wait);
  if (engine->serving && job->status == JOB_QUEUED && line_position(engine->line, job->id, job->priority))
    value_set_int(v, "queuePosition", engine_queue_position(engine, job));
  described_pause(v, job, extra);
  value_set_int(v, "attempt", job->attempt);
  value_set_int(v, "maxAttempts", job->max_attempts);
  value_set_int(v, "round", job->round);
  value_set_int(v, "priority", job->priority);
  if (job->cancel_requested) value_set_bool(v, "cancelRequested", true);
  described_time(v, "queuedAt", job->created_us);
  described_time(v, "startedAt", job->started_us);
  described_time(v, "endedAt", job->ended_us);
  value_set_int(v, "lastSeq", (int64_t)job->last_seq);
  if (job->result_json) value_map_set(v, "result", described_json(job->result_json));
  if (job->error_json) value_map_set(v, "error", described_json(job->error_json));
  return v;
}

struct value *engine_describe_hold(const struct job_record *job, const char *stage) {
  value_auto struct value *extra = described_json(job->extra_json);
  const struct value *hold = value_get(value_get(extra, "holds"), stage);
  if (value_is_null(hold)) return NULL;
  struct value *asked = value_map();
  described_text(asked, "title", value_get_text(hold, "title", NULL));
  described_text(asked, "message", value_get_text(hold, "message", NULL));
  value_map_set(asked, "fields", value_get(hold, "fields") ? value_copy(value_get(hold, "fields")) : value_list());
  described_time(asked, "since", value_get_int(hold, "sinceUs", 0));
  described_time(asked, "until", value_get_int(hold, "untilUs", 0));
  return asked;
}

static struct value *describe_stage(const struct stage_record *s, const struct job_record *job) {
  struct value *v = value_map();
  value_set_text(v, "id", s->stage);
  value_set_text(v, "status", stage_status_word(s->status));
  value_set_int(v, "attempts", s->tries);
  value_set_int(v, "failedAttempts", s->attempts);
  if (s->lost) value_set_int(v, "lost", s->lost);
  if (s->suspect) value_set_bool(v, "suspect", true);
  if (s->status == STAGE_DELAYED) described_time(v, "retryAt", s->not_before_us);
  described_text(v, "reason", s->reason);
  described_time(v, "startedAt", s->started_us);
  described_time(v, "endedAt", s->ended_us);
  if (s->result_json) value_map_set(v, "results", described_json(s->result_json));
  if (s->error_json) value_map_set(v, "error", described_json(s->error_json));
  struct value *hold = s->status == STAGE_HELD ? engine_describe_hold(job, s->stage) : NULL;
  if (hold) value_map_set(v, "hold", hold);
  return v;
}

static struct value *describe_attempt(const struct attempt_record *a) {
  struct value *v = value_map();
  value_set_int(v, "fence", (int64_t)a->fence);
  value_set_text(v, "stages", a->stages);
  value_set_text(v, "outcome", a->state == ATTEMPT_LIVE ? "running" : a->outcome);
  described_text(v, "node", a->node);
  if (a->pid) value_set_int(v, "pid", a->pid);
  described_text(v, "stageAtFault", a->stage_at_fault);
  described_time(v, "startedAt", a->started_us);
  described_time(v, "endedAt", a->ended_us);
  if (a->error_json) value_map_set(v, "error", described_json(a->error_json));
  if (a->stats_json) value_map_set(v, "stats", described_json(a->stats_json));
  return v;
}

static enum err describe_lists(struct engine *engine, const struct job_record *job, struct value *v,
                               struct error *e) {
  struct stage_list stages = {0};
  struct attempt_list attempts = {0};
  struct value *list = value_list();
  value_map_set(v, "stages", list);
  if (store_stages(engine->store, job->id, &stages, e)) return e->code;
  for (size_t i = 0; i < stages.count; i++) value_list_add(list, describe_stage(&stages.items[i], job));
  stage_list_clear(&stages);
  value_map_set(v, "attempts", list = value_list());
  if (store_attempts(engine->store, job->id, &attempts, e)) return e->code;
  for (size_t i = 0; i < attempts.count; i++) value_list_add(list, describe_attempt(&attempts.items[i]));
  attempt_list_clear(&attempts);
  return ERR_OK;
}

enum err engine_describe(struct engine *engine, const char *id, struct value **description, struct error *e) {
  struct job_record job = {0};
  if (store_job(engine->store, id, &job, e)) return e->code;
  struct value *v = engine_describe_record(engine, &job), *spec = described_json(job.spec_json);
  value_auto struct value *extra = described_json(job.extra_json);
  if (spec->type == VALUE_MAP && !value_is_null(value_get(extra, "params"))) { /* as edited since */
    value_map_set(spec, "params", job_given(spec, extra));
    value_map_set(v, "edited", value_copy(value_get(extra, "params")));
  }
  value_map_set(v, "spec", spec);
  if (value_get(extra, "notify")) value_map_set(v, "notify", value_copy(value_get(extra, "notify")));
  enum err err = describe_lists(engine, &job, v, e);
  job_record_clear(&job);
  if (err)
    value_free(&v);
  else
    *description = v;
  return err;
}

/* Of a job that waits for a person: which stage asks, and what. */
static void state_hold(struct value *out, const struct value *stages) {
  for (size_t i = 0; stages && i < stages->count; i++) {
    const struct value *hold = value_get(stages->items[i], "hold");
    if (!hold) continue;
    struct value *asked = value_copy(hold);
    value_set_text(asked, "stage", value_get_text(stages->items[i], "id", NULL));
    value_map_set(out, "hold", asked);
    value_set_text(out, "stage", value_get_text(stages->items[i], "id", NULL));
    value_set_text(out, "message", value_get_text(hold, "message", value_get_text(hold, "title", NULL)));
    return;
  }
}

/* Enough to draw the whole page: the first message of every follower. */
enum err engine_state(struct engine *engine, const char *id, struct value **state, struct error *e) {
  struct value *v = NULL;
  if (engine_describe(engine, id, &v, e)) return e->code;
  value_auto struct value *out = value_map();
  static const char *const same[] = {"status", "pct", "pipeline", "title", "owner", "asset", "batchId", "attempt",
                                     "maxAttempts", "round", "priority", "waitReason", "queuePosition", "paused",
                                     "pausedUntil", "result", "error", "stages", "queuedAt", "startedAt", "endedAt"};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    if (value_get(v, same[i])) value_map_set(out, same[i], value_copy(value_get(v, same[i])));
  state_hold(out, value_get(v, "stages"));
  struct job *job = job_find(engine, id);
  if (job) value_set_number(out, "pct", fmax(value_get_number(out, "pct", 0), job->record.pct_ppm / 1e4));
  for (size_t i = 0; job && i < job->pipeline->stage_count; i++) {
    if (job->stages[i].record.status != STAGE_RUNNING) continue;
    value_set_text(out, "stage", job->pipeline->stages[i].id);
    described_text(out, "message", job->stages[i].message);
  }
  *state = event_unstored("state", id, (uint64_t)value_get_int(v, "lastSeq", 0),
                          clock_wall(loop_clock(engine->loop)), out);
  value_free(&v);
  return ERR_OK;
}
