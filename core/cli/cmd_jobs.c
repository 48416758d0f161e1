#include <string.h>

#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"

static void jobs_row(const struct value *job, struct buf *out) {
  buf_format(out, "%-26s  %-10s %5.1f %%  %-16s %s\n", value_get_text(job, "id", ""), value_get_text(job, "status", ""),
             value_get_number(job, "pct", 0), value_get_text(job, "pipeline", ""), value_get_text(job, "title", ""));
  const char *reason = value_get_text(job, "waitReason", value_get_text(value_get(job, "error"), "message", NULL));
  if (reason) buf_format(out, "%-26s  %s\n", "", reason);
}

static int jobs_list(const struct options *options) {
  int code = CLI_DONE;
  value_auto struct value *request = value_map(), *answer = NULL;
  value_set_text(request, "op", "jobs");
  if (options_value(options, "status")) value_set_text(request, "status", options_value(options, "status"));
  if (options_value(options, "pipeline")) value_set_text(request, "pipeline", options_value(options, "pipeline"));
  answer = owner_request(options, request, &code);
  if (!answer) return code;
  const struct value *jobs = value_get(answer, "jobs");
  if (options_flag(options, "json")) return print_json(jobs, CLI_DONE);
  buf_auto struct buf out = {0};
  for (size_t i = 0; jobs && i < jobs->count; i++) jobs_row(jobs->items[i], &out);
  if (!out.size) buf_text(&out, "no jobs\n");
  return cli_print(&out, CLI_DONE);
}

static void job_stage_row(const struct value *stage, struct buf *out) {
  buf_format(out, "  %-14s %-12s attempts %lld", value_get_text(stage, "id", ""), value_get_text(stage, "status", ""),
             (long long)value_get_int(stage, "attempts", 0));
  const char *why = value_get_text(stage, "reason", value_get_text(value_get(stage, "error"), "message", NULL));
  if (value_get_text(stage, "retryAt", NULL)) buf_format(out, ", next at %s", value_get_text(stage, "retryAt", ""));
  if (why) buf_format(out, ": %s", why);
  buf_char(out, '\n');
}

static void job_attempt_row(const struct value *attempt, struct buf *out) {
  buf_format(out, "  %6lld  %-12s %s  %s", (long long)value_get_int(attempt, "fence", 0),
             value_get_text(attempt, "outcome", ""), value_get_text(attempt, "startedAt", ""),
             value_get_text(attempt, "stages", ""));
  if (value_get_text(attempt, "stageAtFault", NULL))
    buf_format(out, " (%s: %s)", value_get_text(attempt, "stageAtFault", ""),
               value_get_text(value_get(attempt, "error"), "message", ""));
  buf_char(out, '\n');
}

static void job_text(const struct value *job, struct buf *out) {
  jobs_row(job, out);
  const struct value *stages = value_get(job, "stages"), *attempts = value_get(job, "attempts");
  buf_text(out, "\nStages:\n");
  for (size_t i = 0; stages && i < stages->count; i++) job_stage_row(stages->items[i], out);
  buf_text(out, "\nAttempts:\n");
  for (size_t i = 0; attempts && i < attempts->count; i++) job_attempt_row(attempts->items[i], out);
}

static int jobs_run(const struct options *options) {
  int code = CLI_DONE;
  const char *id = options_operand(options, 0);
  if (!id) return jobs_list(options);
  value_auto struct value *request = value_map(), *answer = NULL;
  value_set_text(request, "op", "job");
  value_set_text(request, "id", id);
  answer = owner_request(options, request, &code);
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(value_get(answer, "job"), CLI_DONE);
  buf_auto struct buf out = {0};
  job_text(value_get(answer, "job"), &out);
  return cli_print(&out, CLI_DONE);
}

static const struct option_row jobs_options[] = {
    OWNER_OPTIONS,
    OPTION_VALUE("status", 0, "STATUS", WORD_TEXT, "only jobs of this status"),
    OPTION_VALUE("pipeline", 0, "NAME", WORD_TEXT, "only jobs of this pipeline"),
    OPTION_JSON,
    OPTIONS_END,
};
static const enum word_kind jobs_words[] = {WORD_JOB, 0};

const struct command command_jobs = {
    .name = "jobs",
    .summary = "list jobs, or show one with its stages and attempts",
    .operands = "[ID]",
    .operands_max = 1,
    .words = jobs_words,
    .options = jobs_options,
    .details = "ID may be a unique beginning of a job's id, or `last`.\n\n"
               "Without --state and -o the user's state home is looked at, then /var/lib/stagemill.\n",
    .run = jobs_run,
};
