/* Publishing, entered at every point at which an earlier owner may have died. The store and the moves are real. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "bench.h"

static struct bench bench;
static struct pipeline_stage row;
static struct stage_type type = {.kind = 1, .summary = (char *)(uintptr_t) "makes a file"};
static struct pipeline pipeline;
static struct job_stage stage;
static struct job *job;
static uint64_t fence;
static bool answered;

static void on_answer(void *context, const struct commit *commit) {
  assert_int_equal(commit->status, ERR_OK);
  if (commit->fence) fence = commit->fence;
  if (context) *(char **)context = mem_text(commit->job);
  answered = true;
}

static void submit(char **id) {
  struct job_record record = {.identity = (char[]){"identity"}, .pipeline = (char[]){"p"}, .status = JOB_QUEUED};
  const char *const stages[] = {"one"};
  answered = false;
  store_submit(bench.engine->store, &record, stages, 1, NULL, 0, on_answer, id);
  bench_turn(&bench, &answered);
}

static void lease(const char *id) {
  struct stage_record s = {.stage = (char[]){"one"}, .status = STAGE_RUNNING};
  struct attempt_record a = {.state = ATTEMPT_LIVE, .stages = (char[]){"one"}};
  struct change change = {.job = id, .stages = &s, .stage_count = 1, .attempt = &a};
  answered = false;
  store_begin_attempt(bench.engine->store, &change, on_answer, NULL);
  bench_turn(&bench, &answered);
}

/* The intent is on disk; where the files are is up to each test. */
static void intend(const char *id) {
  struct stage_record s = {.stage = (char[]){"one"}, .status = STAGE_PUBLISHING};
  struct change change = {.job = id, .fence = fence, .stages = &s, .stage_count = 1};
  answered = false;
  store_change(bench.engine->store, &change, on_answer, NULL);
  bench_turn(&bench, &answered);
  stage.record = (struct stage_record){.stage = mem_text("one"), .status = STAGE_PUBLISHING, .fence = fence};
}

static struct manifest *manifest_of(const char *text) {
  struct manifest *manifest = NULL;
  struct error e;
  bench_write(&bench, "model/a.txt", text);
  value_auto struct value *outputs = bench_json("[{\"port\":\"p\",\"name\":\"a.txt\",\"type\":\"text/plain\"}]");
  assert_int_equal(manifest_make(bench_path(&bench, "model"), outputs, 0, &manifest, &e), ERR_OK);
  return manifest;
}

static int set_up(void **state) {
  (void)state;
  bench_open(&bench);
  memset(&stage, 0, sizeof stage);
  static char one[] = "one", name[] = "p";
  row = (struct pipeline_stage){.id = one, .type = &type, .retry.attempts = 4};
  pipeline = (struct pipeline){.name = name, .stages = &row, .stage_count = 1};
  job = mem_alloc(sizeof *job);
  *job = (struct job){.engine = bench.engine, .pipeline = &pipeline, .stages = &stage,
                      .output_folder = mem_text(bench_path(&bench, "out")), .spec = value_map()};
  submit(&job->id);
  lease(job->id);
  intend(job->id);
  stage.manifest = manifest_of("new");
  job->step_posted = true; /* no planner here: the job is only to be published */
  job->next = bench.engine->jobs;
  bench.engine->jobs = job;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  bench_turn(&bench, NULL);
  bench.engine->jobs = job->next;
  stage_record_clear(&stage.record);
  manifest_free(&stage.manifest);
  value_free(&stage.results);
  value_free(&job->spec);
  free(job->output_folder);
  free(job->id);
  free(job);
  bench_close(&bench);
  return 0;
}

static const char *attempt_path(const char *below) {
  static char path[200];
  snprintf(path, sizeof path, "out/.stagemill/%s/%llu/%s", job->id, (unsigned long long)fence, below);
  return path;
}

static enum stage_status stored(void) {
  struct stage_list list = {0};
  assert_int_equal(store_stages(bench.engine->store, job->id, &list, NULL), ERR_OK);
  enum stage_status status = list.items[0].status;
  stage_list_clear(&list);
  return status;
}

static void publish(void) {
  publish_move(job, 0);
  for (int i = 0; i < 200 && (job->committing || !work_is_quiet(bench.engine)); i++) loop_turn(bench.loop, 10 * 1000);
}

static void published(void) {
  publish();
  assert_int_equal(stage.record.status, STAGE_FINISHED);
  assert_int_equal(stored(), STAGE_FINISHED);
  assert_true(bench_holds(&bench, "out/one/a.txt", "new"));
  assert_false(bench_exists(&bench, attempt_path("")));
}

static void test_after_the_intent(void **state) {
  (void)state;
  bench_write(&bench, attempt_path("one/a.txt"), "new");
  published();
}

static void test_over_an_older_folder(void **state) {
  (void)state;
  bench_write(&bench, attempt_path("one/a.txt"), "new");
  bench_write(&bench, "out/one/a.txt", "old");
  bench_write(&bench, "out/one/stale.txt", "old");
  published();
  assert_false(bench_exists(&bench, "out/one/stale.txt"));
}

static void test_after_the_rename(void **state) {
  (void)state;
  bench_write(&bench, attempt_path("other"), "x");
  bench_write(&bench, "out/one/a.txt", "new");
  published();
}

static void test_after_the_exchange(void **state) {
  (void)state;
  bench_write(&bench, attempt_path("one/a.txt"), "old");
  bench_write(&bench, "out/one/a.txt", "new");
  published();
}

static void test_between_the_two_renames_without_exchange(void **state) {
  (void)state;
  bench_write(&bench, attempt_path("one/a.txt"), "new");
  bench_write(&bench, attempt_path("one.replaced/a.txt"), "old");
  published();
}

static void test_a_link_in_the_place_is_replaced_not_followed(void **state) {
  (void)state;
  bench_write(&bench, attempt_path("one/a.txt"), "new");
  bench_write(&bench, "precious/a.txt", "mine");
  assert_int_equal(symlink(bench_path(&bench, "precious"), bench_path(&bench, "out/one")), 0);
  published();
  assert_true(bench_holds(&bench, "precious/a.txt", "mine"));
}

static void test_what_vanished_is_made_again_not_invented(void **state) {
  (void)state;
  bench_write(&bench, "out/one/a.txt", "another's");
  publish();
  assert_int_equal(stored(), STAGE_WAITING);
  assert_true(bench_holds(&bench, "out/one/a.txt", "another's"));
}

static void test_a_place_that_cannot_be_used_is_explained_and_tried_again(void **state) {
  (void)state;
  if (geteuid() == 0) { /* permissions do not stop root: a file where the folder should be does */
    bench_write(&bench, attempt_path("one/a.txt"), "new");
    assert_int_equal(rename(bench_path(&bench, "out"), bench_path(&bench, "elsewhere")), 0);
    bench_write(&bench, "out", "a file");
  } else {
    skip();
  }
  publish_move(job, 0);
  for (int i = 0; i < 50 && !job->trouble[0]; i++) loop_turn(bench.loop, 10 * 1000);
  assert_non_null(strstr(job->trouble, "cannot be published"));
  assert_int_equal(stored(), STAGE_PUBLISHING);
  assert_true(job_quiet(job) || job->step_posted); /* an interrupt does not wait for it */
  assert_int_equal(unlink(bench_path(&bench, "out")), 0);
  assert_int_equal(rename(bench_path(&bench, "elsewhere"), bench_path(&bench, "out")), 0);
  for (int i = 0; i < 400 && job->committing; i++) loop_turn(bench.loop, 10 * 1000);
  assert_int_equal(stored(), STAGE_FINISHED);
  assert_string_equal(job->trouble, "");
}


#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_after_the_intent), T(test_over_an_older_folder), T(test_after_the_rename), T(test_after_the_exchange),
      T(test_between_the_two_renames_without_exchange), T(test_a_link_in_the_place_is_replaced_not_followed),
      T(test_what_vanished_is_made_again_not_invented),
      T(test_a_place_that_cannot_be_used_is_explained_and_tried_again)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
