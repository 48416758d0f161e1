/* pipelines/README.md is the reference: its examples pass `check`, its expressions give what it says, and it names
 * every key that the tables know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "config/literal.h"
#include "pipeline/keys.h"
#include "pipeline/pipeline.h"
#include "stages.h"

static struct buf readme;

/* The next fenced block of a language behind *at; owned text or NULL. */
static char *next_block(const char **at, const char *language) {
  mem_auto char *fence = mem_format("\n```%s\n", language);
  const char *begin = strstr(*at, fence);
  if (!begin) return NULL;
  begin += strlen(fence);
  const char *end = strstr(begin, "\n```");
  assert_non_null(end);
  *at = end;
  return mem_text_n(begin, (size_t)(end + 1 - begin));
}

static void every_yaml_example_is_a_good_pipeline(void **state) {
  (void)state;
  struct stage_set *set = test_stages();
  const char *at = readme.data;
  unsigned count = 0;
  for (char *block; (block = next_block(&at, "yaml")); free(block), count++) {
    struct report *report = report_new();
    struct pipeline *p = NULL;
    buf_auto struct buf out = {0};
    pipeline_parse(block, strlen(block), "README.md", PIPELINES, set, report, &p, NULL);
    report_text(report, &out, false);
    assert_string_equal(buf_string(&out), "");
    pipeline_free(&p);
    report_free(&report);
  }
  stage_set_unref(&set);
  assert_true(count >= 3);
}

static void every_expression_gives_what_is_written_beside_it(void **state) {
  (void)state;
  const char *at = readme.data;
  mem_auto char *block = next_block(&at, "expr");
  const struct scope scope = {0};
  unsigned count = 0;
  assert_non_null(block);
  for (char *save = NULL, *line = strtok_r(block, "\n", &save); line; line = strtok_r(NULL, "\n", &save), count++) {
    char *arrow = strstr(line, " ->");
    struct expr *x = NULL;
    struct expr_problem problem;
    value_auto struct value *v = NULL;
    buf_auto struct buf text = {0};
    assert_non_null(arrow);
    *arrow = 0;
    assert_int_equal(expr_parse(line, &x, &problem), ERR_OK);
    assert_int_equal(expr_eval(x, &scope, &v, NULL), ERR_OK);
    assert_true(literal_text(v, &text));
    assert_string_equal(buf_string(&text), arrow[3] ? arrow + 4 : "");
    expr_free(&x);
  }
  assert_true(count > 15);
}

static void every_key_is_in_the_reference(void **state) {
  (void)state;
  const struct rule *const tables[] = {keys_pipeline,    keys_include, keys_defaults, keys_retry,
                                       keys_concurrency, keys_param,   keys_stage};
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
    for (const struct rule *row = tables[t]; row->key; row++) {
      mem_auto char *marked = mem_format("`%s`", row->key), *inside = mem_format("%s:", row->key);
      if (!strstr(readme.data, marked) && !strstr(readme.data, inside)) fail_msg("`%s` is not described", row->key);
      assert_non_null(row->summary);
    }
}

static int set_up(void **state) {
  (void)state;
  return fs_read_file(PIPELINES "/README.md", 1 << 20, &readme, NULL) == ERR_OK ? 0 : 1;
}

static int tear_down(void **state) {
  (void)state;
  buf_free(&readme);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_yaml_example_is_a_good_pipeline),
                                     cmocka_unit_test(every_expression_gives_what_is_written_beside_it),
                                     cmocka_unit_test(every_key_is_in_the_reference)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
