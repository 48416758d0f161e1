/* bucket.c - to S3-compatible storage: settings, the look beforehand, ranks in order. */
#include "bucket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { BACKOFF_MS = 200, BACKOFF_MAX_MS = 5000, RETRY_AFTER_MAX_S = 10 };
#define SHA256_META "x-amz-meta-stagemill-sha256"

int64_t bucket_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool tries_due(const struct tries *tries) { return bucket_now_ms() >= tries->due_ms; }

bool tries_again(const struct bucket *b, struct tries *tries, const struct s3_call *call) {
  if (++tries->count >= b->attempts) return false;
  int64_t delay = BACKOFF_MS;
  for (int i = 1; i < tries->count && delay < BACKOFF_MAX_MS; i++) delay *= 2;
  if (delay > BACKOFF_MAX_MS) delay = BACKOFF_MAX_MS;
  delay = delay / 2 + bucket_now_ms() % (delay / 2 + 1); /* spread: uploads that failed together come back apart */
  int64_t asked = call->retry_after_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : call->retry_after_s;
  tries->due_ms = bucket_now_ms() + (asked * 1000 > delay ? asked * 1000 : delay);
  sm_log(b->u->task, SM_LOG_WARNING, "%s; try %d of %d failed", call->problem, tries->count, b->attempts);
  return true;
}

char *bucket_key(const struct bucket *b, const struct item *item) {
  text_auto struct text key = {0};
  text_format(&key, "%s%s", b->u->target.prefix, item->name);
  return text_take(&key);
}

static const char *cache_of(const struct bucket *b, const struct item *item) {
  return item->rank == RANK_MEDIA ? b->cache_control : b->playlist_cache_control;
}

void bucket_headers(const struct bucket *b, const struct item *item, const char *sha256, struct s3_call *call) {
  size_t n = 0;
  call->extra[n++] = (struct sigv4_field){"content-type", item->type};
  if (cache_of(b, item)) call->extra[n++] = (struct sigv4_field){"cache-control", cache_of(b, item)};
  if (b->acl) call->extra[n++] = (struct sigv4_field){"x-amz-acl", b->acl};
  if (sha256[0]) call->extra[n++] = (struct sigv4_field){SHA256_META, sha256};
  call->extra_count = n;
}

bool bucket_same(const struct bucket *b, const struct item *item, const char *sha256, const struct s3_call *head) {
  char value[256];
  const char *cache = cache_of(b, item);
  if (!sha256[0] || http_length(&head->x) != item->size) return false;
  if (!http_answer_header(&head->x, SHA256_META, value, sizeof value) || strcasecmp(value, sha256) != 0) return false;
  if (!http_answer_header(&head->x, "Content-Type", value, sizeof value) || strcasecmp(value, item->type) != 0) return false;
  bool has_cache = http_answer_header(&head->x, "Cache-Control", value, sizeof value);
  return cache ? has_cache && strcmp(value, cache) == 0 : !has_cache;
}

sm_status bucket_verdict(const struct bucket *b, const struct s3_call *call) {
  sm_task *task = b->u->task;
  const char *bucket = b->u->target.bucket;
  if (call->outcome == S3_STOPPED) return SM_CANCELLED;
  sm_status verdict = call->outcome == S3_TRANSIENT ? SM_RETRY : SM_FAIL;
  return sm_fail(task, verdict, call->code[0] ? call->code : NULL, "upload to bucket %s: %s", bucket, call->problem);
}

sm_status bucket_read_error(const struct bucket *b, const struct item *item, int why) {
  if (why == ECANCELED) return SM_CANCELLED;
  return sm_fail(b->u->task, SM_RETRY, NULL, "%s cannot be read: %s", item->name,
                 why == ENODATA ? "it became shorter meanwhile" : strerror(why));
}

enum s3_outcome bucket_call(struct bucket *b, struct s3_call *call, s3_verb *verb) {
  struct tries tries = {0};
  for (;;) {
    if (s3_run(b->store, call, verb) != S3_TRANSIENT || !tries_again(b, &tries, call)) return call->outcome;
    while (!tries_due(&tries))
      if (!http_wait(b->client, 100)) return call->outcome = S3_STOPPED;
  }
}

void bucket_progress(struct bucket *b, const struct item *item, int64_t ahead) {
  b->u->bytes_ahead = ahead;
  upload_progress(b->u, item);
}

/* Is anything there already? Also tells at once when endpoint, bucket or keys are wrong, before anything is read. */
static sm_status look(struct bucket *b) {
  struct s3_call *call = calloc(1, sizeof *call);
  if (!call) return sm_fail(b->u->task, SM_RETRY, NULL, "memory ran out: try again");
  call->prefix = b->u->target.prefix;
  call->max_keys = 1;
  sm_status status = SM_OK;
  enum s3_outcome outcome = bucket_call(b, call, s3_list);
  /* Keys that may write but not list are common: go on, and let the first write say what is wrong. */
  bool unlisted = outcome == S3_REFUSED && strcmp(call->code, "AccessDenied") == 0;
  b->may_exist = unlisted || (outcome == S3_DONE && s3_list_has_keys(call));
  if (outcome != S3_DONE && !unlisted) status = bucket_verdict(b, call);
  s3_call_clear(call);
  free(call);
  return status;
}

static sm_status send_ranks(struct bucket *b) {
  struct upload *u = b->u;
  sm_status status = look(b);
  for (enum rank rank = RANK_MEDIA; rank < RANK_END && status == SM_OK; rank++) {
    for (uint32_t i = 0; i < u->count && status == SM_OK; i++)
      if (u->items[i].rank == rank && u->items[i].size > b->part_size) status = parts_send(b, &u->items[i]);
    if (status == SM_OK) status = objects_send(b, rank);
  }
  return status;
}

static const char *given(sm_task *task, const char *name) {
  const char *text = sm_param_text(task, name);
  return text && text[0] ? text : NULL;
}

static sm_status open_store(struct bucket *b) {
  sm_task *task = b->u->task;
  const char *why = "";
  struct s3_settings settings = {
    .endpoint = given(task, "endpoint"), .region = given(task, "region"), .bucket = b->u->target.bucket,
    .access_key = given(task, "access-key"), .secret_key = given(task, "secret-key"),
    .session_token = given(task, "session-token")};
  if (!settings.access_key || !settings.secret_key)
    return sm_fail(task, SM_FAIL, NULL, "uploading to s3://%s needs `access-key` and `secret-key`, as ${{ secrets.NAME }}",
                   b->u->target.bucket);
  long timeout_s = (long)(sm_param_int(task, "timeout") / 1000000);
  struct http_settings http = {.ca_file = given(task, "ca"), .stall_s = timeout_s > 0 ? timeout_s : 1,
                               .connect_timeout_ms = timeout_s > 0 && timeout_s < 10 ? timeout_s * 1000 : 10000,
                               .cancelled = upload_stopped, .context = b->u};
  b->client = http_open(&http);
  if (!b->client) return sm_fail(task, SM_RETRY, NULL, "memory ran out: try again");
  b->store = s3_open(b->client, &settings, &why);
  if (!b->store)
    return sm_fail(task, SM_FAIL, NULL, "`endpoint` or `to` %s: correct it (endpoint %s, bucket %s)", why,
                   settings.endpoint ? "given" : "Amazon's", b->u->target.bucket);
  return SM_OK;
}

sm_status bucket_upload(struct upload *u, struct text *entrance_url) {
  sm_task *task = u->task;
  struct bucket b = {.u = u, .concurrency = (int)sm_param_int(task, "concurrency"),
                     .attempts = (int)sm_param_int(task, "attempts"), .part_size = sm_param_int(task, "part-size"),
                     .acl = given(task, "acl"), .cache_control = given(task, "cache-control"),
                     .playlist_cache_control = given(task, "playlist-cache-control")};
  if (b.concurrency < 1) b.concurrency = 1;
  if (b.attempts < 1) b.attempts = 1;
  if (b.part_size < S3_PART_MIN) b.part_size = S3_PART_MIN;
  for (uint32_t i = 0; i < u->count; i++)
    if (strlen(u->target.prefix) + strlen(u->items[i].name) > S3_KEY_MAX)
      return sm_fail(task, SM_FAIL, NULL, "the key of %.200s would be longer than %d bytes: shorten the prefix in `to`",
                     u->items[i].name, S3_KEY_MAX);
  sm_status status = open_store(&b);
  if (status == SM_OK) status = send_ranks(&b);
  if (status == SM_OK) {
    char *key = bucket_key(&b, items_entrance(u));
    if (!key || !s3_url(b.store, key, entrance_url))
      status = sm_fail(task, SM_RETRY, NULL, "memory ran out: try again");
    free(key);
  }
  s3_close(&b.store);
  http_close(&b.client);
  return status;
}
