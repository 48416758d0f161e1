/* Reading: lists, pages, prefixes, events by job and in commit order. */
#include "conformance.h"

#include <stdio.h>
#include <string.h>

static void make(struct scene *s, const char *id, const char *owner, const char *batch, int priority) {
  char copy[3][32];
  snprintf(copy[0], 32, "%s", id);
  snprintf(copy[1], 32, "%s", owner);
  snprintf(copy[2], 32, "%s", batch);
  struct job_record job = {.id = copy[0], .owner = copy[1], .batch = copy[2][0] ? copy[2] : NULL, .priority = priority};
  s->clock.wall_us += 1000000;
  assert_int_equal(submit_job(s, &job).status, ERR_OK);
}

static void expect(struct scene *s, const struct job_filter *filter, const char *wanted) {
  struct job_list jobs;
  char got[256] = "";
  assert_int_equal(store_jobs(s->store, filter, &jobs, NULL), ERR_OK);
  for (size_t i = 0; i < jobs.count; i++) {
    strncat(got, jobs.items[i].id, sizeof(got) - strlen(got) - 1);
    strncat(got, " ", sizeof(got) - strlen(got) - 1);
  }
  job_list_clear(&jobs);
  assert_string_equal(got, wanted);
}

static void lists_are_filtered_newest_first_in_pages(void **state) {
  struct scene *s = *state;
  make(s, "a1", "ann", "", 50);
  make(s, "a2", "bob", "x", 50);
  make(s, "a3", "ann", "x", 50);
  int64_t middle = s->clock.wall_us;
  make(s, "a4", "ann", "y", 50);
  make(s, "a5", "annex", "x", 50);
  set_status(s, "a1", JOB_COMPLETED);
  set_status(s, "a3", JOB_FAILED);
  set_status(s, "a4", JOB_PROCESSING);
  expect(s, &(struct job_filter){0}, "a5 a4 a3 a2 a1 ");
  expect(s, &(struct job_filter){.limit = 2}, "a5 a4 ");
  expect(s, &(struct job_filter){.limit = 2, .before_id = "a4"}, "a3 a2 ");
  expect(s, &(struct job_filter){.before_id = "a1"}, "");
  expect(s, &(struct job_filter){.owner = "ann"}, "a4 a3 a1 ");
  expect(s, &(struct job_filter){.owner = "ann", .before_id = "a4"}, "a3 a1 ");
  expect(s, &(struct job_filter){.owner = "ann", .batch = "x"}, "a3 ");
  expect(s, &(struct job_filter){.batch = "x", .limit = 1, .before_id = "a5"}, "a3 ");
  expect(s, &(struct job_filter){.statuses = 1u << JOB_FAILED | 1u << JOB_COMPLETED}, "a3 a1 ");
  expect(s, &(struct job_filter){.statuses = 1u << JOB_QUEUED | 1u << JOB_PROCESSING, .before_id = "a5"}, "a4 a2 ");
  expect(s, &(struct job_filter){.owner = "ann", .statuses = 1u << JOB_FAILED}, "a3 ");
  expect(s, &(struct job_filter){.since_us = middle}, "a5 a4 a3 ");
  expect(s, &(struct job_filter){.asset = "none"}, "");
}

static void open_jobs_come_by_priority_then_age(void **state) {
  struct scene *s = *state;
  make(s, "old", "o", "", 50);
  make(s, "urgent", "o", "", 90);
  make(s, "idle", "o", "", 0);
  make(s, "young", "o", "", 50);
  make(s, "done", "o", "", 100);
  set_status(s, "done", JOB_COMPLETED);
  struct job_record values = {.priority = 95};
  struct change raise = {.job = "idle", .job_fields = JOB_SET_PRIORITY, .job_values = &values};
  assert_int_equal(change(s, &raise).status, ERR_OK);
  struct job_list jobs;
  scene_reopen(s);
  assert_int_equal(store_open_jobs(s->store, &jobs, NULL), ERR_OK);
  assert_int_equal(jobs.count, 4);
  const char *const wanted[] = {"idle", "urgent", "old", "young"};
  for (size_t i = 0; i < 4; i++) assert_string_equal(jobs.items[i].id, wanted[i]);
  job_list_clear(&jobs);
}

static void counts_follow_every_change(void **state) {
  struct scene *s = *state;
  struct store_counts counts;
  for (int i = 0; i < 3; i++) submit(s, NULL);
  struct answer a = submit(s, NULL), b = submit(s, NULL);
  set_status(s, a.job, JOB_PROCESSING);
  set_status(s, b.job, JOB_FAILED);
  set_status(s, a.job, JOB_COMPLETED);
  reopen(s, b.job, NULL);
  set_status(s, b.job, JOB_CANCELLED);
  delete (s, b.job);
  scene_reopen(s);
  assert_int_equal(store_counts(s->store, &counts, NULL), ERR_OK);
  assert_int_equal(counts.by_status[JOB_QUEUED], 3);
  assert_int_equal(counts.by_status[JOB_COMPLETED], 1);
  assert_int_equal(counts.by_status[JOB_FAILED] + counts.by_status[JOB_CANCELLED] + counts.by_status[JOB_PROCESSING],
                   0);
}

static void prefixes_find_one_or_name_the_candidates(void **state) {
  struct scene *s = *state;
  char id[STORE_ID_MAX];
  struct error e;
  assert_int_equal(store_find(s->store, "last", id, &e), ERR_NOT_FOUND);
  make(s, "abc1", "o", "", 1);
  make(s, "abc2", "o", "", 1);
  make(s, "abc", "o", "", 1);
  make(s, "b", "o", "", 1);
  assert_int_equal(store_find(s->store, "abc1", id, &e), ERR_OK);
  assert_int_equal(store_find(s->store, "b", id, &e), ERR_OK);
  assert_string_equal(id, "b");
  assert_int_equal(store_find(s->store, "abc", id, &e), ERR_OK);
  assert_string_equal(id, "abc");
  assert_int_equal(store_find(s->store, "ab", id, &e), ERR_CONFLICT);
  assert_non_null(strstr(e.message, "abc1, abc2"));
  assert_int_equal(store_find(s->store, "zz", id, &e), ERR_NOT_FOUND);
  assert_int_equal(store_find(s->store, "", id, &e), ERR_NOT_FOUND);
  assert_int_equal(store_find(s->store, "last", id, &e), ERR_OK);
  assert_string_equal(id, "b");
}

static void events_replay_from_any_point_in_both_orders(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL), b = submit(s, NULL);
  set_status(s, a.job, JOB_PROCESSING);
  set_status(s, b.job, JOB_PROCESSING);
  s->clock.wall_us += 5;
  struct answer end = set_status(s, a.job, JOB_COMPLETED);
  assert_int_equal(end.last_seq, 3);
  assert_int_equal(end.last_cursor, 5);
  struct event_list events;
  uint64_t first = 0, last = 0;
  assert_int_equal(store_events(s->store, a.job, 1, 0, &events, NULL), ERR_OK);
  assert_int_equal(events.count, 2);
  assert_string_equal(events.items[1].type, "completed");
  assert_true(events.items[1].at_us == s->clock.wall_us);
  event_list_clear(&events);
  assert_int_equal(store_events_since(s->store, 2, 2, &events, &first, NULL), ERR_OK);
  assert_int_equal(events.count, 2);
  assert_int_equal(events.items[0].cursor, 3);
  assert_string_equal(events.items[1].job, b.job);
  assert_int_equal(first, 1);
  event_list_clear(&events);
  assert_int_equal(store_events(s->store, a.job, UINT64_MAX, 0, &events, NULL), ERR_OK);
  assert_int_equal(events.count, 0);
  assert_int_equal(store_last_cursor(s->store, &last, NULL), ERR_OK);
  assert_int_equal(last, 5);
}

static void what_is_not_there_is_not_found(void **state) {
  struct scene *s = *state;
  struct job_record job;
  struct stage_list stages;
  struct attempt_list attempts;
  char *json;
  assert_int_equal(store_job(s->store, "", &job, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_job(s->store, "x", &job, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_stages(s->store, "x", &stages, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_attempts(s->store, "x", &attempts, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_live_attempts(s->store, "x", &attempts, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_checkpoints(s->store, "x", "one", &json, NULL), ERR_NOT_FOUND);
}

static void status_words_are_the_documented_ones(void **state) {
  (void)state;
  enum job_status status;
  assert_true(job_status_from_word("retrying", &status));
  assert_int_equal(status, JOB_RETRYING);
  assert_false(job_status_from_word("done", &status));
  assert_string_equal(stage_status_word(STAGE_SOFT_FAILED), "soft-failed");
  assert_true(stage_status_is_terminal(STAGE_SKIPPED) && !stage_status_is_terminal(STAGE_PUBLISHING));
}

int run_reads(void) {
  const struct CMUnitTest tests[] = {
      PROVES(lists_are_filtered_newest_first_in_pages),
      PROVES(open_jobs_come_by_priority_then_age),
      PROVES(counts_follow_every_change),
      PROVES(prefixes_find_one_or_name_the_candidates),
      PROVES(events_replay_from_any_point_in_both_orders),
      PROVES(what_is_not_there_is_not_found),
      PROVES(status_words_are_the_documented_ones),
  };
  return cmocka_run_group_tests_name("reads", tests, NULL, NULL);
}
