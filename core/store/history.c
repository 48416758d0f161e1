/* Reading what belongs to jobs: stages, attempts, events, checkpoints. */
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

enum { EVENTS_DEFAULT = 100, EVENTS_MAX = 1000 };

static bool can_be_id(const char *id) { return id && id[0] && strlen(id) < STORE_ID_MAX; }

static bool job_exists(struct tx *tx, const char *job) {
  MDB_val v;
  if (!can_be_id(job)) return false;
  struct key k = key_text(job);
  return row_get(tx, DB_JOBS, &k, &v);
}

/* Begins a read of something of one job; the transaction is open only when the answer is ERR_OK. */
static enum err begin_for(struct store *s, struct tx *tx, const char *job, struct error *e) {
  enum err status = read_begin(&s->db, tx, e);
  if (status) return status;
  if (job_exists(tx, job)) return ERR_OK;
  status = read_end(tx, e);
  return status ? status : error_set(e, ERR_NOT_FOUND, "there is no job %s", job ? job : "");
}

enum err store_stages(struct store *s, const char *job, struct stage_list *stages, struct error *e) {
  struct tx tx;
  struct stage_rows rows;
  *stages = (struct stage_list){0};
  enum err status = begin_for(s, &tx, job, e);
  if (status) return status;
  stages_load(&tx, job, &rows);
  *stages = (struct stage_list){rows.items, rows.count};
  status = read_end(&tx, e);
  if (status) stage_list_clear(stages);
  return status;
}

static void add_attempt(struct tx *tx, struct attempt_list *l, const char *job, uint64_t fence) {
  struct attempt_record attempt;
  if (!attempt_load(tx, job, fence, &attempt)) return;
  if ((l->count & (l->count - 1)) == 0) l->items = mem_grow(l->items, l->count ? l->count * 2 : 1, sizeof(*l->items));
  l->items[l->count++] = attempt;
}

static void collect_attempts(struct tx *tx, const char *job, struct attempt_list *l) {
  struct scan scan;
  struct key prefix = key_prefix(job);
  for (bool more = scan_first(&scan, tx, DB_ATTEMPTS, &prefix); more; more = scan_next(&scan))
    if (scan.key.mv_size == prefix.size + 8)
      add_attempt(tx, l, job, u64_of((const char *)scan.key.mv_data + prefix.size));
  scan_end(&scan);
}

enum err store_attempts(struct store *s, const char *job, struct attempt_list *attempts, struct error *e) {
  struct tx tx;
  *attempts = (struct attempt_list){0};
  enum err status = begin_for(s, &tx, job, e);
  if (status) return status;
  collect_attempts(&tx, job, attempts);
  status = read_end(&tx, e);
  if (status) attempt_list_clear(attempts);
  return status;
}

enum err store_live_attempts(struct store *s, const char *job, struct attempt_list *attempts, struct error *e) {
  struct tx tx;
  struct scan scan;
  const struct key all = {.size = 0};
  *attempts = (struct attempt_list){0};
  enum err status = job ? begin_for(s, &tx, job, e) : read_begin(&s->db, &tx, e);
  if (status) return status;
  for (bool more = scan_first(&scan, &tx, DB_LIVE, &all); more; more = scan_next(&scan)) {
    char id[STORE_ID_MAX] = "";
    if (scan.key.mv_size != 8 || scan.data.mv_size >= sizeof(id)) continue;
    memcpy(id, scan.data.mv_data, scan.data.mv_size);
    if (!job || strcmp(job, id) == 0) add_attempt(&tx, attempts, id, u64_of(scan.key.mv_data));
  }
  scan_end(&scan);
  status = read_end(&tx, e);
  if (status) attempt_list_clear(attempts);
  return status;
}

/* ---- events ---- */

static size_t bounded(size_t limit) { return limit == 0 ? EVENTS_DEFAULT : limit > EVENTS_MAX ? EVENTS_MAX : limit; }

static struct event_record *add_event(struct event_list *l) {
  if ((l->count & (l->count - 1)) == 0) l->items = mem_grow(l->items, l->count ? l->count * 2 : 1, sizeof(*l->items));
  l->items[l->count] = (struct event_record){0};
  return &l->items[l->count++];
}

/* A job, or a side record of any kind. Begins a read as begin_for does. */
static enum err begin_for_subject(struct store *s, struct tx *tx, const char *id, struct error *e) {
  MDB_val v;
  enum err status = read_begin(&s->db, tx, e);
  if (status) return status;
  bool sane = id && id[0] && strlen(id) <= NAME_BYTES_MAX;
  if (sane && job_exists(tx, id)) return ERR_OK;
  for (int kind = SIDE_ASSET; sane && kind < SIDE_KINDS; kind++) {
    struct key k = key_side((enum side_kind)kind, id);
    if (row_get(tx, DB_SIDES, &k, &v)) return ERR_OK;
  }
  status = read_end(tx, e);
  return status ? status : error_set(e, ERR_NOT_FOUND, "there is no job, batch or asset %s", id ? id : "");
}

enum err store_events(struct store *s, const char *job, uint64_t after_seq, size_t limit, struct event_list *events,
                      struct error *e) {
  struct tx tx;
  struct scan scan = {0};
  *events = (struct event_list){0};
  enum err status = begin_for_subject(s, &tx, job, e);
  if (status) return status;
  struct key prefix = key_prefix(job), from = key_of(job, after_seq + 1);
  bool more = after_seq < UINT64_MAX && scan_from(&scan, &tx, DB_HISTORY, &prefix, &from);
  for (limit = bounded(limit); more && events->count < limit; more = scan_next(&scan)) {
    if (scan.data.mv_size == 8 && event_load(&tx, u64_of(scan.data.mv_data), add_event(events))) continue;
    if (!tx.fault) tx.fault = MDB_CORRUPTED;
  }
  scan_end(&scan);
  status = read_end(&tx, e);
  if (status) event_list_clear(events);
  return status;
}

static uint64_t first_kept_cursor(struct tx *tx) {
  struct scan scan;
  struct counters c;
  const struct key all = {.size = 0};
  counters_load(tx, &c);
  uint64_t first = c.cursor + 1; /* nothing kept: whatever comes next */
  if (scan_first(&scan, tx, DB_EVENTS, &all) && scan.key.mv_size == 8) first = u64_of(scan.key.mv_data);
  scan_end(&scan);
  return first;
}

enum err store_events_since(struct store *s, uint64_t after_cursor, size_t limit, struct event_list *events,
                            uint64_t *first_kept, struct error *e) {
  struct tx tx;
  struct scan scan = {0};
  const struct key all = {.size = 0};
  *events = (struct event_list){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  uint64_t first = first_kept_cursor(&tx);
  struct key from = key_u64(after_cursor + 1);
  bool more = after_cursor < UINT64_MAX && scan_from(&scan, &tx, DB_EVENTS, &all, &from);
  for (limit = bounded(limit); more && events->count < limit; more = scan_next(&scan))
    if (!record_decode(&event_layout, scan.data.mv_data, scan.data.mv_size, add_event(events)))
      tx.fault = MDB_CORRUPTED;
  scan_end(&scan);
  status = read_end(&tx, e);
  if (status)
    event_list_clear(events);
  else if (first_kept)
    *first_kept = first;
  return status;
}

enum err store_last_cursor(struct store *s, uint64_t *cursor, struct error *e) {
  struct tx tx;
  struct counters c = {0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  counters_load(&tx, &c);
  status = read_end(&tx, e);
  if (!status) *cursor = c.cursor;
  return status;
}

/* ---- checkpoints ---- */

enum err store_checkpoints(struct store *s, const char *job, const char *stage, char **json, struct error *e) {
  struct tx tx;
  struct scan scan = {0};
  struct buf buf_auto out = {0};
  *json = NULL;
  enum err status = begin_for(s, &tx, job, e);
  if (status) return status;
  buf_char(&out, '{');
  if (can_be_id(stage)) {
    struct key prefix = key_prefix(job);
    key_add(&prefix, stage, strlen(stage) + 1);
    for (bool more = scan_first(&scan, &tx, DB_CHECKPOINTS, &prefix); more; more = scan_next(&scan)) {
      if (out.size > 1) buf_char(&out, ',');
      buf_json_text(&out, (const char *)scan.key.mv_data + prefix.size, scan.key.mv_size - prefix.size);
      buf_char(&out, ':');
      buf_json_text(&out, scan.data.mv_data, scan.data.mv_size);
    }
    scan_end(&scan);
  }
  buf_char(&out, '}');
  status = read_end(&tx, e);
  if (!status) *json = buf_take(&out);
  return status;
}
