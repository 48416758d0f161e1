/* cmd_watch.c - `stagemill watch`: a daemon's job or batch on this screen, through lost connections and restarts. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/watch.h"

struct watch {
  struct screen *screen;
  enum screen_mode mode;
  int code; /* -1: it goes on */
};

enum screen_mode watch_mode(const struct options *options) {
  return options_flag(options, "json") ? SCREEN_JSON : options_flag(options, "quiet") ? SCREEN_QUIET : screen_detect();
}

static bool watch_event(void *context, const struct value *event, const char *json) {
  struct watch *w = context;
  screen_event(w->screen, event, json);
  w->code = screen_outcome(w->screen, event);
  return w->code < 0;
}

/* What the page would show first: the job's state, in the shape of its envelope. */
static struct value *state_of(const struct value *job) {
  struct value *state = value_copy(job);
  value_set_text(state, "type", "state");
  value_set_text(state, "jobId", value_get_text(job, "id", ""));
  return state;
}

int watch_job(struct remote *remote, const char *id, enum screen_mode mode) {
  struct error e = {0};
  value_auto struct value *job = NULL, *state = NULL;
  mem_auto char *path = mem_format("/api/v1/jobs/%s", id), *events = mem_format("%s/events", path);
  if (remote_call(remote, "GET", path, NULL, &job, &e)) return cli_error(&e);
  struct watch w = {.screen = screen_new(mode, NULL), .mode = mode, .code = -1};
  buf_auto struct buf json = {0};
  state = state_of(job);
  value_json(&json, state, VALUE_JSON_COMPACT);
  mem_auto char *since = mem_format("%lld", (long long)value_get_int(job, "lastSeq", 0));
  if (watch_event(&w, state, buf_string(&json)) && remote_follow(remote, events, since, watch_event, &w, &e))
    w.code = -1;
  screen_free(&w.screen);
  return w.code < 0 ? cli_error(&e) : w.code;
}

/* ---- batches --------------------------------------------------------------------------------------------------------- */

static void batch_line(struct watch *w, const struct value *event) {
  const char *status = value_get_text(event, "status", ""), *why = value_get_text(event, "errorReason", NULL);
  screen_say(w->screen, "%lld of %lld  %-10s %s%s%s", (long long)value_get_int(event, "currentFile", 0),
             (long long)value_get_int(event, "totalFiles", 0), status, value_get_text(event, "filename", ""), why ? ": " : "",
             why ? why : "");
}

static void batch_totals(struct watch *w, const struct value *v) {
  screen_say(w->screen, "processed %lld, failed %lld, oversized %lld, skipped %lld",
             (long long)value_get_int(v, "processedFiles", 0), (long long)value_get_int(v, "failedFiles", 0),
             (long long)value_get_int(v, "oversizedFiles", 0), (long long)value_get_int(v, "skippedFiles", 0));
}

static int batch_outcome(struct watch *w, const struct value *event, const char *type) {
  if (!strcmp(type, "batch-completed") || !strcmp(type, "completed")) {
    batch_totals(w, event);
    return value_get_int(event, "failedFiles", 0) ? CLI_FAILED : CLI_DONE;
  }
  if (!strcmp(type, "batch-cancelled") || !strcmp(type, "cancelled")) return CLI_CANCELLED;
  if (strcmp(type, "batch-failed") && strcmp(type, "failed")) return -1;
  return cli_complain(CLI_FAILED, "the batch failed: %s",
                      value_get_text(event, "errorReason", value_get_text(event, "error", "see its files")));
}

static bool watch_batch_event(void *context, const struct value *event, const char *json) {
  struct watch *w = context;
  const char *type = value_get_text(event, "type", "");
  if (w->mode == SCREEN_JSON) {
    printf("%s\n", json);
    fflush(stdout);
  } else if (!strcmp(type, "batch-progress")) {
    batch_line(w, event);
  }
  if (!strncmp(type, "batch-", 6)) w->code = batch_outcome(w, event, type);
  return w->code < 0;
}

int watch_batch(struct remote *remote, const char *id, enum screen_mode mode) {
  struct error e = {0};
  value_auto struct value *batch = NULL;
  mem_auto char *path = mem_format("/api/v1/batches/%s", id), *events = mem_format("%s/events", path);
  if (remote_call(remote, "GET", path, NULL, &batch, &e)) return cli_error(&e);
  struct watch w = {.screen = screen_new(mode == SCREEN_BARS ? SCREEN_LINES : mode, NULL), .mode = mode, .code = -1};
  mem_auto char *since = mem_format("%lld", (long long)value_get_int(batch, "lastSeq", 0));
  w.code = batch_outcome(&w, batch, value_get_text(batch, "status", ""));
  if (w.code < 0 && remote_follow(remote, events, since, watch_batch_event, &w, &e)) w.code = -1;
  screen_free(&w.screen);
  return w.code < 0 ? cli_error(&e) : w.code;
}

static int watch_run(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  const char *word = options_operand(options, 0);
  if (options_flag(options, "batch")) {
    code = watch_batch(remote, word ? word : "", watch_mode(options));
  } else {
    mem_auto char *id = remote_job(remote, word ? word : "last", &e);
    code = id ? watch_job(remote, id, watch_mode(options)) : cli_error(&e);
  }
  remote_close(&remote);
  return code;
}

static const enum word_kind watch_words[] = {WORD_JOB, 0};
static const struct option_row watch_options[] = {
    REMOTE_OPTIONS,
    OPTION_FLAG("batch", 0, "ID is a batch's"),
    OPTION_FLAG("json", 0, "one event a line"),
    OPTION_FLAG("quiet", 'q', "only the exit code"),
    OPTIONS_END,
};

const struct command command_watch = {
    .name = "watch",
    .summary = "follow a daemon's job until it ends",
    .operands = "[ID]",
    .operands_max = 1,
    .words = watch_words,
    .options = watch_options,
    .details = "ID may be a unique beginning of a job's id; without one it is the newest job. A lost connection, or a daemon\n"
               "that restarts, is waited for (5 min) and nothing is missed.\n\n"
               "Exit codes: 0 completed, 1 failed or lost, 2 bad usage, 4 cancelled.\n",
    .run = watch_run,
};
