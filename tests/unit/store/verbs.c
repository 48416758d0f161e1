/* Jobs: submitted once, ended once, cancelled for good, tried again on purpose. */
#include "conformance.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static void a_submitted_job_is_there_with_its_stages_and_first_event(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "i1");
  assert_int_equal(a.status, ERR_OK);
  assert_int_equal(strlen(a.job), 26);
  assert_int_equal(a.first_seq, 1);
  assert_int_equal(a.last_cursor, 1);
  scene_reopen(s);
  struct job_record job = job_now(s, a.job);
  assert_string_equal(job.identity, "i1");
  assert_string_equal(job.spec_json, "{\"a\":1}");
  assert_int_equal(job.status, JOB_QUEUED);
  assert_int_equal(job.round, 1);
  assert_true(job.created_us == s->clock.wall_us);
  assert_int_equal(job.last_seq, 1);
  assert_null(job.owner);
  job_record_clear(&job);
  struct stage_list stages;
  assert_int_equal(store_stages(s->store, a.job, &stages, NULL), ERR_OK);
  assert_int_equal(stages.count, 2);
  assert_string_equal(stages.items[0].stage, "one");
  assert_int_equal(stages.items[1].status, STAGE_WAITING);
  stage_list_clear(&stages);
  assert_int_equal(event_count(s, a.job), 1);
}

static void ids_grow_even_when_the_clock_goes_back(void **state) {
  struct scene *s = *state;
  char last[STORE_ID_MAX] = "";
  for (int i = 0; i < 20; i++) {
    struct answer a = submit(s, NULL);
    assert_true(strcmp(a.job, last) > 0);
    memcpy(last, a.job, sizeof(last));
    s->clock.wall_us -= 3000000;
    if (i == 10) scene_reopen(s);
  }
}

static void the_same_job_is_answered_not_stored_again(void **state) {
  struct scene *s = *state;
  struct answer first = submit(s, "same"), again = submit(s, "same");
  assert_true(again.existed);
  assert_string_equal(again.job, first.job);
  assert_int_equal(again.last_seq, 0);
  set_status(s, first.job, JOB_COMPLETED);
  assert_true(submit(s, "same").existed);
  struct answer other = submit(s, "other");
  set_status(s, other.job, JOB_FAILED);
  struct answer fresh = submit(s, "other");
  assert_false(fresh.existed);
  assert_string_not_equal(fresh.job, other.job);
  struct job_record job;
  assert_int_equal(store_by_identity(s->store, "other", &job, NULL), ERR_OK);
  assert_string_equal(job.id, fresh.job);
  job_record_clear(&job);
  assert_int_equal(store_by_identity(s->store, "nobody", &job, NULL), ERR_NOT_FOUND);
}

static void two_submits_in_one_group_are_one_job(void **state) {
  struct scene *s = *state;
  struct answer a = {0}, b = {0};
  char identity[] = "twins";
  struct job_record job = {.identity = identity};
  store_submit(s->store, &job, two_stages, 2, NULL, 0, answer_keep, &a);
  store_submit(s->store, &job, two_stages, 2, NULL, 0, answer_keep, &b);
  assert_int_equal(store_flush(s->store, NULL), ERR_OK);
  assert_false(a.existed);
  assert_true(b.existed);
  assert_string_equal(a.job, b.job);
}

static void the_first_end_wins(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  assert_int_equal(set_status(s, a.job, JOB_COMPLETED).status, ERR_OK);
  struct answer late = set_status(s, a.job, JOB_FAILED), cancelled = cancel(s, a.job);
  assert_int_equal(late.status, ERR_CONFLICT);
  assert_int_equal(cancelled.status, ERR_CONFLICT);
  assert_non_null(strstr(cancelled.message, "already completed"));
  assert_int_equal(event_count(s, a.job), 2);
  struct event_draft said = {"stage", NULL};
  struct change only_event = {.job = a.job, .events = &said, .event_count = 1};
  assert_int_equal(change(s, &only_event).status, ERR_CONFLICT);
}

static void cancelling_is_kept_and_asked_once(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  assert_int_equal(cancel(s, a.job).status, ERR_OK);
  struct answer again = cancel(s, a.job);
  assert_int_equal(again.status, ERR_OK);
  assert_true(again.existed);
  scene_reopen(s);
  struct job_record job = job_now(s, a.job);
  assert_true(job.cancel_requested);
  job_record_clear(&job);
  assert_int_equal(event_count(s, a.job), 2);
  assert_int_equal(begin(s, a.job, "one").status, ERR_CONFLICT);
  assert_int_equal(cancel(s, "nobody").status, ERR_NOT_FOUND);
}

static void progress_never_lowers_within_a_round(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  const uint32_t steps[] = {400000, 300000, 700000, 699999};
  for (size_t i = 0; i < 4; i++) {
    struct job_record values = {.pct_ppm = steps[i]};
    struct change c = {.job = a.job, .job_fields = JOB_SET_PCT, .job_values = &values};
    assert_int_equal(change(s, &c).status, ERR_OK);
  }
  store_note_progress(s->store, a.job, 650000);
  store_note_progress(s->store, a.job, 800000);
  store_note_progress(s->store, "nobody", 1);
  submit(s, NULL); /* the note rides along with any commit */
  struct job_record job = job_now(s, a.job);
  assert_int_equal(job.pct_ppm, 800000);
  job_record_clear(&job);
}

static void noted_progress_is_stored_by_itself_and_on_closing(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, NULL);
  struct job_record job = {0};
  store_note_progress(s->store, a.job, 1);
  for (int i = 0; i < 300 && job.pct_ppm != 1; i++) { /* within a second; three on a loaded machine */
    usleep(10000);
    job_record_clear(&job);
    job = job_now(s, a.job);
  }
  assert_int_equal(job.pct_ppm, 1);
  job_record_clear(&job);
  store_note_progress(s->store, a.job, 2);
  scene_reopen(s);
  job = job_now(s, a.job);
  assert_int_equal(job.pct_ppm, 2);
  job_record_clear(&job);
}

static void trying_again_opens_a_round_and_keeps_what_it_is_told(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "again");
  uint64_t one = begin(s, a.job, "one").fence;
  finish(s, a.job, "one", one, STAGE_FINISHED);
  uint64_t two = begin(s, a.job, "two").fence;
  assert_int_equal(finish(s, a.job, "two", two, STAGE_FAILED).status, ERR_OK);
  assert_int_equal(reopen(s, a.job, NULL).status, ERR_CONFLICT);
  assert_int_equal(set_status(s, a.job, JOB_FAILED).status, ERR_OK);
  assert_int_equal(reopen(s, a.job, "one").status, ERR_OK);
  struct job_record job = job_now(s, a.job);
  assert_int_equal(job.status, JOB_QUEUED);
  assert_int_equal(job.round, 2);
  assert_true(job.ended_us == 0 && job.pct_ppm == 0 && !job.cancel_requested);
  assert_string_equal(job.spec_json, "{\"a\":1}");
  job_record_clear(&job);
  struct stage_record kept = stage_now(s, a.job, "one"), reset = stage_now(s, a.job, "two");
  assert_int_equal(kept.status, STAGE_FINISHED);
  assert_int_equal(reset.status, STAGE_WAITING);
  assert_int_equal(reset.attempts, 0);
  assert_int_equal(reset.tries, 1);
  assert_true(reset.fence == two);
  stage_record_clear(&kept);
  stage_record_clear(&reset);
  assert_true(submit(s, "again").existed);
}

static void a_job_whose_place_was_taken_is_not_reopened(void **state) {
  struct scene *s = *state;
  struct answer old = submit(s, "place");
  set_status(s, old.job, JOB_FAILED);
  struct answer new = submit(s, "place");
  struct answer refused = reopen(s, old.job, NULL);
  assert_int_equal(refused.status, ERR_CONFLICT);
  assert_non_null(strstr(refused.message, new.job));
  set_status(s, new.job, JOB_CANCELLED);
  assert_int_equal(reopen(s, old.job, NULL).status, ERR_OK);
  assert_string_equal(submit(s, "place").job, old.job);
  set_status(s, old.job, JOB_COMPLETED);
  assert_int_equal(reopen(s, old.job, NULL).status, ERR_CONFLICT);
}

static void a_deleted_job_leaves_nothing(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "gone"), other = submit(s, "stays");
  uint64_t fence = begin(s, a.job, "one").fence;
  assert_int_equal(delete (s, a.job).status, ERR_CONFLICT);
  finish(s, a.job, "one", fence, STAGE_FAILED);
  set_status(s, a.job, JOB_FAILED);
  assert_int_equal(delete (s, a.job).status, ERR_OK);
  struct job_record job;
  struct event_list events;
  uint64_t first = 0;
  assert_int_equal(store_job(s->store, a.job, &job, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_by_identity(s->store, "gone", &job, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_events(s->store, a.job, 0, 0, &events, NULL), ERR_NOT_FOUND);
  assert_int_equal(store_events_since(s->store, 0, 0, &events, &first, NULL), ERR_OK);
  assert_int_equal(events.count, 1);
  assert_string_equal(events.items[0].job, other.job);
  assert_int_equal(first, 2);
  event_list_clear(&events);
}

static void what_does_not_fit_is_refused_and_spoils_nobody(void **state) {
  struct scene *s = *state;
  struct answer ok = {0}, large = {0}, twice = {0}, bad_id = {0};
  mem_auto char *text = mem_alloc(STORE_VALUE_MAX + 2);
  memset(text, 'x', STORE_VALUE_MAX + 1);
  char id[] = "has blank";
  struct job_record small = {.priority = 1}, too_large = {.spec_json = text}, blank = {.id = id};
  const char *const same[2] = {"one", "one"};
  store_submit(s->store, &too_large, two_stages, 2, NULL, 0, answer_keep, &large);
  store_submit(s->store, &small, two_stages, 2, NULL, 0, answer_keep, &ok);
  store_submit(s->store, &small, same, 2, NULL, 0, answer_keep, &twice);
  store_submit(s->store, &blank, two_stages, 2, NULL, 0, answer_keep, &bad_id);
  store_flush(s->store, NULL);
  assert_int_equal(large.status, ERR_TOO_LARGE);
  assert_int_equal(ok.status, ERR_OK);
  assert_int_equal(twice.status, ERR_USAGE);
  assert_int_equal(bad_id.status, ERR_USAGE);
  text[STORE_VALUE_MAX] = '\0';
  struct job_record fits = {.spec_json = text};
  struct answer a = submit_job(s, &fits);
  assert_int_equal(a.status, ERR_OK);
  struct job_record job = job_now(s, a.job);
  assert_int_equal(strlen(job.spec_json), STORE_VALUE_MAX);
  job_record_clear(&job);
}

static void given_ids_are_taken_once(void **state) {
  struct scene *s = *state;
  char id[] = "my-job";
  struct job_record job = {.id = id, .created_us = 77};
  assert_string_equal(submit_job(s, &job).job, "my-job");
  assert_int_equal(submit_job(s, &job).status, ERR_CONFLICT);
  struct job_record got = job_now(s, "my-job");
  assert_true(got.created_us == 77);
  job_record_clear(&got);
}

int run_verbs(void) {
  const struct CMUnitTest tests[] = {
      PROVES(a_submitted_job_is_there_with_its_stages_and_first_event),
      PROVES(ids_grow_even_when_the_clock_goes_back),
      PROVES(the_same_job_is_answered_not_stored_again),
      PROVES(two_submits_in_one_group_are_one_job),
      PROVES(the_first_end_wins),
      PROVES(cancelling_is_kept_and_asked_once),
      PROVES(progress_never_lowers_within_a_round),
      PROVES(noted_progress_is_stored_by_itself_and_on_closing),
      PROVES(trying_again_opens_a_round_and_keeps_what_it_is_told),
      PROVES(a_job_whose_place_was_taken_is_not_reopened),
      PROVES(a_deleted_job_leaves_nothing),
      PROVES(what_does_not_fit_is_refused_and_spoils_nobody),
      PROVES(given_ids_are_taken_once),
  };
  return cmocka_run_group_tests_name("verbs", tests, NULL, NULL);
}
