/* cmd_upload.c - `stagemill upload`: a file to a daemon's storage, and, with a pipeline, the job about it. */
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "cli/site.h"

static enum err upload_more(const struct options *options, struct value *more, struct error *e) {
  static const char *const same[] = {"asset", "pipeline"};
  const char *words[256];
  size_t count = options_values(options, "param", words, 256);
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    if (options_value(options, same[i])) value_set_text(more, same[i], options_value(options, same[i]));
  struct value *params = NULL;
  if (!count) return ERR_OK;
  if (site_texts(words, count < 256 ? count : 256, &params, e)) return e->code;
  value_map_set(more, "params", params);
  return ERR_OK;
}

static enum err upload_confirm(struct remote *remote, const struct value *upload, const char *path, struct value **answer,
                               struct error *e) {
  static const char *const same[] = {"fileKey", "fileName", "bucketName"};
  value_auto struct value *request = value_map();
  const char *slash = strrchr(path, '/');
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    value_set_text(request, same[i], value_get_text(upload, same[i], ""));
  value_set_text(request, "originalName", slash ? slash + 1 : path);
  return remote_call(remote, "POST", "/api/v1/uploads/confirm", request, answer, e);
}

static int upload_tell(const struct options *options, const struct value *answer) {
  if (options_flag(options, "json")) return print_json(answer, CLI_DONE);
  buf_auto struct buf out = {0};
  buf_format(&out, "%s\n", value_get_text(answer, "jobId", value_get_text(answer, "fileKey", "")));
  return cli_print(&out, CLI_DONE);
}

static int upload_run(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  const char *path = options_operand(options, 0);
  value_auto struct value *more = value_map(), *upload = NULL, *confirmed = NULL;
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  bool confirm = options_value(options, "pipeline") || options_flag(options, "confirm");
  if (upload_more(options, more, &e) || remote_upload(remote, path, more, &upload, &e) ||
      (confirm && upload_confirm(remote, upload, path, &confirmed, &e)))
    code = cli_error(&e);
  else
    code = upload_tell(options, confirmed ? confirmed : upload);
  remote_close(&remote);
  return code;
}

static const enum word_kind upload_words[] = {WORD_FILE, 0};
static const struct option_row upload_options[] = {
    REMOTE_OPTIONS,
    OPTION_VALUE("asset", 0, "ID", WORD_TEXT, "what the file is about: a video's id of yours"),
    OPTION_VALUE("pipeline", 0, "NAME", WORD_PIPELINE, "start this pipeline with it"),
    OPTION_VALUES("param", 'p', "NAME=VALUE", WORD_TEXT, "a parameter of that pipeline"),
    OPTION_FLAG("confirm", 0, "start the pipeline that the daemon runs for uploads"),
    OPTION_JSON,
    OPTIONS_END,
};

const struct command command_upload = {
    .name = "upload",
    .summary = "upload a file to a daemon",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .words = upload_words,
    .options = upload_options,
    .details = "Prints the key by which `submit` and `batch` take the file as input; with --pipeline or --confirm the id of the\n"
               "job that was started with it.\n",
    .run = upload_run,
};
