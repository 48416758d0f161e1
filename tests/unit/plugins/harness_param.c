/* harness_param.c - parameters written as in YAML, typed by the stage's table. */
#include "harness_private.h"

#include <stdarg.h>
#include <setjmp.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness_param.h"

static const sm_param *row_named(const sm_param *rows, const char *name, size_t length) {
  for (const sm_param *row = rows; row && row->name; row++)
    if (strlen(row->name) == length && strncmp(row->name, name, length) == 0) return row;
  return NULL;
}

/* The row of "ladder.0.width": numbers select list items and change nothing. */
static const sm_param *row_of(const struct harness *h, const char *path) {
  const sm_param *rows = h->stage.params, *row = NULL;
  while (*path) {
    size_t length = strcspn(path, ".");
    if (!isdigit((unsigned char)*path)) {
      row = row_named(rows, path, length);
      if (!row) return NULL;
      rows = row->fields;
    }
    path += length;
    if (*path == '.') path++;
  }
  return row;
}

static bool suffix_scale(const char *end, const char *const *suffixes, const double *scales, double *scale) {
  for (size_t i = 0; suffixes[i]; i++)
    if (strcmp(end, suffixes[i]) == 0) {
      *scale = scales[i];
      return true;
    }
  return false;
}

static bool as_number(const sm_param *row, const char *text, sm_value *v) {
  static const char *const time_units[] = {"s", "ms", "m", "h", "us", NULL};
  static const double time_scales[] = {1e6, 1e3, 60e6, 3600e6, 1};
  static const char *const size_units[] = {"k", "M", "G", "Ki", "Mi", "Gi", "", NULL};
  static const double size_scales[] = {1e3, 1e6, 1e9, 1024, 1048576, 1073741824, 1};
  char *end;
  double n = strtod(text, &end), scale = 1;
  if (end == text) return false;
  *v = (sm_value){.integer = (int64_t)n, .number = n};
  if (row->takes & SM_TAKES_DURATION && suffix_scale(end, time_units, time_scales, &scale)) v->kind = SM_IS_DURATION;
  else if (row->takes & SM_TAKES_PERCENT && strcmp(end, "%") == 0) v->kind = SM_IS_PERCENT;
  else if (row->takes & SM_TAKES_INT && !*end && n == floor(n)) v->kind = SM_IS_INT;
  else if (row->takes & SM_TAKES_NUMBER && !*end) v->kind = SM_IS_NUMBER;
  else if (row->takes & SM_TAKES_SIZE && suffix_scale(end, size_units, size_scales, &scale)) v->kind = SM_IS_SIZE;
  else if (row->takes & SM_TAKES_BITRATE && suffix_scale(end, size_units, size_scales, &scale)) v->kind = SM_IS_BITRATE;
  else return false;
  if (scale != 1 || v->kind == SM_IS_DURATION) {
    v->integer = (int64_t)llround(n * scale);
    v->number = v->kind == SM_IS_DURATION ? n * scale / 1e6 : n * scale;
  }
  return true;
}

static bool is_choice(const sm_param *row, const char *text) {
  size_t length = strlen(text);
  for (const char *c = row->choices; c && *c;) {
    size_t n = strcspn(c, "|");
    if (n == length && strncmp(c, text, n) == 0) return true;
    c += n;
    if (*c == '|') c++;
  }
  return false;
}

static sm_value typed(const sm_param *row, const char *text) {
  const uint32_t words = SM_TAKES_TEXT | SM_TAKES_FILE | SM_TAKES_TARGET | SM_TAKES_SECRET;
  sm_value v = {0};
  if (row->takes & SM_TAKES_BOOL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
    return (sm_value){.kind = SM_IS_BOOL, .integer = *text == 't', .number = *text == 't'};
  if (as_number(row, text, &v)) return v;
  if ((row->takes & words) || is_choice(row, text)) return (sm_value){.kind = SM_IS_TEXT, .text = text};
  fail_msg("test: '%s' is nothing that parameter '%s' takes", text, row->name);
  return v;
}

static void store(struct harness *h, const char *path, const sm_param *row, const char *text) {
  struct harness_row *slot = &h->rows[h->row_count++];
  assert_true(h->row_count < HARNESS_ROWS);
  slot->path = strdup(path);
  slot->text = strdup(text);
  slot->value = typed(row, slot->text);
}

/* Direct children of "path.": how many list items or record keys there are. */
static uint32_t children(const struct harness *h, const char *path, bool *numbered) {
  size_t length = strlen(path);
  uint32_t count = 0;
  const char *last = "";
  for (size_t i = 0; i < h->row_count; i++) {
    const char *p = h->rows[i].path;
    if (strncmp(p, path, length) || p[length] != '.') continue;
    p += length + 1;
    *numbered = isdigit((unsigned char)*p);
    if (*numbered && (uint32_t)atoi(p) + 1 > count) count = (uint32_t)atoi(p) + 1;
    else if (!*numbered && strncmp(last, p, strcspn(p, ".")) != 0) count++;
    last = p;
  }
  return count;
}

void harness_set(struct harness *h, const char *path, const char *text) {
  const sm_param *row = row_of(h, path);
  char item[256];
  bool numbered = false;
  if (!row) fail_msg("test: the stage has no parameter '%s'", path);
  size_t length = strlen(path);
  if (row->flags & SM_REPEATED && strcmp(path + length - strlen(row->name), row->name) == 0) {
    snprintf(item, sizeof item, "%s.%u", path, children(h, path, &numbered));
    path = item;
  }
  store(h, path, row, text);
}

/* Defaults: "a" or, for lists, "[a, b]". */
static sm_value fallback(const sm_param *row, const char *path) {
  static char text[256];
  const char *dot = strrchr(path, '.'), *from = row->fallback;
  bool item = dot && isdigit((unsigned char)dot[1]);
  uint32_t count = 1, wanted = item ? (uint32_t)atoi(dot + 1) : 0;
  if (!from) return (sm_value){0};
  if (*from == '[') from++;
  for (const char *c = from; *c; c++) count += *c == ',';
  if (row->flags & SM_REPEATED && !item) return (sm_value){.kind = SM_IS_LIST, .count = count};
  for (; wanted && strchr(from, ','); wanted--) from = strchr(from, ',') + 1;
  if (wanted) return (sm_value){0};
  from += strspn(from, " ");
  snprintf(text, sizeof text, "%.*s", (int)(row->flags & SM_REPEATED ? strcspn(from, ",]") : strlen(from)), from);
  return typed(row, text);
}

sm_value harness_value(const struct harness *h, const char *path) {
  bool numbered = false;
  for (size_t i = 0; i < h->row_count; i++)
    if (strcmp(h->rows[i].path, path) == 0) return h->rows[i].value;
  uint32_t count = children(h, path, &numbered);
  if (count) return (sm_value){.kind = numbered ? SM_IS_LIST : SM_IS_RECORD, .count = count};
  const sm_param *row = row_of(h, path);
  if (!row) fail_msg("the stage asked for '%s', which its own table does not have", path);
  return fallback(row, path);
}
