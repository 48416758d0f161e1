#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/site.h"
#include "cli/stageinfo.h"
#include "config/report.h"
#include "pipeline/stagejson.h"

static int no_such_stage(const struct stage_set *set, const char *name) {
  const char *names[1024];
  size_t count = 0;
  for (; count < stage_set_count(set) && count < 1024; count++) names[count] = stage_set_at(set, count)->name;
  const char *near = report_nearest(name, names, count);
  if (near) return cli_complain(CLI_USAGE, "there is no stage '%s': did you mean `stagemill stages %s`?", name, near);
  return cli_complain(CLI_USAGE,
                      "there is no stage '%s': `stagemill stages` lists them, `stagemill plugins` says "
                      "which plugins were refused",
                      name);
}

static int stages_one(const struct stage_set *set, const char *name, bool json) {
  const struct stage_type *type = stage_set_find(set, name);
  if (!type) return no_such_stage(set, name);
  buf_auto struct buf out = {0};
  value_auto struct value *v = json ? stage_json(type) : NULL;
  if (json) return print_json(v, CLI_DONE);
  stageinfo_text(type, &out);
  return cli_print(&out, CLI_DONE);
}

static int stages_all(const struct stage_set *set, bool json) {
  buf_auto struct buf out = {0};
  value_auto struct value *list = value_list();
  for (size_t i = 0; i < stage_set_count(set); i++) {
    const struct stage_type *type = stage_set_at(set, i);
    if (json)
      value_list_add(list, stage_json(type));
    else
      buf_format(&out, "%-16s %-7s %s\n", type->name, stage_kind_word(type), type->summary ? type->summary : "");
  }
  if (json) return print_json(list, CLI_DONE);
  if (!stage_set_count(set))
    buf_text(&out, "There are no stages: `stagemill plugins` says where plugins were looked for.\n");
  return cli_print(&out, CLI_DONE);
}

static int stages_schema(const struct stage_set *set) {
  buf_auto struct buf out = {0};
  pipeline_schema_json(set, &out);
  buf_char(&out, '\n');
  return cli_print(&out, CLI_DONE);
}

static int stages_run(const struct options *options) {
  struct site site;
  struct error e = {0};
  if (site_open(&site, false, &e)) return cli_error(&e);
  const char *name = options_operand(options, 0);
  bool json = options_flag(options, "json");
  int code = options_flag(options, "schema") ? stages_schema(site.stages)
             : name                          ? stages_one(site.stages, name, json)
                                             : stages_all(site.stages, json);
  site_close(&site);
  return code;
}

static const struct option_row stages_options[] = {
    OPTION_JSON,
    OPTION_FLAG("schema", 0, "print the JSON Schema of pipelines for editors, with every stage's parameters"),
    OPTIONS_END,
};
static const enum word_kind stages_words[] = {WORD_STAGE, 0};

const struct command command_stages = {
    .name = "stages",
    .summary = "list the stages, or print one stage's parameters, ports and results",
    .operands = "[NAME]",
    .operands_max = 1,
    .words = stages_words,
    .options = stages_options,
    .run = stages_run,
};
