/* cors.c - which pages of other origins may read the answers (Fetch standard, "CORS protocol"). */
#include <string.h>

#include "http/parts.h"

static const char exposed[] =
    "Location, ETag, Content-Range, Accept-Ranges, Content-Length, Retry-After, X-Request-Id, Upload-Offset, "
    "Upload-Length, Upload-Expires, Upload-Metadata, Tus-Resumable, Tus-Version, Tus-Extension, "
    "Tus-Max-Size, Tus-Checksum-Algorithm";
static const char accepted[] =
    "Authorization, Content-Type, Accept, Idempotency-Key, Last-Event-ID, Range, If-Range, If-Match, "
    "If-None-Match, If-Modified-Since, X-Request-Id, X-Drive-Token, X-Requested-With, Tus-Resumable, "
    "Upload-Length, Upload-Offset, Upload-Metadata, Upload-Checksum, Upload-Defer-Length, "
    "Upload-Concat, X-HTTP-Method-Override";

bool cors_is_preflight(const struct exchange *x) {
  return strcmp(x->info->request_method, "OPTIONS") == 0 && http_header(x, "Origin") &&
         http_header(x, "Access-Control-Request-Method");
}

/* Credentials only for origins that are named: with "*" any page at all could use those of whoever reads it. */
static bool allow(struct exchange *x) {
  const char *origin = http_header(x, "Origin");
  if (x->policy->origin_count) http_set_header(x, "Vary", "Origin");
  if (!origin) return false;
  if (policy_lists(x->policy, origin)) {
    http_set_header(x, "Access-Control-Allow-Origin", origin);
    http_set_header(x, "Access-Control-Allow-Credentials", "true");
    return true;
  }
  if (!x->policy->any_origin) return false;
  http_set_header(x, "Access-Control-Allow-Origin", "*");
  return true;
}

void cors_decorate(struct exchange *x) {
  if (!x->policy->origin_count && !x->policy->any_origin) return;
  if (allow(x) && !cors_is_preflight(x)) http_set_header(x, "Access-Control-Expose-Headers", exposed);
}

void cors_preflight(struct exchange *x, const char *methods) {
  const char *origin = http_header(x, "Origin");
  if (!x->policy->any_origin && !policy_lists(x->policy, origin)) return;
  http_set_header(x, "Access-Control-Allow-Methods", methods);
  http_set_header(x, "Access-Control-Allow-Headers", accepted);
  http_set_header(x, "Access-Control-Max-Age", "600");
  http_set_header(x, "Vary", "Access-Control-Request-Method, Access-Control-Request-Headers");
}
