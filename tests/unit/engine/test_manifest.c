/* What a stage leaves behind is hostile until proven otherwise. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "bench.h"

static struct bench bench;

static int set_up(void **state) {
  (void)state;
  bench_open(&bench);
  assert_int_equal(fs_make_folders(bench_path(&bench, "tree"), 0755, NULL), ERR_OK);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  bench_close(&bench);
  return 0;
}

static enum err make(const char *declared, struct manifest **manifest, struct error *e) {
  value_auto struct value *outputs = bench_json(declared);
  return manifest_make(bench_path(&bench, "tree"), outputs, 0, manifest, e);
}

static void refused(const char *declared, enum err code, const char *word) {
  struct manifest *manifest = NULL;
  struct error e = {0};
  assert_int_equal(make(declared, &manifest, &e), code);
  assert_null(manifest);
  if (!strstr(e.message, word)) fail_msg("'%s' does not speak of '%s'", e.message, word);
}

#define ONE(name) "[{\"port\":\"p\",\"name\":\"" name "\",\"type\":\"text/plain\"}]"

static void test_declared_files_are_hashed_others_removed(void **state) {
  (void)state;
  struct manifest *manifest = NULL;
  struct error e;
  bench_write(&bench, "tree/a/b.txt", "abc");
  bench_write(&bench, "tree/junk", "x");
  assert_int_equal(make(ONE("a/b.txt"), &manifest, &e), ERR_OK);
  assert_int_equal(manifest->count, 1);
  assert_string_equal(manifest->items[0].name, "a/b.txt");
  assert_string_equal(manifest->items[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert_int_equal(manifest->items[0].size_bytes, 3);
  assert_false(bench_exists(&bench, "tree/junk"));
  manifest_free(&manifest);
}

static void test_links_are_refused(void **state) {
  (void)state;
  assert_int_equal(symlink("/etc/passwd", bench_path(&bench, "tree/out")), 0);
  refused(ONE("out"), ERR_INVALID, "symbolic link");
}

static void test_links_to_folders_are_refused_not_followed(void **state) {
  (void)state;
  bench_write(&bench, "precious/x", "mine");
  assert_int_equal(symlink(bench_path(&bench, "precious"), bench_path(&bench, "tree/sub")), 0);
  refused("[]", ERR_INVALID, "symbolic link");
  assert_true(bench_holds(&bench, "precious/x", "mine"));
}

static void test_fifos_do_not_block_and_are_refused(void **state) {
  (void)state;
  assert_int_equal(mkfifo(bench_path(&bench, "tree/out"), 0644), 0);
  refused(ONE("out"), ERR_INVALID, "not a regular file");
}

static void test_sockets_are_refused(void **state) {
  (void)state;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  snprintf(address.sun_path, sizeof address.sun_path, "%.90s", bench_path(&bench, "tree/out"));
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  refused(ONE("out"), ERR_INVALID, "not a regular file");
  close(fd);
}

static void test_hard_links_are_refused(void **state) {
  (void)state;
  bench_write(&bench, "precious", "mine");
  assert_int_equal(link(bench_path(&bench, "precious"), bench_path(&bench, "tree/out")), 0);
  refused(ONE("out"), ERR_INVALID, "hard links");
}

static void test_deep_trees_end(void **state) {
  (void)state;
  char path[400] = "tree";
  for (int i = 0; i < MANIFEST_DEPTH_MAX + 2; i++) strcat(path, "/d");
  strcat(path, "/out");
  bench_write(&bench, path, "x");
  refused("[]", ERR_TOO_LARGE, "");
}

static void test_declared_but_missing_is_named(void **state) {
  (void)state;
  bench_write(&bench, "tree/a", "x");
  refused("[{\"port\":\"p\",\"name\":\"a\",\"type\":\"t/x\"},{\"port\":\"p\",\"name\":\"gone\",\"type\":\"t/x\"}]", ERR_INVALID,
          "'gone'");
}

static void test_nothing_declared_needs_no_folder(void **state) {
  (void)state;
  struct manifest *manifest = NULL;
  value_auto struct value *none = value_list();
  assert_int_equal(manifest_make("/nonexistent/x", none, 0, &manifest, NULL), ERR_OK);
  assert_int_equal(manifest->count, 0);
  manifest_free(&manifest);
}

static void test_too_many_bytes_are_refused(void **state) {
  (void)state;
  struct manifest *manifest = NULL;
  value_auto struct value *outputs = bench_json(ONE("a"));
  bench_write(&bench, "tree/a", "0123456789");
  assert_int_equal(manifest_make(bench_path(&bench, "tree"), outputs, 9, &manifest, NULL), ERR_TOO_LARGE);
  assert_null(manifest);
}

/* A writer that goes on while its file is hashed: a pair of writes a round until the check notices. */
static void test_a_file_that_changes_meanwhile_is_refused(void **state) {
  (void)state;
  struct error e = {0};
  enum { BYTES = 64 << 20 };
  char *block = mem_alloc(1 << 20);
  FILE *f = fopen(bench_path(&bench, "tree/out"), "w");
  for (int i = 0; i < BYTES >> 20; i++) fwrite(block, 1, 1 << 20, f);
  fclose(f);
  free(block);
  const char *path = bench_path(&bench, "tree/out");
  pid_t writer = fork();
  if (writer == 0)
    for (;;) {
      int fd = open(path, O_WRONLY | O_APPEND);
      if (fd < 0 || write(fd, "x", 1) != 1) _exit(0);
      close(fd);
      usleep(500);
    }
  struct manifest *manifest = NULL;
  enum err err = make(ONE("out"), &manifest, &e);
  kill(writer, SIGKILL);
  waitpid(writer, NULL, 0);
  assert_int_equal(err, ERR_INVALID);
  assert_non_null(strstr(e.message, "changed while"));
}

static void test_many_files_take_no_quadratic_time(void **state) {
  (void)state;
  enum { COUNT = 20000 };
  value_auto struct value *outputs = value_list();
  char name[32];
  for (int i = 0; i < COUNT; i++) {
    struct value *item = value_map();
    snprintf(name, sizeof name, "s%05d.ts", i);
    value_set_text(item, "port", "p");
    value_set_text(item, "name", name);
    value_set_text(item, "type", "video/mp2t");
    value_list_add(outputs, item);
    mem_auto char *path = mem_format("%s/tree/%s", bench.folder, name);
    close(open(path, O_CREAT | O_WRONLY, 0644));
  }
  struct manifest *manifest = NULL;
  struct error e;
  assert_int_equal(manifest_make(bench_path(&bench, "tree"), outputs, 0, &manifest, &e), ERR_OK);
  assert_int_equal(manifest->count, COUNT);
  manifest_free(&manifest);
}

static void test_a_manifest_comes_back_only_unchanged(void **state) {
  (void)state;
  struct manifest *manifest = NULL, *again = NULL;
  struct error e;
  char sha256[65];
  bench_write(&bench, "tree/a", "x");
  assert_int_equal(make("[{\"port\":\"p\",\"name\":\"a\",\"type\":\"t/x\",\"meta\":{\"w\":2}}]", &manifest, &e), ERR_OK);
  assert_int_equal(manifest_write(manifest, bench_path(&bench, "m.json"), sha256, &e), ERR_OK);
  assert_int_equal(manifest_read(bench_path(&bench, "m.json"), sha256, &again, &e), ERR_OK);
  assert_string_equal(again->items[0].sha256, manifest->items[0].sha256);
  assert_string_equal(again->items[0].metadata_json, "{\"w\":2}");
  manifest_free(&again);
  sha256[0] = sha256[0] == 'a' ? 'b' : 'a';
  assert_int_equal(manifest_read(bench_path(&bench, "m.json"), sha256, &again, &e), ERR_CORRUPT);
  bench_write(&bench, "m.json", "{}");
  assert_int_equal(manifest_read(bench_path(&bench, "m.json"), NULL, &again, &e), ERR_CORRUPT);
  assert_null(again);
  manifest_free(&manifest);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_declared_files_are_hashed_others_removed), T(test_links_are_refused),
      T(test_links_to_folders_are_refused_not_followed), T(test_fifos_do_not_block_and_are_refused),
      T(test_sockets_are_refused), T(test_hard_links_are_refused), T(test_deep_trees_end),
      T(test_declared_but_missing_is_named), T(test_nothing_declared_needs_no_folder), T(test_too_many_bytes_are_refused),
      T(test_a_file_that_changes_meanwhile_is_refused), T(test_many_files_take_no_quadratic_time),
      T(test_a_manifest_comes_back_only_unchanged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
