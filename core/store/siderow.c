/* Rows of side records, their indices, and whose a history is. */
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

bool side_load(struct tx *tx, enum side_kind kind, const char *id, struct side_record *record) {
  MDB_val v;
  struct key k = key_side(kind, id);
  *record = (struct side_record){0};
  if (!row_get(tx, DB_SIDES, &k, &v)) return false;
  if (record_decode(&side_layout, v.mv_data, v.mv_size, record) && record->id && record->kind == kind) return true;
  tx->fault = MDB_CORRUPTED;
  side_record_clear(record);
  return false;
}

static void index_side(struct tx *tx, const struct side_record *r, bool there) {
  struct key keys[3];
  size_t count = 0;
  if (r->owner) keys[count++] = key_side_name('o', r->kind, r->owner, r->id);
  if (r->group) keys[count++] = key_side_name('g', r->kind, r->group, r->id);
  if (r->due_us > 0) keys[count++] = key_side_due(r->kind, r->due_us, r->id);
  for (size_t i = 0; i < count; i++) {
    if (there)
      row_put(tx, DB_SIDE_INDEX, &keys[i], "", 0);
    else
      row_delete(tx, DB_SIDE_INDEX, &keys[i]);
  }
}

void side_save(struct tx *tx, const struct side_record *old, const struct side_record *record) {
  struct buf buf_auto b = {0};
  const struct side_record *any = record ? record : old;
  struct key k = key_side(any->kind, any->id);
  if (old) index_side(tx, old, false);
  if (record) {
    record_encode(&b, &side_layout, record);
    row_put(tx, DB_SIDES, &k, b.data, b.size);
    index_side(tx, record, true);
    return;
  }
  row_delete(tx, DB_SIDES, &k);
  struct subject of;
  if (subject_load(tx, any->id, &of) && of.side == (uint32_t)any->kind) events_drop(tx, any->id);
  if (any->kind == SIDE_BATCH) deliveries_drop(tx, any->id);
}

bool subject_load(struct tx *tx, const char *id, struct subject *subject) {
  struct scan s;
  struct event_record event = {0};
  struct key prefix = key_prefix(id);
  *subject = (struct subject){0};
  bool there = scan_last(&s, tx, DB_HISTORY, &prefix, NULL) && s.data.mv_size == 8;
  uint64_t cursor = there ? u64_of(s.data.mv_data) : 0;
  scan_end(&s);
  if (!there) return false;
  if (event_load(tx, cursor, &event))
    *subject = (struct subject){.side = event.side, .last_seq = event.seq};
  else if (!tx->fault)
    tx->fault = MDB_CORRUPTED;
  event_record_clear(&event);
  return !tx->fault;
}

void deliveries_drop(struct tx *tx, const char *subject) {
  struct scan s;
  struct key prefix = key_side_name('g', SIDE_DELIVERY, subject, NULL);
  char id[NAME_BYTES_MAX + 1] = "";
  for (bool more = scan_first(&s, tx, DB_SIDE_INDEX, &prefix); more;) {
    struct side_record r;
    size_t size = s.key.mv_size - prefix.size;
    if (size >= sizeof(id)) break;
    memset(id, 0, sizeof(id));
    memcpy(id, (const char *)s.key.mv_data + prefix.size, size);
    scan_end(&s); /* the row below is removed from under it */
    if (side_load(tx, SIDE_DELIVERY, id, &r)) side_save(tx, &r, NULL);
    side_record_clear(&r);
    struct key from = prefix;
    key_add(&from, id, size + 1); /* id NUL: behind it */
    more = scan_from(&s, tx, DB_SIDE_INDEX, &prefix, &from);
  }
  scan_end(&s);
}
