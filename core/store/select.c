#include "store/select.h"

#include <string.h>

static void settle(struct tx *tx, struct strand *s, int code) {
  if (code && code != MDB_NOTFOUND && !tx->fault) tx->fault = code;
  s->over = code || s->key.mv_size < s->prefix.size || memcmp(s->key.mv_data, s->prefix.bytes, s->prefix.size) != 0;
}

static void step_back(struct tx *tx, struct strand *s) {
  MDB_val data;
  settle(tx, s, mdb_cursor_get(s->cursor, &s->key, &data, MDB_PREV));
}

/* Stands on the last row before `bound`. */
static void place(struct tx *tx, struct strand *s, struct key *bound) {
  MDB_val data;
  s->key = (MDB_val){bound->size, bound->bytes};
  int code = mdb_cursor_get(s->cursor, &s->key, &data, MDB_SET_RANGE);
  if (code == MDB_NOTFOUND)
    code = mdb_cursor_get(s->cursor, &s->key, &data, MDB_LAST);
  else if (code == 0)
    code = mdb_cursor_get(s->cursor, &s->key, &data, MDB_PREV);
  settle(tx, s, code);
}

static int compare(const struct strand *s, const char *id) {
  size_t size = s->key.mv_size - s->prefix.size, other = strlen(id), least = size < other ? size : other;
  int order = memcmp((const char *)s->key.mv_data + s->prefix.size, id, least);
  return order ? order : size < other ? -1 : size > other;
}

/* Goes back to `id` or, when it is not there, to the next older one. Neighbours are tried before leaping. */
static void fall_to(struct tx *tx, struct strand *s, const char *id) {
  if (s->over || compare(s, id) <= 0) return;
  step_back(tx, s);
  if (s->over || compare(s, id) <= 0) return;
  struct key bound = s->prefix;
  key_add(&bound, id, strlen(id) + 1); /* with its NUL: just behind it */
  place(tx, s, &bound);
}

static void strand_open(struct tx *tx, struct id_list *list, enum db db, const struct key *prefix, const char *before) {
  struct strand *s = &list->strands[list->count++];
  *s = (struct strand){.prefix = *prefix, .over = true};
  int code = tx->fault ? tx->fault : mdb_cursor_open(tx->txn, tx->db->dbi[db], &s->cursor);
  if (code) {
    tx->fault = code;
    return;
  }
  struct key bound = *prefix;
  if (before)
    key_add(&bound, before, strlen(before));
  else
    key_add(&bound, "\xff", 1); /* no id begins with it */
  place(tx, s, &bound);
}

void selection_open(struct selection *s, struct tx *tx, const struct job_filter *f) {
  const struct job_name names[] = {/* the narrowest first: it leads */
                                   {'b', f->batch},
                                   {'a', f->asset},
                                   {'o', f->owner},
                                   {'p', f->pipeline}};
  *s = (struct selection){.tx = tx};
  for (size_t i = 0; i < 4; i++) {
    if (!names[i].value) continue;
    struct key prefix = key_index(names[i].tag, names[i].value, NULL);
    strand_open(tx, &s->lists[s->count++], DB_INDEX, &prefix, f->before_id);
  }
  for (int status = JOB_QUEUED; f->statuses && status <= JOB_CANCELLED; status++) {
    if (!(f->statuses & (1u << status))) continue;
    struct key prefix = key_status((enum job_status)status, NULL);
    strand_open(tx, &s->lists[s->count], DB_INDEX, &prefix, f->before_id);
  }
  if (f->statuses) s->count++;
  const struct key all = {.size = 0};
  if (!s->count) strand_open(tx, &s->lists[s->count++], DB_JOBS, &all, f->before_id);
}

/* The newest id of a list where its strands stand; false: none is left. */
static bool newest_of(const struct id_list *list, char id[STORE_ID_MAX]) {
  const struct strand *newest = NULL;
  for (size_t i = 0; i < list->count; i++) {
    const struct strand *s = &list->strands[i];
    size_t size = s->over ? 0 : s->key.mv_size - s->prefix.size;
    if (size == 0 || size >= STORE_ID_MAX || (newest && compare(s, id) < 0)) continue;
    memset(id, 0, STORE_ID_MAX);
    memcpy(id, (const char *)s->key.mv_data + s->prefix.size, size);
    newest = s;
  }
  return newest != NULL;
}

bool selection_next(struct selection *s, char id[STORE_ID_MAX]) {
  struct id_list *leader = &s->lists[0];
  for (size_t i = 0; s->started && i < leader->count; i++) {
    fall_to(s->tx, &leader->strands[i], id);
    if (!leader->strands[i].over && compare(&leader->strands[i], id) == 0) step_back(s->tx, &leader->strands[i]);
  }
  s->started = true;
  if (s->tx->fault || !newest_of(leader, id)) return false;
  for (size_t agreed = 1, i = 1 % s->count; agreed < s->count && !s->tx->fault; i = (i + 1) % s->count) {
    char mine[STORE_ID_MAX];
    for (size_t k = 0; k < s->lists[i].count; k++) fall_to(s->tx, &s->lists[i].strands[k], id);
    if (!newest_of(&s->lists[i], mine)) return false;
    agreed = strcmp(mine, id) == 0 ? agreed + 1 : 1;
    memcpy(id, mine, sizeof(mine));
  }
  return !s->tx->fault;
}

void selection_close(struct selection *s) {
  for (size_t i = 0; i < LISTS_MAX; i++)
    for (size_t k = 0; k < s->lists[i].count; k++)
      if (s->lists[i].strands[k].cursor) mdb_cursor_close(s->lists[i].strands[k].cursor);
}
