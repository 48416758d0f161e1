/* Schema versions: a newer store is refused with the cure, an older one backed up and brought forward in one
 * transaction.
 *
 *   1  jobs, stages, attempts, events; lists were scans
 *   2  `index` and `open` are kept, counts by status stand in `counters`
 *   3  side records; totals by pipeline; waiting jobs in claim order in `index` */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/inner.h"

void derived_rebuild(struct tx *tx, struct counters *c) {
  struct scan s;
  const struct key all = {.size = 0};
  memset(c->by_status, 0, sizeof(c->by_status));
  for (int db = DB_OPEN; db <= DB_TOTALS && !tx->fault; db++) tx->fault = mdb_drop(tx->txn, tx->db->dbi[db], 0);
  for (bool more = scan_first(&s, tx, DB_JOBS, &all); more; more = scan_next(&s)) {
    struct job_record job = {0};
    bool good = record_decode(&job_layout, s.data.mv_data, s.data.mv_size, &job) && job.id &&
                job.status >= JOB_QUEUED && job.status <= JOB_CANCELLED;
    if (good)
      job_reindex(tx, c, NULL, &job);
    else
      tx->fault = MDB_CORRUPTED;
    job_record_clear(&job);
  }
  scan_end(&s);
}

static void rebuild(struct tx *tx) {
  struct counters c;
  counters_load(tx, &c);
  derived_rebuild(tx, &c);
  counters_save(tx, &c);
}

typedef void migration(struct tx *tx);
static migration *const migrations[SCHEMA_VERSION] = {NULL, rebuild, rebuild}; /* [n]: from n to n + 1 */

/* 0: a fresh store. */
static uint32_t schema_load(struct tx *tx) {
  MDB_val v;
  uint32_t le = 0;
  struct key k = key_text("schema");
  if (!row_get(tx, DB_META, &k, &v)) return 0;
  if (v.mv_size == sizeof(le))
    memcpy(&le, v.mv_data, sizeof(le));
  else
    tx->fault = MDB_CORRUPTED;
  return le32toh(le);
}

static void schema_save(struct tx *tx) {
  uint32_t le = htole32(SCHEMA_VERSION);
  struct key k = key_text("schema");
  row_put(tx, DB_META, &k, &le, sizeof(le));
}

static int open_all(struct tx *tx) {
  int code = 0;
  for (int i = 0; i < DB_COUNT && !code; i++)
    code = mdb_dbi_open(tx->txn, db_name((enum db)i), MDB_CREATE, &tx->db->dbi[i]);
  return code;
}

/* The version, read before any database of ours is made: a newer store is left as it is. */
static enum err look(struct store *s, uint32_t *version, struct error *e) {
  struct tx tx;
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  *version = 0;
  int code = mdb_dbi_open(tx.txn, db_name(DB_META), 0, &s->db.dbi[DB_META]);
  if (code == 0)
    *version = schema_load(&tx);
  else if (code != MDB_NOTFOUND)
    tx.fault = code;
  return read_end(&tx, e);
}

static enum err back_up(struct store *s, uint32_t version, struct error *e) {
  char at[32];
  clock_format(clock_wall(s->clock), at);
  for (char *c = at; *c; c++)
    if (*c == ':' || *c == '.') *c = '-';
  mem_auto char *folder = mem_format("%s/backup-schema-%u-%s", s->db.folder, version, at);
  enum err status = backup_into(&s->db, folder, e);
  if (status)
    error_prefix(e, "the store must be backed up before it is brought to a newer version");
  else
    log_info("%s: store of schema %u backed up as %s before it is brought to %d", s->db.folder, version, folder,
             SCHEMA_VERSION);
  return status;
}

static int settle(struct store *s, uint32_t version) {
  struct tx tx;
  int code = write_begin(&s->db, &tx);
  if (code) return code;
  tx.fault = open_all(&tx);
  for (uint32_t v = version; v && v < SCHEMA_VERSION && !tx.fault; v++) migrations[v](&tx);
  if (version != SCHEMA_VERSION) schema_save(&tx);
  if (!tx.fault) return mdb_txn_commit(tx.txn);
  mdb_txn_abort(tx.txn);
  return tx.fault;
}

enum err schema_settle(struct store *s, struct error *e) {
  uint32_t version;
  enum err status = look(s, &version, e);
  if (status) return status;
  if (version > SCHEMA_VERSION)
    return error_set(e, ERR_VERSION,
                     "%s was written by a newer stagemill (schema %u, this one knows %d): start the newer version, or "
                     "restore the backup it made as %s/backup-schema-*",
                     s->db.folder, version, SCHEMA_VERSION, s->db.folder);
  if (version && version < SCHEMA_VERSION && (status = back_up(s, version, e)) != ERR_OK) return status;
  int code = settle(s, version);
  while (code == MDB_MAP_FULL && db_grow(&s->db, false)) code = settle(s, version);
  return code ? db_fault(&s->db, code, "cannot set up the store", e) : ERR_OK;
}
