/* Order and durability of completions, retention, backup, export. */
#include "conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/value.h"

struct watch {
  struct store *store;
  int order[64], count;
  bool always_there;
};
struct step {
  struct watch *watch;
  int number;
};

static void note_step(void *context, const struct commit *c) {
  struct step *step = context;
  struct job_record job = {0};
  step->watch->order[step->watch->count++] = step->number;
  step->watch->always_there &= store_job(step->watch->store, c->job, &job, NULL) == ERR_OK;
  job_record_clear(&job);
}

static void completions_run_in_order_and_only_for_what_is_stored(void **state) {
  struct scene *s = *state;
  struct watch w = {.store = s->store, .always_there = true};
  struct step steps[64];
  struct job_record job = {0};
  for (int i = 0; i < 64; i++) {
    steps[i] = (struct step){&w, i};
    store_submit(s->store, &job, two_stages, 2, NULL, 0, note_step, &steps[i]);
  }
  assert_int_equal(store_flush(s->store, NULL), ERR_OK);
  assert_int_equal(w.count, 64);
  for (int i = 0; i < 64; i++) assert_int_equal(w.order[i], i);
  assert_true(w.always_there);
}

static void submit_again(void *context, const struct commit *c) {
  struct scene *s = context;
  (void)c;
  store_flush(s->store, NULL); /* a completion may dispatch: nothing runs twice, nothing deadlocks */
  submit(s, NULL);
}

static void a_completion_may_use_the_store(void **state) {
  struct scene *s = *state;
  struct store_counts counts;
  struct job_record job = {0};
  store_submit(s->store, &job, two_stages, 2, NULL, 0, submit_again, s);
  store_submit(s->store, &job, two_stages, 2, NULL, 0, NULL, NULL);
  store_flush(s->store, NULL);
  store_counts(s->store, &counts, NULL);
  assert_int_equal(counts.by_status[JOB_QUEUED], 3);
}

static void count_call(void *context, const struct commit *c) {
  (void)c;
  ++*(int *)context;
}

static void closing_commits_the_queue_but_calls_nobody(void **state) {
  struct scene *s = *state;
  int calls = 0;
  struct job_record job = {0};
  for (int i = 0; i < 10; i++) store_submit(s->store, &job, two_stages, 2, NULL, 0, count_call, &calls);
  scene_reopen(s);
  struct store_counts counts;
  store_counts(s->store, &counts, NULL);
  assert_int_equal(counts.by_status[JOB_QUEUED], 10);
  assert_int_equal(calls, 0);
}

static void ended(struct scene *s, enum job_status status, int64_t days_ago) {
  int64_t now = s->clock.wall_us;
  struct answer a = submit(s, NULL);
  s->clock.wall_us -= days_ago * 86400 * 1000000;
  set_status(s, a.job, status);
  s->clock.wall_us = now;
}

static uint64_t pruned(struct scene *s, const struct store_retention *r) {
  uint64_t removed = 99;
  assert_int_equal(store_prune(s->store, r, &removed, NULL), ERR_OK);
  return removed;
}

static void retention_goes_by_age_and_count_and_spares_open_jobs(void **state) {
  struct scene *s = *state;
  const int64_t day = 86400 * 1000000ll;
  for (int i = 10; i >= 1; i--) ended(s, JOB_COMPLETED, i);
  for (int i = 10; i >= 1; i--) ended(s, JOB_FAILED, i);
  ended(s, JOB_CANCELLED, 30);
  submit(s, NULL);
  assert_int_equal(pruned(s, &(struct store_retention){0}), 0);
  assert_int_equal(pruned(s, &(struct store_retention){.completed_age_us = 5 * day + 1}), 5);
  assert_int_equal(pruned(s, &(struct store_retention){.failed_age_us = 20 * day}), 1);
  assert_int_equal(pruned(s, &(struct store_retention){.completed_count = 2, .failed_count = 9}), 4);
  struct store_counts counts;
  store_counts(s->store, &counts, NULL);
  assert_int_equal(counts.by_status[JOB_COMPLETED], 2);
  assert_int_equal(counts.by_status[JOB_FAILED], 9);
  assert_int_equal(counts.by_status[JOB_QUEUED], 1);
  struct job_list jobs;
  store_jobs(s->store, &(struct job_filter){.statuses = 1u << JOB_COMPLETED}, &jobs, NULL);
  assert_true(jobs.items[0].ended_us == s->clock.wall_us - day); /* the newest stayed */
  job_list_clear(&jobs);
}

static void many_old_jobs_go_in_pages(void **state) {
  struct scene *s = *state;
  for (int i = 0; i < 150; i++) ended(s, JOB_COMPLETED, 3);
  assert_int_equal(pruned(s, &(struct store_retention){.completed_age_us = 1}), 150);
}

static void a_backup_opens_as_a_store_of_its_own(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "kept");
  mem_auto char *folder = mem_format("%s/backup", s->folder);
  struct error e = {0};
  if (store_backup(s->store, folder, &e)) fail_msg("%s", e.message);
  submit(s, "later");
  assert_int_equal(store_backup(s->store, folder, &e), ERR_CONFLICT);
  struct store *copy = NULL;
  struct store_options options = {.folder = folder};
  struct job_record job;
  assert_int_equal(opener_open(&copy, &options, &e), ERR_OK);
  assert_int_equal(store_job(copy, a.job, &job, &e), ERR_OK);
  job_record_clear(&job);
  assert_int_equal(store_by_identity(copy, "later", &job, &e), ERR_NOT_FOUND);
  assert_int_equal(store_check(copy, NULL, NULL, &e), ERR_OK);
  store_close(&copy);
}

static void an_export_is_one_json_object_a_line(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "kept");
  uint64_t fence = begin(s, a.job, "one").fence;
  store_checkpoint(s->store, a.job, "one", fence, "k", "v\n", NULL, NULL);
  char broken[] = "{not json";
  struct job_record values = {.error_json = broken};
  struct change c = {.job = a.job, .job_fields = JOB_SET_ERROR, .job_values = &values};
  change(s, &c);
  submit(s, NULL);
  FILE *f = tmpfile();
  struct buf buf_auto text = {0};
  assert_int_equal(store_export(s->store, fileno(f), NULL), ERR_OK);
  lseek(fileno(f), 0, SEEK_SET);
  assert_int_equal(fs_read_fd(fileno(f), 1 << 20, &text, NULL), ERR_OK);
  fclose(f);
  int lines = 0, of[5] = {0};
  const char *const kinds[5] = {"job", "stage", "attempt", "checkpoint", "event"};
  for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n"), lines++) {
    value_auto struct value *v = NULL;
    if (value_from_json(line, strlen(line), &v, NULL)) fail_msg("%s", line);
    for (int k = 0; k < 5; k++) of[k] += strcmp(value_get_text(v, "record", ""), kinds[k]) == 0;
  }
  assert_int_equal(lines, 2 + 4 + 1 + 1 + 3);
  assert_true(of[0] == 2 && of[1] == 4 && of[2] == 1 && of[3] == 1 && of[4] == 3);
}

int run_care(void) {
  const struct CMUnitTest tests[] = {
      PROVES(completions_run_in_order_and_only_for_what_is_stored),
      PROVES(a_completion_may_use_the_store),
      PROVES(closing_commits_the_queue_but_calls_nobody),
      PROVES(retention_goes_by_age_and_count_and_spares_open_jobs),
      PROVES(many_old_jobs_go_in_pages),
      PROVES(a_backup_opens_as_a_store_of_its_own),
      PROVES(an_export_is_one_json_object_a_line),
  };
  return cmocka_run_group_tests_name("care", tests, NULL, NULL);
}
