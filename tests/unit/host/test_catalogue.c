/* The catalogue: notes judged before any code runs, throw-away loading, quarantine, the cache. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "host/catalogue.h"
#include "host/crew.h"
#include "wire/note.h"

#define NOTES TEST_PLUGINS "/notes"

static char folder[64];

static int set_up(void **state) {
  (void)state;
  snprintf(folder, sizeof(folder), "/tmp/stagemill-cat-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fs_remove_tree(root, fs_base_name(folder), NULL);
  close(root);
  return 0;
}

static struct catalogue *open_catalogue(const char *plugins, const char *cache, bool refresh, const char *runner) {
  const char *folders[] = {plugins};
  struct catalogue_options options = {.runner_path = runner, .folders = folders, .folder_count = 1, .cache_path = cache,
                                      .refresh = refresh};
  struct catalogue *c = NULL;
  struct error e = {0};
  if (catalogue_open(&c, &options, &e)) fail_msg("%s", e.message);
  return c;
}

static void copy_file(const char *from, const char *to) {
  buf_auto struct buf data = {0};
  struct error e;
  if (fs_read_file(from, 16 << 20, &data, &e)) fail_msg("%s", e.message);
  int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
  assert_int_equal(write(fd, data.data, data.size), data.size);
  close(fd);
}

static const struct plugin_record *record(struct catalogue *c, const char *plugins, const char *name) {
  mem_auto char *path = mem_format("%s/%s.so", plugins, name);
  const struct plugin_record *r = catalogue_find(c, path);
  if (!r) fail_msg("%s is not in the catalogue", path);
  return r;
}

/* ---- notes, symbols, tables ---- */

struct refusal {
  const char *name, *sentence;
  bool ran; /* refused for its symbol or tables, which only loading shows */
};
static const struct refusal refusals[] = {
  {"major", "ABI 2.0, this host speaks 1.0", false},
  {"lowest", "needs stagemill ABI 1.7 or newer", false},
  {"contradiction", "contradicts itself", false},
  {"avutil-major", "libavutil 58.2, this host has 57.", false},
  {"avutil-minor", "libavutil 57.200, this host has 57.", false},
  {"avcodec-major", "libavcodec 60.0, this host has 59.", false},
  {"no-note", "no stagemill note", false},
  {"two-notes", "more than one stagemill note", false},
  {"short-note", "instead of at least 80", false},
  {"long-note", "malformed", false},
  {"bad-id", "id in its stagemill note", false},
  {"no-symbol", "exports no symbol", true},
  {"symbol-id", "disagree about the id", true},
  {"symbol-minor", "disagree about the ABI version", true},
  {"stride", "sizes of its table rows", true},
  {"no-run", "no run function", true},
  {"bad-kind", "unknown kind (99)", true},
  {"no-stages", "brings no stage", true},
  {"endless", "no end within 256 rows", true},
};

static bool has_mark(const char *name) {
  mem_auto char *mark = mem_format(NOTES "/mark-%s", name);
  return access(mark, F_OK) == 0;
}

static void remove_marks(void) {
  DIR *marks = opendir(NOTES);
  for (struct dirent *entry; marks && (entry = readdir(marks));)
    if (strncmp(entry->d_name, "mark-", 5) == 0) unlinkat(dirfd(marks), entry->d_name, 0);
  if (marks) closedir(marks);
}

static void every_bad_plugin_is_refused_with_its_sentence(void **state) {
  (void)state;
  remove_marks();
  struct catalogue *c = open_catalogue(NOTES, NULL, false, RUNNER);
  for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
    const struct refusal *wanted = &refusals[i];
    const struct plugin_record *r = record(c, NOTES, wanted->name);
    if (r->state != PLUGIN_REFUSED || !strstr(r->reason, wanted->sentence) || !strstr(r->reason, wanted->name))
      fail_msg("%s: state %d: %s", wanted->name, (int)r->state, r->reason ? r->reason : "(no reason)");
    if (has_mark(wanted->name) != wanted->ran) fail_msg("%s: its code %s", wanted->name, wanted->ran ? "did not run" : "ran");
  }
  catalogue_close(&c);
}

static void a_newer_minor_whose_minimum_is_met_loads(void **state) {
  (void)state;
  struct catalogue *c = open_catalogue(NOTES, NULL, false, RUNNER);
  const struct plugin_record *newer = record(c, NOTES, "newer"), *good = record(c, NOTES, "avutil-good");
  if (newer->state != PLUGIN_LOADED) fail_msg("%s", newer->reason);
  assert_int_equal(newer->abi_minor, 9);
  if (good->state != PLUGIN_LOADED) fail_msg("%s", good->reason);
  assert_true(good->uses_libav);
  assert_false(newer->uses_libav);
  catalogue_close(&c);
}

static void rows_of_other_sizes_are_read_by_their_stride(void **state) {
  static const char *const names[] = {"smaller", "larger"};
  (void)state;
  struct catalogue *c = open_catalogue(NOTES, NULL, false, RUNNER);
  for (int i = 0; i < 2; i++) {
    const struct plugin_record *r = record(c, NOTES, names[i]);
    if (r->state != PLUGIN_LOADED) fail_msg("%s", r->reason);
    const struct stage_type *type = stage_set_find(catalogue_stages(c), names[i]);
    assert_non_null(type);
    assert_int_equal(type->param_count, 3);
    assert_string_equal(type->params[2].name, "third");
    assert_string_equal(type->params[2].fallback, "three");
    assert_int_equal(type->result_count, 2);
    assert_string_equal(type->results[1].key, "second");
    assert_int_equal(type->results[1].flags, 0);
  }
  catalogue_close(&c);
}

static unsigned next_random(unsigned *seed) { return *seed = *seed * 1664525u + 1013904223u; }

static void broken_files_are_refused_in_bounded_time(void **state) {
  buf_auto struct buf good = {0};
  unsigned seed = 4711;
  (void)state;
  assert_int_equal(fs_read_file(TEST_PLUGINS "/noop.so", 16 << 20, &good, NULL), ERR_OK);
  mem_auto char *path = mem_format("%s/broken.so", folder);
  for (int round = 0; round < 1500; round++) {
    struct note note;
    struct error e;
    mem_auto char *copy = mem_alloc(good.size);
    memcpy(copy, good.data, good.size);
    size_t size = round % 3 == 0 ? next_random(&seed) % good.size : good.size;
    for (int flips = 1 + round % 7; flips; flips--) /* the headers and notes lie in front */
      copy[next_random(&seed) % 1200] = (char)(round & 1 ? 0xff : next_random(&seed) >> 13);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(write(fd, copy, size), size);
    close(fd);
    if (note_read(path, &note, &e) != ERR_OK) assert_true(strlen(e.message) > 10);
    else assert_true(memchr(note.id, 0, sizeof(note.id)) != NULL);
  }
}

static void odd_files_in_the_folder_hurt_nobody(void **state) {
  (void)state;
  mem_auto char *plugins = mem_format("%s/odd", folder), *fifo = mem_format("%s/fifo.so", plugins);
  mem_auto char *text = mem_format("%s/text.so", plugins), *sub = mem_format("%s/sub.so", plugins);
  mem_auto char *gone = mem_format("%s/gone.so", plugins);
  mkdir(plugins, 0755);
  mkdir(sub, 0755);
  assert_int_equal(mkfifo(fifo, 0644), 0);
  assert_int_equal(symlink("/nowhere/at/all.so", gone), 0);
  int fd = open(text, O_WRONLY | O_CREAT, 0644);
  assert_int_equal(write(fd, "INPUT(libc.so.6)\n", 17), 17);
  close(fd);
  struct catalogue *c = open_catalogue(plugins, NULL, false, RUNNER);
  assert_int_equal(catalogue_count(c), 4);
  for (size_t i = 0; i < 4; i++) assert_int_equal(catalogue_at(c, i)->state, PLUGIN_REFUSED);
  catalogue_close(&c);
}

/* ---- crashes while loading ---- */

static void a_crash_while_loading_is_quarantined_and_costs_the_others_nothing(void **state) {
  (void)state;
  mem_auto char *plugins = mem_format("%s/mixed", folder), *cache = mem_format("%s/mixed.cache", folder);
  static const char *const names[] = {"noop", "broken/crash-load", "slow"};
  mkdir(plugins, 0755);
  for (int i = 0; i < 3; i++) {
    mem_auto char *from = mem_format(TEST_PLUGINS "/%s.so", names[i]);
    mem_auto char *to = mem_format("%s/%s.so", plugins, fs_base_name(names[i]));
    copy_file(from, to);
  }
  for (int round = 0; round < 2; round++) { /* the second time from the cache */
    struct catalogue *c = open_catalogue(plugins, cache, false, RUNNER);
    const struct plugin_record *r = record(c, plugins, "crash-load");
    assert_int_equal(r->state, PLUGIN_QUARANTINED);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* their own handlers report and exit */
    assert_non_null(strstr(r->reason, "exit code"));
#else
    assert_non_null(strstr(r->reason, "SIGSEGV"));
#endif
    assert_int_equal(record(c, plugins, "noop")->state, PLUGIN_LOADED);
    assert_int_equal(record(c, plugins, "slow")->state, PLUGIN_LOADED);
    assert_null(stage_set_find(catalogue_stages(c), "crash-load"));
    catalogue_close(&c);
  }
}

static void a_hang_while_loading_is_quarantined(void **state) {
  (void)state;
  mem_auto char *plugins = mem_format("%s/hanging", folder), *to = mem_format("%s/hang-load.so", plugins);
  mkdir(plugins, 0755);
  copy_file(TEST_PLUGINS "/broken/hang-load.so", to);
  time_t before = time(NULL);
  struct catalogue *c = open_catalogue(plugins, NULL, false, RUNNER);
  assert_in_range(time(NULL) - before, 5, 25);
  assert_int_equal(record(c, plugins, "hang-load")->state, PLUGIN_QUARANTINED);
  assert_non_null(strstr(record(c, plugins, "hang-load")->reason, "hung"));
  catalogue_close(&c);
}

/* ---- the cache ---- */

/* A runner that leaves a mark whenever it is started. */
static char *counting_runner(const char *mark) {
  char *path = mem_format("%s/counting-runner", folder);
  FILE *f = fopen(path, "w");
  fprintf(f, "#!/bin/sh\necho started >> %s\nexec %s \"$@\"\n", mark, RUNNER);
  fclose(f);
  chmod(path, 0755);
  return path;
}

static int lines_in(const char *path) {
  FILE *f = fopen(path, "r");
  int lines = 0;
  for (int c; f && (c = fgetc(f)) != EOF;) lines += c == '\n';
  if (f) fclose(f);
  return lines;
}

static void a_cache_hit_starts_no_process(void **state) {
  (void)state;
  mem_auto char *mark = mem_format("%s/started", folder), *runner = counting_runner(mark);
  mem_auto char *cache = mem_format("%s/deep/down/plugins.cache", folder);
  struct catalogue *c = open_catalogue(TEST_PLUGINS, cache, false, runner);
  size_t stages = stage_set_count(catalogue_stages(c));
  int first = lines_in(mark);
  assert_true(first >= 1 && stages >= 10);
  catalogue_close(&c);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  c = open_catalogue(TEST_PLUGINS, cache, false, runner);
  clock_gettime(CLOCK_MONOTONIC, &end);
  assert_int_equal(lines_in(mark), first);
  assert_int_equal(stage_set_count(catalogue_stages(c)), stages);
  const struct plugin_record *r = record(c, TEST_PLUGINS, "noop");
  assert_int_equal(r->state, PLUGIN_LOADED);
  assert_string_equal(r->id, "test.noop");
  assert_string_equal(r->version, "1.0.0");
  assert_int_equal(strlen(r->sha256), 64);
  assert_true(record(c, TEST_PLUGINS, "threads")->threads > 1);
  print_message("a catalogue from the cache: %.2f ms\n",
                (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6);
  catalogue_close(&c);
  c = open_catalogue(TEST_PLUGINS, cache, true, runner);
  assert_true(lines_in(mark) > first);
  catalogue_close(&c);
}

static void only_what_changed_is_loaded_again(void **state) {
  (void)state;
  mem_auto char *plugins = mem_format("%s/changing", folder), *one = mem_format("%s/one.so", plugins);
  mem_auto char *two = mem_format("%s/two.so", plugins), *cache = mem_format("%s/changing.cache", folder);
  mkdir(plugins, 0755);
  copy_file(TEST_PLUGINS "/noop.so", one);
  copy_file(TEST_PLUGINS "/broken/crash-load.so", two);
  struct catalogue *c = open_catalogue(plugins, cache, false, RUNNER);
  assert_int_equal(record(c, plugins, "two")->state, PLUGIN_QUARANTINED);
  catalogue_close(&c);
  unlink(two);
  copy_file(TEST_PLUGINS "/slow.so", two); /* a cured one lifts the quarantine by being another file */
  c = open_catalogue(plugins, cache, false, RUNNER);
  assert_int_equal(record(c, plugins, "two")->state, PLUGIN_LOADED);
  assert_non_null(stage_set_find(catalogue_stages(c), "slow"));
  assert_non_null(stage_set_find(catalogue_stages(c), "noop"));
  catalogue_close(&c);
}

static void a_damaged_cache_is_no_cache(void **state) {
  (void)state;
  mem_auto char *cache = mem_format("%s/damaged.cache", folder);
  struct catalogue *c = open_catalogue(TEST_PLUGINS, cache, false, RUNNER);
  size_t stages = stage_set_count(catalogue_stages(c));
  catalogue_close(&c);
  buf_auto struct buf good = {0};
  assert_int_equal(fs_read_file(cache, 64 << 20, &good, NULL), ERR_OK);
  for (int round = 0; round < 4; round++) {
    int fd = open(cache, O_WRONLY | O_TRUNC);
    size_t size = round == 0 ? 0 : round == 1 ? good.size / 2 : good.size;
    if (round >= 2) good.data[good.size / (size_t)round] ^= 0x55;
    assert_int_equal(write(fd, good.data, size), size);
    close(fd);
    c = open_catalogue(TEST_PLUGINS, cache, false, RUNNER);
    assert_true(stage_set_count(catalogue_stages(c)) + 1 >= stages);
    catalogue_close(&c);
  }
}

static void the_first_folder_wins_a_stage_name(void **state) {
  (void)state;
  mem_auto char *first = mem_format("%s/z-first", folder), *second = mem_format("%s/a-second", folder);
  mem_auto char *one = mem_format("%s/noop.so", first), *two = mem_format("%s/noop.so", second);
  mkdir(first, 0755);
  mkdir(second, 0755);
  copy_file(TEST_PLUGINS "/noop.so", one);
  copy_file(TEST_PLUGINS "/noop.so", two);
  const char *folders[] = {first, second};
  struct catalogue_options options = {.runner_path = RUNNER, .folders = folders, .folder_count = 2};
  struct catalogue *c = NULL;
  assert_int_equal(catalogue_open(&c, &options, NULL), ERR_OK);
  assert_string_equal(stage_set_find(catalogue_stages(c), "noop")->plugin_path, one);
  catalogue_close(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_bad_plugin_is_refused_with_its_sentence),
    cmocka_unit_test(a_newer_minor_whose_minimum_is_met_loads),
    cmocka_unit_test(rows_of_other_sizes_are_read_by_their_stride),
    cmocka_unit_test(broken_files_are_refused_in_bounded_time),
    cmocka_unit_test(odd_files_in_the_folder_hurt_nobody),
    cmocka_unit_test(a_crash_while_loading_is_quarantined_and_costs_the_others_nothing),
    cmocka_unit_test(a_hang_while_loading_is_quarantined),
    cmocka_unit_test(a_cache_hit_starts_no_process),
    cmocka_unit_test(only_what_changed_is_loaded_again),
    cmocka_unit_test(a_damaged_cache_is_no_cache),
    cmocka_unit_test(the_first_folder_wins_a_stage_name),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
