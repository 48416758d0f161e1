/* The loop and the pool: order, cancellation from inside callbacks, other threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/pool.h"

struct scene {
  struct clock_fake clock;
  struct loop *loop;
  struct buf story;
};

static void scene_begin(struct scene *s) {
  *s = (struct scene){0};
  clock_fake_init(&s->clock, 1000, 5000);
  assert_int_equal(loop_create(&s->loop, &s->clock.clock, NULL), ERR_OK);
}

static void scene_end(struct scene *s) {
  loop_destroy(&s->loop);
  buf_free(&s->story);
}

struct line {
  struct scene *scene;
  const char *word;
  struct loop_timer *cancels; /* set: this one cancels that timer */
};

static void tell(void *context) {
  struct line *l = context;
  buf_text(&l->scene->story, l->word);
  if (l->cancels) loop_cancel(l->scene->loop, &l->cancels);
}

static void timers_fire_in_order_and_only_when_due(void **state) {
  (void)state;
  struct scene s;
  scene_begin(&s);
  struct line a = {&s, "a", NULL}, b = {&s, "b", NULL}, c = {&s, "c", NULL}, past = {&s, "p", NULL};
  loop_at(s.loop, 3000, tell, &c);
  loop_after(s.loop, 500, tell, &a);
  loop_at(s.loop, 1500, tell, &b); /* the same time as a: later set, later fired */
  loop_at(s.loop, -7, tell, &past);
  loop_turn(s.loop, 0);
  assert_string_equal(buf_string(&s.story), "p");
  s.clock.boot_us = 1499;
  loop_turn(s.loop, 0);
  assert_string_equal(buf_string(&s.story), "p");
  s.clock.boot_us = 1500;
  loop_turn(s.loop, 0);
  assert_string_equal(buf_string(&s.story), "pab");
  s.clock.boot_us = 99999;
  loop_turn(s.loop, 0);
  assert_string_equal(buf_string(&s.story), "pabc");
  scene_end(&s);
}

static void a_cancelled_timer_never_fires_even_when_due(void **state) {
  (void)state;
  struct scene s;
  scene_begin(&s);
  struct line first = {&s, "1", NULL}, second = {&s, "2", NULL};
  loop_at(s.loop, 1100, tell, &first);
  first.cancels = loop_at(s.loop, 1100, tell, &second);
  s.clock.boot_us = 1200;
  loop_turn(s.loop, 0);
  loop_turn(s.loop, 0);
  assert_string_equal(buf_string(&s.story), "1");
  assert_null(first.cancels);
  loop_cancel(s.loop, &first.cancels);
  loop_cancel(s.loop, NULL);
  scene_end(&s);
}

static void again(void *context) {
  struct line *l = context;
  buf_text(&l->scene->story, "r");
  loop_at(l->scene->loop, 0, again, l); /* always in the past */
}

static void a_timer_that_renews_itself_starves_nobody(void **state) {
  (void)state;
  struct scene s;
  scene_begin(&s);
  struct line greedy = {&s, "", NULL}, patient = {&s, "P", NULL};
  loop_at(s.loop, 0, again, &greedy);
  loop_at(s.loop, 1001, tell, &patient);
  s.clock.boot_us = 2000;
  for (int i = 0; i < 3; i++) loop_turn(s.loop, 0);
  assert_string_equal(buf_string(&s.story), "rPrr");
  scene_end(&s);
}

static void many_timers_keep_their_order(void **state) {
  (void)state;
  enum { COUNT = 500 };
  struct scene s;
  scene_begin(&s);
  struct line lines[COUNT];
  struct loop_timer *timers[COUNT];
  srandom(3);
  for (int i = 0; i < COUNT; i++) {
    lines[i] = (struct line){&s, "x", NULL};
    timers[i] = loop_at(s.loop, 2000 + random() % 1000, tell, &lines[i]);
  }
  for (int i = 0; i < COUNT; i += 2) loop_cancel(s.loop, &timers[i]);
  size_t before = 0;
  for (int64_t t = 2000; t < 3000; t++) {
    s.clock.boot_us = t;
    loop_turn(s.loop, 0);
    assert_true(s.story.size >= before);
    before = s.story.size;
  }
  assert_int_equal(s.story.size, COUNT / 2);
  scene_end(&s);
}

struct pair {
  struct scene *scene;
  struct loop_watch *mine, *other;
  int fd;
};

static void remove_both(void *context, int fd, uint32_t events) {
  struct pair *p = context;
  (void)fd;
  assert_true(events & EPOLLIN);
  buf_text(&p->scene->story, "w");
  loop_unwatch(p->scene->loop, &p->mine);
  loop_unwatch(p->scene->loop, &p->other);
}

static void a_removed_watch_never_fires(void **state) {
  (void)state;
  struct scene s;
  scene_begin(&s);
  int one[2], two[2];
  assert_int_equal(pipe2(one, O_CLOEXEC) | pipe2(two, O_CLOEXEC), 0);
  struct pair p = {&s, NULL, NULL, one[0]}, q = {&s, NULL, NULL, two[0]};
  p.mine = q.other = loop_watch(s.loop, one[0], EPOLLIN, remove_both, &p);
  q.mine = p.other = loop_watch(s.loop, two[0], EPOLLIN, remove_both, &q);
  assert_int_equal(write(one[1], "x", 1) + write(two[1], "x", 1), 2); /* both are in the same batch */
  loop_turn(s.loop, 0);
  loop_turn(s.loop, 0);
  assert_string_equal(buf_string(&s.story), "w");
  struct loop_watch *none = NULL;
  loop_unwatch(s.loop, &none);
  FILE *file = tmpfile();
  assert_null(loop_watch(s.loop, fileno(file), EPOLLIN, remove_both, &p));
  assert_int_equal(errno, EPERM);
  fclose(file);
  for (int i = 0; i < 2; i++) close(one[i]), close(two[i]);
  scene_end(&s);
}

static void count_up(void *context) { ++*(int *)context; }

static void stop(void *context) { loop_stop(context); }

struct poster {
  struct loop *loop;
  int *count;
};

static void *post_many(void *context) {
  struct poster *p = context;
  for (int i = 0; i < 1000; i++) loop_post(p->loop, count_up, p->count);
  return NULL;
}

static void calls_from_other_threads_all_run_here(void **state) {
  (void)state;
  struct loop *loop;
  int count = 0; /* plain on purpose: only the loop's thread touches it */
  assert_int_equal(loop_create(&loop, &clock_system, NULL), ERR_OK);
  struct poster p = {loop, &count};
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, post_many, &p);
  while (count < 4000) loop_turn(loop, -1);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  loop_after(loop, 2000, stop, loop);
  loop_run(loop);
  assert_int_equal(count, 4000);
  loop_destroy(&loop);
}

struct task {
  pthread_t worked_on;
  int worked, done;
};

static void work(void *context) {
  struct task *t = context;
  t->worked_on = pthread_self();
  t->worked++;
}

static void done(void *context) { ((struct task *)context)->done++; }

static void slow_work(void *context) {
  usleep(20000);
  work(context);
}

static void the_pool_works_elsewhere_and_reports_here(void **state) {
  (void)state;
  enum { COUNT = 50 };
  struct loop *loop;
  struct pool *pool;
  struct task tasks[COUNT] = {0};
  assert_int_equal(loop_create(&loop, &clock_system, NULL), ERR_OK);
  assert_int_equal(pool_create(&pool, loop, 3, NULL), ERR_OK);
  for (int i = 0; i < COUNT; i++) pool_submit(pool, work, done, &tasks[i]);
  for (int i = 0; i < COUNT; i++)
    while (!tasks[i].done) loop_turn(loop, -1);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(tasks[i].worked + tasks[i].done, 2);
    assert_false(pthread_equal(tasks[i].worked_on, pthread_self()));
  }
  pool_destroy(&pool);
  loop_destroy(&loop);
}

static void ending_a_pool_reports_what_it_dropped(void **state) {
  (void)state;
  enum { COUNT = 20 };
  struct loop *loop;
  struct pool *pool;
  struct task tasks[COUNT] = {0};
  int worked = 0;
  assert_int_equal(loop_create(&loop, &clock_system, NULL), ERR_OK);
  assert_int_equal(pool_create(&pool, loop, 1, NULL), ERR_OK);
  for (int i = 0; i < COUNT; i++) pool_submit(pool, slow_work, done, &tasks[i]);
  pool_destroy(&pool);
  assert_null(pool);
  loop_turn(loop, 0);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(tasks[i].done, 1);
    worked += tasks[i].worked;
  }
  assert_true(worked < COUNT);
  loop_destroy(&loop);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(timers_fire_in_order_and_only_when_due),
      cmocka_unit_test(a_cancelled_timer_never_fires_even_when_due),
      cmocka_unit_test(a_timer_that_renews_itself_starves_nobody),
      cmocka_unit_test(many_timers_keep_their_order),
      cmocka_unit_test(a_removed_watch_never_fires),
      cmocka_unit_test(calls_from_other_threads_all_run_here),
      cmocka_unit_test(the_pool_works_elsewhere_and_reports_here),
      cmocka_unit_test(ending_a_pool_reports_what_it_dropped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
