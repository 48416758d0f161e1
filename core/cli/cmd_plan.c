#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/site.h"
#include "engine/foresee.h"
#include "pipeline/plan.h"

struct planning {
  const struct options *options;
  struct site site;
  struct pipeline *p;
  struct value *params, *job, *notes;
  struct buf out;
};

static enum err plan_prepare(struct planning *n, struct error *e) {
  const char *words[256], *input = options_operand(n->options, 1);
  size_t count = options_values(n->options, "param", words, 256);
  if (count > 256) return error_set(e, ERR_USAGE, "more than 256 parameters are given");
  enum err err = site_params(n->p, words, count, &n->params, e);
  if (err) return err;
  bool remote = input && strstr(input, "://");
  mem_auto char *path = !input ? NULL : remote ? mem_text(input) : fs_absolute(NULL, input);
  n->job = value_map();
  value_set_text(n->job, "id", "plan");
  value_set_text(n->job, "input", path);
  value_set_text(n->job, "name", input ? fs_base_name(input) : n->p->name);
  if (remote) cli_complain(CLI_DONE, "%s is not here yet: what the stages make of it is not planned", input);
  const struct crew_options crew = {.runner_path = n->site.paths.runner, .pass_module_path = n->site.paths.pass_module,
                                    .catalogue = n->site.catalogue, .attempt_uid = -1, .attempt_gid = -1};
  return input && !remote ? foresee(&crew, n->p, n->params, n->job, input, &n->notes, e) : ERR_OK;
}

static int plan_show(struct planning *n) {
  struct error e = {0};
  bool json = options_flag(n->options, "json");
  enum err err = plan_prepare(n, &e);
  if (!err) err = (json ? plan_json : plan_text)(n->p, n->params, n->job, n->notes, &n->out, &e);
  if (err) return cli_error(&e);
  if (json) buf_char(&n->out, '\n');
  return cli_print(&n->out, CLI_DONE);
}

static int plan_against(struct planning *n, const char *old_word) {
  struct error e = {0};
  int code = CLI_DONE;
  if (options_flag(n->options, "json"))
    return cli_complain(CLI_USAGE, "plan: --against prints text only: leave out --json");
  struct pipeline *old = site_pipeline(&n->site, old_word, &code);
  if (!old) return code;
  enum err err = plan_diff(old, n->p, &n->out, &e);
  pipeline_free(&old);
  return err ? cli_error(&e) : cli_print(&n->out, CLI_DONE);
}

static int plan_run(const struct options *options) {
  struct planning n = {.options = options};
  struct error e = {0};
  int code = CLI_DONE;
  const char *old = options_value(options, "against");
  if (site_open(&n.site, false, &e)) return cli_error(&e);
  n.p = site_pipeline(&n.site, options_operand(options, 0), &code);
  if (n.p) code = old ? plan_against(&n, old) : plan_show(&n);
  pipeline_free(&n.p);
  value_free(&n.params);
  value_free(&n.job);
  value_free(&n.notes);
  buf_free(&n.out);
  site_close(&n.site);
  return code;
}

static const struct option_row plan_options[] = {
    OPTION_VALUES("param", 'p', "NAME=VALUE", WORD_TEXT, "a parameter of the pipeline"),
    OPTION_VALUE("against", 0, "OLD", WORD_PIPELINE, "print what differs from this pipeline instead"),
    OPTION_JSON,
    OPTIONS_END,
};
static const enum word_kind plan_words[] = {WORD_PIPELINE, WORD_FILE, 0};

const struct command command_plan = {
    .name = "plan",
    .summary = "print what a job would do: passes, what is fused and what cuts it, order, conditions, retries",
    .operands = "PIPELINE [INPUT]",
    .operands_min = 1,
    .operands_max = 2,
    .words = plan_words,
    .options = plan_options,
    .details = "With an INPUT the stages look at it (in a process of their own, nothing is written) and the renditions,\n"
               "outputs and costs they announce are printed too. Results of stages are not known yet: conditions on\n"
               "them are shown open.\n",
    .run = plan_run,
};
