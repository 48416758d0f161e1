#include "base/stagetype.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"

/* ---- freeing ---- */

static void texts_free(char **texts, size_t count) {
  for (size_t i = 0; i < count; i++) free(texts[i]);
  free(texts);
}

static void params_free(struct param_type *params, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct param_type *p = &params[i];
    free(p->name);
    free(p->fallback);
    free(p->unit);
    free(p->summary);
    texts_free(p->choices, p->choice_count);
    params_free(p->fields, p->field_count);
  }
  free(params);
}

static void ports_free(struct port_type *ports, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(ports[i].name);
    free(ports[i].summary);
    texts_free(ports[i].types, ports[i].type_count);
  }
  free(ports);
}

static void results_free(struct result_type *results, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(results[i].key);
    free(results[i].unit);
    free(results[i].summary);
  }
  free(results);
}

void stage_type_free(struct stage_type **type) {
  struct stage_type *t = type ? *type : NULL;
  if (!t) return;
  *type = NULL;
  free(t->name);
  free(t->summary);
  texts_free(t->capabilities, t->capability_count);
  params_free(t->params, t->param_count);
  ports_free(t->inputs, t->input_count);
  ports_free(t->outputs, t->output_count);
  results_free(t->results, t->result_count);
  free(t->plugin_id);
  free(t->plugin_version);
  free(t->plugin_path);
  free(t->plugin_sha256);
  free(t);
}

/* ---- looking up ---- */

/* All four tables are arrays of structs that begin with the name. */
static const void *row_named(const void *rows, size_t count, size_t stride, const char *name) {
  const char *at = rows;
  for (size_t i = 0; i < count; i++, at += stride)
    if (strcmp(*(char *const *)(const void *)at, name) == 0) return at;
  return NULL;
}

const struct param_type *stage_type_param(const struct stage_type *t, const char *name) {
  return row_named(t->params, t->param_count, sizeof(*t->params), name);
}

const struct port_type *stage_type_input(const struct stage_type *t, const char *name) {
  return row_named(t->inputs, t->input_count, sizeof(*t->inputs), name);
}

const struct port_type *stage_type_output(const struct stage_type *t, const char *name) {
  return row_named(t->outputs, t->output_count, sizeof(*t->outputs), name);
}

const struct result_type *stage_type_result(const struct stage_type *t, const char *key) {
  return row_named(t->results, t->result_count, sizeof(*t->results), key);
}

bool stage_type_can(const struct stage_type *t, const char *capability) {
  for (size_t i = 0; i < t->capability_count; i++)
    if (strcmp(t->capabilities[i], capability) == 0) return true;
  return false;
}

/* Two media types meet when each half is equal or a wildcard on either side (RFC 9110, 12.5.1). */
static bool media_types_meet(const char *a, const char *b) {
  size_t a_main = strcspn(a, "/"), b_main = strcspn(b, "/");
  const char *a_sub = a[a_main] ? a + a_main + 1 : "*", *b_sub = b[b_main] ? b + b_main + 1 : "*";
  bool any_main = (a_main == 1 && a[0] == '*') || (b_main == 1 && b[0] == '*');
  if (!any_main && (a_main != b_main || strncasecmp(a, b, a_main) != 0)) return false;
  return any_main || strcmp(a_sub, "*") == 0 || strcmp(b_sub, "*") == 0 || strcasecmp(a_sub, b_sub) == 0;
}

bool port_types_match(const struct port_type *output, const struct port_type *input) {
  if (output->kind != input->kind) return false;
  if (output->type_count == 0 || input->type_count == 0) return true; /* frames carry no media type */
  for (size_t i = 0; i < output->type_count; i++)
    for (size_t k = 0; k < input->type_count; k++)
      if (media_types_meet(output->types[i], input->types[k])) return true;
  return false;
}

/* ---- the set ---- */

struct stage_set {
  unsigned references;       /* atomic */
  struct stage_type **items; /* sorted by name */
  size_t count;
};

struct stage_set *stage_set_new(void) {
  struct stage_set *set = mem_alloc(sizeof(*set));
  set->references = 1;
  return set;
}

struct stage_set *stage_set_ref(struct stage_set *set) {
  __atomic_add_fetch(&set->references, 1, __ATOMIC_RELAXED);
  return set;
}

void stage_set_unref(struct stage_set **address) {
  struct stage_set *set = address ? *address : NULL;
  if (!set) return;
  *address = NULL;
  if (__atomic_sub_fetch(&set->references, 1, __ATOMIC_ACQ_REL) > 0) return;
  for (size_t i = 0; i < set->count; i++) stage_type_free(&set->items[i]);
  free(set->items);
  free(set);
}

/* Index of the first item whose name is not before `name`. */
static size_t place_of(const struct stage_set *set, const char *name) {
  size_t low = 0, high = set->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(set->items[middle]->name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static const char *or_unknown(const char *text) { return text ? text : "(unknown)"; }

enum err stage_set_add(struct stage_set *set, struct stage_type *type, struct error *e) {
  size_t at = place_of(set, type->name);
  if (at < set->count && strcmp(set->items[at]->name, type->name) == 0) {
    const struct stage_type *first = set->items[at];
    error_set(e, ERR_CONFLICT,
              "stage '%s' of %s is left out: %s (%s) brings a stage of that name already; remove one of them",
              type->name, or_unknown(type->plugin_path), or_unknown(first->plugin_id), or_unknown(first->plugin_path));
    stage_type_free(&type);
    return ERR_CONFLICT;
  }
  set->items = mem_grow(set->items, set->count + 1, sizeof(*set->items));
  memmove(set->items + at + 1, set->items + at, (set->count - at) * sizeof(*set->items));
  set->items[at] = type;
  set->count++;
  return ERR_OK;
}

const struct stage_type *stage_set_find(const struct stage_set *set, const char *name) {
  size_t at = place_of(set, name);
  return at < set->count && strcmp(set->items[at]->name, name) == 0 ? set->items[at] : NULL;
}

size_t stage_set_count(const struct stage_set *set) { return set->count; }

const struct stage_type *stage_set_at(const struct stage_set *set, size_t index) {
  return index < set->count ? set->items[index] : NULL;
}
