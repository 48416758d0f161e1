/* The owner's door under clients that are wrong, loud, slow or gone. Engine, store and sockets are real. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench.h"
#include "engine/door.h"
#include "events/envelope.h"

static struct bench bench;
static struct door *door;

static int set_up(void **state) {
  (void)state;
  struct error e;
  bench_open(&bench);
  assert_int_equal(door_open(&door, bench.engine, bench.loop, bench_path(&bench, "state"), &e), ERR_OK);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  door_close(&door);
  bench_close(&bench);
  return 0;
}

static int caller(void) {
  int fd = door_connect(bench_path(&bench, "state"));
  assert_true(fd >= 0);
  return fd;
}

static void say(int fd, const char *text) {
  size_t size = strlen(text), sent = 0;
  for (int i = 0; i < 1000 && sent < size; i++) {
    ssize_t n = send(fd, text + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) sent += (size_t)n;
    if (n < 0 && errno != EAGAIN) return;
    loop_turn(bench.loop, 1000);
  }
}

/* The next line, or NULL when the door has hung up. */
static struct value *hear(int fd) {
  static char line[1 << 20];
  size_t size = 0;
  for (int i = 0; i < 3000; i++) {
    ssize_t n = recv(fd, line + size, 1, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return NULL;
    if (n < 0) {
      loop_turn(bench.loop, 5000);
      continue;
    }
    if (line[size] == '\n') {
      line[size] = '\0';
      return bench_json(line);
    }
    size++;
    i--;
  }
  fail_msg("no answer");
  return NULL;
}

static void answers(int fd, const char *request, const char *code) {
  say(fd, request);
  say(fd, "\n");
  value_auto struct value *v = hear(fd);
  assert_non_null(v);
  assert_string_equal(value_get_text(v, "code", "ok"), code);
}

static void test_hello_names_pid_and_version(void **state) {
  (void)state;
  int fd = caller();
  say(fd, "{\"op\":\"hello\"}\n");
  value_auto struct value *v = hear(fd);
  assert_int_equal(value_get_int(v, "pid", 0), getpid());
  assert_non_null(value_get_text(v, "version", NULL));
  close(fd);
}

static void test_bad_requests_are_answered_and_the_door_stays_open(void **state) {
  (void)state;
  int fd = caller();
  answers(fd, "{\"op\":\"dance\"}", "usage");
  answers(fd, "{}", "usage");
  answers(fd, "{\"op\":\"job\",\"id\":\"none\"}", "not-found");
  answers(fd, "{\"op\":\"job\",\"id\":7}", "not-found");
  answers(fd, "{\"op\":\"cancel\",\"id\":\"none\"}", "not-found");
  answers(fd, "{\"op\":\"follow\",\"id\":\"\"}", "not-found");
  answers(fd, "{\"op\":\"run\",\"identity\":\"x\"}", "busy");
  answers(fd, "{\"op\":\"jobs\",\"status\":\"odd\"}", "usage");
  answers(fd, "{\"op\":\"jobs\",\"limit\":-5}", "ok");
  answers(fd, "{\"op\":\"backup\",\"folder\":\"here\"}", "usage");
  answers(fd, "{\"op\":\"export\"}", "usage");
  answers(fd, "{\"op\":\"check\"}", "ok");
  close(fd);
}

static void test_what_is_no_json_ends_the_talk(void **state) {
  (void)state;
  static const char *const bad[] = {"rubbish", "[1,2]", "\"text\"", "{\"op\":", "{\"op\":\"hello\",\"op\":\"jobs\"}", ""};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int fd = caller();
    answers(fd, bad[i], "protocol");
    assert_null(hear(fd));
    close(fd);
  }
}

static void test_a_line_without_end_is_refused(void **state) {
  (void)state;
  int fd = caller();
  char *block = mem_alloc(300 * 1024 + 1);
  memset(block, 'x', 300 * 1024);
  say(fd, block);
  value_auto struct value *v = hear(fd);
  assert_string_equal(value_get_text(v, "code", ""), "too-large");
  free(block);
  close(fd);
}

static void test_requests_in_one_breath_are_answered_in_order(void **state) {
  (void)state;
  int fd = caller();
  say(fd, "{\"op\":\"hello\"}\n{\"op\":\"cancel\",\"id\":\"x\"}\n{\"op\":\"check\"}\n{\"op\":\"hello\"}\n");
  value_auto struct value *a = hear(fd), *b = hear(fd), *c = hear(fd), *d = hear(fd);
  assert_true(value_get(a, "pid") && value_get(d, "pid"));
  assert_string_equal(value_get_text(b, "code", ""), "not-found");
  assert_int_equal(value_get_int(c, "problems", -1), 0);
  close(fd);
}

/* Answers pile up only so far; then no further request is taken until they are read. */
static void test_one_who_asks_and_does_not_read_is_not_served_for_ever(void **state) {
  (void)state;
  int fd = caller();
  char request[256], long_word[200];
  memset(long_word, 'y', sizeof long_word - 1);
  long_word[sizeof long_word - 1] = '\0';
  snprintf(request, sizeof request, "{\"op\":\"jobs\",\"status\":\"%s\"}\n", long_word);
  size_t taken = 0;
  for (int idle = 0; idle < 200;) {
    ssize_t n = send(fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) taken += (size_t)n;
    idle = n > 0 ? 0 : idle + 1;
    loop_turn(bench.loop, 100);
    assert_true(taken < (size_t)8 << 20);
  }
  int other = caller(); /* and nobody else suffers */
  answers(other, "{\"op\":\"hello\"}", "ok");
  close(other);
  close(fd);
  bench_turn(&bench, NULL);
}

static void test_one_who_goes_while_asking_leaves_nothing_behind(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    int fd = caller();
    say(fd, "{\"op\":\"check\"}\n{\"op\":\"check\"}\n");
    close(fd);
    loop_turn(bench.loop, 1000);
  }
  int fd = caller();
  answers(fd, "{\"op\":\"hello\"}", "ok");
  say(fd, "{\"op\":\"check\"}\n"); /* still open when the door closes */
  close(fd);
}

static bool stored;
static void on_stored(void *context, const struct commit *commit) {
  snprintf(context, STORE_ID_MAX, "%s", commit->job);
  stored = true;
}

static void submit(char id[STORE_ID_MAX]) {
  struct job_record record = {.identity = (char[]){"identity"}, .pipeline = (char[]){"p"}, .status = JOB_QUEUED};
  const char *const stages[] = {"one"};
  struct event_draft queued = {"queued", "{}"};
  stored = false;
  store_submit(bench.engine->store, &record, stages, 1, &queued, 1, on_stored, id);
  bench_turn(&bench, &stored);
}

static void tell(const char *id, const char *type, uint64_t seq, const char *filling) {
  value_auto struct value *body = value_map();
  value_set_text(body, "message", filling);
  value_auto struct value *event = event_unstored(type, id, seq, 0, body);
  struct job_record job = {.id = (char *)id};
  engine_tell(bench.engine, &job, seq, event);
}

static void test_a_follower_hears_state_then_only_what_is_new_then_the_end(void **state) {
  (void)state;
  char id[STORE_ID_MAX], request[128];
  submit(id);
  int fd = caller();
  snprintf(request, sizeof request, "{\"op\":\"follow\",\"id\":\"%s\"}\n", id);
  say(fd, request);
  value_auto struct value *ok = hear(fd), *first = hear(fd);
  assert_true(value_get_bool(ok, "ok", false));
  assert_string_equal(value_get_text(first, "type", ""), "state");
  tell(id, "queued", 1, "known already");
  tell("another", "stage", 9, "not mine");
  tell(id, "progress", 1, "half");
  tell(id, "completed", 2, "done");
  value_auto struct value *progress = hear(fd), *end = hear(fd);
  assert_string_equal(value_get_text(progress, "message", ""), "half");
  assert_string_equal(value_get_text(end, "type", ""), "completed");
  assert_null(hear(fd));
  close(fd);
}

static void test_a_follower_that_never_reads_is_let_go(void **state) {
  (void)state;
  char id[STORE_ID_MAX], request[128];
  submit(id);
  int fd = caller();
  snprintf(request, sizeof request, "{\"op\":\"follow\",\"id\":\"%s\"}\n", id);
  say(fd, request);
  bench_turn(&bench, NULL);
  char *filling = mem_alloc(10001);
  memset(filling, 'z', 10000);
  for (int i = 0; i < 2000; i++) tell(id, i % 2 ? "progress" : "stage", (uint64_t)i + 2, filling);
  size_t got = 0;
  char block[65536];
  for (ssize_t n; (n = recv(fd, block, sizeof block, MSG_DONTWAIT)) > 0;) got += (size_t)n;
  assert_int_equal(recv(fd, block, 1, MSG_DONTWAIT), 0); /* hung up */
  assert_true(got < (size_t)6 << 20);
  free(filling);
  close(fd);
}

static void test_too_many_clients_are_turned_away_and_room_comes_back(void **state) {
  (void)state;
  int fds[80];
  char byte;
  for (int i = 0; i < 80; i++) {
    fds[i] = caller();
    loop_turn(bench.loop, 1000);
  }
  bench_turn(&bench, NULL);
  assert_int_equal(recv(fds[79], &byte, 1, MSG_DONTWAIT), 0);
  for (int i = 0; i < 80; i++) close(fds[i]);
  bench_turn(&bench, NULL);
  int fd = caller();
  answers(fd, "{\"op\":\"hello\"}", "ok");
  close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_hello_names_pid_and_version), T(test_bad_requests_are_answered_and_the_door_stays_open),
      T(test_what_is_no_json_ends_the_talk), T(test_a_line_without_end_is_refused),
      T(test_requests_in_one_breath_are_answered_in_order),
      T(test_one_who_asks_and_does_not_read_is_not_served_for_ever),
      T(test_one_who_goes_while_asking_leaves_nothing_behind),
      T(test_a_follower_hears_state_then_only_what_is_new_then_the_end), T(test_a_follower_that_never_reads_is_let_go),
      T(test_too_many_clients_are_turned_away_and_room_comes_back)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
