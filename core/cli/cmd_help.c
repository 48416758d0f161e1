#include "cli/command.h"

static int help_run(const struct options *options) {
  buf_auto struct buf text = {0};
  const char *name = options_operand(options, 0);
  if (!name) {
    command_overview(&text);
    return cli_print(&text, CLI_DONE);
  }
  const struct command *command = command_find(name);
  if (command) {
    command_usage(command, &text);
    return cli_print(&text, CLI_DONE);
  }
  const char *near = command_nearest(name);
  if (near) return cli_complain(CLI_USAGE, "there is no command '%s': did you mean `stagemill help %s`?", name, near);
  return cli_complain(CLI_USAGE, "there is no command '%s': see `stagemill help`", name);
}

static const enum word_kind help_words[] = {WORD_COMMAND, 0};

const struct command command_help = {
    .name = "help",
    .summary = "print what a command does and its options",
    .operands = "[COMMAND]",
    .operands_max = 1,
    .words = help_words,
    .run = help_run,
};
