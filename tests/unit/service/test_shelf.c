/* The shelf: folders of pipelines, broken files beside good ones, reloads that are all or nothing. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/shelf.h"
#include "stages.h"

struct scene {
  char folder[64];
  char *first, *second;
  struct stage_set *stages;
  struct shelf *shelf;
};

static int scene_open(void **state) {
  struct scene *s = mem_alloc(sizeof *s);
  snprintf(s->folder, sizeof s->folder, "/tmp/shelf-XXXXXX");
  if (!mkdtemp(s->folder)) return -1;
  s->first = mem_format("%s/first", s->folder);
  s->second = mem_format("%s/second", s->folder);
  fs_make_folders(s->first, 0700, NULL);
  fs_make_folders(s->second, 0700, NULL);
  s->stages = test_stages();
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR + 1, false);
  *state = s;
  return 0;
}

static int scene_close(void **state) {
  struct scene *s = *state;
  shelf_close(&s->shelf);
  fs_remove_path(s->folder, NULL);
  stage_set_unref(&s->stages);
  free(s->first);
  free(s->second);
  free(s);
  return 0;
}

static void put(const char *folder, const char *file, const char *name, const char *stage) {
  mem_auto char *path = mem_format("%s/%s", folder, file);
  mem_auto char *text = mem_format(
      "stagemill: 1\nname: %s\ndescription: what it is for\nstages:\n  - { id: a, uses: %s }\n", name, stage);
  assert_int_equal(fs_write_durably(path, text, strlen(text), 0600, NULL), ERR_OK);
}

static void drop(const char *folder, const char *file) {
  mem_auto char *path = mem_format("%s/%s", folder, file);
  assert_int_equal(unlink(path), 0);
}

static void open_shelf(struct scene *s) {
  struct error e = {0};
  const char *const folders[] = {s->first, s->second, NULL};
  struct shelf_options options = {.folders = folders, .stages = s->stages};
  assert_int_equal(shelf_open(&s->shelf, &options, &e), ERR_OK);
}

/* "a b! c": names in order, ! behind those that cannot be used, ? behind those with problems. */
static const char *names(struct scene *s) {
  static char text[512];
  const struct shelf_set *set = shelf_hold(s->shelf);
  size_t used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < shelf_count(set); i++) {
    const struct shelved *item = shelf_at(set, i);
    assert_ptr_equal(shelf_find(set, item->name), item);
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s", i ? " " : "", item->name,
                             !item->pipeline  ? "!"
                             : item->problems ? "?"
                                              : "");
  }
  shelf_release(s->shelf, &set);
  return text;
}

static void every_good_file_can_be_submitted_and_a_broken_one_says_why(void **state) {
  struct scene *s = *state;
  put(s->first, "b.yaml", "beta", "probe");
  put(s->first, "a.yml", "alpha", "probe");
  put(s->first, "bad.yaml", "bad", "prob");
  put(s->first, ".hidden.yaml", "hidden", "probe");
  put(s->first, "notes.txt", "notes", "probe");
  open_shelf(s);
  assert_string_equal(names(s), "alpha bad! beta");
  const struct shelf_set *set = shelf_hold(s->shelf);
  assert_int_equal(shelf_problems(set), 1);
  assert_non_null(strstr(report_at(shelf_find(set, "bad")->problems, 0)->message, "prob"));
  assert_string_equal(shelf_find(set, "beta")->summary, "what it is for");
  assert_non_null(strstr(shelf_find(set, "beta")->text, "name: beta"));
  assert_null(shelf_find(set, "gamma"));
  shelf_release(s->shelf, &set);
}

static void a_name_belongs_to_the_first_folder_and_to_one_file_of_it(void **state) {
  struct scene *s = *state;
  put(s->first, "x.yaml", "same", "probe");
  put(s->first, "y.yaml", "same", "probe");
  put(s->second, "z.yaml", "same", "thumbnail");
  put(s->second, "w.yaml", "other", "probe");
  open_shelf(s);
  assert_string_equal(names(s), "other same y!");
  const struct shelf_set *set = shelf_hold(s->shelf);
  assert_string_equal(shelf_find(set, "same")->pipeline->stages[0].uses, "probe");
  assert_non_null(strstr(report_at(shelf_find(set, "y")->problems, 0)->message, "x.yaml"));
  shelf_release(s->shelf, &set);
}

static void a_reload_is_all_or_nothing_and_notes_the_problems(void **state) {
  struct scene *s = *state;
  struct error e = {0};
  put(s->first, "a.yaml", "alpha", "probe");
  put(s->first, "b.yaml", "beta", "probe");
  open_shelf(s);
  const struct shelf_set *held = shelf_hold(s->shelf);
  char before[65];
  snprintf(before, sizeof before, "%s", shelf_digest(held));

  put(s->first, "a.yaml", "alpha", "thumbnail"); /* right, but it comes with ... */
  put(s->first, "b.yaml", "beta", "prob");       /* ... what is not */
  put(s->first, "c.yaml", "gamma", "probe");
  assert_int_equal(shelf_reload(s->shelf, &e), ERR_INVALID);
  assert_non_null(strstr(e.message, "b.yaml:5"));
  assert_string_equal(names(s), "alpha beta?");
  const struct shelf_set *now = shelf_hold(s->shelf);
  assert_string_equal(shelf_find(now, "alpha")->pipeline->stages[0].uses, "probe");
  assert_string_not_equal(shelf_digest(now), before);
  shelf_release(s->shelf, &now);

  put(s->first, "b.yaml", "beta", "probe");
  assert_int_equal(shelf_reload(s->shelf, &e), ERR_OK);
  assert_string_equal(names(s), "alpha beta gamma");
  assert_string_equal(shelf_find(held, "alpha")->pipeline->stages[0].uses, "probe"); /* whoever holds keeps it */
  shelf_release(s->shelf, &held);
}

static void a_prepared_set_that_is_given_back_changes_nothing(void **state) {
  struct scene *s = *state;
  struct shelf_set *prepared = NULL;
  put(s->first, "a.yaml", "alpha", "probe");
  open_shelf(s);
  put(s->first, "b.yaml", "beta", "probe");
  assert_int_equal(shelf_prepare(s->shelf, &prepared, NULL), ERR_OK);
  assert_string_equal(names(s), "alpha");
  shelf_discard(&prepared);
  assert_int_equal(shelf_prepare(s->shelf, &prepared, NULL), ERR_OK);
  shelf_install(s->shelf, prepared);
  assert_string_equal(names(s), "alpha beta");
}

static void a_changed_folder_is_noticed_by_itself(void **state) {
  struct scene *s = *state;
  put(s->first, "a.yaml", "alpha", "probe");
  open_shelf(s);
  put(s->first, "b.yaml", "beta", "probe");
  assert_string_equal(names(s), "alpha"); /* looked at less than a second ago */
  usleep(1050 * 1000);
  assert_string_equal(names(s), "alpha beta");
  drop(s->first, "a.yaml");
  usleep(1050 * 1000);
  assert_string_equal(names(s), "beta");
}

static void a_folder_that_goes_missing_keeps_what_was_read(void **state) {
  struct scene *s = *state;
  struct error e = {0};
  put(s->second, "a.yaml", "alpha", "probe");
  open_shelf(s);
  fs_remove_path(s->second, NULL);
  assert_int_equal(shelf_reload(s->shelf, &e), ERR_NOT_FOUND);
  assert_non_null(strstr(e.message, "second"));
  assert_string_equal(names(s), "alpha");
  const char *const folders[] = {s->second, NULL};
  struct shelf_options options = {.folders = folders, .stages = s->stages};
  struct shelf *none = NULL;
  assert_int_equal(shelf_open(&none, &options, &e), ERR_NOT_FOUND);
  assert_null(none);
}

static atomic_bool over;
static void *read_often(void *context) {
  struct scene *s = context;
  while (!atomic_load(&over)) {
    const struct shelf_set *set = shelf_hold(s->shelf);
    const struct shelved *item = shelf_find(set, "alpha");
    if (!item || item->pipeline->stage_count != 1) abort();
    shelf_release(s->shelf, &set);
  }
  return NULL;
}

static void readers_and_reloads_do_not_disturb_each_other(void **state) {
  struct scene *s = *state;
  pthread_t threads[3];
  put(s->first, "a.yaml", "alpha", "probe");
  open_shelf(s);
  atomic_store(&over, false);
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, read_often, s);
  for (int i = 0; i < 40; i++) {
    put(s->first, "b.yaml", "beta", i % 2 ? "probe" : "prob");
    assert_int_equal(shelf_reload(s->shelf, NULL), i % 2 ? ERR_OK : ERR_INVALID);
  }
  atomic_store(&over, true);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, scene_open, scene_close)
int main(void) {
  const struct CMUnitTest tests[] = {
      SCENE(every_good_file_can_be_submitted_and_a_broken_one_says_why),
      SCENE(a_name_belongs_to_the_first_folder_and_to_one_file_of_it),
      SCENE(a_reload_is_all_or_nothing_and_notes_the_problems),
      SCENE(a_prepared_set_that_is_given_back_changes_nothing),
      SCENE(a_changed_folder_is_noticed_by_itself),
      SCENE(a_folder_that_goes_missing_keeps_what_was_read),
      SCENE(readers_and_reloads_do_not_disturb_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
