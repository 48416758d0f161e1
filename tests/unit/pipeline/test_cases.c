/* Golden reports: every cases/NAME.yaml gives exactly the report in cases/NAME.expected (none: the file is fine).
 * UPDATE_CASES=1 writes what came out; read the difference before committing it. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/pipeline.h"
#include "stages.h"

static int compare(const char *name, struct stage_set *set) {
  mem_auto char *expected_path = mem_format("%.*s.expected", (int)(strlen(name) - 5), name);
  buf_auto struct buf expected = {0}, text = {0};
  struct report *report = report_new();
  struct pipeline *p = NULL;
  struct error e = {0};
  bool update = getenv("UPDATE_CASES") != NULL;
  enum err err = pipeline_load(name, set, report, &p, &e);
  report_text(report, &text, false);
  if (access(expected_path, R_OK) == 0) assert_int_equal(fs_read_file(expected_path, 1 << 20, &expected, &e), ERR_OK);
  bool same = strcmp(buf_string(&expected), buf_string(&text)) == 0;
  if (!same) print_message("---- %s: expected\n%s---- got\n%s----\n", name, buf_string(&expected), buf_string(&text));
  if (!same && update && text.size)
    assert_int_equal(fs_write_durably(expected_path, text.data, text.size, 0644, &e), ERR_OK);
  if (!same && update && !text.size) unlink(expected_path);
  bool agree = (err == ERR_OK) == (report_errors(report) == 0) && (p != NULL) == (err == ERR_OK);
  if (!agree) print_message("%s: answer %s does not agree with its report\n", name, err_word(err));
  pipeline_free(&p);
  report_free(&report);
  return (same || update) && agree ? 0 : 1;
}

static int is_case(const struct dirent *entry) {
  size_t n = strlen(entry->d_name);
  return n > 5 && strcmp(entry->d_name + n - 5, ".yaml") == 0;
}

static void every_case_gives_its_report(void **state) {
  (void)state;
  struct dirent **names;
  struct stage_set *set = test_stages();
  int n = scandir(".", &names, is_case, alphasort), failed = 0;
  assert_true(n > 40);
  for (int i = 0; i < n; i++) {
    failed += compare(names[i]->d_name, set);
    free(names[i]);
  }
  free(names);
  stage_set_unref(&set);
  assert_int_equal(failed, 0);
}

int main(void) {
  if (chdir(CASES) != 0) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_case_gives_its_report)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
