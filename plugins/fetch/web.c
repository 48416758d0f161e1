/* web.c - http and https: ranges, validators, and going on where a broken connection stopped.
 *
 * A connection that breaks is taken up again at once as long as each one brings something and the server names a
 * validator (a strong ETag or Last-Modified) to ask If-Range with; everything else is the engine's to retry. What is
 * needed to go on in a later attempt is checkpointed as "URL digest, total, validator". */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/follow.h"
#include "common/http.h"
#include "common/url.h"
#include "fetch.h"

enum { CONNECTIONS_MAX = 20, HEADERS_MAX = 32, VALIDATOR_MAX = 256 };

struct web {
  struct fetch *fetch;
  struct follow follow;
  char validator[VALIDATOR_MAX]; /* for If-Range; "" when the server names none */
  char range[64], if_range[VALIDATOR_MAX + 16];
  const char *own_headers[2];
  const char *headers[HEADERS_MAX];
  size_t header_count;
  bool restart; /* the partial file does not fit the answer: begin again */
  bool bad_range;
};

/* ---- what survives an attempt ---------------------------------------------------------------------------------- */

static void url_digest(const char *url, char hex[SHA256_HEX_SIZE]) { checksum_sha256_hex(url, strlen(url), hex); }

static void remember(struct web *web) {
  char value[VALIDATOR_MAX + 128], hex[SHA256_HEX_SIZE];
  url_digest(web->fetch->url, hex);
  snprintf(value, sizeof value, "%s %lld %s", hex, (long long)web->fetch->total, web->validator);
  sm_checkpoint(web->fetch->task, "partial", web->validator[0] ? value : "");
}

/* True when an earlier attempt left something of this very URL with a validator. */
static bool recall(struct web *web) {
  const char *value = sm_checkpoint_get(web->fetch->task, "partial");
  char hex[SHA256_HEX_SIZE], saved[SHA256_HEX_SIZE];
  long long total;
  int at = 0;
  url_digest(web->fetch->url, hex);
  if (!value || sscanf(value, "%64s %lld %n", saved, &total, &at) != 2 || !at || strcmp(saved, hex) != 0) return false;
  snprintf(web->validator, sizeof web->validator, "%s", value + at);
  if (!web->validator[0]) return false;
  web->fetch->total = total;
  return true;
}

/* ---- one answer ------------------------------------------------------------------------------------------------ */

/* "bytes 100-199/1000" at the place we asked for, and of the same whole. */
static bool range_fits(struct web *web, const struct http_exchange *x) {
  char value[128], whole[32] = "";
  long long first, last;
  if (!http_answer_header(x, "Content-Range", value, sizeof value)) return false;
  if (sscanf(value, "bytes %lld-%lld/%31s", &first, &last, whole) != 3) return false;
  if (first != web->fetch->partial.size || last < first) return false;
  if (strcmp(whole, "*") == 0) return true;
  char *end;
  long long total = strtoll(whole, &end, 10);
  if (*end || (web->fetch->total >= 0 && total != web->fetch->total)) return false;
  web->fetch->total = total;
  return true;
}

/* A weak ETag must not be used with If-Range (RFC 9110 13.1.5). */
static void take_validator(struct web *web, const struct http_exchange *x) {
  char value[VALIDATOR_MAX];
  web->validator[0] = '\0';
  if (http_answer_header(x, "ETag", value, sizeof value) && value[0] == '"')
    snprintf(web->validator, sizeof web->validator, "%s", value);
  else if (http_answer_header(x, "Last-Modified", value, sizeof value))
    snprintf(web->validator, sizeof web->validator, "%s", value);
}

static enum http_take begin_whole(struct web *web, const struct http_exchange *x) {
  struct fetch *f = web->fetch;
  char disposition[1024], type[128];
  bool has_disposition = http_answer_header(x, "Content-Disposition", disposition, sizeof disposition);
  bool has_type = http_answer_header(x, "Content-Type", type, sizeof type);
  name_from_answer(f, has_disposition ? disposition : NULL, text_string(&web->follow.final_url),
                   has_type ? type : NULL);
  f->total = http_length(x);
  if (f->partial.limit && f->total > f->partial.limit) return f->partial.too_large = true, HTTP_TAKE_STOP;
  if (f->partial.size > 0 && !partial_restart(&f->partial)) return HTTP_TAKE_STOP;
  take_validator(web, x);
  remember(web);
  return HTTP_TAKE_SINK;
}

/* The first answer of an attempt that goes on with kept bytes still has to name the file. */
static void name_once(struct web *web, const struct http_exchange *x) {
  char disposition[1024], type[128];
  if (web->fetch->media_type[0]) return;
  bool has_disposition = http_answer_header(x, "Content-Disposition", disposition, sizeof disposition);
  bool has_type = http_answer_header(x, "Content-Type", type, sizeof type);
  name_from_answer(web->fetch, has_disposition ? disposition : NULL, text_string(&web->follow.final_url),
                   has_type ? type : NULL);
}

static enum http_take on_head(struct http_exchange *x) {
  struct web *web = x->context;
  if (x->status == 200) return begin_whole(web, x);
  if (x->status == 206 && web->fetch->partial.size > 0 && range_fits(web, x)) return name_once(web, x), HTTP_TAKE_SINK;
  if (x->status == 206) return web->bad_range = true, HTTP_TAKE_STOP;
  return HTTP_TAKE_KEEP;
}

static bool on_data(struct http_exchange *x, const void *data, size_t size) {
  struct web *web = x->context;
  if (!partial_write(&web->fetch->partial, data, size)) return false;
  fetch_progress(web->fetch);
  return true;
}

/* ---- connections ----------------------------------------------------------------------------------------------- */

static void ask(struct web *web) {
  struct fetch *f = web->fetch;
  web->follow.headers = web->own_headers;
  web->follow.header_count = 0;
  if (f->partial.size == 0) return;
  snprintf(web->range, sizeof web->range, "Range: bytes=%lld-", (long long)f->partial.size);
  snprintf(web->if_range, sizeof web->if_range, "If-Range: %s", web->validator);
  web->own_headers[0] = web->range;
  web->own_headers[1] = web->if_range;
  web->follow.header_count = 2;
}

static sm_status fail_by_status(struct fetch *f, const struct http_exchange *x) {
  const char *cure = x->status == 401 || x->status == 403 ? "give credentials that may read it (user:password@ or `headers`)"
                     : x->status == 404 || x->status == 410 ? "correct `url`"
                                                            : "ask its owner";
  if (http_is_transient(x)) {
    long wait = http_retry_after_s(x);
    char hint[64] = "";
    if (wait) snprintf(hint, sizeof hint, "; it asks to wait %ld s", wait);
    return sm_fail(f->task, SM_RETRY, NULL, "%s: the server answered %ld (%s)%s", f->shown, x->status,
                   http_answer_words(x->status), hint);
  }
  return sm_fail(f->task, SM_FAIL, NULL, "%s: the server answered %ld (%s): %s", f->shown, x->status,
                 http_answer_words(x->status), cure);
}

static sm_status fail_by_end(struct web *web, const struct http_exchange *x) {
  struct fetch *f = web->fetch;
  switch (x->end) {
  case HTTP_CANCELLED: return SM_CANCELLED;
  case HTTP_UNREACHABLE:
  case HTTP_BROKEN:
  case HTTP_STALLED:
    return sm_fail(f->task, SM_RETRY, NULL, "%s: %s after %lld bytes", f->shown, x->problem,
                   (long long)f->partial.size);
  case HTTP_UNTRUSTED:
    return sm_fail(f->task, SM_FAIL, NULL, "%s: %s; give its authority's certificate in `ca`", f->shown, x->problem);
  case HTTP_FORBIDDEN:
    return sm_fail(f->task, SM_FAIL, NULL, "%s: %s%s", f->shown, x->problem,
                   web->follow.redirects ? ", and a redirect must not lead there" : ": set `networks: any` to allow it");
  case HTTP_STOPPED:
    if (!web->bad_range) return partial_verdict(f);
    return sm_fail(f->task, SM_RETRY, NULL, "%s: the server sent another range than was asked for", f->shown);
  default: return sm_fail(f->task, SM_FAIL, NULL, "%s: %s: correct `url`", f->shown, x->problem);
  }
}

/* What to do after one connection. */
enum next { NEXT_DONE = 1, NEXT_AGAIN, NEXT_OVER };

static enum next after(struct web *web, const struct http_exchange *x, int64_t before, sm_status *status) {
  struct fetch *f = web->fetch;
  bool progressed = f->partial.size > before;
  if (x->end == HTTP_ANSWERED && (x->status == 200 || x->status == 206)) {
    if (f->total < 0 || f->partial.size == f->total) return NEXT_DONE;
  } else if (x->end == HTTP_ANSWERED && x->status == 416 && before > 0) {
    if (f->total == before) return NEXT_DONE; /* only the end of the connection was missing */
    return partial_restart(&f->partial) ? NEXT_AGAIN : NEXT_OVER;
  } else if (web->bad_range && before > 0) {
    web->bad_range = false;
    return partial_restart(&f->partial) ? NEXT_AGAIN : NEXT_OVER;
  }
  bool broken = x->end == HTTP_BROKEN || x->end == HTTP_STALLED || (x->end == HTTP_ANSWERED && f->total >= 0 &&
                                                                   (x->status == 200 || x->status == 206));
  if (broken && progressed && web->validator[0]) return NEXT_AGAIN;
  *status = x->end == HTTP_ANSWERED && x->status != 200 && x->status != 206 ? fail_by_status(f, x) : fail_by_end(web, x);
  return NEXT_OVER;
}

static sm_status run(struct web *web, struct http_client *client) {
  struct fetch *f = web->fetch;
  sm_status status = SM_OK;
  for (int i = 0; i < CONNECTIONS_MAX; i++) {
    struct http_exchange x = {.head = on_head, .sink = on_data, .context = web};
    int64_t before = f->partial.size;
    ask(web);
    follow_run(client, &x, &web->follow);
    if (i == 0 && x.end == HTTP_ANSWERED && web->follow.redirects)
      sm_log(f->task, SM_LOG_INFO, "%s was redirected %d times", f->shown, web->follow.redirects);
    enum next next = after(web, &x, before, &status);
    if (next == NEXT_AGAIN)
      sm_log(f->task, SM_LOG_WARNING, "%s: %s after %lld bytes: going on from there", f->shown,
             x.problem[0] ? x.problem : "starting over", (long long)f->partial.size);
    http_reset(&x);
    if (next == NEXT_DONE) return SM_OK;
    if (next == NEXT_OVER) return status != SM_OK ? status : partial_verdict(f);
  }
  return sm_fail(f->task, SM_RETRY, NULL, "%s: the connection broke %d times, %lld bytes came", f->shown, CONNECTIONS_MAX,
                 (long long)f->partial.size);
}

static bool stop_wanted(void *context) { return sm_cancelled(context); }

/* The operator's headers; false when one is not a header. */
static bool take_headers(struct web *web) {
  uint32_t count = sm_param_count(web->fetch->task, "headers");
  for (uint32_t i = 0; i < count && i < HEADERS_MAX; i++) {
    char path[32];
    snprintf(path, sizeof path, "headers.%u", i);
    const char *line = sm_param_text(web->fetch->task, path);
    const char *colon = line ? strchr(line, ':') : NULL;
    if (!colon || colon == line || strpbrk(line, "\r\n") || memchr(line, ' ', (size_t)(colon - line))) return false;
    web->headers[web->header_count++] = line;
  }
  web->follow.origin_headers = web->headers;
  web->follow.origin_header_count = web->header_count;
  return count <= HEADERS_MAX;
}

sm_status web_fetch(struct fetch *f) {
  struct web web = {.fetch = f, .follow = {.url = f->at ? f->at : f->url}};
  sm_task *task = f->task;
  if (!take_headers(&web))
    return sm_fail(task, SM_FAIL, NULL, "each of `headers` (at most %d) is to be written `Name: value`", HEADERS_MAX);
  long timeout_s = (long)(sm_param_int(task, "timeout") / 1000000);
  struct http_settings settings = {
    .ca_file = sm_param_text(task, "ca"), .stall_s = timeout_s > 0 ? timeout_s : 1,
    .connect_timeout_ms = timeout_s > 0 && timeout_s < 15 ? timeout_s * 1000 : 15000,
    .networks = strcmp(sm_param_text(task, "networks"), "public") == 0 ? HTTP_PUBLIC_ONLY : HTTP_ANY_NETWORK,
    .cancelled = stop_wanted, .context = task};
  int64_t redirects = sm_param_int(task, "redirects");
  web.follow.redirects_max = redirects > 0 ? (int)redirects : -1;
  sm_status status = partial_open(f, recall(&web));
  if (status == SM_OK && f->partial.size == 0) f->total = -1;
  if (status != SM_OK) return status;
  if (f->partial.kept)
    sm_log(task, SM_LOG_INFO, "going on after %lld bytes of an earlier attempt", (long long)f->partial.size);
  struct http_client *client = http_open(&settings);
  if (!client) return sm_fail(task, SM_RETRY, NULL, "memory ran out: try again");
  status = run(&web, client);
  http_close(&client);
  follow_clear(&web.follow);
  return status;
}
