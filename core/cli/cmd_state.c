/* cmd_state.c - looking after a state folder: backup, check, export, retention. The owner does it while its jobs run;
 * without one this process owns the folder for that moment. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"
#include "config/literal.h"

static struct value *state_ask(const struct options *options, const char *op, const char *key, const char *path, int *code) {
  value_auto struct value *request = value_map();
  mem_auto char *absolute = path ? fs_absolute(NULL, path) : NULL;
  value_set_text(request, "op", op);
  if (key) value_set_text(request, key, absolute);
  return owner_request(options, request, code);
}

/* ---- backup and check ------------------------------------------------------------------------------------------------ */

static int state_backup(const struct options *options) {
  int code = CLI_DONE;
  const char *folder = options_operand(options, 1);
  if (!folder) return cli_complain(CLI_USAGE, "state backup needs the folder to write to: state backup DIR");
  value_auto struct value *answer = state_ask(options, "backup", "folder", folder, &code);
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(answer, CLI_DONE);
  buf_auto struct buf out = {0};
  buf_format(&out, "backed up into %s: the store and %lld files, %.1f MB of assets, pipelines and manifests\n"
                   "to restore it, copy the folder to where the state is to be while nobody uses it\n",
             folder, (long long)value_get_int(answer, "files", 1) - 1, (double)value_get_int(answer, "bytes", 0) / 1e6);
  return cli_print(&out, CLI_DONE);
}

static int state_check(const struct options *options) {
  int code = CLI_DONE;
  value_auto struct value *answer = state_ask(options, "check", NULL, NULL, &code);
  if (!answer) return code;
  int64_t problems = value_get_int(answer, "problems", 0);
  code = problems ? CLI_FAILED : CLI_DONE;
  if (options_flag(options, "json")) return print_json(answer, code);
  buf_auto struct buf out = {0};
  const struct value *lines = value_get(answer, "lines");
  for (size_t i = 0; lines && i < lines->count; i++) buf_format(&out, "%s\n", lines->items[i]->text);
  if (problems)
    buf_format(&out, "%lld problem(s): restore a backup, or run the jobs named above with --fresh\n", (long long)problems);
  else
    buf_text(&out, "the state is sound\n");
  return cli_print(&out, code);
}

/* ---- export ---------------------------------------------------------------------------------------------------------- */

static int export_show(const char *path) {
  char block[65536];
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : 0;
  for (bool more = fd >= 0; more;) {
    n = read(fd, block, sizeof block);
    more = n > 0 && fwrite(block, 1, (size_t)n, stdout) == (size_t)n;
    if (n > 0 && !more) n = -1;
  }
  if (n == 0 && fflush(stdout) == 0) return CLI_DONE;
  return cli_complain(CLI_FAILED, "cannot write to standard output");
}

/* The owner writes a file; for standard output one of ours, gone afterwards. */
static int state_export(const struct options *options) {
  int code = CLI_DONE;
  const char *file = options_operand(options, 1), *folder = getenv("TMPDIR");
  bool shown = !file || !strcmp(file, "-");
  mem_auto char *own = mem_format("%s/stagemill-export-XXXXXX", folder && *folder ? folder : "/tmp");
  fd_auto int fd = shown ? mkostemp(own, O_CLOEXEC) : -1;
  if (shown && fd < 0) return cli_complain(CLI_FAILED, "cannot write in %s", folder && *folder ? folder : "/tmp");
  value_auto struct value *answer = state_ask(options, "export", "file", shown ? own : file, &code);
  if (answer && shown) code = export_show(own);
  if (shown) unlink(own);
  return code;
}

/* ---- retention ------------------------------------------------------------------------------------------------------- */

static enum err prune_option(const struct options *options, const char *name, uint32_t takes, const char *key,
                             struct value *request, struct error *e) {
  const char *text = options_value(options, name);
  const struct rule rule = {.key = name, .takes = takes, .min = 0, .max = 1e12};
  buf_auto struct buf why = {0};
  value_auto struct value *v = NULL;
  if (!text) return ERR_OK;
  if (literal_parse(&rule, text, true, &v, &why)) return error_set(e, ERR_USAGE, "--%s: %s", name, buf_string(&why));
  value_set_int(request, key, v->integer);
  return ERR_OK;
}

static int state_prune(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  value_auto struct value *request = value_map();
  value_set_text(request, "op", "prune");
  if (prune_option(options, "completed-age", SM_TAKES_DURATION, "completedAgeUs", request, &e) ||
      prune_option(options, "failed-age", SM_TAKES_DURATION, "failedAgeUs", request, &e) ||
      prune_option(options, "completed-keep", SM_TAKES_INT, "completedCount", request, &e) ||
      prune_option(options, "failed-keep", SM_TAKES_INT, "failedCount", request, &e))
    return cli_error(&e);
  if (request->count == 1)
    return cli_complain(CLI_USAGE, "state prune removes nothing by itself: say what, for example --completed-age 30d");
  value_auto struct value *answer = owner_request(options, request, &code);
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(answer, CLI_DONE);
  buf_auto struct buf out = {0};
  buf_format(&out, "removed %lld job(s); what they published stays\n", (long long)value_get_int(answer, "removed", 0));
  return cli_print(&out, CLI_DONE);
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static int state_run(const struct options *options) {
  static const struct {
    const char *name;
    bool path;
    int (*run)(const struct options *options);
  } rows[] = {{"backup", true, state_backup}, {"check", false, state_check}, {"export", true, state_export},
              {"prune", false, state_prune}};
  const char *action = options_operand(options, 0);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(action, rows[i].name) != 0) continue;
    if (options_operand(options, 1) && !rows[i].path)
      return cli_complain(CLI_USAGE, "state %s: '%s' is one word too many", action, options_operand(options, 1));
    return rows[i].run(options);
  }
  return cli_complain(CLI_USAGE, "state: '%s' is none of backup, check, export and prune", action);
}

static const struct option_row state_options[] = {
    OWNER_OPTIONS,
    OPTION_VALUE("completed-age", 0, "TIME", WORD_TEXT, "prune: remove jobs completed longer ago than this, such as 30d"),
    OPTION_VALUE("failed-age", 0, "TIME", WORD_TEXT, "prune: the same for failed and cancelled jobs"),
    OPTION_VALUE("completed-keep", 0, "COUNT", WORD_TEXT, "prune: keep only so many of the newest completed jobs"),
    OPTION_VALUE("failed-keep", 0, "COUNT", WORD_TEXT, "prune: the same for failed jobs, and for cancelled ones"),
    OPTION_JSON,
    OPTIONS_END,
};
static const enum word_kind state_words[] = {WORD_TEXT, WORD_FILE, 0};

const struct command command_state = {
    .name = "state",
    .summary = "back up, check, export or prune a state folder",
    .operands = "backup DIR | check | export [FILE] | prune",
    .operands_min = 1,
    .operands_max = 2,
    .words = state_words,
    .options = state_options,
    .details = "  backup DIR     a copy of one moment into an empty folder: the store, pipelines, assets, manifests\n"
               "  check          reads everything and compares what must agree; 1 when something does not\n"
               "  export [FILE]  every record as one JSON object a line, to standard output without FILE\n"
               "  prune          removes ended jobs from the state; published files and running jobs stay\n\n"
               "Jobs go on meanwhile.\n",
    .run = state_run,
};
