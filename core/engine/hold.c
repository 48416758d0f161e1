#include "engine/hold.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/errand.h"
#include "engine/serve.h"

enum { HOLD_VALUE_MAX = 2000, HOLD_MESSAGE_MAX = 400, HOLD_FIELDS_MAX = 32 };

/* ---- what is asked -------------------------------------------------------------------------------------------------- */

static const struct value *hold_of(const struct value *extra, const char *stage) {
  return value_get(value_get(extra, "holds"), stage);
}

static int64_t holds_until_us(const struct value *extra) {
  const struct value *holds = value_get(extra, "holds");
  int64_t least_us = 0;
  for (size_t i = 0; holds && holds->type == VALUE_MAP && i < holds->count; i++) {
    int64_t until_us = value_get_int(holds->items[i], "untilUs", 0);
    if (until_us && (!least_us || until_us < least_us)) least_us = until_us;
  }
  return least_us;
}

bool hold_is_open(const struct job_record *job) {
  value_auto struct value *extra = finish_json(job->extra_json);
  const struct value *holds = value_get(extra, "holds");
  return holds && holds->type == VALUE_MAP && holds->count;
}

int64_t hold_until_us(const struct job_record *job) {
  value_auto struct value *extra = finish_json(job->extra_json);
  return holds_until_us(extra);
}

int64_t hold_alarm_us(const struct job *job) { return holds_until_us(job->extra); }

static void hold_reason(const struct value *hold, const char *stage, char *text, size_t size) {
  snprintf(text, size, "waits for a person: %.*s (stage '%s')", HOLD_MESSAGE_MAX,
           value_get_text(hold, "message", value_get_text(hold, "title", "a decision")), stage);
}

void hold_text(const struct job *job, char *text, size_t size) {
  text[0] = '\0';
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    const struct stage_record *record = &job->stages[i].record;
    if (record->status != STAGE_HELD) continue;
    hold_reason(hold_of(job->extra, record->stage), record->stage, text, size);
    return;
  }
}

/* ---- its turn has come -------------------------------------------------------------------------------------------------- */

static const char *const hold_results[] = {"verdict", "comment", "by", "status"};

/* The names of what the person may fill in. */
static enum err hold_fields(const struct value *settings, struct value *fields, struct error *e) {
  const struct value *asked = value_get(settings, "fields");
  value_auto struct value *one = NULL;
  if (asked && asked->type == VALUE_TEXT) { /* a single one needs no list */
    one = value_list();
    value_list_add(one, value_copy(asked));
    asked = one;
  }
  if (asked && asked->type == VALUE_LIST && asked->count > HOLD_FIELDS_MAX)
    return error_set(e, ERR_TOO_LARGE, "a person is asked for at most %d values", HOLD_FIELDS_MAX);
  for (size_t i = 0; asked && asked->type == VALUE_LIST && i < asked->count; i++) {
    const char *name = asked->items[i]->type == VALUE_TEXT ? asked->items[i]->text : "";
    size_t plain = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (!plain || name[plain] || plain > 63)
      return error_set(e, ERR_INVALID,
                       "`%.60s` is no name of a field: write it like a result, lower_case_with_underscores", name);
    for (size_t k = 0; k < sizeof hold_results / sizeof *hold_results; k++)
      if (!strcmp(name, hold_results[k]))
        return error_set(e, ERR_INVALID, "a field cannot be called `%s`: that is a result of the stage itself", name);
    value_list_add(fields, value_text(name));
  }
  return ERR_OK;
}

static int64_t hold_ends_us(const struct job *job, size_t stage, int64_t now_us) {
  int64_t timeout_us = job->pipeline->stages[stage].timeout_us, ends_us = timeout_us ? now_us + timeout_us : 0;
  int64_t begun_us = job->record.started_us ? job->record.started_us : now_us;
  int64_t all_us = job->pipeline->timeout_us ? begun_us + job->pipeline->timeout_us : 0;
  return ends_us && (!all_us || ends_us < all_us) ? ends_us : all_us;
}

static struct value *hold_make(struct job *job, size_t stage, int64_t now_us, struct error *e) {
  const struct pipeline_stage *s = &job->pipeline->stages[stage];
  value_auto struct value *settings = trial_settings(job, stage, e);
  if (!settings) return NULL;
  struct value *hold = value_map(), *fields = value_list();
  value_map_set(hold, "fields", fields);
  const char *title = value_get_text(settings, "title", NULL), *message = value_get_text(settings, "message", NULL);
  value_set_text(hold, "title", title && *title ? title : s->title ? s->title : s->type->summary);
  if (message && *message) value_map_set(hold, "message", value_text_n(message, strnlen(message, HOLD_VALUE_MAX)));
  value_set_int(hold, "sinceUs", now_us);
  int64_t until_us = hold_ends_us(job, stage, now_us);
  if (until_us) value_set_int(hold, "untilUs", until_us);
  if (s->continue_on_error) value_set_bool(hold, "soft", true);
  if (hold_fields(settings, fields, e)) value_free(&hold);
  return hold;
}

static struct value *holds_edit(struct value *extra) {
  struct value *holds = (struct value *)(uintptr_t)value_get(extra, "holds");
  if (holds && holds->type == VALUE_MAP) return holds;
  value_map_set(extra, "holds", value_map());
  return (struct value *)(uintptr_t)value_get(extra, "holds");
}

void hold_begin(struct job *job, size_t stage) {
  const struct pipeline_stage *s = &job->pipeline->stages[stage];
  int64_t now_us = clock_wall(loop_clock(job->engine->loop));
  struct error e;
  char reason[600];
  struct value *hold = hold_make(job, stage, now_us, &e);
  if (!hold) {
    step_fail(job, stage, &e);
    return;
  }
  struct draft *d = draft_new(job, 0);
  struct stage_record *record = draft_stage(d, stage);
  hold_reason(hold, s->id, reason, sizeof reason);
  record->status = STAGE_HELD;
  record->tries++;
  record->started_us = now_us;
  record->reason = draft_reason(d, reason);
  draft_job(d, JOB_SET_STATUS)->status = job->told = JOB_PROCESSING;
  job_announce(job, d, now_us);
  draft_event(d, "stage", draft_stage_event(job, stage, "started"));
  value_map_set(holds_edit(job->extra), s->id, hold);
  draft_extra(d);
  draft_commit(d, NULL, NULL);
}

bool hold_overdue(struct job *job) {
  int64_t now_us = clock_wall(loop_clock(job->engine->loop));
  bool any = false;
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    const char *id = job->pipeline->stages[i].id;
    int64_t until_us = value_get_int(hold_of(job->extra, id), "untilUs", 0);
    char limit[32];
    struct error e;
    if (job->stages[i].record.status != STAGE_HELD || !until_us || until_us > now_us) continue;
    error_set(&e, ERR_TIMEOUT, "nobody decided within %s", clock_human(until_us - job->stages[i].record.started_us, limit));
    extra_drop(holds_edit(job->extra), id);
    step_fail(job, i, &e);
    any = true;
  }
  return any;
}

/* ---- the decision ------------------------------------------------------------------------------------------------------- */

struct decision {
  bool released;
  struct value *results; /* released */
  struct error e;        /* rejected: what the stage fails with */
};

static const char *decision_text(const struct value *decision, const char *key) {
  const char *text = value_get_text(decision, key, NULL);
  return text && *text ? text : NULL;
}

static enum err decision_value(const struct value *fields, const char *name, const struct value *v, struct value *results,
                               struct error *e) {
  bool asked = false;
  for (size_t i = 0; fields && i < fields->count; i++) asked |= !strcmp(fields->items[i]->text, name);
  if (!asked) return error_set(e, ERR_INVALID, "the stage asks for no value `%.60s`", name);
  struct buf text = {0};
  if (v->type == VALUE_TEXT)
    buf_text(&text, v->text);
  else if (v->type == VALUE_LIST || v->type == VALUE_MAP)
    return error_set(e, ERR_INVALID, "the value of `%s` is a text, a number or a switch", name);
  else if (!value_is_null(v))
    value_json(&text, v, VALUE_JSON_COMPACT);
  bool fits = text.size <= HOLD_VALUE_MAX;
  if (fits && !value_is_null(v)) value_set_text(results, name, buf_string(&text));
  buf_free(&text);
  return fits ? ERR_OK : error_set(e, ERR_TOO_LARGE, "the value of `%s` has more than %d bytes", name, HOLD_VALUE_MAX);
}

static enum err decision_results(const struct value *hold, const struct value *decision, struct value *results,
                                 struct error *e) {
  const struct value *fields = value_get(hold, "fields"), *values = value_get(decision, "values");
  const char *comment = decision_text(decision, "comment"), *by = decision_text(decision, "by");
  value_set_text(results, "verdict", "released");
  value_map_set(results, "comment", comment ? value_text_n(comment, strnlen(comment, HOLD_VALUE_MAX)) : value_null());
  value_map_set(results, "by", by ? value_text_n(by, strnlen(by, 255)) : value_null());
  for (size_t i = 0; fields && i < fields->count; i++) value_map_set(results, fields->items[i]->text, value_null());
  if (value_is_null(values)) return ERR_OK;
  if (values->type != VALUE_MAP) return error_set(e, ERR_INVALID, "`values` is a map of names to values");
  for (size_t i = 0; i < values->count; i++)
    if (decision_value(fields, values->keys[i], values->items[i], results, e)) return e->code;
  return ERR_OK;
}

static enum err decision_read(const struct value *hold, const struct value *asked, struct decision *d, struct error *e) {
  const char *verdict = value_get_text(asked, "verdict", ""), *by = decision_text(asked, "by");
  const char *comment = decision_text(asked, "comment");
  memset(d, 0, sizeof *d);
  if (!strcmp(verdict, "rejected")) {
    error_set(&d->e, ERR_DENIED, "rejected%s%.255s%s%.300s", by ? " by " : "", by ? by : "", comment ? ": " : "",
              comment ? comment : "");
    return ERR_OK;
  }
  if (strcmp(verdict, "released") != 0)
    return error_set(e, ERR_INVALID, "a decision is `released` or `rejected`, not `%.40s`", verdict);
  d->released = true;
  d->results = value_map();
  enum err err = decision_results(hold, asked, d->results, e);
  if (err) value_free(&d->results);
  return err;
}

static void release_body(struct value *body, const struct stage_record *record, const struct decision *d) {
  int64_t took_us = record->ended_us > record->started_us ? record->ended_us - record->started_us : 0;
  if (d->released)
    value_map_set(body, "results", value_copy(d->results));
  else
    value_set_text(body, "error", d->e.message);
  if (!d->released) value_set_bool(body, "soft", record->status == STAGE_SOFT_FAILED);
  value_set_int(body, "durationMs", took_us / 1000);
}

static void release_record(struct stage_record *record, const struct decision *d, bool soft, int64_t now_us) {
  record->status = d->released ? STAGE_FINISHED : soft ? STAGE_SOFT_FAILED : STAGE_FAILED;
  record->ended_us = now_us;
  record->reason = NULL;
}

static void release_loaded(struct errand *n, struct job *job, size_t index, const struct decision *decision) {
  struct draft *d = draft_new(job, 0);
  struct stage_record *record = draft_stage(d, index);
  const char *id = job->pipeline->stages[index].id;
  release_record(record, decision, job->pipeline->stages[index].continue_on_error, clock_wall(loop_clock(job->engine->loop)));
  if (decision->released)
    draft_results(d, index, value_copy(decision->results));
  else
    record->error_json = draft_error(d, &decision->e, id);
  struct value *body = draft_stage_event(job, index, decision->released ? "finished" : "failed");
  release_body(body, record, decision);
  draft_event(d, "stage", body);
  extra_drop(holds_edit(job->extra), id);
  draft_extra(d);
  draft_commit(d, errand_drafted, n);
}

static char *json_text(const struct value *v) {
  struct buf text = {0};
  value_json(&text, v, VALUE_JSON_COMPACT);
  return buf_take(&text);
}

/* Of a job that is not in memory. */
static void release_stored(struct errand *n, const struct job_record *job, struct stage_record *from, struct value *extra,
                           const struct decision *decision) {
  struct stage_record record = *from; /* borrows */
  const struct value *hold = hold_of(extra, record.stage);
  static const char going_on[] = "waits for its turn";
  value_auto struct value *error = value_map(), *body = value_map();
  release_record(&record, decision, value_get_bool(hold, "soft", false), clock_wall(loop_clock(n->engine->loop)));
  value_set_text(error, "message", decision->e.message);
  value_set_text(error, "code", err_word(decision->e.code));
  value_set_text(error, "stage", record.stage);
  value_set_text(body, "stage", record.stage);
  value_set_text(body, "status", decision->released ? "finished" : "failed");
  value_set_text(body, "title", value_get_text(hold, "title", NULL));
  value_set_int(body, "attempt", 1);
  value_set_int(body, "maxAttempts", 1);
  release_body(body, &record, decision);
  job_tags(body, job);
  extra_drop(holds_edit(extra), record.stage);
  bool waits = value_get(extra, "holds")->count > 0; /* for somebody else */
  value_auto struct value *clean = value_copy(decision->released ? decision->results : error);
  secret_scrub(clean);
  secret_scrub(body);
  mem_auto char *told = json_text(body), *kept = json_text(extra), *said = json_text(clean);
  if (decision->released)
    record.result_json = said;
  else
    record.error_json = said;
  record.fence = 0; /* keep */
  value_auto struct value *state = job_state_body(job, JOB_QUEUED, going_on);
  mem_auto char *state_json = json_text(state);
  struct job_record values = {.status = waits ? JOB_HELD : JOB_QUEUED, .extra_json = kept,
                              .wait_reason = waits ? job->wait_reason : (char *)(uintptr_t)going_on};
  struct event_draft events[] = {{"stage", told}, {"state", state_json}};
  struct change change = {.job = n->id, .job_fields = JOB_SET_STATUS | JOB_SET_WAIT_REASON | JOB_SET_EXTRA,
                          .job_values = &values, .stages = &record, .stage_count = 1, .events = events,
                          .event_count = waits ? 1 : 2};
  serve_leave(n->engine, n->id);
  store_change(n->engine->store, &change, errand_stored, n);
}

static void release_in_memory(struct errand *n, struct job *job, const char *stage) {
  struct decision decision = {0};
  struct error e = {0};
  size_t index = pipeline_index(job->pipeline, stage);
  if (index == SIZE_MAX || job->stages[index].record.status != STAGE_HELD)
    errand_refuse(n, ERR_CONFLICT, "stage '%s' of job %s does not wait for a person", stage, n->id);
  else if (decision_read(hold_of(job->extra, stage), n->args, &decision, &e))
    errand_end(n, &e);
  else
    release_loaded(n, job, index, &decision);
  value_free(&decision.results);
}

static void release_on_disk(struct errand *n, const struct job_record *job, const char *stage) {
  struct stage_list stages = {0};
  struct decision decision = {0};
  struct error e = {0};
  struct stage_record *found = NULL;
  value_auto struct value *extra = finish_json(job->extra_json);
  if (store_stages(n->engine->store, n->id, &stages, &e)) {
    errand_end(n, &e);
    return;
  }
  for (size_t i = 0; i < stages.count; i++)
    if (!strcmp(stages.items[i].stage, stage) && stages.items[i].status == STAGE_HELD) found = &stages.items[i];
  if (!found)
    errand_refuse(n, ERR_CONFLICT, "stage '%s' of job %s does not wait for a person", stage, n->id);
  else if (decision_read(hold_of(extra, stage), n->args, &decision, &e))
    errand_end(n, &e);
  else
    release_stored(n, job, found, extra, &decision);
  value_free(&decision.results);
  stage_list_clear(&stages);
}

static void release_begin(struct errand *n) {
  struct job *job;
  struct job_record record = {0};
  if (!errand_target(n, &job, &record)) return;
  mem_auto char *stage = mem_text(value_get_text(n->args, "stage", ""));
  if (job)
    release_in_memory(n, job, stage);
  else
    release_on_disk(n, &record, stage);
  job_record_clear(&record);
}

void engine_release(struct engine *engine, const char *job, const char *stage, const struct value *decision,
                    engine_done *done, void *context) {
  struct value *args = decision && decision->type == VALUE_MAP ? value_copy(decision) : value_map();
  value_set_text(args, "stage", stage);
  errand_start(engine, job, args, release_begin, done, context);
}
