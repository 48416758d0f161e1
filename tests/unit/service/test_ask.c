/* service_ask: threads that wait for the loop, and the end of it without anybody left waiting. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "service/service.h"

static struct service service;
static struct ask *_Atomic late; /* begun, and not answered at once */
static atomic_uint answered, refused;

static void reply(void *context, struct ask *ask) {
  int64_t *n = context;
  service_answer(ask, NULL, value_int(*n + 1));
}

static void *ask_often(void *context) {
  int64_t n = (intptr_t)context;
  for (int i = 0; i < 2000; i++, n++) {
    struct value *answer = NULL;
    struct error e = {0};
    if (service_ask(&service, reply, &n, &answer, &e)) {
      atomic_fetch_add(&refused, 1);
      return NULL;
    }
    if (answer->integer != n + 1) return NULL;
    value_free(&answer);
    atomic_fetch_add(&answered, 1);
  }
  return NULL;
}

static void *run_loop(void *context) {
  (void)context;
  loop_run(service.loop);
  return NULL;
}

static void open_service(void) {
  memset(&service, 0, sizeof service);
  atomic_store(&answered, 0);
  atomic_store(&refused, 0);
  atomic_store(&late, NULL);
  assert_int_equal(loop_create(&service.loop, &clock_system, NULL), ERR_OK);
  service_open(&service);
}

static void quiet(void *context) {
  (void)context;
  loop_stop(service.loop);
}

static void stop_on_loop(void *context) { service_stop(&service, *(int64_t *)context, quiet, NULL); }

static void close_service(void) {
  service_close(&service);
  loop_destroy(&service.loop);
}

static void every_thread_gets_its_own_answer(void **state) {
  (void)state;
  pthread_t loop, threads[8];
  int64_t limit_us = 1000000;
  open_service();
  pthread_create(&loop, NULL, run_loop, NULL);
  for (intptr_t i = 0; i < 8; i++) pthread_create(&threads[i], NULL, ask_often, (void *)(i * 1000000));
  for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
  assert_int_equal(answered, 8 * 2000);
  loop_post(service.loop, stop_on_loop, &limit_us);
  pthread_join(loop, NULL);
  close_service();
}

static void stopping_amid_a_crowd_leaves_nobody_waiting(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    pthread_t loop, threads[8];
    int64_t limit_us = 1000000;
    open_service();
    pthread_create(&loop, NULL, run_loop, NULL);
    for (intptr_t i = 0; i < 8; i++) pthread_create(&threads[i], NULL, ask_often, (void *)(i * 1000000));
    usleep(500 + (useconds_t)round * 200);
    loop_post(service.loop, stop_on_loop, &limit_us);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    pthread_join(loop, NULL);
    struct error e = {0};
    assert_int_equal(service_ask(&service, reply, NULL, NULL, &e), ERR_BUSY);
    assert_non_null(strstr(e.message, "stopping"));
    close_service();
  }
}

static void keep(void *context, struct ask *ask) {
  (void)context;
  late = ask;
}

static void wait_until_begun(void) {
  for (int i = 0; i < 1000 && !atomic_load(&late); i++) usleep(10000);
  assert_non_null(atomic_load(&late));
}

static void *ask_once(void *context) {
  struct error e = {0};
  *(enum err *)context = service_ask(&service, keep, NULL, NULL, &e);
  return NULL;
}

static void what_has_no_answer_in_time_is_given_up_and_may_come_late(void **state) {
  (void)state;
  pthread_t loop, thread;
  int64_t limit_us = 50000;
  enum err err = ERR_OK;
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR, false);
  open_service();
  pthread_create(&loop, NULL, run_loop, NULL);
  pthread_create(&thread, NULL, ask_once, &err);
  wait_until_begun();
  loop_post(service.loop, stop_on_loop, &limit_us);
  pthread_join(thread, NULL);
  pthread_join(loop, NULL);
  assert_int_equal(err, ERR_BUSY);
  service_answer(late, NULL, value_text("too late")); /* the engine's flush at its end */
  close_service();
}

static void answer_late(void *context) {
  (void)context;
  service_answer_done(late, &(struct error){.code = ERR_CONFLICT, .message = "already completed"});
}

static void what_had_begun_is_answered_while_stopping(void **state) {
  (void)state;
  pthread_t loop, thread;
  int64_t limit_us = 5000000;
  enum err err = ERR_OK;
  open_service();
  pthread_create(&loop, NULL, run_loop, NULL);
  pthread_create(&thread, NULL, ask_once, &err);
  wait_until_begun();
  loop_post(service.loop, stop_on_loop, &limit_us);
  usleep(20000);
  loop_post(service.loop, answer_late, NULL);
  pthread_join(thread, NULL);
  pthread_join(loop, NULL); /* at once, not after the limit */
  assert_int_equal(err, ERR_CONFLICT);
  close_service();
}

static void *ask_kept(void *context) {
  (void)context;
  if (service_ask(&service, keep, NULL, NULL, NULL) == ERR_BUSY) atomic_fetch_add(&refused, 1);
  return NULL;
}

static void at_most_so_many_wait(void **state) {
  (void)state;
  enum { MANY = 300 };
  static pthread_t threads[MANY];
  pthread_attr_t small;
  int64_t limit_us = 0;
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR, false);
  open_service(); /* nobody turns the loop */
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  for (int i = 0; i < MANY; i++) assert_int_equal(pthread_create(&threads[i], &small, ask_kept, NULL), 0);
  for (int i = 0; i < 500 && atomic_load(&refused) < MANY - 256; i++) usleep(10000);
  assert_int_equal(atomic_load(&refused), MANY - 256);
  loop_post(service.loop, stop_on_loop, &limit_us);
  loop_run(service.loop);
  for (int i = 0; i < MANY; i++) pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&refused), MANY);
  close_service();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_thread_gets_its_own_answer),
      cmocka_unit_test(stopping_amid_a_crowd_leaves_nobody_waiting),
      cmocka_unit_test(what_has_no_answer_in_time_is_given_up_and_may_come_late),
      cmocka_unit_test(what_had_begun_is_answered_while_stopping),
      cmocka_unit_test(at_most_so_many_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
