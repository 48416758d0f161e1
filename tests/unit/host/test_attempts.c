/* Attempts of a real crew: how each kind of stage ends, and what is told of it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "rig.h"

static struct rig rig;

static int set_up(void **state) {
  struct crew_options options = {.cancel_grace_us = 400 * 1000, .term_grace_us = 300 * 1000, .attempt_uid = -1, .attempt_gid = -1};
  (void)state;
  rig_open(&rig, &options);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  rig_close(&rig);
  return 0;
}

static void a_good_stage_ends_with_results_outputs_and_figures(void **state) {
  struct story s = {0};
  struct order order = {.stage = "noop", .params = param_text("text", "hello"), .input_text = "twelve bytes"};
  (void)state;
  value_set_int(order.params, "n", 42);
  rig_run(&rig, &s, &order);
  if (s.end != ATTEMPT_ENDED) fail_msg("%s: %s", attempt_end_word(s.end), s.error.message);
  assert_int_equal(s.verdict, VERDICT_OK);
  assert_string_equal(value_get_text(s.results, "text", ""), "hello");
  assert_int_equal(value_get_int(s.results, "n", 0), 42);
  assert_int_equal(value_get_int(s.results, "inputs", 0), 1);
  assert_int_equal(value_get_int(s.results, "bytes", 0), 12);
  assert_int_equal(s.outputs->count, 1);
  assert_string_equal(value_get_text(s.outputs->items[0], "name", ""), "text.txt");
  assert_string_equal(value_get_text(s.outputs->items[0], "type", ""), "text/plain");
  assert_string_equal(value_get_text(value_get(s.outputs->items[0], "meta"), "from", ""), "noop");
  assert_true(s.started && s.pid > 1);
  assert_int_equal(s.logs, 1);
  assert_true(s.max_rss_bytes > 0);
  story_clear(&s);
}

static void a_flaky_stage_says_retry_with_its_sentence_until_it_succeeds(void **state) {
  (void)state;
  for (uint32_t attempt = 1; attempt <= 3; attempt++) {
    struct story s = {0};
    struct order order = {.stage = "flaky", .params = param_text("say", "no luck"), .attempt = attempt};
    value_set_int(order.params, "failures", 2);
    rig_run(&rig, &s, &order);
    assert_int_equal(s.end, ATTEMPT_ENDED);
    assert_int_equal(s.verdict, attempt <= 2 ? VERDICT_RETRY : VERDICT_OK);
    assert_string_equal(s.message, attempt <= 2 ? "no luck" : "");
    story_clear(&s);
  }
}

static void every_other_return_is_a_failure_with_a_sentence(void **state) {
  static const char *const ways[] = {"fail", "cancelled", "unsupported", "nonsense"};
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    struct story s = {0};
    struct order order = {.stage = "flaky", .params = param_text("verdict", ways[i])};
    value_set_int(order.params, "failures", 2);
    rig_run(&rig, &s, &order);
    assert_int_equal(s.end, ATTEMPT_ENDED);
    assert_int_equal(s.verdict, VERDICT_FAIL);
    assert_true(i == 0 || strlen(s.message) > 20);
    story_clear(&s);
  }
}

static void a_checkpoint_reaches_the_next_attempt(void **state) {
  struct story s = {0};
  struct order order = {.stage = "flaky", .params = param_text("count-by", "checkpoint"), .checkpoints = param_text("tries", "2")};
  (void)state;
  value_set_int(order.params, "failures", 2);
  rig_run(&rig, &s, &order);
  assert_int_equal(s.verdict, VERDICT_OK);
  assert_string_equal(value_get_text(s.checkpoints, "tries", ""), "3");
  story_clear(&s);
}

struct crash_case {
  const char *how;
  enum attempt_end end;
  int signal, exit_code;
};

/* The leak check at exit() fails where /proc is that of another PID namespace, as it is for attempts in containers. */
#ifdef __SANITIZE_ADDRESS__
enum { EXIT_CODE_CAN_CHANGE = 1 };
#else
enum { EXIT_CODE_CAN_CHANGE = 0 };
#endif

static void every_crash_is_named_with_its_suspect(void **state) {
  static const struct crash_case cases[] = {
    {"segv", ATTEMPT_CRASHED, SIGSEGV, 0}, {"abort", ATTEMPT_CRASHED, SIGABRT, 0}, {"fpe", ATTEMPT_CRASHED, SIGFPE, 0},
    {"bus", ATTEMPT_CRASHED, SIGBUS, 0},   {"kill", ATTEMPT_CRASHED, SIGKILL, 0},  {"thread", ATTEMPT_CRASHED, SIGSEGV, 0},
    {"stack", ATTEMPT_CRASHED, SIGSEGV, 0}, {"exit", ATTEMPT_EXITED, 0, 7},        {"exit-zero", ATTEMPT_EXITED, 0, 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct story s = {0};
    struct order order = {.stage = "crash", .params = param_text("how", cases[i].how)};
    value_set_int(order.params, "until-attempt", 1000);
    rig_run(&rig, &s, &order);
    if (s.end != cases[i].end) fail_msg("%s: %s (%s)", cases[i].how, attempt_end_word(s.end), s.error.message);
    assert_int_equal(s.signal, cases[i].signal);
    if (cases[i].exit_code || !EXIT_CODE_CAN_CHANGE) assert_int_equal(s.exit_code, cases[i].exit_code);
    assert_int_equal(s.verdict, VERDICT_NONE);
    if (s.signal) assert_int_equal(s.suspect, 0);
    assert_non_null(strstr(s.error.message, "`it`"));
    assert_non_null(strstr(s.log_tail, "last words"));
    if (strcmp(cases[i].how, "segv") == 0) assert_non_null(strstr(s.error.debug, "crash.so+0x"));
    story_clear(&s);
  }
}

static void a_silent_stage_stalls(void **state) {
  struct story s = {0};
  struct order order = {.stage = "hang", .params = value_map(), .stall_us = 600 * 1000};
  (void)state;
  value_set_int(order.params, "until-attempt", 1000);
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_STALLED);
  assert_in_range(s.wall_us, 500 * 1000, 5000 * 1000);
  story_clear(&s);
}

static struct value *slow_params(int64_t us, const char *flag) {
  struct value *params = value_map();
  value_map_set(params, "for", value_of(VALUE_DURATION, us, 0));
  if (flag) value_set_bool(params, flag, true);
  return params;
}

static void progress_is_no_stall(void **state) {
  struct story s = {0};
  struct order order = {.stage = "slow", .params = slow_params(2500 * 1000, NULL), .stall_us = 1500 * 1000};
  (void)state;
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_ENDED);
  assert_int_equal(s.verdict, VERDICT_OK);
  assert_in_range(s.progress_calls, 5, 30);
  assert_true(s.lowest_step >= 0);
  assert_true(s.items == 100 && s.item > 50);
  assert_in_range(s.titles, 1, 30);
  story_clear(&s);
}

static void a_time_out_ends_what_takes_too_long(void **state) {
  struct story s = {0};
  struct order order = {.stage = "slow", .params = slow_params(60 * 1000000LL, NULL), .timeout_us = 500 * 1000};
  (void)state;
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_TIMED_OUT);
  assert_in_range(s.wall_us, 200 * 1000, 3000 * 1000);
  assert_int_equal(s.verdict, VERDICT_CANCELLED);
  story_clear(&s);
}

static void cancel_at_first_progress(struct story *s) {
  if (s->attempt) attempt_cancel(s->attempt, false);
  s->on_progress = NULL;
}

static void kill_at_first_progress(struct story *s) {
  attempt_cancel(s->attempt, true);
  s->on_progress = NULL;
}

static void a_cancelled_stage_may_stop_by_itself(void **state) {
  struct story s = {.on_progress = cancel_at_first_progress};
  struct order order = {.stage = "slow", .params = slow_params(60 * 1000000LL, NULL)};
  (void)state;
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_CANCELLED);
  assert_int_equal(s.verdict, VERDICT_CANCELLED);
  assert_int_equal(s.signal, 0);
  story_clear(&s);
}

static void a_deaf_stage_gets_sigterm(void **state) {
  struct story s = {.on_progress = cancel_at_first_progress};
  struct order order = {.stage = "slow", .params = slow_params(60 * 1000000LL, "deaf")};
  (void)state;
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_CANCELLED);
  assert_int_equal(s.signal, SIGTERM);
  assert_in_range(s.wall_us, 400 * 1000, 3000 * 1000);
  story_clear(&s);
}

static void a_stubborn_stage_gets_sigkill(void **state) {
  struct story s = {.on_progress = cancel_at_first_progress};
  struct order order = {.stage = "slow", .params = slow_params(60 * 1000000LL, "deaf")};
  (void)state;
  value_set_bool(order.params, "stubborn", true);
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_CANCELLED);
  assert_int_equal(s.signal, SIGKILL);
  assert_in_range(s.wall_us, 700 * 1000, 4000 * 1000);
  story_clear(&s);
}

static void kill_now_skips_the_ladder(void **state) {
  struct story s = {.on_progress = kill_at_first_progress};
  struct order order = {.stage = "slow", .params = slow_params(60 * 1000000LL, "deaf")};
  (void)state;
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_CANCELLED);
  assert_int_equal(s.signal, SIGKILL);
  story_clear(&s);
}

static void cancel_before_the_start_still_ends_once(void **state) {
  struct story s = {0};
  struct order order = {.stage = "slow", .params = slow_params(60 * 1000000LL, NULL)};
  (void)state;
  rig_start(&rig, &s, &order);
  attempt_cancel(s.attempt, false);
  assert_false(s.over);
  rig_await(&rig, &s, 3 * 1000 * 1000);
  assert_int_equal(s.end, ATTEMPT_CANCELLED);
  story_clear(&s);
}

static void a_leak_ends_at_its_memory_limit(void **state) {
  struct story s = {0};
  struct order order = {.stage = "leak", .params = value_map(), .memory_bytes = 96 << 20};
  (void)state;
  value_map_set(order.params, "step", value_of(VALUE_SIZE, 4 << 20, 0));
  value_map_set(order.params, "pause", value_of(VALUE_DURATION, 5000, 0));
  rig_run(&rig, &s, &order);
  if (s.end != ATTEMPT_MEMORY) fail_msg("%s: %s", attempt_end_word(s.end), s.error.message);
  assert_non_null(strstr(s.error.message, "96 MiB"));
  assert_true(s.max_rss_bytes < (int64_t)400 << 20);
  story_clear(&s);
}

static void scratch_has_a_quota(void **state) {
  struct story s = {0};
  struct order order = {.stage = "fill-disk", .params = param_text("where", "scratch"), .scratch_quota_bytes = 8 << 20};
  (void)state;
  value_map_set(order.params, "step", value_of(VALUE_SIZE, 1 << 20, 0));
  value_map_set(order.params, "most", value_of(VALUE_SIZE, 1 << 30, 0));
  value_map_set(order.params, "pause", value_of(VALUE_DURATION, 20000, 0));
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_QUOTA);
  story_clear(&s);
}

static void one_file_beyond_the_quota_is_refused_to_the_stage(void **state) {
  struct story s = {0};
  struct order order = {.stage = "fill-disk", .params = param_text("how", "one-file"), .scratch_quota_bytes = 4 << 20};
  (void)state;
  value_map_set(order.params, "step", value_of(VALUE_SIZE, 1 << 20, 0));
  value_map_set(order.params, "most", value_of(VALUE_SIZE, 1 << 30, 0));
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_ENDED);
  assert_int_equal(s.verdict, VERDICT_FAIL);
  assert_non_null(strstr(s.message, "no room"));
  story_clear(&s);
}

static void a_plugin_with_threads_runs_fresh(void **state) {
  struct story s = {0};
  struct order order = {.stage = "threads"};
  (void)state;
  const struct stage_type *type = stage_set_find(catalogue_stages(rig.catalogue), "threads");
  assert_true(catalogue_find(rig.catalogue, type->plugin_path)->threads > 1);
  for (int i = 0; i < 5; i++) {
    rig_run(&rig, &s, &order);
    if (s.end != ATTEMPT_ENDED) fail_msg("%s: %s", attempt_end_word(s.end), s.error.message);
    assert_true(value_get_bool(s.results, "alive", false));
    story_clear(&s);
    s = (struct story){0};
  }
}

static void nothing_an_attempt_started_outlives_it(void **state) {
  static const char *const hows[] = {"plain", "daemon", "chain"};
  static const char *const thens[] = {"ok", "crash", "hang"};
  (void)state;
  for (int i = 0; i < 9; i++) {
    struct story s = {.on_progress = i % 3 == 2 ? kill_at_first_progress : NULL};
    struct order order = {.stage = "fork", .params = param_text("how", hows[i / 3])};
    value_set_int(order.params, "count", 3);
    value_set_text(order.params, "name", "sm-left-behind");
    value_set_text(order.params, "then", thens[i % 3]);
    rig_run(&rig, &s, &order);
    static const enum attempt_end ends[] = {ATTEMPT_ENDED, ATTEMPT_CRASHED, ATTEMPT_CANCELLED};
    if (s.end != ends[i % 3]) fail_msg("%s, %s: %s: %s", hows[i / 3], thens[i % 3], attempt_end_word(s.end), s.error.message);
    assert_false(process_exists_named("sm-left-behind"));
    story_clear(&s);
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--ordinary") == 0) rig_become_ordinary();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_good_stage_ends_with_results_outputs_and_figures),
    cmocka_unit_test(a_flaky_stage_says_retry_with_its_sentence_until_it_succeeds),
    cmocka_unit_test(every_other_return_is_a_failure_with_a_sentence),
    cmocka_unit_test(a_checkpoint_reaches_the_next_attempt),
    cmocka_unit_test(every_crash_is_named_with_its_suspect),
    cmocka_unit_test(a_silent_stage_stalls),
    cmocka_unit_test(progress_is_no_stall),
    cmocka_unit_test(a_time_out_ends_what_takes_too_long),
    cmocka_unit_test(a_cancelled_stage_may_stop_by_itself),
    cmocka_unit_test(a_deaf_stage_gets_sigterm),
    cmocka_unit_test(a_stubborn_stage_gets_sigkill),
    cmocka_unit_test(kill_now_skips_the_ladder),
    cmocka_unit_test(cancel_before_the_start_still_ends_once),
    cmocka_unit_test(a_leak_ends_at_its_memory_limit),
    cmocka_unit_test(scratch_has_a_quota),
    cmocka_unit_test(one_file_beyond_the_quota_is_refused_to_the_stage),
    cmocka_unit_test(a_plugin_with_threads_runs_fresh),
    cmocka_unit_test(nothing_an_attempt_started_outlives_it),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
