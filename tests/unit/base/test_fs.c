/* Files below a root that somebody hostile may have filled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

static char root_path[] = "/tmp/stagemill-fs-XXXXXX";
static int root = -1;

static int make_root(void **state) {
  (void)state;
  if (!mkdtemp(root_path)) return -1;
  root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return root < 0;
}

static int drop_root(void **state) {
  (void)state;
  int tmp = open("/tmp", O_RDONLY | O_DIRECTORY);
  enum err status = fs_remove_tree(tmp, root_path + 5, NULL);
  close(tmp);
  close(root);
  return status || access(root_path, F_OK) == 0;
}

static char *at(const char *name) { return mem_format("%s/%s", root_path, name); }

static void put(const char *name, const char *text) {
  mem_auto char *path = at(name);
  assert_int_equal(fs_write_durably(path, text, strlen(text), 0644, NULL), ERR_OK);
}

static void folders_are_made_and_files_in_the_way_named(void **state) {
  (void)state;
  mem_auto char *deep = at("a/b/c"), *blocked = at("file/x");
  struct error e;
  assert_int_equal(fs_make_folders(deep, 0755, &e), ERR_OK);
  assert_int_equal(fs_make_folders(deep, 0755, &e), ERR_OK);
  put("file", "x");
  assert_int_not_equal(fs_make_folders(blocked, 0755, &e), ERR_OK);
  assert_non_null(strstr(e.message, "file"));
}

static void durable_writes_replace_whole_and_leave_nothing(void **state) {
  (void)state;
  mem_auto char *path = at("a/state.json"), *nowhere = at("missing/state.json");
  struct buf buf_auto b = {0};
  struct error e;
  assert_int_equal(fs_write_durably(path, "one", 3, 0600, &e), ERR_OK);
  assert_int_equal(fs_write_durably(path, "second", 6, 0640, &e), ERR_OK);
  assert_int_equal(fs_read_file(path, 6, &b, &e), ERR_OK);
  assert_string_equal(buf_string(&b), "second");
  struct stat s;
  assert_int_equal(stat(path, &s), 0);
  assert_int_equal(s.st_mode & 0777, 0640);
  assert_int_equal(fs_read_file(path, 5, &b, &e), ERR_TOO_LARGE);
  assert_int_equal(fs_write_durably(nowhere, "x", 1, 0600, &e), ERR_NOT_FOUND);
}

static void a_fifo_is_refused_without_waiting(void **state) {
  (void)state;
  mem_auto char *fifo = at("fifo");
  struct buf buf_auto b = {0};
  assert_int_equal(mkfifo(fifo, 0600), 0);
  assert_int_equal(fs_read_file(fifo, 100, &b, NULL), ERR_INVALID);
}

static enum err open_says(const char *relative) {
  struct error e = {0};
  int fd = fs_open_beneath(root, relative, O_RDONLY, 0, &e);
  if (fd < 0) return e.code;
  assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  close(fd);
  return ERR_OK;
}

static void nothing_leads_out_of_the_root(void **state) {
  (void)state;
  put("a/b/inner", "x");
  assert_int_equal(symlinkat("/etc", root, "etc"), 0);
  assert_int_equal(symlinkat("a", root, "alias"), 0);
  assert_int_equal(open_says("a/b/inner"), ERR_OK);
  assert_int_equal(open_says(""), ERR_OK);
  assert_int_equal(open_says("etc/passwd"), ERR_DENIED);
  assert_int_equal(open_says("etc"), ERR_DENIED);
  assert_int_equal(open_says("alias/b/inner"), ERR_DENIED);
  assert_int_equal(open_says("../etc"), ERR_DENIED);
  assert_int_equal(open_says("a/../../etc"), ERR_DENIED);
  assert_int_equal(open_says("/etc/passwd"), ERR_DENIED);
  assert_int_equal(open_says("a/missing"), ERR_NOT_FOUND);
}

static void removing_a_tree_leaves_what_links_point_to(void **state) {
  (void)state;
  put("kept", "x");
  mem_auto char *deep = at("doomed/x/y"), *target = at("kept");
  assert_int_equal(fs_make_folders(deep, 0755, NULL), ERR_OK);
  assert_int_equal(symlinkat(target, root, "doomed/x/link"), 0);
  assert_int_equal(symlinkat(root_path, root, "doomed/loop"), 0);
  put("doomed/x/y/file", "x");
  struct error e;
  assert_int_equal(fs_remove_tree(root, "doomed", &e), ERR_OK);
  assert_int_equal(open_says("doomed"), ERR_NOT_FOUND);
  assert_int_equal(open_says("kept"), ERR_OK);
  assert_int_equal(fs_remove_tree(root, "doomed/gone/too", &e), ERR_OK);
  assert_int_equal(fs_remove_tree(root, "../anything", &e), ERR_DENIED);
  assert_int_equal(fs_remove_tree(root, "etc/passwd", &e), ERR_DENIED);
}

struct seen {
  struct buf names;
  enum err stop_at_file;
};

static enum err see(void *context, const struct fs_entry *entry, struct error *e) {
  struct seen *s = context;
  buf_format(&s->names, "%s%s ", entry->path,
             S_ISLNK(entry->stat.st_mode)   ? "@"
             : S_ISDIR(entry->stat.st_mode) ? "/"
                                            : "");
  if (s->stop_at_file && S_ISREG(entry->stat.st_mode)) return error_set(e, s->stop_at_file, "seen enough");
  return ERR_OK;
}

static void a_walk_is_sorted_bounded_and_follows_nothing(void **state) {
  (void)state;
  mem_auto char *deep = at("walk/b/c");
  struct seen s = {0};
  struct error e;
  fs_make_folders(deep, 0755, NULL);
  put("walk/a", "x");
  put("walk/b/c/d", "x");
  assert_int_equal(symlinkat("/", root, "walk/root"), 0);
  assert_int_equal(fs_walk(root, "walk", 5, 3, see, &s, &e), ERR_OK);
  assert_string_equal(buf_string(&s.names), "a b/ b/c/ b/c/d root@ ");
  buf_reset(&s.names);
  assert_int_equal(fs_walk(root, "walk", 4, 3, see, &s, &e), ERR_TOO_LARGE);
  assert_int_equal(fs_walk(root, "walk", 5, 2, see, &s, &e), ERR_TOO_LARGE);
  assert_int_equal(fs_walk(root, "walk/root", 5, 2, see, &s, &e), ERR_DENIED);
  s.stop_at_file = ERR_CANCELLED;
  assert_int_equal(fs_walk(root, "walk", 5, 3, see, &s, &e), ERR_CANCELLED);
  buf_free(&s.names);
}

static void absolute(const char *base, const char *path, const char *wanted) {
  mem_auto char *got = fs_absolute(base, path);
  assert_string_equal(got, wanted);
}

static void paths_are_cleaned_without_the_disk(void **state) {
  (void)state;
  absolute("/x", "a//b/./c/../d/", "/x/a/b/d");
  absolute("/x", "/..//../a", "/a");
  absolute("/x", "../..", "/");
  absolute(NULL, "/", "/");
  absolute("/x/y", "", "/x/y");
  mem_auto char *here = getcwd(NULL, 0), *wanted = mem_format("%s/sub/f", here);
  absolute("sub", "f", wanted);
  assert_string_equal(fs_base_name("/a/b.mp4"), "b.mp4");
  assert_true(fs_free_bytes("/tmp") >= 0);
  assert_int_equal(fs_free_bytes("/nowhere/at/all"), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(folders_are_made_and_files_in_the_way_named),
      cmocka_unit_test(durable_writes_replace_whole_and_leave_nothing),
      cmocka_unit_test(a_fifo_is_refused_without_waiting),
      cmocka_unit_test(nothing_leads_out_of_the_root),
      cmocka_unit_test(removing_a_tree_leaves_what_links_point_to),
      cmocka_unit_test(a_walk_is_sorted_bounded_and_follows_nothing),
      cmocka_unit_test(paths_are_cleaned_without_the_disk),
  };
  return cmocka_run_group_tests(tests, make_root, drop_root);
}
