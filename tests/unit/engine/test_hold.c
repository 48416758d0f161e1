/* People: stages that wait for one, pauses, other rounds with other words. Real attempts; engines that end and begin again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "mill.h"

#define HEAD "stagemill: 1\nname: "
#define REVIEW                                                                                                         \
  HEAD "review\nstages:\n"                                                                                             \
       "  - { id: before, uses: noop }\n"                                                                               \
       "  - { id: look, uses: hold, needs: before, with: { title: Check it, message: \"Is it good?\", fields: [rating, note] } }\n" \
       "  - { id: after, uses: slow, needs: look, with: { for: 1ms }, if: \"${{ stages.look.rating == 'good' }}\" }\n"        \
       "result: { by: \"${{ stages.look.by }}\", rating: \"${{ stages.look.rating }}\", note: \"${{ stages.look.note }}\" }\n"
#define SOFT                                                                                                           \
  HEAD "soft\nstages:\n"                                                                                               \
       "  - { id: look, uses: hold, continue-on-error: true, timeout: 300ms }\n"                                       \
       "  - { id: after, uses: noop, needs: look }\n"
#define TWO HEAD "two\nstages:\n  - { id: one, uses: slow, with: { for: 1s } }\n  - { id: two, uses: noop, needs: one }\n"
#define EDIT                                                                                                           \
  HEAD "edit\nparams:\n  n: { type: int, default: 5 }\n  logo: { type: file, default: \"\" }\nstages:\n"                \
       "  - { id: apart, uses: noop }\n"                                                                                \
       "  - { id: first, uses: noop }\n"                                                                                \
       "  - { id: second, uses: noop, needs: first }\n"                                                                 \
       "  - { id: third, uses: flaky, needs: second, with: { failures: \"${{ params.n }}\", verdict: fail } }\n"

static struct mill mill;

static int set_up(void **state) {
  (void)state;
  mill_open(&mill, 1);
  mill_begin(&mill);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  mill_check(&mill);
  mill_close(&mill);
  return 0;
}

static void keep(char id[STORE_ID_MAX], const char *from) { snprintf(id, STORE_ID_MAX, "%s", from); }

static enum err release(const char *job, const char *stage, const char *decision, struct error *e) {
  value_auto struct value *v = bench_json(decision);
  engine_release(mill.b.engine, job, stage, v, mill_done, &mill);
  return mill_answered(&mill, e);
}

/* ---- hold ------------------------------------------------------------------------------------------------------------------ */

static void test_a_held_job_waits_over_restarts_and_goes_on_with_the_answer(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  struct engine_status status;
  keep(id, mill_submit(&mill, REVIEW, NULL));
  mill_await(&mill, id, JOB_HELD);
  assert_true(mill_heard(&mill, id, "state held"));
  mem_auto char *reason = mill_reason(&mill, id);
  assert_non_null(strstr(reason, "waits for a person: Is it good?"));
  mill_turn(&mill, 100 * 1000);
  engine_status(mill.b.engine, &status);
  assert_int_equal(status.loaded, 0);
  mill_restart(&mill);
  mill_turn(&mill, 200 * 1000);
  assert_int_equal(mill_status(&mill, id), JOB_HELD);
  assert_int_equal(release(id, "look", "{\"verdict\":\"released\",\"by\":\"anna\",\"comment\":\"fine\",\"values\":{\"rating\":\"good\"}}", NULL), ERR_OK);
  mill_await(&mill, id, JOB_COMPLETED);
  value_auto struct value *results = mill_results(&mill, id, "look");
  assert_string_equal(value_get_text(results, "verdict", ""), "released");
  assert_string_equal(value_get_text(results, "comment", ""), "fine");
  assert_string_equal(value_get_text(results, "by", ""), "anna");
  assert_string_equal(value_get_text(results, "rating", ""), "good");
  assert_int_equal(mill_tries(&mill, id, "before"), 1);
  assert_int_equal(mill_tries(&mill, id, "after"), 1); /* its `if` read the answer */
  struct job_record job = {0};
  assert_int_equal(store_job(mill.b.engine->store, id, &job, NULL), ERR_OK);
  assert_string_equal(job.result_json, "{\"by\":\"anna\",\"rating\":\"good\",\"note\":null}");
  job_record_clear(&job);
}

static void test_what_is_asked_can_be_read(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  value_auto struct value *v = NULL;
  keep(id, mill_submit(&mill, REVIEW, NULL));
  mill_await(&mill, id, JOB_HELD);
  assert_int_equal(engine_describe(mill.b.engine, id, &v, NULL), ERR_OK);
  assert_string_equal(value_path(v, "stages.1.status")->text, "held");
  assert_string_equal(value_path(v, "stages.1.hold.title")->text, "Check it");
  assert_string_equal(value_path(v, "stages.1.hold.fields.1")->text, "note");
}

static void test_a_rejected_job_fails_with_the_words(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  struct job_record job = {0};
  keep(id, mill_submit(&mill, REVIEW, NULL));
  mill_await(&mill, id, JOB_HELD);
  assert_int_equal(release(id, "look", "{\"verdict\":\"rejected\",\"by\":\"ben\",\"comment\":\"too dark\"}", NULL), ERR_OK);
  mill_await(&mill, id, JOB_FAILED);
  assert_int_equal(store_job(mill.b.engine->store, id, &job, NULL), ERR_OK);
  assert_non_null(strstr(job.error_json, "rejected by ben: too dark"));
  job_record_clear(&job);
}

static void test_wrong_answers_are_refused_and_change_nothing(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  struct error e;
  keep(id, mill_submit(&mill, REVIEW, NULL));
  assert_int_equal(release(id, "after", "{\"verdict\":\"released\"}", NULL), ERR_CONFLICT);
  mill_await(&mill, id, JOB_HELD);
  assert_int_equal(release(id, "before", "{\"verdict\":\"released\"}", NULL), ERR_CONFLICT);
  assert_int_equal(release(id, "look", "{\"verdict\":\"perhaps\"}", NULL), ERR_INVALID);
  assert_int_equal(release(id, "look", "{\"verdict\":\"released\",\"values\":{\"colour\":\"red\"}}", &e), ERR_INVALID);
  assert_non_null(strstr(e.message, "colour"));
  assert_int_equal(release(id, "look", "{\"verdict\":\"released\",\"values\":{\"note\":{}}}", NULL), ERR_INVALID);
  assert_int_equal(release("none", "look", "{\"verdict\":\"released\"}", NULL), ERR_NOT_FOUND);
  assert_int_equal(mill_status(&mill, id), JOB_HELD);
  assert_int_equal(release(id, "look", "{\"verdict\":\"released\"}", NULL), ERR_OK);
  assert_int_equal(release(id, "look", "{\"verdict\":\"released\"}", NULL), ERR_CONFLICT); /* the first one counts */
  mill_await(&mill, id, JOB_COMPLETED);
}

static void test_a_held_job_can_be_cancelled(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  keep(id, mill_submit(&mill, REVIEW, NULL));
  mill_await(&mill, id, JOB_HELD);
  engine_cancel(mill.b.engine, id, mill_done, &mill);
  assert_int_equal(mill_answered(&mill, NULL), ERR_OK);
  mill_await(&mill, id, JOB_CANCELLED);
}

static void test_nobody_in_time_fails_the_stage(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  keep(id, mill_submit(&mill, SOFT, NULL));
  mill_await(&mill, id, JOB_HELD);
  mill_await(&mill, id, JOB_COMPLETED);
  mill_await_stage(&mill, id, "look", STAGE_SOFT_FAILED);
}

/* ---- pause ----------------------------------------------------------------------------------------------------------------- */

static void pause_it(const char *what, int64_t until_us) {
  engine_pause(mill.b.engine, what, until_us, "anna", mill_done, &mill);
  assert_int_equal(mill_answered(&mill, NULL), ERR_OK);
}

static void resume_it(const char *what) {
  engine_unpause(mill.b.engine, what, mill_done, &mill);
  assert_int_equal(mill_answered(&mill, NULL), ERR_OK);
}

static void test_a_paused_job_finishes_its_pass_and_waits_over_restarts(void **state) {
  (void)state;
  char id[STORE_ID_MAX], other[STORE_ID_MAX];
  keep(id, mill_submit(&mill, TWO, NULL));
  mill_await_stage(&mill, id, "one", STAGE_RUNNING);
  pause_it(id, 0);
  mill_await(&mill, id, JOB_PAUSED);
  mill_await_stage(&mill, id, "one", STAGE_FINISHED);
  assert_true(mill_heard(&mill, id, "state paused"));
  mem_auto char *reason = mill_reason(&mill, id);
  assert_string_equal(reason, "paused by anna until it is resumed");
  keep(other, mill_submit(&mill, TWO, NULL));
  mill_await(&mill, other, JOB_COMPLETED);
  mill_restart(&mill);
  mill_turn(&mill, 200 * 1000);
  assert_int_equal(mill_status(&mill, id), JOB_PAUSED);
  resume_it(id);
  mill_await(&mill, id, JOB_COMPLETED);
  assert_int_equal(mill_tries(&mill, id, "one"), 1);
}

static void test_a_pause_ends_by_itself(void **state) {
  (void)state;
  char id[STORE_ID_MAX], block[STORE_ID_MAX];
  int64_t until_us = clock_wall(&clock_system) + 2500 * 1000;
  keep(block, mill_submit(&mill, TWO, NULL));
  keep(id, mill_submit(&mill, TWO, NULL));
  pause_it(id, until_us); /* while it waits */
  assert_int_equal(mill_status(&mill, id), JOB_PAUSED);
  mill_restart(&mill);
  mill_await(&mill, id, JOB_COMPLETED);
  assert_true(clock_wall(&clock_system) >= until_us);
}

static void test_a_paused_queue_starts_nothing(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  value_auto struct value *v = NULL;
  pause_it("queue", 0);
  keep(id, mill_submit(&mill, TWO, NULL));
  mill_restart(&mill);
  mill_turn(&mill, 300 * 1000);
  assert_int_equal(mill_tries(&mill, id, "one"), 0);
  assert_int_equal(engine_describe(mill.b.engine, id, &v, NULL), ERR_OK);
  assert_string_equal(value_get_text(v, "waitReason", ""), "the queue is paused by anna until it is resumed");
  resume_it("queue");
  mill_await(&mill, id, JOB_COMPLETED);
}

static void test_a_paused_pipeline_lets_others_pass(void **state) {
  (void)state;
  char id[STORE_ID_MAX], other[STORE_ID_MAX];
  pause_it("pipeline:two", 0);
  keep(id, mill_submit(&mill, TWO, NULL));
  keep(other, mill_submit(&mill, SOFT, NULL));
  mill_await(&mill, other, JOB_COMPLETED);
  assert_int_equal(mill_status(&mill, id), JOB_QUEUED);
  resume_it("pipeline:two");
  mill_await(&mill, id, JOB_COMPLETED);
}

/* ---- another round ----------------------------------------------------------------------------------------------------------- */

static enum err retry(const char *job, const char *from, const char *params, struct error *e) {
  value_auto struct value *v = params ? bench_json(params) : NULL;
  struct retry_options options = {.from_stage = from, .params = v};
  engine_retry_with(mill.b.engine, job, &options, mill_done, &mill);
  return mill_answered(&mill, e);
}

static void test_a_round_from_a_stage_with_other_parameters(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  struct error e;
  keep(id, mill_submit(&mill, EDIT, NULL));
  mill_await(&mill, id, JOB_FAILED);
  assert_int_equal(retry(id, "nowhere", NULL, NULL), ERR_INVALID);
  assert_int_equal(retry(id, NULL, "{\"m\":\"1\"}", &e), ERR_INVALID);
  assert_int_equal(retry(id, NULL, "{\"n\":\"many\"}", NULL), ERR_INVALID);
  assert_int_equal(retry(id, NULL, "{\"n\":\"4000\"}", NULL), ERR_INVALID); /* out of the stage's range */
  assert_int_equal(mill_status(&mill, id), JOB_FAILED);
  bench_write(&mill.b, "logo.png", "not looked at");
  mem_auto char *params = mem_format("{\"n\":\"0\",\"logo\":\"%s\"}", bench_path(&mill.b, "logo.png"));
  assert_int_equal(retry(id, "second", params, NULL), ERR_OK);
  mill_await(&mill, id, JOB_COMPLETED);
  assert_int_equal(mill_tries(&mill, id, "first"), 1);
  assert_int_equal(mill_tries(&mill, id, "second"), 2);
  assert_int_equal(mill_tries(&mill, id, "third"), 2);
  assert_int_equal(mill_tries(&mill, id, "apart"), 1);
  value_auto struct value *v = NULL;
  assert_int_equal(engine_describe(mill.b.engine, id, &v, NULL), ERR_OK);
  assert_string_equal(value_path(v, "spec.params.n")->text, "0");
  assert_int_equal(retry(id, "second", NULL, NULL), ERR_CONFLICT); /* completed */
}

static void test_edits_outlive_a_restart_and_add_up(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  keep(id, mill_submit(&mill, EDIT, NULL));
  mill_await(&mill, id, JOB_FAILED);
  pause_it("queue", 0);
  assert_int_equal(retry(id, NULL, "{\"n\":\"0\"}", NULL), ERR_OK);
  mill_restart(&mill);
  resume_it("queue");
  mill_await(&mill, id, JOB_COMPLETED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_a_held_job_waits_over_restarts_and_goes_on_with_the_answer), T(test_what_is_asked_can_be_read),
      T(test_a_rejected_job_fails_with_the_words), T(test_wrong_answers_are_refused_and_change_nothing),
      T(test_a_held_job_can_be_cancelled), T(test_nobody_in_time_fails_the_stage),
      T(test_a_paused_job_finishes_its_pass_and_waits_over_restarts), T(test_a_pause_ends_by_itself),
      T(test_a_paused_queue_starts_nothing), T(test_a_paused_pipeline_lets_others_pass),
      T(test_a_round_from_a_stage_with_other_parameters), T(test_edits_outlive_a_restart_and_add_up)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
