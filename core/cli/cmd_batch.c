/* cmd_batch.c - `stagemill batch`: many inputs in one request, a job each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/site.h"
#include "cli/watch.h"
#include "common/url.h"
#include "config/literal.h"

enum { PARAMS_MAX = 256 };

/* Local files are uploaded one after another; URLs and keys are told as they are. */
static enum err batch_inputs(struct remote *remote, const struct options *options, struct value *source, struct error *e) {
  struct value *list = value_list();
  value_map_set(source, "list", list);
  for (size_t i = 1; i < options_count(options); i++) {
    const char *word = options_operand(options, i);
    struct value *item = value_map();
    value_list_add(list, item);
    value_set_text(item, "input", word);
    if (access(word, F_OK)) continue;
    value_auto struct value *upload = NULL;
    if (remote_upload(remote, word, NULL, &upload, e)) return e->code;
    value_set_text(item, "input", value_get_text(upload, "fileKey", ""));
    value_set_text(item, "title", fs_base_name(word));
  }
  return ERR_OK;
}

/* s3://bucket/prefix */
static enum err batch_s3(const struct options *options, struct value *source, struct error *e) {
  const char *word = options_value(options, "s3");
  url_auto struct url url = {0};
  const char *why = NULL;
  if (!url_parse(word, &url, &why)) return error_set(e, ERR_USAGE, "--s3 %s %s", word, why);
  if (strcmp(url.scheme, "s3")) return error_set(e, ERR_USAGE, "--s3 %s: write s3://BUCKET/PREFIX", word);
  struct value *s3 = value_map();
  mem_auto char *prefix = url_decode(url.path);
  value_set_text(s3, "bucket", url.host);
  value_set_text(s3, "prefix", prefix && *prefix ? prefix + 1 : "");
  if (options_value(options, "endpoint")) value_set_text(s3, "endpoint", options_value(options, "endpoint"));
  value_map_set(source, "s3", s3);
  return ERR_OK;
}

static enum err batch_archive(struct remote *remote, const struct options *options, struct value *source, struct error *e) {
  const char *word = options_value(options, "archive");
  value_auto struct value *upload = NULL;
  if (access(word, F_OK)) {
    value_set_text(source, "archive", word);
    return ERR_OK;
  }
  if (remote_upload(remote, word, NULL, &upload, e)) return e->code;
  value_set_text(source, "archive", value_get_text(upload, "fileKey", ""));
  return ERR_OK;
}

static enum err batch_source(struct remote *remote, const struct options *options, struct value *source, struct error *e) {
  const char *folder = options_value(options, "drive");
  int named = !!options_value(options, "s3") + !!options_value(options, "archive") + !!folder + (options_count(options) > 1);
  if (named != 1)
    return error_set(e, ERR_USAGE, "name the inputs one way: INPUT..., --s3 s3://BUCKET/PREFIX, --archive FILE or --drive FOLDER");
  if (options_value(options, "s3")) return batch_s3(options, source, e);
  if (options_value(options, "archive")) return batch_archive(remote, options, source, e);
  if (!folder) return batch_inputs(remote, options, source, e);
  struct value *drive = value_map();
  value_set_text(drive, "folderId", folder);
  value_map_set(source, "drive", drive);
  return ERR_OK;
}

static enum err batch_request(struct remote *remote, const struct options *options, struct value *request, struct error *e) {
  const char *words[PARAMS_MAX], *size = options_value(options, "max-file-size");
  struct value *params = NULL, *source = value_map();
  value_auto struct value *bytes = NULL;
  value_map_set(request, "source", source);
  value_set_text(request, "pipeline", options_operand(options, 0));
  if (options_value(options, "title")) value_set_text(request, "title", options_value(options, "title"));
  if (options_flag(options, "force")) value_set_bool(request, "force", true);
  if (size && (literal_scan(size, &bytes) != strlen(size) || (bytes->type != VALUE_SIZE && bytes->type != VALUE_INT)))
    return error_set(e, ERR_USAGE, "--max-file-size %s: write a size such as 2G", size);
  if (size) value_set_int(request, "maxFileSize", bytes->integer);
  size_t count = options_values(options, "param", words, PARAMS_MAX);
  if (count > PARAMS_MAX) return error_set(e, ERR_USAGE, "more than %d parameters are given", PARAMS_MAX);
  if (site_texts(words, count, &params, e)) return e->code;
  value_map_set(request, "params", params);
  return batch_source(remote, options, source, e);
}

/* The caller's own token for the drive: from a file or the environment, never from the command line, where others see it. */
static char *batch_header(const struct options *options, struct error *e) {
  const char *file = options_value(options, "drive-token-file"), *inherited = getenv("STAGEMILL_DRIVE_TOKEN");
  buf_auto struct buf text = {0};
  if (!file) return mem_format("X-Drive-Token: %s", inherited ? inherited : "");
  if (fs_read_file(file, 16 * 1024, &text, e)) return NULL;
  char *line = mem_format("X-Drive-Token: %s", buf_string(&text));
  line[strcspn(line, "\r\n")] = '\0';
  return line;
}

static int batch_run(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  value_auto struct value *request = value_map(), *batch = NULL;
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  mem_auto char *header = options_value(options, "drive") ? batch_header(options, &e) : NULL;
  if ((options_value(options, "drive") && !header) || batch_request(remote, options, request, &e) ||
      remote_call_with(remote, "POST", "/api/v1/batches", header, request, &batch, &e)) {
    code = cli_error(&e);
  } else if (options_flag(options, "watch")) {
    code = watch_batch(remote, value_get_text(batch, "id", ""), watch_mode(options));
  } else if (options_flag(options, "json")) {
    code = print_json(batch, CLI_DONE);
  } else {
    buf_auto struct buf out = {0};
    buf_format(&out, "%s\n", value_get_text(batch, "id", ""));
    code = cli_print(&out, CLI_DONE);
  }
  remote_close(&remote);
  return code;
}

static const enum word_kind batch_words[] = {WORD_PIPELINE, WORD_FILE, 0};
static const struct option_row batch_options[] = {
    OPTION_VALUES("param", 'p', "NAME=VALUE", WORD_TEXT, "a parameter of the pipeline, for every file"),
    REMOTE_OPTIONS,
    OPTION_VALUE("s3", 0, "URL", WORD_TEXT, "every object below s3://BUCKET/PREFIX"),
    OPTION_VALUE("endpoint", 0, "URL", WORD_TEXT, "with --s3: address of the S3-compatible server"),
    OPTION_VALUE("archive", 0, "FILE", WORD_FILE, "every file in an archive"),
    OPTION_VALUE("drive", 0, "FOLDER", WORD_TEXT, "every file of a Google Drive folder, by its id"),
    OPTION_VALUE("drive-token-file", 0, "F", WORD_FILE, "your token for it (or STAGEMILL_DRIVE_TOKEN)"),
    OPTION_VALUE("max-file-size", 0, "SIZE", WORD_TEXT, "larger files are reported, not fetched"),
    OPTION_VALUE("title", 0, "TEXT", WORD_TEXT, "what people see as its name"),
    OPTION_FLAG("force", 0, "also files that are done already"),
    OPTION_FLAG("watch", 'w', "follow it until it ends"),
    OPTION_JSON,
    OPTIONS_END,
};

const struct command command_batch = {
    .name = "batch",
    .summary = "hand many inputs to a daemon, a job each",
    .operands = "PIPELINE [INPUT]...",
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .words = batch_words,
    .options = batch_options,
    .details = "A file that fails does not stop the others. A file whose pipeline, parameters and content were done before is\n"
               "skipped unless --force is given. Prints the batch's id; `stagemill watch --batch ID` follows it.\n",
    .run = batch_run,
};
