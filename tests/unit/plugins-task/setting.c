#include "harness.h"

#include <stdlib.h>
#include <string.h>

static const sm_param *row_of(const struct harness *h, const char *name, size_t size) {
  for (const sm_param *row = h->stage->params; row && row->name; row++)
    if (strlen(row->name) == size && memcmp(row->name, name, size) == 0) return row;
  return NULL;
}

/* "1m30s", "250ms" in microseconds; false when it is not a duration. */
static bool duration(const char *text, int64_t *us) {
  double total = 0;
  while (*text) {
    char *end;
    double n = strtod(text, &end);
    if (end == text) return false;
    double scale = strncmp(end, "ms", 2) == 0 ? 1e3 : *end == 's' ? 1e6 : *end == 'm' ? 6e7 : *end == 'h' ? 3.6e9 : 0;
    if (scale == 0) return false;
    total += n * scale;
    text = end + (strncmp(end, "ms", 2) == 0 ? 2 : 1);
  }
  *us = (int64_t)total;
  return true;
}

/* "64M", "8Mi", "100" */
static bool scaled(const char *text, int64_t *value) {
  char *end;
  double n = strtod(text, &end), base = end[0] && end[1] == 'i' ? 1024 : 1000;
  if (end == text) return false;
  const char *units = "kMGT", *unit = *end == 'K' ? units : *end ? strchr(units, *end) : NULL;
  if (*end && !unit) return false;
  for (long i = unit ? unit - units + 1 : 0; i > 0; i--) n *= base;
  *value = (int64_t)n;
  return true;
}

static sm_value one_value(const sm_param *row, const char *text) {
  sm_value v = {SM_IS_TEXT, 0, 0, 0, text};
  char *end;
  if (row->takes & SM_TAKES_BOOL) {
    v.integer = strcmp(text, "true") == 0;
    v.kind = SM_IS_BOOL;
  } else if ((row->takes & SM_TAKES_DURATION) && duration(text, &v.integer)) {
    v.kind = SM_IS_DURATION;
    v.number = (double)v.integer / 1e6;
  } else if ((row->takes & SM_TAKES_SIZE) && scaled(text, &v.integer)) {
    v.kind = SM_IS_SIZE;
    v.number = (double)v.integer;
  } else if (row->takes & SM_TAKES_INT) {
    v.integer = strtoll(text, &end, 10);
    v.number = (double)v.integer;
    v.kind = SM_IS_INT;
    if (*end) harness_usage("%s=%s is not a number", row->name, text);
  } else if (!(row->takes & (SM_TAKES_TEXT | SM_TAKES_KEYWORD | SM_TAKES_FILE | SM_TAKES_TARGET | SM_TAKES_SECRET))) {
    harness_usage("%s=%s: no kind of this parameter accepts that", row->name, text);
  }
  return v;
}

sm_value setting_value(struct harness *h, const char *path) {
  sm_value none = {SM_IS_ABSENT, 0, 0, 0, NULL};
  size_t name = strcspn(path, ".");
  const sm_param *row = row_of(h, path, name);
  if (!row) {
    fprintf(stderr, "the stage asks for parameter %s, which is not in its table\n", path);
    h->table_broken = true;
    return none;
  }
  json_t *items = json_object_get(h->settings, row->name);
  if (row->flags & SM_REPEATED) {
    if (!items) return none;
    if (!path[name]) return (sm_value){SM_IS_LIST, (uint32_t)json_array_size(items), 0, 0, NULL};
    const char *text = json_string_value(json_array_get(items, (size_t)atoi(path + name + 1)));
    return text ? one_value(row, text) : none;
  }
  const char *text = items ? json_string_value(json_array_get(items, 0)) : row->fallback;
  return text ? one_value(row, text) : none;
}

void setting_check(struct harness *h) {
  const char *name;
  json_t *items;
  json_object_foreach(h->settings, name, items) {
    const sm_param *row = row_of(h, name, strlen(name));
    if (!row) harness_usage("stage %s has no parameter %s", h->stage->name, name);
    if (json_array_size(items) > 1 && !(row->flags & SM_REPEATED)) harness_usage("%s takes one value", name);
  }
  for (const sm_param *row = h->stage->params; row && row->name; row++)
    if ((row->flags & SM_REQUIRED) && !json_object_get(h->settings, row->name))
      harness_usage("stage %s needs --param %s=...", h->stage->name, row->name);
}
