#include "pipeline/stagejson.h"

#include <stagemill/abi.h>

struct bit_word {
  uint32_t bit;
  const char *word;
};

static const struct bit_word takes_words[] = {{SM_TAKES_TEXT, "text"},       {SM_TAKES_KEYWORD, "keyword"},
                                              {SM_TAKES_INT, "integer"},     {SM_TAKES_NUMBER, "number"},
                                              {SM_TAKES_BOOL, "bool"},       {SM_TAKES_DURATION, "duration"},
                                              {SM_TAKES_SIZE, "size"},       {SM_TAKES_BITRATE, "bitrate"},
                                              {SM_TAKES_PERCENT, "percent"}, {SM_TAKES_FILE, "file"},
                                              {SM_TAKES_TARGET, "target"},   {SM_TAKES_SECRET, "secret"},
                                              {SM_TAKES_RECORD, "record"},   {0, NULL}};

const char *stage_kind_word(const struct stage_type *type) {
  return type->kind == SM_KIND_FILTER ? "filter" : type->kind == SM_KIND_SINK ? "sink" : "task";
}

const char *stage_port_word(uint32_t kind) {
  switch (kind) {
  case SM_PORT_VIDEO: return "video";
  case SM_PORT_AUDIO: return "audio";
  case SM_PORT_PACKETS: return "packets";
  default: return "artifact";
  }
}

const char *stage_result_word(uint32_t type) {
  switch (type) {
  case SM_RESULT_TYPE_INT: return "integer";
  case SM_RESULT_TYPE_NUMBER: return "number";
  case SM_RESULT_TYPE_BOOL: return "bool";
  case SM_RESULT_TYPE_DURATION: return "duration";
  case SM_RESULT_TYPE_LIST: return "list";
  default: return "text";
  }
}

bool stage_takes_word(size_t index, uint32_t *bit, const char **word) {
  if (index >= sizeof takes_words / sizeof *takes_words - 1) return false;
  *bit = takes_words[index].bit;
  *word = takes_words[index].word;
  return true;
}

static struct value *texts_value(char *const *texts, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) value_list_add(list, value_text(texts[i]));
  return list;
}

static struct value *params_value(const struct param_type *params, size_t count, unsigned depth);

static struct value *param_value(const struct param_type *p, unsigned depth) {
  struct value *v = value_map(), *takes = value_list();
  value_set_text(v, "name", p->name);
  for (const struct bit_word *w = takes_words; w->word; w++)
    if (p->takes & w->bit) value_list_add(takes, value_text(w->word));
  value_map_set(v, "takes", takes);
  value_set_bool(v, "required", p->flags & SM_REQUIRED);
  value_set_bool(v, "repeated", p->flags & SM_REPEATED);
  value_set_text(v, "default", p->fallback);
  value_map_set(v, "choices", texts_value(p->choices, p->choice_count));
  value_map_set(v, "min", p->min < p->max ? value_number(p->min) : value_null());
  value_map_set(v, "max", p->min < p->max ? value_number(p->max) : value_null());
  value_set_text(v, "unit", p->unit);
  if (depth < 8) value_map_set(v, "fields", params_value(p->fields, p->field_count, depth + 1));
  value_set_text(v, "summary", p->summary);
  return v;
}

static struct value *params_value(const struct param_type *params, size_t count, unsigned depth) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) value_list_add(list, param_value(&params[i], depth));
  return list;
}

struct value *param_json(const struct param_type *param) {
  return param_value(param, 0);
}

static struct value *ports_value(const struct port_type *ports, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) {
    struct value *v = value_map();
    value_set_text(v, "name", ports[i].name);
    value_set_text(v, "kind", stage_port_word(ports[i].kind));
    value_map_set(v, "types", texts_value(ports[i].types, ports[i].type_count));
    value_set_bool(v, "many", ports[i].flags & SM_PORT_MANY);
    value_set_bool(v, "optional", ports[i].flags & SM_PORT_OPTIONAL);
    value_set_bool(v, "source", ports[i].flags & SM_PORT_SOURCE);
    value_set_text(v, "summary", ports[i].summary);
    value_list_add(list, v);
  }
  return list;
}

static struct value *results_value(const struct stage_type *type) {
  struct value *list = value_list();
  for (size_t i = 0; i < type->result_count; i++) {
    const struct result_type *r = &type->results[i];
    struct value *v = value_map();
    value_set_text(v, "key", r->key);
    value_set_text(v, "type", stage_result_word(r->type));
    value_set_text(v, "known", r->available == SM_AT_OPEN ? "open" : "end");
    value_set_bool(v, "nullable", r->flags & SM_RESULT_NULLABLE);
    value_set_text(v, "unit", r->unit);
    value_set_text(v, "summary", r->summary);
    value_list_add(list, v);
  }
  return list;
}

struct value *stage_json(const struct stage_type *type) {
  struct value *v = value_map(), *plugin = value_map();
  value_set_text(v, "name", type->name);
  value_set_text(v, "summary", type->summary);
  value_set_text(v, "kind", stage_kind_word(type));
  value_map_set(v, "capabilities", texts_value(type->capabilities, type->capability_count));
  value_set_bool(v, "plans", type->has_plan);
  value_set_bool(v, "bypass", type->has_bypass);
  value_map_set(v, "params", params_value(type->params, type->param_count, 0));
  value_map_set(v, "inputs", ports_value(type->inputs, type->input_count));
  value_map_set(v, "outputs", ports_value(type->outputs, type->output_count));
  value_map_set(v, "results", results_value(type));
  value_set_text(plugin, "id", type->plugin_id);
  value_set_text(plugin, "version", type->plugin_version);
  value_set_text(plugin, "file", type->plugin_path);
  value_set_text(plugin, "sha256", type->plugin_sha256);
  value_map_set(v, "plugin", plugin);
  return v;
}
