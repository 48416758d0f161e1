/* mask.c - what was submitted, as it may be shown again: no secret, no credential in a URL. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <stagemill/abi.h>

#include "api/parts.h"
#include "base/log.h"
#include "base/mem.h"

static bool name_is_secret(const char *name) {
  static const char *const parts[] = {"password", "passwd", "secret", "token", "credential", "api-key", "api_key", "apikey",
                                      "access-key", "access_key", "authorization", "signature"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (strcasestr(name, parts[i])) return true;
  return false;
}

/* Presigned URLs and links with a key in them are worth as much as the key. */
static bool query_is_secret(const char *name, size_t size) {
  static const char *const names[] = {"sig", "key", "auth", "x-amz-credential", "x-amz-security-token", "x-amz-signature",
                                      "policy", "code", "jwt"};
  mem_auto char *copy = mem_text_n(name, size);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcasecmp(copy, names[i]) == 0) return true;
  return name_is_secret(copy);
}

static void query_masked(const char *query, struct buf *out) {
  while (*query) {
    size_t size = strcspn(query, "&#"), name = strcspn(query, "=&#");
    if (name < size && query_is_secret(query, name)) {
      buf_add(out, query, name + 1);
      buf_text(out, "***");
    } else
      buf_add(out, query, size);
    query += size;
    if (*query == '#') break;
    if (*query) buf_char(out, *query++);
  }
  buf_text(out, query);
}

char *api_masked_url(const char *url) {
  struct buf out = {0};
  const char *host = strstr(url, "://");
  if (!host) return mem_text(url);
  host += 3;
  size_t authority = strcspn(host, "/?#");
  const char *at = memrchr(host, '@', authority), *query;
  buf_add(&out, url, (size_t)(host - url));
  if (at) buf_text(&out, "***@");
  host = at ? at + 1 : host;
  query = strchr(host, '?');
  if (query) {
    buf_add(&out, host, (size_t)(query - host) + 1);
    query_masked(query + 1, &out);
  } else
    buf_text(&out, host);
  return buf_take(&out);
}

static struct value *masked(const struct value *v, bool secret) {
  if (v->type == VALUE_TEXT && secret && v->text_size) return value_text("***");
  if (v->type == VALUE_TEXT) {
    mem_auto char *text = api_masked_url(v->text);
    log_scrub(text);
    return value_text(text);
  }
  if (v->type != VALUE_LIST && v->type != VALUE_MAP) return value_copy(v);
  struct value *out = v->type == VALUE_LIST ? value_list() : value_map();
  for (size_t i = 0; i < v->count; i++) {
    if (v->type == VALUE_LIST)
      value_list_add(out, masked(v->items[i], secret));
    else
      value_map_set(out, v->keys[i], masked(v->items[i], secret || name_is_secret(v->keys[i])));
  }
  return out;
}

static bool param_is_secret(const struct pipeline *pipeline, const char *name) {
  for (size_t i = 0; pipeline && i < pipeline->param_count; i++)
    if (strcmp(pipeline->params[i].name, name) == 0) return pipeline->params[i].type->takes & SM_TAKES_SECRET;
  return false;
}

struct value *api_masked(const struct pipeline *pipeline, const struct value *params) {
  if (value_is_null(params)) return value_map();
  if (params->type != VALUE_MAP) return masked(params, false);
  struct value *out = value_map();
  for (size_t i = 0; i < params->count; i++) {
    bool secret = param_is_secret(pipeline, params->keys[i]) || name_is_secret(params->keys[i]);
    value_map_set(out, params->keys[i], masked(params->items[i], secret));
  }
  return out;
}
