/* api_steer.c - cancel, retry, pause, resume, priority, release: one job at a time. Many: api_bulk.c. */
#include <string.h>

#include "api/parts.h"
#include "api/steer.h"
#include "base/mem.h"

bool steer_from_word(const char *word, enum steer_action *action) {
  static const char *const words[] = {"cancel", "retry", "delete", "pause", "resume", "priority"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(word, words[i]) == 0) return *action = STEER_CANCEL + i, true;
  return false;
}

void steer_job(const struct steer *s, const char *job, engine_done *done, void *context) {
  static const struct retry_options unfinished = {0};
  struct engine *engine = s->service->engine;
  switch (s->action) {
  case STEER_CANCEL: engine_cancel(engine, job, done, context); break;
  case STEER_RETRY: engine_retry_with(engine, job, s->options ? s->options : &unfinished, done, context); break;
  case STEER_DELETE: engine_delete(engine, job, s->service->outputs_folder, done, context); break;
  case STEER_PAUSE: engine_pause(engine, job, s->until_us, s->by, done, context); break;
  case STEER_RESUME: engine_unpause(engine, job, done, context); break;
  case STEER_PRIORITY: engine_prioritize(engine, job, s->priority, done, context); break;
  }
}

struct steering {
  struct steer steer;
  const char *id;
};

static void steering_begin(void *context, struct ask *ask) {
  struct steering *s = context;
  steer_job(&s->steer, s->id, service_answer_done, ask);
}

/* {id, status} as they are now. */
static void answer_status(struct exchange *x, int status, const char *id) {
  struct job_record job = {0};
  struct error e = {0};
  if (store_job(api_service(x)->store, id, &job, &e)) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *v = value_map();
  value_set_text(v, "id", job.id);
  value_set_text(v, "status", job_status_word(job.status));
  value_set_int(v, "priority", job.priority);
  if (job.cancel_requested) value_set_bool(v, "cancelRequested", true);
  http_json(x, status, v);
  job_record_clear(&job);
}

static void answer_job(struct exchange *x, int status, const char *id) {
  struct job_record job = {0};
  struct error e = {0};
  if (store_job(api_service(x)->store, id, &job, &e)) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *v = api_job_value(x, &job);
  http_json(x, status, v);
  job_record_clear(&job);
}

/* The body was read already. False: answered. */
static bool steer_one(struct exchange *x, struct steering *s, struct job_record *job) {
  if (!api_job_changed(x, job)) return false;
  s->steer.service = api_service(x);
  s->steer.by = api_subject(x);
  s->id = job->id;
  return api_ask(x, steering_begin, s, NULL);
}

static void job_cancel(struct exchange *x) {
  static const char *const none[] = {NULL};
  struct steering s = {.steer = {.action = STEER_CANCEL}};
  struct job_record job = {0};
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, none)) return;
  if (steer_one(x, &s, &job)) answer_status(x, 202, s.id);
  job_record_clear(&job);
}

static void job_pause(struct exchange *x) {
  static const char *const valid[] = {"until", NULL};
  struct steering s = {.steer = {.action = STEER_PAUSE}};
  struct job_record job = {0};
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, valid) || !api_until(x, body, &s.steer.until_us)) return;
  if (steer_one(x, &s, &job)) answer_status(x, 202, s.id);
  job_record_clear(&job);
}

static void job_resume(struct exchange *x) {
  static const char *const none[] = {NULL};
  struct steering s = {.steer = {.action = STEER_RESUME}};
  struct job_record job = {0};
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, none)) return;
  if (steer_one(x, &s, &job)) answer_status(x, 202, s.id);
  job_record_clear(&job);
}

static void job_priority(struct exchange *x) {
  static const char *const valid[] = {"priority", NULL};
  struct steering s = {.steer = {.action = STEER_PRIORITY}};
  struct job_record job = {0};
  const struct value *body = http_body_json(x);
  if (!body || !api_keys(x, body, valid)) return;
  if (!api_priority(value_get(body, "priority"), &s.steer.priority)) {
    http_problem(x, 400, "invalid", "'priority' has to be high, normal, low or a number from 0 to 100");
    return;
  }
  if (steer_one(x, &s, &job)) answer_status(x, 200, s.id);
  job_record_clear(&job);
}

/* ---- retry -------------------------------------------------------------------------------------------------------------- */

static void over(struct value *map, const struct value *edits) {
  for (size_t i = 0; edits && edits->type == VALUE_MAP && i < edits->count; i++)
    value_map_set(map, edits->keys[i], value_copy(edits->items[i]));
}

/* A pipeline that came with its request was looked at with the parameters of then. */
static enum err retry_inline(struct exchange *x, const struct job_record *job, const struct pipeline *pipeline,
                             const struct value *edits, struct error *e) {
  value_auto struct value *spec = api_parsed(job->spec_json), *extra = api_parsed(job->extra_json);
  value_auto struct value *all = value_map(), *facts = value_map();
  if (strcmp(value_get_text(spec, "file", ""), API_INLINE) != 0) return ERR_OK;
  const struct value *input = value_get(spec, "input");
  value_set_text(facts, "id", job->id);
  value_set_text(facts, "input", value_get_text(input, "path", value_get_text(input, "url", NULL)));
  value_set_text(facts, "name", job->title);
  over(all, value_get(spec, "params"));
  over(all, value_get(extra, "params"));
  over(all, edits);
  return guard_inline(api_service(x), http_principal(x), pipeline, all, facts, e);
}

/* Edited parameters reach no further than those of a submission would. */
static bool retry_params(struct exchange *x, const struct job_record *job, const struct value *given, struct value **params) {
  struct error e = {0};
  if (value_is_null(given)) return true;
  if (given->type != VALUE_MAP) {
    http_problem(x, 400, "invalid", "'params' has to be an object");
    return false;
  }
  struct pipeline *pipeline = api_job_pipeline(api_service(x), job);
  enum err err = pipeline ? guard_params(api_service(x), http_principal(x), pipeline, given, params, &e)
                          : error_set(&e, ERR_CONFLICT, "the pipeline of job %s no longer checks: submit it anew", job->id);
  if (!err) err = retry_inline(x, job, pipeline, *params, &e);
  pipeline_free(&pipeline);
  if (err) http_error(x, &e);
  return !err;
}

static void job_retry(struct exchange *x) {
  static const char *const valid[] = {"whole", "from", "params", NULL};
  struct retry_options options = {0};
  struct steering s = {.steer = {.service = api_service(x), .action = STEER_RETRY, .options = &options}};
  struct job_record job = {0};
  value_auto struct value *params = NULL;
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, valid) || !api_text(x, body, "from", 63, &options.from_stage)) return;
  const struct value *whole = value_get(body, "whole");
  if (whole && whole->type != VALUE_BOOL && whole->type != VALUE_NULL) {
    http_problem(x, 400, "invalid", "'whole' has to be true or false");
    return;
  }
  options.whole = value_get_bool(body, "whole", false);
  if (options.whole && options.from_stage) {
    http_problem(x, 400, "invalid", "'whole' begins at the first stage, 'from' at another: give one of the two");
    return;
  }
  if (!api_job_changed(x, &job)) return;
  s.id = job.id;
  if (retry_params(x, &job, value_get(body, "params"), &params)) {
    options.params = params;
    if (api_ask(x, steering_begin, &s, NULL)) answer_job(x, 202, s.id);
  }
  job_record_clear(&job);
}

/* ---- release ------------------------------------------------------------------------------------------------------------- */

struct releasing {
  struct engine *engine;
  const char *id, *stage;
  const struct value *decision;
};

static void release_begin(void *context, struct ask *ask) {
  struct releasing *r = context;
  engine_release(r->engine, r->id, r->stage, r->decision, service_answer_done, ask);
}

static struct value *release_decision(struct exchange *x, const struct value *body) {
  const struct value *values = value_get(body, "values");
  const char *verdict, *comment;
  if (!api_text(x, body, "decision", 20, &verdict) || !api_text(x, body, "comment", 2000, &comment)) return NULL;
  if (!verdict || (strcmp(verdict, "released") != 0 && strcmp(verdict, "rejected") != 0)) {
    http_problem(x, 400, "invalid", "'decision' has to be released or rejected");
    return NULL;
  }
  if (!value_is_null(values) && values->type != VALUE_MAP) {
    http_problem(x, 400, "invalid", "'values' has to be an object");
    return NULL;
  }
  struct value *decision = value_map();
  value_set_text(decision, "verdict", verdict);
  value_map_set(decision, "values", value_is_null(values) ? value_map() : value_copy(values));
  value_set_text(decision, "comment", comment);
  value_set_text(decision, "by", api_subject(x));
  return decision;
}

static void job_release(struct exchange *x) {
  static const char *const valid[] = {"stage", "decision", "values", "comment", NULL};
  struct releasing r = {.engine = api_service(x)->engine};
  struct job_record job = {0};
  const struct value *body = http_body_json(x);
  if (!body || !api_keys(x, body, valid) || !api_text(x, body, "stage", 63, &r.stage)) return;
  if (!r.stage) {
    http_problem(x, 400, "invalid", "'stage' is missing: name the stage that waits");
    return;
  }
  value_auto struct value *decision = release_decision(x, body);
  if (!decision || !api_job_changed(x, &job)) return;
  r.id = job.id;
  r.decision = decision;
  if (api_ask(x, release_begin, &r, NULL)) answer_status(x, 202, r.id);
  job_record_clear(&job);
}

static const struct route routes[] = {
    {"POST", "/api/v1/jobs/{id}/cancel", SCOPE_SUBMIT, 0, job_cancel, "cancelJob"},
    {"POST", "/api/v1/jobs/{id}/retry", SCOPE_SUBMIT, 0, job_retry, "retryJob"},
    {"POST", "/api/v1/jobs/{id}/pause", SCOPE_SUBMIT, 0, job_pause, "pauseJob"},
    {"POST", "/api/v1/jobs/{id}/resume", SCOPE_SUBMIT, 0, job_resume, "resumeJob"},
    {"POST", "/api/v1/jobs/{id}/priority", SCOPE_SUBMIT, 0, job_priority, "prioritizeJob"},
    {"POST", "/api/v1/jobs/{id}/release", SCOPE_SUBMIT, 0, job_release, "releaseStage"},
};
const struct api_table api_steer = API_TABLE(routes);
