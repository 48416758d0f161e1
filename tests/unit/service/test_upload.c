/* Uploads below HTTP: keys, locks, pieces, what expires; over a real store, with a loop that answers in a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "service/asset.h"
#include "service/upload_piece.h"

#define TEXT(literal) ((char *)(uintptr_t)(literal))

static struct rig {
  char folder[256];
  struct service service;
  pthread_t thread;
} rig;

static void dispatch(void *context) { store_dispatch(((struct service *)context)->store); }
static void wake(void *context) { loop_post(((struct service *)context)->loop, dispatch, context); }

static void *turn(void *context) {
  loop_run(((struct service *)context)->loop);
  return NULL;
}

static int setup(void **state) {
  (void)state;
  struct error e = {0};
  struct settings *settings = NULL;
  struct report *report = report_new();
  value_auto struct value *all = value_map();
  const char *tmp = getenv("TMPDIR");
  snprintf(rig.folder, sizeof rig.folder, "%s/uploads-XXXXXX", tmp ? tmp : "/tmp");
  assert_non_null(mkdtemp(rig.folder));
  value_set_text(all, "uploads.max", "1M");
  if (settings_load(&settings, NULL, all, report, &e)) fail_msg("%s", e.message);
  report_free(&report);
  rig.service.settings = settings_holder_new(settings);
  rig.service.state_folder = rig.folder;
  assert_int_equal(loop_create(&rig.service.loop, &clock_system, &e), ERR_OK);
  service_open(&rig.service);
  struct store_options options = {.folder = rig.folder, .notify = wake, .context = &rig.service};
  if (store_open(&rig.service.store, &options, &e)) fail_msg("%s", e.message);
  pthread_create(&rig.thread, NULL, turn, &rig.service);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  loop_stop(rig.service.loop);
  pthread_join(rig.thread, NULL);
  store_close(&rig.service.store);
  service_close(&rig.service);
  loop_destroy(&rig.service.loop);
  settings_holder_free(&rig.service.settings);
  fs_remove_path(rig.folder, NULL);
  return 0;
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

static void keys_are_plain_whatever_goes_in(void **state) {
  (void)state;
  static const char *const names[] = {"film.mp4", "",     "..",   "/",       "a/../b",       "\xff\xfe", "....mp4",
                                      "a.MP4",    "a.b?", "a b.", "~/x.mkv", "%2e%2e%2f.ts", "-",        "a\n.mp4"};
  static const char *const owners[] = {"ann", "", "..", "a/b", ".hidden", "\xc3\xa4", "a~b", "a~7eb"};
  for (size_t n = 0; n < sizeof names / sizeof *names; n++)
    for (size_t o = 0; o < sizeof owners / sizeof *owners; o++) {
      mem_auto char *key = upload_key_new(owners[o], names[n], 1700000000123456);
      mem_auto char *again = upload_key_new(owners[o], names[n], 1700000000123456);
      assert_true(upload_key_is(key));
      assert_string_not_equal(key, again);
      assert_non_null(strstr(key, "/1700000000123-"));
    }
  char long_name[600];
  memset(long_name, 'x', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = '\0';
  mem_auto char *key = upload_key_new(long_name, long_name, INT64_MAX / 1000);
  assert_true(upload_key_is(key));
}

static void what_is_no_key_is_none(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "uploads",
                                    "uploads/",
                                    "uploads/a",
                                    "uploads/a/",
                                    "uploads//b",
                                    "uploads/../b",
                                    "uploads/a/..",
                                    "uploads/a/.b",
                                    "uploads/.partial/x",
                                    "uploads/a/b/c",
                                    "/uploads/a/b",
                                    "uploads/a/b c",
                                    "uploads/a/b%2e",
                                    "uploads/a/b\\c",
                                    "upload/a/b"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(upload_key_is(bad[i]));
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

static atomic_int inside, most, entered;

static void *crowd(void *context) {
  for (int i = 0; i < 200; i++) {
    if (upload_lock(context, 5000000, NULL)) continue;
    int now = atomic_fetch_add(&inside, 1) + 1;
    if (now > atomic_load(&most)) atomic_store(&most, now);
    atomic_fetch_add(&entered, 1);
    atomic_fetch_sub(&inside, 1);
    upload_unlock(context);
  }
  return NULL;
}

static void one_at_a_time_holds_a_key(void **state) {
  (void)state;
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, crowd, TEXT("uploads/a/b"));
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&most), 1);
  assert_int_equal(atomic_load(&entered), 800);
  assert_int_equal(upload_lock("k", 0, NULL), ERR_OK);
  assert_int_equal(upload_lock("k", 0, NULL), ERR_BUSY);
  assert_int_equal(upload_lock("k", 20000, NULL), ERR_BUSY);
  assert_int_equal(upload_lock_to_read("other", 1, NULL), ERR_OK);
  assert_int_equal(upload_lock_to_read("third", 1, NULL), ERR_BUSY);
  assert_int_equal(upload_lock("third", 0, NULL), ERR_OK); /* does not read */
  upload_unlock("other");
  upload_unlock("third");
  assert_int_equal(upload_lock_to_read("third", 1, NULL), ERR_OK);
  upload_unlock("third");
  upload_unlock("k");
  upload_unlock("nobody's");
}

/* ---- records, pieces ------------------------------------------------------------------------------------------------
 */

static struct upload announced(int64_t length, bool pieces) {
  struct error e = {0};
  struct upload u = {.owner = mem_text("ann"),
                     .filename = mem_text("a.mp4"),
                     .content_type = mem_text("video/mp4"),
                     .length = length,
                     .metadata = pieces ? mem_text("") : NULL};
  if (upload_announce(&rig.service, &u, &e)) fail_msg("%s", e.message);
  return u;
}

static void a_record_comes_back_as_it_went(void **state) {
  (void)state;
  struct upload u = announced(7, true), back;
  u.params = value_map();
  value_set_text(u.params, "word", "\xc3\xa4\"");
  u.asset_id = mem_text("a1");
  assert_int_equal(upload_store(&rig.service, &u, NULL), ERR_OK);
  assert_int_equal(upload_get(&rig.service, u.key, &back, NULL), ERR_OK);
  assert_string_equal(back.asset_id, "a1");
  assert_string_equal(back.metadata, "");
  assert_true(value_equal(back.params, u.params));
  assert_int_equal(back.length, 7);
  assert_int_equal(back.version, u.version);
  back.confirmed = true;
  assert_int_equal(upload_store(&rig.service, &back, NULL), ERR_OK);
  assert_int_equal(upload_store(&rig.service, &u, NULL), ERR_CONFLICT); /* somebody was faster */
  struct principal bob = {.subject = TEXT("bob"), .scopes = SCOPE_READ | SCOPE_SUBMIT};
  upload_clear(&back);
  assert_int_equal(upload_get_of(&rig.service, &bob, u.key, false, &back, NULL), ERR_NOT_FOUND);
  upload_clear(&u);
  struct upload huge = {
      .owner = mem_text("ann"), .filename = mem_text("a"), .content_type = mem_text("a/b"), .length = 1000001};
  assert_int_equal(upload_announce(&rig.service, &huge, NULL), ERR_TOO_LARGE);
  upload_clear(&huge);
}

static int64_t offset_of(const struct upload *u) {
  int64_t offset = -1;
  struct error e = {0};
  if (upload_piece_offset(&rig.service, u, &offset, &e)) fail_msg("%s", e.message);
  return offset;
}

static enum err piece(const struct upload *u, int64_t at, const char *data, const char *algorithm,
                      const char *digest_of_data, bool ended) {
  struct upload_piece p;
  unsigned char wanted[64];
  unsigned size = 0;
  if (algorithm)
    EVP_Digest(digest_of_data, strlen(digest_of_data), wanted, &size, EVP_get_digestbyname(algorithm), NULL);
  enum err err = upload_piece_open(&p, &rig.service, u, at, algorithm, wanted, size, NULL);
  if (err) return err;
  err = upload_piece_write(&p, data, strlen(data), NULL);
  enum err closed = upload_piece_close(&p, ended && !err, NULL);
  return err ? err : closed;
}

static void pieces_add_up_and_only_right_ones_count(void **state) {
  (void)state;
  struct upload u = announced(10, true);
  int64_t bytes;
  assert_int_equal(offset_of(&u), 0);
  assert_int_equal(piece(&u, 1, "x", NULL, NULL, true), ERR_CONFLICT);
  assert_int_equal(piece(&u, 0, "abc", NULL, NULL, false), ERR_OK); /* cut off: what came is kept */
  assert_int_equal(offset_of(&u), 3);
  assert_int_equal(piece(&u, 3, "dxf", "sha256", "def", true), ERR_CORRUPT);
  assert_int_equal(piece(&u, 3, "de", "sha1", "def", false), ERR_OK); /* cut off: nobody knows */
  assert_int_equal(offset_of(&u), 3);
  assert_int_equal(piece(&u, 3, "def", "md5", "def", true), ERR_OK);
  assert_int_equal(piece(&u, 6, "ghijk", NULL, NULL, true), ERR_TOO_LARGE);
  assert_int_equal(offset_of(&u), 6);
  assert_int_equal(upload_received(&rig.service, &u, &bytes, NULL), ERR_CONFLICT);
  assert_int_equal(piece(&u, 6, "ghij", "sha1", "ghij", true), ERR_OK);
  assert_int_equal(upload_received(&rig.service, &u, &bytes, NULL), ERR_OK);
  assert_int_equal(bytes, 10);
  assert_int_equal(offset_of(&u), 10);
  assert_int_equal(piece(&u, 0, "again", NULL, NULL, true), ERR_CONFLICT);
  mem_auto char *path = upload_path(&rig.service, u.key);
  buf_auto struct buf text = {0};
  assert_int_equal(fs_read_file(path, 100, &text, NULL), ERR_OK);
  assert_string_equal(buf_string(&text), "abcdefghij");
  assert_int_equal(upload_remove(&rig.service, &u, NULL), ERR_OK);
  assert_int_not_equal(access(path, F_OK), 0);
  upload_clear(&u);
}

/* As if the daemon had died: in the middle of a piece with a checksum; behind the last byte, before the name. */
static void what_a_dead_daemon_left_is_put_right(void **state) {
  (void)state;
  struct upload u = announced(6, true), whole = announced(3, true);
  mem_auto char *partial = upload_partial_path(&rig.service, u.key), *base = mem_format("%s.base", partial);
  mem_auto char *ready = upload_partial_path(&rig.service, whole.key);
  int64_t bytes;
  assert_int_equal(offset_of(&u), 0);
  assert_int_equal(fs_write_durably(partial, "abXX", 4, 0600, NULL), ERR_OK);
  assert_int_equal(fs_write_durably(base, "2", 1, 0600, NULL), ERR_OK);
  assert_int_equal(offset_of(&u), 2);
  assert_int_equal(offset_of(&u), 2);
  assert_int_equal(piece(&u, 2, "cdef", NULL, NULL, true), ERR_OK);
  assert_int_equal(fs_write_durably(ready, "abc", 3, 0600, NULL), ERR_OK);
  assert_int_equal(offset_of(&whole), 3);
  assert_int_equal(upload_received(&rig.service, &whole, &bytes, NULL), ERR_OK);
  upload_clear(&u);
  upload_clear(&whole);
}

/* ---- over
 * ------------------------------------------------------------------------------------------------------------ */

static enum err expire(const struct upload *u) {
  struct side_record record = {0};
  assert_int_equal(store_side_get(rig.service.store, SIDE_UPLOAD, u->key, &record, NULL), ERR_OK);
  enum err err = upload_expired(&rig.service, &record, NULL);
  side_record_clear(&record);
  return err;
}

static bool is_there(const struct upload *u) {
  mem_auto char *path = upload_path(&rig.service, u->key);
  return access(path, F_OK) == 0;
}

static void keep_id(void *context, const struct commit *c) { snprintf(context, STORE_ID_MAX, "%s", c->job); }

static void an_upload_goes_when_its_job_has_gone(void **state) {
  (void)state;
  struct upload u = announced(3, true), back;
  struct error e = {0};
  struct asset_words words = {.title = "A title"};
  char id[STORE_ID_MAX];
  engine_new_id(id);
  struct job_record job = {.id = id, .pipeline = TEXT("p"), .owner = TEXT("ann"), .asset = TEXT("asset 1")};
  struct event_draft queued = {"queued", NULL}, ended = {"cancelled", NULL};
  assert_int_equal(piece(&u, 0, "abc", NULL, NULL, true), ERR_OK);
  char made[STORE_ID_MAX] = "";
  store_submit(rig.service.store, &job, NULL, 0, &queued, 1, keep_id, made);
  u.asset_id = mem_text("asset 1");
  u.job_id = mem_text(id);
  u.original_name = mem_text("a.mp4");
  u.bytes = 3;
  u.confirmed = true;
  if (asset_confirm(&rig.service, &u, &words, &e)) fail_msg("%s", e.message);
  assert_int_equal(upload_lock(u.key, 0, NULL), ERR_OK);
  assert_int_equal(expire(&u), ERR_BUSY); /* somebody is at it */
  upload_unlock(u.key);
  assert_int_equal(expire(&u), ERR_OK);
  assert_true(is_there(&u));                                                         /* the job may be retried */
  assert_int_equal(asset_write(&rig.service, "asset 1", "ann", &words, &e), ERR_OK); /* behind it in the store's line */
  assert_int_equal(upload_get(&rig.service, u.key, &back, NULL), ERR_OK);
  assert_true(back.due_us > clock_wall(&clock_system) && back.version > u.version);
  struct job_record values = {.status = JOB_CANCELLED};
  struct change change = {
      .job = id, .job_fields = JOB_SET_STATUS, .job_values = &values, .events = &ended, .event_count = 1};
  store_change(rig.service.store, &change, NULL, NULL);
  store_delete(rig.service.store, id, NULL, NULL);
  assert_int_equal(asset_write(&rig.service, "asset 1", "ann", &words, &e), ERR_OK);
  assert_int_equal(expire(&back), ERR_OK);
  assert_false(is_there(&u));
  struct principal bob = {.subject = TEXT("bob"), .scopes = SCOPE_SUBMIT};
  assert_int_equal(asset_may_add(&rig.service, &bob, "asset 1", NULL), ERR_CONFLICT);
  assert_int_equal(asset_may_add(&rig.service, &bob, "asset 2", NULL), ERR_OK);
  assert_int_equal(asset_write(&rig.service, "asset 1", "bob", &words, &e), ERR_CONFLICT);
  upload_clear(&u);
  upload_clear(&back);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_are_plain_whatever_goes_in),
      cmocka_unit_test(what_is_no_key_is_none),
      cmocka_unit_test(one_at_a_time_holds_a_key),
      cmocka_unit_test(a_record_comes_back_as_it_went),
      cmocka_unit_test(pieces_add_up_and_only_right_ones_count),
      cmocka_unit_test(what_a_dead_daemon_left_is_put_right),
      cmocka_unit_test(an_upload_goes_when_its_job_has_gone),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
