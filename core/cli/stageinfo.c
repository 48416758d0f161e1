#include "cli/stageinfo.h"

#include <stagemill/abi.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/print.h"

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

const char *stageinfo_kind(const struct stage_type *type) {
  return type->kind == SM_KIND_FILTER ? "filter" : type->kind == SM_KIND_SINK ? "sink" : "task";
}

static const char *port_kind(uint32_t kind) {
  switch (kind) {
  case SM_PORT_VIDEO: return "video";
  case SM_PORT_AUDIO: return "audio";
  case SM_PORT_PACKETS: return "packets";
  default: return "artifact";
  }
}

static const char *result_kind(uint32_t type) {
  switch (type) {
  case SM_RESULT_TYPE_INT: return "integer";
  case SM_RESULT_TYPE_NUMBER: return "number";
  case SM_RESULT_TYPE_BOOL: return "bool";
  case SM_RESULT_TYPE_DURATION: return "duration";
  case SM_RESULT_TYPE_LIST: return "list";
  default: return "text";
  }
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void text_takes(const struct param_type *p, struct buf *out) {
  size_t begin = out->size;
  for (const struct bit_word *w = takes_words; w->word; w++) {
    if (!(p->takes & w->bit)) continue;
    if (out->size > begin) buf_text(out, " or ");
    if (w->bit != SM_TAKES_KEYWORD) buf_text(out, w->word);
    for (size_t i = 0; w->bit == SM_TAKES_KEYWORD && i < p->choice_count; i++)
      buf_format(out, "%s%s", i ? "|" : "", p->choices[i]);
  }
  if (p->flags & SM_REPEATED) buf_text(out, ", one or a list");
  if (p->min < p->max) buf_format(out, ", %.10g to %.10g", p->min, p->max);
  if (p->unit && p->unit[0]) buf_format(out, " %s", p->unit);
  if (p->flags & SM_REQUIRED)
    buf_text(out, ", required");
  else if (p->fallback)
    buf_format(out, ", default %s", p->fallback[0] ? p->fallback : "''");
}

static void text_params(const struct param_type *params, size_t count, size_t indent, struct buf *out) {
  for (size_t i = 0; i < count; i++) {
    buf_format(out, "%*s%-16s ", (int)indent, "", params[i].name);
    text_takes(&params[i], out);
    buf_char(out, '\n');
    if (params[i].summary) print_wrapped(out, indent + 4, params[i].summary);
    if (indent < 16) text_params(params[i].fields, params[i].field_count, indent + 4, out);
  }
}

static void text_ports(const char *head, const struct port_type *ports, size_t count, struct buf *out) {
  if (count) buf_format(out, "\n%s:\n", head);
  for (size_t i = 0; i < count; i++) {
    buf_format(out, "  %-16s %s", ports[i].name, port_kind(ports[i].kind));
    for (size_t k = 0; k < ports[i].type_count; k++) buf_format(out, "%s%s", k ? "|" : " ", ports[i].types[k]);
    if (ports[i].flags & SM_PORT_MANY) buf_text(out, ", any number");
    if (ports[i].flags & SM_PORT_OPTIONAL) buf_text(out, ", optional");
    if (ports[i].flags & SM_PORT_SOURCE) buf_text(out, ", the job's source");
    buf_char(out, '\n');
    if (ports[i].summary) print_wrapped(out, 6, ports[i].summary);
  }
}

static void text_results(const struct stage_type *type, struct buf *out) {
  if (type->result_count) buf_text(out, "\nResults:\n");
  for (size_t i = 0; i < type->result_count; i++) {
    const struct result_type *r = &type->results[i];
    buf_format(out, "  %-16s %s%s%s, known %s%s\n", r->key, result_kind(r->type), r->unit && r->unit[0] ? " in " : "",
               r->unit ? r->unit : "", r->available == SM_AT_OPEN ? "once the source is open" : "at the end",
               r->flags & SM_RESULT_NULLABLE ? ", may be null" : "");
    if (r->summary) print_wrapped(out, 6, r->summary);
  }
}

void stageinfo_text(const struct stage_type *type, struct buf *out) {
  buf_format(out, "%s: %s\n", type->name, type->summary ? type->summary : "");
  buf_format(out, "  a %s of %s %s (%s)\n", stageinfo_kind(type), type->plugin_id ? type->plugin_id : "?",
             type->plugin_version ? type->plugin_version : "", type->plugin_path ? type->plugin_path : "?");
  if (type->capability_count) buf_text(out, "  may use:");
  for (size_t i = 0; i < type->capability_count; i++) buf_format(out, " %s", type->capabilities[i]);
  if (type->capability_count) buf_char(out, '\n');
  if (type->has_bypass) buf_text(out, "  lets frames pass unchanged when it is skipped or fails softly\n");
  if (type->param_count) buf_text(out, "\nParameters (under `with:`):\n");
  text_params(type->params, type->param_count, 2, out);
  text_ports("Inputs", type->inputs, type->input_count, out);
  text_ports("Outputs", type->outputs, type->output_count, out);
  text_results(type, out);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static struct value *texts_value(char *const *texts, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) value_list_add(list, value_text(texts[i]));
  return list;
}

static struct value *params_value(const struct param_type *params, size_t count, unsigned depth) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) {
    const struct param_type *p = &params[i];
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
    value_list_add(list, v);
  }
  return list;
}

static struct value *ports_value(const struct port_type *ports, size_t count) {
  struct value *list = value_list();
  for (size_t i = 0; i < count; i++) {
    struct value *v = value_map();
    value_set_text(v, "name", ports[i].name);
    value_set_text(v, "kind", port_kind(ports[i].kind));
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
    value_set_text(v, "type", result_kind(r->type));
    value_set_text(v, "known", r->available == SM_AT_OPEN ? "open" : "end");
    value_set_bool(v, "nullable", r->flags & SM_RESULT_NULLABLE);
    value_set_text(v, "unit", r->unit);
    value_set_text(v, "summary", r->summary);
    value_list_add(list, v);
  }
  return list;
}

struct value *stageinfo_value(const struct stage_type *type) {
  struct value *v = value_map(), *plugin = value_map();
  value_set_text(v, "name", type->name);
  value_set_text(v, "summary", type->summary);
  value_set_text(v, "kind", stageinfo_kind(type));
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
