#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/site.h"

struct checking {
  struct site site;
  struct buf out;
  bool json, quiet, failed;
};

static void check_json(struct checking *c, const char *word, const struct report *report, const struct pipeline *p) {
  buf_text(&c->out, c->out.size > 1 ? ",\n{" : "{");
  buf_text(&c->out, "\"file\": ");
  buf_json_text(&c->out, word, strlen(word));
  buf_format(&c->out, ", \"ok\": %s, \"pipeline\": ", p ? "true" : "false");
  if (p)
    buf_json_text(&c->out, p->name, strlen(p->name));
  else
    buf_text(&c->out, "null");
  buf_text(&c->out, ", \"problems\": ");
  report_json(report, &c->out);
  buf_char(&c->out, '}');
}

static void check_text(struct checking *c, const char *word, const struct report *report, const struct pipeline *p) {
  report_text(report, &c->out, isatty(STDOUT_FILENO));
  if (p && !c->quiet)
    buf_format(&c->out, "%s: ok, pipeline %s with %zu stage%s\n", word, p->name, p->stage_count,
               p->stage_count == 1 ? "" : "s");
}

static void check_file(struct checking *c, const char *word) {
  struct report *report = report_new();
  struct pipeline *p = NULL;
  struct error e = {0};
  if (site_load(&c->site, word, report, &p, &e)) c->failed = true;
  if (!p && !report_errors(report)) report_add(report, PROBLEM_ERROR, word, 0, 0, 0, NULL, NULL, "%s", e.message);
  (c->json ? check_json : check_text)(c, word, report, p);
  pipeline_free(&p);
  report_free(&report);
}

static int check_run(const struct options *options) {
  struct checking c = {.json = options_flag(options, "json"), .quiet = options_flag(options, "quiet")};
  struct error e = {0};
  if (site_open(&c.site, false, &e)) return cli_error(&e);
  if (c.json) buf_char(&c.out, '[');
  for (size_t i = 0; i < options_count(options); i++) check_file(&c, options_operand(options, i));
  if (c.json) buf_text(&c.out, "]\n");
  int code = cli_print(&c.out, c.failed ? CLI_USAGE : CLI_DONE);
  buf_free(&c.out);
  site_close(&c.site);
  return code;
}

static const struct option_row check_options[] = {OPTION_JSON, OPTION_FLAG("quiet", 'q', "print problems only"),
                                                  OPTIONS_END};
static const enum word_kind check_words[] = {WORD_PIPELINE, 0};

const struct command command_check = {
    .name = "check",
    .summary = "check pipelines: every problem with its place and its cure",
    .operands = "PIPELINE...",
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .words = check_words,
    .options = check_options,
    .details = "A PIPELINE is a file, or the name of one that ships (`vod`). The exit code is 0 when all are right, 2\n"
               "when one has an error; warnings alone do not fail. With --json: a list of {file, ok, pipeline,\n"
               "problems: [{level, file, line, column, length, message, hint, source}]}.\n",
    .run = check_run,
};
