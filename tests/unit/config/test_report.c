/* Reports: order, carets, nearest words, and nothing in them that a terminal would obey. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/report.h"

#define ADD(r, line, column, length, source, hint, ...)                                                                \
  report_add(r, PROBLEM_ERROR, "f.yaml", line, column, length, source, hint, __VA_ARGS__)

static void a_caret_stands_under_the_place_tabs_and_umlauts_included(void **state) {
  (void)state;
  struct report *r = report_new();
  buf_auto struct buf out = {0};
  ADD(r, 2, 6, 3, "\tgröß: abc", "did you mean `x`?\nvalid: x, y", "wrong %d", 5);
  ADD(r, 1, 1, 1, "first", NULL, "earlier");
  report_text(r, &out, false);
  assert_string_equal(buf_string(&out), "f.yaml:1:1: error: earlier\n    1 | first\n      | ^\n"
                                        "f.yaml:2:6: error: wrong 5\n    2 | \tgröß: abc\n      | \t    ^~~\n"
                                        "      = did you mean `x`?\n      = valid: x, y\n");
  report_free(&r);
}

static void the_same_problem_is_told_once(void **state) {
  (void)state;
  struct report *r = report_new();
  for (int i = 0; i < 3; i++) ADD(r, 1, 1, 1, "x", NULL, "same");
  ADD(r, 1, 1, 1, "x", NULL, "other");
  assert_int_equal(report_count(r), 2);
  assert_int_equal(report_errors(r), 2);
  report_free(&r);
}

static void a_hundred_are_kept_and_the_rest_counted(void **state) {
  (void)state;
  struct report *r = report_new();
  buf_auto struct buf out = {0};
  for (size_t i = 1; i <= 130; i++) ADD(r, i, 1, 1, NULL, NULL, "p%zu", i);
  assert_int_equal(report_count(r), 100);
  assert_int_equal(report_errors(r), 130);
  report_text(r, &out, false);
  assert_non_null(strstr(buf_string(&out), "and 30 more"));
  report_free(&r);
}

static void control_characters_do_not_reach_the_terminal(void **state) {
  (void)state;
  struct report *r = report_new();
  buf_auto struct buf out = {0};
  ADD(r, 1, 1, 1,
      "\033[2Jx \xc2\x9b"
      "31m \xff",
      "h\033", "m\033]0;t\007 \n\x7f");
  report_text(r, &out, false);
  for (const char *s = buf_string(&out); *s; s++) assert_true(*s == '\n' || (unsigned char)*s >= 0x20);
  assert_null(strstr(buf_string(&out), "\xc2\x9b"));
  assert_null(strchr(buf_string(&out), 0x7f));
  report_free(&r);
}

static void long_lines_are_shown_around_the_place(void **state) {
  (void)state;
  struct report *r = report_new();
  char line[1001];
  memset(line, 'a', 1000);
  line[1000] = 0;
  line[499] = 'X';
  ADD(r, 1, 500, 1, line, NULL, "here");
  const struct problem *p = report_at(r, 0);
  assert_true(strlen(p->source) <= 200);
  assert_int_equal(p->source[500 - p->source_column], 'X');
  report_free(&r);
}

static void json_has_every_part(void **state) {
  (void)state;
  struct report *r = report_new();
  buf_auto struct buf out = {0};
  report_add(r, PROBLEM_WARNING, "f", 1, 2, 3, "s", "h", "m");
  report_json(r, &out);
  assert_string_equal(buf_string(&out), "[{\"level\":\"warning\",\"file\":\"f\",\"line\":1,\"column\":2,\"length\":3,"
                                        "\"message\":\"m\",\"hint\":\"h\",\"source\":\"s\"}]");
  assert_int_equal(report_errors(r), 0);
  report_free(&r);
}

static void the_nearest_word_is_near(void **state) {
  (void)state;
  static const char *const words[] = {"segment", "continue-on-error", "needs", "hls", "if", "thumbnail"};
  static const char *const table[][2] = {{"segmnt", "segment"},
                                         {"sgement", "segment"},
                                         {"continue_on_error", "continue-on-error"},
                                         {"Needs", "needs"},
                                         {"hsl", "hls"},
                                         {"fi", NULL},
                                         {"zebra", NULL},
                                         {"", NULL},
                                         {"IF", "if"},
                                         {"thumbnial", "thumbnail"}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    const char *near = report_nearest(table[i][0], words, sizeof words / sizeof *words);
    if (table[i][1])
      assert_string_equal(near, table[i][1]);
    else
      assert_null(near);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_caret_stands_under_the_place_tabs_and_umlauts_included),
      cmocka_unit_test(the_same_problem_is_told_once),
      cmocka_unit_test(a_hundred_are_kept_and_the_rest_counted),
      cmocka_unit_test(control_characters_do_not_reach_the_terminal),
      cmocka_unit_test(long_lines_are_shown_around_the_place),
      cmocka_unit_test(json_has_every_part),
      cmocka_unit_test(the_nearest_word_is_near),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
