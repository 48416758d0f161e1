/* Counting: from many threads, within bounds, and told so that Prometheus' own checker is content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/metric.h"

static void a_name_is_made_once(void **state) {
  (void)state;
  struct metric *m = metric_counter("test_once_total", "once", "a,b");
  assert_ptr_equal(m, metric_counter("test_once_total", "again", "a,b"));
  metric_add(m, 2, "x", "y");
  metric_add(m, 1, "x", "y");
  metric_add(m, 1, "x", NULL);
  metric_add(m, -5, "x", "y"); /* a counter never falls */
  assert_true(metric_value(m, "x", "y") == 3);
  assert_true(metric_value(m, "x", "") == 1);
  assert_true(metric_value(m, "y", "x") == 0);
}

enum { THREADS = 4, ROUNDS = 20000 };
static struct metric *shared_counter, *shared_histogram;

static void *count_much(void *own) {
  static const char *const words[] = {"one", "two", "three", "four", "five"};
  for (int i = 0; i < ROUNDS; i++) {
    metric_add(shared_counter, 1, words[i % 5]);
    metric_observe(shared_histogram, 0.5 * (i % 4));
    if (i % 1000 == 0) {
      struct buf buf_auto page = {0};
      metric_render(&page);
    }
  }
  return own;
}

static void threads_lose_nothing(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  const double bounds[] = {0, 0.5, 1};
  shared_counter = metric_counter("test_shared_total", "shared", "word");
  shared_histogram = metric_histogram("test_shared_seconds", "shared", NULL, bounds, 3);
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, count_much, NULL);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  assert_true(metric_value(shared_counter, "one") == THREADS * ROUNDS / 5);
  assert_true(metric_value(shared_histogram) == THREADS * ROUNDS);
  struct buf buf_auto page = {0};
  metric_render(&page);
  assert_non_null(strstr(page.data, "test_shared_seconds_bucket{le=\"0.5\"} 40000\n"));
  assert_non_null(strstr(page.data, "test_shared_seconds_bucket{le=\"+Inf\"} 80000\n"));
  assert_non_null(strstr(page.data, "test_shared_seconds_sum 60000\n"));
  assert_non_null(strstr(page.data, "test_shared_seconds_count 80000\n"));
}

static void labels_are_bounded(void **state) {
  (void)state;
  struct metric *m = metric_gauge("test_bounded", "bounded", "name");
  for (int i = 0; i < 1000; i++) {
    mem_auto char *name = mem_format("n%d", i);
    metric_add(m, 1, name);
  }
  assert_true(metric_value(m, "n0") == 1);
  struct buf buf_auto page = {0};
  metric_render(&page);
  int lines = 0;
  for (const char *at = page.data; (at = strstr(at, "\ntest_bounded{")); at++) lines++;
  assert_int_equal(lines, METRIC_CHILDREN_MAX + 1);
  assert_non_null(strstr(page.data, "test_bounded{name=\"other\"} 800\n"));
}

static void hostile_labels_spoil_no_line(void **state) {
  (void)state;
  struct metric *m = metric_counter("test_hostile_total", "has \\ and\nlines", "name");
  mem_auto char *giant = mem_alloc(100000);
  memset(giant, 'x', 99999);
  metric_add(m, 1, "a\"b\\c\nd");
  metric_add(m, 1, "\xff\xfe");
  metric_add(m, 1, giant);
  metric_add(m, 1, "größer");
  struct buf buf_auto page = {0};
  metric_render(&page);
  assert_non_null(strstr(page.data, "{name=\"a\\\"b\\\\c\\nd\"} 1\n"));
  assert_non_null(strstr(page.data, "{name=\"größer\"} 1\n"));
  assert_non_null(strstr(page.data, "{name=\"invalid\"} 1\n"));
  assert_null(strstr(page.data, "\xff"));
  for (char *line = strtok(page.data, "\n"); line; line = strtok(NULL, "\n")) assert_true(strlen(line) < 300);
}

/* promtool reads the page on its standard input; exit 0 and silence mean that it found nothing. */
static void promtool_accepts_the_page(void **state) {
  (void)state;
  if (system("command -v promtool >/dev/null 2>&1") != 0) {
    print_message("skipped: promtool is not installed (package prometheus)\n");
    skip();
  }
  metric_observe(metric_histogram("test_stage_duration_seconds", "how long a stage took", "stage", NULL, 0), 2, "a");
  metric_set(metric_gauge("test_temperature_celsius", "a gauge below zero", NULL), -1.5);
  metric_refresh_process();
  struct buf buf_auto page = {0};
  metric_render(&page);
  assert_non_null(strstr(page.data, "\nprocess_resident_memory_bytes "));
  assert_non_null(strstr(page.data, "\nprocess_start_time_seconds "));
  char path[] = "/tmp/stagemill-metric-XXXXXX";
  int fd = mkstemp(path);
  assert_int_equal(write(fd, page.data, page.size), (ssize_t)page.size);
  mem_auto char *command = mem_format("promtool check metrics < %s 2>&1", path);
  FILE *f = popen(command, "re");
  char said[2000] = "";
  size_t size = fread(said, 1, sizeof(said) - 1, f);
  int status = pclose(f);
  close(fd);
  unlink(path);
  if (status != 0 || size) fail_msg("promtool: %s", said);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_name_is_made_once),       cmocka_unit_test(threads_lose_nothing),
      cmocka_unit_test(labels_are_bounded),        cmocka_unit_test(hostile_labels_spoil_no_line),
      cmocka_unit_test(promtool_accepts_the_page),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
