/* Listing jobs: newest first through the narrowest index, or open ones in the order they should run. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 1000, SOURCES_MAX = 8 };

/* Ids with a common key prefix, descending. Several are merged: one for each status asked for. */
struct source {
  MDB_cursor *cursor;
  struct key prefix;
  MDB_val key;
  bool over;
};

struct sources {
  struct tx *tx;
  enum db db;
  struct source items[SOURCES_MAX];
  size_t count;
};

static void settle(struct sources *all, struct source *s, int code) {
  if (code && code != MDB_NOTFOUND) all->tx->fault = code;
  s->over = code || s->key.mv_size < s->prefix.size || memcmp(s->key.mv_data, s->prefix.bytes, s->prefix.size) != 0;
}

static void step_back(struct sources *all, struct source *s) {
  MDB_val data;
  settle(all, s, mdb_cursor_get(s->cursor, &s->key, &data, MDB_PREV));
}

/* Stands on the last row before `before`, NULL: on the prefix's last. */
static void source_open(struct sources *all, const struct key *prefix, const char *before) {
  struct source *s = &all->items[all->count++];
  struct key bound = *prefix;
  MDB_val data;
  *s = (struct source){.prefix = *prefix};
  all->tx->fault = mdb_cursor_open(all->tx->txn, all->tx->db->dbi[all->db], &s->cursor);
  if (all->tx->fault) {
    s->over = true;
    return;
  }
  if (before)
    key_add(&bound, before, strlen(before));
  else
    key_add(&bound, "\xff", 1); /* no id begins with it */
  s->key = (MDB_val){bound.size, bound.bytes};
  int code = mdb_cursor_get(s->cursor, &s->key, &data, MDB_SET_RANGE);
  if (code == MDB_NOTFOUND)
    code = mdb_cursor_get(s->cursor, &s->key, &data, MDB_LAST);
  else if (code == 0)
    code = mdb_cursor_get(s->cursor, &s->key, &data, MDB_PREV);
  settle(all, s, code);
}

static bool take_newest(struct sources *all, char id[STORE_ID_MAX]) {
  struct source *newest = NULL;
  for (size_t i = 0; i < all->count && !all->tx->fault; i++) {
    struct source *s = &all->items[i];
    size_t size = s->over ? 0 : s->key.mv_size - s->prefix.size;
    if (size == 0 || size >= STORE_ID_MAX) continue;
    char candidate[STORE_ID_MAX] = "";
    memcpy(candidate, (const char *)s->key.mv_data + s->prefix.size, size);
    if (newest && strcmp(candidate, id) < 0) continue;
    memcpy(id, candidate, STORE_ID_MAX);
    newest = s;
  }
  if (newest) step_back(all, newest);
  return newest != NULL;
}

static void sources_close(struct sources *all) {
  for (size_t i = 0; i < all->count; i++)
    if (all->items[i].cursor) mdb_cursor_close(all->items[i].cursor);
}

static void sources_open(struct sources *all, struct tx *tx, const struct job_filter *f) {
  const struct {
    char tag;
    const char *value;
  } names[] = {/* the narrowest first */
               {'b', f->batch},
               {'a', f->asset},
               {'o', f->owner},
               {'p', f->pipeline}};
  struct key prefix = {.size = 0};
  *all = (struct sources){.tx = tx, .db = DB_INDEX};
  for (size_t i = 0; i < 4; i++) {
    if (!names[i].value) continue;
    prefix = key_index(names[i].tag, names[i].value, NULL);
    source_open(all, &prefix, f->before_id);
    return;
  }
  for (int status = JOB_QUEUED; f->statuses && status <= JOB_CANCELLED; status++) {
    if (!(f->statuses & (1u << status))) continue;
    prefix = key_status((enum job_status)status, NULL);
    source_open(all, &prefix, f->before_id);
  }
  if (f->statuses) return;
  all->db = DB_JOBS;
  source_open(all, &prefix, f->before_id);
}

static bool same(const char *wanted, const char *got) { return !wanted || (got && strcmp(wanted, got) == 0); }

static bool passes(const struct job_filter *f, const struct job_record *j) {
  return (!f->statuses || f->statuses & (1u << j->status)) && same(f->pipeline, j->pipeline) &&
         same(f->owner, j->owner) && same(f->asset, j->asset) && same(f->batch, j->batch) &&
         j->created_us >= f->since_us;
}

static bool filter_is_sane(const struct job_filter *f) {
  const char *const names[] = {f->pipeline, f->owner, f->asset, f->batch};
  for (size_t i = 0; i < 4; i++)
    if (names[i] && strlen(names[i]) > NAME_BYTES_MAX) return false;
  return !f->before_id || strlen(f->before_id) < STORE_ID_MAX;
}

static struct job_record *list_add(struct job_list *l) {
  if ((l->count & (l->count - 1)) == 0) l->items = mem_grow(l->items, l->count ? l->count * 2 : 1, sizeof(*l->items));
  return &l->items[l->count++];
}

enum err store_jobs(struct store *s, const struct job_filter *f, struct job_list *jobs, struct error *e) {
  struct tx tx;
  struct sources all;
  char id[STORE_ID_MAX];
  size_t limit = f->limit ? f->limit : PAGE_DEFAULT;
  if (limit > PAGE_MAX) limit = PAGE_MAX;
  *jobs = (struct job_list){0};
  if (!filter_is_sane(f)) return ERR_OK; /* no job can have such a name */
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  sources_open(&all, &tx, f);
  while (jobs->count < limit && take_newest(&all, id)) {
    struct job_record job;
    if (!job_load(&tx, id, &job)) break;
    if (passes(f, &job)) {
      spec_load(&tx, &job);
      *list_add(jobs) = job;
    } else {
      job_record_clear(&job);
    }
  }
  sources_close(&all);
  status = read_end(&tx, e);
  if (status) job_list_clear(jobs);
  return status;
}

enum err store_open_jobs(struct store *s, struct job_list *jobs, struct error *e) {
  struct tx tx;
  struct scan scan;
  const struct key all = {.size = 0};
  *jobs = (struct job_list){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  for (bool more = scan_first(&scan, &tx, DB_OPEN, &all); more; more = scan_next(&scan)) {
    char id[STORE_ID_MAX] = "";
    if (scan.key.mv_size <= 9 || scan.key.mv_size - 9 >= sizeof(id)) continue;
    memcpy(id, (const char *)scan.key.mv_data + 9, scan.key.mv_size - 9);
    struct job_record *job = list_add(jobs);
    if (job_load(&tx, id, job))
      spec_load(&tx, job);
    else
      jobs->count--;
  }
  scan_end(&scan);
  status = read_end(&tx, e);
  if (status) job_list_clear(jobs);
  return status;
}

enum err store_counts(struct store *s, struct store_counts *counts, struct error *e) {
  struct tx tx;
  struct counters c;
  *counts = (struct store_counts){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  counters_load(&tx, &c);
  status = read_end(&tx, e);
  if (!status) memcpy(counts->by_status, c.by_status, sizeof(counts->by_status));
  return status;
}
