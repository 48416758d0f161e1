#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/site.h"
#include "pipeline/fixture.h"

struct testing {
  struct site site;
  struct buf out;
  struct value *files; /* --json */
  size_t cases, failed;
  bool broken; /* a file that cannot be used */
};

static void test_problems(struct testing *t, const char *path, struct report *report, const struct error *e) {
  if (!report_errors(report)) report_add(report, PROBLEM_ERROR, path, 0, 0, 0, NULL, NULL, "%s", e->message);
  report_text(report, &t->out, isatty(STDOUT_FILENO));
  t->broken = true;
}

static void test_json(struct testing *t, const char *path, const struct report *report, struct value *cases) {
  buf_auto struct buf text = {0};
  struct value *v = value_map(), *problems = NULL;
  report_json(report, &text);
  if (value_from_json(buf_string(&text), text.size, &problems, NULL)) problems = value_list();
  value_set_text(v, "file", path);
  value_map_set(v, "problems", problems);
  value_map_set(v, "cases", cases);
  value_list_add(t->files, v);
}

static void test_file(struct testing *t, const char *path) {
  struct report *report = report_new();
  struct fixture_result result;
  struct error e = {0};
  buf_auto struct buf lines = {0};
  enum err err = fixture_run(path, t->site.stages, report, &lines, &result, &e);
  if (err) test_problems(t, path, report, &e);
  if (!err) buf_format(&t->out, "%s\n%s", path, buf_string(&lines));
  t->cases += result.cases;
  t->failed += result.failed;
  test_json(t, path, report, result.cases_json);
  report_free(&report);
}

static int test_print(struct testing *t, bool json) {
  int code = t->broken ? CLI_USAGE : t->failed ? CLI_FAILED : CLI_DONE;
  if (json) return print_json(t->files, code);
  if (t->cases || !t->broken)
    buf_format(&t->out, "\n%zu case%s, %zu failed\n", t->cases, t->cases == 1 ? "" : "s", t->failed);
  return cli_print(&t->out, code);
}

static int test_run(const struct options *options) {
  struct testing t = {.files = value_list()};
  struct error e = {0};
  int code = site_open(&t.site, false, &e) ? cli_error(&e) : CLI_DONE;
  if (code == CLI_DONE) {
    for (size_t i = 0; i < options_count(options); i++) test_file(&t, options_operand(options, i));
    code = test_print(&t, options_flag(options, "json"));
    site_close(&t.site);
  }
  buf_free(&t.out);
  value_free(&t.files);
  return code;
}

static const struct option_row test_options[] = {OPTION_JSON, OPTIONS_END};
static const enum word_kind test_words[] = {WORD_FILE, 0};

const struct command command_test = {
    .name = "test",
    .summary = "run a pipeline's fixtures: given results and failures against order, skips and result",
    .operands = "FILE...",
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .words = test_words,
    .options = test_options,
    .details = "No stage runs and nothing is waited for: stages answer what the file says, on a clock that jumps.\n"
               "The exit code is 0 when all cases are as expected, 1 when one is not, 2 when a file cannot be used.\n"
               "pipelines/README.md describes the language.\n",
    .run = test_run,
};
