/* cmd_explain.c - why a job is where it is, from what is stored, and what would make it go on. */
#include <string.h>

#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"

static bool is(const struct value *v, const char *key, const char *word) {
  return strcmp(value_get_text(v, key, ""), word) == 0;
}

static void explain_error(const struct value *error, const char *indent, struct buf *out) {
  if (!error || error->type != VALUE_MAP) return;
  buf_format(out, "%s%s\n", indent, value_get_text(error, "message", ""));
  if (value_get_text(error, "debug", NULL)) buf_format(out, "%s(%s)\n", indent, value_get_text(error, "debug", ""));
}

static void explain_failed(const struct value *stage, const char *id, struct buf *out) {
  long long attempts = (long long)value_get_int(stage, "failedAttempts", 0);
  buf_format(out, "  %s failed", id);
  if (attempts) buf_format(out, " after %lld attempt%s", attempts, attempts == 1 ? "" : "s");
  buf_text(out, ":\n");
}

static void explain_stage(const struct value *stage, struct buf *out) {
  const char *id = value_get_text(stage, "id", "");
  if (is(stage, "status", "running"))
    buf_format(out, "  %s is running, since %s\n", id, value_get_text(stage, "startedAt", "?"));
  if (is(stage, "status", "publishing")) buf_format(out, "  %s is done, its files are being published\n", id);
  if (is(stage, "status", "waiting"))
    buf_format(out, "  %s has not started%s%s\n", id, value_get_text(stage, "reason", NULL) ? ": " : "",
               value_get_text(stage, "reason", ""));
  if (is(stage, "status", "skipped"))
    buf_format(out, "  %s was skipped: %s\n", id, value_get_text(stage, "reason", ""));
  if (is(stage, "status", "delayed"))
    buf_format(out, "  %s waits for its next attempt until %s, after %lld failed:\n", id,
               value_get_text(stage, "retryAt", "?"), (long long)value_get_int(stage, "failedAttempts", 0));
  if (is(stage, "status", "failed") || is(stage, "status", "soft-failed"))
    explain_failed(stage, id, out);
  if (!is(stage, "status", "finished")) explain_error(value_get(stage, "error"), "      ", out);
}

/* What would make it go on, as something that can be typed. */
static void explain_cure(const struct options *options, const struct value *job, struct buf *out) {
  const char *state = options_value(options, "state"), *output = options_value(options, "output");
  const char *id = value_get_text(job, "id", "");
  bool failed = is(job, "status", "failed");
  if (is(job, "status", "queued")) buf_text(out, "the command that started it goes on with it when it is run again\n");
  if (!failed && !is(job, "status", "cancelled")) return;
  buf_format(out, "`stagemill retry %s", id);
  if (state) buf_format(out, " --state %s", state);
  if (!state && output) buf_format(out, " -o %s", output);
  buf_text(out, failed ? "`, or the same command again, gives the stages that did not finish another round\n"
                       : "` takes it up again; finished stages are kept\n");
}

static void explain_text(const struct options *options, const struct value *job, struct buf *out) {
  const char *reason = value_get_text(job, "waitReason", NULL);
  const struct value *stages = value_get(job, "stages");
  buf_format(out, "job %s (%s, %s) %s %s", value_get_text(job, "id", ""), value_get_text(job, "pipeline", ""),
             value_get_text(job, "title", ""), is(job, "status", "failed") ? "has" : "is",
             value_get_text(job, "status", ""));
  if (reason) buf_format(out, ": %s", reason);
  buf_char(out, '\n');
  if (value_get_bool(job, "cancelRequested", false) && !is(job, "status", "cancelled"))
    buf_text(out, "  it is being cancelled\n");
  for (size_t i = 0; stages && i < stages->count; i++) explain_stage(stages->items[i], out);
  explain_cure(options, job, out);
}

static int explain_run(const struct options *options) {
  int code = CLI_DONE;
  value_auto struct value *request = value_map(), *answer = NULL;
  value_set_text(request, "op", "job");
  value_set_text(request, "id", options_count(options) ? options_operand(options, 0) : "last");
  answer = owner_request(options, request, &code);
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(value_get(answer, "job"), CLI_DONE);
  buf_auto struct buf out = {0};
  explain_text(options, value_get(answer, "job"), &out);
  return cli_print(&out, CLI_DONE);
}

static const enum word_kind explain_words[] = {WORD_JOB, 0};
static const struct option_row explain_options[] = {OWNER_OPTIONS, OPTION_JSON, OPTIONS_END};

const struct command command_explain = {
    .name = "explain",
    .summary = "say why a job is where it is, and what would make it go on",
    .operands = "[ID]",
    .operands_min = 0,
    .operands_max = 1,
    .words = explain_words,
    .options = explain_options,
    .details = "ID may be a unique beginning of a job's id; without one it is the last job.\n\n"
               "Without --state and -o the user's state home is looked at, then /var/lib/stagemill.\n",
    .run = explain_run,
};
