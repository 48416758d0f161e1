/* common.c - what handlers do first and last: bodies, keys, units, page marks, the engine's answer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <stagemill/abi.h>

#include "api/parts.h"
#include "auth/base64url.h"
#include "base/clock.h"
#include "base/mem.h"
#include "config/literal.h"
#include "config/report.h"

struct service *api_service(struct exchange *x) { return http_context(x); }

bool api_is_admin(const struct exchange *x) {
  const struct principal *who = http_principal(x);
  return who && (who->scopes & SCOPE_ADMIN);
}

const char *api_subject(const struct exchange *x) {
  const struct principal *who = http_principal(x);
  return who && who->subject ? who->subject : "";
}

bool api_ask(struct exchange *x, service_begin *begin, void *context, struct value **answer) {
  struct error e = {0};
  struct value *got = NULL;
  if (service_ask(api_service(x), begin, context, &got, &e)) {
    value_free(&got);
    http_error(x, &e);
    return false;
  }
  if (answer)
    *answer = got;
  else
    value_free(&got);
  return true;
}

/* ---- bodies -------------------------------------------------------------------------------------------------------- */

const struct value *api_body(struct exchange *x) {
  static const struct value nothing = {.type = VALUE_MAP};
  const struct buf *body = http_body(x);
  return body && body->size ? http_body_json(x) : &nothing;
}

bool api_keys(struct exchange *x, const struct value *map, const char *const *valid) {
  size_t count = 0;
  while (valid[count]) count++;
  for (size_t i = 0; i < map->count; i++) {
    bool known = false;
    for (size_t k = 0; k < count && !known; k++) known = strcmp(map->keys[i], valid[k]) == 0;
    if (known) continue;
    const char *near = report_nearest(map->keys[i], valid, count);
    buf_auto struct buf all = {0};
    for (size_t k = 0; k < count; k++) buf_format(&all, "%s%s", k ? ", " : "", valid[k]);
    if (near)
      http_problem(x, 400, "invalid", "there is no key '%.60s' here: did you mean '%s'?", map->keys[i], near);
    else
      http_problem(x, 400, "invalid", "there is no key '%.60s' here: valid are %s", map->keys[i], buf_string(&all));
    return false;
  }
  return true;
}

bool api_text(struct exchange *x, const struct value *body, const char *key, size_t most, const char **text) {
  const struct value *v = value_get(body, key);
  *text = NULL;
  if (value_is_null(v)) return true;
  if (v->type != VALUE_TEXT || !v->text_size) {
    http_problem(x, 400, "invalid", "'%s' has to be a text that is not empty", key);
    return false;
  }
  if (v->text_size > most) {
    http_problem(x, 400, "invalid", "'%s' is longer than %zu bytes", key, most);
    return false;
  }
  *text = v->text;
  return true;
}

/* ---- durations, times, priorities ------------------------------------------------------------------------------------ */

static bool duration_read(const struct value *v, int64_t *us) {
  const struct rule rule = {.takes = SM_TAKES_DURATION};
  buf_auto struct buf why = {0};
  struct value *parsed = NULL;
  if (v->type == VALUE_INT || v->type == VALUE_NUMBER) {
    double seconds = v->type == VALUE_INT ? (double)v->integer : v->number;
    if (!(seconds >= 0 && seconds < 4e9)) return false;
    *us = (int64_t)(seconds * 1e6);
    return true;
  }
  if (v->type != VALUE_TEXT || literal_parse(&rule, v->text, true, &parsed, &why)) return false;
  *us = parsed->integer;
  value_free(&parsed);
  return true;
}

bool api_duration(struct exchange *x, const struct value *body, const char *key, int64_t least_us, int64_t most_us,
                  int64_t otherwise_us, int64_t *us) {
  const struct value *v = value_get(body, key);
  *us = otherwise_us;
  if (value_is_null(v)) return true;
  if (duration_read(v, us) && *us >= least_us && *us <= most_us) return true;
  char least[32], most[32];
  http_problem(x, 400, "invalid", "'%s' has to be a duration (90s, 1h, or seconds) from %s to %s", key,
               clock_human(least_us, least), clock_human(most_us, most));
  return false;
}

bool api_until(struct exchange *x, const struct value *body, int64_t *until_us) {
  const char *text;
  *until_us = 0;
  if (!api_text(x, body, "until", 64, &text)) return false;
  if (!text) return true;
  if (!clock_parse(text, until_us)) {
    http_problem(x, 400, "invalid", "'until' is no time: write it as 2026-01-31T12:00:00Z");
    return false;
  }
  if (*until_us <= clock_wall(&clock_system)) {
    http_problem(x, 400, "invalid", "'until' has passed already: %s", text);
    return false;
  }
  return true;
}

bool api_priority(const struct value *v, int32_t *priority) {
  static const struct {
    const char *word;
    int32_t priority;
  } words[] = {{"high", 75}, {"normal", 50}, {"low", 25}};
  if (!v) return false;
  if (v->type == VALUE_INT && v->integer >= 0 && v->integer <= 100) return *priority = (int32_t)v->integer, true;
  for (size_t i = 0; v->type == VALUE_TEXT && i < sizeof words / sizeof *words; i++)
    if (strcmp(v->text, words[i].word) == 0) return *priority = words[i].priority, true;
  return false;
}

/* ---- pages ----------------------------------------------------------------------------------------------------------- */

char *api_cursor_make(const char *mark) {
  struct buf out = {0};
  base64url_add(&out, mark, strlen(mark));
  return buf_take(&out);
}

char *api_cursor_read(const char *cursor) {
  struct buf out = {0};
  size_t size = strlen(cursor);
  if (size && size < 512 && base64url_read(cursor, size, &out) && !memchr(out.data, 0, out.size)) return buf_take(&out);
  buf_free(&out);
  return NULL;
}

bool api_limit(struct exchange *x, size_t *limit) {
  int64_t n;
  struct error e = {0};
  if (http_query_int(x, "limit", 1, 1000, 100, &n, &e)) {
    http_error(x, &e);
    return false;
  }
  *limit = (size_t)n;
  return true;
}

void api_not_found(struct exchange *x, const char *what, const char *id) {
  http_problem(x, 404, "not-found", "there is no %s %.80s", what, id ? id : "");
}
