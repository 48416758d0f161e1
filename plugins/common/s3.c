#include "common/s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/url.h"
#include "common/xml.h"

struct s3_store {
  struct http_client *client;
  char *endpoint; /* scheme://host[:port] */
  char *host;     /* as the Host header says it */
  char *base;     /* path in front of the bucket, "" or "/storage" */
  char *bucket, *access_key, *secret_key, *session_token, *region;
  struct sigv4_keys keys;
};

/* ---- the store ------------------------------------------------------------------------------------------------ */

static bool take_endpoint(struct s3_store *store, const char *endpoint, const char **why) {
  url_auto struct url url = {.port = -1};
  text_auto struct text origin = {0}, host = {0};
  if (!url_parse(endpoint, &url, why)) return false;
  url_normalise(&url);
  if (strcmp(url.scheme, "http") != 0 && strcmp(url.scheme, "https") != 0)
    return *why = "is neither http nor https", false;
  if (url.userinfo) return *why = "carries a user name: use access-key and secret-key", false;
  if (url.query || url.fragment) return *why = "has a query or fragment, which an endpoint cannot have", false;
  text_put(&host, url.host);
  if (url.port > 0) text_format(&host, ":%d", url.port);
  text_format(&origin, "%s://%s", url.scheme, text_string(&host));
  size_t path = strlen(url.path);
  while (path && url.path[path - 1] == '/') path--;
  char *decoded = url_decode(url.path);
  store->base = decoded ? strndup(decoded, path <= strlen(decoded) ? path : strlen(decoded)) : NULL;
  free(decoded);
  store->endpoint = text_take(&origin);
  store->host = text_take(&host);
  if (!store->base || !store->endpoint || !store->host) return *why = "does not fit into memory", false;
  return true;
}

/* Bucket names (Amazon S3 User Guide, "General purpose bucket naming rules"), with room for older, laxer ones. */
static bool bucket_is_sane(const char *bucket) {
  size_t size = strlen(bucket);
  return size >= 3 && size <= 255 &&
         strspn(bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == size;
}

struct s3_store *s3_open(struct http_client *client, const struct s3_settings *settings, const char **why) {
  text_auto struct text amazon = {0};
  struct s3_store *store = calloc(1, sizeof *store);
  *why = "does not fit into memory";
  if (!store) return NULL;
  const char *region = settings->region && settings->region[0] ? settings->region : "us-east-1";
  text_format(&amazon, "https://s3.%s.amazonaws.com", region);
  bool ok = take_endpoint(store, settings->endpoint ? settings->endpoint : text_string(&amazon), why);
  if (ok && !bucket_is_sane(settings->bucket)) ok = false, *why = "has a bucket name that S3 does not allow";
  store->client = client;
  store->bucket = strdup(settings->bucket);
  store->access_key = strdup(settings->access_key);
  store->secret_key = strdup(settings->secret_key);
  store->region = strdup(region);
  if (settings->session_token) store->session_token = strdup(settings->session_token);
  store->keys = (struct sigv4_keys){store->access_key, store->secret_key, store->session_token, store->region, "s3"};
  if (!store->bucket || !store->access_key || !store->secret_key || !store->region ||
      (settings->session_token && !store->session_token))
    ok = false;
  if (!ok) s3_close(&store);
  return store;
}

void s3_close(struct s3_store **store) {
  struct s3_store *s = *store;
  if (!s) return;
  free(s->endpoint);
  free(s->host);
  free(s->base);
  free(s->bucket);
  free(s->access_key);
  free(s->secret_key);
  free(s->session_token);
  free(s->region);
  free(s);
  *store = NULL;
}

const char *s3_endpoint(const struct s3_store *store) { return store->endpoint; }

static void put_path(struct text *out, const struct s3_store *store, const char *key) {
  text_format(out, "%s/%s", store->base, store->bucket);
  if (key) text_format(out, "/%s", key);
}

bool s3_url(const struct s3_store *store, const char *key, struct text *out) {
  text_auto struct text path = {0};
  put_path(&path, store, key);
  text_put(out, store->endpoint);
  url_encode(out, text_string(&path), path.size, URL_KEEP_SLASHES);
  return !path.failed && !out->failed;
}

bool s3_presigned(const struct s3_store *store, const char *method, const char *key, long seconds, struct text *out) {
  text_auto struct text path = {0};
  put_path(&path, store, key);
  struct sigv4_request request = {.method = method, .host = store->host, .path = text_string(&path),
                                  .payload_sha256 = SIGV4_UNSIGNED, .at = time(NULL)};
  text_put(out, store->endpoint);
  return !path.failed && sigv4_presign(out, &request, &store->keys, seconds);
}

/* ---- one request ---------------------------------------------------------------------------------------------- */

static void finished(struct http_exchange *x) {
  struct s3_call *call = x->context;
  s3_judge(call);
  if (call->done) call->done(call);
}

static bool give_up(struct s3_call *call, const char *problem) {
  call->outcome = S3_REFUSED;
  snprintf(call->problem, sizeof call->problem, "%s", problem);
  return false;
}

static bool add_line(struct s3_call *call, size_t *n, const char *name, const char *value) {
  int size = snprintf(call->lines[*n], sizeof call->lines[*n], "%s: %s", name, value);
  call->line_list[*n] = call->lines[*n];
  (*n)++;
  return size >= 0 && (size_t)size < sizeof call->lines[0];
}

/* Header lines to send: what is signed, then date, token and the signature. */
static bool sign(struct s3_store *store, struct s3_call *call, const struct sigv4_request *request) {
  char date[SIGV4_DATE_SIZE];
  size_t n = 0;
  sigv4_date(request->at, date);
  text_reset(&call->authorization);
  bool ok = sigv4_authorization(&call->authorization, request, &store->keys);
  for (size_t i = 0; ok && i < request->header_count; i++)
    ok = add_line(call, &n, request->headers[i].name, request->headers[i].value);
  ok = ok && add_line(call, &n, "x-amz-date", date);
  if (ok && store->session_token) ok = add_line(call, &n, "x-amz-security-token", store->session_token);
  ok = ok && add_line(call, &n, "Authorization", text_string(&call->authorization));
  call->x.headers = call->line_list;
  call->x.header_count = n;
  return ok;
}

/* What one verb adds to the request. */
struct verb {
  const char *method;
  const char *key; /* NULL: the bucket itself */
  struct sigv4_field query[4];
  size_t query_count;
  bool sends_range;
  const char *body;
  size_t keep_limit;
  long stall_s;
};

static bool start(struct s3_store *store, struct s3_call *call, const struct verb *verb) {
  text_auto struct text path = {0}, query = {0};
  struct sigv4_field headers[S3_EXTRA_MAX + 2];
  char sha256[SHA256_HEX_SIZE] = SIGV4_EMPTY_SHA256, md5[28];
  size_t n = 0;
  call->store = store;
  call->outcome = 0;
  call->code[0] = call->problem[0] = call->etag[0] = '\0';
  if (call->extra_count > S3_EXTRA_MAX) return give_up(call, "too many headers for one object");
  for (; n < call->extra_count; n++) headers[n] = call->extra[n];
  if (verb->sends_range) {
    checksum_hex(call->checksum->sha256, SHA256_SIZE, sha256);
    checksum_base64(call->checksum->md5, MD5_SIZE, md5);
    headers[n++] = (struct sigv4_field){"content-md5", md5};
  } else if (verb->body) {
    checksum_sha256_hex(verb->body, strlen(verb->body), sha256);
  }
  headers[n++] = (struct sigv4_field){"x-amz-content-sha256", sha256};
  put_path(&path, store, verb->key);
  struct sigv4_request request = {.method = verb->method, .host = store->host, .path = text_string(&path),
                                  .query = verb->query, .query_count = verb->query_count, .headers = headers,
                                  .header_count = n, .payload_sha256 = sha256, .at = time(NULL)};
  text_reset(&call->url);
  bool ok = s3_url(store, verb->key, &call->url) && sigv4_query(&query, verb->query, verb->query_count);
  if (query.size) text_format(&call->url, "?%s", text_string(&query));
  http_reset(&call->x);
  call->x = (struct http_exchange){.method = verb->method, .url = text_string(&call->url), .done = finished,
                                   .context = call, .keep_limit = verb->keep_limit, .stall_s = verb->stall_s};
  if (verb->sends_range) {
    call->x.has_body_fd = true;
    call->x.body_fd = call->fd;
    call->x.body_offset = call->offset;
    call->x.body_size = call->size;
  } else if (verb->body) {
    call->x.body = verb->body;
    call->x.body_size = (int64_t)strlen(verb->body);
  }
  if (!ok || path.failed || call->url.failed || !sign(store, call, &request))
    return give_up(call, "the request to object storage could not be signed: a header or key is malformed");
  if (!http_start(store->client, &call->x)) return give_up(call, call->x.problem);
  return true;
}

bool s3_put(struct s3_store *store, struct s3_call *call) {
  return start(store, call, &(struct verb){.method = "PUT", .key = call->key, .sends_range = true});
}
bool s3_head(struct s3_store *store, struct s3_call *call) {
  return start(store, call, &(struct verb){.method = "HEAD", .key = call->key});
}
bool s3_get(struct s3_store *store, struct s3_call *call) {
  return start(store, call, &(struct verb){.method = "GET", .key = call->key, .keep_limit = (size_t)16 << 20});
}
bool s3_delete(struct s3_store *store, struct s3_call *call) {
  return start(store, call, &(struct verb){.method = "DELETE", .key = call->key});
}

bool s3_list(struct s3_store *store, struct s3_call *call) {
  char max[16];
  snprintf(max, sizeof max, "%d", call->max_keys ? call->max_keys : 1000);
  struct verb verb = {.method = "GET", .keep_limit = (size_t)4 << 20, .query_count = 3,
                      .query = {{"list-type", "2"}, {"prefix", call->prefix ? call->prefix : ""}, {"max-keys", max}}};
  if (call->after) verb.query[verb.query_count++] = (struct sigv4_field){"continuation-token", call->after};
  return start(store, call, &verb);
}

bool s3_create(struct s3_store *store, struct s3_call *call) {
  return start(store, call, &(struct verb){.method = "POST", .key = call->key, .query = {{"uploads", ""}},
                                           .query_count = 1, .body = ""});
}

bool s3_part(struct s3_store *store, struct s3_call *call) {
  char number[16];
  snprintf(number, sizeof number, "%d", call->part);
  return start(store, call, &(struct verb){.method = "PUT", .key = call->key, .sends_range = true, .query_count = 2,
                                           .query = {{"partNumber", number}, {"uploadId", call->upload_id}}});
}

bool s3_complete(struct s3_store *store, struct s3_call *call) {
  return start(store, call, &(struct verb){.method = "POST", .key = call->key, .body = call->body, .query_count = 1,
                                           .query = {{"uploadId", call->upload_id}},
                                           .stall_s = 300 /* joining thousands of parts takes a server minutes */});
}

bool s3_abort(struct s3_store *store, struct s3_call *call) {
  return start(store, call, &(struct verb){.method = "DELETE", .key = call->key, .query_count = 1,
                                           .query = {{"uploadId", call->upload_id}}});
}

bool s3_list_parts(struct s3_store *store, struct s3_call *call) {
  char max[16], marker[16];
  snprintf(max, sizeof max, "%d", call->max_keys ? call->max_keys : 1000);
  snprintf(marker, sizeof marker, "%d", call->part);
  return start(store, call, &(struct verb){.method = "GET", .key = call->key, .keep_limit = (size_t)4 << 20,
                                           .query_count = 3,
                                           .query = {{"uploadId", call->upload_id}, {"max-parts", max},
                                                     {"part-number-marker", marker}}});
}

enum s3_outcome s3_run(struct s3_store *store, struct s3_call *call, s3_verb *verb) {
  if (!verb(store, call)) return call->outcome;
  while (call->x.slot) http_wait(store->client, 1000);
  return call->outcome;
}

void s3_call_clear(struct s3_call *call) {
  http_reset(&call->x);
  text_free(&call->url);
  text_free(&call->authorization);
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

bool s3_upload_id(const struct s3_call *call, struct text *out) {
  return xml_text(text_string(&call->x.kept), call->x.kept.size, "UploadId", out) && out->size > 0 &&
         out->size < S3_UPLOAD_ID_SIZE;
}

static void strip_quotes(const char *from, char *out, size_t size) {
  size_t length = strlen(from);
  bool quoted = length >= 2 && from[0] == '"' && from[length - 1] == '"';
  snprintf(out, size, "%.*s", (int)(quoted ? length - 2 : length), quoted ? from + 1 : from);
}

void s3_take_body_etag(struct s3_call *call) {
  text_auto struct text etag = {0};
  if (xml_text(text_string(&call->x.kept), call->x.kept.size, "ETag", &etag))
    strip_quotes(text_string(&etag), call->etag, sizeof call->etag);
}

bool s3_next_part(const struct s3_call *call, size_t *at, struct s3_part_info *part) {
  text_auto struct text number = {0}, size = {0}, etag = {0};
  size_t inner_size;
  const char *inner = xml_next(text_string(&call->x.kept), call->x.kept.size, "Part", at, &inner_size);
  if (!inner || !xml_text(inner, inner_size, "PartNumber", &number) || !xml_text(inner, inner_size, "Size", &size) ||
      !xml_text(inner, inner_size, "ETag", &etag))
    return false;
  part->number = atoi(text_string(&number));
  part->size = atoll(text_string(&size));
  strip_quotes(text_string(&etag), part->etag, sizeof part->etag);
  return part->number >= 1 && part->number <= S3_PARTS_MAX;
}

bool s3_list_truncated(const struct s3_call *call) {
  text_auto struct text word = {0};
  return xml_text(text_string(&call->x.kept), call->x.kept.size, "IsTruncated", &word) &&
         strcmp(text_string(&word), "true") == 0;
}

bool s3_list_has_keys(const struct s3_call *call) {
  size_t at = 0, inner;
  return xml_next(text_string(&call->x.kept), call->x.kept.size, "Contents", &at, &inner) != NULL;
}

void s3_multipart_etag(const unsigned char (*md5)[MD5_SIZE], size_t count, char out[S3_ETAG_SIZE]) {
  unsigned char digest[MD5_SIZE] = {0};
  checksum_md5(md5, count * MD5_SIZE, digest);
  checksum_hex(digest, MD5_SIZE, out);
  snprintf(out + MD5_HEX_SIZE - 1, S3_ETAG_SIZE - MD5_HEX_SIZE, "-%zu", count);
}

bool s3_etag_is_md5(const struct s3_call *call) {
  char value[64];
  if (http_answer_header(&call->x, "x-amz-server-side-encryption", value, sizeof value) && strncmp(value, "aws:", 4) == 0)
    return false;
  if (http_answer_header(&call->x, "x-amz-server-side-encryption-customer-algorithm", value, sizeof value)) return false;
  size_t hex = strspn(call->etag, "0123456789abcdef");
  return hex == 32 && (call->etag[32] == '\0' || call->etag[32] == '-');
}
