/* Whose fault it was: the decision table over what an attempt said and how it ended. Attempts are played, nothing runs. */
#include <stagemill/abi.h>
#include <string.h>

#include "bench.h"

enum { STAGES = 3, NOTHING = CHARGE_NOTHING, DONE = CHARGE_DONE, GONE = CHARGE_GONE, RETRY = CHARGE_RETRY,
       FAIL = CHARGE_FAIL, SUSPECT = CHARGE_SUSPECT, LOST = CHARGE_LOST, CANCEL = CHARGE_CANCEL };

/* A pass of a filter f (0) and the sinks a (1) and b (2). */
static struct stage_type filter = {.kind = SM_KIND_FILTER}, sink = {.kind = SM_KIND_SINK}, task = {.kind = SM_KIND_TASK};
static struct pipeline_stage rows[STAGES];
static struct pipeline pipeline;
static struct job_stage job_stages[STAGES];
static struct job job;
static struct trial_stage trial_stages[STAGES];
static struct trial trial;

static int play(void **state) {
  (void)state;
  memset(rows, 0, sizeof rows);
  memset(job_stages, 0, sizeof job_stages);
  memset(trial_stages, 0, sizeof trial_stages);
  pipeline = (struct pipeline){.stages = rows, .stage_count = STAGES};
  job = (struct job){.pipeline = &pipeline, .stages = job_stages};
  trial = (struct trial){.job = &job, .stages = trial_stages, .stage_count = STAGES, .over = true};
  trial.unit.is_pass = true;
  trial.outcome.suspect = -1;
  trial.outcome.end = ATTEMPT_ENDED;
  for (size_t i = 0; i < STAGES; i++) {
    rows[i].type = i ? &sink : &filter;
    rows[i].timeout_us = 1000;
    trial_stages[i] = (struct trial_stage){.trial = &trial, .index = i, .leaving = LEAVING_NOT};
  }
  return 0;
}

static void means(int f, int a, int b) {
  assert_int_equal(charge_of(&trial, 0), f);
  assert_int_equal(charge_of(&trial, 1), a);
  assert_int_equal(charge_of(&trial, 2), b);
}

static void ends(enum attempt_end end, int32_t suspect) {
  trial.outcome.end = end;
  trial.outcome.suspect = suspect;
}

static void test_what_is_checked_is_published(void **state) {
  (void)state;
  trial_stages[0].verdict = VERDICT_OK;
  trial_stages[1].leaving = LEAVING_CHECKED;
  trial_stages[2].leaving = LEAVING_GONE;
  means(NOTHING, DONE, GONE);
}

static void test_the_one_at_fault_pays_the_others_begin_again(void **state) {
  (void)state;
  trial_stages[1].verdict = VERDICT_RETRY;
  means(NOTHING, RETRY, NOTHING);
  trial_stages[1].verdict = VERDICT_FAIL;
  means(NOTHING, FAIL, NOTHING);
  trial_stages[1].verdict = VERDICT_OK;
  trial_stages[1].fault.code = ERR_INVALID;
  means(NOTHING, FAIL, NOTHING);
  trial_stages[1].fault.code = ERR_NO_SPACE;
  means(NOTHING, RETRY, NOTHING);
}

static void test_without_a_clear_owner_everybody_unfinished_pays(void **state) {
  (void)state;
  trial_stages[2].leaving = LEAVING_GONE;
  for (int i = 0; i < 3; i++) {
    static const enum attempt_end unclear[] = {ATTEMPT_STALLED, ATTEMPT_MEMORY, ATTEMPT_QUOTA};
    ends(unclear[i], -1);
    means(RETRY, RETRY, GONE);
  }
  ends(ATTEMPT_ENDED, -1); /* nobody gave a verdict */
  means(RETRY, RETRY, GONE);
}

static void test_a_crash_makes_a_suspect_first_then_a_culprit(void **state) {
  (void)state;
  ends(ATTEMPT_CRASHED, 1);
  means(NOTHING, SUSPECT, NOTHING);
  job_stages[1].record.suspect = true;
  means(NOTHING, RETRY, NOTHING);
  ends(ATTEMPT_CRASHED, -1);
  means(RETRY, RETRY, RETRY);
}

static void test_a_stage_that_is_through_is_no_suspect(void **state) {
  (void)state;
  trial_stages[1].leaving = LEAVING_GONE;
  ends(ATTEMPT_CRASHED, 1);
  means(RETRY, GONE, RETRY);
  ends(ATTEMPT_CRASHED, 99);
  means(RETRY, GONE, RETRY);
}

static void test_a_lost_zygote_costs_nothing_here(void **state) {
  (void)state;
  ends(ATTEMPT_LOST, -1);
  means(LOST, LOST, LOST);
}

static void test_the_shortest_timeout_pays(void **state) {
  (void)state;
  rows[2].timeout_us = 500;
  ends(ATTEMPT_TIMED_OUT, -1);
  means(NOTHING, NOTHING, RETRY);
  trial_stages[2].leaving = LEAVING_GONE; /* it was through: then it is the next ones' */
  means(RETRY, RETRY, GONE);
}

static void test_refusals(void **state) {
  (void)state;
  ends(ATTEMPT_REFUSED, -1);
  trial.outcome.error.code = ERR_INVALID;
  means(FAIL, FAIL, FAIL);
  trial.outcome.error.code = ERR_NO_SPACE;
  means(RETRY, RETRY, RETRY);
}

static void test_an_interrupt_costs_nothing_but_what_was_said_before_counts(void **state) {
  (void)state;
  trial.interrupted = true;
  ends(ATTEMPT_CANCELLED, -1);
  trial_stages[1].leaving = LEAVING_CHECKED;
  trial_stages[2].verdict = VERDICT_FAIL;
  means(NOTHING, DONE, FAIL);
}

static void test_a_cancelled_job_drops_what_is_not_published(void **state) {
  (void)state;
  job.record.cancel_requested = true;
  trial_stages[1].leaving = LEAVING_CHECKED;
  trial_stages[2].leaving = LEAVING_GONE;
  ends(ATTEMPT_CANCELLED, -1);
  means(CANCEL, CANCEL, GONE);
  trial_stages[0].verdict = VERDICT_FAIL; /* what it says when it is stopped is no failure */
  means(CANCEL, CANCEL, GONE);
}

static void test_always_stages_of_a_cancelled_job_count(void **state) {
  (void)state;
  job.record.cancel_requested = true;
  trial.late_stages = true;
  trial_stages[1].leaving = LEAVING_CHECKED;
  trial_stages[2].verdict = VERDICT_RETRY;
  means(NOTHING, DONE, RETRY);
}

static void test_the_pipelines_timeout_costs_nothing_by_itself(void **state) {
  (void)state;
  trial.overdue = true;
  ends(ATTEMPT_CANCELLED, -1);
  means(NOTHING, NOTHING, NOTHING);
}

static void test_an_attempt_the_engine_ended_fails_with_its_reason(void **state) {
  (void)state;
  struct error e;
  error_set(&trial.trouble, ERR_TOO_LARGE, "the results are too large");
  ends(ATTEMPT_CANCELLED, -1);
  means(FAIL, FAIL, FAIL);
  charge_error(&trial, 1, &e);
  assert_string_equal(e.message, "the results are too large");
}

static void test_no_attempt_is_free_for_ever(void **state) {
  (void)state;
  for (size_t i = 0; i < STAGES; i++) trial_stages[i].verdict = VERDICT_OK; /* and yet nothing was made */
  means(RETRY, RETRY, RETRY);
  trial_stages[0].unneeded = true;
  trial_stages[0].verdict = VERDICT_FAIL; /* dropped in the prologue: whatever it says, it is nobody's culprit */
  trial_stages[1].verdict = trial_stages[2].verdict = VERDICT_CANCELLED;
  means(NOTHING, RETRY, RETRY);
}

static void test_a_task_alone(void **state) {
  (void)state;
  trial.stage_count = 1;
  trial.unit.is_pass = false;
  rows[0].type = &task;
  ends(ATTEMPT_CRASHED, 0);
  assert_int_equal(charge_of(&trial, 0), RETRY);
  ends(ATTEMPT_PROTOCOL, -1);
  assert_int_equal(charge_of(&trial, 0), FAIL);
  ends(ATTEMPT_EXITED, -1);
  assert_int_equal(charge_of(&trial, 0), RETRY);
}

#define T(name) cmocka_unit_test_setup(name, play)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_what_is_checked_is_published), T(test_the_one_at_fault_pays_the_others_begin_again),
      T(test_without_a_clear_owner_everybody_unfinished_pays), T(test_a_crash_makes_a_suspect_first_then_a_culprit),
      T(test_a_stage_that_is_through_is_no_suspect), T(test_a_lost_zygote_costs_nothing_here),
      T(test_the_shortest_timeout_pays), T(test_refusals),
      T(test_an_interrupt_costs_nothing_but_what_was_said_before_counts),
      T(test_a_cancelled_job_drops_what_is_not_published), T(test_always_stages_of_a_cancelled_job_count),
      T(test_the_pipelines_timeout_costs_nothing_by_itself), T(test_an_attempt_the_engine_ended_fails_with_its_reason),
      T(test_no_attempt_is_free_for_ever), T(test_a_task_alone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
