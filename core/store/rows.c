/* Keys, rows and scans: the only lines that speak LMDB to a table. */
#include <endian.h>
#include <string.h>

#include "base/digest.h"
#include "store/db.h"

void key_add(struct key *k, const void *bytes, size_t size) {
  if (size > sizeof(k->bytes) - k->size) size = sizeof(k->bytes) - k->size; /* callers bound ids and names */
  memcpy(k->bytes + k->size, bytes, size);
  k->size += size;
}

static void key_add_u64(struct key *k, uint64_t n) {
  uint64_t be = htobe64(n);
  key_add(k, &be, sizeof(be));
}

struct key key_text(const char *text) {
  struct key k = {.size = 0};
  key_add(&k, text, strlen(text));
  return k;
}

struct key key_u64(uint64_t n) {
  struct key k = {.size = 0};
  key_add_u64(&k, n);
  return k;
}

struct key key_prefix(const char *id) {
  struct key k = {.size = 0};
  key_add(&k, id, strlen(id) + 1);
  return k;
}

struct key key_of(const char *id, uint64_t n) {
  struct key k = key_prefix(id);
  key_add_u64(&k, n);
  return k;
}

struct key key_stage(const char *id, uint16_t position) {
  struct key k = key_prefix(id);
  uint16_t be = htobe16(position);
  key_add(&k, &be, sizeof(be));
  return k;
}

struct key key_index(char tag, const char *value, const char *id) {
  struct key k = {.size = 0};
  key_add(&k, &tag, 1);
  key_add(&k, value, strlen(value) + 1);
  if (id) key_add(&k, id, strlen(id));
  return k;
}

/* A name as it stands in keys: itself when short, else a digest, which no plain one begins like. */
static void key_add_name(struct key *k, const char *name) {
  enum { PLAIN_MAX = 128 };
  char hex[66] = "\x01";
  bool plain = strlen(name) <= PLAIN_MAX && name[0] != hex[0];
  if (!plain) digest_of(name, strlen(name), hex + 1);
  key_add(k, plain ? name : hex, strlen(plain ? name : hex) + 1);
}

struct key key_side(enum side_kind kind, const char *id) {
  unsigned char byte = (unsigned char)kind;
  struct key k = {.size = 0};
  key_add(&k, &byte, 1);
  if (id) key_add(&k, id, strlen(id));
  return k;
}

struct key key_side_name(char tag, enum side_kind kind, const char *value, const char *id) {
  unsigned char head[2] = {(unsigned char)tag, (unsigned char)kind};
  struct key k = {.size = 0};
  key_add(&k, head, sizeof(head));
  key_add_name(&k, value);
  if (id) key_add(&k, id, strlen(id));
  return k;
}

struct key key_side_due(enum side_kind kind, int64_t due_us, const char *id) {
  unsigned char head[2] = {'d', (unsigned char)kind};
  struct key k = {.size = 0};
  key_add(&k, head, sizeof(head));
  if (!id) return k;
  key_add_u64(&k, (uint64_t)due_us);
  key_add(&k, id, strlen(id));
  return k;
}

struct key key_totals(const char *owner, const char *pipeline) {
  struct key k = {.size = 0};
  key_add(&k, owner ? "o" : "p", 1);
  if (owner) key_add_name(&k, owner);
  if (pipeline) key_add(&k, pipeline, strlen(pipeline) + 1);
  return k;
}

uint64_t u64_of(const void *eight_bytes) {
  uint64_t be;
  memcpy(&be, eight_bytes, sizeof(be));
  return be64toh(be);
}

static MDB_val val_of(const struct key *k) { return (MDB_val){k->size, (void *)(uintptr_t)k->bytes}; }

static bool keep_fault(struct tx *tx, int code) {
  if (code && code != MDB_NOTFOUND && !tx->fault) tx->fault = code;
  return code == 0;
}

bool row_get(struct tx *tx, enum db db, const struct key *key, MDB_val *out) {
  MDB_val k = val_of(key);
  if (tx->fault || !key->size) return false;
  return keep_fault(tx, mdb_get(tx->txn, tx->db->dbi[db], &k, out));
}

static void put(struct tx *tx, enum db db, const struct key *key, const void *data, size_t size, unsigned flags) {
  MDB_val k = val_of(key), v = {size, (void *)(uintptr_t)data};
  if (!tx->fault) keep_fault(tx, mdb_put(tx->txn, tx->db->dbi[db], &k, &v, flags));
}

void row_put(struct tx *tx, enum db db, const struct key *key, const void *data, size_t size) {
  put(tx, db, key, data, size, 0);
}

void row_append(struct tx *tx, enum db db, const struct key *key, const void *data, size_t size) {
  put(tx, db, key, data, size, MDB_APPEND);
}

void row_delete(struct tx *tx, enum db db, const struct key *key) {
  MDB_val k = val_of(key);
  if (!tx->fault) keep_fault(tx, mdb_del(tx->txn, tx->db->dbi[db], &k, NULL));
}

void row_delete_all(struct tx *tx, enum db db, const struct key *prefix) {
  struct scan s;
  for (bool more = scan_first(&s, tx, db, prefix); more; more = scan_next(&s))
    keep_fault(tx, mdb_cursor_del(s.cursor, 0)); /* scan_next then stands on the row behind it */
  scan_end(&s);
}

static bool in_prefix(struct scan *s, int code) {
  if (!keep_fault(s->tx, code)) return false;
  return s->key.mv_size >= s->prefix.size && memcmp(s->key.mv_data, s->prefix.bytes, s->prefix.size) == 0;
}

bool scan_from(struct scan *s, struct tx *tx, enum db db, const struct key *prefix, const struct key *from) {
  *s = (struct scan){.tx = tx, .prefix = *prefix};
  if (tx->fault || !keep_fault(tx, mdb_cursor_open(tx->txn, tx->db->dbi[db], &s->cursor))) return false;
  s->key = val_of(from);
  return in_prefix(s, mdb_cursor_get(s->cursor, &s->key, &s->data, from->size ? MDB_SET_RANGE : MDB_FIRST));
}

bool scan_first(struct scan *s, struct tx *tx, enum db db, const struct key *prefix) {
  return scan_from(s, tx, db, prefix, prefix);
}

/* The first key behind all that have the prefix; false: there can be none. */
static bool key_after(const struct key *prefix, struct key *after) {
  *after = *prefix;
  while (after->size && after->bytes[after->size - 1] == 0xff) after->size--;
  if (!after->size) return false;
  after->bytes[after->size - 1]++;
  return true;
}

bool scan_last(struct scan *s, struct tx *tx, enum db db, const struct key *prefix, const struct key *before) {
  struct key bound = {.size = 0};
  *s = (struct scan){.tx = tx, .prefix = *prefix};
  bool bounded = before ? (bound = *before, true) : key_after(prefix, &bound);
  if (tx->fault || !keep_fault(tx, mdb_cursor_open(tx->txn, tx->db->dbi[db], &s->cursor))) return false;
  s->key = val_of(&bound);
  int code = bounded ? mdb_cursor_get(s->cursor, &s->key, &s->data, MDB_SET_RANGE) : MDB_NOTFOUND;
  if (code == MDB_NOTFOUND)
    code = mdb_cursor_get(s->cursor, &s->key, &s->data, MDB_LAST);
  else if (code == 0)
    code = mdb_cursor_get(s->cursor, &s->key, &s->data, MDB_PREV);
  return in_prefix(s, code);
}

bool scan_back(struct scan *s) {
  if (s->tx->fault) return false;
  return in_prefix(s, mdb_cursor_get(s->cursor, &s->key, &s->data, MDB_PREV));
}

bool scan_next(struct scan *s) {
  if (s->tx->fault) return false;
  return in_prefix(s, mdb_cursor_get(s->cursor, &s->key, &s->data, MDB_NEXT));
}

void scan_end(struct scan *s) {
  if (s->cursor) mdb_cursor_close(s->cursor);
  s->cursor = NULL;
}
