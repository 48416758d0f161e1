#include "engine/draft.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "events/envelope.h"

enum { DRAFT_EVENTS_MAX = 2 * UNIT_STAGES_MAX + 8, DRAFT_RETRY_US = 2 * 1000 * 1000 };

struct draft_slot {
  size_t stage;
  struct stage_record record;
  struct value *results; /* NULL: unchanged */
};

struct draft {
  struct job *job;
  uint64_t fence;
  bool begins;
  struct draft_slot *slots;
  size_t slot_count;
  uint32_t job_fields;
  struct job_record job_values;
  struct attempt_record attempt;
  bool has_attempt;
  struct event_draft events[DRAFT_EVENTS_MAX];
  size_t event_count;
  char **texts; /* everything the records point to */
  size_t text_count;
  struct loop_timer *again;
  draft_then *then;
  void *context;
};

struct draft *draft_new(struct job *job, uint64_t fence) {
  struct draft *d = mem_alloc(sizeof *d);
  d->job = job;
  d->fence = fence;
  d->slots = mem_array(job->pipeline->stage_count + 1, sizeof *d->slots);
  d->job_values = job->record;
  return d;
}

static void draft_free(struct draft *d) {
  for (size_t i = 0; i < d->text_count; i++) free(d->texts[i]);
  for (size_t i = 0; i < d->slot_count; i++) value_free(&d->slots[i].results);
  free(d->texts);
  free(d->slots);
  free(d);
}

static char *draft_keep(struct draft *d, char *moved) {
  d->texts = mem_grow(d->texts, d->text_count + 1, sizeof *d->texts);
  d->texts[d->text_count++] = moved;
  return moved;
}

char *draft_text(struct draft *d, const char *text) {
  if (!text) return NULL;
  char *copy = draft_keep(d, mem_text(text));
  log_scrub(copy);
  return copy;
}

char *draft_json(struct draft *d, const struct value *v) {
  if (!v) return NULL;
  struct buf out = {0};
  value_json(&out, v, VALUE_JSON_COMPACT);
  char *text = draft_keep(d, buf_take(&out));
  log_scrub(text);
  return text;
}

char *draft_error(struct draft *d, const struct error *e, const char *stage) {
  value_auto struct value *v = value_map();
  value_set_text(v, "message", e->message);
  value_set_text(v, "code", err_word(e->code));
  if (stage) value_set_text(v, "stage", stage);
  if (e->debug[0]) value_set_text(v, "debug", e->debug);
  return draft_json(d, v);
}

static struct draft_slot *draft_slot(struct draft *d, size_t stage) {
  for (size_t i = 0; i < d->slot_count; i++)
    if (d->slots[i].stage == stage) return &d->slots[i];
  struct draft_slot *slot = &d->slots[d->slot_count++];
  slot->stage = stage;
  slot->record = d->job->stages[stage].record;
  return slot;
}

struct stage_record *draft_stage(struct draft *d, size_t stage) { return &draft_slot(d, stage)->record; }

void draft_results(struct draft *d, size_t stage, struct value *moved) {
  struct draft_slot *slot = draft_slot(d, stage);
  value_free(&slot->results);
  slot->results = moved;
  slot->record.result_json = draft_json(d, moved);
}

struct job_record *draft_job(struct draft *d, uint32_t fields) {
  d->job_fields |= fields;
  return &d->job_values;
}

struct attempt_record *draft_attempt(struct draft *d, const struct attempt_record *from) {
  d->attempt = *from;
  d->has_attempt = true;
  return &d->attempt;
}

void draft_event(struct draft *d, const char *type, struct value *body) {
  if (!value_get(body, "attempt")) value_set_int(body, "attempt", d->job_values.attempt);
  if (!value_get(body, "maxAttempts")) value_set_int(body, "maxAttempts", d->job_values.max_attempts);
  if (d->event_count < DRAFT_EVENTS_MAX)
    d->events[d->event_count++] = (struct event_draft){type, draft_json(d, body)};
  value_free(&body);
}

struct value *draft_stage_event(struct job *job, size_t stage, const char *what) {
  const struct pipeline_stage *s = &job->pipeline->stages[stage];
  const struct stage_record *record = &job->stages[stage].record;
  struct value *body = value_map();
  value_set_text(body, "stage", s->id);
  value_set_text(body, "status", what);
  value_set_text(body, "title", s->title ? s->title : s->type->summary);
  value_set_int(body, "attempt", record->attempts + 1);
  value_set_int(body, "maxAttempts", s->retry.attempts);
  return body;
}

static void replace_text(char **at, const char *text) {
  char *copy = mem_text(text);
  free(*at);
  *at = copy;
}

/* Only what the draft set: others may have been committed since it was begun. */
static void draft_apply_job(struct job_record *to, const struct job_record *from, uint32_t fields) {
  if (fields & JOB_SET_STATUS) to->status = from->status;
  if (fields & JOB_SET_WAIT_REASON) replace_text(&to->wait_reason, from->wait_reason);
  if ((fields & JOB_SET_PCT) && from->pct_ppm > to->pct_ppm) to->pct_ppm = from->pct_ppm;
  if (fields & JOB_SET_ATTEMPT) {
    to->attempt = from->attempt;
    to->max_attempts = from->max_attempts;
  }
  if (fields & JOB_SET_RESULT) replace_text(&to->result_json, from->result_json);
  if (fields & JOB_SET_ERROR) replace_text(&to->error_json, from->error_json);
  if (fields & JOB_SET_STARTED) to->started_us = from->started_us;
  if (fields & JOB_SET_ENDED) to->ended_us = from->ended_us;
}

static void draft_apply(struct draft *d, const struct commit *commit) {
  struct job *job = d->job;
  for (size_t i = 0; i < d->slot_count; i++) {
    struct draft_slot *slot = &d->slots[i];
    struct job_stage *stage = &job->stages[slot->stage];
    if (d->begins) {
      slot->record.status = STAGE_RUNNING;
      slot->record.fence = commit->fence;
    }
    struct stage_record fresh = {0};
    stage_record_copy(&fresh, &slot->record); /* before the old one goes: unchanged fields still point into it */
    stage_record_clear(&stage->record);
    stage->record = fresh;
    if (slot->results) {
      value_free(&stage->results);
      stage->results = slot->results;
      slot->results = NULL;
    }
  }
  draft_apply_job(&job->record, &d->job_values, d->job_fields);
  if (commit->last_seq) job->record.last_seq = commit->last_seq;
}

/* Listeners hear exactly what is stored, read back: a live follower and one that replays see the same bytes. */
static void draft_tell(struct draft *d, const struct commit *commit) {
  if (!commit->first_seq || !d->job->engine->listeners) return;
  struct event_list events = {0};
  if (store_events(d->job->engine->store, d->job->id, commit->first_seq - 1, d->event_count, &events, NULL)) return;
  for (size_t i = 0; i < events.count; i++) {
    struct buf text = {0};
    value_auto struct value *event = NULL;
    event_envelope(&text, &events.items[i]);
    if (!value_from_json(buf_string(&text), text.size, &event, NULL)) engine_tell(d->job->engine, d->job->id, event);
    buf_free(&text);
  }
  event_list_clear(&events);
}

static void draft_send(void *context);

static void draft_done(void *context, const struct commit *commit) {
  struct draft *d = context;
  struct job *job = d->job;
  if (commit->status == ERR_NO_SPACE && !job->engine->closing) {
    log_warning("job %s: %s; trying again in 2 s", job->id, commit->error.message);
    d->again = loop_after(job->engine->loop, DRAFT_RETRY_US, draft_send, d);
    return;
  }
  job->committing--;
  if (commit->status == ERR_OK)
    draft_apply(d, commit);
  else
    log_warning("job %s: change not applied (%s): %s", job->id, err_word(commit->status), commit->error.message);
  if (commit->status == ERR_OK) draft_tell(d, commit);
  draft_then *then = d->then;
  void *with = d->context;
  draft_free(d);
  job_wake(job); /* before `then`, which may drop the job: a posted step keeps it alive */
  if (then) then(job, commit, with);
}

static void draft_send(void *context) {
  struct draft *d = context;
  struct stage_record records[64], *all = records;
  if (d->slot_count > 64) all = mem_array(d->slot_count, sizeof *all);
  for (size_t i = 0; i < d->slot_count; i++) {
    all[i] = d->slots[i].record;
    all[i].fence = d->fence; /* 0: keep */
  }
  struct change change = {.job = d->job->id, .fence = d->fence, .job_fields = d->job_fields,
                          .job_values = &d->job_values, .stages = all, .stage_count = d->slot_count,
                          .attempt = d->has_attempt ? &d->attempt : NULL, .events = d->events,
                          .event_count = d->event_count};
  if (d->begins)
    store_begin_attempt(d->job->engine->store, &change, draft_done, d);
  else
    store_change(d->job->engine->store, &change, draft_done, d);
  if (all != records) free(all);
}

void draft_commit(struct draft *d, draft_then *then, void *context) {
  d->then = then;
  d->context = context;
  d->job->committing++;
  draft_send(d);
}

void draft_begin(struct draft *d, draft_then *then, void *context) {
  d->begins = true;
  draft_commit(d, then, context);
}
