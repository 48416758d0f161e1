/* Rows of jobs, stages, attempts and events. What must agree with a job's row is written by jobindex.c. */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

static bool decode(struct tx *tx, const struct layout *layout, const MDB_val *v, void *record) {
  if (record_decode(layout, v->mv_data, v->mv_size, record)) return true;
  tx->fault = MDB_CORRUPTED;
  return false;
}

bool job_load(struct tx *tx, const char *id, struct job_record *job) {
  MDB_val v;
  struct key k = key_text(id);
  *job = (struct job_record){0};
  if (!row_get(tx, DB_JOBS, &k, &v) || !decode(tx, &job_layout, &v, job)) return false;
  if (job->id && job->status >= JOB_QUEUED && job->status <= JOB_CANCELLED) return true;
  tx->fault = MDB_CORRUPTED; /* status is used as an index */
  job_record_clear(job);
  return false;
}

void spec_load(struct tx *tx, struct job_record *job) {
  MDB_val v;
  struct key k = key_text(job->id);
  if (row_get(tx, DB_SPECS, &k, &v)) job->spec_json = mem_text_n(v.mv_data, v.mv_size);
}

void job_save(struct work *w, const struct job_record *old, const struct job_record *job) {
  struct buf buf_auto b = {0};
  struct key k = key_text(job->id);
  record_encode(&b, &job_layout, job);
  row_put(&w->tx, DB_JOBS, &k, b.data, b.size);
  job_reindex(&w->tx, &w->store->counters, old, job);
}

/* ---- stages ---- */

void stages_load(struct tx *tx, const char *job, struct stage_rows *rows) {
  struct scan s;
  struct key prefix = key_prefix(job);
  *rows = (struct stage_rows){0};
  for (bool more = scan_first(&s, tx, DB_STAGES, &prefix); more; more = scan_next(&s)) {
    if ((rows->count & (rows->count - 1)) == 0)
      rows->items = mem_grow(rows->items, rows->count ? rows->count * 2 : 1, sizeof(*rows->items));
    rows->items[rows->count] = (struct stage_record){0};
    if (!decode(tx, &stage_layout, &s.data, &rows->items[rows->count])) break;
    rows->count++;
  }
  scan_end(&s);
}

void stages_free(struct stage_rows *rows) {
  for (size_t i = 0; i < rows->count; i++) stage_record_clear(&rows->items[i]);
  free(rows->items);
  *rows = (struct stage_rows){0};
}

struct stage_record *stages_find(struct stage_rows *rows, const char *stage, uint16_t *position) {
  for (size_t i = 0; stage && i < rows->count; i++) {
    if (!rows->items[i].stage || strcmp(rows->items[i].stage, stage) != 0) continue;
    *position = (uint16_t)i; /* stages are numbered without holes and never removed singly */
    return &rows->items[i];
  }
  return NULL;
}

void stage_save(struct tx *tx, const char *job, uint16_t position, const struct stage_record *stage) {
  struct buf buf_auto b = {0};
  struct key k = key_stage(job, position);
  record_encode(&b, &stage_layout, stage);
  row_put(tx, DB_STAGES, &k, b.data, b.size);
  if (stage->status != STAGE_FINISHED) return;
  struct key checkpoints = key_prefix(job);
  key_add(&checkpoints, stage->stage, strlen(stage->stage) + 1);
  row_delete_all(tx, DB_CHECKPOINTS, &checkpoints);
}

/* ---- attempts ---- */

bool attempt_load(struct tx *tx, const char *job, uint64_t fence, struct attempt_record *attempt) {
  MDB_val v;
  struct key k = key_of(job, fence);
  *attempt = (struct attempt_record){0};
  if (!row_get(tx, DB_ATTEMPTS, &k, &v) || !decode(tx, &attempt_layout, &v, attempt)) return false;
  attempt->job = mem_text(job);
  return true;
}

void attempt_save(struct tx *tx, const char *job, const struct attempt_record *attempt) {
  struct buf buf_auto b = {0};
  struct key k = key_of(job, attempt->fence), live = key_u64(attempt->fence);
  record_encode(&b, &attempt_layout, attempt);
  row_put(tx, DB_ATTEMPTS, &k, b.data, b.size);
  if (attempt->state == ATTEMPT_LIVE)
    row_put(tx, DB_LIVE, &live, job, strlen(job));
  else
    row_delete(tx, DB_LIVE, &live);
}

/* ---- events ---- */

bool event_load(struct tx *tx, uint64_t cursor, struct event_record *event) {
  MDB_val v;
  struct key k = key_u64(cursor);
  *event = (struct event_record){0};
  return row_get(tx, DB_EVENTS, &k, &v) && decode(tx, &event_layout, &v, event);
}

uint64_t events_append(struct work *w, const struct subject *of, const struct event_record *events, size_t count,
                       struct commit *commit) {
  struct buf buf_auto b = {0};
  for (size_t i = 0; i < count; i++) {
    struct event_record event = events[i]; /* borrows type and body */
    event.job = of->id;
    event.side = of->side;
    event.seq = of->last_seq + 1 + i;
    event.cursor = ++w->store->counters.cursor;
    event.at_us = w->now_us;
    struct key at = key_u64(event.cursor), history = key_of(of->id, event.seq);
    buf_reset(&b);
    record_encode(&b, &event_layout, &event);
    row_append(&w->tx, DB_EVENTS, &at, b.data, b.size);
    row_put(&w->tx, DB_HISTORY, &history, at.bytes, at.size);
    if (i == 0) commit->first_seq = event.seq;
    commit->last_seq = event.seq;
    commit->last_cursor = event.cursor;
  }
  return of->last_seq + count;
}

void job_events_append(struct work *w, struct request *r, struct job_record *job) {
  const struct subject of = {.id = job->id, .last_seq = job->last_seq};
  job->last_seq = events_append(w, &of, r->events, r->event_count, &r->commit);
}

void events_drop(struct tx *tx, const char *subject) {
  struct scan s;
  struct key prefix = key_prefix(subject);
  for (bool more = scan_first(&s, tx, DB_HISTORY, &prefix); more; more = scan_next(&s)) {
    if (s.data.mv_size != 8) continue;
    struct key at = key_u64(u64_of(s.data.mv_data));
    row_delete(tx, DB_EVENTS, &at);
  }
  scan_end(&s);
  row_delete_all(tx, DB_HISTORY, &prefix);
}

/* ---- counters ---- */

void counters_load(struct tx *tx, struct counters *c) {
  MDB_val v;
  struct key k = key_text("counters");
  *c = (struct counters){0};
  if (!row_get(tx, DB_META, &k, &v)) return;
  if (v.mv_size != 18 * 8) {
    tx->fault = MDB_CORRUPTED;
    return;
  }
  const char *at = v.mv_data;
  c->fence = u64_of(at);
  c->cursor = u64_of(at + 8);
  for (size_t i = 0; i < 16; i++) c->by_status[i] = u64_of(at + 16 + 8 * i);
}

void counters_save(struct tx *tx, const struct counters *c) {
  struct key k = key_text("counters"), v = {.size = 0};
  const uint64_t head[2] = {htobe64(c->fence), htobe64(c->cursor)};
  key_add(&v, head, sizeof(head));
  for (size_t i = 0; i < 16; i++) {
    uint64_t be = htobe64(c->by_status[i]);
    key_add(&v, &be, sizeof(be));
  }
  row_put(tx, DB_META, &k, v.bytes, v.size);
}
