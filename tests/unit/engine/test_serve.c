/* Serving: jobs come from the line as places become free, and nothing that waits stands in anybody's way. Real attempts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "mill.h"

#define HEAD "stagemill: 1\nname: "
#define QUICK HEAD "quick\nstages:\n  - { id: one, uses: noop }\n"
#define SLOW HEAD "slow\nstages:\n  - { id: one, uses: slow, with: { for: 30s } }\n"
#define TWO HEAD "two\nstages:\n  - { id: one, uses: slow, with: { for: 400ms } }\n  - { id: two, uses: noop, needs: one }\n"
#define FLAKY                                                                                                          \
  HEAD "flaky\nstages:\n  - { id: one, uses: flaky, with: { failures: 1 }, retry: { attempts: 3, backoff: 4s } }\n"
#define GROUP                                                                                                          \
  HEAD "grouped\nconcurrency: { group: \"house\" }\nstages:\n  - { id: one, uses: slow, with: { for: 300ms } }\n"

static struct mill mill;

static int set_up(void **state) {
  (void)state;
  mill_open(&mill, 1);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  mill_check(&mill);
  mill_close(&mill);
  return 0;
}

static void keep(char id[STORE_ID_MAX], const char *from) { snprintf(id, STORE_ID_MAX, "%s", from); }

static void test_a_job_is_told_from_queued_to_completed(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  struct error e;
  mill_begin(&mill);
  engine_new_id(id);
  value_auto struct value *extra = bench_json("{\"notify\":{\"mail\":[]}}");
  struct submission more = {.id = id, .owner = "anna", .asset = "clip-7", .batch = "b-1", .title = "holiday", .priority = 80,
                            .extra = extra};
  assert_string_equal(mill_submit(&mill, QUICK, &more), id);
  mill_await(&mill, id, JOB_COMPLETED);
  assert_true(mill_heard(&mill, id, "queued "));
  assert_true(mill_heard(&mill, id, "started "));
  assert_true(mill_heard(&mill, id, "completed "));
  struct event_list events = {0};
  assert_int_equal(store_events(mill.b.engine->store, id, 0, 100, &events, &e), ERR_OK);
  for (size_t i = 0; i < events.count; i++) { /* every one says whose it is, also to those who replay */
    value_auto struct value *body = bench_json(events.items[i].body_json);
    assert_int_equal(events.items[i].seq, i + 1);
    assert_string_equal(value_get_text(body, "owner", ""), "anna");
    assert_string_equal(value_get_text(body, "asset", ""), "clip-7");
    assert_string_equal(value_get_text(body, "batchId", ""), "b-1");
    assert_string_equal(value_get_text(body, "pipeline", ""), "quick");
  }
  event_list_clear(&events);
  struct job_record job = {0};
  assert_int_equal(store_job(mill.b.engine->store, id, &job, &e), ERR_OK);
  assert_string_equal(job.title, "holiday");
  assert_int_equal(job.priority, 80);
  assert_string_equal(job.extra_json, "{\"notify\":{\"mail\":[]}}");
  job_record_clear(&job);
  mill_turn(&mill, 300 * 1000);
  struct engine_status status;
  engine_status(mill.b.engine, &status);
  assert_int_equal(status.loaded, 0); /* it has left memory */
}

static void test_refusals_come_through_the_callback(void **state) {
  (void)state;
  struct error e;
  struct submission more = {.input = bench_path(&mill.b, "no-such-file"), .priority = -1};
  mill_refused(&mill, HEAD "digest\nstages:\n  - { id: one, uses: slow, inputs: { in: source } }\n", &more, &e);
  assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void test_source_and_salt_are_the_identity(void **state) {
  (void)state;
  char first[STORE_ID_MAX];
  mill_begin(&mill);
  struct submission more = {.source = "drive:1@v7", .priority = -1};
  keep(first, mill_submit(&mill, QUICK, &more));
  assert_string_equal(mill_submit(&mill, QUICK, &more), first); /* though it goes to another folder */
  more.salt = "once more";
  assert_string_not_equal(mill_submit(&mill, QUICK, &more), first);
}

/* ---- ten thousand ----------------------------------------------------------------------------------------------------- */

static int64_t cpu_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static size_t store_copies(const char *like, size_t count) {
  struct job_record job = {0};
  struct error e;
  const char *const stages[] = {"one"};
  struct event_draft queued = {"queued", "{}"};
  assert_int_equal(store_job(mill.b.engine->store, like, &job, &e), ERR_OK);
  for (size_t i = 0; i < count; i++) {
    char id[STORE_ID_MAX], identity[65];
    struct job_record copy = job;
    engine_new_id(id);
    snprintf(identity, sizeof identity, "copy-%zu", i);
    copy.id = id;
    copy.identity = identity;
    copy.status = JOB_QUEUED;
    copy.started_us = copy.ended_us = 0;
    store_submit(mill.b.engine->store, &copy, stages, 1, &queued, 1, NULL, NULL);
  }
  assert_int_equal(store_flush(mill.b.engine->store, &e), ERR_OK);
  job_record_clear(&job);
  return count;
}

static uint64_t completed(void) {
  struct store_counts counts = {0};
  assert_int_equal(store_counts(mill.b.engine->store, &counts, NULL), ERR_OK);
  return counts.by_status[JOB_COMPLETED];
}

static void test_ten_thousand_that_wait_cost_nothing(void **state) {
  (void)state;
  char first[STORE_ID_MAX];
  struct engine_status status;
  mill_begin(&mill);
  keep(first, mill_submit(&mill, QUICK, NULL));
  mill_await(&mill, first, JOB_COMPLETED);
  store_copies(first, 10000);
  int64_t before_us = cpu_us();
  mill_restart(&mill);
  engine_status(mill.b.engine, &status);
  print_message("taking over 10,000 waiting jobs: %lld ms of CPU\n", (long long)(cpu_us() - before_us) / 1000);
  assert_in_range(status.waiting, 9990, 10000);
  assert_in_range(cpu_us() - before_us, 0, 5 * 1000 * 1000); /* a tenth of a second; sanitizers take more */
  mill.loaded_most = 0;
  before_us = cpu_us();
  uint64_t had = completed();
  while (completed() < had + 15) mill_turn(&mill, 20 * 1000);
  print_message("one of them: %lld us of CPU\n", (long long)(cpu_us() - before_us) / 15);
  assert_in_range(mill.loaded_most, 1, 4);
  assert_in_range((cpu_us() - before_us) / 15, 0, 100 * 1000); /* a few milliseconds a job */
  const char *late = mill_submit(&mill, QUICK, NULL);
  value_auto struct value *described = NULL;
  struct error e;
  assert_int_equal(engine_describe(mill.b.engine, late, &described, &e), ERR_OK);
  assert_in_range(value_get_int(described, "queuePosition", 0), 9900, 10000);
}

/* ---- what waits stands in nobody's way ----------------------------------------------------------------------------------- */

static void test_a_retry_gives_its_place_away(void **state) {
  (void)state;
  char flaky[STORE_ID_MAX], quick[STORE_ID_MAX];
  struct engine_status status;
  mill_begin(&mill);
  keep(flaky, mill_submit(&mill, FLAKY, NULL));
  mill_await(&mill, flaky, JOB_RETRYING);
  keep(quick, mill_submit(&mill, QUICK, NULL));
  engine_status(mill.b.engine, &status);
  mill_await(&mill, quick, JOB_COMPLETED);
  assert_int_equal(mill_status(&mill, flaky), JOB_RETRYING);
  engine_status(mill.b.engine, &status);
  assert_int_equal(status.loaded, 0); /* it sleeps on disk */
  mill_await(&mill, flaky, JOB_COMPLETED);
  assert_int_equal(mill_tries(&mill, flaky, "one"), 2);
}

static void test_a_retry_is_due_after_a_restart_as_well(void **state) {
  (void)state;
  char flaky[STORE_ID_MAX];
  mill_begin(&mill);
  keep(flaky, mill_submit(&mill, FLAKY, NULL));
  mill_await(&mill, flaky, JOB_RETRYING);
  mill_restart(&mill);
  mill_await(&mill, flaky, JOB_COMPLETED);
}

static void test_of_a_group_one_at_a_time_and_others_pass(void **state) {
  (void)state;
  char a[STORE_ID_MAX], b[STORE_ID_MAX], other[STORE_ID_MAX];
  tear_down(state);
  mill_open(&mill, 2);
  mill_begin(&mill);
  keep(a, mill_submit(&mill, GROUP, NULL));
  mill_await(&mill, a, JOB_PROCESSING);
  keep(b, mill_submit(&mill, GROUP, NULL));
  keep(other, mill_submit(&mill, QUICK, NULL));
  value_auto struct value *described = NULL;
  assert_int_equal(engine_describe(mill.b.engine, b, &described, NULL), ERR_OK);
  assert_non_null(strstr(value_get_text(described, "waitReason", ""), "same concurrency group 'house'"));
  mill_await(&mill, other, JOB_COMPLETED);
  mill_await(&mill, a, JOB_COMPLETED);
  mill_await(&mill, b, JOB_COMPLETED);
  char ended[96], began[96];
  snprintf(ended, sizeof ended, "%s completed", a);
  snprintf(began, sizeof began, "%s started", b);
  assert_true(strstr(buf_string(&mill.told), ended) < strstr(buf_string(&mill.told), began));
}

static void test_owners_take_turns(void **state) {
  (void)state;
  char ids[4][STORE_ID_MAX], block[STORE_ID_MAX];
  struct submission anna = {.owner = "anna", .priority = -1}, ben = {.owner = "ben", .priority = -1};
  mill_begin(&mill);
  keep(block, mill_submit(&mill, TWO, NULL));
  for (int i = 0; i < 3; i++) keep(ids[i], mill_submit(&mill, QUICK, &anna));
  keep(ids[3], mill_submit(&mill, QUICK, &ben));
  for (int i = 0; i < 4; i++) mill_await(&mill, ids[i], JOB_COMPLETED);
  const char *told = buf_string(&mill.told);
  char third[96], bens[96];
  snprintf(third, sizeof third, "%s started", ids[2]);
  snprintf(bens, sizeof bens, "%s started", ids[3]);
  assert_true(strstr(told, bens) < strstr(told, third));
}

/* ---- steering ------------------------------------------------------------------------------------------------------------ */

static void test_a_higher_priority_passes_by(void **state) {
  (void)state;
  char block[STORE_ID_MAX], a[STORE_ID_MAX], b[STORE_ID_MAX];
  mill_begin(&mill);
  keep(block, mill_submit(&mill, TWO, NULL));
  mill_await(&mill, block, JOB_PROCESSING);
  keep(a, mill_submit(&mill, QUICK, NULL));
  keep(b, mill_submit(&mill, QUICK, NULL));
  engine_prioritize(mill.b.engine, b, 90, mill_done, &mill);
  assert_int_equal(mill_answered(&mill, NULL), ERR_OK);
  mill_await(&mill, a, JOB_COMPLETED);
  char first[96], second[96];
  snprintf(first, sizeof first, "%s started", b);
  snprintf(second, sizeof second, "%s started", a);
  assert_true(strstr(buf_string(&mill.told), first) < strstr(buf_string(&mill.told), second));
}

static void test_a_waiting_job_is_cancelled_where_it_stands(void **state) {
  (void)state;
  char block[STORE_ID_MAX], waiting[STORE_ID_MAX];
  struct error e;
  mill_begin(&mill);
  keep(block, mill_submit(&mill, SLOW, NULL));
  mill_await(&mill, block, JOB_PROCESSING);
  keep(waiting, mill_submit(&mill, QUICK, NULL));
  engine_cancel(mill.b.engine, waiting, mill_done, &mill);
  assert_int_equal(mill_answered(&mill, NULL), ERR_OK);
  mill_await(&mill, waiting, JOB_CANCELLED);
  assert_true(mill_heard(&mill, waiting, "cancelled "));
  engine_cancel(mill.b.engine, waiting, mill_done, &mill);
  assert_int_equal(mill_answered(&mill, &e), ERR_CONFLICT);
}

static bool vanishes(const char *below) {
  for (int i = 0; i < 500 && bench_exists(&mill.b, below); i++) mill_turn(&mill, 20 * 1000);
  return !bench_exists(&mill.b, below);
}

static void test_a_removed_job_leaves_nothing(void **state) {
  (void)state;
  char id[STORE_ID_MAX], below[128];
  struct error e;
  mem_auto char *outputs = mem_text(bench_path(&mill.b, "out")), *mine = mem_text(bench_path(&mill.b, "out/mine"));
  struct submission more = {.output_folder = mine, .priority = -1};
  mill_begin(&mill);
  keep(id, mill_submit(&mill, TWO, &more));
  engine_delete(mill.b.engine, id, outputs, mill_done, &mill);
  assert_int_equal(mill_answered(&mill, &e), ERR_CONFLICT);
  mill_await(&mill, id, JOB_COMPLETED);
  snprintf(below, sizeof below, "state/jobs/%s", id);
  assert_true(bench_exists(&mill.b, below) && bench_exists(&mill.b, "out/mine/job.json"));
  engine_delete(mill.b.engine, id, bench_path(&mill.b, "elsewhere"), mill_done, &mill);
  assert_int_equal(mill_answered(&mill, NULL), ERR_OK);
  assert_true(vanishes(below));
  assert_true(bench_exists(&mill.b, "out/mine/job.json")); /* not below what may be removed */
  keep(id, mill_submit(&mill, TWO, &more));
  mill_await(&mill, id, JOB_COMPLETED);
  engine_delete(mill.b.engine, id, outputs, mill_done, &mill);
  assert_int_equal(mill_answered(&mill, NULL), ERR_OK);
  assert_true(vanishes("out/mine"));
  assert_true(bench_exists(&mill.b, "out"));
}

/* ---- draining -------------------------------------------------------------------------------------------------------------- */

static void on_idle(void *context) { *(bool *)context = true; }

static void test_draining_lets_what_runs_finish(void **state) {
  (void)state;
  char running[STORE_ID_MAX], waiting[STORE_ID_MAX];
  bool idle = false;
  mill_begin(&mill);
  keep(running, mill_submit(&mill, TWO, NULL));
  mill_await_stage(&mill, running, "one", STAGE_RUNNING);
  keep(waiting, mill_submit(&mill, QUICK, NULL));
  engine_drain(mill.b.engine, 20 * 1000 * 1000, on_idle, &idle);
  for (int i = 0; i < 500 && !idle; i++) mill_turn(&mill, 20 * 1000);
  assert_true(idle);
  mill_await_stage(&mill, running, "one", STAGE_FINISHED);
  assert_int_equal(mill_tries(&mill, running, "two"), 0); /* nothing new was begun */
  assert_int_equal(mill_status(&mill, running), JOB_QUEUED);
  assert_int_equal(mill_tries(&mill, waiting, "one"), 0);
  mill_restart(&mill);
  mill_await(&mill, running, JOB_COMPLETED);
  mill_await(&mill, waiting, JOB_COMPLETED);
  assert_int_equal(mill_tries(&mill, running, "one"), 1);
}

static void test_what_outlasts_the_drain_is_handed_back_for_nothing(void **state) {
  (void)state;
  char id[STORE_ID_MAX];
  bool idle = false;
  mill_begin(&mill);
  keep(id, mill_submit(&mill, SLOW, NULL));
  mill_await_stage(&mill, id, "one", STAGE_RUNNING);
  engine_drain(mill.b.engine, 200 * 1000, on_idle, &idle);
  for (int i = 0; i < 500 && !idle; i++) mill_turn(&mill, 20 * 1000);
  assert_true(idle);
  struct stage_list stages = {0};
  assert_int_equal(store_stages(mill.b.engine->store, id, &stages, NULL), ERR_OK);
  assert_int_equal(stages.items[0].status, STAGE_WAITING);
  assert_int_equal(stages.items[0].attempts, 0);
  assert_int_equal(stages.items[0].lost, 0);
  stage_list_clear(&stages);
  assert_int_equal(mill_status(&mill, id), JOB_QUEUED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_a_job_is_told_from_queued_to_completed), T(test_refusals_come_through_the_callback),
      T(test_source_and_salt_are_the_identity), T(test_ten_thousand_that_wait_cost_nothing),
      T(test_a_retry_gives_its_place_away), T(test_a_retry_is_due_after_a_restart_as_well),
      T(test_of_a_group_one_at_a_time_and_others_pass), T(test_owners_take_turns), T(test_a_higher_priority_passes_by),
      T(test_a_waiting_job_is_cancelled_where_it_stands), T(test_a_removed_job_leaves_nothing),
      T(test_draining_lets_what_runs_finish), T(test_what_outlasts_the_drain_is_handed_back_for_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
