/* A bucket that browsers upload to directly: addresses are signed here, bytes never come by. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "common/s3.h"
#include "engine/job.h"
#include "service/upload.h"

enum { CALL_STALL_S = 20, CALL_TOTAL_MS = 60 * 1000 };

/* The bucket as it is configured now, opened for one call or one signature. */
struct bucket {
  char *name, *endpoint, *region, *access_key, *secret_key;
  struct http_client *client;
  struct s3_store *store;
};

static void bucket_close(struct bucket *b) {
  s3_close(&b->store);
  http_close(&b->client);
  free(b->name);
  free(b->endpoint);
  free(b->region);
  free(b->access_key);
  if (b->secret_key) explicit_bzero(b->secret_key, strlen(b->secret_key));
  free(b->secret_key);
}

static char *secret_named(const char *name) {
  value_auto struct value *v = name ? secret_lookup(NULL, name) : NULL;
  return v ? mem_text(v->text) : NULL;
}

static void bucket_configure(struct service *service, struct bucket *b) {
  const struct settings *settings = settings_hold(service->settings);
  b->name = mem_text(settings->uploads.s3.bucket);
  b->endpoint = mem_text(settings->uploads.s3.endpoint);
  b->region = mem_text(settings->uploads.s3.region);
  b->access_key = secret_named(settings->uploads.s3.access_key);
  b->secret_key = secret_named(settings->uploads.s3.secret_key);
  settings_release(service->settings, &settings);
}

static enum err bucket_open(struct service *service, const char *name, struct bucket *b, struct error *e) {
  const char *why = NULL;
  bucket_configure(service, b);
  if (!b->name || (name && strcmp(b->name, name) != 0))
    return error_set(e, ERR_UNSUPPORTED, "the bucket %s is not the one that uploads.s3.bucket names now",
                     name ? name : "");
  if (!b->access_key || !b->secret_key)
    return error_set(e, ERR_INVALID, "uploads.s3.access-key and uploads.s3.secret-key name no secrets that are known");
  struct http_settings http = {.connect_timeout_ms = 10000, .stall_s = CALL_STALL_S};
  struct s3_settings s3 = {.endpoint = b->endpoint,
                           .region = b->region,
                           .bucket = b->name,
                           .access_key = b->access_key,
                           .secret_key = b->secret_key};
  b->client = http_open(&http);
  b->store = b->client ? s3_open(b->client, &s3, &why) : NULL;
  return b->store ? ERR_OK : error_set(e, ERR_INVALID, "uploads.s3 cannot be used: it %s", why ? why : "needs memory");
}

bool upload_has_bucket(struct service *service) {
  const struct settings *settings = settings_hold(service->settings);
  bool has = settings->uploads.s3.bucket != NULL;
  settings_release(service->settings, &settings);
  return has;
}

void upload_bucket_names(struct service *service, const char *key, char **bucket, char **object) {
  const struct settings *settings = settings_hold(service->settings);
  *bucket = mem_text(settings->uploads.s3.bucket);
  *object = mem_format("%s%s", settings->uploads.s3.prefix ? settings->uploads.s3.prefix : "", key);
  settings_release(service->settings, &settings);
}

static enum err text_out(bool done, struct text *text, char **out, struct error *e) {
  *out = done && !text->failed ? mem_text(text_string(text)) : NULL;
  text_free(text);
  return *out ? ERR_OK : error_set(e, ERR_INTERNAL, "an address in the bucket cannot be made");
}

enum err upload_bucket_url(struct service *service, const struct upload *upload, char **url, struct error *e) {
  struct bucket b = {0};
  struct text text = {0};
  enum err status = bucket_open(service, upload->bucket, &b, e);
  if (!status) status = text_out(s3_url(b.store, upload->object, &text), &text, url, e);
  bucket_close(&b);
  return status;
}

enum err upload_bucket_presign(struct service *service, const struct upload *upload, const char *method,
                               int64_t seconds, char **url, struct error *e) {
  struct bucket b = {0};
  struct text text = {0};
  enum err status = bucket_open(service, upload->bucket, &b, e);
  if (!status) status = text_out(s3_presigned(b.store, method, upload->object, (long)seconds, &text), &text, url, e);
  bucket_close(&b);
  return status;
}

static enum err judge(const struct s3_call *call, const char *bucket, struct error *e) {
  switch (call->outcome) {
  case S3_DONE: return ERR_OK;
  case S3_ABSENT: return error_set(e, ERR_NOT_FOUND, "nothing has been uploaded yet");
  case S3_TRANSIENT: return error_set(e, ERR_BUSY, "the bucket %s cannot be asked now: %s", bucket, call->problem);
  default: return error_set(e, ERR_IO, "the bucket %s refused: %s", bucket, call->problem);
  }
}

static enum err bucket_call(struct service *service, const struct upload *upload, s3_verb *verb, int64_t *bytes,
                            struct error *e) {
  struct bucket b = {0};
  enum err status = bucket_open(service, upload->bucket, &b, e);
  if (!status) {
    struct s3_call *call = mem_alloc(sizeof(*call));
    call->key = upload->object;
    call->fd = -1;
    call->x.total_timeout_ms = CALL_TOTAL_MS;
    s3_run(b.store, call, verb);
    status = judge(call, b.name, e);
    if (!status && bytes) *bytes = http_length(&call->x);
    s3_call_clear(call);
    free(call);
  }
  bucket_close(&b);
  return status;
}

enum err upload_bucket_size(struct service *service, const struct upload *upload, int64_t *bytes, struct error *e) {
  return bucket_call(service, upload, s3_head, bytes, e);
}

enum err upload_bucket_delete(struct service *service, const struct upload *upload, struct error *e) {
  enum err status = bucket_call(service, upload, s3_delete, NULL, e);
  return status == ERR_NOT_FOUND ? ERR_OK : status;
}
