/* The writing verbs as callers see them: everything is copied, bounds are checked, the writer gets it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "store/inner.h"

enum { STAGES_MAX = 1024, EVENTS_MAX = 1024, CHECKPOINT_KEY_MAX = 63, CHECKPOINT_VALUE_MAX = 4000 };

static void side_draft_clear(struct side_draft *d) {
  for (size_t i = 0; i < d->event_count; i++) event_record_clear(&d->events[i]);
  free(d->events);
  side_record_clear(&d->record);
}

void request_free(struct request *r) {
  for (size_t i = 0; i < r->stage_count; i++) stage_record_clear(&r->stages[i]);
  for (size_t i = 0; i < r->name_count; i++) free(r->names[i]);
  for (size_t i = 0; i < r->event_count; i++) event_record_clear(&r->events[i]);
  for (size_t i = 0; i < r->side_count; i++) side_draft_clear(&r->sides[i]);
  job_record_clear(&r->values);
  attempt_record_clear(&r->attempt);
  free(r->stages);
  free(r->names);
  free(r->events);
  free(r->sides);
  free(r->job);
  free(r);
}

enum err refuse(struct request *r, enum err code, const char *format, ...) {
  char text[sizeof(r->commit.error.message)];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  return r->commit.status = error_set(&r->commit.error, code, "%s", text);
}

void request_refuse(struct request *r, enum err code, const char *what, const char *which) {
  if (r->refused) return;
  r->refused = true;
  refuse(r, code, what, which);
}

/* Ids and stage names become keys: bounded, and without bytes that would blur where a key's parts end. */
static void check_id(struct request *r, const char *id, const char *what) {
  size_t size = id ? strlen(id) : 0;
  if (size == 0 || size >= STORE_ID_MAX) {
    request_refuse(r, ERR_USAGE, "a %s must have 1 to 63 characters", what);
    return;
  }
  for (size_t i = 0; i < size; i++)
    if ((unsigned char)id[i] <= ' ' || id[i] == 0x7f) request_refuse(r, ERR_USAGE, "a %s must not hold blanks", what);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void request_check_record(struct request *r, const struct layout *layout, const void *record) {
  const char *field = record_too_large(layout, record);
  if (field)
    request_refuse(r, ERR_TOO_LARGE, "'%s' is above the 16 KiB that the store takes: make it an artifact", field);
}
#pragma GCC diagnostic pop

static void check_name(struct request *r, const char *value, const char *what) {
  if (value && (strlen(value) > NAME_BYTES_MAX || !value[0]))
    request_refuse(r, ERR_TOO_LARGE, "'%s' must have 1 to 255 bytes", what);
}

struct request *request_new(enum verb verb, const char *job, store_done *done, void *context) {
  struct request *r = mem_alloc(sizeof(*r));
  r->verb = verb;
  r->job = mem_text(job);
  r->done = done;
  r->context = context;
  return r;
}

struct event_record *request_events(struct request *r, const struct event_draft *events, size_t *count) {
  if (*count > EVENTS_MAX) {
    request_refuse(r, ERR_USAGE, "too many %s in one change", "events");
    *count = 0;
    return NULL;
  }
  struct event_record *copies = mem_array(*count, sizeof(*copies));
  for (size_t i = 0; i < *count; i++) {
    copies[i] = (struct event_record){.type = mem_text(events[i].type), .body_json = mem_text(events[i].body_json)};
    if (!events[i].type) request_refuse(r, ERR_USAGE, "an event has no %s", "type");
    request_check_record(r, &event_layout, &copies[i]);
  }
  return copies;
}

static void add_events(struct request *r, const struct event_draft *events, size_t count) {
  r->events = request_events(r, events, &count);
  r->event_count = count;
}

static void add_names(struct request *r, const char *const *names, size_t count) {
  if (count > STAGES_MAX) {
    request_refuse(r, ERR_USAGE, "too many %s", "stages");
    return;
  }
  r->names = mem_array(count, sizeof(*r->names));
  r->name_count = count;
  for (size_t i = 0; i < count; i++) {
    r->names[i] = mem_text(names[i]);
    check_id(r, names[i], "stage's id");
  }
}

void store_submit(struct store *store, const struct job_record *job, const char *const *stages, size_t stage_count,
                  const struct event_draft *events, size_t event_count, store_done *done, void *context) {
  struct request *r = request_new(VERB_SUBMIT, job->id, done, context);
  job_record_copy(&r->values, job);
  if (job->id) check_id(r, job->id, "job's id");
  check_name(r, job->identity, "identity");
  check_name(r, job->pipeline, "pipeline");
  check_name(r, job->owner, "owner");
  check_name(r, job->asset, "asset");
  check_name(r, job->batch, "batch");
  if (job->priority < 0 || job->priority > 100) request_refuse(r, ERR_USAGE, "%s must be from 0 to 100", "priority");
  if (job->status && (job->status > JOB_PAUSED || job->status < JOB_QUEUED))
    request_refuse(r, ERR_USAGE, "a new job's %s is not valid", "status");
  request_check_record(r, &job_layout, job);
  add_names(r, stages, stage_count);
  add_events(r, events, event_count);
  for (size_t i = 1; i < r->name_count; i++)
    for (size_t k = 0; k < i && r->names[i] && r->names[k]; k++)
      if (strcmp(r->names[i], r->names[k]) == 0) request_refuse(r, ERR_USAGE, "stage '%s' is there twice", r->names[i]);
  writer_queue(store, r);
}

static void add_stages(struct request *r, const struct stage_record *stages, size_t count) {
  if (count > STAGES_MAX) {
    request_refuse(r, ERR_USAGE, "too many %s", "stages");
    return;
  }
  r->stages = mem_array(count, sizeof(*r->stages));
  r->stage_count = count;
  for (size_t i = 0; i < count; i++) {
    stage_record_copy(&r->stages[i], &stages[i]);
    check_id(r, stages[i].stage, "stage's id");
    request_check_record(r, &stage_layout, &stages[i]);
    if (stages[i].status < STAGE_WAITING || stages[i].status > STAGE_HELD)
      request_refuse(r, ERR_USAGE, "stage '%s' has no valid status", stages[i].stage);
  }
}

static void check_job_values(struct request *r, const struct change *c) {
  const struct job_record *v = c->job_values;
  if (!c->job_fields) return;
  if (!v) {
    request_refuse(r, ERR_USAGE, "%s are announced but not given", "job fields");
    return;
  }
  request_check_record(r, &job_layout, v);
  if (c->job_fields & JOB_SET_STATUS && (v->status < JOB_QUEUED || v->status > JOB_CANCELLED))
    request_refuse(r, ERR_USAGE, "a job's %s is not valid", "status");
  if (c->job_fields & JOB_SET_PRIORITY && (v->priority < 0 || v->priority > 100))
    request_refuse(r, ERR_USAGE, "%s must be from 0 to 100", "priority");
  job_record_copy(&r->values, v);
  r->has_job = true;
}

static struct request *change_request(enum verb verb, const struct change *c, store_done *done, void *context) {
  struct request *r = request_new(verb, c->job, done, context);
  check_id(r, c->job, "job's id");
  r->fence = c->fence;
  r->after_cancel = c->after_cancel;
  r->job_fields = c->job_fields;
  check_job_values(r, c);
  add_stages(r, c->stages, c->stage_count);
  add_events(r, c->events, c->event_count);
  if (c->attempt) {
    record_copy(&attempt_layout, &r->attempt, c->attempt, sizeof(r->attempt));
    r->has_attempt = true;
    request_check_record(r, &attempt_layout, c->attempt);
    if (c->attempt->state != ATTEMPT_LIVE && c->attempt->state != ATTEMPT_OVER)
      request_refuse(r, ERR_USAGE, "an attempt's %s is not valid", "state");
  }
  return r;
}

void store_change(struct store *store, const struct change *change, store_done *done, void *context) {
  struct request *r = change_request(VERB_CHANGE, change, done, context);
  if (r->has_attempt && (!r->fence || (r->attempt.fence && r->attempt.fence != r->fence)))
    request_refuse(r, ERR_USAGE, "an attempt's record comes with %s", "its own fence");
  writer_queue(store, r);
}

void store_begin_attempt(struct store *store, const struct change *change, store_done *done, void *context) {
  struct request *r = change_request(VERB_BEGIN, change, done, context);
  if (r->fence) request_refuse(r, ERR_USAGE, "a new attempt is %s, it brings none", "given its fence");
  if (!change->attempt || !change->stage_count)
    request_refuse(r, ERR_USAGE, "a new attempt needs %s", "a record and stages");
  writer_queue(store, r);
}

void store_request_cancel(struct store *store, const char *job, const struct event_draft *events, size_t event_count,
                          store_done *done, void *context) {
  struct request *r = request_new(VERB_CANCEL, job, done, context);
  check_id(r, job, "job's id");
  add_events(r, events, event_count);
  writer_queue(store, r);
}

void store_reopen(struct store *store, const char *job, const char *const *keep, size_t keep_count,
                  const struct event_draft *events, size_t event_count, store_done *done, void *context) {
  struct request *r = request_new(VERB_REOPEN, job, done, context);
  check_id(r, job, "job's id");
  add_names(r, keep, keep_count);
  add_events(r, events, event_count);
  writer_queue(store, r);
}

void store_checkpoint(struct store *store, const char *job, const char *stage, uint64_t fence, const char *key,
                      const char *value, store_done *done, void *context) {
  struct request *r = request_new(VERB_CHECKPOINT, job, done, context);
  const char *const names[] = {stage, key, value};
  check_id(r, job, "job's id");
  check_id(r, stage, "stage's id");
  if (!key || !key[0] || strlen(key) > CHECKPOINT_KEY_MAX)
    request_refuse(r, ERR_TOO_LARGE, "a checkpoint's %s must have 1 to 63 bytes", "key");
  if (!value || strlen(value) > CHECKPOINT_VALUE_MAX)
    request_refuse(r, ERR_TOO_LARGE, "a checkpoint's %s must have at most 4000 bytes", "value");
  r->fence = fence;
  r->names = mem_array(3, sizeof(*r->names));
  r->name_count = 3;
  for (size_t i = 0; i < 3 && !r->refused; i++) r->names[i] = mem_text(names[i]);
  writer_queue(store, r);
}

void store_delete(struct store *store, const char *job, store_done *done, void *context) {
  struct request *r = request_new(VERB_DELETE, job, done, context);
  check_id(r, job, "job's id");
  writer_queue(store, r);
}
