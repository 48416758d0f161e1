/* shelf.c - generations of pipelines: who holds which, when folders are looked at, what a reload that was refused
 * leaves. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/shelf_parts.h"

enum { LOOK_EVERY_US = 1000 * 1000 };

struct shelf {
  char **folders;
  struct stage_set *stages;
  pthread_mutex_t reading; /* one thread reads folders at a time; taken before `lock`; guards signature */
  char signature[65];
  pthread_mutex_t lock; /* guards the rest, and the references of every set; never held while reading */
  struct shelf_set *current;
  int64_t look_us; /* boot clock: not earlier than this */
};

/* ---- one generation ---------------------------------------------------------------------------------------------- */

struct shelf_set *shelf_set_new(void) {
  struct shelf_set *set = mem_alloc(sizeof *set);
  set->references = 1;
  return set;
}

static void shelved_free(struct shelved_item *item) {
  shelved_text_unref(&item->kept);
  report_free(&item->public.problems);
  free(item->public.name);
  free(item->public.file);
  free(item);
}

void shelf_set_free(struct shelf_set **at) {
  struct shelf_set *set = *at;
  if (!set) return;
  *at = NULL;
  for (size_t i = 0; i < set->count; i++) shelved_free(set->items[i]);
  free(set->items);
  free(set);
}

static int item_order(const void *a, const void *b) {
  return strcmp((*(struct shelved_item *const *)a)->public.name, (*(struct shelved_item *const *)b)->public.name);
}

/* Sorts it and says what it is. */
static void set_close(struct shelf_set *set) {
  buf_auto struct buf all = {0};
  if (set->count) qsort(set->items, set->count, sizeof *set->items, item_order);
  set->problems = 0;
  for (size_t i = 0; i < set->count; i++) {
    const struct shelved *s = &set->items[i]->public;
    buf_format(&all, "%s\n%s\n%s\n", s->name, s->file, s->pipeline ? s->pipeline->digest : "-");
    if (!s->problems) continue;
    report_text(s->problems, &all, false);
    set->problems += report_errors(s->problems);
  }
  digest_of(buf_string(&all), all.size, set->digest);
}

size_t shelf_count(const struct shelf_set *set) { return set->count; }
const struct shelved *shelf_at(const struct shelf_set *set, size_t index) { return &set->items[index]->public; }
const char *shelf_digest(const struct shelf_set *set) { return set->digest; }
size_t shelf_problems(const struct shelf_set *set) { return set->problems; }

const struct shelved *shelf_find(const struct shelf_set *set, const char *name) {
  for (size_t low = 0, high = set->count; low < high;) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(name, set->items[middle]->public.name);
    if (!order) return &set->items[middle]->public;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

/* ---- replacing --------------------------------------------------------------------------------------------------- */

static void set_install(struct shelf *shelf, struct shelf_set *moved) {
  set_close(moved);
  pthread_mutex_lock(&shelf->lock);
  struct shelf_set *old = shelf->current;
  shelf->current = moved;
  if (old && --old->references) old = NULL;
  pthread_mutex_unlock(&shelf->lock);
  shelf_set_free(&old);
}

static const struct shelved *by_file(const struct shelf_set *set, const char *file) {
  for (size_t i = 0; i < set->count; i++)
    if (!strcmp(set->items[i]->public.file, file)) return &set->items[i]->public;
  return NULL;
}

/* What was, with the problems of what is not going to be. */
static struct shelf_set *set_refused(const struct shelf_set *old, const struct shelf_set *fresh) {
  struct shelf_set *set = shelf_set_new();
  for (size_t i = 0; i < old->count; i++) {
    const struct shelved_item *item = old->items[i];
    const struct shelved *now = by_file(fresh, item->public.file);
    if (!item->kept->pipeline && (!now || now->pipeline)) continue; /* it never was: mended or gone meanwhile */
    shelf_set_add(set, item->public.name, item->public.file, item->kept, now ? now->problems : NULL);
  }
  for (size_t i = 0; i < fresh->count; i++) {
    const struct shelved_item *item = fresh->items[i];
    if (!item->public.problems || by_file(old, item->public.file)) continue;
    shelf_set_add(set, item->public.name, item->public.file, item->kept, item->public.problems);
  }
  return set;
}

static void say_problems(const struct shelf_set *set) {
  for (size_t i = 0; i < set->count; i++) {
    const struct report *report = set->items[i]->public.problems;
    for (size_t k = 0; report && k < report_count(report); k++) {
      const struct problem *p = report_at(report, k);
      log_line(p->level == PROBLEM_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "pipelines: %s:%zu:%zu: %s",
               p->file ? p->file : set->items[i]->public.file, p->line, p->column, p->message);
    }
  }
}

static enum err first_problem(const struct shelf_set *set, struct error *e) {
  for (size_t i = 0; i < set->count; i++) {
    const struct report *report = set->items[i]->public.problems;
    for (size_t k = 0; report && k < report_count(report); k++) {
      const struct problem *p = report_at(report, k);
      if (p->level != PROBLEM_ERROR) continue;
      return error_set(e, ERR_INVALID, "%s:%zu:%zu: %s%s", p->file ? p->file : set->items[i]->public.file, p->line,
                       p->column, p->message, set->problems > 1 ? " (and more)" : "");
    }
  }
  return error_set(e, ERR_INVALID, "a pipeline cannot be used");
}

/* Under `reading`. What is wrong is said and noted beside the set in force. */
static enum err read_again(struct shelf *shelf, struct shelf_set **fresh, struct error *e) {
  *fresh = NULL;
  enum err err = shelf_read(shelf->folders, shelf->stages, fresh, e);
  if (err) {
    log_error("pipelines: %s; those that were read before stay", e->message);
    return err;
  }
  set_close(*fresh);
  say_problems(*fresh);
  if (!(*fresh)->problems) return ERR_OK;
  err = first_problem(*fresh, e);
  log_error("pipelines: %zu problem%s; those that were read before stay", (*fresh)->problems,
            (*fresh)->problems == 1 ? "" : "s");
  set_install(shelf, set_refused(shelf->current, *fresh)); /* only who reads replaces it: `current` can be looked at */
  shelf_set_free(fresh);
  return err;
}

enum err shelf_prepare(struct shelf *shelf, struct shelf_set **prepared, struct error *e) {
  pthread_mutex_lock(&shelf->reading);
  shelf_signature(shelf->folders, shelf->signature);
  enum err err = read_again(shelf, prepared, e);
  pthread_mutex_unlock(&shelf->reading);
  return err;
}

void shelf_install(struct shelf *shelf, struct shelf_set *moved) {
  pthread_mutex_lock(&shelf->reading);
  log_info("pipelines: %zu can be submitted", moved->count);
  set_install(shelf, moved);
  pthread_mutex_unlock(&shelf->reading);
}

void shelf_discard(struct shelf_set **prepared) { shelf_set_free(prepared); }

enum err shelf_reload(struct shelf *shelf, struct error *e) {
  struct shelf_set *fresh;
  enum err err = shelf_prepare(shelf, &fresh, e);
  if (!err) shelf_install(shelf, fresh);
  return err;
}

/* ---- holding ----------------------------------------------------------------------------------------------------- */

static struct shelf_set *hold(struct shelf *shelf, bool *look) {
  int64_t now_us = clock_boot(&clock_system);
  pthread_mutex_lock(&shelf->lock);
  struct shelf_set *set = shelf->current;
  set->references++;
  *look = now_us >= shelf->look_us;
  if (*look) shelf->look_us = now_us + LOOK_EVERY_US;
  pthread_mutex_unlock(&shelf->lock);
  return set;
}

static void look_at_folders(struct shelf *shelf) {
  char signature[65];
  struct error e = {0};
  if (pthread_mutex_trylock(&shelf->reading)) return; /* somebody is at it: the set in force will do */
  shelf_signature(shelf->folders, signature);
  if (strcmp(signature, shelf->signature)) {
    struct shelf_set *fresh;
    memcpy(shelf->signature, signature, sizeof signature);
    if (!read_again(shelf, &fresh, &e)) {
      log_info("pipelines: %zu can be submitted", fresh->count);
      set_install(shelf, fresh);
    }
  }
  pthread_mutex_unlock(&shelf->reading);
}

const struct shelf_set *shelf_hold(struct shelf *shelf) {
  bool look;
  const struct shelf_set *set = hold(shelf, &look);
  if (!look) return set;
  shelf_release(shelf, &set);
  look_at_folders(shelf);
  return hold(shelf, &look);
}

void shelf_release(struct shelf *shelf, const struct shelf_set **at) {
  struct shelf_set *set = (struct shelf_set *)*at;
  if (!set) return;
  *at = NULL;
  pthread_mutex_lock(&shelf->lock);
  if (--set->references) set = NULL;
  pthread_mutex_unlock(&shelf->lock);
  shelf_set_free(&set);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

enum err shelf_open(struct shelf **out, const struct shelf_options *options, struct error *e) {
  struct shelf *shelf = mem_alloc(sizeof *shelf);
  size_t count = 0;
  while (options->folders[count]) count++;
  shelf->folders = mem_array(count + 1, sizeof *shelf->folders);
  for (size_t i = 0; i < count; i++) shelf->folders[i] = mem_text(options->folders[i]);
  shelf->stages = stage_set_ref(options->stages);
  pthread_mutex_init(&shelf->reading, NULL);
  pthread_mutex_init(&shelf->lock, NULL);
  shelf->look_us = clock_boot(&clock_system) + LOOK_EVERY_US;
  shelf_signature(shelf->folders, shelf->signature);
  enum err err = shelf_read(shelf->folders, shelf->stages, &shelf->current, e);
  if (err) return shelf_close(&shelf), err;
  set_close(shelf->current);
  say_problems(shelf->current);
  *out = shelf;
  return ERR_OK;
}

void shelf_close(struct shelf **at) {
  struct shelf *shelf = *at;
  if (!shelf) return;
  *at = NULL;
  shelf_set_free(&shelf->current);
  for (size_t i = 0; shelf->folders[i]; i++) free(shelf->folders[i]);
  free(shelf->folders);
  stage_set_unref(&shelf->stages);
  pthread_mutex_destroy(&shelf->reading);
  pthread_mutex_destroy(&shelf->lock);
  free(shelf);
}
