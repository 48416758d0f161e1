#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/inner.h"
#include "store/owner.h"

/* The newest id, so that ids keep growing over a restart with a clock that went back. */
static void load_last_id(struct store *s, struct tx *tx) {
  MDB_cursor *cursor;
  MDB_val key, data;
  if (tx->fault || (tx->fault = mdb_cursor_open(tx->txn, tx->db->dbi[DB_JOBS], &cursor)) != 0) return;
  if (mdb_cursor_get(cursor, &key, &data, MDB_LAST) == 0 && key.mv_size == sizeof(s->last_id) - 1)
    memcpy(s->last_id, key.mv_data, key.mv_size);
  mdb_cursor_close(cursor);
}

static enum err load_numbers(struct store *s, struct error *e) {
  struct tx tx;
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  counters_load(&tx, &s->counters);
  load_last_id(s, &tx);
  return read_end(&tx, e);
}

enum err store_open(struct store **store, const struct store_options *options, struct error *e) {
  *store = NULL;
  if (options->read_only)
    return error_set(e, ERR_USAGE, "%s: only its owner opens a store; ask the owner instead", options->folder);
  enum err status = fs_make_folders(options->folder, 0700, e);
  if (status) return status;
  struct error local = {0};
  int lock_fd = owner_lock(options->folder, &local);
  if (lock_fd < 0) {
    if (e) *e = local;
    return local.code;
  }
  struct store *s = mem_alloc(sizeof(*s));
  s->lock_fd = lock_fd;
  s->clock = options->clock ? options->clock : &clock_system;
  s->notify = options->notify;
  s->context = options->context;
  status = db_open(&s->db, options->folder, options->map_bytes, e);
  if (!status) status = schema_settle(s, e);
  if (!status) status = load_numbers(s, e);
  if (!status) status = writer_start(s, e);
  if (!status) {
    *store = s;
    return ERR_OK;
  }
  db_close(&s->db);
  close(lock_fd);
  free(s);
  return status;
}

void store_close(struct store **address) {
  struct store *s = address ? *address : NULL;
  if (!s) return;
  *address = NULL;
  writer_stop(s);
  db_close(&s->db);
  close(s->lock_fd);
  free(s);
}
