/* route.c - which route answers a path: literals before parameters before the rest of a path. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/parts.h"

enum { SEGMENT_REST = 1, SEGMENT_PARAM, SEGMENT_LITERAL, SEGMENTS_MAX = 30 };

/* The kinds of a pattern's segments, two bits each from the top: of two patterns that match, the greater is the closer.
 * 0: no match. */
static uint64_t match(const char *pattern, const char *path, size_t path_size) {
  uint64_t rank = 0;
  const char *end = path + path_size;
  for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
    if (*pattern != '/') return *pattern == '\0' && path == end ? rank : 0;
    if (path == end || *path != '/') return 0;
    pattern++, path++;
    size_t want = strcspn(pattern, "/"),
           have = (size_t)((const char *)memchr(path, '/', (size_t)(end - path)) ?: end) - (size_t)path;
    uint64_t kind = SEGMENT_LITERAL;
    if (*pattern == '{') {
      bool rest = want > 4 && strncmp(pattern + want - 4, "...}", 4) == 0;
      kind = rest ? SEGMENT_REST : SEGMENT_PARAM;
      if (have == 0 && (!rest || path == end)) return 0;
      if (rest) return rank | kind << (62 - 2 * i);
    } else if (want != have || strncmp(pattern, path, want) != 0) {
      return 0;
    }
    rank |= kind << (62 - 2 * i);
    pattern += want, path += have;
  }
  return 0;
}

/* The parameters of a pattern that has matched; each is decoded by itself, so that %2F does not end a segment. */
static bool take_params(struct exchange *x, const char *pattern, const char *path, size_t path_size) {
  const char *end = path + path_size;
  while (*pattern == '/') {
    pattern++, path++;
    size_t want = strcspn(pattern, "/"),
           have = (size_t)((const char *)memchr(path, '/', (size_t)(end - path)) ?: end) - (size_t)path;
    if (*pattern == '{') {
      bool rest = want > 4 && strncmp(pattern + want - 4, "...}", 4) == 0;
      char *value = request_decode(path, rest ? (size_t)(end - path) : have, false);
      if (!value) return false;
      params_add(&x->params, pattern + 1, want - (rest ? 5 : 2), value);
      if (rest) return true;
    }
    pattern += want, path += have;
  }
  return true;
}

struct found {
  const struct route *route;
  uint64_t rank;
  struct buf methods; /* of every route that matches the path: "GET, HEAD, POST" */
};

static void add_method(struct buf *methods, const char *method) {
  size_t size = strlen(method);
  for (const char *at = methods->size ? methods->data : NULL; at && *at; at += strcspn(at, ","), at += strspn(at, ", "))
    if (strncmp(at, method, size) == 0 && (at[size] == ',' || !at[size])) return;
  buf_format(methods, "%s%s", methods->size ? ", " : "", method);
  if (strcmp(method, "GET") == 0) add_method(methods, "HEAD");
}

static bool serves(const struct route *route, const char *method, bool head) {
  return strcmp(route->method, method) == 0 || (head && strcmp(route->method, "GET") == 0);
}

static void look(struct exchange *x, const char *raw, size_t size, struct found *found) {
  for (size_t t = 0; t < x->server->table_count; t++)
    for (size_t i = 0; i < x->server->tables[t].count; i++) {
      const struct route *route = &x->server->tables[t].routes[i];
      uint64_t rank = match(route->path, raw, size);
      if (!rank) continue;
      add_method(&found->methods, route->method);
      if (rank > found->rank && serves(route, x->info->request_method, x->head))
        found->rank = rank, found->route = route;
    }
}

static void answer_options(struct exchange *x, struct found *found) {
  add_method(&found->methods, "OPTIONS");
  http_set_header(x, "Allow", buf_string(&found->methods));
  if (cors_is_preflight(x)) cors_preflight(x, buf_string(&found->methods));
  http_empty(x, 204);
}

const struct route *route_find(struct exchange *x, bool *unknown) {
  const char *raw = x->info->local_uri_raw;
  size_t size = strlen(raw);
  struct found found = {0};
  bool options = strcmp(x->info->request_method, "OPTIONS") == 0;
  look(x, raw, size, &found);
  *unknown = found.methods.size == 0 && !options;
  if (options && (!found.route || cors_is_preflight(x))) {
    answer_options(x, &found);
    found.route = NULL;
  } else if (found.methods.size && !found.route) {
    add_method(&found.methods, "OPTIONS");
    http_set_header(x, "Allow", buf_string(&found.methods));
    http_problem(x, 405, "method-not-allowed", "%s is not possible here: %s is", x->info->request_method,
                 buf_string(&found.methods));
  } else if (found.route && !take_params(x, found.route->path, raw, size)) {
    http_problem(x, 400, "protocol", "the path is malformed");
    found.route = NULL;
  }
  buf_free(&found.methods);
  return found.route;
}
