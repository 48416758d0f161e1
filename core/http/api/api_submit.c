/* api_submit.c - POST /api/v1/jobs: from a request to a durable job. The order: read (a file goes to the disk), the repetition
 * key, what the caller may reach, the engine. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/form.h"
#include "api/idempotency.h"
#include "api/parts.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "service/bring.h"
#include "service/asset.h"
#include "service/bring.h"
#include "service/shelf.h"
#include "service/upload.h"

enum { REQUEST_MAX = 1 << 20, NAME_BYTES = 255, URL_BYTES = 4000 };

struct submitting {
  struct exchange *x;
  struct service *service;
  char id[STORE_ID_MAX];
  struct form form;
  struct value *body, *params, *extra, *facts;
  struct repeat repeat;
  const struct shelf_set *shelf;
  struct pipeline *own;            /* came with the request */
  struct pipeline *fronted;        /* with what brings a remote input in front */
  const struct pipeline *pipeline; /* own, or the shelf's */
  const char *asset, *title;
  char *name; /* the job's title, unless its input's name does */
  char *input, *output;
  int32_t priority;
};

static void submitting_clear(struct submitting *s) {
  form_clear(&s->form);
  value_free(&s->body);
  value_free(&s->params);
  value_free(&s->extra);
  value_free(&s->facts);
  repeat_clear(&s->repeat);
  pipeline_free(&s->own);
  pipeline_free(&s->fronted);
  if (s->shelf) shelf_release(s->service->shelf, &s->shelf);
  free(s->name);
  free(s->input);
  free(s->output);
}

static bool refuse(struct submitting *s, const struct error *e) {
  if (e->code == ERR_UNSUPPORTED)
    http_problem(s->x, 415, "unsupported", "%s", e->message);
  else if (e->code == ERR_NOT_FOUND) /* not what the path names: what the body does */
    http_problem(s->x, 400, "not-found", "%s", e->message);
  else
    http_error(s->x, e);
  return false;
}

/* ---- reading -------------------------------------------------------------------------------------------------------------- */

static struct form_limits submit_limits(struct service *service) {
  const struct settings *settings = settings_hold(service->settings);
  size_t request = settings->limits.body_bytes > 0 ? (size_t)settings->limits.body_bytes : REQUEST_MAX;
  struct form_limits limits = {request, settings->uploads.max_bytes};
  settings_release(service->settings, &settings);
  return limits;
}

static char *output_folder(const struct submitting *s, const char *below) {
  return mem_format("%s/%s%s", s->service->outputs_folder, s->id, below);
}

static bool submit_read(struct submitting *s) {
  struct error e = {0};
  engine_new_id(s->id);
  struct form_limits limits = submit_limits(s->service);
  mem_auto char *folder = output_folder(s, "/.input");
  int64_t length = http_content_length(s->x);
  enum err err = length > (int64_t)limits.request_bytes ? upload_room(s->service, length, &e) : ERR_OK;
  if (!err) err = form_read(s->x, folder, &limits, &s->form, &e);
  if (!err) err = value_from_json(buf_string(&s->form.request), s->form.request.size, &s->body, &e);
  if (!err && s->body->type != VALUE_MAP) err = error_set(&e, ERR_INVALID, "the submission has to be a JSON object");
  return err ? refuse(s, &e) : true;
}

static void submit_fingerprint(const struct submitting *s, char hex[65]) {
  buf_auto struct buf text = {0};
  value_json(&text, s->body, VALUE_JSON_COMPACT | VALUE_JSON_REVEAL);
  buf_format(&text, "\n%s\n%s", s->form.sha256, s->form.name ? s->form.name : "");
  digest_of(text.data, text.size, hex);
}

/* The file that came belongs to the job whose id was stored under the key by an earlier request. */
static void submit_adopt(struct submitting *s, const char *old_id) {
  if (!s->form.path || strcmp(old_id, s->id) == 0) return;
  mem_auto char *from = mem_format("%s/%s", s->service->outputs_folder, old_id), *to = output_folder(s, "");
  if (rename(from, to) != 0) fs_remove_path(from, NULL);
  free(s->form.path);
  s->form.path = mem_format("%s/.input/%s", to, s->form.name);
}

/* ---- what it says ------------------------------------------------------------------------------------------------------------ */

static bool submit_notify(struct submitting *s) {
  const struct value *notify = value_get(s->body, "notify");
  if (value_is_null(notify)) return true;
  if (!api_notify_check(s->x, notify)) return false;
  s->extra = value_map();
  value_map_set(s->extra, "notify", value_copy(notify));
  return true;
}

/* Pipelines use the title as the name of the input (job.name): what would be a path is none. */
static bool submit_title(struct submitting *s) {
  if (!api_text(s->x, s->body, "title", NAME_BYTES, &s->title)) return false;
  bool bad = s->title && (strchr(s->title, '/') || strcmp(s->title, "..") == 0 || strcmp(s->title, ".") == 0);
  for (const char *c = s->title; c && *c; c++) bad |= (unsigned char)*c < 0x20 || *c == 0x7f;
  if (!bad) return true;
  http_problem(s->x, 400, "invalid", "'title' may serve as a file's name: leave out slashes and control characters");
  return false;
}

/* Somebody else's asset is not one to add to. */
static bool submit_asset(struct submitting *s) {
  struct error e = {0};
  if (!api_text(s->x, s->body, "asset", NAME_BYTES, &s->asset)) return false;
  if (!s->asset || !asset_may_add(s->service, http_principal(s->x), s->asset, &e)) return true;
  return refuse(s, &e);
}

/* An upload is called what its owner called it, not what its key says. */
static char *submit_name(const struct submitting *s) {
  struct upload upload = {0};
  const char *named = value_get_text(s->body, "input", "");
  if (s->title) return mem_text(s->title);
  if (!upload_key_is(named) || upload_get(s->service, named, &upload, NULL)) return NULL;
  char *name = form_file_name(upload.original_name ? upload.original_name : upload.filename);
  upload_clear(&upload);
  return name;
}

static bool submit_words(struct submitting *s) {
  static const char *const valid[] = {"pipeline", "inline", "input", "params", "asset", "title", "priority", "notify", NULL};
  const struct value *priority = value_get(s->body, "priority"), *params = value_get(s->body, "params");
  s->priority = -1;
  if (!api_keys(s->x, s->body, valid) || !submit_title(s) || !submit_asset(s) || !submit_notify(s)) return false;
  if (!value_is_null(priority) && !api_priority(priority, &s->priority)) {
    http_problem(s->x, 400, "invalid", "'priority' has to be high, normal, low or a number from 0 to 100");
    return false;
  }
  if (value_is_null(params) || params->type == VALUE_MAP) return true;
  http_problem(s->x, 400, "invalid", "'params' has to be an object");
  return false;
}

/* ---- the pipeline -------------------------------------------------------------------------------------------------------------- */

static bool submit_shelved(struct submitting *s, const char *name) {
  s->shelf = shelf_hold(s->service->shelf);
  const struct shelved *found = shelf_find(s->shelf, name);
  if (found && found->pipeline) {
    s->pipeline = found->pipeline;
    return true;
  }
  if (found) {
    http_problem(s->x, 409, "conflict", "the pipeline %.80s has errors and cannot be used: GET /api/v1/pipelines/%.80s tells them",
                 name, name);
    return false;
  }
  const char *names[512];
  size_t count = 0;
  for (; count < shelf_count(s->shelf) && count < 512; count++) names[count] = shelf_at(s->shelf, count)->name;
  const char *near = report_nearest(name, names, count);
  if (near)
    http_problem(s->x, 400, "not-found", "there is no pipeline %.80s: did you mean %s?", name, near);
  else
    http_problem(s->x, 400, "not-found", "there is no pipeline %.80s: GET /api/v1/pipelines lists them", name);
  return false;
}

static bool submit_pipeline(struct submitting *s) {
  const struct principal *who = http_principal(s->x);
  const char *name, *yaml;
  if (!api_text(s->x, s->body, "pipeline", NAME_BYTES, &name)) return false;
  if (!api_text(s->x, s->body, "inline", REQUEST_MAX, &yaml)) return false;
  if (!name == !yaml) {
    http_problem(s->x, 400, "invalid", "name a 'pipeline', or send one as 'inline': one of the two");
    return false;
  }
  if (name) return submit_shelved(s, name);
  if (!(who->scopes & (SCOPE_PIPELINES | SCOPE_ADMIN))) {
    http_problem(s->x, 403, "denied", "sending a pipeline of one's own takes a token with scope pipelines");
    return false;
  }
  s->pipeline = s->own = api_inline_pipeline(s->x, yaml);
  return s->own != NULL;
}

/* ---- input and parameters --------------------------------------------------------------------------------------------------------- */

static enum err submit_input(struct submitting *s, struct error *e) {
  const struct value *input = value_get(s->body, "input");
  if (s->form.path && !value_is_null(input))
    return error_set(e, ERR_INVALID, "the request brings a file and names an input: one of the two");
  if (s->form.path) return s->input = mem_text(s->form.path), ERR_OK;
  if (value_is_null(input)) return ERR_OK;
  if (input->type != VALUE_TEXT || !input->text_size || input->text_size > URL_BYTES)
    return error_set(e, ERR_INVALID, "'input' has to be a text of 1 to %d bytes", URL_BYTES);
  return guard_input(s->service, http_principal(s->x), input->text, &s->input, e);
}

static enum err submit_reach(struct submitting *s, struct error *e) {
  const struct principal *who = http_principal(s->x);
  enum err err = submit_input(s, e);
  s->name = submit_name(s);
  if (!err) err = guard_params(s->service, who, s->pipeline, value_get(s->body, "params"), &s->params, e);
  if (err || !s->own) return err;
  s->facts = value_map();
  value_set_text(s->facts, "id", s->id);
  value_set_text(s->facts, "input", s->input);
  value_set_text(s->facts, "name", s->name ? s->name : s->input ? fs_base_name(s->input) : s->own->name);
  return guard_inline(s->service, who, s->own, s->params, s->facts, e);
}

/* A remote input that nothing in the pipeline brings is brought by a stage in front of it. */
static enum err submit_bring(struct submitting *s, struct error *e) {
  const char *named = value_get_text(s->body, "input", "");
  enum bring_from from = upload_key_is(named) ? BRING_OWN : BRING_URL;
  enum err err = s->input ? bring_input(s->service, s->pipeline, s->input, from, s->params, &s->fronted, e) : ERR_OK;
  if (!err && s->fronted) s->pipeline = s->fronted;
  return err;
}

static enum err submit_room(struct submitting *s, struct error *e) {
  const struct settings *settings = settings_hold(s->service->settings);
  uint64_t most = settings->limits.queue > 0 ? (uint64_t)settings->limits.queue : 0;
  struct store_counts counts = {0};
  settings_release(s->service->settings, &settings);
  if (!most || store_counts(s->service->store, &counts, NULL)) return ERR_OK;
  if (counts.by_status[JOB_QUEUED] < most) return ERR_OK;
  return error_set(e, ERR_BUSY, "%llu jobs are waiting, as many as may: submit again later",
                   (unsigned long long)counts.by_status[JOB_QUEUED]);
}

/* ---- the engine ---------------------------------------------------------------------------------------------------------------------- */

static void submit_done(void *ask, const char *job, enum submit_outcome outcome, const struct error *e) {
  struct value *answer = value_map();
  (void)outcome;
  value_set_text(answer, "id", job);
  service_answer(ask, e, answer);
}

static void submit_begin(void *context, struct ask *ask) {
  struct submitting *s = context;
  struct error e = {0};
  struct submission submission = {
      .pipeline = s->pipeline,
      .input = s->input,
      .given = s->params,
      .given_folder = "/",
      .output_folder = s->output,
      .owner = api_subject(s->x),
      .asset = s->asset,
      .title = s->name,
      .id = s->id,
      .priority = s->priority,
      .extra = s->extra,
  };
  if (engine_submit(s->service->engine, &submission, submit_done, ask, &e)) service_answer(ask, &e, NULL);
}

static enum err submit_engine(struct submitting *s, struct error *e) {
  struct job_record job = {0};
  /* An earlier request with this key got that far. */
  if (s->repeat.record && !s->repeat.first && !store_job(s->service->store, s->id, &job, NULL)) {
    job_record_clear(&job);
    return ERR_OK;
  }
  s->output = output_folder(s, "");
  enum err err = submit_room(s, e);
  if (!err) err = submit_reach(s, e);
  if (!err) err = submit_bring(s, e);
  if (!err) err = service_ask(s->service, submit_begin, s, NULL, e);
  if (err == ERR_CONFLICT && !store_job(s->service->store, s->id, &job, NULL)) err = ERR_OK;
  job_record_clear(&job);
  return err;
}

static void submit_location(struct submitting *s, const char *id) {
  mem_auto char *path = mem_format("/api/v1/jobs/%s", id);
  http_set_header(s->x, "Location", path);
}

static void submit_answer(struct submitting *s) {
  struct job_record job = {0};
  struct error e = {0};
  if (store_job(s->service->store, s->id, &job, &e)) {
    http_error(s->x, &e);
    return;
  }
  value_auto struct value *v = api_job_value(s->x, &job);
  buf_auto struct buf json = {0};
  value_json(&json, v, VALUE_JSON_COMPACT);
  repeat_end(s->x, &s->repeat, s->id, buf_string(&json));
  submit_location(s, s->id);
  http_text(s->x, 202, "application/json", json.data, json.size);
  job_record_clear(&job);
}

static void submit_again(struct submitting *s) {
  http_set_header(s->x, "Idempotent-Replayed", "true");
  submit_location(s, s->id);
  http_text(s->x, 202, "application/json", s->repeat.answer, strlen(s->repeat.answer));
}

/* What came with a request that made no job is not kept. */
static void submit_forget(struct submitting *s) {
  mem_auto char *folder = output_folder(s, "");
  struct job_record job = {0};
  bool there = !store_job(s->service->store, s->id, &job, NULL); /* another request with the same key got further */
  job_record_clear(&job);
  if (!there) fs_remove_path(folder, NULL);
}

static bool submit_repeat(struct submitting *s) {
  char fingerprint[65], made[STORE_ID_MAX];
  struct error e = {0};
  submit_fingerprint(s, fingerprint);
  snprintf(made, sizeof made, "%s", s->id);
  enum err err = repeat_begin(s->x, fingerprint, s->id, &s->repeat, &e);
  if (err == ERR_CONFLICT) {
    http_problem(s->x, 422, "conflict", "%s", e.message);
    return false;
  }
  if (err) return refuse(s, &e);
  submit_adopt(s, made);
  return true;
}

static void job_submit(struct exchange *x) {
  struct submitting s = {.x = x, .service = api_service(x)};
  struct error e = {0};
  if (!submit_read(&s) || !submit_words(&s) || !submit_pipeline(&s) || !submit_repeat(&s)) {
    submit_forget(&s);
  } else if (s.repeat.answer) {
    submit_again(&s);
  } else if (submit_engine(&s, &e)) {
    repeat_end(x, &s.repeat, s.id, NULL);
    submit_forget(&s);
    refuse(&s, &e);
  } else {
    submit_answer(&s);
  }
  submitting_clear(&s);
}

static const struct route routes[] = {
    {"POST", "/api/v1/jobs", SCOPE_SUBMIT, ROUTE_STREAM, job_submit, "submitJob"},
};
const struct api_table api_submit = API_TABLE(routes);
