/* cmd_completion.c - completion scripts, generated from the command table, and the words they ask for. */
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/complete.h"
#include "cli/site.h"

/* ---- words of this machine --------------------------------------------------------------------------------------- */

static void words_stages(struct buf *out) {
  struct site site;
  if (site_open(&site, false, NULL)) return;
  for (size_t i = 0; i < stage_set_count(site.stages); i++) buf_format(out, "%s\n", stage_set_at(site.stages, i)->name);
  site_close(&site);
}

static void words_pipelines(struct buf *out) {
  struct paths paths;
  if (paths_find(&paths, NULL)) return;
  paths_shipped(&paths, "\n", out);
  if (out->size) buf_char(out, '\n');
  paths_clear(&paths);
}

static int words_print(const char *kind) {
  buf_auto struct buf out = {0};
  if (!strcmp(kind, "stage"))
    words_stages(&out);
  else if (!strcmp(kind, "pipeline"))
    words_pipelines(&out);
  else
    return cli_complain(CLI_USAGE, "completion: --words knows stage and pipeline, not '%s'", kind);
  return cli_print(&out, CLI_DONE);
}

/* ---- scripts ----------------------------------------------------------------------------------------------------- */

static int completion_run(const struct options *options) {
  const char *words = options_value(options, "words"), *shell = options_operand(options, 0);
  buf_auto struct buf out = {0};
  if (words) return words_print(words);
  if (!shell) return cli_complain(CLI_USAGE, "completion needs a shell: bash, zsh or fish");
  if (!strcmp(shell, "bash"))
    complete_bash(&out);
  else if (!strcmp(shell, "zsh"))
    complete_zsh(&out);
  else if (!strcmp(shell, "fish"))
    complete_fish(&out);
  else
    return cli_complain(CLI_USAGE, "completion: there is no script for '%s', only for bash, zsh and fish", shell);
  return cli_print(&out, CLI_DONE);
}

static const struct option_row completion_options[] = {
    OPTION_VALUE("words", 0, "KIND", WORD_TEXT, "print the names of stages or pipelines, one a line"), OPTIONS_END};
static const enum word_kind completion_words[] = {WORD_SHELL, 0};

const struct command command_completion = {
    .name = "completion",
    .summary = "print the completion script for bash, zsh or fish",
    .operands = "SHELL",
    .operands_max = 1,
    .words = completion_words,
    .options = completion_options,
    .details = "bash: stagemill completion bash > /etc/bash_completion.d/stagemill\n"
               "zsh:  stagemill completion zsh > a folder of $fpath, named _stagemill\n"
               "fish: stagemill completion fish > ~/.config/fish/completions/stagemill.fish\n",
    .run = completion_run,
};
