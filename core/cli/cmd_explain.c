/* cmd_explain.c - why a job is where it is, from what is stored, and what would make it go on. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"
#include "cli/remote.h"

enum { TAIL_BYTES = 2000, TAIL_LINES = 5 };

static bool is(const struct value *v, const char *key, const char *word) {
  return strcmp(value_get_text(v, key, ""), word) == 0;
}

static void explain_lines(const char *text, const char *mark, struct buf *out) {
  while (*text) {
    size_t n = strcspn(text, "\n");
    buf_format(out, "      %s%.*s\n", mark, (int)n, text);
    text += n + (text[n] == '\n');
  }
}

static void explain_error(const struct value *error, struct buf *out) {
  if (!error || error->type != VALUE_MAP) return;
  explain_lines(value_get_text(error, "message", ""), "", out);
  explain_lines(value_get_text(error, "debug", ""), "  ", out);
}

/* ---- the log of a failed attempt --------------------------------------------------------------------------------- */

static bool lists(const char *ids, const char *id) {
  size_t n = strlen(id);
  for (; ids; ids = strchr(ids, ',') ? strchr(ids, ',') + 1 : NULL)
    if (!strncmp(ids, id, n) && (ids[n] == ',' || !ids[n])) return true;
  return false;
}

/* The last lines of a file; whole ones when there are that many. */
static char *read_tail(const char *path) {
  char text[TAIL_BYTES + 1];
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  ssize_t n = end < 0 ? -1 : pread(fd, text, TAIL_BYTES, end > TAIL_BYTES ? end - TAIL_BYTES : 0);
  if (n <= 0) return NULL;
  while (n > 0 && text[n - 1] == '\n') n--;
  text[n] = 0;
  char *from = text + strlen(text);
  for (size_t lines = 0; from > text; from--)
    if (from[-1] == '\n' && ++lines == TAIL_LINES) break;
  return mem_text(from);
}

static void explain_log(const char *folder, const struct value *job, const char *stage, struct buf *out) {
  const struct value *attempts = value_get(job, "attempts");
  mem_auto char *path = NULL;
  if (!folder) return; /* a daemon's: `stagemill logs` prints it */
  for (size_t i = attempts ? attempts->count : 0; i-- > 0 && !path;)
    if (lists(value_get_text(attempts->items[i], "stages", ""), stage))
      path = mem_format("%s/jobs/%s/logs/%lld.log", folder, value_get_text(job, "id", ""),
                        (long long)value_get_int(attempts->items[i], "fence", 0));
  mem_auto char *tail = path ? read_tail(path) : NULL;
  if (!tail) return;
  buf_format(out, "      log: %s\n", path);
  for (char *line = strtok(tail, "\n"); line; line = strtok(NULL, "\n")) {
    print_tame(line);
    buf_format(out, "        | %s\n", line);
  }
}

/* ---- a stage, a job ---------------------------------------------------------------------------------------------- */

static void explain_failed(const struct value *stage, const char *id, struct buf *out) {
  long long attempts = (long long)value_get_int(stage, "failedAttempts", 0);
  buf_format(out, "  %s failed", id);
  if (attempts) buf_format(out, " after %lld attempt%s", attempts, attempts == 1 ? "" : "s");
  buf_text(out, ":\n");
}

/* What a person is asked, and how to answer. */
static void explain_held(const struct value *job, const struct value *stage, const char *id, struct buf *out) {
  const struct value *hold = value_get(stage, "hold"), *fields = value_get(hold, "fields");
  buf_format(out, "  %s waits for a person since %s: %s\n", id, value_get_text(hold, "since", "?"),
             value_get_text(hold, "title", ""));
  explain_lines(value_get_text(hold, "message", ""), "", out);
  if (value_get_text(hold, "until", NULL)) buf_format(out, "      until %s\n", value_get_text(hold, "until", ""));
  buf_format(out, "      `stagemill release %s %s", value_get_text(job, "id", ""), id);
  for (size_t i = 0; fields && i < fields->count; i++) buf_format(out, " -p %s=...", fields->items[i]->text);
  buf_text(out, "` lets it go on, with --reject it fails\n");
}

static void explain_stage(const char *folder, const struct value *job, const struct value *stage, struct buf *out) {
  const char *id = value_get_text(stage, "id", "");
  if (is(stage, "status", "running"))
    buf_format(out, "  %s is running, since %s\n", id, value_get_text(stage, "startedAt", "?"));
  if (is(stage, "status", "publishing")) buf_format(out, "  %s is done, its files are being published\n", id);
  if (is(stage, "status", "waiting"))
    buf_format(out, "  %s has not started%s%s\n", id, value_get_text(stage, "reason", NULL) ? ": " : "",
               value_get_text(stage, "reason", ""));
  if (is(stage, "status", "skipped"))
    buf_format(out, "  %s was skipped: %s\n", id, value_get_text(stage, "reason", ""));
  if (is(stage, "status", "held")) explain_held(job, stage, id, out);
  if (is(stage, "status", "delayed"))
    buf_format(out, "  %s waits for its next attempt until %s, after %lld failed:\n", id,
               value_get_text(stage, "retryAt", "?"), (long long)value_get_int(stage, "failedAttempts", 0));
  bool failed = is(stage, "status", "failed") || is(stage, "status", "soft-failed");
  if (failed) explain_failed(stage, id, out);
  if (!is(stage, "status", "finished")) explain_error(value_get(stage, "error"), out);
  if (failed || is(stage, "status", "delayed")) explain_log(folder, job, id, out);
}

/* What would make it go on, as something that can be typed. */
static void explain_cure(const struct options *options, const struct value *job, struct buf *out) {
  const char *state = options_value(options, "state"), *output = options_value(options, "output");
  const char *id = value_get_text(job, "id", "");
  bool failed = is(job, "status", "failed");
  bool served = value_get(job, "queuePosition") != NULL;
  if (is(job, "status", "queued"))
    buf_text(out, served ? "it starts by itself when its turn comes\n"
                         : "the command that started it goes on with it when it is run again\n");
  if (is(job, "status", "paused")) buf_format(out, "`stagemill resume %s` lets it go on\n", id);
  if (!failed && !is(job, "status", "cancelled")) return;
  buf_format(out, "`stagemill retry %s", id);
  if (state) buf_format(out, " --state %s", state);
  if (!state && output) buf_format(out, " -o %s", output);
  buf_text(out, failed ? "`, or the same command again, gives the stages that did not finish another round\n"
                       : "` takes it up again; finished stages are kept\n");
}

static void explain_text(const struct options *options, const struct value *job, struct buf *out) {
  struct error ignored = {0};
  mem_auto char *folder = remote_named(options) ? NULL : owner_folder(options, &ignored);
  const char *reason = value_get_text(job, "waitReason", NULL);
  const struct value *stages = value_get(job, "stages");
  buf_format(out, "job %s (%s, %s) %s %s", value_get_text(job, "id", ""), value_get_text(job, "pipeline", ""),
             value_get_text(job, "title", ""), is(job, "status", "failed") ? "has" : "is",
             value_get_text(job, "status", ""));
  if (reason) buf_format(out, ": %s", reason);
  buf_char(out, '\n');
  if (value_get_bool(job, "cancelRequested", false) && !is(job, "status", "cancelled"))
    buf_text(out, "  it is being cancelled\n");
  for (size_t i = 0; stages && i < stages->count; i++) explain_stage(folder, job, stages->items[i], out);
  explain_cure(options, job, out);
}

static int explain_remote(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  value_auto struct value *job = NULL;
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  mem_auto char *id = remote_job(remote, options_count(options) ? options_operand(options, 0) : "last", &e);
  mem_auto char *path = mem_format("/api/v1/jobs/%s%s", id ? id : "", options_flag(options, "json") ? "/explain" : "");
  if (!id)
    code = cli_error(&e);
  else
    job = remote_ask(remote, "GET", path, NULL, &code);
  remote_close(&remote);
  if (!job || code) return code;
  if (options_flag(options, "json")) return print_json(job, CLI_DONE);
  buf_auto struct buf out = {0};
  explain_text(options, job, &out);
  return cli_print(&out, CLI_DONE);
}

static int explain_run(const struct options *options) {
  int code = CLI_DONE;
  if (remote_named(options)) return explain_remote(options);
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
static const struct option_row explain_options[] = {OWNER_OPTIONS, REMOTE_OPTIONS, OPTION_JSON, OPTIONS_END};

const struct command command_explain = {
    .name = "explain",
    .summary = "say why a job is where it is, and what would make it go on",
    .operands = "[ID]",
    .operands_min = 0,
    .operands_max = 1,
    .words = explain_words,
    .options = explain_options,
    .details = "ID may be a unique beginning of a job's id; without one it is the last job.\n\n"
               "With --server a daemon is asked. Without it, --state and -o the user's state home is looked at, then\n"
               "/var/lib/stagemill.\n",
    .run = explain_run,
};
