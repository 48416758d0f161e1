/* api_uploads.c - announcing a file, taking it at its signed address, and what there is of them. In pieces: api_tus.c.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/upload_parts.h"
#include "base/fs.h"
#include "base/mem.h"
#include "service/asset.h"
#include "service/shelf.h"

enum { URL_S = 3600, NAME_BYTES = 255, PARAMS_BYTES = 8 * 1024, PIECE = 32 * 1024 };
static const char put_path[] = "/api/v1/uploads/put/";

/* ---- shared ----------------------------------------------------------------------------------------------------- */

enum err upload_pipeline_hold(struct service *service, const char *name, struct upload_pipeline *held,
                              struct error *e) {
  held->set = shelf_hold(service->shelf);
  const struct shelved *found = shelf_find(held->set, name);
  held->pipeline = found ? found->pipeline : NULL;
  if (held->pipeline) return ERR_OK;
  upload_pipeline_release(service, held);
  return error_set(e, ERR_INVALID,
                   found ? "the pipeline %.80s has errors and cannot be used" : "there is no pipeline %.80s", name);
}

void upload_pipeline_release(struct service *service, struct upload_pipeline *held) {
  if (held->set) shelf_release(service->shelf, &held->set);
  held->pipeline = NULL;
}

unsigned upload_readers(struct service *service) {
  const struct settings *settings = settings_hold(service->settings);
  unsigned threads = settings->limits.threads ? settings->limits.threads : 64;
  settings_release(service->settings, &settings);
  return threads > 1 ? threads / 2 : 1;
}

static size_t type_size(const char *type) { return strcspn(type, "; \t"); }

bool upload_type_is(const char *type, const char *wanted) {
  size_t size = type_size(type);
  return size == type_size(wanted) && strncasecmp(type, wanted, size) == 0;
}

/* token "/" token (RFC 9110 section 8.3.1), parameters behind it in visible characters. */
bool upload_type_is_good(const char *type) {
  static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  size_t first = strspn(type, token), second = type[first] == '/' ? strspn(type + first + 1, token) : 0;
  if (!first || !second || strlen(type) > NAME_BYTES || first + 1 + second != type_size(type)) return false;
  for (const char *c = type; *c; c++)
    if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e) return false;
  return true;
}

char *upload_file_url(struct exchange *x, const char *key) {
  return mem_format("%s/api/v1/uploads/%s", http_origin(x), key);
}

/* ---- announcing ------------------------------------------------------------------------------------------------- */

static bool required(struct exchange *x, const struct value *body, const char *key, const char **text) {
  if (!api_text(x, body, key, NAME_BYTES, text)) return false;
  if (*text) return true;
  http_problem(x, 400, "invalid", "'%s' is missing", key);
  return false;
}

static bool announced_size(struct exchange *x, const struct value *body, int64_t *bytes) {
  const struct value *v = value_get(body, "bytes");
  *bytes = -1;
  if (value_is_null(v)) return true;
  *bytes = v->type == VALUE_INT ? v->integer : -1;
  if (*bytes >= 0) return true;
  http_problem(x, 400, "invalid", "'bytes' has to be a whole number");
  return false;
}

static bool announced_params(struct exchange *x, const struct value *body, struct upload *u) {
  const struct value *params = value_get(body, "params");
  buf_auto struct buf json = {0};
  if (value_is_null(params)) return true;
  if (params->type == VALUE_MAP) value_json(&json, params, VALUE_JSON_COMPACT | VALUE_JSON_REVEAL);
  if (params->type != VALUE_MAP || json.size > PARAMS_BYTES) {
    http_problem(x, 400, "invalid", "'params' has to be an object of at most %d bytes", PARAMS_BYTES);
    return false;
  }
  u->params = value_copy(params);
  return true;
}

static bool announced_words(struct exchange *x, struct upload *u) {
  static const char *const valid[] = {"filename", "contentType", "asset", "pipeline", "params", "bytes", NULL};
  const struct value *body = api_body(x);
  const char *filename, *type, *asset, *pipeline;
  if (!body || !api_keys(x, body, valid) || !required(x, body, "filename", &filename) ||
      !required(x, body, "contentType", &type) || !api_text(x, body, "asset", NAME_BYTES, &asset) ||
      !api_text(x, body, "pipeline", NAME_BYTES, &pipeline) || !announced_size(x, body, &u->length))
    return false;
  if (!upload_type_is_good(type)) {
    http_problem(x, 400, "invalid", "'contentType' has to be a media type: video/mp4");
    return false;
  }
  u->owner = mem_text(api_subject(x));
  u->filename = mem_text(filename);
  u->content_type = mem_text(type);
  u->asset = mem_text(asset);
  u->pipeline = mem_text(pipeline);
  return announced_params(x, body, u);
}

enum err upload_announced_checks(struct exchange *x, const struct upload *u, struct error *e) {
  struct service *service = api_service(x);
  struct upload_pipeline held = {0};
  value_auto struct value *params = NULL;
  enum err err = u->asset ? asset_may_add(service, http_principal(x), u->asset, e) : ERR_OK;
  if (err || !u->pipeline) return err;
  err = upload_pipeline_hold(service, u->pipeline, &held, e);
  if (!err) err = guard_params(service, http_principal(x), held.pipeline, u->params, &params, e);
  upload_pipeline_release(service, &held);
  return err;
}

static enum err put_address(struct exchange *x, const struct upload *u, int64_t expires_s, char **url, char **file,
                            struct error *e) {
  struct service *service = api_service(x);
  if (u->bucket) {
    enum err err = upload_bucket_presign(service, u, "PUT", URL_S, url, e);
    return err ? err : upload_bucket_url(service, u, file, e);
  }
  mem_auto char *path = mem_format("%s%s", put_path, u->key);
  char signature[65];
  link_sign(service->keyring, "PUT", path, expires_s, signature);
  *url = mem_format("%s%s?expires=%lld&signature=%s", http_origin(x), path, (long long)expires_s, signature);
  *file = upload_file_url(x, u->key);
  return ERR_OK;
}

static void answer_announced(struct exchange *x, const struct upload *u) {
  struct error e = {0};
  mem_auto char *url = NULL, *file = NULL;
  int64_t expires_s = clock_wall(&clock_system) / 1000000 + URL_S;
  if (put_address(x, u, expires_s, &url, &file, &e)) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *v = value_map();
  value_set_text(v, "uploadUrl", url);
  value_set_text(v, "fileKey", u->key);
  value_set_text(v, "bucketName", u->bucket ? u->bucket : UPLOAD_LOCAL_BUCKET);
  value_set_text(v, "fileUrl", file);
  value_set_text(v, "fileName", upload_key_name(u->key));
  api_set_time(v, "expiresAt", expires_s * 1000000);
  http_json(x, 201, v);
}

static void uploads_create(struct exchange *x) {
  struct upload u = {0};
  struct error e = {0};
  if (announced_words(x, &u)) {
    if (upload_announced_checks(x, &u, &e) || upload_announce(api_service(x), &u, &e))
      http_error(x, &e);
    else
      answer_announced(x, &u);
  }
  upload_clear(&u);
}

/* ---- taking ----------------------------------------------------------------------------------------------------- */

static bool put_signed(struct exchange *x) {
  const char *signature = http_query(x, "signature");
  struct error e = {0};
  int64_t expires_s;
  if (http_query_int(x, "expires", 0, INT64_MAX / 2000000, 0, &expires_s, &e) ||
      link_verify(api_service(x)->keyring, "PUT", http_path(x), expires_s, signature ? signature : "", &e)) {
    http_problem(x, 403, "denied", "%s", e.message);
    return false;
  }
  return true;
}

/* What can be said before a byte is read. */
static bool put_expected(struct exchange *x, const struct upload *u, int64_t most) {
  const char *type = http_header(x, "Content-Type");
  int64_t length = http_content_length(x);
  if (u->confirmed || u->job_id || u->bucket || u->metadata)
    http_problem(x, 409, "conflict", "the upload %s takes no file here%s", u->key,
                 u->confirmed ? ": it is confirmed" : "");
  else if (type && !upload_type_is(type, u->content_type))
    http_problem(x, 415, "unsupported", "the upload was announced as %s", u->content_type);
  else if (u->length >= 0 && length >= 0 && length != u->length)
    http_problem(x, 400, "invalid", "the upload was announced with %lld bytes, not %lld", (long long)u->length,
                 (long long)length);
  else if (length > most)
    http_problem(x, 413, "too-large", "an upload may have at most %lld bytes", (long long)most);
  else
    return true;
  return false;
}

static enum err put_copy(struct exchange *x, struct upload_sink *sink, struct error *e) {
  mem_auto char *piece = mem_alloc(PIECE);
  ssize_t got;
  while ((got = http_read(x, piece, PIECE, e)) > 0) {
    if (http_is_draining(x))
      return error_set(e, ERR_BUSY, "the daemon is about to stop: send the file when it is back");
    if (upload_sink_write(sink, piece, (size_t)got, e)) return e->code;
  }
  return got < 0 ? e->code : ERR_OK;
}

static enum err put_store(struct exchange *x, const struct upload *u, int64_t most, struct error *e) {
  struct upload_sink sink;
  int64_t length = http_content_length(x);
  enum err err = length > 0 ? upload_room(api_service(x), length, e) : ERR_OK;
  if (err) return err;
  err = upload_sink_open(&sink, api_service(x), u->key, most, e);
  if (err) return err;
  err = put_copy(x, &sink, e);
  if (!err && u->length >= 0 && sink.bytes != u->length)
    err = error_set(e, ERR_INVALID, "the upload was announced with %lld bytes, and %lld came", (long long)u->length,
                    (long long)sink.bytes);
  struct error ignored;
  enum err closed = upload_sink_close(&sink, !err, err ? &ignored : e);
  return err ? err : closed;
}

static void put_locked(struct exchange *x, const char *key) {
  struct service *service = api_service(x);
  struct upload u;
  struct error e = {0};
  int64_t most = upload_limit(service);
  if (upload_get(service, key, &u, &e)) {
    http_error(x, &e);
    return;
  }
  if (put_expected(x, &u, most)) {
    if (put_store(x, &u, most, &e))
      http_error(x, &e);
    else
      http_empty(x, 200);
  }
  upload_clear(&u);
}

static void uploads_put(struct exchange *x) {
  const char *key = http_param(x, "key");
  struct error e = {0};
  if (!put_signed(x)) return;
  if (upload_lock_to_read(key, upload_readers(api_service(x)), &e)) {
    http_error(x, &e);
    return;
  }
  put_locked(x, key);
  upload_unlock(key);
}

/* ---- looking ---------------------------------------------------------------------------------------------------- */

static struct value *upload_shown(struct service *service, const struct upload *u) {
  struct value *v = value_map();
  struct error e;
  int64_t bytes = u->bytes;
  bool received = u->confirmed || (!u->bucket && !upload_received(service, u, &bytes, &e));
  value_set_text(v, "fileKey", u->key);
  value_set_text(v, "fileName", upload_key_name(u->key));
  value_set_text(v, "bucketName", u->bucket ? u->bucket : UPLOAD_LOCAL_BUCKET);
  value_set_text(v, "filename", u->filename);
  value_set_text(v, "contentType", u->content_type);
  value_set_text(v, "pipeline", u->pipeline);
  value_map_set(v, "bytes", received ? value_int(bytes) : value_null());
  if (!u->bucket || u->confirmed) value_set_bool(v, "received", received);
  value_set_bool(v, "confirmed", u->confirmed);
  value_set_text(v, "asset", u->asset_id ? u->asset_id : u->asset);
  value_set_text(v, "jobId", u->confirmed ? u->job_id : NULL);
  api_set_time(v, "createdAt", u->created_us);
  api_set_time(v, "expiresAt", u->confirmed ? 0 : u->due_us);
  return v;
}

static void list_page(struct exchange *x, const struct side_list *list, size_t limit) {
  value_auto struct value *v = value_map();
  struct value *uploads = value_list();
  value_map_set(v, "uploads", uploads);
  for (size_t i = 0; i < list->count; i++) {
    struct upload u;
    if (upload_from_record(&list->items[i], &u, NULL)) continue;
    value_list_add(uploads, upload_shown(api_service(x), &u));
    upload_clear(&u);
  }
  mem_auto char *next = list->count == limit ? api_cursor_make(list->items[limit - 1].id) : NULL;
  value_set_text(v, "next", next);
  http_json(x, 200, v);
}

static void uploads_list(struct exchange *x) {
  struct side_list list = {0};
  struct error e = {0};
  const char *cursor = http_query(x, "cursor");
  size_t limit;
  if (!api_limit(x, &limit)) return;
  mem_auto char *after = cursor && *cursor ? api_cursor_read(cursor) : NULL;
  if (cursor && *cursor && !after) {
    http_problem(x, 400, "invalid", "'cursor' is not one that a page ended with");
    return;
  }
  struct side_filter filter = {
      .kind = SIDE_UPLOAD, .owner = api_subject(x), .after_id = after, .newest_first = true, .limit = limit};
  if (store_sides(api_service(x)->store, &filter, &list, &e))
    http_error(x, &e);
  else
    list_page(x, &list, limit);
  side_list_clear(&list);
}

static void send_file(struct exchange *x, const struct upload *u) {
  struct error e = {0};
  mem_auto char *folder = upload_folder(api_service(x)), *url = NULL;
  if (u->bucket) {
    if (upload_bucket_presign(api_service(x), u, "GET", URL_S, &url, &e)) {
      http_error(x, &e);
      return;
    }
    http_set_header(x, "Location", url);
    http_empty(x, 307);
    return;
  }
  fd_auto int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = root < 0 ? -1 : fs_open_beneath(root, strchr(u->key, '/') + 1, O_RDONLY, 0, &e);
  if (fd < 0)
    http_problem(x, 404, "not-found", "the upload %s has not arrived yet", u->key);
  else
    http_file(x, fd, "application/octet-stream", NULL, u->filename); /* never shown as a page of ours */
}

static void uploads_get(struct exchange *x) {
  struct upload u;
  struct error e = {0};
  if (upload_get_of(api_service(x), http_principal(x), http_param(x, "key"), false, &u, &e)) {
    http_error(x, &e);
    return;
  }
  send_file(x, &u);
  upload_clear(&u);
}

/* ---- removing --------------------------------------------------------------------------------------------------- */

static bool is_in_use(struct service *service, const struct upload *u) {
  struct job_record job = {0};
  bool used = u->job_id && !store_job(service->store, u->job_id, &job, NULL) && !job_status_is_terminal(job.status);
  job_record_clear(&job);
  return used;
}

static void delete_locked(struct exchange *x, const char *key) {
  struct upload u;
  struct error e = {0};
  if (upload_get_of(api_service(x), http_principal(x), key, true, &u, &e)) {
    http_error(x, &e);
    return;
  }
  if (is_in_use(api_service(x), &u))
    http_problem(x, 409, "conflict", "the job %s works with the upload %s: cancel it first", u.job_id, key);
  else if (upload_remove(api_service(x), &u, &e))
    http_error(x, &e);
  else
    http_empty(x, 204);
  upload_clear(&u);
}

void upload_delete(struct exchange *x) {
  const char *key = http_param(x, "key");
  struct error e = {0};
  if (upload_lock(key, 1000000, &e)) {
    http_error(x, &e);
    return;
  }
  delete_locked(x, key);
  upload_unlock(key);
}

static const struct route routes[] = {
    {"POST", "/api/v1/uploads", SCOPE_SUBMIT, 0, uploads_create, "createUpload"},
    {"GET", "/api/v1/uploads", SCOPE_READ, 0, uploads_list, "listUploads"},
    {"POST", "/api/v1/uploads/confirm", SCOPE_SUBMIT, 0, upload_confirm, "confirmUpload"},
    {"PUT", "/api/v1/uploads/put/{key...}", 0, ROUTE_OPEN | ROUTE_STREAM, uploads_put, "putUpload"},
    {"GET", "/api/v1/uploads/{key...}", SCOPE_READ, ROUTE_TICKET, uploads_get, "getUpload"},
    {"DELETE", "/api/v1/uploads/{key...}", SCOPE_SUBMIT, 0, upload_delete, "deleteUpload"},
};
const struct api_table api_uploads = API_TABLE(routes);
