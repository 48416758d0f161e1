/* No space: told in words, nothing lost, and over when there is room again. */
#include "scene.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "faulty.h"

#define PROVES(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)

static char ballast[4000];

static void reopen_with(struct scene *s, const char *folder, uint64_t map_bytes) {
  struct error e = {0};
  struct store_options options = {.folder = folder, .clock = &s->clock.clock, .map_bytes = map_bytes};
  store_close(&s->store);
  if (store_open(&s->store, &options, &e)) fail_msg("%s", e.message);
}

static struct answer submit_heavy(struct scene *s) {
  struct job_record job = {.spec_json = ballast};
  return submit_job(s, &job);
}

/* Submits until one does not fit; answers how many did. */
static int fill(struct scene *s, struct answer *refused, char last[STORE_ID_MAX]) {
  for (int stored = 0; stored < 20000; stored++) {
    *refused = submit_heavy(s);
    if (refused->status) return stored;
    snprintf(last, STORE_ID_MAX, "%s", refused->job);
  }
  fail_msg("nothing ever filled up");
  return 0;
}

static uint64_t queued(struct scene *s) {
  struct store_counts counts;
  assert_int_equal(store_counts(s->store, &counts, NULL), ERR_OK);
  return counts.by_status[JOB_QUEUED];
}

static void full_then_heals(struct scene *s) {
  struct answer refused;
  char last[STORE_ID_MAX] = "";
  int stored = fill(s, &refused, last);
  assert_int_equal(refused.status, ERR_NO_SPACE);
  assert_non_null(strstr(refused.message, "make room"));
  assert_true(stored > 10);
  assert_int_equal(queued(s), stored);
  assert_int_equal(store_check(s->store, NULL, NULL, NULL), ERR_OK);
  struct job_list jobs;
  assert_int_equal(store_jobs(s->store, &(struct job_filter){.limit = 1}, &jobs, NULL), ERR_OK);
  assert_string_equal(jobs.items[0].id, last);
  job_list_clear(&jobs);
}

static void a_full_map_refuses_keeps_and_lets_delete(void **state) {
  struct scene *s = *state;
  memset(ballast, 'x', sizeof(ballast) - 1);
  reopen_with(s, s->folder, 1 << 20);
  full_then_heals(s);
  struct job_list jobs;
  assert_int_equal(store_jobs(s->store, &(struct job_filter){.limit = 20}, &jobs, NULL), ERR_OK);
  reopen_with(s, s->folder, 4 << 20); /* a larger map is one way out */
  for (size_t i = 0; i < jobs.count; i++) {
    assert_int_equal(set_status(s, jobs.items[i].id, JOB_FAILED).status, ERR_OK);
    assert_int_equal(delete (s, jobs.items[i].id).status, ERR_OK);
  }
  job_list_clear(&jobs);
  assert_int_equal(submit_heavy(s).status, ERR_OK);
}

static void ended_jobs_can_be_removed_from_a_full_map(void **state) {
  struct scene *s = *state;
  struct answer refused, first;
  char last[STORE_ID_MAX];
  memset(ballast, 'x', sizeof(ballast) - 1);
  reopen_with(s, s->folder, 1 << 20);
  first = submit_heavy(s);
  struct answer ended[8];
  for (int i = 0; i < 8; i++) {
    ended[i] = submit_heavy(s);
    assert_int_equal(set_status(s, ended[i].job, JOB_FAILED).status, ERR_OK);
  }
  fill(s, &refused, last);
  assert_int_equal(refused.status, ERR_NO_SPACE);
  for (int i = 0; i < 8; i++) assert_int_equal(delete (s, ended[i].job).status, ERR_OK);
  for (int i = 0; i < 4; i++) assert_int_equal(submit_heavy(s).status, ERR_OK);
  assert_int_equal(set_status(s, first.job, JOB_PROCESSING).status, ERR_OK);
}

static void in_a_group_those_that_fit_are_stored(void **state) {
  struct scene *s = *state;
  enum { COUNT = 40 };
  struct answer refused, answers[COUNT] = {{0}};
  char last[STORE_ID_MAX];
  memset(ballast, 'x', sizeof(ballast) - 1);
  reopen_with(s, s->folder, 1 << 20);
  int before = fill(s, &refused, last);
  struct job_list jobs;
  assert_int_equal(store_jobs(s->store, &(struct job_filter){.limit = 6}, &jobs, NULL), ERR_OK);
  reopen_with(s, s->folder, (1 << 20) + (128 << 10)); /* room for some of them */
  struct job_record job = {.spec_json = ballast};
  for (int i = 0; i < COUNT; i++) store_submit(s->store, &job, two_stages, 2, NULL, 0, answer_keep, &answers[i]);
  store_flush(s->store, NULL);
  int fitted = 0;
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(answers[i].calls, 1);
    assert_true(answers[i].status == ERR_OK || answers[i].status == ERR_NO_SPACE);
    fitted += answers[i].status == ERR_OK;
  }
  assert_true(fitted > 0 && fitted < COUNT);
  assert_int_equal(queued(s), before + fitted);
  job_list_clear(&jobs);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static void limit_address_space(rlim_t more) { (void)more; }
static const bool can_be_limited = false; /* sanitizers reserve terabytes */
#else
static void limit_address_space(rlim_t more) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  assert_int_equal(fscanf(f, "%ld", &pages), 1);
  fclose(f);
  struct rlimit limit;
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = more ? (rlim_t)pages * 4096 + more : limit.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}
static const bool can_be_limited = true;
#endif

static void rationed_address_space_gets_a_small_map_that_grows(void **state) {
  struct scene *s = *state;
  if (!can_be_limited) {
    print_message("skipped: address space cannot be rationed under a sanitizer\n");
    skip();
  }
  mem_auto char *large = mem_alloc(STORE_VALUE_MAX + 1);
  memset(large, 'x', STORE_VALUE_MAX);
  struct job_record job = {.spec_json = large};
  limit_address_space(150 << 20);
  reopen_with(s, s->folder, 0);
  limit_address_space(0);
  for (int i = 0; i < 5000; i++) {
    store_submit(s->store, &job, two_stages, 2, NULL, 0, NULL, NULL);
    if (i % 250 == 0) assert_int_equal(store_flush(s->store, NULL), ERR_OK);
  }
  assert_int_equal(store_flush(s->store, NULL), ERR_OK); /* 80 MB in what began as 64 */
  assert_int_equal(queued(s), 5000);
}

static void a_disk_that_fills_up_is_told_and_healed(void **state) {
  struct scene *s = *state;
  struct answer kept = submit(s, "kept");
  atomic_store(&write_fault, ENOSPC);
  struct answer a = submit(s, "a"), b = submit(s, "b");
  assert_int_equal(a.status, ERR_NO_SPACE);
  assert_non_null(strstr(a.message, "no space left"));
  assert_int_equal(b.status, ERR_NO_SPACE);
  struct job_record job = job_now(s, kept.job);
  job_record_clear(&job);
  assert_int_equal(queued(s), 1);
  atomic_store(&write_fault, 0);
  a = submit(s, "a");
  assert_int_equal(a.status, ERR_OK);
  assert_false(a.existed);
  assert_int_equal(a.last_cursor, kept.last_cursor + 1); /* numbers of what failed are given out again */
}

static void a_real_full_file_system_is_survived(void **state) {
  struct scene *s = *state;
  char folder[80];
  memset(ballast, 'x', sizeof(ballast) - 1);
  snprintf(folder, sizeof(folder), "%s/small", s->folder);
  mkdir(folder, 0700);
  /* In a mount namespace of its own: gone with this process, whatever happens. */
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("tmpfs", folder, "tmpfs", 0, "size=2m") != 0) {
    print_message("skipped: a small file system cannot be mounted here (%s); needs root\n", strerror(errno));
    skip();
  }
  reopen_with(s, folder, 0);
  full_then_heals(s);
  assert_int_equal(mount("tmpfs", folder, "tmpfs", MS_REMOUNT, "size=8m"), 0);
  for (int i = 0; i < 50; i++) assert_int_equal(submit_heavy(s).status, ERR_OK);
  assert_int_equal(store_check(s->store, NULL, NULL, NULL), ERR_OK);
  store_close(&s->store);
  umount(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PROVES(a_full_map_refuses_keeps_and_lets_delete), PROVES(ended_jobs_can_be_removed_from_a_full_map),
      PROVES(in_a_group_those_that_fit_are_stored),     PROVES(rationed_address_space_gets_a_small_map_that_grows),
      PROVES(a_disk_that_fills_up_is_told_and_healed),  PROVES(a_real_full_file_system_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
