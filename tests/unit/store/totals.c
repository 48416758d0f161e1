/* What is kept so that asking is cheap: totals by pipeline and owner, waiting jobs, lists by several names at once. All
 * are compared with what a look at every job says, after a history made by chance. */
#include "conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wcast-qual"

enum { JOBS = 120, STEPS = 1500 };
static const char *const pipelines[] = {"vod", "clip", NULL}, *const owners[] = {"ann", "bob", NULL},
                         *const batches[] = {"x", NULL, NULL};

static unsigned chance(unsigned *seed, unsigned below) {
  *seed = *seed * 1103515245u + 12345u;
  return (*seed >> 16) % below;
}

static void note(void *context, const struct commit *commit) {
  if (commit->status == ERR_OK) snprintf(context, STORE_ID_MAX, "%s", commit->job);
}

/* Each step may be refused; what the store says afterwards must agree all the same. */
static void step(struct scene *s, char ids[JOBS][STORE_ID_MAX], unsigned *seed) {
  char *id = ids[chance(seed, JOBS)];
  if (!id[0]) {
    store_flush(s->store, NULL); /* nobody looks at the clock now */
    s->clock.wall_us += 1000;
    struct job_record job = {.pipeline = (char *)pipelines[chance(seed, 3)],
                             .owner = (char *)owners[chance(seed, 3)],
                             .batch = (char *)batches[chance(seed, 3)],
                             .priority = (int)chance(seed, 101)};
    store_submit(s->store, &job, two_stages, 2, NULL, 0, note, id);
    store_flush(s->store, NULL);
    return;
  }
  unsigned what = chance(seed, 12);
  if (what == 0) {
    store_delete(s->store, id, NULL, NULL);
    store_flush(s->store, NULL);
    struct job_record job;
    if (store_job(s->store, id, &job, NULL) == ERR_NOT_FOUND) id[0] = '\0';
    job_record_clear(&job);
  } else if (what == 1) {
    store_reopen(s->store, id, NULL, 0, NULL, 0, NULL, NULL);
  } else if (what == 2) {
    struct job_record values = {.priority = (int)chance(seed, 101)};
    store_change(s->store, &(struct change){.job = id, .job_fields = JOB_SET_PRIORITY, .job_values = &values}, NULL,
                 NULL);
  } else {
    int64_t now = s->clock.wall_us;
    struct job_record values = {
        .status = (enum job_status)(JOB_QUEUED + (int)chance(seed, 8)), .started_us = now - 700, .ended_us = now};
    struct change c = {
        .job = id, .job_fields = JOB_SET_STATUS | JOB_SET_STARTED | JOB_SET_ENDED, .job_values = &values};
    store_change(s->store, &c, NULL, NULL);
  }
}

static bool same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

/* What a recount of `all` says must be what the totals say. */
static void agrees(const struct totals_list *totals, const struct job_list *all, const char *owner) {
  uint64_t counted = 0, listed = 0;
  for (size_t i = 0; i < totals->count; i++) {
    const struct pipeline_totals *t = &totals->items[i];
    struct store_counts seen = {0};
    for (size_t k = 0; k < all->count; k++)
      if (same(all->items[k].pipeline, t->pipeline) && (!owner || same(all->items[k].owner, owner)))
        seen.by_status[all->items[k].status]++, counted++;
    assert_memory_equal(&seen, &t->counts, sizeof(seen));
    assert_true(t->ended_completed >= t->counts.by_status[JOB_COMPLETED]);
    assert_true(t->completed_us == (int64_t)t->ended_completed * 700);
  }
  for (size_t k = 0; k < all->count; k++) listed += !owner || same(all->items[k].owner, owner);
  assert_int_equal(counted, listed);
}

static void filters_agree(struct scene *s, const struct job_list *all) {
  for (int p = 0; p < 3; p++)
    for (int o = 0; o < 3; o++)
      for (int b = 0; b < 2; b++)
        for (uint32_t statuses = 0; statuses < 512; statuses += 74) {
          struct job_filter f = {
              .pipeline = pipelines[p], .owner = owners[o], .batch = batches[b], .statuses = statuses, .limit = 1000};
          struct job_list got;
          size_t wanted = 0;
          assert_int_equal(store_jobs(s->store, &f, &got, NULL), ERR_OK);
          for (size_t k = 0; k < all->count; k++) {
            const struct job_record *j = &all->items[k];
            if ((f.pipeline && !same(f.pipeline, j->pipeline)) || (f.owner && !same(f.owner, j->owner)) ||
                (f.batch && !same(f.batch, j->batch)) || (statuses && !(statuses & (1u << j->status))))
              continue;
            assert_true(wanted < got.count);
            assert_string_equal(got.items[wanted++].id, j->id);
          }
          assert_int_equal(wanted, got.count);
          job_list_clear(&got);
        }
}

static int by_claim(const void *a, const void *b) {
  const struct job_record *one = a, *other = b;
  if (one->priority != other->priority) return other->priority - one->priority;
  return one->created_us < other->created_us ? -1 : one->created_us > other->created_us;
}

static void claims_agree(struct scene *s, const struct job_list *all) {
  struct job_record sorted[JOBS];
  struct job_list got;
  size_t count = 0, at = 0;
  for (size_t k = 0; k < all->count; k++)
    if (all->items[k].status <= JOB_RETRYING) sorted[count++] = all->items[k];
  qsort(sorted, count, sizeof(sorted[0]), by_claim);
  do {
    assert_int_equal(store_waiting_jobs(s->store, at, 7, &got, NULL), ERR_OK);
    for (size_t i = 0; i < got.count; i++, at++) assert_string_equal(got.items[i].id, sorted[at].id);
    count -= got.count;
    job_list_clear(&got);
  } while (count && at < JOBS);
  assert_int_equal(count, 0);
  store_waiting_jobs(s->store, at, 7, &got, NULL);
  assert_int_equal(got.count, 0);
}

static void what_is_kept_agrees_with_a_recount(void **state) {
  struct scene *s = *state;
  static char ids[JOBS][STORE_ID_MAX];
  memset(ids, 0, sizeof(ids));
  unsigned seed = 20261122;
  for (int i = 0; i < STEPS; i++) step(s, ids, &seed);
  scene_reopen(s);
  struct job_list all;
  struct totals_list totals;
  assert_int_equal(store_jobs(s->store, &(struct job_filter){.limit = 1000}, &all, NULL), ERR_OK);
  assert_true(all.count > JOBS / 2);
  assert_int_equal(store_totals(s->store, &totals, NULL), ERR_OK);
  assert_int_equal(totals.count, 3);
  agrees(&totals, &all, NULL);
  totals_list_clear(&totals);
  assert_int_equal(store_totals_of(s->store, "ann", &totals, NULL), ERR_OK);
  agrees(&totals, &all, "ann");
  totals_list_clear(&totals);
  assert_int_equal(store_totals_of(s->store, "nobody", &totals, NULL), ERR_OK);
  assert_int_equal(totals.count, 0);
  filters_agree(s, &all);
  claims_agree(s, &all);
  job_list_clear(&all);
}

static void what_ended_counts_for_ever(void **state) {
  struct scene *s = *state;
  struct totals_list totals;
  struct answer a = submit(s, NULL);
  set_status(s, a.job, JOB_FAILED);
  reopen(s, a.job, NULL);
  set_status(s, a.job, JOB_CANCELLED);
  delete (s, a.job);
  assert_int_equal(store_totals(s->store, &totals, NULL), ERR_OK);
  assert_int_equal(totals.count, 1);
  assert_string_equal(totals.items[0].pipeline, "vod");
  assert_true(totals.items[0].ended_failed == 1 && totals.items[0].ended_cancelled == 1);
  assert_int_equal(totals.items[0].counts.by_status[JOB_CANCELLED], 0);
  uint64_t last = 0;
  assert_int_equal(store_last_cursor(s->store, &last, NULL), ERR_OK);
  assert_true(last > 0 && totals.cursor == last); /* nothing was written since */
  totals_list_clear(&totals);
}

static void extras_change_apart_from_the_rest(void **state) {
  struct scene *s = *state;
  struct job_record job = {.title = (char *)"t", .extra_json = (char *)"{\"notify\":{}}"};
  struct answer a = submit_job(s, &job);
  struct job_record read = job_now(s, a.job);
  assert_string_equal(read.extra_json, "{\"notify\":{}}");
  job_record_clear(&read);
  struct job_record values = {.extra_json = (char *)"{\"pause\":{}}"};
  change(s, &(struct change){.job = a.job, .job_fields = JOB_SET_EXTRA, .job_values = &values});
  scene_reopen(s);
  read = job_now(s, a.job);
  assert_string_equal(read.extra_json, "{\"pause\":{}}");
  assert_string_equal(read.title, "t");
  job_record_clear(&read);
}

int run_totals(void) {
  const struct CMUnitTest tests[] = {
      PROVES(what_is_kept_agrees_with_a_recount),
      PROVES(what_ended_counts_for_ever),
      PROVES(extras_change_apart_from_the_rest),
  };
  return cmocka_run_group_tests_name("totals", tests, NULL, NULL);
}
