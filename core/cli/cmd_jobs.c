#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"
#include "cli/remote.h"

static const char *const jobs_filters[] = {"status", "pipeline", "asset", "owner", "batch", "since", "cursor"};
enum { JOBS_FILTERS = sizeof jobs_filters / sizeof *jobs_filters };

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
  for (size_t i = 0; i < JOBS_FILTERS; i++)
    if (options_value(options, jobs_filters[i])) value_set_text(request, jobs_filters[i], options_value(options, jobs_filters[i]));
  if (options_value(options, "limit")) value_set_int(request, "limit", atoi(options_value(options, "limit")));
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

/* ---- of a daemon ----------------------------------------------------------------------------------------------------- */

static char *jobs_query(const struct options *options) {
  buf_auto struct buf path = {0};
  buf_text(&path, "/api/v1/jobs");
  for (size_t i = 0, n = 0; i <= JOBS_FILTERS; i++) {
    const char *name = i < JOBS_FILTERS ? jobs_filters[i] : "limit", *value = options_value(options, name);
    mem_auto char *encoded = value ? remote_encode(value) : NULL;
    if (value) buf_format(&path, "%c%s=%s", n++ ? '&' : '?', name, encoded);
  }
  return buf_take(&path);
}

static int jobs_remote_list(struct remote *remote, const struct options *options) {
  int code = CLI_DONE;
  mem_auto char *path = jobs_query(options);
  value_auto struct value *answer = remote_ask(remote, "GET", path, NULL, &code);
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(value_get(answer, "jobs"), CLI_DONE);
  buf_auto struct buf out = {0};
  const struct value *jobs = value_get(answer, "jobs");
  for (size_t i = 0; jobs && i < jobs->count; i++) jobs_row(jobs->items[i], &out);
  if (!out.size) buf_text(&out, "no jobs\n");
  if (value_get_text(answer, "next", NULL))
    buf_format(&out, "there are more: --cursor %s\n", value_get_text(answer, "next", ""));
  return cli_print(&out, CLI_DONE);
}

static int jobs_remote_one(struct remote *remote, const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  mem_auto char *id = remote_job(remote, options_operand(options, 0), &e);
  if (!id) return cli_error(&e);
  mem_auto char *path = mem_format("/api/v1/jobs/%s", id);
  value_auto struct value *job = remote_ask(remote, "GET", path, NULL, &code);
  if (!job) return code;
  if (options_flag(options, "json")) return print_json(job, CLI_DONE);
  buf_auto struct buf out = {0};
  job_text(job, &out);
  return cli_print(&out, CLI_DONE);
}

static int jobs_remote(const struct options *options) {
  int code = CLI_DONE;
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  code = (options_count(options) ? jobs_remote_one : jobs_remote_list)(remote, options);
  remote_close(&remote);
  return code;
}

static int jobs_run(const struct options *options) {
  int code = CLI_DONE;
  if (remote_named(options)) return jobs_remote(options);
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
    REMOTE_OPTIONS,
    OPTION_VALUE("status", 0, "STATUS", WORD_TEXT, "only jobs of this status"),
    OPTION_VALUE("pipeline", 0, "NAME", WORD_PIPELINE, "only jobs of this pipeline"),
    OPTION_VALUE("asset", 0, "ID", WORD_TEXT, "only jobs about this asset"),
    OPTION_VALUE("owner", 0, "NAME", WORD_TEXT, "only jobs of this owner (scope admin)"),
    OPTION_VALUE("batch", 0, "ID", WORD_TEXT, "only jobs of this batch"),
    OPTION_VALUE("since", 0, "TIME", WORD_TEXT, "only jobs queued since then, such as 2026-01-31T08:00:00Z"),
    OPTION_VALUE("limit", 0, "N", WORD_TEXT, "at most so many (100)"),
    OPTION_VALUE("cursor", 0, "CURSOR", WORD_TEXT, "where an earlier list ended"),
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
               "With --server a daemon is asked. Without it, --state and -o the user's state home is looked at, then\n"
               "/var/lib/stagemill.\n",
    .run = jobs_run,
};
