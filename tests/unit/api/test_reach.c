/* What a pipeline reaches on the machine that runs it: every file, target and secret is told, and nothing that only the run
 * decides passes for known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pipeline/reach.h"
#include "stages.h"

static enum err note(void *context, const struct reach *reach, struct error *e) {
  static const char *const words[] = {[REACH_FILE] = "file", [REACH_TARGET] = "target", [REACH_UNKNOWN] = "unknown", [REACH_SECRET] = "secret"};
  (void)e;
  buf_format(context, "%s %s.%s %s;", words[reach->kind], reach->stage ? reach->stage : "", reach->setting ? reach->setting : "",
             reach->text ? reach->text : "");
  return ERR_OK;
}

static void reaches(const char *yaml, const char *wanted) {
  struct stage_set *set = test_stages();
  struct report *report = report_new();
  struct pipeline *p = NULL;
  struct value *params = NULL, *job = value_map();
  struct buf told = {0}, problems = {0};
  struct error e = {0};
  enum err err = pipeline_parse(yaml, strlen(yaml), "inline", NULL, set, report, &p, &e);
  report_text(report, &problems, false);
  if (err) fail_msg("%s", buf_string(&problems));
  value_set_text(job, "id", "j1");
  value_set_text(job, "input", "/in/a.mp4");
  value_set_text(job, "name", "a.mp4");
  assert_int_equal(pipeline_params(p, NULL, "/", &params, &e), ERR_OK);
  assert_int_equal(pipeline_reach(p, params, job, note, &told, &e), ERR_OK);
  assert_string_equal(buf_string(&told), wanted);
  buf_free(&told);
  buf_free(&problems);
  value_free(&params);
  value_free(&job);
  pipeline_free(&p);
  report_free(&report);
  stage_set_unref(&set);
}

#define HEAD "stagemill: 1\nname: t\n"
#define MARK(image) "stages:\n  - { id: i, uses: probe }\n  - { id: m, uses: watermark, with: { image: \"" image "\" } }\n" \
                    "  - { id: s, uses: hls }\n"

static void files(void **state) {
  (void)state;
  reaches(HEAD MARK("/etc/passwd"), "file m.image /etc/passwd;");
  reaches(HEAD MARK("${{ job.input }}"), "file m.image /in/a.mp4;");
  reaches(HEAD MARK("/x/${{ job.id }}.png"), "file m.image /x/j1.png;");
  reaches(HEAD "params:\n  t: { type: text, default: /etc/shadow }\n" MARK("${{ params.t }}"), "file m.image /etc/shadow;");
  reaches(HEAD "params:\n  f: { type: file, default: /logo.png }\n" MARK("${{ params.f }}"),
          "file .f /logo.png;file m.image /logo.png;");
  reaches(HEAD "params:\n  f: { type: file, default: \"\" }\n" MARK("${{ params.f }}"), "");
}

static void what_only_the_run_knows(void **state) {
  (void)state;
  reaches(HEAD MARK("${{ stages.i.codec }}"), "unknown m.image ;");
  reaches(HEAD MARK("${{ stages.i.codec ?? '/safe.png' }}"), "unknown m.image ;");
  reaches(HEAD MARK("/a/${{ stages.i.codec }}.png"), "unknown m.image ;");
}

static void targets_and_secrets(void **state) {
  (void)state;
  reaches(HEAD "stages:\n  - { id: s, uses: hls }\n  - { id: u, uses: upload, with: { to: \"/srv/${{ job.name }}/\" } }\n",
          "target u.to /srv/a.mp4/;");
  reaches(HEAD "params:\n  k: { type: secret, default: secrets.KEY }\nstages:\n  - { id: s, uses: hls }\n"
               "  - { id: u, uses: upload, if: \"${{ secrets.FLAG == 'x' }}\", with: { to: \"s3://b/\", key: \"${{ secrets.OTHER }}\" } }\n",
          "secret .k KEY;secret u. FLAG;target u.to s3://b/;secret u.key OTHER;");
  reaches(HEAD "stages:\n  - { id: f, uses: fetch, with: { url: \"http://h/${{ secrets.T }}\" } }\n",
          "secret f.url T;unknown f.url ;");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(files), cmocka_unit_test(what_only_the_run_knows),
                                     cmocka_unit_test(targets_and_secrets)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
