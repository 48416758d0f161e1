#include "cli/stageinfo.h"

#include <stagemill/abi.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/print.h"
#include "pipeline/stagejson.h"

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void text_takes(const struct param_type *p, struct buf *out) {
  size_t begin = out->size;
  const char *word;
  uint32_t bit;
  for (size_t w = 0; stage_takes_word(w, &bit, &word); w++) {
    if (!(p->takes & bit)) continue;
    if (out->size > begin) buf_text(out, " or ");
    if (bit != SM_TAKES_KEYWORD) buf_text(out, word);
    for (size_t i = 0; bit == SM_TAKES_KEYWORD && i < p->choice_count; i++)
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
    buf_format(out, "  %-16s %s", ports[i].name, stage_port_word(ports[i].kind));
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
    buf_format(out, "  %-16s %s%s%s, known %s%s\n", r->key, stage_result_word(r->type), r->unit && r->unit[0] ? " in " : "",
               r->unit ? r->unit : "", r->available == SM_AT_OPEN ? "once the source is open" : "at the end",
               r->flags & SM_RESULT_NULLABLE ? ", may be null" : "");
    if (r->summary) print_wrapped(out, 6, r->summary);
  }
}

void stageinfo_text(const struct stage_type *type, struct buf *out) {
  buf_format(out, "%s: %s\n", type->name, type->summary ? type->summary : "");
  buf_format(out, "  a %s of %s %s (%s)\n", stage_kind_word(type), type->plugin_id ? type->plugin_id : "?",
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
