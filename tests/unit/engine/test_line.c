/* The waiting line alone: order, turn about between owners, places. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "engine/line.h"

static struct line *line;

static int set_up(void **state) {
  (void)state;
  line = line_new();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  line_free(&line);
  return 0;
}

static void add(const char *id, const char *owner, int priority) {
  struct line_entry entry = {.owner = line_digest(owner)};
  snprintf(entry.id, sizeof entry.id, "%s", id);
  line_add(line, &entry, priority);
}

static bool all(void *context, const struct line_entry *entry) {
  (void)entry;
  return context == NULL || strcmp(context, entry->id) != 0;
}

static void next_is(const char *id) {
  char got[32] = "";
  if (!id) {
    assert_false(line_next(line, all, NULL, got));
    return;
  }
  assert_true(line_next(line, all, NULL, got));
  assert_string_equal(got, id);
}

static void test_priority_comes_first_then_age(void **state) {
  (void)state;
  add("b", NULL, 50);
  add("c", NULL, 75);
  add("a", NULL, 50);
  add("d", NULL, 1000);
  assert_int_equal(line_position(line, "d", 1000), 1);
  assert_int_equal(line_position(line, "c", 75), 2);
  assert_int_equal(line_position(line, "a", 50), 3);
  assert_int_equal(line_position(line, "b", 50), 4);
  assert_int_equal(line_position(line, "z", 50), 0);
  assert_int_equal(line_before(line, 50), 4);
  assert_int_equal(line_before(line, 60), 2);
  next_is("d");
  next_is("c");
  next_is("a");
  next_is("b");
  next_is(NULL);
}

static void test_owners_take_turns_within_a_priority(void **state) {
  (void)state;
  char id[32];
  for (int i = 0; i < 100; i++) {
    snprintf(id, sizeof id, "a%03d", i);
    add(id, "anna", 50);
  }
  add("b000", "ben", 50);
  add("b001", "ben", 50);
  add("c000", "cleo", 25);
  next_is("a000");
  next_is("b000");
  next_is("a001");
  next_is("b001");
  next_is("a002");
  next_is("a003");
  assert_int_equal(line_count(line), 97);
}

static void test_who_may_not_pass_stands_in_nobodys_way(void **state) {
  (void)state;
  char got[32];
  add("a", NULL, 50);
  add("b", NULL, 50);
  assert_true(line_next(line, all, (void *)(uintptr_t)"a", got));
  assert_string_equal(got, "b");
  assert_false(line_next(line, all, (void *)(uintptr_t)"a", got));
  next_is("a");
}

static void test_a_new_priority_is_a_new_place(void **state) {
  (void)state;
  add("a", NULL, 50);
  add("b", NULL, 50);
  add("b", NULL, 90);
  assert_int_equal(line_count(line), 2);
  next_is("b");
  assert_true(line_remove(line, "a"));
  assert_false(line_remove(line, "a"));
  next_is(NULL);
}

static void test_tens_of_thousands_wait_at_no_cost(void **state) {
  (void)state;
  struct timespec begin, end;
  char id[32], got[32];
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  for (int i = 0; i < 30000; i++) {
    snprintf(id, sizeof id, "job%08d", i);
    add(id, i % 3 ? "anna" : "ben", 50);
  }
  for (int i = 0; i < 1000; i++) assert_true(line_next(line, all, NULL, got));
  assert_int_equal(line_position(line, "job00029999", 50), 29000);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  assert_true(end.tv_sec - begin.tv_sec < 10); /* a tenth of a second; minutes when something is quadratic */
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
  const struct CMUnitTest tests[] = {T(test_priority_comes_first_then_age), T(test_owners_take_turns_within_a_priority),
                                     T(test_who_may_not_pass_stands_in_nobodys_way), T(test_a_new_priority_is_a_new_place),
                                     T(test_tens_of_thousands_wait_at_no_cost)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
