/* cmd_steer.c - cancel and retry: one request to the owner of the state folder each. */
#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"

static int steer(const struct options *options, const char *op, const char *said) {
  int code = CLI_DONE;
  value_auto struct value *request = value_map(), *answer = NULL;
  value_set_text(request, "op", op);
  value_set_text(request, "id", options_operand(options, 0));
  if (options_flag(options, "whole")) value_set_bool(request, "whole", true);
  answer = owner_request(options, request, &code);
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(answer, CLI_DONE);
  buf_auto struct buf out = {0};
  buf_format(&out, "%s: %s\n", value_get_text(answer, "jobId", ""), said);
  return cli_print(&out, CLI_DONE);
}

static int cancel_run(const struct options *options) { return steer(options, "cancel", "is being cancelled"); }

static int retry_run(const struct options *options) {
  return steer(options, "retry", "queued again; the command that ran it goes on with it");
}

static const enum word_kind steer_words[] = {WORD_JOB, 0};
static const struct option_row cancel_options[] = {OWNER_OPTIONS, OPTION_JSON, OPTIONS_END};
static const struct option_row retry_options[] = {
    OWNER_OPTIONS,
    OPTION_FLAG("whole", 0, "do everything again, finished stages included"),
    OPTION_JSON,
    OPTIONS_END,
};

const struct command command_cancel = {
    .name = "cancel",
    .summary = "cancel a job; what was published stays",
    .operands = "ID",
    .operands_min = 1,
    .operands_max = 1,
    .words = steer_words,
    .options = cancel_options,
    .details = "The intent is stored before anything is stopped, so it outlives a crash. A running stage is asked first,\n"
               "sent SIGTERM after 10 s and SIGKILL 5 s later. A job that has ended already is an error (exit 1).\n",
    .run = cancel_run,
};

const struct command command_retry = {
    .name = "retry",
    .summary = "give a failed or cancelled job another round",
    .operands = "ID",
    .operands_min = 1,
    .operands_max = 1,
    .words = steer_words,
    .options = retry_options,
    .details = "Finished stages are kept; the others get their attempts back.\n",
    .run = retry_run,
};
