/* Many threads at once: writers of every verb, readers that check what they see, progress in between. */
#include "scene.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/loop.h"
#include "base/mem.h"

#define PROVES(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)

enum { WRITERS = 3, READERS = 2, JOBS = 40 };

struct hall {
  struct scene *scene;
  atomic_int completed, wrong;
  atomic_bool over;
  atomic_int at_work;
};

/* A job's whole life, driven by completions: each step begins when the one before it is on disk. */
struct life {
  struct hall *hall;
  char job[STORE_ID_MAX];
  uint64_t fence, seq;
  int step;
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
static void step_done(void *context, const struct commit *commit);

static void begin_stage(struct life *l) {
  struct stage_record row = {.stage = (char *)"one", .status = STAGE_RUNNING};
  struct attempt_record attempt = {.state = ATTEMPT_LIVE};
  struct event_draft said = {"stage", NULL};
  struct change c = {
      .job = l->job, .stages = &row, .stage_count = 1, .attempt = &attempt, .events = &said, .event_count = 1};
  store_begin_attempt(l->hall->scene->store, &c, step_done, l);
}

static void finish_stage(struct life *l) {
  struct stage_record row = {.stage = (char *)"one", .status = STAGE_FINISHED};
  struct attempt_record attempt = {.state = ATTEMPT_OVER};
  struct job_record values = {.status = JOB_COMPLETED};
  struct event_draft said[2] = {{"stage", NULL}, {"completed", NULL}};
  struct change c = {.job = l->job,
                     .fence = l->fence,
                     .stages = &row,
                     .stage_count = 1,
                     .attempt = &attempt,
                     .job_fields = JOB_SET_STATUS,
                     .job_values = &values,
                     .events = said,
                     .event_count = 2};
  store_change(l->hall->scene->store, &c, step_done, l);
}
#pragma GCC diagnostic pop

static void step_done(void *context, const struct commit *commit) {
  struct life *l = context;
  struct hall *h = l->hall;
  if (commit->status || commit->first_seq != l->seq + 1) atomic_fetch_add(&h->wrong, 1);
  l->seq = commit->last_seq;
  if (commit->fence) l->fence = commit->fence;
  if (l->step == 0) snprintf(l->job, sizeof(l->job), "%s", commit->job);
  if (++l->step == 1)
    begin_stage(l);
  else if (l->step == 2)
    finish_stage(l);
  else
    atomic_fetch_add(&h->completed, 1);
}

static void *write_lives(void *context) {
  struct life *lives = context;
  struct hall *h = lives[0].hall;
  struct event_draft said = {"queued", NULL};
  struct job_record job = {.priority = 50};
  for (int i = 0; i < JOBS; i++) {
    store_submit(h->scene->store, &job, two_stages, 2, &said, 1, step_done, &lives[i]);
    store_note_progress(h->scene->store, "nobody", (uint32_t)i * 1000);
  }
  atomic_fetch_sub(&h->at_work, 1);
  return NULL;
}

/* Replays by cursor: never a hole, never a step back, while the writer runs. */
static void *follow(void *context) {
  struct hall *h = context;
  uint64_t cursor = 0;
  while (!atomic_load(&h->over)) {
    struct event_list events;
    struct job_list jobs;
    uint64_t first;
    if (store_events_since(h->scene->store, cursor, 50, &events, &first, NULL)) atomic_fetch_add(&h->wrong, 1);
    for (size_t i = 0; i < events.count; i++)
      if (events.items[i].cursor != ++cursor) atomic_fetch_add(&h->wrong, 1);
    event_list_clear(&events);
    if (store_open_jobs(h->scene->store, &jobs, NULL)) atomic_fetch_add(&h->wrong, 1);
    job_list_clear(&jobs);
  }
  return NULL;
}

static void run_dispatch(void *store) { store_dispatch(store); }

struct bell {
  struct loop *loop;
  struct store *store;
};

static void ring(void *context) {
  struct bell *b = context;
  loop_post(b->loop, run_dispatch, b->store);
}

static void whole_lives_run_side_by_side(void **state) {
  struct scene *s = *state;
  static struct life lives[WRITERS][JOBS];
  struct hall h = {.scene = s};
  struct bell bell = {0};
  struct store_options options = {.folder = s->folder, .notify = ring, .context = &bell};
  pthread_t threads[WRITERS + READERS];
  store_close(&s->store);
  assert_int_equal(loop_create(&bell.loop, &clock_system, NULL), ERR_OK);
  assert_int_equal(store_open(&s->store, &options, NULL), ERR_OK);
  bell.store = s->store;
  atomic_store(&h.at_work, WRITERS);
  for (int w = 0; w < WRITERS; w++) {
    for (int i = 0; i < JOBS; i++) lives[w][i] = (struct life){.hall = &h};
    pthread_create(&threads[w], NULL, write_lives, lives[w]);
  }
  for (int r = 0; r < READERS; r++) pthread_create(&threads[WRITERS + r], NULL, follow, &h);
  while (atomic_load(&h.completed) < WRITERS * JOBS) loop_turn(bell.loop, 100000);
  atomic_store(&h.over, true);
  for (int i = 0; i < WRITERS + READERS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&h.wrong), 0);
  struct store_counts counts;
  uint64_t last;
  store_counts(s->store, &counts, NULL);
  store_last_cursor(s->store, &last, NULL);
  assert_int_equal(counts.by_status[JOB_COMPLETED], WRITERS * JOBS);
  assert_int_equal(last, WRITERS * JOBS * 4);
  store_close(&s->store); /* before the loop its bell rings in */
  loop_destroy(&bell.loop);
  scene_reopen(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {PROVES(whole_lives_run_side_by_side)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
