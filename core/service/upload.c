/* Records of uploads, and what holds for disk and bucket alike. */
#include "service/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "service/keep.h"

static const int64_t DAY_US = 86400 * INT64_C(1000000);

void upload_clear(struct upload *u) {
  char *texts[] = {u->key,    u->owner,  u->filename, u->content_type, u->asset,  u->pipeline,
                   u->bucket, u->object, u->metadata, u->asset_id,     u->job_id, u->original_name};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) free(texts[i]);
  value_free(&u->params);
  *u = (struct upload){0};
}

/* ---- record and back -------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  size_t at;
} text_fields[] = {
    {"filename", offsetof(struct upload, filename)}, {"contentType", offsetof(struct upload, content_type)},
    {"asset", offsetof(struct upload, asset)},       {"pipeline", offsetof(struct upload, pipeline)},
    {"bucket", offsetof(struct upload, bucket)},     {"object", offsetof(struct upload, object)},
    {"metadata", offsetof(struct upload, metadata)}, {"assetId", offsetof(struct upload, asset_id)},
    {"jobId", offsetof(struct upload, job_id)},      {"originalName", offsetof(struct upload, original_name)}};
enum { TEXT_FIELDS = sizeof(text_fields) / sizeof(text_fields[0]) };

static char **field(struct upload *u, size_t i) { return (char **)(void *)((char *)u + text_fields[i].at); }

void upload_record(const struct upload *upload, struct side_record *record, struct buf *json) {
  struct upload *u = (struct upload *)(uintptr_t)upload;
  value_auto struct value *body = value_map();
  for (size_t i = 0; i < TEXT_FIELDS; i++)
    if (*field(u, i)) value_set_text(body, text_fields[i].name, *field(u, i));
  if (u->params) value_map_set(body, "params", value_copy(u->params));
  value_set_int(body, "length", u->length);
  value_set_int(body, "bytes", u->bytes);
  value_set_bool(body, "confirmed", u->confirmed);
  value_json(json, body, VALUE_JSON_COMPACT);
  *record = (struct side_record){
      .kind = SIDE_UPLOAD, .id = u->key, .owner = u->owner, .due_us = u->due_us, .body_json = json->data};
}

enum err upload_from_record(const struct side_record *record, struct upload *u, struct error *e) {
  value_auto struct value *body = NULL;
  const char *json = record->body_json ? record->body_json : "";
  *u = (struct upload){0};
  if (value_from_json(json, strlen(json), &body, NULL) || body->type != VALUE_MAP)
    return error_set(e, ERR_CORRUPT, "the record of the upload %s is damaged", record->id);
  u->key = mem_text(record->id);
  u->owner = mem_text(record->owner);
  for (size_t i = 0; i < TEXT_FIELDS; i++) *field(u, i) = mem_text(value_get_text(body, text_fields[i].name, NULL));
  const struct value *params = value_get(body, "params");
  if (!value_is_null(params)) u->params = value_copy(params);
  u->length = value_get_int(body, "length", -1);
  u->bytes = value_get_int(body, "bytes", -1);
  u->confirmed = value_get_bool(body, "confirmed", false);
  u->created_us = record->created_us;
  u->due_us = record->due_us;
  u->version = record->version;
  return ERR_OK;
}

enum err upload_get(struct service *service, const char *key, struct upload *u, struct error *e) {
  struct side_record record = {0};
  *u = (struct upload){0};
  enum err status = upload_key_is(key) ? store_side_get(service->store, SIDE_UPLOAD, key, &record, e) : ERR_NOT_FOUND;
  if (status == ERR_NOT_FOUND) return error_set(e, status, "there is no upload %.200s", key);
  if (!status) status = upload_from_record(&record, u, e);
  side_record_clear(&record);
  return status;
}

enum err upload_get_of(struct service *service, const struct principal *who, const char *key, bool change,
                       struct upload *u, struct error *e) {
  enum err status = upload_get(service, key, u, e);
  if (status) return status;
  struct matter matter = {.owner = u->owner};
  if (who && (change ? principal_may_change : principal_may_see)(who, &matter)) return ERR_OK;
  upload_clear(u);
  return error_set(e, ERR_NOT_FOUND, "there is no upload %.200s", key);
}

static enum err store_as(struct service *service, struct upload *u, uint64_t expected, struct error *e) {
  buf_auto struct buf json = {0};
  struct side_record record;
  upload_record(u, &record, &json);
  struct side_change change = {.record = &record, .expected_version = expected};
  enum err status = keep_sides(service, &change, 1, NULL, e);
  if (!status) u->version = expected == SIDE_NEW ? 1 : u->version + 1;
  return status;
}

enum err upload_store(struct service *service, struct upload *u, struct error *e) {
  return store_as(service, u, u->version, e);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------ */

int64_t upload_limit(struct service *service) {
  const struct settings *settings = settings_hold(service->settings);
  int64_t limit = settings->uploads.max_bytes;
  settings_release(service->settings, &settings);
  return limit;
}

static int64_t expiry_of(struct service *service) {
  const struct settings *settings = settings_hold(service->settings);
  int64_t expires_us = settings->uploads.expires_us;
  settings_release(service->settings, &settings);
  return clock_wall(&clock_system) + expires_us;
}

enum err upload_announce(struct service *service, struct upload *u, struct error *e) {
  int64_t limit = upload_limit(service);
  if (u->length > limit)
    return error_set(e, ERR_TOO_LARGE, "an upload may have at most %lld bytes, not %lld", (long long)limit,
                     (long long)u->length);
  bool bucket = !u->metadata && upload_has_bucket(service); /* pieces are put together here */
  if (!bucket && upload_room(service, u->length > 0 ? u->length : 0, e)) return ERR_NO_SPACE;
  u->key = upload_key_new(u->owner, u->filename, clock_wall(&clock_system));
  if (bucket) upload_bucket_names(service, u->key, &u->bucket, &u->object);
  u->bytes = -1;
  u->due_us = expiry_of(service);
  u->created_us = clock_wall(&clock_system);
  return store_as(service, u, SIDE_NEW, e);
}

enum err upload_remove(struct service *service, const struct upload *u, struct error *e) {
  struct side_record record = {.kind = SIDE_UPLOAD, .id = u->key};
  struct side_change change = {.record = &record, .expected_version = SIDE_ANY, .remove = true};
  enum err status = u->bucket ? upload_bucket_delete(service, u, e) : ERR_OK;
  if (status) return status;
  if (!u->bucket) upload_unlink(service, u->key);
  return keep_sides(service, &change, 1, NULL, e);
}

/* ---- what came -------------------------------------------------------------------------------------------------- */

static enum err disk_received(struct service *service, const struct upload *u, int64_t *bytes, struct error *e) {
  struct stat s;
  mem_auto char *path = upload_path(service, u->key);
  if (lstat(path, &s) == 0 && S_ISREG(s.st_mode)) {
    *bytes = s.st_size;
    return ERR_OK;
  }
  return errno == ENOENT ? error_set(e, ERR_CONFLICT, "the upload %s has not arrived yet: send the file first", u->key)
                         : error_errno(e, errno, "cannot look at an upload");
}

enum err upload_received(struct service *service, const struct upload *u, int64_t *bytes, struct error *e) {
  if (!u->bucket) return disk_received(service, u, bytes, e);
  enum err status = upload_bucket_size(service, u, bytes, e);
  if (status == ERR_NOT_FOUND)
    return error_set(e, ERR_CONFLICT, "the upload %s has not arrived yet: send the file first", u->key);
  if (!status && *bytes > upload_limit(service))
    return error_set(e, ERR_TOO_LARGE, "an upload may have at most %lld bytes, not %lld",
                     (long long)upload_limit(service), (long long)*bytes);
  return status;
}

/* A job that reads it may wait, be retried, be paused: it stays for longer than one that nobody uses. */
static void keep_for_a_week(struct service *service, struct upload *u) {
  int64_t until = clock_wall(&clock_system) + 7 * DAY_US;
  if (u->asset_id || !u->due_us || u->due_us >= until - DAY_US) return; /* confirmed, or about to be */
  u->due_us = until;
  upload_store(service, u, NULL); /* changed meanwhile: by somebody who uses it too */
}

enum err uploads_resolve(struct service *service, const char *key, const struct principal *who, char **path_or_url,
                         struct error *e) {
  enum { URL_SECONDS = 7 * 24 * 3600 }; /* the longest that S3 signs for */
  struct upload u;
  int64_t bytes;
  *path_or_url = NULL;
  enum err status = upload_get_of(service, who, key, false, &u, e);
  if (status) return status;
  status = upload_received(service, &u, &bytes, e);
  if (!status && u.bucket) status = upload_bucket_presign(service, &u, "GET", URL_SECONDS, path_or_url, e);
  if (!status && !u.bucket) *path_or_url = upload_path(service, key);
  if (!status) keep_for_a_week(service, &u);
  upload_clear(&u);
  return status;
}

/* ---- over ------------------------------------------------------------------------------------------------------- */

static bool job_is_there(struct service *service, const char *id) {
  struct job_record job = {0};
  bool there = id && store_job(service->store, id, &job, NULL) != ERR_NOT_FOUND;
  job_record_clear(&job);
  return there;
}

/* Looked at again tomorrow; the sweep finds another version and leaves the record. */
static void put_off(struct service *service, struct upload *u) {
  buf_auto struct buf json = {0};
  struct side_record record;
  u->due_us = clock_wall(&clock_system) + DAY_US;
  upload_record(u, &record, &json);
  struct side_change change = {.record = &record, .expected_version = u->version};
  store_side(service->store, &change, 1, NULL, NULL);
}

enum err upload_expired(struct service *service, const struct side_record *record, struct error *e) {
  struct upload u;
  enum err status = ERR_OK;
  if (upload_from_record(record, &u, NULL)) return ERR_OK; /* nothing to be known about it */
  if (upload_lock(u.key, 0, e)) {
    upload_clear(&u);
    return ERR_BUSY;
  }
  if (u.confirmed && job_is_there(service, u.job_id))
    put_off(service, &u);
  else if (u.bucket)
    status = upload_bucket_delete(service, &u, e);
  else
    upload_unlink(service, u.key);
  if (status == ERR_UNSUPPORTED) status = ERR_OK; /* a bucket that is ours no more: its owner's to tidy */
  upload_unlock(u.key);
  upload_clear(&u);
  return status;
}
