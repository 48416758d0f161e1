#include "common/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REDIRECTS_DEFAULT = 5, HEADERS_MAX = 64 };

struct hop { /* stands between curl and the caller's callbacks */
  struct http_exchange x;
  struct http_exchange *callers;
  char location[URL_SIZE_MAX + 1];
  bool redirected;
};

static bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The caller's exchange sees the answer as its own. */
static void lend(struct hop *hop) {
  struct http_exchange *x = hop->callers;
  x->status = hop->x.status;
  x->received = hop->x.received;
  x->address_public = hop->x.address_public;
  memcpy(x->address, hop->x.address, sizeof x->address);
  if (!x->header.size) text_add(&x->header, text_string(&hop->x.header), hop->x.header.size);
}

static enum http_take hop_head(struct http_exchange *x) {
  struct hop *hop = x->context;
  hop->redirected = is_redirect(x->status) && http_answer_header(x, "Location", hop->location, sizeof hop->location);
  if (hop->redirected) return HTTP_TAKE_KEEP;
  lend(hop);
  if (hop->callers->head) return hop->callers->head(hop->callers);
  return hop->callers->sink && x->status >= 200 && x->status < 300 ? HTTP_TAKE_SINK : HTTP_TAKE_KEEP;
}

static bool hop_sink(struct http_exchange *x, const void *data, size_t size) {
  struct hop *hop = x->context;
  hop->callers->received = x->received;
  return hop->callers->sink(hop->callers, data, size);
}

/* Moves the outcome into the caller's exchange. */
static void settle(struct hop *hop) {
  struct http_exchange *x = hop->callers;
  lend(hop);
  x->end = hop->x.end;
  memcpy(x->problem, hop->x.problem, sizeof x->problem);
  text_free(&x->kept);
  x->kept = hop->x.kept;
  hop->x.kept = (struct text){0};
  http_reset(&hop->x);
}

static enum http_end refuse(struct follow *follow, struct http_exchange *x, const char *what) {
  follow->refused = true;
  snprintf(x->problem, sizeof x->problem, "%s", what);
  return x->end = HTTP_IMPOSSIBLE;
}

/* Where the redirect leads, as the next URL; false with x settled when it must not be followed. */
static bool next_url(struct follow *follow, struct hop *hop, struct url *at, struct http_exchange *x) {
  char shown[160], problem[256];
  const char *why = "";
  struct url next;
  if (!url_resolve(at, hop->location, &next, &why)) {
    snprintf(problem, sizeof problem, "it redirects to a URL that %s", why);
    refuse(follow, x, problem);
    return false;
  }
  if (strcmp(next.scheme, "http") != 0 && strcmp(next.scheme, "https") != 0) {
    snprintf(problem, sizeof problem, "it redirects to %s, which is neither http nor https",
             url_redact(hop->location, shown, sizeof shown));
    url_clear(&next);
    refuse(follow, x, problem);
    return false;
  }
  free(next.userinfo); /* a server has no say in who we are */
  next.userinfo = url_same_origin(at, &next) && at->userinfo ? strdup(at->userinfo) : NULL;
  url_clear(at);
  *at = next;
  return true;
}

static void set_headers(const struct follow *follow, bool at_origin, const char **list, struct http_exchange *x) {
  size_t n = 0;
  for (size_t i = 0; i < follow->header_count && n < HEADERS_MAX; i++) list[n++] = follow->headers[i];
  for (size_t i = 0; at_origin && i < follow->origin_header_count && n < HEADERS_MAX; i++)
    list[n++] = follow->origin_headers[i];
  x->headers = list;
  x->header_count = n;
}

static enum http_end run_hops(struct http_client *client, struct http_exchange *x, struct follow *follow,
                              struct url *at, struct hop *hop) {
  const int limit = follow->redirects_max < 0 ? 0 : follow->redirects_max ? follow->redirects_max : REDIRECTS_DEFAULT;
  const char *list[HEADERS_MAX];
  url_auto struct url origin = {.port = -1};
  bool public_seen = x->public_only;
  if (!url_parse(follow->url, &origin, NULL)) return refuse(follow, x, "the URL is malformed");
  for (;;) {
    text_auto struct text url = {0};
    url_format(&url, at, URL_WITH_USERINFO);
    text_reset(&follow->final_url);
    url_format(&follow->final_url, at, 0);
    if (url.failed || follow->final_url.failed) return refuse(follow, x, "memory ran out");
    hop->x = (struct http_exchange){
      .method = x->method ? x->method : "GET", .url = url.data, .head = hop_head, .sink = hop_sink, .context = hop,
      .keep_limit = x->keep_limit, .total_timeout_ms = x->total_timeout_ms, .stall_s = x->stall_s,
      .public_only = public_seen};
    set_headers(follow, url_same_origin(at, &origin), list, &hop->x);
    hop->redirected = false;
    enum http_end end = http_run(client, &hop->x);
    if (end != HTTP_ANSWERED || !hop->redirected) return settle(hop), end;
    public_seen = public_seen || hop->x.address_public;
    http_reset(&hop->x);
    if (follow->redirects++ >= limit) return refuse(follow, x, "it redirects more often than allowed (a loop?)");
    if (!next_url(follow, hop, at, x)) return x->end;
  }
}

enum http_end follow_run(struct http_client *client, struct http_exchange *x, struct follow *follow) {
  const char *why = "";
  url_auto struct url at = {.port = -1};
  struct hop *hop = calloc(1, sizeof *hop);
  http_reset(x);
  follow->redirects = 0;
  follow->refused = false;
  if (!hop) return refuse(follow, x, "memory ran out");
  hop->callers = x;
  if (url_parse(follow->url, &at, &why)) {
    run_hops(client, x, follow, &at, hop);
  } else {
    snprintf(x->problem, sizeof x->problem, "the URL %s", why);
    x->end = HTTP_IMPOSSIBLE;
  }
  free(hop);
  return x->end;
}

void follow_clear(struct follow *follow) { text_free(&follow->final_url); }
