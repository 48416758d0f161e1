/* cmd_pause.c - pause and resume: a job after its current pass, a pipeline, or the whole queue. Of a daemon, or of the owner
 * of a state folder. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "config/literal.h"

/* --until 2h, or a time such as 2026-01-31T08:00:00Z: wall microseconds; 0: until it is resumed. */
static enum err pause_until(const struct options *options, int64_t *until_us, struct error *e) {
  const char *text = options_value(options, "until");
  value_auto struct value *duration = NULL;
  *until_us = 0;
  if (!text) return ERR_OK;
  if (literal_scan(text, &duration) == strlen(text) && duration->type == VALUE_DURATION)
    *until_us = clock_wall(&clock_system) + duration->integer;
  else if (!clock_parse(text, until_us))
    return error_set(e, ERR_USAGE, "--until %s: write how long (2h) or when (2026-01-31T08:00:00Z)", text);
  return ERR_OK;
}

/* What is meant: exactly one of a job, a pipeline, the queue. */
static enum err pause_what(const struct options *options, char **what, struct error *e) {
  const char *pipeline = options_value(options, "pipeline"), *id = options_operand(options, 0);
  int named = !!pipeline + !!id + options_flag(options, "queue");
  if (named != 1) return error_set(e, ERR_USAGE, "name one of these: a job's ID, --pipeline NAME, --queue");
  *what = pipeline ? mem_format("pipeline:%s", pipeline) : mem_text(id ? id : "queue");
  return ERR_OK;
}

static int pause_remote(const struct options *options, const char *what, const char *verb, struct value *body) {
  int code = CLI_DONE;
  struct error e = {0};
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  mem_auto char *id = NULL, *path = NULL, *name = NULL;
  if (!strcmp(what, "queue")) {
    path = mem_format("/api/v1/queue/%s", verb);
  } else if (!strncmp(what, "pipeline:", 9)) {
    name = remote_encode(what + 9);
    path = mem_format("/api/v1/pipelines/%s/%s", name, verb);
  } else if ((id = remote_job(remote, what, &e))) {
    path = mem_format("/api/v1/jobs/%s/%s", id, verb);
  }
  if (!path)
    code = cli_error(&e);
  else {
    value_auto struct value *answer = remote_ask(remote, "POST", path, body, &code);
  }
  remote_close(&remote);
  return code;
}

static int pause_local(const struct options *options, const char *what, const char *verb, struct value *body) {
  int code = CLI_DONE;
  bool job = strcmp(what, "queue") && strncmp(what, "pipeline:", 9);
  value_set_text(body, "op", verb);
  value_set_text(body, job ? "id" : "what", what);
  value_auto struct value *answer = owner_request(options, body, &code);
  return code;
}

static int pause_call(const struct options *options, const char *verb, const char *said) {
  struct error e = {0};
  int64_t until_us = 0;
  char at[32];
  mem_auto char *what = NULL;
  value_auto struct value *body = value_map();
  if (pause_what(options, &what, &e)) return cli_error(&e);
  if (!strcmp(verb, "pause") && pause_until(options, &until_us, &e)) return cli_error(&e);
  if (until_us) value_set_text(body, "until", clock_format(until_us, at));
  int code = (remote_named(options) ? pause_remote : pause_local)(options, what, verb, body);
  if (code) return code;
  buf_auto struct buf out = {0};
  buf_format(&out, "%s: %s%s%s\n", what, said, until_us ? " until " : "", until_us ? at : "");
  return cli_print(&out, CLI_DONE);
}

static int pause_run(const struct options *options) { return pause_call(options, "pause", "paused"); }
static int resume_run(const struct options *options) { return pause_call(options, "resume", "goes on"); }

static const enum word_kind pause_words[] = {WORD_JOB, 0};
#define PAUSE_WHAT                                                                                                     \
  OPTION_VALUE("pipeline", 0, "NAME", WORD_PIPELINE, "every job of this pipeline"),                                    \
      OPTION_FLAG("queue", 0, "everything"), OWNER_OPTIONS, REMOTE_OPTIONS
static const struct option_row pause_options[] = {
    PAUSE_WHAT,
    OPTION_VALUE("until", 0, "WHEN", WORD_TEXT, "go on by itself after this long (2h) or at this time"),
    OPTIONS_END,
};
static const struct option_row resume_options[] = {PAUSE_WHAT, OPTIONS_END};

const struct command command_pause = {
    .name = "pause",
    .summary = "pause a job after its current pass, a pipeline, or the queue",
    .operands = "[ID]",
    .operands_max = 1,
    .words = pause_words,
    .options = pause_options,
    .details = "What runs is let finish; nothing new is started. It outlives a restart.\n",
    .run = pause_run,
};

const struct command command_resume = {
    .name = "resume",
    .summary = "let what was paused go on",
    .operands = "[ID]",
    .operands_max = 1,
    .words = pause_words,
    .options = resume_options,
    .run = resume_run,
};
