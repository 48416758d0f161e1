/* Stage descriptions as value trees. What comes back may be a plugin's writing: every row is checked. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/stagetype.h"

/* The ABI's ranges (stagemill/abi.h); a test compares them. */
enum {
  ROWS_MAX = 256,
  TEXT_MAX = 4096,
  NAME_MAX_CHARS = 63,
  FIELDS_DEPTH_MAX = 4,
  TAKES_ALL = (1 << 13) - 1,
  PARAM_FLAGS_ALL = 3,
  PORT_KIND_MAX = 4,
  PORT_FLAGS_ALL = 7,
  RESULT_TYPE_MAX = 6,
  RESULT_AVAILABLE_MAX = 2,
  RESULT_FLAGS_ALL = 1,
  KIND_MAX = 3,
};

/* ---- to ---- */

static struct value *texts_value(char *const *texts, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) value_list_add(list, value_text(texts[i]));
  return list;
}

static struct value *params_value(const struct param_type *params, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) {
    const struct param_type *p = &params[i];
    struct value *row = value_map();
    value_set_text(row, "name", p->name);
    value_set_int(row, "takes", p->takes);
    value_set_int(row, "flags", p->flags);
    value_set_text(row, "fallback", p->fallback);
    value_map_set(row, "choices", texts_value(p->choices, p->choice_count));
    value_set_number(row, "min", p->min);
    value_set_number(row, "max", p->max);
    value_set_text(row, "unit", p->unit);
    value_map_set(row, "fields", params_value(p->fields, p->field_count));
    value_set_text(row, "summary", p->summary);
    value_list_add(list, row);
  }
  return list;
}

static struct value *ports_value(const struct port_type *ports, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) {
    struct value *row = value_map();
    value_set_text(row, "name", ports[i].name);
    value_set_int(row, "kind", ports[i].kind);
    value_set_int(row, "flags", ports[i].flags);
    value_map_set(row, "types", texts_value(ports[i].types, ports[i].type_count));
    value_set_text(row, "summary", ports[i].summary);
    value_list_add(list, row);
  }
  return list;
}

static struct value *results_value(const struct result_type *results, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) {
    struct value *row = value_map();
    value_set_text(row, "key", results[i].key);
    value_set_int(row, "type", results[i].type);
    value_set_int(row, "available", results[i].available);
    value_set_int(row, "flags", results[i].flags);
    value_set_text(row, "unit", results[i].unit);
    value_set_text(row, "summary", results[i].summary);
    value_list_add(list, row);
  }
  return list;
}

struct value *stage_type_to_value(const struct stage_type *t) {
  struct value *v = value_map();
  value_set_text(v, "name", t->name);
  value_set_text(v, "summary", t->summary);
  value_set_int(v, "kind", t->kind);
  value_map_set(v, "capabilities", texts_value(t->capabilities, t->capability_count));
  value_set_bool(v, "has_plan", t->has_plan);
  value_set_bool(v, "has_bypass", t->has_bypass);
  value_map_set(v, "params", params_value(t->params, t->param_count));
  value_map_set(v, "inputs", ports_value(t->inputs, t->input_count));
  value_map_set(v, "outputs", ports_value(t->outputs, t->output_count));
  value_map_set(v, "results", results_value(t->results, t->result_count));
  value_set_text(v, "plugin_id", t->plugin_id);
  value_set_text(v, "plugin_version", t->plugin_version);
  value_set_text(v, "plugin_path", t->plugin_path);
  value_set_text(v, "plugin_sha256", t->plugin_sha256);
  return v;
}

/* ---- from ---- */

struct reader {
  char where[200]; /* "stage 'mark', parameter 3" */
  struct error *e;
};

static bool refuse(struct reader *r, const char *what, const char *key) {
  error_set(r->e, ERR_INVALID, "%s: '%s' %s", r->where, key, what);
  return false;
}

static bool get_text(struct reader *r, const struct value *row, const char *key, bool required, char **out) {
  const struct value *v = value_get(row, key);
  if (value_is_null(v)) return required ? refuse(r, "is missing", key) : true;
  if (v->type != VALUE_TEXT) return refuse(r, "is no text", key);
  if (v->text_size > TEXT_MAX) return refuse(r, "is longer than 4096 bytes", key);
  free(*out);
  *out = mem_text_n(v->text, v->text_size);
  return true;
}

/* Parameters and ports are "lower-case-with-dashes", results "lower_case_with_underscores". */
static bool get_name(struct reader *r, const struct value *row, const char *key, char joint, char **out) {
  if (!get_text(r, row, key, true, out)) return false;
  const char *s = *out;
  if (!s[0] || strlen(s) > NAME_MAX_CHARS) return refuse(r, "must have 1 to 63 characters", key);
  for (size_t i = 0; s[i]; i++) {
    bool letter = s[i] >= 'a' && s[i] <= 'z', digit = s[i] >= '0' && s[i] <= '9';
    if (letter || (i > 0 && (digit || s[i] == joint))) continue;
    return refuse(r,
                  joint == '-' ? "must be lower case letters, digits and dashes, a letter first"
                               : "must be lower case letters, digits and underscores, a letter first",
                  key);
  }
  return true;
}

static bool get_uint(struct reader *r, const struct value *row, const char *key, uint32_t low, uint32_t high,
                     uint32_t *out) {
  const struct value *v = value_get(row, key);
  if (!v || v->type != VALUE_INT) return refuse(r, "is missing or no integer", key);
  if (v->integer < (int64_t)low || v->integer > (int64_t)high)
    return refuse(r, "is outside what this version knows", key);
  *out = (uint32_t)v->integer;
  return true;
}

static bool get_number(struct reader *r, const struct value *row, const char *key, double *out) {
  *out = value_get_number(row, key, 0);
  return isfinite(*out) ? true : refuse(r, "is not finite", key);
}

static bool get_rows(struct reader *r, const struct value *v, const char *key, const struct value **out) {
  static const struct value none = {.type = VALUE_LIST};
  const struct value *list = value_get(v, key);
  *out = &none;
  if (value_is_null(list)) return true;
  if (list->type != VALUE_LIST) return refuse(r, "is no list", key);
  if (list->count > ROWS_MAX) return refuse(r, "has more than 256 rows", key);
  *out = list;
  return true;
}

static bool get_texts(struct reader *r, const struct value *row, const char *key, char ***out, size_t *count) {
  const struct value *list;
  if (!get_rows(r, row, key, &list)) return false;
  *out = mem_array(list->count, sizeof(**out));
  for (size_t i = 0; i < list->count; i++) {
    const struct value *v = list->items[i];
    if (v->type != VALUE_TEXT || v->text_size > TEXT_MAX) return refuse(r, "holds something that is no text", key);
    (*out)[(*count)++] = mem_text_n(v->text, v->text_size);
  }
  return true;
}

static bool is_known(const void *rows, size_t count, size_t stride, const char *name) {
  const char *at = rows;
  for (size_t i = 0; i < count; i++, at += stride)
    if (strcmp(*(char *const *)(const void *)at, name) == 0) return true;
  return false;
}

static void locate(struct reader *r, const char *base, const char *table, size_t index) {
  snprintf(r->where, sizeof(r->where), "%.120s, %s %zu", base, table, index + 1);
}

static bool get_params(struct reader *r, const struct value *v, const char *key, unsigned depth,
                       struct param_type **out, size_t *count);

static bool get_param(struct reader *r, const struct value *row, unsigned depth, struct param_type *p) {
  if (!get_name(r, row, "name", '-', &p->name)) return false;
  if (!get_uint(r, row, "takes", 1, TAKES_ALL, &p->takes)) return false;
  if (!get_uint(r, row, "flags", 0, PARAM_FLAGS_ALL, &p->flags)) return false;
  if (!get_text(r, row, "fallback", false, &p->fallback) || !get_text(r, row, "unit", false, &p->unit)) return false;
  if (!get_text(r, row, "summary", false, &p->summary)) return false;
  if (!get_texts(r, row, "choices", &p->choices, &p->choice_count)) return false;
  if (!get_number(r, row, "min", &p->min) || !get_number(r, row, "max", &p->max)) return false;
  if (p->min > p->max) return refuse(r, "is above 'max'", "min");
  return get_params(r, row, "fields", depth + 1, &p->fields, &p->field_count);
}

static bool get_params(struct reader *r, const struct value *v, const char *key, unsigned depth,
                       struct param_type **out, size_t *count) {
  const struct value *list;
  char base[sizeof(r->where)];
  if (!get_rows(r, v, key, &list)) return false;
  if (list->count && depth > FIELDS_DEPTH_MAX) return refuse(r, "is nested too deeply", key);
  memcpy(base, r->where, sizeof(base));
  *out = mem_array(list->count, sizeof(**out));
  for (size_t i = 0; i < list->count; i++) {
    struct param_type *p = &(*out)[*count];
    locate(r, base, depth ? "field" : "parameter", i);
    (*count)++; /* counted first, so that what it holds is freed when the row turns out bad */
    if (!get_param(r, list->items[i], depth, p)) return false;
    if (is_known(*out, *count - 1, sizeof(**out), p->name)) return refuse(r, "repeats an earlier row", "name");
  }
  memcpy(r->where, base, sizeof(base));
  return true;
}

static bool get_ports(struct reader *r, const struct value *v, const char *key, struct port_type **out, size_t *count) {
  const struct value *list;
  char base[sizeof(r->where)];
  if (!get_rows(r, v, key, &list)) return false;
  memcpy(base, r->where, sizeof(base));
  *out = mem_array(list->count, sizeof(**out));
  for (size_t i = 0; i < list->count; i++) {
    struct port_type *p = &(*out)[*count];
    const struct value *row = list->items[i];
    locate(r, base, key, i);
    (*count)++;
    if (!get_name(r, row, "name", '-', &p->name) || !get_uint(r, row, "kind", 1, PORT_KIND_MAX, &p->kind)) return false;
    if (!get_uint(r, row, "flags", 0, PORT_FLAGS_ALL, &p->flags)) return false;
    if (!get_text(r, row, "summary", false, &p->summary)) return false;
    if (!get_texts(r, row, "types", &p->types, &p->type_count)) return false;
    if (is_known(*out, *count - 1, sizeof(**out), p->name)) return refuse(r, "repeats an earlier row", "name");
  }
  memcpy(r->where, base, sizeof(base));
  return true;
}

static bool get_results(struct reader *r, const struct value *v, struct result_type **out, size_t *count) {
  const struct value *list;
  char base[sizeof(r->where)];
  if (!get_rows(r, v, "results", &list)) return false;
  memcpy(base, r->where, sizeof(base));
  *out = mem_array(list->count, sizeof(**out));
  for (size_t i = 0; i < list->count; i++) {
    struct result_type *p = &(*out)[*count];
    const struct value *row = list->items[i];
    locate(r, base, "result", i);
    (*count)++;
    if (!get_name(r, row, "key", '_', &p->key) || !get_uint(r, row, "type", 1, RESULT_TYPE_MAX, &p->type)) return false;
    if (!get_uint(r, row, "available", 1, RESULT_AVAILABLE_MAX, &p->available)) return false;
    if (!get_uint(r, row, "flags", 0, RESULT_FLAGS_ALL, &p->flags)) return false;
    if (!get_text(r, row, "unit", false, &p->unit) || !get_text(r, row, "summary", false, &p->summary)) return false;
    if (is_known(*out, *count - 1, sizeof(**out), p->key)) return refuse(r, "repeats an earlier row", "key");
  }
  memcpy(r->where, base, sizeof(base));
  return true;
}

static bool get_stage(struct reader *r, const struct value *v, struct stage_type *t) {
  if (value_get_text(v, "name", NULL))
    snprintf(r->where, sizeof(r->where), "stage '%.63s'", value_get_text(v, "name", NULL));
  if (!get_name(r, v, "name", '-', &t->name)) return false;
  snprintf(r->where, sizeof(r->where), "stage '%s'", t->name);
  t->has_plan = value_get_bool(v, "has_plan", false);
  t->has_bypass = value_get_bool(v, "has_bypass", false);
  return get_uint(r, v, "kind", 1, KIND_MAX, &t->kind) && get_text(r, v, "summary", false, &t->summary) &&
         get_texts(r, v, "capabilities", &t->capabilities, &t->capability_count) &&
         get_params(r, v, "params", 0, &t->params, &t->param_count) &&
         get_ports(r, v, "inputs", &t->inputs, &t->input_count) &&
         get_ports(r, v, "outputs", &t->outputs, &t->output_count) &&
         get_results(r, v, &t->results, &t->result_count) && get_text(r, v, "plugin_id", false, &t->plugin_id) &&
         get_text(r, v, "plugin_version", false, &t->plugin_version) &&
         get_text(r, v, "plugin_path", false, &t->plugin_path) &&
         get_text(r, v, "plugin_sha256", false, &t->plugin_sha256);
}

enum err stage_type_from_value(const struct value *v, struct stage_type **type, struct error *e) {
  *type = NULL;
  struct reader r = {"stage", e};
  if (!v || v->type != VALUE_MAP) return error_set(e, ERR_INVALID, "a stage's description is no map");
  struct stage_type *t = mem_alloc(sizeof(*t));
  if (!get_stage(&r, v, t)) {
    stage_type_free(&t);
    return ERR_INVALID;
  }
  *type = t;
  return ERR_OK;
}
