/* Publishing, subscribing, taking and leaving at the same time: every follower sees each event of its topic once, in
 * order. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "rig.h"

enum { JOBS = 4, ROUNDS = 60, FOLLOWERS = 6, LIVES = 12 };

struct stage_of_it {
  struct rig *rig;
  char jobs[JOBS][STORE_ID_MAX];
  atomic_bool over;
};
struct reader {
  pthread_t thread;
  struct stage_of_it *stage;
  int number;
  uint64_t seen[JOBS], cursor; /* last one of each, over all lives */
  char wrong[160];
};

static int job_number(const struct stage_of_it *s, const char *id) {
  for (int i = 0; i < JOBS; i++)
    if (strcmp(s->jobs[i], id) == 0) return i;
  return -1;
}

static void reader_check(struct reader *r, const struct letter *letter) {
  int job = job_number(r->stage, letter->job);
  if (job < 0 || !letter->stored) return;
  if (letter->seq != r->seen[job] + 1)
    snprintf(r->wrong, sizeof r->wrong, "follower %d saw seq %llu of job %d after %llu", r->number,
             (unsigned long long)letter->seq, job, (unsigned long long)r->seen[job]);
  r->seen[job] = letter->seq;
  r->cursor = letter->cursor;
}

/* One life: attach, go on behind what was seen, take for a while, leave. The last one takes until nothing is left. */
static void reader_live(struct reader *r, bool last) {
  struct stage_of_it *s = r->stage;
  struct follower *f = follower_attach(s->rig->hub, &(struct follower_options){0});
  int job = r->number % JOBS;
  struct subscription sub = {.replay = true, .since_cursor = r->cursor, .since_seq = r->seen[job]};
  sub.topic = r->number % 2 ? (struct topic){TOPIC_ALL, NULL} : (struct topic){TOPIC_JOB, s->jobs[job]};
  follower_subscribe(f, &sub, NULL);
  struct letter letter;
  for (int idle = 0, takes = 0; !*r->wrong && (last ? idle < 20 : takes < 40); takes++) {
    bool over = atomic_load(&s->over); /* before the take: then nothing can come after it */
    enum taken taken = follower_take(f, &letter);
    if (taken == TAKEN_OVERRUN) break;
    idle = taken == TAKEN_MESSAGE || !over ? 0 : idle + 1;
    if (taken == TAKEN_MESSAGE) {
      reader_check(r, &letter);
      letter_clear(&letter);
    } else {
      nanosleep(&(struct timespec){.tv_nsec = 300 * 1000}, NULL);
    }
  }
  follower_detach(s->rig->hub, &f);
}

static void *reader_run(void *context) {
  struct reader *r = context;
  for (int life = 0; life <= LIVES; life++) reader_live(r, life == LIVES);
  return NULL;
}

static void nothing_is_lost_or_doubled_between_threads(void **state) {
  struct stage_of_it s = {.rig = *state};
  struct reader readers[FOLLOWERS] = {0};
  for (int i = 0; i < JOBS; i++) rig_job(s.rig, s.jobs[i], "ann", NULL);
  for (int i = 0; i < FOLLOWERS; i++) {
    readers[i].stage = &s;
    readers[i].number = i;
    assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
  }
  uint64_t last[JOBS];
  for (int i = 0; i < JOBS; i++) last[i] = 1;
  for (int round = 0; round < ROUNDS; round++) {
    /* Two commits before they are told, now and then the later one first. */
    int a = round % JOBS, b = (round * 7 + 1) % JOBS;
    rig_store(s.rig, s.jobs[a], "stage", false);
    uint64_t seq_a = ++last[a];
    rig_store(s.rig, s.jobs[b], "stage", false);
    uint64_t seq_b = ++last[b];
    if (a != b && round % 3 == 0) {
      rig_progress(s.rig, s.jobs[b], "x", round);
    }
    rig_tell(s.rig, s.jobs[a], seq_a);
    rig_tell(s.rig, s.jobs[b], seq_b);
    rig_progress(s.rig, s.jobs[a], "x", round);
  }
  atomic_store(&s.over, true);
  for (int i = 0; i < FOLLOWERS; i++) pthread_join(readers[i].thread, NULL);
  for (int i = 0; i < FOLLOWERS; i++) {
    assert_string_equal(readers[i].wrong, "");
    for (int job = 0; job < JOBS; job++)
      if (i % 2 || job == i % JOBS) assert_int_equal(readers[i].seen[job], last[job]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(nothing_is_lost_or_doubled_between_threads, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
