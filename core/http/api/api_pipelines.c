/* api_pipelines.c - the pipelines on the shelf: list, show, pause; check and plan, of these and of ones that are sent. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "api/pause.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/foresee.h"
#include "pipeline/plan.h"
#include "pipeline/stagejson.h"
#include "service/shelf.h"

enum { YAML_MAX = 256 * 1024, NAME_BYTES = 255, LOOK_WAIT_S = 20 };

/* ---- problems --------------------------------------------------------------------------------------------------------------- */

/* The sentence, the source line and the caret as `stagemill check` prints them. */
static char *problem_text(const struct report *report) {
  struct buf out = {0};
  report_text(report, &out, false);
  return buf_take(&out);
}

static struct value *problems_value(const struct report *report) {
  struct value *list = value_list();
  for (size_t i = 0; report && i < report_count(report); i++) {
    const struct problem *p = report_at(report, i);
    struct value *v = value_map();
    value_set_text(v, "level", p->level == PROBLEM_ERROR ? "error" : "warning");
    value_set_text(v, "file", p->file ? fs_base_name(p->file) : NULL);
    value_set_int(v, "line", (int64_t)p->line);
    value_set_int(v, "column", (int64_t)p->column);
    value_set_int(v, "length", (int64_t)p->length);
    value_set_text(v, "message", p->message);
    value_set_text(v, "hint", p->hint);
    value_set_text(v, "source", p->source);
    value_list_add(list, v);
  }
  return list;
}

static struct pipeline *inline_parse(struct exchange *x, const char *yaml, struct report *report) {
  struct pipeline *pipeline = NULL;
  struct error e = {0};
  size_t size = strlen(yaml);
  if (size > YAML_MAX)
    report_add(report, PROBLEM_ERROR, API_INLINE, 0, 0, 0, NULL, NULL, "a pipeline may have %d bytes", YAML_MAX);
  else if (pipeline_parse(yaml, size, API_INLINE, NULL, api_service(x)->stages, report, &pipeline, &e) && !report_errors(report))
    report_add(report, PROBLEM_ERROR, API_INLINE, 0, 0, 0, NULL, NULL, "%s", e.message);
  return pipeline;
}

struct pipeline *api_inline_pipeline(struct exchange *x, const char *yaml) {
  struct report *report = report_new();
  struct pipeline *pipeline = inline_parse(x, yaml, report);
  if (!pipeline) {
    value_auto struct value *v = value_map();
    mem_auto char *text = problem_text(report);
    buf_auto struct buf json = {0};
    value_set_text(v, "type", "urn:stagemill:invalid");
    value_set_text(v, "title", "Unprocessable Content");
    value_set_int(v, "status", 422);
    value_set_text(v, "detail", report_count(report) ? report_at(report, 0)->message : "the pipeline has errors");
    value_set_text(v, "code", "invalid");
    value_map_set(v, "problems", problems_value(report));
    value_set_text(v, "text", text);
    value_json(&json, v, VALUE_JSON_COMPACT);
    http_text(x, 422, "application/problem+json", json.data, json.size);
  }
  report_free(&report);
  return pipeline;
}

/* ---- show ---------------------------------------------------------------------------------------------------------------------- */

static struct value *fallback_value(const struct pipeline_param *param) {
  return param->fallback ? value_copy(param->fallback) : value_null();
}

static struct value *params_value(const struct pipeline *pipeline) {
  struct value *list = value_list();
  for (size_t i = 0; i < pipeline->param_count; i++) {
    const struct pipeline_param *param = &pipeline->params[i];
    struct value *v = param_json(param->type);
    value_set_bool(v, "required", !param->fallback);
    value_map_set(v, "default", fallback_value(param));
    value_map_set(v, "schema", param_schema(param->type));
    value_list_add(list, v);
  }
  return list;
}

static struct value *stages_value(const struct pipeline *pipeline) {
  struct value *list = value_list();
  for (size_t i = 0; i < pipeline->stage_count; i++) {
    const struct pipeline_stage *s = &pipeline->stages[i];
    struct value *v = value_map(), *needs = value_list();
    value_set_text(v, "id", s->id);
    value_set_text(v, "uses", s->uses);
    value_set_text(v, "title", s->title);
    for (size_t k = 0; k < s->after_count; k++) value_list_add(needs, value_text(pipeline->stages[s->after[k]].id));
    value_map_set(v, "needs", needs);
    value_list_add(list, v);
  }
  return list;
}

static struct value *shelved_value(struct exchange *x, const struct shelved *shelved) {
  struct value *v = value_map(), *results = value_list();
  const struct pipeline *p = shelved->pipeline;
  mem_auto char *what = mem_format("pipeline:%s", shelved->name);
  value_set_text(v, "name", shelved->name);
  value_set_text(v, "title", p ? p->title : NULL);
  value_set_text(v, "summary", shelved->summary);
  value_set_text(v, "digest", p ? p->digest : NULL);
  value_set_text(v, "file", api_is_admin(x) ? shelved->file : fs_base_name(shelved->file));
  value_map_set(v, "params", p ? params_value(p) : value_list());
  value_map_set(v, "stages", p ? stages_value(p) : value_list());
  for (size_t i = 0; p && i < p->result_count; i++) value_list_add(results, value_text(p->results[i].key));
  value_map_set(v, "results", results);
  value_set_bool(v, "readsInput", p && pipeline_reads_input(p));
  pause_set(api_service(x), what, v);
  value_map_set(v, "problems", problems_value(shelved->problems));
  return v;
}

static void pipelines_list(struct exchange *x) {
  struct shelf *shelf = api_service(x)->shelf;
  const struct shelf_set *set = shelf_hold(shelf);
  value_auto struct value *v = value_map();
  struct value *list = value_list();
  value_map_set(v, "pipelines", list);
  for (size_t i = 0; i < shelf_count(set); i++) value_list_add(list, shelved_value(x, shelf_at(set, i)));
  shelf_release(shelf, &set);
  http_json(x, 200, v);
}

/* Holds the shelf when it answers a pipeline; NULL: 404 was answered. */
static const struct shelved *shelved_named(struct exchange *x, const char *name, const struct shelf_set **set) {
  struct shelf *shelf = api_service(x)->shelf;
  *set = shelf_hold(shelf);
  const struct shelved *found = shelf_find(*set, name);
  if (found) return found;
  shelf_release(shelf, set);
  api_not_found(x, "pipeline", name);
  return NULL;
}

static void pipeline_get(struct exchange *x) {
  const struct shelf_set *set;
  const struct shelved *shelved = shelved_named(x, http_param(x, "name"), &set);
  if (!shelved) return;
  value_auto struct value *v = shelved_value(x, shelved);
  value_set_text(v, "yaml", shelved->text);
  shelf_release(api_service(x)->shelf, &set);
  http_json(x, 200, v);
}

/* ---- check ------------------------------------------------------------------------------------------------------------------------ */

static void check_answer(struct exchange *x, const struct pipeline *pipeline, const struct report *report) {
  value_auto struct value *v = value_map();
  struct report *none = report ? NULL : report_new();
  mem_auto char *text = problem_text(report ? report : none);
  value_set_bool(v, "ok", pipeline != NULL && (!report || !report_errors(report)));
  value_set_text(v, "pipeline", pipeline ? pipeline->name : NULL);
  value_map_set(v, "problems", problems_value(report));
  value_set_text(v, "text", text);
  report_free(&none);
  http_json(x, 200, v);
}

static void pipelines_check(struct exchange *x) {
  static const char *const valid[] = {"inline", "pipeline", NULL};
  const struct value *body = http_body_json(x);
  const char *yaml, *name;
  if (!body || !api_keys(x, body, valid) || !api_text(x, body, "inline", SIZE_MAX, &yaml) ||
      !api_text(x, body, "pipeline", NAME_BYTES, &name))
    return;
  if (!yaml == !name) {
    http_problem(x, 400, "invalid", "name a 'pipeline', or send one as 'inline': one of the two");
    return;
  }
  if (name) {
    const struct shelf_set *set;
    const struct shelved *shelved = shelved_named(x, name, &set);
    if (!shelved) return;
    check_answer(x, shelved->pipeline, shelved->problems);
    shelf_release(api_service(x)->shelf, &set);
    return;
  }
  struct report *report = report_new();
  struct pipeline *pipeline = inline_parse(x, yaml, report);
  check_answer(x, pipeline, report);
  pipeline_free(&pipeline);
  report_free(&report);
}

/* ---- plan --------------------------------------------------------------------------------------------------------------------------- */

/* One at a time: a look starts a process with all of its libraries, and is not counted among the engine's attempts. */
static enum err plan_look(struct exchange *x, const struct pipeline *pipeline, const struct value *params,
                          const struct value *job, struct value **notes, struct error *e) {
  static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
  const char *input = value_get_text(job, "input", NULL);
  struct timespec until;
  if (!input || strstr(input, "://")) return ERR_OK;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += LOOK_WAIT_S;
  if (pthread_mutex_timedlock(&one, &until))
    return error_set(e, ERR_BUSY, "other plans are being made at this moment: ask again");
  enum err err = foresee(&api_service(x)->crew, pipeline, params, job, input, notes, e);
  pthread_mutex_unlock(&one);
  return err;
}

static enum err plan_make(struct exchange *x, const struct pipeline *pipeline, const struct value *body, struct value **plan,
                          struct error *e) {
  const char *input = value_get_text(body, "input", NULL);
  value_auto struct value *given = NULL, *params = NULL, *notes = NULL, *job = value_map();
  mem_auto char *resolved = NULL;
  buf_auto struct buf text = {0}, json = {0};
  enum err err = input ? guard_input(api_service(x), http_principal(x), input, &resolved, e) : ERR_OK;
  if (!err) err = guard_params(api_service(x), http_principal(x), pipeline, value_get(body, "params"), &given, e);
  if (!err) err = pipeline_params(pipeline, given, "/", &params, e);
  if (!err) err = pipeline_settings_fit(pipeline, params, e);
  value_set_text(job, "id", "plan");
  value_set_text(job, "input", resolved);
  value_set_text(job, "name", resolved ? fs_base_name(resolved) : pipeline->name);
  if (!err) err = plan_look(x, pipeline, params, job, &notes, e);
  if (!err) err = plan_text(pipeline, params, job, notes, &text, e);
  if (!err) err = plan_json(pipeline, params, job, notes, &json, e);
  if (!err) err = value_from_json(buf_string(&json), json.size, plan, e);
  if (err) return err;
  value_set_text(*plan, "file", fs_base_name(pipeline->file ? pipeline->file : ""));
  value_set_text(*plan, "text", buf_string(&text));
  return ERR_OK;
}

static void pipeline_plan(struct exchange *x) {
  static const char *const valid[] = {"input", "params", NULL};
  const struct value *body = api_body(x);
  const struct shelf_set *set;
  const char *input;
  value_auto struct value *plan = NULL;
  struct error e = {0};
  if (!body || !api_keys(x, body, valid) || !api_text(x, body, "input", 4000, &input)) return;
  const struct value *params = value_get(body, "params");
  if (!value_is_null(params) && params->type != VALUE_MAP) {
    http_problem(x, 400, "invalid", "'params' has to be an object");
    return;
  }
  const struct shelved *shelved = shelved_named(x, http_param(x, "name"), &set);
  if (!shelved) return;
  if (!shelved->pipeline)
    http_problem(x, 409, "conflict", "the pipeline %s has errors: GET /api/v1/pipelines/%s tells them", shelved->name,
                 shelved->name);
  else if (plan_make(x, shelved->pipeline, value_is_null(params) && !input ? NULL : body, &plan, &e))
    http_error(x, &e);
  else
    http_json(x, 200, plan);
  shelf_release(api_service(x)->shelf, &set);
}

/* ---- pause ---------------------------------------------------------------------------------------------------------------------------- */

static void pipeline_hold(struct exchange *x, void (*act)(struct exchange *, const char *)) {
  const struct shelf_set *set;
  const char *name = http_param(x, "name");
  if (!shelved_named(x, name, &set)) return;
  shelf_release(api_service(x)->shelf, &set);
  mem_auto char *what = mem_format("pipeline:%s", name);
  act(x, what);
}

static void pipeline_pause(struct exchange *x) { pipeline_hold(x, pause_begin); }
static void pipeline_resume(struct exchange *x) { pipeline_hold(x, pause_end); }

static const struct route routes[] = {
    {"GET", "/api/v1/pipelines", SCOPE_READ | SCOPE_SUBMIT, 0, pipelines_list, "listPipelines"},
    {"GET", "/api/v1/pipelines/{name}", SCOPE_READ | SCOPE_SUBMIT, 0, pipeline_get, "getPipeline"},
    {"POST", "/api/v1/pipelines/check", SCOPE_READ | SCOPE_SUBMIT, 0, pipelines_check, "checkPipeline"},
    {"POST", "/api/v1/pipelines/{name}/plan", SCOPE_READ | SCOPE_SUBMIT, 0, pipeline_plan, "planPipeline"},
    {"POST", "/api/v1/pipelines/{name}/pause", SCOPE_ADMIN, 0, pipeline_pause, "pausePipeline"},
    {"POST", "/api/v1/pipelines/{name}/resume", SCOPE_ADMIN, 0, pipeline_resume, "resumePipeline"},
};
const struct api_table api_pipelines = API_TABLE(routes);
