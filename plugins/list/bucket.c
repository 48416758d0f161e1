/* bucket.c - the objects below a prefix, page by page (ListObjectsV2). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/s3.h"
#include "common/url.h"
#include "common/xml.h"
#include "list.h"

enum { TRIES = 5 };

struct bucket {
  struct listing list;
  struct http_client *client;
  struct s3_store *store;
  const char *name, *prefix;
};

static bool stop_wanted(void *task) { return sm_cancelled(task); }

static const char *base_name(const char *key) {
  const char *slash = strrchr(key, '/');
  return slash ? slash + 1 : key;
}

static sm_status add_object(struct bucket *b, const char *key, int64_t bytes, const char *etag) {
  text_auto struct text input = {0}, source = {0};
  if (!*base_name(key)) return SM_OK; /* "folder/": what some tools make to show a folder */
  text_format(&input, "s3://%s/", b->name);
  url_encode(&input, key, strlen(key), URL_KEEP_SLASHES);
  text_format(&source, "s3:%s/%s/%s@%s", s3_endpoint(b->store), b->name, key, etag);
  const char *below = strncmp(key, b->prefix, strlen(b->prefix)) ? key : key + strlen(b->prefix);
  struct listed file = {.name = *below == '/' ? below + 1 : *below ? below : base_name(key), .input = text_string(&input),
                        .source = *etag ? text_string(&source) : NULL, .bytes = bytes,
                        .problem = bytes == 0 ? "empty" : NULL, .message = "it has no bytes"};
  if (!file.problem) file.message = NULL;
  return input.failed || source.failed ? sm_fail(b->list.task, SM_RETRY, NULL, "memory ran out: try again")
                                       : listing_add(&b->list, &file);
}

static sm_status add_page(struct bucket *b, const struct s3_call *call) {
  size_t at = 0, size;
  const char *inner;
  sm_status status = SM_OK;
  while (status == SM_OK && (inner = xml_next(text_string(&call->x.kept), call->x.kept.size, "Contents", &at, &size))) {
    text_auto struct text key = {0}, bytes = {0}, etag = {0};
    if (!xml_text(inner, size, "Key", &key) || !xml_text(inner, size, "Size", &bytes)) continue;
    xml_text(inner, size, "ETag", &etag);
    status = add_object(b, text_string(&key), atoll(text_string(&bytes)), text_string(&etag));
  }
  return status;
}

static sm_status ask_page(struct bucket *b, struct s3_call *call) {
  for (int tries = 0; tries < TRIES; tries++) {
    enum s3_outcome outcome = s3_run(b->store, call, s3_list);
    if (outcome == S3_DONE) return SM_OK;
    if (outcome == S3_STOPPED) return SM_CANCELLED;
    if (outcome != S3_TRANSIENT)
      return sm_fail(b->list.task, SM_FAIL, NULL, "bucket %s cannot be listed: %s", b->name, call->problem);
    struct timespec pause = {tries, 200 * 1000000};
    nanosleep(&pause, NULL);
  }
  return sm_fail(b->list.task, SM_RETRY, NULL, "bucket %s cannot be listed: %s", b->name, call->problem);
}

static sm_status list_pages(struct bucket *b) {
  text_auto struct text after = {0};
  sm_status status = SM_OK;
  bool more = true;
  while (more && status == SM_OK) {
    struct s3_call call = {.prefix = b->prefix, .after = after.size ? text_string(&after) : NULL};
    status = ask_page(b, &call);
    if (status == SM_OK) status = add_page(b, &call);
    more = status == SM_OK && s3_list_truncated(&call);
    text_reset(&after);
    if (more && !xml_text(text_string(&call.x.kept), call.x.kept.size, "NextContinuationToken", &after))
      status = sm_fail(b->list.task, SM_RETRY, NULL, "bucket %s: the server says there is more and not where", b->name);
    s3_call_clear(&call);
  }
  return status;
}

static sm_status bucket_open(struct bucket *b, sm_task *task) {
  const char *why = "memory ran out";
  struct http_settings http = {.ca_file = sm_param_text(task, "ca"), .cancelled = stop_wanted, .context = task,
                               .networks = strcmp(sm_param_text(task, "networks"), "public") ? HTTP_ANY_NETWORK : HTTP_PUBLIC_ONLY};
  struct s3_settings s3 = {.endpoint = sm_param_text(task, "endpoint"), .region = sm_param_text(task, "region"), .bucket = b->name,
                           .access_key = sm_param_text(task, "access-key"), .secret_key = sm_param_text(task, "secret-key"),
                           .session_token = sm_param_text(task, "session-token")};
  if (!s3.access_key || !s3.secret_key)
    return sm_fail(task, SM_FAIL, NULL, "`access-key` and `secret-key` are needed to list bucket %s: are the secrets set?", b->name);
  b->client = http_open(&http);
  b->store = b->client ? s3_open(b->client, &s3, &why) : NULL;
  return b->store ? SM_OK : sm_fail(task, SM_FAIL, NULL, "`endpoint` %s", why);
}

sm_status bucket_list(sm_task *task) {
  const char *prefix = sm_param_text(task, "prefix");
  struct bucket b = {.name = sm_param_text(task, "bucket"), .prefix = prefix ? prefix : ""};
  sm_status status = listing_open(&b.list, task);
  if (status == SM_OK) status = bucket_open(&b, task);
  if (status == SM_OK) status = list_pages(&b);
  s3_close(&b.store);
  http_close(&b.client);
  return listing_close(&b.list, status);
}
