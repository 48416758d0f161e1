/* cmd_steer.c - cancel and retry: one request each, to the owner of a state folder or to a daemon. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "cli/site.h"

enum { PARAMS_MAX = 256 };

/* whole, from and params, as both the door and the API take them. */
static enum err steer_body(const struct options *options, struct value *body, struct error *e) {
  const char *words[PARAMS_MAX];
  struct value *params = NULL;
  if (options_flag(options, "whole")) value_set_bool(body, "whole", true);
  if (options_value(options, "from")) value_set_text(body, "from", options_value(options, "from"));
  size_t count = options_values(options, "param", words, PARAMS_MAX);
  if (count > PARAMS_MAX) return error_set(e, ERR_USAGE, "more than %d parameters are given", PARAMS_MAX);
  if (!count) return ERR_OK;
  if (site_texts(words, count, &params, e)) return e->code;
  value_map_set(body, "params", params);
  return ERR_OK;
}

static struct value *steer_remote(const struct options *options, const char *op, const struct value *body, int *code) {
  struct error e = {0};
  struct value *answer = NULL;
  struct remote *remote = remote_open(options, code);
  if (!remote) return NULL;
  mem_auto char *id = remote_job(remote, options_operand(options, 0), &e);
  mem_auto char *path = mem_format("/api/v1/jobs/%s/%s", id ? id : "", op);
  if (!id)
    *code = cli_error(&e);
  else
    answer = remote_ask(remote, "POST", path, body, code);
  remote_close(&remote);
  if (answer) value_set_text(answer, "jobId", id);
  return answer;
}

static struct value *steer_local(const struct options *options, const char *op, struct value *body, int *code) {
  value_set_text(body, "op", op);
  value_set_text(body, "id", options_operand(options, 0));
  return owner_request(options, body, code);
}

static int steer(const struct options *options, const char *op, const char *said) {
  int code = CLI_DONE;
  struct error e = {0};
  value_auto struct value *body = value_map(), *answer = NULL;
  if (steer_body(options, body, &e)) return cli_error(&e);
  answer = (remote_named(options) ? steer_remote(options, op, body, &code) : steer_local(options, op, body, &code));
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(answer, CLI_DONE);
  buf_auto struct buf out = {0};
  buf_format(&out, "%s: %s\n", value_get_text(answer, "jobId", ""), said);
  return cli_print(&out, CLI_DONE);
}

static int cancel_run(const struct options *options) {
  return steer(options, "cancel", "is being cancelled");
}

/* ---- retry --failed: the dead letters of a daemon, by filter ------------------------------------------------------- */

static struct value *failed_request(const struct options *options) {
  static const char *const filters[] = {"pipeline", "asset", "owner", "batch", "since"};
  struct value *request = value_map(), *filter = value_map();
  value_set_text(request, "action", "retry");
  value_set_text(filter, "status", "failed");
  for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
    if (options_value(options, filters[i])) value_set_text(filter, filters[i], options_value(options, filters[i]));
  value_map_set(request, "filter", filter);
  return request;
}

static int retry_failed(const struct options *options) {
  int code = CLI_DONE;
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  value_auto struct value *request = failed_request(options);
  value_auto struct value *answer = remote_ask(remote, "POST", "/api/v1/jobs/bulk", request, &code);
  remote_close(&remote);
  if (!answer) return code;
  const struct value *refused = value_get(answer, "failed");
  code = refused && refused->count ? CLI_FAILED : CLI_DONE;
  if (options_flag(options, "json")) return print_json(answer, code);
  buf_auto struct buf out = {0};
  for (size_t i = 0; refused && i < refused->count; i++)
    buf_format(&out, "%s: %s\n", value_get_text(refused->items[i], "id", ""), value_get_text(refused->items[i], "detail", ""));
  buf_format(&out, "%lld of %lld failed jobs are queued again\n", (long long)value_get_int(answer, "done", 0),
             (long long)value_get_int(answer, "matched", 0));
  return cli_print(&out, code);
}

static int retry_run(const struct options *options) {
  bool failed = options_flag(options, "failed");
  if (failed == (options_count(options) > 0))
    return cli_complain(CLI_USAGE, "name one job (retry ID), or --failed for all that failed");
  if (failed) return retry_failed(options);
  return steer(options, "retry", remote_named(options) ? "queued again" : "queued again; the command that ran it goes on with it");
}

static const enum word_kind steer_words[] = {WORD_JOB, 0};
static const struct option_row cancel_options[] = {OWNER_OPTIONS, REMOTE_OPTIONS, OPTION_JSON, OPTIONS_END};
static const struct option_row retry_options[] = {
    OWNER_OPTIONS,
    REMOTE_OPTIONS,
    OPTION_FLAG("whole", 0, "do everything again, finished stages included"),
    OPTION_VALUE("from", 0, "STAGE", WORD_TEXT, "do this stage and what reads from it again"),
    OPTION_VALUES("param", 'p', "NAME=VALUE", WORD_TEXT, "another value for a parameter"),
    OPTION_FLAG("failed", 0, "every failed job of the daemon, or those the filters name"),
    OPTION_VALUE("pipeline", 0, "NAME", WORD_PIPELINE, "with --failed: only jobs of this pipeline"),
    OPTION_VALUE("asset", 0, "ID", WORD_TEXT, "with --failed: only jobs about this asset"),
    OPTION_VALUE("owner", 0, "NAME", WORD_TEXT, "with --failed: only jobs of this owner (scope admin)"),
    OPTION_VALUE("batch", 0, "ID", WORD_TEXT, "with --failed: only jobs of this batch"),
    OPTION_VALUE("since", 0, "TIME", WORD_TEXT, "with --failed: only jobs queued since then"),
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
    .operands = "[ID]",
    .operands_max = 1,
    .words = steer_words,
    .options = retry_options,
    .details = "Finished stages are kept; the others get their attempts back. `--from STAGE -p name=value` goes back further, with\n"
               "other parameters. `--failed` needs a daemon (--server).\n",
    .run = retry_run,
};
