/* db.h - the LMDB environment of a store: opening, growing, transactions, keys. Private to core/store.
 *
 * Databases (keys):
 *   meta         "schema", "counters"
 *   jobs         id -> job record without its spec          specs    id -> spec_json
 *   stages       id NUL position:be16 -> stage record       attempts id NUL fence:be64 -> attempt record
 *   live         fence:be64 -> job id, of LIVE attempts
 *   events       cursor:be64 -> event record                history  id NUL seq:be64 -> cursor:be64
 *   checkpoints  id NUL stage NUL key -> value
 *   identity     identity -> id of its newest job
 *   open         100-priority:u8 created:be64 id -> ""      (jobs that have not ended)
 *   index        tag value NUL id -> ""                     tag: s(tatus) p(ipeline) o(wner) a(sset) b(atch)
 *                w NUL, then as in `open` -> ""             (those of the open jobs that are neither held nor paused)
 *   totals       p pipeline NUL -> totals record            o owner NUL pipeline NUL -> the same of one owner's jobs
 *   sides        kind:u8 id -> side record
 *   side_index   o kind:u8 owner NUL id -> ""               g kind:u8 group NUL id -> ""
 *                d kind:u8 due:be64 id -> ""
 *
 * An owner or group above 128 bytes stands in keys by its digest: a key has at most 511 bytes. */
#pragma once
#include <lmdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

enum db {
  DB_META,
  DB_JOBS,
  DB_SPECS,
  DB_STAGES,
  DB_ATTEMPTS,
  DB_LIVE,
  DB_EVENTS,
  DB_HISTORY,
  DB_CHECKPOINTS,
  DB_IDENTITY,
  DB_OPEN,
  DB_INDEX,
  DB_TOTALS,
  DB_SIDES,
  DB_SIDE_INDEX,
  DB_COUNT
};
const char *db_name(enum db db);

enum { SCHEMA_VERSION = 3, NAME_BYTES_MAX = 255, KEY_ROOM = 440 };

/* Numbers that every transaction may move; the writer owns them, one row of `meta` holds them. */
struct counters {
  uint64_t fence, cursor; /* last ones given out */
  uint64_t by_status[16];
};

struct database {
  char *folder;
  MDB_env *env;
  MDB_dbi dbi[DB_COUNT];
  uint64_t map_bytes;
  bool growable;         /* nobody fixed the size: grow when full */
  pthread_rwlock_t lock; /* shared: an open read transaction. Exclusive: the environment is moved or reopened */
};

/* A transaction and the first thing that went wrong in it. Once fault is set nothing more is read or written. */
struct tx {
  struct database *db;
  MDB_txn *txn;
  int fault; /* LMDB or errno code */
};

enum err db_open(struct database *db, const char *folder, uint64_t map_bytes, struct error *e);
void db_close(struct database *db);
/* Closes and opens again after LMDB declared the environment unusable. Writer's thread. */
enum err db_reopen(struct database *db, struct error *e);
/* More room: doubles the map, or adds a little to a fixed one when `must` (so that deleting stays possible). */
bool db_grow(struct database *db, bool must);
/* What a code means to the operator. */
enum err db_fault(struct database *db, int code, const char *what, struct error *e);

enum err read_begin(struct database *db, struct tx *tx, struct error *e);
/* Ends it and turns its fault, if any, into the answer. */
enum err read_end(struct tx *tx, struct error *e);
int write_begin(struct database *db, struct tx *tx);

struct key {
  unsigned char bytes[KEY_ROOM];
  size_t size;
};
struct key key_text(const char *text);
struct key key_u64(uint64_t n);
struct key key_prefix(const char *id);                             /* id NUL */
struct key key_of(const char *id, uint64_t n);                     /* id NUL n:be64 */
struct key key_stage(const char *id, uint16_t position);           /* id NUL position:be16 */
struct key key_index(char tag, const char *value, const char *id); /* id NULL: the prefix of all */
struct key key_side(enum side_kind kind, const char *id);          /* id NULL: the prefix of all */
struct key key_side_name(char tag, enum side_kind kind, const char *value, const char *id); /* tag: o, g */
struct key key_side_due(enum side_kind kind, int64_t due_us, const char *id);               /* id NULL: the prefix */
struct key key_totals(const char *owner, const char *pipeline); /* owner NULL: everybody's; pipeline NULL: the prefix */
void key_add(struct key *k, const void *bytes, size_t size);
uint64_t u64_of(const void *eight_bytes);

/* false: absent, or a fault. `out` points into the map and is good until the transaction writes or ends. */
bool row_get(struct tx *tx, enum db db, const struct key *key, MDB_val *out);
void row_put(struct tx *tx, enum db db, const struct key *key, const void *data, size_t size);
void row_append(struct tx *tx, enum db db, const struct key *key, const void *data, size_t size); /* the highest key */
void row_delete(struct tx *tx, enum db db, const struct key *key);
/* Deletes every row whose key begins with prefix. */
void row_delete_all(struct tx *tx, enum db db, const struct key *prefix);

/* Rows with a common prefix, ascending. `for (bool more = scan_first(...); more; more = scan_next(&s))` */
struct scan {
  struct tx *tx;
  MDB_cursor *cursor;
  struct key prefix;
  MDB_val key, data;
};
bool scan_first(struct scan *s, struct tx *tx, enum db db, const struct key *prefix);
/* Begins at `from`, which has the prefix. */
bool scan_from(struct scan *s, struct tx *tx, enum db db, const struct key *prefix, const struct key *from);
bool scan_next(struct scan *s);
/* Descending: begins at the last row with the prefix, or at the last one before `before`. Goes on with scan_back. */
bool scan_last(struct scan *s, struct tx *tx, enum db db, const struct key *prefix, const struct key *before);
bool scan_back(struct scan *s);
void scan_end(struct scan *s);
