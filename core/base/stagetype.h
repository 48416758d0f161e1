/* stagetype.h - what a plugin says about its stages, as data: the tables of stagemill/abi.h copied out of the plugin's
 * address space (in a throw-away child), bounded and checked, so that nothing of a plugin is mapped where this is read.
 *
 * Bits and enums keep the ABI's numeric values (SM_TAKES_..., SM_PORT_..., SM_RESULT_TYPE_..., SM_KIND_...). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/value.h"

struct param_type {
  char *name;
  uint32_t takes, flags;
  char *fallback; /* NULL: none */
  char **choices; /* split at '|' */
  size_t choice_count;
  double min, max;
  char *unit;
  struct param_type *fields;
  size_t field_count;
  char *summary;
};

struct port_type {
  char *name;
  uint32_t kind, flags;
  char **types; /* media types, split at '|' */
  size_t type_count;
  char *summary;
};

struct result_type {
  char *key;
  uint32_t type, available, flags;
  char *unit, *summary;
};

struct stage_type {
  char *name, *summary;
  uint32_t kind;
  char **capabilities;
  size_t capability_count;
  bool has_plan, has_bypass;
  struct param_type *params;
  size_t param_count;
  struct port_type *inputs, *outputs;
  size_t input_count, output_count;
  struct result_type *results;
  size_t result_count;
  /* where it comes from */
  char *plugin_id, *plugin_version, *plugin_path, *plugin_sha256;
};

/* All stages that can be used. Immutable once built; shared by reference count. */
struct stage_set;

struct stage_set *stage_set_new(void);
struct stage_set *stage_set_ref(struct stage_set *set);
void stage_set_unref(struct stage_set **set);
/* Moves `type` in. ERR_CONFLICT when a stage of that name is there already (the first one stays, `type` is freed). */
enum err stage_set_add(struct stage_set *set, struct stage_type *type, struct error *e);
const struct stage_type *stage_set_find(const struct stage_set *set, const char *name);
size_t stage_set_count(const struct stage_set *set);
const struct stage_type *stage_set_at(const struct stage_set *set, size_t index); /* sorted by name */

void stage_type_free(struct stage_type **type);
/* To and from the packed tree that a test-load child sends and the catalogue cache stores. from_value checks names,
 * counts (at most 256 rows a table), text sizes (4 KiB), enum ranges: ERR_INVALID with a sentence naming the row. */
struct value *stage_type_to_value(const struct stage_type *type);
enum err stage_type_from_value(const struct value *v, struct stage_type **type, struct error *e);

const struct param_type *stage_type_param(const struct stage_type *type, const char *name);
const struct port_type *stage_type_input(const struct stage_type *type, const char *name);
const struct port_type *stage_type_output(const struct stage_type *type, const char *name);
const struct result_type *stage_type_result(const struct stage_type *type, const char *key);
bool stage_type_can(const struct stage_type *type, const char *capability); /* it declares "network", "person", ... */
bool port_types_match(const struct port_type *output,
                      const struct port_type *input); /* kinds equal, media types meet */
