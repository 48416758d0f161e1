/* jobview.c - the public form of a job: what the store holds, less what nobody should see. */
#include <string.h>

#include <stagemill/abi.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

enum { PINNED_MAX = 16 << 20 };

/* ---- small pieces ---------------------------------------------------------------------------------------------------- */

struct matter api_matter(const struct job_record *job) {
  return (struct matter){.owner = job->owner, .job = job->id, .batch = job->batch, .asset = job->asset,
                         .pipeline = job->pipeline};
}

void api_set_time(struct value *map, const char *key, int64_t wall_us) {
  char text[32];
  value_set_text(map, key, wall_us ? clock_format(wall_us, text) : NULL);
}

struct value *api_parsed(const char *json) {
  struct value *v = NULL;
  if (!json || value_from_json(json, strlen(json), &v, NULL)) return value_null();
  return v;
}

void api_set_json(struct value *map, const char *key, const char *json) { value_map_set(map, key, api_parsed(json)); }

static void link_set(struct value *links, const char *name, const char *id, const char *below) {
  mem_auto char *path = mem_format("/api/v1/jobs/%s%s", id, below);
  value_set_text(links, name, path);
}

char *api_socket_url(struct exchange *x, const char *parameter, const char *id) {
  const char *origin = http_origin(x);
  bool secure = strncmp(origin, "https://", 8) == 0;
  const char *host = strstr(origin, "://");
  return mem_format("%s://%s/ws?%s=%s", secure ? "wss" : "ws", host ? host + 3 : origin, parameter, id);
}

/* ---- who may ---------------------------------------------------------------------------------------------------------- */

static bool job_allowed(struct exchange *x, struct job_record *job, bool change) {
  const char *id = http_param(x, "id");
  struct error e = {0};
  enum err err = id && strlen(id) < STORE_ID_MAX ? store_job(api_service(x)->store, id, job, &e)
                                                 : error_set(&e, ERR_NOT_FOUND, "no such id");
  if (err && err != ERR_NOT_FOUND) {
    http_error(x, &e);
    return false;
  }
  struct matter matter = {0};
  if (!err) matter = api_matter(job);
  const struct principal *who = http_principal(x);
  if (!err && who && (change ? principal_may_change : principal_may_see)(who, &matter)) return true;
  if (!err) job_record_clear(job);
  api_not_found(x, "job", id);
  return false;
}

bool api_job_seen(struct exchange *x, struct job_record *job) { return job_allowed(x, job, false); }
bool api_job_changed(struct exchange *x, struct job_record *job) { return job_allowed(x, job, true); }

/* ---- a job ------------------------------------------------------------------------------------------------------------ */

/* {message, stage, code}; what only helps whoever runs the daemon is for scope admin. */
static struct value *error_shown(const char *json, bool admin) {
  struct value *v = api_parsed(json);
  if (v->type != VALUE_MAP || admin || !value_get(v, "debug")) return v;
  struct value *less = value_map();
  for (size_t i = 0; i < v->count; i++)
    if (strcmp(v->keys[i], "debug") != 0) value_map_set(less, v->keys[i], value_copy(v->items[i]));
  value_free(&v);
  return less;
}

static int64_t job_took_ms(const struct job_record *job) {
  return job->started_us && job->ended_us > job->started_us ? (job->ended_us - job->started_us) / 1000 : 0;
}

static void job_set_pause(struct value *v, const struct job_record *job) {
  value_auto struct value *extra = api_parsed(job->extra_json);
  const struct value *pause = value_get(extra, "pause");
  if (value_is_null(pause)) return;
  int64_t until_us = value_get_int(pause, "untilUs", 0);
  if (until_us)
    api_set_time(v, "pausedUntil", until_us);
  else
    value_set_text(v, "pausedUntil", value_get_text(pause, "until", NULL));
}

static struct value *job_links(const struct job_record *job) {
  struct value *links = value_map();
  link_set(links, "self", job->id, "");
  link_set(links, "events", job->id, "/events");
  link_set(links, "artifacts", job->id, "/artifacts");
  link_set(links, "logs", job->id, "/logs");
  return links;
}

struct value *api_job_value(struct exchange *x, const struct job_record *job) {
  struct value *v = value_map();
  value_set_text(v, "id", job->id);
  value_set_text(v, "pipeline", job->pipeline);
  value_set_text(v, "title", job->title);
  value_set_text(v, "owner", job->owner);
  value_set_text(v, "asset", job->asset);
  value_set_text(v, "batchId", job->batch);
  value_set_text(v, "status", job_status_word(job->status));
  value_set_number(v, "pct", job->status == JOB_COMPLETED ? 100 : job->pct_ppm / 1e4);
  value_set_text(v, "waitReason", job->wait_reason && *job->wait_reason ? job->wait_reason : NULL);
  value_set_int(v, "attempt", job->attempt);
  value_set_int(v, "maxAttempts", job->max_attempts);
  value_set_int(v, "round", job->round);
  value_set_int(v, "priority", job->priority);
  if (job->cancel_requested) value_set_bool(v, "cancelRequested", true);
  job_set_pause(v, job);
  api_set_time(v, "queuedAt", job->created_us);
  api_set_time(v, "startedAt", job->started_us);
  api_set_time(v, "endedAt", job->ended_us);
  if (job->ended_us) value_set_int(v, "durationMs", job_took_ms(job));
  value_set_int(v, "lastSeq", (int64_t)job->last_seq);
  if (job->result_json) api_set_json(v, "result", job->result_json);
  if (job->error_json) value_map_set(v, "error", error_shown(job->error_json, api_is_admin(x)));
  mem_auto char *socket = api_socket_url(x, "jobId", job->id);
  value_set_text(v, "websocketUrl", socket);
  value_map_set(v, "links", job_links(job));
  return v;
}

/* ---- what is behind it ------------------------------------------------------------------------------------------------ */

struct pipeline *api_job_pipeline(struct service *service, const struct job_record *job) {
  value_auto struct value *spec = api_parsed(job->spec_json);
  const char *digest = value_get_text(spec, "pinned", NULL);
  if (!digest || strchr(digest, '/')) return NULL;
  mem_auto char *path = mem_format("%s/pinned/%s.yaml", service->state_folder, digest);
  buf_auto struct buf text = {0};
  struct pipeline *pipeline = NULL;
  if (fs_read_file(path, PINNED_MAX, &text, NULL)) return NULL;
  struct report *report = report_new();
  pipeline_parse(buf_string(&text), text.size, job->pipeline, NULL, service->stages, report, &pipeline, NULL);
  report_free(&report);
  return pipeline;
}

static struct value *stage_value(const struct stage_record *s, const struct pipeline *pipeline, bool admin) {
  struct value *v = value_map(), *needs = value_list();
  const struct pipeline_stage *declared = pipeline ? pipeline_find(pipeline, s->stage) : NULL;
  value_set_text(v, "id", s->stage);
  value_set_text(v, "uses", declared ? declared->uses : NULL);
  value_set_text(v, "title", declared ? declared->title : NULL);
  for (size_t i = 0; declared && i < declared->after_count; i++)
    value_list_add(needs, value_text(pipeline->stages[declared->after[i]].id));
  value_map_set(v, "needs", needs);
  value_set_text(v, "status", stage_status_word(s->status));
  value_set_int(v, "attempts", s->tries);
  value_set_int(v, "failedAttempts", s->attempts);
  value_set_text(v, "reason", s->reason && *s->reason ? s->reason : NULL);
  api_set_time(v, "retryAt", s->status == STAGE_DELAYED ? s->not_before_us : 0);
  api_set_time(v, "startedAt", s->started_us);
  api_set_time(v, "endedAt", s->ended_us);
  api_set_json(v, "results", s->result_json);
  value_map_set(v, "error", error_shown(s->error_json, admin));
  return v;
}

static struct value *attempt_value(const char *job, const struct attempt_record *a, const char *state_folder, bool admin) {
  struct value *v = value_map(), *log = value_map();
  struct stat st;
  mem_auto char *path = mem_format("%s/jobs/%s/logs/%llu.log", state_folder, job, (unsigned long long)a->fence);
  mem_auto char *href = mem_format("/api/v1/jobs/%s/logs/%llu", job, (unsigned long long)a->fence);
  value_set_int(v, "fence", (int64_t)a->fence);
  value_set_text(v, "stages", a->stages);
  value_set_text(v, "outcome", a->state == ATTEMPT_LIVE ? "running" : a->outcome);
  value_set_text(v, "node", a->node);
  value_map_set(v, "pid", a->pid ? value_int(a->pid) : value_null());
  value_set_text(v, "stageAtFault", a->stage_at_fault);
  api_set_time(v, "startedAt", a->started_us);
  api_set_time(v, "endedAt", a->ended_us);
  value_map_set(v, "error", error_shown(a->error_json, admin));
  api_set_json(v, "stats", a->stats_json);
  bool there = stat(path, &st) == 0;
  if (there) {
    value_set_int(log, "bytes", st.st_size);
    value_set_text(log, "href", href);
    value_map_set(v, "log", log);
  } else {
    value_free(&log);
    value_map_set(v, "log", value_null());
  }
  return v;
}

/* Where files lie on this machine is for scope admin; everybody else knows them by name. */
static struct value *input_shown(const struct value *input, bool admin) {
  const char *path = value_get_text(input, "path", NULL), *url = value_get_text(input, "url", NULL);
  if (path) return value_text(admin ? path : fs_base_name(path));
  if (!url) return value_null();
  mem_auto char *masked = api_masked_url(url);
  return value_text(masked);
}

/* As submitted, with what operators edited since in their place. */
static struct value *params_shown(const struct job_record *job, const struct pipeline *pipeline, const struct value *spec) {
  value_auto struct value *extra = api_parsed(job->extra_json), *all = value_map();
  const struct value *layers[] = {value_get(spec, "params"), value_get(extra, "params")};
  for (size_t l = 0; l < sizeof layers / sizeof *layers; l++)
    for (size_t i = 0; layers[l] && layers[l]->type == VALUE_MAP && i < layers[l]->count; i++)
      value_map_set(all, layers[l]->keys[i], value_copy(layers[l]->items[i]));
  return api_masked(pipeline, all);
}

/* Where files lie is for scope admin. */
static void params_trim(const struct pipeline *pipeline, struct value *params) {
  for (size_t i = 0; pipeline && i < params->count; i++) {
    const struct value *v = params->items[i];
    bool path = false;
    for (size_t p = 0; p < pipeline->param_count; p++)
      path |= strcmp(pipeline->params[p].name, params->keys[i]) == 0 &&
              (pipeline->params[p].type->takes & (SM_TAKES_FILE | SM_TAKES_TARGET));
    if (!path || v->type != VALUE_TEXT || v->text[0] != '/') continue;
    mem_auto char *name = mem_text(fs_base_name(v->text));
    value_set_text(params, params->keys[i], name);
  }
}

static struct value *spec_value(const struct job_record *job, const struct pipeline *pipeline, bool admin) {
  value_auto struct value *spec = api_parsed(job->spec_json);
  struct value *v = value_map();
  value_map_set(v, "input", input_shown(value_get(spec, "input"), admin));
  const struct value *bytes = value_path(spec, "input.bytes");
  value_map_set(v, "inputBytes", bytes ? value_copy(bytes) : value_null());
  struct value *params = params_shown(job, pipeline, spec);
  if (!admin) params_trim(pipeline, params);
  value_map_set(v, "params", params);
  const char *file = value_get_text(spec, "file", NULL);
  value_set_text(v, "pipelineFile", file && !admin ? fs_base_name(file) : file);
  value_set_text(v, "pipelineDigest", value_get_text(spec, "pinned", NULL));
  if (admin) value_set_text(v, "output", value_get_text(spec, "output", NULL));
  return v;
}

static struct value *notify_value(const struct job_record *job) {
  value_auto struct value *extra = api_parsed(job->extra_json);
  const struct value *notify = value_get(extra, "notify");
  return value_is_null(notify) ? value_null() : api_masked(NULL, notify);
}

static enum err detail_lists(struct exchange *x, const struct job_record *job, const struct pipeline *pipeline,
                             struct value *v, struct error *e) {
  struct service *service = api_service(x);
  struct stage_list stages = {0};
  struct attempt_list attempts = {0};
  struct value *stage_values = value_list(), *attempt_values = value_list();
  value_map_set(v, "stages", stage_values);
  value_map_set(v, "attempts", attempt_values);
  if (store_stages(service->store, job->id, &stages, e)) return e->code;
  for (size_t i = 0; i < stages.count; i++) {
    struct value *stage = stage_value(&stages.items[i], pipeline, api_is_admin(x));
    struct value *hold = stages.items[i].status == STAGE_HELD ? engine_describe_hold(job, stages.items[i].stage) : NULL;
    if (hold) value_map_set(stage, "hold", hold);
    value_list_add(stage_values, stage);
  }
  stage_list_clear(&stages);
  if (store_attempts(service->store, job->id, &attempts, e)) return e->code;
  for (size_t i = 0; i < attempts.count; i++)
    value_list_add(attempt_values, attempt_value(job->id, &attempts.items[i], service->state_folder, api_is_admin(x)));
  attempt_list_clear(&attempts);
  return ERR_OK;
}

/* What only the engine's memory knows: which stage is at work and what it says; what stands before a job that waits. */
struct live {
  struct service *service;
  const char *id;
};

static void live_begin(void *context, struct ask *ask) {
  struct live *live = context;
  struct value *state = NULL;
  struct error e = {0};
  engine_state(live->service->engine, live->id, &state, &e);
  service_answer(ask, &e, state);
}

static void detail_live(struct service *service, const struct job_record *job, struct value *v) {
  static const char *const keys[] = {"stage", "message", "etaSeconds", "pct", "waitReason", "queuePosition"};
  struct live live = {service, job->id};
  value_auto struct value *state = NULL;
  if (job_status_is_terminal(job->status) || service_ask(service, live_begin, &live, &state, NULL)) return;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (value_get(state, keys[i])) value_map_set(v, keys[i], value_copy(value_get(state, keys[i])));
}

char *api_wait_reason(struct exchange *x, const struct job_record *job) {
  value_auto struct value *v = value_map();
  value_set_text(v, "waitReason", job->wait_reason && *job->wait_reason ? job->wait_reason : NULL);
  detail_live(api_service(x), job, v);
  return mem_text(value_get_text(v, "waitReason", NULL));
}

struct value *api_job_detail(struct exchange *x, const struct job_record *job, struct error *e) {
  struct service *service = api_service(x);
  struct pipeline *pipeline = api_job_pipeline(service, job);
  struct value *v = api_job_value(x, job);
  detail_live(service, job, v);
  enum err err = detail_lists(x, job, pipeline, v, e);
  value_map_set(v, "spec", spec_value(job, pipeline, api_is_admin(x)));
  value_map_set(v, "notify", notify_value(job));
  pipeline_free(&pipeline);
  if (err) value_free(&v);
  return v;
}
