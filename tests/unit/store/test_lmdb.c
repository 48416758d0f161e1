/* What is LMDB's own: descriptors, the owner's lock, groups, versions, damage. */
#include "scene.h"

#include <dirent.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "faulty.h"

#define PROVES(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)

static void a_second_owner_is_refused_by_pid(void **state) {
  struct scene *s = *state;
  struct store *other = NULL;
  struct error e;
  struct store_options options = {.folder = s->folder};
  assert_int_equal(store_open(&other, &options, &e), ERR_BUSY);
  assert_null(other);
  mem_auto char *pid = mem_format("process %d", (int)getpid());
  assert_non_null(strstr(e.message, pid));
  store_close(&s->store);
  assert_int_equal(store_open(&other, &options, &e), ERR_OK);
  store_close(&other);
}

static void no_descriptor_survives_exec(void **state) {
  struct scene *s = *state;
  submit(s, NULL);
  DIR *dir = opendir("/proc/self/fd");
  struct dirent *entry;
  int seen = 0;
  while ((entry = readdir(dir))) {
    char link[300], target[300] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
    if (readlink(link, target, sizeof(target) - 1) < 0 || !strstr(target, s->folder)) continue;
    seen++;
    if (!(fcntl(atoi(entry->d_name), F_GETFD) & FD_CLOEXEC)) fail_msg("%s is left open across exec", target);
  }
  closedir(dir);
  assert_true(seen >= 4); /* owner.lock, lock.mdb, data.mdb twice */
}

static void what_waits_is_one_transaction_and_few_syncs(void **state) {
  struct scene *s = *state;
  enum { COUNT = 600 };
  struct job_record job = {0};
  struct store_stats before, after;
  store_statistics(s->store, &before);
  int syncs = atomic_load(&sync_count);
  for (int i = 0; i < COUNT; i++) store_submit(s->store, &job, two_stages, 2, NULL, 0, NULL, NULL);
  assert_int_equal(store_flush(s->store, NULL), ERR_OK);
  store_statistics(s->store, &after);
  assert_int_equal(after.verbs - before.verbs, COUNT);
  assert_true(after.transactions - before.transactions < COUNT / 4);
  assert_true(after.largest > 8);
  assert_true((uint64_t)(atomic_load(&sync_count) - syncs) == after.transactions - before.transactions);
}

static void a_failed_sync_is_told_and_outlived(void **state) {
  struct scene *s = *state;
  struct answer kept = submit(s, "kept");
  atomic_store(&sync_fault, 5 /* EIO */);
  struct answer lost = submit(s, "lost");
  atomic_store(&sync_fault, 0);
  assert_int_equal(lost.status, ERR_IO);
  struct answer again = submit(s, "lost");
  assert_int_equal(again.status, ERR_OK);
  assert_true(strcmp(again.job, kept.job) > 0);
  assert_int_equal(event_count(s, again.job), 1);
  scene_reopen(s);
  assert_true(submit(s, "kept").existed);
}

static void a_commit_torn_at_its_last_write_reopens_the_store(void **state) {
  struct scene *s = *state;
  struct answer kept = submit(s, "kept"), group[3] = {{0}};
  struct job_record job = {0};
  atomic_store(&meta_fault, 5 /* EIO */); /* LMDB then refuses the environment for good */
  struct answer lost = submit(s, "lost");
  for (int i = 0; i < 3; i++) store_submit(s->store, &job, two_stages, 2, NULL, 0, answer_keep, &group[i]);
  store_flush(s->store, NULL);
  atomic_store(&meta_fault, 0);
  assert_int_equal(lost.status, ERR_IO);
  for (int i = 0; i < 3; i++) assert_int_equal(group[i].status, ERR_IO);
  struct answer again = submit(s, "again");
  assert_int_equal(again.status, ERR_OK);
  assert_int_equal(again.last_cursor, kept.last_cursor + 1);
  assert_true(submit(s, "kept").existed);
}

/* ---- versions ---- */

static void with_env(const char *folder, void (*call)(MDB_txn *txn)) {
  MDB_env *env;
  MDB_txn *txn;
  mdb_env_create(&env);
  mdb_env_set_maxdbs(env, 16);
  mdb_env_set_mapsize(env, 64 << 20);
  assert_int_equal(mdb_env_open(env, folder, 0, 0600), 0);
  assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
  call(txn);
  assert_int_equal(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

static MDB_dbi db_of(MDB_txn *txn, const char *name) {
  MDB_dbi dbi;
  assert_int_equal(mdb_dbi_open(txn, name, 0, &dbi), 0);
  return dbi;
}

static void put_schema(MDB_txn *txn, unsigned char version) {
  unsigned char le[4] = {version};
  char name[] = "schema";
  MDB_val key = {6, name}, value = {4, le};
  assert_int_equal(mdb_put(txn, db_of(txn, "meta"), &key, &value, 0), 0);
}

static void make_newer(MDB_txn *txn) { put_schema(txn, 99); }

/* As version 1 wrote it: no index, no list of open jobs, no counts. */
static void make_version_1(MDB_txn *txn) {
  char name[] = "counters";
  MDB_val key = {8, name}, value;
  put_schema(txn, 1);
  assert_int_equal(mdb_drop(txn, db_of(txn, "index"), 1), 0);
  assert_int_equal(mdb_drop(txn, db_of(txn, "open"), 1), 0);
  assert_int_equal(mdb_get(txn, db_of(txn, "meta"), &key, &value), 0);
  char counters[18 * 8] = {0};
  memcpy(counters, value.mv_data, 16); /* fence and cursor were there */
  value = (MDB_val){sizeof(counters), counters};
  assert_int_equal(mdb_put(txn, db_of(txn, "meta"), &key, &value, 0), 0);
}

/* As version 2 wrote it: no totals, no side records, no waiting jobs in the index. */
static void make_version_2(MDB_txn *txn) {
  MDB_cursor *cursor;
  MDB_val key, value;
  put_schema(txn, 2);
  static const char *const younger[] = {"totals", "sides", "side_index"};
  for (int i = 0; i < 3; i++) assert_int_equal(mdb_drop(txn, db_of(txn, younger[i]), 1), 0);
  assert_int_equal(mdb_cursor_open(txn, db_of(txn, "index"), &cursor), 0);
  while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0)
    if (*(const char *)key.mv_data == 'w') assert_int_equal(mdb_cursor_del(cursor, 0), 0);
  mdb_cursor_close(cursor);
}

static void a_newer_store_is_refused_with_the_cure(void **state) {
  struct scene *s = *state;
  struct error e;
  struct store *store = NULL;
  struct store_options options = {.folder = s->folder};
  store_close(&s->store);
  with_env(s->folder, make_newer);
  assert_int_equal(store_open(&store, &options, &e), ERR_VERSION);
  assert_non_null(strstr(e.message, "newer stagemill (schema 99"));
}

static char *backup_of(const char *folder) {
  char *found = NULL;
  DIR *dir = opendir(folder);
  struct dirent *entry;
  while ((entry = readdir(dir)))
    if (strncmp(entry->d_name, "backup-schema-", 14) == 0) found = mem_format("%s/%s", folder, entry->d_name);
  closedir(dir);
  return found;
}

static void an_older_store_is_backed_up_and_brought_forward(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "a"), b = submit(s, "b");
  set_status(s, a.job, JOB_COMPLETED);
  begin(s, b.job, "one");
  store_close(&s->store);
  with_env(s->folder, make_version_1);
  scene_reopen(s);
  struct store_counts counts;
  struct job_list jobs;
  store_counts(s->store, &counts, NULL);
  assert_int_equal(counts.by_status[JOB_COMPLETED], 1);
  assert_int_equal(counts.by_status[JOB_QUEUED], 1);
  assert_int_equal(store_open_jobs(s->store, &jobs, NULL), ERR_OK);
  assert_int_equal(jobs.count, 1);
  assert_string_equal(jobs.items[0].id, b.job);
  job_list_clear(&jobs);
  assert_int_equal(store_jobs(s->store, &(struct job_filter){.pipeline = "vod"}, &jobs, NULL), ERR_OK);
  assert_int_equal(jobs.count, 2);
  job_list_clear(&jobs);
  mem_auto char *backup = backup_of(s->folder);
  assert_non_null(backup);
  scene_reopen(s); /* settled: no second backup, and the check at the end finds nothing */
}

static void version_2_is_brought_forward_too(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "a"), b = submit(s, "b");
  set_status(s, a.job, JOB_FAILED);
  store_close(&s->store);
  with_env(s->folder, make_version_2);
  scene_reopen(s);
  struct totals_list totals;
  assert_int_equal(store_totals(s->store, &totals, NULL), ERR_OK);
  assert_int_equal(totals.count, 1);
  assert_int_equal(totals.items[0].ended_failed, 1);
  assert_int_equal(totals.items[0].counts.by_status[JOB_QUEUED], 1);
  totals_list_clear(&totals);
  struct job_list jobs;
  assert_int_equal(store_waiting_jobs(s->store, 0, 10, &jobs, NULL), ERR_OK);
  assert_int_equal(jobs.count, 1);
  assert_string_equal(jobs.items[0].id, b.job);
  job_list_clear(&jobs);
  mem_auto char *backup = backup_of(s->folder);
  assert_non_null(backup);
}

/* ---- damage ---- */

static void drop_an_index_row(MDB_txn *txn) {
  MDB_cursor *cursor;
  MDB_val key, value;
  assert_int_equal(mdb_cursor_open(txn, db_of(txn, "index"), &cursor), 0);
  assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
  assert_int_equal(mdb_cursor_del(cursor, 0), 0);
  mdb_cursor_close(cursor);
}

static void drop_an_event(MDB_txn *txn) {
  unsigned char first[8] = {0, 0, 0, 0, 0, 0, 0, 1};
  MDB_val key = {8, first};
  assert_int_equal(mdb_del(txn, db_of(txn, "events"), &key, NULL), 0);
}

static void spoil_a_job(MDB_txn *txn) {
  MDB_cursor *cursor;
  MDB_val key, value;
  char junk[] = "\x01\xff\xff\xff\xff";
  assert_int_equal(mdb_cursor_open(txn, db_of(txn, "jobs"), &cursor), 0);
  assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
  value = (MDB_val){5, junk};
  assert_int_equal(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
  mdb_cursor_close(cursor);
}

static void first_line(void *context, const char *line) {
  char *text = context;
  if (!text[0]) snprintf(text, 400, "%s", line);
}

static void is_found(struct scene *s, void (*damage)(MDB_txn *txn), const char *wanted) {
  char line[400] = "";
  store_close(&s->store);
  with_env(s->folder, damage);
  scene_reopen(s);
  assert_int_equal(store_check(s->store, first_line, line, NULL), ERR_CORRUPT);
  if (!strstr(line, wanted)) fail_msg("'%s' does not say '%s'", line, wanted);
}

static void the_check_finds_planted_damage(void **state) {
  struct scene *s = *state;
  struct answer a = submit(s, "a");
  is_found(s, drop_an_index_row, "missing");
  is_found(s, drop_an_event, "event 1 is missing");
  is_found(s, spoil_a_job, "cannot be read");
  struct error e;
  struct job_record job;
  assert_int_equal(store_job(s->store, a.job, &job, &e), ERR_CORRUPT);
  assert_int_equal(set_status(s, a.job, JOB_FAILED).status, ERR_CORRUPT);
  assert_int_equal(submit(s, "b").status, ERR_OK); /* its neighbours live on */
  store_close(&s->store);                          /* nothing left to check at the end */
}

static void a_file_that_is_no_store_is_refused(void **state) {
  struct scene *s = *state;
  struct error e;
  struct store *store = NULL;
  struct store_options options = {.folder = s->folder};
  mem_auto char *path = mem_format("%s/data.mdb", s->folder), *junk = mem_alloc(20000);
  memset(junk, 'x', 20000);
  store_close(&s->store);
  assert_int_equal(fs_write_durably(path, junk, 20000, 0600, NULL), ERR_OK);
  assert_int_equal(store_open(&store, &options, &e), ERR_CORRUPT);
  assert_non_null(strstr(e.message, "restore a backup"));
}

static void a_cut_file_gives_errors_not_a_signal(void **state) {
  struct scene *s = *state;
  struct job_record job = {0};
  struct error e;
  struct store_options options = {.folder = s->folder};
  mem_auto char *path = mem_format("%s/data.mdb", s->folder);
  for (int i = 0; i < 500; i++) store_submit(s->store, &job, two_stages, 2, NULL, 0, NULL, NULL);
  store_close(&s->store);
  struct stat before;
  assert_int_equal(stat(path, &before), 0);
  assert_int_equal(truncate(path, before.st_size / 3), 0);
  enum err status = store_open(&s->store, &options, &e);
  if (status == ERR_OK) status = store_check(s->store, NULL, NULL, &e);
  assert_int_not_equal(status, ERR_OK);
  store_close(&s->store);
}

/* ---- another process, against all rules, makes the file larger than our map ---- */

static void write_much(MDB_txn *txn) {
  static char block[64 * 1024];
  MDB_dbi dbi;
  if (mdb_dbi_open(txn, "foreign", MDB_CREATE, &dbi)) _exit(1);
  for (unsigned i = 0; i < 48; i++) {
    MDB_val key = {sizeof(i), &i}, value = {sizeof(block), block};
    if (mdb_put(txn, dbi, &key, &value, 0)) _exit(1);
  }
}

static void a_file_that_outgrew_our_map_is_followed(void **state) {
  struct scene *s = *state;
  int go[2], done[2];
  char byte = 0;
  store_close(&s->store); /* no thread of ours may be alive while forking */
  assert_int_equal(pipe2(go, O_CLOEXEC) | pipe2(done, O_CLOEXEC), 0);
  pid_t child = fork();
  if (child == 0) {
    if (read(go[0], &byte, 1) != 1) _exit(1);
    with_env(s->folder, write_much);
    _exit(write(done[1], "x", 1) != 1);
  }
  struct error e = {0};
  struct store_options options = {.folder = s->folder, .map_bytes = 1 << 20};
  assert_int_equal(store_open(&s->store, &options, &e), ERR_OK);
  struct answer a = submit(s, "before");
  assert_int_equal(write(go[1], "x", 1), 1);
  assert_int_equal(read(done[0], &byte, 1), 1);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  struct job_record job = job_now(s, a.job); /* a reader meets it first */
  job_record_clear(&job);
  assert_int_equal(submit(s, "after").status, ERR_OK);
  for (int i = 0; i < 2; i++) close(go[i]), close(done[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PROVES(a_second_owner_is_refused_by_pid),
      PROVES(no_descriptor_survives_exec),
      PROVES(what_waits_is_one_transaction_and_few_syncs),
      PROVES(a_failed_sync_is_told_and_outlived),
      PROVES(a_commit_torn_at_its_last_write_reopens_the_store),
      PROVES(a_newer_store_is_refused_with_the_cure),
      PROVES(an_older_store_is_backed_up_and_brought_forward),
      PROVES(version_2_is_brought_forward_too),
      PROVES(the_check_finds_planted_damage),
      PROVES(a_file_that_is_no_store_is_refused),
      PROVES(a_cut_file_gives_errors_not_a_signal),
      PROVES(a_file_that_outgrew_our_map_is_followed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
