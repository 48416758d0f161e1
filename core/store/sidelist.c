/* Reading side records: one, or a page in the order of ids or of due times. */
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 1000 };

enum err store_side_get(struct store *s, enum side_kind kind, const char *id, struct side_record *record,
                        struct error *e) {
  struct tx tx;
  *record = (struct side_record){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  if (id && id[0] && strlen(id) <= NAME_BYTES_MAX) side_load(&tx, kind, id, record);
  status = read_end(&tx, e);
  if (status) side_record_clear(record);
  if (!status && !record->id) status = error_set(e, ERR_NOT_FOUND, "there is no '%s'", id ? id : "");
  return status;
}

/* The rows that a filter walks: ids stand at `offset` of their keys. */
struct walk {
  enum db db;
  struct key prefix;
  size_t offset;
  bool by_due;
};

static struct walk walk_of(const struct side_filter *f) {
  struct walk w = {.db = DB_SIDE_INDEX, .by_due = f->due_until_us > 0};
  if (w.by_due)
    w.prefix = key_side_due(f->kind, 0, NULL);
  else if (f->group)
    w.prefix = key_side_name('g', f->kind, f->group, NULL);
  else if (f->owner)
    w.prefix = key_side_name('o', f->kind, f->owner, NULL);
  else
    w = (struct walk){.db = DB_SIDES, .prefix = key_side(f->kind, NULL)};
  w.offset = w.prefix.size + (w.by_due ? 8 : 0);
  return w;
}

static bool begin_up(struct scan *s, struct tx *tx, const struct walk *w, const struct key *after) {
  if (!after) return scan_first(s, tx, w->db, &w->prefix);
  bool more = scan_from(s, tx, w->db, &w->prefix, after);
  bool same = more && s->key.mv_size == after->size && memcmp(s->key.mv_data, after->bytes, after->size) == 0;
  return same ? scan_next(s) : more;
}

static bool begin(struct scan *s, struct tx *tx, const struct walk *w, const struct side_filter *f) {
  struct key edge = w->prefix;
  bool paged = f->after_id != NULL;
  if (paged && w->by_due) { /* one that is no longer due gives no place to go on from: from the beginning then */
    struct side_record last;
    paged = side_load(tx, f->kind, f->after_id, &last) && last.due_us > 0;
    if (paged) edge = key_side_due(f->kind, last.due_us, f->after_id);
    side_record_clear(&last);
  } else if (paged) {
    key_add(&edge, f->after_id, strlen(f->after_id));
  }
  if (f->newest_first && !w->by_due) return scan_last(s, tx, w->db, &w->prefix, paged ? &edge : NULL);
  return begin_up(s, tx, w, paged ? &edge : NULL);
}

static bool same(const char *wanted, const char *got) { return !wanted || (got && strcmp(wanted, got) == 0); }

/* Adds what the row names, if the filter wants it; false: no row behind it can be wanted. */
static bool take(struct scan *s, const struct walk *w, const struct side_filter *f, struct side_list *list) {
  char id[NAME_BYTES_MAX + 1] = "";
  struct side_record r;
  if (s->key.mv_size <= w->offset || s->key.mv_size - w->offset >= sizeof(id)) return true;
  memcpy(id, (const char *)s->key.mv_data + w->offset, s->key.mv_size - w->offset);
  if (w->by_due && u64_of((const char *)s->key.mv_data + w->prefix.size) > (uint64_t)f->due_until_us) return false;
  if (!side_load(s->tx, f->kind, id, &r)) return !s->tx->fault;
  if (!same(f->owner, r.owner) || !same(f->group, r.group)) {
    side_record_clear(&r);
    return true;
  }
  if ((list->count & (list->count - 1)) == 0)
    list->items = mem_grow(list->items, list->count ? list->count * 2 : 1, sizeof(*list->items));
  list->items[list->count++] = r;
  return true;
}

static bool filter_is_sane(const struct side_filter *f) {
  const char *const names[] = {f->owner, f->group, f->after_id};
  for (size_t i = 0; i < 3; i++)
    if (names[i] && strlen(names[i]) > NAME_BYTES_MAX) return false;
  return f->kind >= SIDE_ASSET && f->kind < SIDE_KINDS;
}

enum err store_sides(struct store *s, const struct side_filter *f, struct side_list *list, struct error *e) {
  struct tx tx;
  struct scan scan;
  size_t limit = f->limit == 0 ? PAGE_DEFAULT : f->limit > PAGE_MAX ? PAGE_MAX : f->limit;
  *list = (struct side_list){0};
  if (!filter_is_sane(f)) return ERR_OK; /* nothing can have such a name */
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  struct walk w = walk_of(f);
  bool back = f->newest_first && !w.by_due;
  bool more = begin(&scan, &tx, &w, f);
  while (more && list->count < limit && take(&scan, &w, f, list)) more = back ? scan_back(&scan) : scan_next(&scan);
  scan_end(&scan);
  status = read_end(&tx, e);
  if (status) side_list_clear(list);
  return status;
}
