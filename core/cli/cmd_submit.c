/* cmd_submit.c - `stagemill submit`: hands a job to a daemon. A local file is uploaded first; a local pipeline goes inline. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/site.h"
#include "cli/watch.h"
#include "common/url.h"

enum { PIPELINE_BYTES_MAX = 512 * 1024, PARAMS_MAX = 256 };

static bool is_pipeline_file(const char *word) {
  size_t n = strlen(word);
  bool named = (n > 5 && !strcmp(word + n - 5, ".yaml")) || (n > 4 && !strcmp(word + n - 4, ".yml"));
  return named || strchr(word, '/');
}

static enum err submit_pipeline(const char *word, struct value *request, struct error *e) {
  if (!is_pipeline_file(word)) {
    value_set_text(request, "pipeline", word);
    return ERR_OK;
  }
  buf_auto struct buf text = {0};
  if (fs_read_file(word, PIPELINE_BYTES_MAX, &text, e)) return e->code;
  value_set_text(request, "inline", buf_string(&text));
  return ERR_OK;
}

/* A URL and the key of an upload are told as they are; everything else is a file of this machine. */
static enum err submit_input(struct remote *remote, const char *word, struct value *request, struct error *e) {
  if (!word) return ERR_OK;
  bool local = access(word, F_OK) == 0;
  if (!local && !url_has_scheme(word) && strncmp(word, "uploads/", 8))
    return error_set(e, ERR_USAGE, "there is no file %s here; INPUT may be a file, a URL or an upload's key", word);
  if (!local) {
    value_set_text(request, "input", word);
    return ERR_OK;
  }
  value_auto struct value *upload = NULL;
  if (remote_upload(remote, word, NULL, &upload, e)) return e->code;
  value_set_text(request, "input", value_get_text(upload, "fileKey", ""));
  if (!value_get(request, "title")) value_set_text(request, "title", fs_base_name(word));
  return ERR_OK;
}

static enum err submit_params(const struct options *options, struct value *request, struct error *e) {
  const char *words[PARAMS_MAX];
  size_t count = options_values(options, "param", words, PARAMS_MAX);
  struct value *params = NULL;
  if (count > PARAMS_MAX) return error_set(e, ERR_USAGE, "more than %d parameters are given", PARAMS_MAX);
  if (site_texts(words, count, &params, e)) return e->code;
  value_map_set(request, "params", params);
  return ERR_OK;
}

static enum err submit_request(struct remote *remote, const struct options *options, struct value *request, struct error *e) {
  static const char *const same[] = {"title", "asset"};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    if (options_value(options, same[i])) value_set_text(request, same[i], options_value(options, same[i]));
  const char *priority = options_value(options, "priority");
  if (priority && strspn(priority, "0123456789") == strlen(priority))
    value_set_int(request, "priority", atoi(priority));
  else if (priority)
    value_set_text(request, "priority", priority);
  if (submit_params(options, request, e) || submit_pipeline(options_operand(options, 0), request, e)) return e->code;
  return submit_input(remote, options_operand(options, 1), request, e);
}

static int submit_tell(const struct options *options, const struct value *job) {
  if (options_flag(options, "json")) return print_json(job, CLI_DONE);
  buf_auto struct buf out = {0};
  buf_format(&out, "%s\n", value_get_text(job, "id", ""));
  if (isatty(STDOUT_FILENO) && !options_flag(options, "watch"))
    fprintf(stderr, "follow it with: stagemill watch %s\n", value_get_text(job, "id", ""));
  return cli_print(&out, CLI_DONE);
}

static int submit_run(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  value_auto struct value *request = value_map(), *job = NULL;
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  const char *key = options_value(options, "idempotency-key");
  mem_auto char *header = key ? mem_format("Idempotency-Key: %s", key) : NULL;
  if (submit_request(remote, options, request, &e) ||
      remote_call_with(remote, "POST", "/api/v1/jobs", header, request, &job, &e))
    code = cli_error(&e);
  else
    code = submit_tell(options, job);
  if (!code && options_flag(options, "watch"))
    code = watch_job(remote, value_get_text(job, "id", ""), watch_mode(options));
  remote_close(&remote);
  return code;
}

static const enum word_kind submit_words[] = {WORD_PIPELINE, WORD_FILE, 0};
static const struct option_row submit_options[] = {
    OPTION_VALUES("param", 'p', "NAME=VALUE", WORD_TEXT, "a parameter of the pipeline"),
    REMOTE_OPTIONS,
    OPTION_VALUE("title", 0, "TEXT", WORD_TEXT, "what people see as its name"),
    OPTION_VALUE("asset", 0, "ID", WORD_TEXT, "what the job is about: a video's id of yours"),
    OPTION_VALUE("priority", 0, "PRIORITY", WORD_TEXT, "high, normal, low or 0-100"),
    OPTION_VALUE("idempotency-key", 0, "KEY", WORD_TEXT, "the same key gives the same job, for a day"),
    OPTION_FLAG("watch", 'w', "follow it until it ends"),
    OPTION_JSON,
    OPTIONS_END,
};

const struct command command_submit = {
    .name = "submit",
    .summary = "hand a job to a daemon",
    .operands = "PIPELINE [INPUT]",
    .operands_min = 1,
    .operands_max = 2,
    .words = submit_words,
    .options = submit_options,
    .details = "PIPELINE is a name that the daemon knows, or a file of this machine, which is sent along (scope `pipelines`).\n"
               "INPUT is a file of this machine (uploaded first), a URL, or the key of an upload.\n\n"
               "Prints the job's id; --json prints the job, with its `websocketUrl`.\n",
    .run = submit_run,
};
