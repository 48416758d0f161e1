/* What an attempt must not be able to do to its host: broken protocol, false outputs, lost zygotes, stray descriptors. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
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

/* ---- the protocol ---- */

static void every_broken_message_ends_the_attempt(void **state) {
  static const char *const lies[] = {"oversize", "magic", "type", "short", "size", "garbage", "descriptor", "early-bye",
                                     "other-stage", "twice", "go", "deep", "flood", "absolute", "dotdot", "control-name"};
  (void)state;
  for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
    struct story s = {0};
    struct order order = {.stage = "liar", .params = param_text("how", lies[i])};
    rig_run(&rig, &s, &order);
    /* A message the kernel refuses to carry never arrives: then there was no lie. */
    if (s.end != ATTEMPT_PROTOCOL && !(i == 0 && strstr(s.log_tail, "Message too long")))
      fail_msg("%s: %s: %s", lies[i], attempt_end_word(s.end), s.error.message);
    story_clear(&s);
  }
}

static void an_empty_packet_is_no_end_of_the_attempt(void **state) {
  struct story s = {0};
  struct order order = {.stage = "liar", .params = param_text("how", "empty")};
  (void)state;
  rig_run(&rig, &s, &order);
  assert_true(s.end == ATTEMPT_EXITED || s.end == ATTEMPT_PROTOCOL);
  story_clear(&s);
}

static void broken_promises_to_the_sdk_fail_with_their_sentence(void **state) {
  static const char *const lies[][2] = {
    {"metadata", "JSON object"},     {"media-type", "does not take"},  {"unknown-port", "not among its outputs"},
    {"unknown-result", "not in its table"}, {"wrong-kind", "another kind"}, {"no-result", "without its result"},
    {"second-output", "second artifact"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
    struct story s = {0};
    struct order order = {.stage = "liar", .params = param_text("how", lies[i][0])};
    rig_run(&rig, &s, &order);
    if (s.end != ATTEMPT_ENDED || s.verdict != VERDICT_FAIL || !strstr(s.message, lies[i][1]))
      fail_msg("%s: %s, %s, %s", lies[i][0], attempt_end_word(s.end), s.error.message, s.message);
    story_clear(&s);
  }
}

static void progress_is_clamped_and_never_runs_back(void **state) {
  static const char *const lies[] = {"backwards", "beyond"};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct story s = {0};
    struct order order = {.stage = "liar", .params = param_text("how", lies[i])};
    rig_run(&rig, &s, &order);
    assert_int_equal(s.verdict, VERDICT_OK);
    assert_true(s.lowest_step >= 0 && s.fraction <= 1 && s.fraction > 0.85);
    assert_true(s.item <= s.items);
    story_clear(&s);
  }
}

/* ---- descriptors and privileges ---- */

static bool is_allowed(const char *item) {
  int number = atoi(item);
  const char *target = strchr(item, ' ') + 1;
  if (number == 0) return strcmp(target, "/dev/null") == 0;
  if (number == 1 || number == 2) return strncmp(target, "pipe:", 5) == 0;
  if (number == 3) return strncmp(target, "socket:", 7) == 0;
  return number == 6 && strstr(target, "/input.txt");
}

static void check_fds(struct story *s) {
  const struct value *fds = value_get(s->results, "fds");
  assert_non_null(fds);
  assert_int_equal(fds->count, 5);
  for (size_t i = 0; i < fds->count; i++)
    if (!is_allowed(fds->items[i]->text)) fail_msg("descriptor %s is open in the attempt", fds->items[i]->text);
}

static void an_attempt_holds_its_own_descriptors_and_no_others(void **state) {
  struct story s = {0};
  struct order order = {.stage = "fds", .input_text = "input"};
  (void)state;
  /* As LMDB does: open without close-on-exec, before zygotes are started and after. */
  int stray = open("/etc/hostname", O_RDONLY), high = fcntl(stray, F_DUPFD, 700);
  rig_run(&rig, &s, &order);
  assert_int_equal(s.verdict, VERDICT_OK);
  check_fds(&s);
  assert_int_equal(value_get_int(s.results, "no_new_privs", 0), 1);
  assert_int_equal(value_get_int(s.results, "session", 0), 1);
  assert_int_equal(value_get_int(s.results, "core", 1), 0);
  assert_int_equal(value_get_int(s.results, "oom", 0), 800);
  story_clear(&s);
  close(stray);
  close(high);
}

static void the_environment_holds_no_secrets(void **state) {
  struct story s = {0};
  struct rig own;
  struct order order = {.stage = "fds"};
  (void)state;
  setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2", 1);
  setenv("STAGEMILL_AUTH_KEY", "hunter2hunter2", 1);
  rig_open(&own, NULL);
  rig_run(&own, &s, &order);
  const struct value *names = value_get(s.results, "environment");
  assert_non_null(names);
  for (size_t i = 0; i < names->count; i++)
    if (strstr(names->items[i]->text, "KEY")) fail_msg("%s is in the attempt's environment", names->items[i]->text);
  story_clear(&s);
  rig_close(&own);
}

static void not_root(void) {
  print_message("skipped: only root can give an attempt another user\n");
  skip();
}

static void started_as_root_it_takes_another_user(void **state) {
  struct story s = {0};
  struct rig own;
  struct order order = {.stage = "fds", .input_text = "input"};
  (void)state;
  if (geteuid() != 0) not_root();
  struct crew_options options = {.attempt_uid = 65534, .attempt_gid = 65534};
  rig_open(&own, &options);
  chmod(own.folder, 0755);
  rig_run(&own, &s, &order);
  if (s.verdict != VERDICT_OK) fail_msg("%s: %s %s", attempt_end_word(s.end), s.error.message, s.message);
  assert_int_equal(value_get_int(s.results, "uid", 0), 65534);
  assert_int_equal(value_get_int(s.results, "gid", 0), 65534);
  story_clear(&s);
  rig_close(&own);
}

static void another_user_still_reads_its_private_input(void **state) {
  struct story s = {0};
  struct rig own;
  struct order order = {.stage = "noop", .input_text = "private bytes", .params = param_text("text", "x")};
  (void)state;
  if (geteuid() != 0) {
    value_free(&order.params);
    not_root();
  }
  struct crew_options options = {.attempt_uid = 65534, .attempt_gid = 65534};
  mode_t before = umask(077); /* the input becomes 0600, its folder is 0700 */
  rig_open(&own, &options);
  chmod(own.folder, 0711);
  rig_run(&own, &s, &order);
  umask(before);
  assert_int_equal(value_get_int(s.results, "bytes", -1), 13);
  story_clear(&s);
  rig_close(&own);
}

/* ---- zygotes ---- */

/* The parent of the keeper of an attempt is its zygote. */
static int parent_of(int pid) {
  char path[64], line[256];
  int parent = -1;
  snprintf(path, sizeof(path), "/proc/%d/status", pid);
  FILE *f = fopen(path, "r");
  while (f && fgets(line, sizeof(line), f))
    if (sscanf(line, "PPid: %d", &parent) == 1) break;
  if (f) fclose(f);
  return parent;
}

static void kill_zygote(struct story *s) {
  int zygote = parent_of(parent_of(s->pid));
  assert_true(zygote > 1);
  kill(zygote, SIGKILL);
  s->on_started = NULL;
}

static void kill_keeper(struct story *s) {
  kill(parent_of(s->pid), SIGKILL);
  s->on_started = NULL;
}

static struct order slow_order(int64_t us) {
  struct order order = {.stage = "slow", .params = value_map()};
  value_map_set(order.params, "for", value_of(VALUE_DURATION, us, 0));
  return order;
}

static void a_dead_zygote_loses_its_attempts_and_the_next_one_runs(void **state) {
  struct story s = {.on_started = kill_zygote}, again = {0};
  struct order order = slow_order(30 * 1000000LL), good = {.stage = "noop", .params = param_text("text", "back")};
  (void)state;
  rig_run(&rig, &s, &order);
  if (s.end != ATTEMPT_LOST) fail_msg("%s: %s", attempt_end_word(s.end), s.error.message);
  assert_int_equal(kill(s.pid, 0), -1);
  rig_run(&rig, &again, &good);
  assert_int_equal(again.verdict, VERDICT_OK);
  story_clear(&s);
  story_clear(&again);
}

static void a_dead_keeper_loses_its_attempt_alone(void **state) {
  struct story s = {.on_started = kill_keeper}, other = {0};
  struct order order = slow_order(30 * 1000000LL), neighbour = slow_order(1000000LL);
  (void)state;
  rig_start(&rig, &other, &neighbour);
  rig_run(&rig, &s, &order);
  assert_int_equal(s.end, ATTEMPT_LOST);
  assert_int_equal(kill(s.pid, 0), -1);
  rig_await(&rig, &other, 5 * 1000 * 1000);
  assert_int_equal(other.verdict, VERDICT_OK);
  story_clear(&s);
  story_clear(&other);
}

static void grandchildren_die_with_their_zygote(void **state) {
  struct story s = {0};
  struct order order = {.stage = "fork", .params = param_text("how", "daemon")};
  (void)state;
  value_set_text(order.params, "name", "sm-stray");
  value_set_text(order.params, "then", "hang");
  value_set_int(order.params, "count", 4);
  rig_start(&rig, &s, &order);
  for (int i = 0; i < 100 && s.fraction < 0.4; i++) loop_turn(rig.loop, 50000);
  assert_true(process_exists_named("sm-stray"));
  kill_zygote(&s);
  rig_await(&rig, &s, 5 * 1000 * 1000);
  assert_int_equal(s.end, ATTEMPT_LOST);
  assert_false(process_exists_named("sm-stray"));
  story_clear(&s);
}

static void destroying_the_crew_ends_what_runs(void **state) {
  struct story s = {0};
  struct rig own;
  struct order order = slow_order(30 * 1000000LL);
  (void)state;
  rig_open(&own, NULL);
  rig_start(&own, &s, &order);
  while (!s.started) loop_turn(own.loop, 50000);
  rig_close(&own);
  assert_int_equal(kill(s.pid, 0), -1);
  assert_false(s.over);
  story_clear(&s);
}

/* An engine of its own in a child process, which says when daemons are on their way and then goes on for ever. */
static void be_an_engine(int tell) {
  struct rig own;
  struct story s = {0};
  struct order order = {.stage = "fork", .params = param_text("how", "daemon")};
  value_set_text(order.params, "name", "sm-engine-gone");
  value_set_text(order.params, "then", "hang");
  value_set_int(order.params, "count", 3);
  rig_open(&own, NULL);
  rig_start(&own, &s, &order);
  while (s.fraction < 0.4) loop_turn(own.loop, 50000);
  if (write(tell, own.folder, sizeof(own.folder)) < 0) _exit(1);
  for (;;) loop_turn(own.loop, 50000);
}

static void a_killed_engine_leaves_no_process_behind(void **state) {
  int ends[2];
  char left[128];
  (void)state;
  assert_int_equal(pipe(ends), 0);
  pid_t engine = fork();
  if (engine == 0) be_an_engine(ends[1]);
  assert_int_equal(read(ends[0], left, sizeof(left)), sizeof(left));
  assert_true(process_exists_named("sm-engine-gone"));
  kill(engine, SIGKILL);
  waitpid(engine, NULL, 0);
  for (int i = 0; i < 100 && process_exists_named("sm-engine-gone"); i++) usleep(20000);
  assert_false(process_exists_named("sm-engine-gone"));
  int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fs_remove_tree(root, fs_base_name(left), NULL);
  close(root);
  close(ends[0]);
  close(ends[1]);
}

static void many_attempts_run_side_by_side(void **state) {
  enum { MANY = 24 };
  static struct story stories[MANY];
  (void)state;
  for (int i = 0; i < MANY; i++) {
    struct order order = slow_order(300 * 1000);
    rig_start(&rig, &stories[i], &order);
  }
  for (int i = 0; i < MANY; i++) {
    if (!stories[i].over) rig_await(&rig, &stories[i], 20 * 1000 * 1000);
    assert_int_equal(stories[i].verdict, VERDICT_OK);
    assert_int_equal(stories[i].endings, 1);
    story_clear(&stories[i]);
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--ordinary") == 0) rig_become_ordinary();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_broken_message_ends_the_attempt),
    cmocka_unit_test(an_empty_packet_is_no_end_of_the_attempt),
    cmocka_unit_test(broken_promises_to_the_sdk_fail_with_their_sentence),
    cmocka_unit_test(progress_is_clamped_and_never_runs_back),
    cmocka_unit_test(an_attempt_holds_its_own_descriptors_and_no_others),
    cmocka_unit_test(the_environment_holds_no_secrets),
    cmocka_unit_test(started_as_root_it_takes_another_user),
    cmocka_unit_test(another_user_still_reads_its_private_input),
    cmocka_unit_test(a_dead_zygote_loses_its_attempts_and_the_next_one_runs),
    cmocka_unit_test(a_dead_keeper_loses_its_attempt_alone),
    cmocka_unit_test(grandchildren_die_with_their_zygote),
    cmocka_unit_test(destroying_the_crew_ends_what_runs),
    cmocka_unit_test(a_killed_engine_leaves_no_process_behind),
    cmocka_unit_test(many_attempts_run_side_by_side),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
