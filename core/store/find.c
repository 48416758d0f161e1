/* Reading single jobs: by id, by the beginning of an id, by identity. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

static void load_whole(struct tx *tx, const char *id, struct job_record *job) {
  if (job_load(tx, id, job)) spec_load(tx, job);
}

static bool can_be_id(const char *id) { return id && id[0] && strlen(id) < STORE_ID_MAX; }

static enum err finish(struct tx *tx, struct job_record *job, const char *what, const char *which, struct error *e) {
  enum err status = read_end(tx, e);
  if (status) {
    job_record_clear(job);
    return status;
  }
  return job->id ? ERR_OK : error_set(e, ERR_NOT_FOUND, "there is no job %s%s", what, which);
}

enum err store_job(struct store *s, const char *id, struct job_record *job, struct error *e) {
  struct tx tx;
  *job = (struct job_record){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  if (can_be_id(id)) load_whole(&tx, id, job);
  return finish(&tx, job, "", id ? id : "", e);
}

enum err store_by_identity(struct store *s, const char *identity, struct job_record *job, struct error *e) {
  struct tx tx;
  MDB_val v;
  char id[STORE_ID_MAX] = "";
  *job = (struct job_record){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  if (strlen(identity) <= NAME_BYTES_MAX) {
    struct key k = key_text(identity);
    if (row_get(&tx, DB_IDENTITY, &k, &v) && v.mv_size < sizeof(id)) memcpy(id, v.mv_data, v.mv_size);
  }
  if (id[0]) load_whole(&tx, id, job);
  return finish(&tx, job, "of identity ", identity, e);
}

static void find_last(struct tx *tx, struct buf *found, size_t *count) {
  MDB_cursor *cursor;
  MDB_val key, data;
  if ((tx->fault = mdb_cursor_open(tx->txn, tx->db->dbi[DB_JOBS], &cursor)) != 0) return;
  if (mdb_cursor_get(cursor, &key, &data, MDB_LAST) == 0) {
    buf_add(found, key.mv_data, key.mv_size);
    *count = 1;
  }
  mdb_cursor_close(cursor);
}

/* An exact id wins over longer ones that begin with it. */
static void find_prefix(struct tx *tx, const char *prefix, struct buf *found, size_t *count) {
  enum { SHOWN = 5 };
  struct scan s;
  struct key k = key_text(prefix);
  for (bool more = scan_first(&s, tx, DB_JOBS, &k); more && *count <= SHOWN; more = scan_next(&s)) {
    if (*count < SHOWN) {
      if (*count) buf_text(found, ", ");
      buf_add(found, s.key.mv_data, s.key.mv_size);
    }
    ++*count;
    if (*count == 1 && s.key.mv_size == k.size) break;
  }
  scan_end(&s);
}

enum err store_find(struct store *s, const char *prefix, char id[STORE_ID_MAX], struct error *e) {
  struct tx tx;
  struct buf buf_auto found = {0};
  size_t count = 0;
  id[0] = '\0';
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  if (strcmp(prefix, "last") == 0)
    find_last(&tx, &found, &count);
  else if (can_be_id(prefix))
    find_prefix(&tx, prefix, &found, &count);
  status = read_end(&tx, e);
  if (status) return status;
  if (count == 0 && strcmp(prefix, "last") == 0) return error_set(e, ERR_NOT_FOUND, "there are no jobs yet");
  if (count == 0) return error_set(e, ERR_NOT_FOUND, "no job's id begins with '%s'", prefix);
  if (count > 1)
    return error_set(e, ERR_CONFLICT, "several jobs begin with '%s': %s%s; write more of the id", prefix,
                     buf_string(&found), count > 5 ? ", ..." : "");
  snprintf(id, STORE_ID_MAX, "%s", buf_string(&found));
  return ERR_OK;
}
