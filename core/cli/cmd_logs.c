/* cmd_logs.c - `stagemill logs`: what the attempts of a daemon's job wrote. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/remote.h"

static bool has_stage(const char *stages, const char *stage) {
  size_t n = strlen(stage);
  for (const char *at = stages; (at = strstr(at, stage)); at += n)
    if ((at == stages || at[-1] == ',') && (!at[n] || at[n] == ',')) return true;
  return false;
}

static int logs_one(struct remote *remote, const char *job, const struct value *log, bool follow, bool titled) {
  struct error e = {0};
  mem_auto char *path = mem_format("/api/v1/jobs/%s/logs/%lld%s", job, (long long)value_get_int(log, "fence", 0),
                                   follow ? "?follow=true" : "");
  if (titled)
    fprintf(stderr, "==> attempt %lld: %s <==\n", (long long)value_get_int(log, "fence", 0), value_get_text(log, "stages", ""));
  return remote_copy(remote, path, STDOUT_FILENO, NULL, &e) ? cli_error(&e) : CLI_DONE;
}

/* Every log in turn; with -f the attempts that come later as well, until the job has none that is live. */
static int logs_all(struct remote *remote, const struct options *options, const char *job) {
  const char *stage = options_value(options, "stage");
  bool follow = options_flag(options, "follow"), any = false, more = true;
  mem_auto char *list = mem_format("/api/v1/jobs/%s/logs", job), *about = mem_format("/api/v1/jobs/%s", job);
  int64_t seen = -1;
  int code = CLI_DONE;
  while (more && !code) {
    value_auto struct value *answer = remote_ask(remote, "GET", list, NULL, &code), *state = NULL;
    const struct value *logs = value_get(answer, "logs");
    if (options_flag(options, "json")) return answer ? print_json(logs, code) : code;
    more = false;
    for (size_t i = 0; logs && i < logs->count && !code; i++) {
      int64_t fence = value_get_int(logs->items[i], "fence", 0);
      if (fence <= seen || (stage && !has_stage(value_get_text(logs->items[i], "stages", ""), stage))) continue;
      code = logs_one(remote, job, logs->items[i], follow, logs->count > 1);
      seen = fence;
      any = more = true;
    }
    if (!follow || code) break;
    if (more) continue;
    state = remote_ask(remote, "GET", about, NULL, &code);
    more = state && !value_get(state, "endedAt");
    if (more) sleep(1);
  }
  if (!any && !code) fprintf(stderr, "no logs yet\n");
  return code;
}

static int logs_run(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  mem_auto char *id = remote_job(remote, options_count(options) ? options_operand(options, 0) : "last", &e);
  code = id ? logs_all(remote, options, id) : cli_error(&e);
  remote_close(&remote);
  return code;
}

static const enum word_kind logs_words[] = {WORD_JOB, 0};
static const struct option_row logs_options[] = {
    REMOTE_OPTIONS,
    OPTION_FLAG("follow", 'f', "go on as they grow, until the job has ended"),
    OPTION_VALUE("stage", 0, "STAGE", WORD_TEXT, "only attempts of this stage"),
    OPTION_FLAG("json", 0, "list the logs instead"),
    OPTIONS_END,
};

const struct command command_logs = {
    .name = "logs",
    .summary = "print what the attempts of a daemon's job wrote",
    .operands = "[ID]",
    .operands_max = 1,
    .words = logs_words,
    .options = logs_options,
    .details = "Without ID it is the newest job. The logs of attempts of a `run` lie in OUT/.stagemill/jobs/ID/logs.\n",
    .run = logs_run,
};
