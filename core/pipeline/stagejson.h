/* stagejson.h - a stage's tables as `stagemill stages --json` and GET /api/v1/stages tell them. */
#pragma once
#include "base/stagetype.h"
#include "base/value.h"

struct value *stage_json(const struct stage_type *type);  /* owned */
struct value *param_json(const struct param_type *param);  /* owned: {name, takes, required, default, choices, ...} */
/* JSON Schema (draft 2020-12) of what may stand under `with:`, and of one value of a parameter; without expressions. */
struct value *stage_params_schema(const struct stage_type *type);
struct value *param_schema(const struct param_type *param);

const char *stage_kind_word(const struct stage_type *type); /* "task", "filter", "sink" */
const char *stage_port_word(uint32_t kind);                 /* "video", "artifact", ... */
const char *stage_result_word(uint32_t type);
/* The words of `takes`, one at a time: false when there are no more. */
bool stage_takes_word(size_t index, uint32_t *bit, const char **word);
