#include "cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/report.h"

#define COMMAND_ROW(name) &command_##name,
const struct command *const commands[] = {COMMAND_TABLE(COMMAND_ROW) NULL};
#undef COMMAND_ROW

const struct command *command_find(const char *name) {
  for (size_t i = 0; commands[i]; i++)
    if (!strcmp(commands[i]->name, name)) return commands[i];
  return NULL;
}

const char *command_nearest(const char *name) {
  const char *names[64];
  size_t count = 0;
  for (; commands[count] && count < 64; count++) names[count] = commands[count]->name;
  return report_nearest(name, names, count);
}

static void option_help(const struct option_row *row, struct buf *out) {
  char left[80], dashed[64];
  snprintf(dashed, sizeof dashed, "--%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
  if (row->letter)
    snprintf(left, sizeof left, "-%c, %s", row->letter, dashed);
  else
    snprintf(left, sizeof left, "    %s", dashed);
  buf_format(out, "  %-26s %s%s\n", left, row->summary, row->repeated ? " (may be given several times)" : "");
}

void command_usage(const struct command *command, struct buf *out) {
  bool has_options = command->options && command->options->name;
  buf_format(out, "Usage: stagemill %s%s%s%s\n\n%c%s.\n", command->name, has_options ? " [OPTION]..." : "",
             command->operands ? " " : "", command->operands ? command->operands : "",
             command->summary[0] - ('a' <= command->summary[0] && command->summary[0] <= 'z' ? 32 : 0),
             command->summary + 1);
  if (command->details) buf_format(out, "\n%s", command->details);
  buf_text(out, "\nOptions:\n");
  for (const struct option_row *row = command->options; row && row->name; row++) option_help(row, out);
  option_help(&(struct option_row)OPTION_FLAG("help", 'h', "print this text"), out);
}

void command_overview(struct buf *out) {
  buf_text(out, "Usage: stagemill COMMAND [OPTION]... [OPERAND]...\n\nRuns media pipelines made of loadable stages.\n"
                "\nCommands:\n");
  for (size_t i = 0; commands[i]; i++) buf_format(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
  buf_text(out, "\n`stagemill COMMAND --help` says more about each.\n"
                "\nExit codes: 0 done, 1 failed, 2 bad usage, pipeline or input, 3 interrupted and resumable, 4 "
                "cancelled.\n");
}

static int check_operands(const struct command *command, const struct options *options) {
  size_t count = options_count(options);
  if (count < command->operands_min)
    return cli_complain(CLI_USAGE, "%s needs %s: see `stagemill %s --help`", command->name,
                        command->operands ? command->operands : "more words", command->name);
  if (count > command->operands_max)
    return cli_complain(CLI_USAGE, "%s: '%s' is one word too many: see `stagemill %s --help`", command->name,
                        options_operand(options, command->operands_max), command->name);
  return CLI_DONE;
}

int command_call(const struct command *command, int argc, char **argv) {
  struct options *options = NULL;
  struct error e = {0};
  if (options_parse(command->options, argc, argv, &options, &e))
    return cli_complain(CLI_USAGE, "%s: %s; see `stagemill %s --help`", command->name, e.message, command->name);
  int code;
  if (options_help(options)) {
    buf_auto struct buf text = {0};
    command_usage(command, &text);
    code = cli_print(&text, CLI_DONE);
  } else {
    code = check_operands(command, options);
    if (code == CLI_DONE) code = command->run(options);
  }
  options_free(&options);
  return code;
}

int cli_complain(int code, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fputs("stagemill: ", stderr);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
  return code;
}

int cli_error(const struct error *e) {
  switch (e->code) {
  case ERR_USAGE:
  case ERR_INVALID:
  case ERR_NOT_FOUND: return cli_complain(CLI_USAGE, "%s", e->message);
  default: return cli_complain(CLI_FAILED, "%s", e->message);
  }
}

int cli_print(const struct buf *text, int code) {
  errno = 0;
  if ((text->size == 0 || fwrite(text->data, 1, text->size, stdout) == text->size) && !fflush(stdout)) return code;
  return cli_complain(CLI_FAILED, "cannot write to standard output: %s", strerror(errno));
}
