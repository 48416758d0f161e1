/* Every record as JSON lines: {"record":"job",...} with its stages, attempts, checkpoints and events behind it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/inner.h"

static void begin_line(struct buf *out, const char *record, const char *job) {
  buf_format(out, "{\"record\":\"%s\",", record);
  if (!job) return;
  buf_text(out, "\"job\":");
  buf_json_text(out, job, strlen(job));
  buf_char(out, ',');
}

static void add_stages(struct tx *tx, const char *job, struct buf *out) {
  struct stage_rows rows;
  stages_load(tx, job, &rows);
  for (size_t i = 0; i < rows.count; i++) {
    begin_line(out, "stage", job);
    record_json(out, &stage_layout, &rows.items[i]);
    buf_text(out, "}\n");
  }
  stages_free(&rows);
}

static void add_attempts(struct tx *tx, const char *job, struct buf *out) {
  struct scan s;
  struct key prefix = key_prefix(job);
  for (bool more = scan_first(&s, tx, DB_ATTEMPTS, &prefix); more; more = scan_next(&s)) {
    struct attempt_record attempt = {0};
    if (!record_decode(&attempt_layout, s.data.mv_data, s.data.mv_size, &attempt)) tx->fault = MDB_CORRUPTED;
    begin_line(out, "attempt", job);
    record_json(out, &attempt_layout, &attempt);
    buf_text(out, "}\n");
    attempt_record_clear(&attempt);
  }
  scan_end(&s);
}

static void add_checkpoints(struct tx *tx, const char *job, struct buf *out) {
  struct scan s;
  struct key prefix = key_prefix(job);
  for (bool more = scan_first(&s, tx, DB_CHECKPOINTS, &prefix); more; more = scan_next(&s)) {
    const char *stage = (const char *)s.key.mv_data + prefix.size;
    size_t left = s.key.mv_size - prefix.size, size = strnlen(stage, left);
    if (size == left) continue;
    begin_line(out, "checkpoint", job);
    buf_text(out, "\"stage\":");
    buf_json_text(out, stage, size);
    buf_text(out, ",\"key\":");
    buf_json_text(out, stage + size + 1, left - size - 1);
    buf_text(out, ",\"value\":");
    buf_json_text(out, s.data.mv_data, s.data.mv_size);
    buf_text(out, "}\n");
  }
  scan_end(&s);
}

static void add_events(struct tx *tx, const char *job, struct buf *out) {
  struct scan s;
  struct key prefix = key_prefix(job);
  for (bool more = scan_first(&s, tx, DB_HISTORY, &prefix); more; more = scan_next(&s)) {
    struct event_record event = {0};
    if (s.data.mv_size != 8 || !event_load(tx, u64_of(s.data.mv_data), &event)) continue;
    begin_line(out, "event", NULL);
    record_json(out, &event_layout, &event);
    buf_text(out, "}\n");
    event_record_clear(&event);
  }
  scan_end(&s);
}

/* The first job behind `last` with all that is its own; false when there is none. */
static bool add_next_job(struct tx *tx, char last[STORE_ID_MAX], struct buf *out) {
  struct scan s;
  struct job_record job = {0};
  const struct key all = {.size = 0};
  struct key from = key_text(last);
  if (last[0]) key_add(&from, "", 1); /* id NUL: behind it, before any longer one */
  bool there = scan_from(&s, tx, DB_JOBS, &all, &from) && s.key.mv_size < STORE_ID_MAX;
  if (there) {
    memset(last, 0, STORE_ID_MAX);
    memcpy(last, s.key.mv_data, s.key.mv_size);
  }
  scan_end(&s);
  if (!there || !job_load(tx, last, &job)) return false;
  spec_load(tx, &job);
  begin_line(out, "job", NULL);
  record_json(out, &job_layout, &job);
  buf_text(out, "}\n");
  add_stages(tx, job.id, out);
  add_attempts(tx, job.id, out);
  add_checkpoints(tx, job.id, out);
  add_events(tx, job.id, out);
  job_record_clear(&job);
  return true;
}

/* The first side record behind `last` with its events; as add_next_job. */
static bool add_next_side(struct tx *tx, struct key *last, struct buf *out) {
  struct scan s;
  struct subject of;
  struct side_record r = {0};
  const struct key all = {.size = 0};
  bool there = scan_from(&s, tx, DB_SIDES, &all, last);
  if (there && !record_decode(&side_layout, s.data.mv_data, s.data.mv_size, &r)) tx->fault = MDB_CORRUPTED;
  if (there) {
    last->size = 0;
    key_add(last, s.key.mv_data, s.key.mv_size);
    key_add(last, "", 1); /* a NUL: behind it */
  }
  scan_end(&s);
  if (!there || tx->fault || !r.id) return false;
  begin_line(out, "side", NULL);
  record_json(out, &side_layout, &r);
  buf_text(out, "}\n");
  if (subject_load(tx, r.id, &of) && of.side == (uint32_t)r.kind) add_events(tx, r.id, out);
  side_record_clear(&r);
  return true;
}

static enum err write_all(int fd, const char *data, size_t size, struct error *e) {
  while (size) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_errno(e, errno, "cannot write the export");
    data += n;
    size -= (size_t)n;
  }
  return ERR_OK;
}

enum { PAGE_BYTES = 256 * 1024 };

enum err store_export(struct store *s, int fd, struct error *e) {
  struct buf buf_auto out = {0};
  char last[STORE_ID_MAX] = "";
  struct key last_side = {.size = 0};
  bool jobs = true;
  for (bool more = true; more;) {
    struct tx tx;
    buf_reset(&out);
    enum err status = read_begin(&s->db, &tx, e);
    if (status) return status;
    while (jobs && out.size < PAGE_BYTES) jobs = add_next_job(&tx, last, &out);
    while (!jobs && more && out.size < PAGE_BYTES) more = add_next_side(&tx, &last_side, &out);
    status = read_end(&tx, e); /* before writing: a slow reader must not hold a transaction open */
    if (!status) status = write_all(fd, buf_string(&out), out.size, e);
    if (status) return status;
  }
  return ERR_OK;
}
