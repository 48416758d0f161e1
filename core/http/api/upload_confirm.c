/* upload_confirm.c - POST /api/v1/uploads/confirm: the file is there; from now on it is an asset, and a job is about
 * it.
 *
 * The ids of both are chosen and stored before anything is made. Whoever confirms again, at the same time or after the
 * daemon died half way, goes the same way with the same ids, and what is there already is found rather than made. */
#include <stdio.h>
#include <string.h>

#include "api/form.h"
#include "api/upload_parts.h"
#include "base/clock.h"
#include "base/mem.h"
#include "service/asset.h"
#include "service/bring.h"

enum { NAME_BYTES = 255 };
static const int64_t LOCK_US = 30 * INT64_C(1000000), DAY_US = 86400 * INT64_C(1000000);

struct confirming {
  struct exchange *x;
  struct service *service;
  const char *key, *file_name, *bucket;
  struct asset_words words;
  struct upload upload;
  struct upload_pipeline held;
  struct pipeline *fronted;
  const struct pipeline *pipeline;
  struct value *params;
  char *input, *output, *title;
};

static void confirming_clear(struct confirming *c) {
  upload_pipeline_release(c->service, &c->held);
  upload_clear(&c->upload);
  pipeline_free(&c->fronted);
  value_free(&c->params);
  free(c->input);
  free(c->output);
  free(c->title);
}

static bool read_words(struct confirming *c) {
  static const char *const valid[] = {"fileKey", "originalName", "fileName",   "bucketName",
                                      "title",   "author",       "recordedAt", NULL};
  const struct value *body = api_body(c->x);
  int64_t recorded;
  if (!body || !api_keys(c->x, body, valid) || !api_text(c->x, body, "fileKey", UPLOAD_KEY_MAX, &c->key) ||
      !api_text(c->x, body, "originalName", NAME_BYTES, &c->words.original_name) ||
      !api_text(c->x, body, "fileName", NAME_BYTES, &c->file_name) ||
      !api_text(c->x, body, "bucketName", NAME_BYTES, &c->bucket) ||
      !api_text(c->x, body, "title", NAME_BYTES, &c->words.title) ||
      !api_text(c->x, body, "author", NAME_BYTES, &c->words.author) ||
      !api_text(c->x, body, "recordedAt", 64, &c->words.recorded_at))
    return false;
  if (!c->key)
    http_problem(c->x, 400, "invalid", "'fileKey' is missing");
  else if (c->words.recorded_at && !clock_parse(c->words.recorded_at, &recorded))
    http_problem(c->x, 400, "invalid", "'recordedAt' has to be a time: 2026-01-31T12:00:00Z");
  else
    return true;
  return false;
}

/* ---- what the job needs ----------------------------------------------------------------------------------------- */

/* The upload's own, else the one that is configured. */
static char *pipeline_name(const struct confirming *c) {
  if (c->upload.pipeline) return mem_text(c->upload.pipeline);
  const struct settings *settings = settings_hold(c->service->settings);
  char *name = mem_text(settings->uploads.pipeline);
  settings_release(c->service->settings, &settings);
  return name;
}

static enum err prepare_job(struct confirming *c, struct error *e) {
  const struct principal *who = http_principal(c->x);
  mem_auto char *name = pipeline_name(c);
  if (!name) return ERR_OK; /* an asset, and no job */
  enum err err = upload_pipeline_hold(c->service, name, &c->held, e);
  if (!err) c->pipeline = c->held.pipeline;
  if (!err) err = guard_params(c->service, who, c->pipeline, c->upload.params, &c->params, e);
  if (err) return err;
  free(c->upload.pipeline);
  c->upload.pipeline = mem_text(name);
  return ERR_OK;
}

static bool job_exists(struct confirming *c) {
  struct job_record job = {0};
  bool exists = c->upload.job_id && !store_job(c->service->store, c->upload.job_id, &job, NULL);
  job_record_clear(&job);
  return exists;
}

static enum err room(struct confirming *c, struct error *e) {
  const struct settings *settings = settings_hold(c->service->settings);
  uint64_t most = settings->limits.queue > 0 ? (uint64_t)settings->limits.queue : 0;
  struct store_counts counts = {0};
  settings_release(c->service->settings, &settings);
  if (!most || store_counts(c->service->store, &counts, NULL) || counts.by_status[JOB_QUEUED] < most) return ERR_OK;
  return error_set(e, ERR_BUSY, "%llu jobs are waiting, as many as may: confirm again later",
                   (unsigned long long)counts.by_status[JOB_QUEUED]);
}

/* ---- submitting ------------------------------------------------------------------------------------------------- */

static void submitted(void *ask, const char *job, enum submit_outcome outcome, const struct error *e) {
  (void)job, (void)outcome;
  service_answer(ask, e, NULL);
}

static void submit_begin(void *context, struct ask *ask) {
  struct confirming *c = context;
  struct error e = {0};
  struct submission submission = {.pipeline = c->pipeline,
                                  .input = c->input,
                                  .given = c->params,
                                  .given_folder = "/",
                                  .output_folder = c->output,
                                  .owner = c->upload.owner,
                                  .asset = c->upload.asset_id,
                                  .title = c->title,
                                  .id = c->upload.job_id,
                                  .priority = -1};
  if (engine_submit(c->service->engine, &submission, submitted, ask, &e)) service_answer(ask, &e, NULL);
}

static enum err submit(struct confirming *c, struct error *e) {
  if (!c->upload.job_id || job_exists(c)) return ERR_OK;
  enum err err = room(c, e);
  if (!err) err = uploads_resolve(c->service, c->key, http_principal(c->x), &c->input, e);
  /* What lies in a bucket is brought by a stage in front, when the pipeline does not bring it by itself. */
  if (!err) err = bring_input(c->service, c->pipeline, c->input, BRING_OWN, c->params, &c->fronted, e);
  if (err) return err;
  if (c->fronted) c->pipeline = c->fronted;
  c->output = mem_format("%s/%s", c->service->outputs_folder, c->upload.job_id);
  c->title = form_file_name(c->upload.original_name);
  err = service_ask(c->service, submit_begin, c, NULL, e);
  return err == ERR_CONFLICT && job_exists(c) ? ERR_OK : err;
}

/* ---- the way through -------------------------------------------------------------------------------------------- */

static enum err matches(const struct confirming *c, struct error *e) {
  const char *bucket = c->upload.bucket ? c->upload.bucket : UPLOAD_LOCAL_BUCKET;
  if (c->file_name && strcmp(c->file_name, upload_key_name(c->key)) != 0)
    return error_set(e, ERR_INVALID, "'fileName' does not belong to 'fileKey'");
  if (c->bucket && strcmp(c->bucket, bucket) != 0)
    return error_set(e, ERR_INVALID, "'bucketName' does not belong to 'fileKey': it is %s", bucket);
  return ERR_OK;
}

static void choose_ids(struct confirming *c) {
  struct upload *u = &c->upload;
  char id[STORE_ID_MAX];
  if (!u->asset_id && !u->asset) {
    engine_new_id(id);
    u->asset_id = mem_text(id);
  }
  if (!u->asset_id) u->asset_id = mem_text(u->asset);
  if (!u->job_id && c->pipeline) {
    engine_new_id(id);
    u->job_id = mem_text(id);
  }
  if (!u->original_name) u->original_name = mem_text(c->words.original_name ? c->words.original_name : u->filename);
}

static enum err confirm(struct confirming *c, struct error *e) {
  struct upload *u = &c->upload;
  const struct principal *who = http_principal(c->x);
  enum err err = upload_get_of(c->service, who, c->key, true, u, e);
  if (!err) err = matches(c, e);
  if (err || u->confirmed) return err;
  int64_t bytes = 0;
  err = upload_received(c->service, u, &bytes, e);
  if (!err && bytes <= 0) err = error_set(e, ERR_INVALID, "the upload %s is empty", u->key);
  if (!err && u->asset) err = asset_may_add(c->service, who, u->asset, e);
  if (!err && !job_exists(c)) err = prepare_job(c, e);
  if (err) return err;
  choose_ids(c);
  u->bytes = bytes;
  err = upload_store(c->service, u, e);
  if (!err) err = submit(c, e);
  if (err) return err;
  u->confirmed = true;
  u->due_us = u->job_id ? clock_wall(&clock_system) + DAY_US : 0; /* then: is the job still there */
  return asset_confirm(c->service, u, &c->words, e);
}

static void answer(struct confirming *c) {
  value_auto struct value *v = value_map();
  const char *job = c->upload.job_id;
  mem_auto char *socket = job ? api_socket_url(c->x, "jobId", job) : NULL;
  value_set_text(v, "assetId", c->upload.asset_id);
  value_set_text(v, "jobId", job);
  value_set_text(v, "websocketUrl", socket);
  http_json(c->x, 202, v);
}

void upload_confirm(struct exchange *x) {
  struct confirming c = {.x = x, .service = api_service(x)};
  struct error e = {0};
  if (!read_words(&c)) return;
  enum err err = upload_lock(c.key, LOCK_US, &e);
  if (!err) {
    err = confirm(&c, &e);
    upload_unlock(c.key);
  }
  if (err)
    http_error(x, &e);
  else
    answer(&c);
  confirming_clear(&c);
}
