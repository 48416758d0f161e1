#include "engine/draft.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { DRAFT_TEXT_MAX = 600, DRAFT_WAKE_US = 1000 * 1000 };

struct draft_slot {
  size_t stage;
  struct stage_record record; /* its texts live with the draft */
  struct value *results;      /* NULL: unchanged */
};

struct draft {
  struct draft *next; /* of the job */
  struct job *job;
  uint64_t fence;
  bool begins, after_cancel;
  struct draft_slot *slots;
  size_t slot_count;
  uint32_t job_fields;
  struct job_record job_values; /* texts only of fields that were set */
  struct attempt_record attempt;
  bool has_attempt;
  struct event_draft *events;
  size_t event_count;
  char **texts; /* everything the records point to */
  size_t text_count;
  struct loop_timer *again; /* no space: waits for its next try */
  draft_before *before;
  draft_then *then;
  void *context;
};

struct draft *draft_new(struct job *job, uint64_t fence) {
  struct draft *d = mem_alloc(sizeof *d);
  d->job = job;
  d->fence = fence;
  d->slots = mem_array(job->pipeline->stage_count + 1, sizeof *d->slots);
  /* Numbers only: by the time this is sent again the job's texts may be others. */
  d->job_values = (struct job_record){.status = job->record.status, .attempt = job->record.attempt,
                                      .max_attempts = job->record.max_attempts,
                                      .started_us = job->record.started_us, .priority = job->record.priority,
                                      .pct_ppm = job->record.pct_ppm};
  d->next = job->drafts;
  job->drafts = d;
  return d;
}

static void draft_free(struct draft *d) {
  struct draft **at = &d->job->drafts;
  while (*at != d) at = &(*at)->next;
  *at = d->next;
  loop_cancel(d->job->engine->loop, &d->again);
  for (size_t i = 0; i < d->text_count; i++) free(d->texts[i]);
  for (size_t i = 0; i < d->slot_count; i++) value_free(&d->slots[i].results);
  free(d->events);
  free(d->texts);
  free(d->slots);
  free(d);
}

void draft_discard(struct draft *d) { draft_free(d); }

void draft_free_all(struct job *job) {
  while (job->drafts) draft_free(job->drafts);
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

/* Cuts a text to what an event can carry, not inside a character. */
static void text_clip(char *text) {
  size_t size = strlen(text);
  if (size <= DRAFT_TEXT_MAX) return;
  size = DRAFT_TEXT_MAX - 3;
  while (size && ((unsigned char)text[size] & 0xc0) == 0x80) size--;
  memcpy(text + size, "...", 4);
}

char *draft_reason(struct draft *d, const char *text) {
  char *copy = draft_text(d, text);
  if (copy) text_clip(copy);
  return copy;
}

char *draft_json(struct draft *d, const struct value *v) {
  if (!v) return NULL;
  struct buf out = {0};
  value_auto struct value *clean = value_copy(v);
  secret_scrub(clean);
  value_json(&out, clean, VALUE_JSON_COMPACT);
  return draft_keep(d, buf_take(&out));
}

char *draft_error(struct draft *d, const struct error *e, const char *stage) {
  value_auto struct value *v = value_map();
  value_set_text(v, "message", e->message);
  value_set_text(v, "code", err_word(e->code));
  if (stage) value_set_text(v, "stage", stage);
  if (e->debug[0]) value_set_text(v, "debug", e->debug);
  return draft_json(d, v);
}

/* A draft may be sent again later, when the committed record is another: it keeps copies of what it borrows. */
static void slot_own(struct draft *d, struct stage_record *record) {
  char **texts[] = {&record->stage, &record->result_json, &record->manifest_sha256, &record->error_json,
                    &record->reason};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (*texts[i]) *texts[i] = draft_keep(d, mem_text(*texts[i]));
}

static struct draft_slot *draft_slot(struct draft *d, size_t stage) {
  for (size_t i = 0; i < d->slot_count; i++)
    if (d->slots[i].stage == stage) return &d->slots[i];
  struct draft_slot *slot = &d->slots[d->slot_count++];
  slot->stage = stage;
  slot->record = d->job->stages[stage].record;
  slot_own(d, &slot->record);
  return slot;
}

struct stage_record *draft_stage(struct draft *d, size_t stage) { return &draft_slot(d, stage)->record; }

void draft_results(struct draft *d, size_t stage, struct value *moved) {
  struct draft_slot *slot = draft_slot(d, stage);
  value_free(&slot->results);
  secret_scrub(moved);
  slot->results = moved;
  slot->record.result_json = draft_json(d, moved);
}

struct job_record *draft_job(struct draft *d, uint32_t fields) {
  d->job_fields |= fields;
  return &d->job_values;
}

void draft_extra(struct draft *d) { draft_job(d, JOB_SET_EXTRA)->extra_json = draft_json(d, d->job->extra); }

struct attempt_record *draft_attempt(struct draft *d, const struct attempt_record *from) {
  d->attempt = *from;
  d->has_attempt = true;
  return &d->attempt;
}

void draft_event(struct draft *d, const char *type, struct value *body) {
  if (!value_get(body, "attempt")) value_set_int(body, "attempt", d->job_values.attempt);
  if (!value_get(body, "maxAttempts")) value_set_int(body, "maxAttempts", d->job_values.max_attempts);
  job_tags(body, &d->job->record);
  for (size_t i = 0; i < body->count; i++) {
    if (body->items[i]->type != VALUE_TEXT) continue;
    text_clip(body->items[i]->text);
    body->items[i]->text_size = strlen(body->items[i]->text);
  }
  d->events = mem_grow(d->events, d->event_count + 1, sizeof *d->events);
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
  if (fields & JOB_SET_PRIORITY) to->priority = from->priority;
  if (fields & JOB_SET_EXTRA) replace_text(&to->extra_json, from->extra_json);
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
    job_stage_due(job, stage);
    if (slot->results) {
      value_free(&stage->results);
      stage->results = slot->results;
      slot->results = NULL;
    }
  }
  draft_apply_job(&job->record, &d->job_values, d->job_fields);
  if (d->job_fields & JOB_SET_PRIORITY) job_relink(job);
  if (commit->last_seq) job->record.last_seq = commit->last_seq;
}

static void draft_send(void *context);

/* The state folder's disk is full, or it could not be written: nothing was lost, the same change is tried again. */
static void draft_park(struct draft *d, const struct commit *commit) {
  struct job *job = d->job;
  mem_auto char *text = mem_format("the state folder cannot be written (%s): trying again", commit->error.message);
  if (!d->again) job->parked++;
  job_trouble(job, text);
  d->again = loop_after(job->engine->loop, TROUBLE_RETRY_US, draft_send, d);
}

static bool draft_may_wait(const struct draft *d, enum err status) {
  return status == ERR_NO_SPACE || (status == ERR_IO && !d->begins);
}

/* Refused: the job may have ended by another hand. What cannot be applied is not tried again at once. */
static void draft_refused(struct job *job, const struct commit *commit) {
  struct job_record now = {0};
  log_warning("job %s: change not applied (%s): %s", job->id, err_word(commit->status), commit->error.message);
  enum err err = store_job(job->engine->store, job->id, &now, NULL);
  if (err == ERR_NOT_FOUND || (!err && job_status_is_terminal(now.status))) job->doomed = true;
  job_record_clear(&now);
  if (job->doomed)
    job_wake(job);
  else
    job_wake_in(job, DRAFT_WAKE_US);
}

static void draft_done(void *context, const struct commit *commit) {
  struct draft *d = context;
  struct job *job = d->job;
  if (job->engine->closing) return; /* freed with the job */
  if (draft_may_wait(d, commit->status)) {
    draft_park(d, commit);
    return;
  }
  job->committing--;
  if (job->trouble[0] && !job->parked) job_trouble(job, NULL);
  if (commit->status == ERR_OK) {
    draft_apply(d, commit);
    if (d->before) d->before(job);
    engine_tell_stored(job->engine, &job->record, commit);
    job_wake(job); /* before `then`, which may drop the job: a posted step keeps it alive */
  } else {
    draft_refused(job, commit);
  }
  draft_then *then = d->then;
  void *with = d->context;
  draft_free(d);
  if (then) then(job, commit, with);
}

static void draft_send(void *context) {
  struct draft *d = context;
  if (d->again) {
    d->again = NULL; /* the timer is dead when it fires */
    d->job->parked--;
  }
  struct stage_record records[64], *all = records;
  if (d->slot_count > 64) all = mem_array(d->slot_count, sizeof *all);
  for (size_t i = 0; i < d->slot_count; i++) {
    all[i] = d->slots[i].record;
    all[i].fence = d->fence; /* 0: keep */
  }
  struct change change = {.job = d->job->id, .fence = d->fence, .job_fields = d->job_fields,
                          .job_values = &d->job_values, .stages = all, .stage_count = d->slot_count,
                          .attempt = d->has_attempt ? &d->attempt : NULL, .events = d->events,
                          .event_count = d->event_count, .after_cancel = d->after_cancel};
  if (d->begins)
    store_begin_attempt(d->job->engine->store, &change, draft_done, d);
  else
    store_change(d->job->engine->store, &change, draft_done, d);
  if (all != records) free(all);
}

void draft_before_telling(struct draft *d, draft_before *before) { d->before = before; }

void draft_commit(struct draft *d, draft_then *then, void *context) {
  d->then = then;
  d->context = context;
  d->job->committing++;
  draft_send(d);
}

void draft_begin(struct draft *d, bool after_cancel, draft_then *then, void *context) {
  d->begins = true;
  d->after_cancel = after_cancel;
  draft_commit(d, then, context);
}
