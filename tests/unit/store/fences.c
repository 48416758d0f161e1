/* Attempts: leases, fencing, checkpoints. */
#include "conformance.h"

#include <string.h>

#include "base/mem.h"

static void an_attempt_takes_a_number_that_only_grows(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL), b = submit(s, NULL);
  uint64_t first = begin(s, a.job, "one").fence, second = begin(s, b.job, "one").fence;
  assert_true(first > 0 && second > first);
  scene_reopen(s);
  struct answer third = begin(s, a.job, "two");
  assert_true(third.fence > second);
  struct stage_record stage = stage_now(s, a.job, "two");
  assert_int_equal(stage.status, STAGE_RUNNING);
  assert_true(stage.fence == third.fence);
  stage_record_clear(&stage);
}

static void live_attempts_are_found_with_their_job(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL), b = submit(s, NULL);
  uint64_t fence = begin(s, a.job, "one").fence;
  begin(s, b.job, "two");
  struct attempt_list live;
  scene_reopen(s);
  assert_int_equal(store_live_attempts(s->store, NULL, &live, NULL), ERR_OK);
  assert_int_equal(live.count, 2);
  assert_string_equal(live.items[0].job, a.job);
  assert_string_equal(live.items[0].stages, "one");
  assert_string_equal(live.items[0].node, "n");
  attempt_list_clear(&live);
  assert_int_equal(finish(s, a.job, "one", fence, STAGE_FINISHED).status, ERR_OK);
  assert_int_equal(store_live_attempts(s->store, a.job, &live, NULL), ERR_OK);
  assert_int_equal(live.count, 0);
  attempt_list_clear(&live);
  assert_int_equal(store_attempts(s->store, a.job, &live, NULL), ERR_OK);
  assert_int_equal(live.count, 1);
  assert_string_equal(live.items[0].outcome, "ok");
  assert_string_equal(live.items[0].stages, "one");
  attempt_list_clear(&live);
}

static void no_second_attempt_while_the_first_may_live(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  begin(s, a.job, "one");
  struct answer refused = begin(s, a.job, "one");
  assert_int_equal(refused.status, ERR_CONFLICT);
  assert_int_equal(refused.fence, 0);
  assert_int_equal(begin(s, a.job, "two").status, ERR_OK);
  assert_int_equal(begin(s, a.job, "three").status, ERR_NOT_FOUND);
  assert_int_equal(begin(s, "nobody", "one").status, ERR_NOT_FOUND);
}

static void a_stale_result_is_dropped_whole(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  uint64_t old = begin(s, a.job, "one").fence;
  struct attempt_record over = {.state = ATTEMPT_OVER};
  struct change lost = {.job = a.job, .fence = old, .attempt = &over};
  assert_int_equal(change(s, &lost).status, ERR_OK);
  uint64_t new = begin(s, a.job, "one").fence;
  uint64_t events = event_count(s, a.job);
  char result[] = "{\"from\":\"the dead\"}", one[] = "one";
  struct stage_record stage = {.stage = one, .status = STAGE_FINISHED, .result_json = result};
  struct job_record values = {.status = JOB_COMPLETED};
  struct event_draft said = {"completed", NULL};
  struct change stale = {.job = a.job,
                         .fence = old,
                         .stages = &stage,
                         .stage_count = 1,
                         .job_fields = JOB_SET_STATUS,
                         .job_values = &values,
                         .attempt = &over,
                         .events = &said,
                         .event_count = 1};
  assert_int_equal(change(s, &stale).status, ERR_STALE);
  assert_int_equal(event_count(s, a.job), events);
  struct stage_record now = stage_now(s, a.job, "one");
  assert_int_equal(now.status, STAGE_RUNNING);
  assert_null(now.result_json);
  assert_true(now.fence == new);
  stage_record_clear(&now);
  struct job_record job = job_now(s, a.job);
  assert_int_equal(job.status, JOB_QUEUED);
  job_record_clear(&job);
  stale.fence = new;
  assert_int_equal(change(s, &stale).status, ERR_OK);
}

static void one_stale_stage_of_two_drops_both(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  uint64_t one = begin(s, a.job, "one").fence, two = begin(s, a.job, "two").fence;
  char name_one[] = "one", name_two[] = "two";
  struct stage_record stages[2] = {{.stage = name_two, .status = STAGE_FINISHED},
                                   {.stage = name_one, .status = STAGE_FINISHED}};
  struct change c = {.job = a.job, .fence = two, .stages = stages, .stage_count = 2};
  assert_int_equal(change(s, &c).status, ERR_STALE);
  struct stage_record now = stage_now(s, a.job, "two");
  assert_int_equal(now.status, STAGE_RUNNING);
  stage_record_clear(&now);
  c.fence = 0; /* the engine itself may */
  assert_int_equal(change(s, &c).status, ERR_OK);
  now = stage_now(s, a.job, "one");
  assert_int_equal(now.status, STAGE_FINISHED);
  assert_true(now.fence == one);
  stage_record_clear(&now);
}

static void an_ended_job_still_takes_the_attempts_end(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  uint64_t fence = begin(s, a.job, "one").fence;
  set_status(s, a.job, JOB_CANCELLED);
  assert_int_equal(finish(s, a.job, "one", fence, STAGE_FINISHED).status, ERR_CONFLICT);
  struct attempt_record over = {.state = ATTEMPT_OVER};
  struct change c = {.job = a.job, .fence = fence, .attempt = &over};
  assert_int_equal(change(s, &c).status, ERR_OK);
  c.fence = fence + 1;
  assert_int_equal(change(s, &c).status, ERR_STALE);
  assert_int_equal(begin(s, a.job, "two").status, ERR_CONFLICT);
}

static struct answer checkpoint(struct scene *s, const char *job, uint64_t fence, const char *key, const char *value) {
  struct answer a = {0};
  store_checkpoint(s->store, job, "one", fence, key, value, answer_keep, &a);
  store_flush(s->store, NULL);
  return a;
}

static void holds(struct scene *s, const char *job, const char *wanted) {
  mem_auto char *json = NULL;
  assert_int_equal(store_checkpoints(s->store, job, "one", &json, NULL), ERR_OK);
  assert_string_equal(json, wanted);
}

static void checkpoints_last_until_their_stage_finishes(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  uint64_t fence = begin(s, a.job, "one").fence;
  holds(s, a.job, "{}");
  assert_int_equal(checkpoint(s, a.job, fence, "part", "1").status, ERR_OK);
  assert_int_equal(checkpoint(s, a.job, fence, "part", "2").status, ERR_OK);
  assert_int_equal(checkpoint(s, a.job, fence, "etag", "\"x\"").status, ERR_OK);
  assert_int_equal(checkpoint(s, a.job, fence + 9, "part", "3").status, ERR_STALE);
  scene_reopen(s);
  holds(s, a.job, "{\"etag\":\"\\\"x\\\"\",\"part\":\"2\"}");
  mem_auto char *large = mem_alloc(4002);
  memset(large, 'x', 4001);
  assert_int_equal(checkpoint(s, a.job, fence, "k", large).status, ERR_TOO_LARGE);
  assert_int_equal(checkpoint(s, a.job, fence, large, "v").status, ERR_TOO_LARGE);
  finish(s, a.job, "one", fence, STAGE_FINISHED);
  holds(s, a.job, "{}");
}

static void misuse_is_named(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL), b = {0};
  char one[] = "one";
  struct stage_record stage = {.stage = one, .status = STAGE_RUNNING};
  struct attempt_record attempt = {.state = ATTEMPT_LIVE};
  struct change no_attempt = {.job = a.job, .stages = &stage, .stage_count = 1};
  struct change fenced = {.job = a.job, .fence = 3, .stages = &stage, .stage_count = 1, .attempt = &attempt};
  store_begin_attempt(s->store, &no_attempt, answer_keep, &b);
  store_flush(s->store, NULL);
  assert_int_equal(b.status, ERR_USAGE);
  store_begin_attempt(s->store, &fenced, answer_keep, &b);
  store_flush(s->store, NULL);
  assert_int_equal(b.status, ERR_USAGE);
  struct change unfenced = {.job = a.job, .attempt = &attempt};
  assert_int_equal(change(s, &unfenced).status, ERR_USAGE);
  struct change empty_values = {.job = a.job, .job_fields = JOB_SET_STATUS};
  assert_int_equal(change(s, &empty_values).status, ERR_USAGE);
}

int run_fences(void) {
  const struct CMUnitTest tests[] = {
      PROVES(an_attempt_takes_a_number_that_only_grows),   PROVES(live_attempts_are_found_with_their_job),
      PROVES(no_second_attempt_while_the_first_may_live),  PROVES(a_stale_result_is_dropped_whole),
      PROVES(one_stale_stage_of_two_drops_both),           PROVES(an_ended_job_still_takes_the_attempts_end),
      PROVES(checkpoints_last_until_their_stage_finishes), PROVES(misuse_is_named),
  };
  return cmocka_run_group_tests_name("fences", tests, NULL, NULL);
}
