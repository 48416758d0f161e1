/* Reads everything in one transaction and compares what must agree. Lines are collected and reported after it ended. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

enum { LINES_MAX = 1000 };

struct check {
  struct tx tx;
  struct counters counters, seen;
  uint64_t jobs, open_jobs, waiting_jobs;
  uint64_t problems;
  char *lines[LINES_MAX];
};

static void complain(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct check *c, const char *format, ...) {
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  if (c->problems < LINES_MAX) c->lines[c->problems] = mem_text(text);
  c->problems++;
}

/* Of a job (side 0) or a side record; answers the last seq. */
static uint64_t check_history(struct check *c, const char *id, uint32_t side) {
  struct scan s;
  struct key prefix = key_prefix(id);
  uint64_t expected = 1, last_cursor = 0;
  for (bool more = scan_first(&s, &c->tx, DB_HISTORY, &prefix); more; more = scan_next(&s), expected++) {
    struct event_record event = {0};
    uint64_t seq = s.key.mv_size == prefix.size + 8 ? u64_of((const char *)s.key.mv_data + prefix.size) : 0;
    uint64_t cursor = s.data.mv_size == 8 ? u64_of(s.data.mv_data) : 0;
    if (seq != expected) complain(c, "%s: event %" PRIu64 " stands where %" PRIu64 " should", id, seq, expected);
    if (cursor <= last_cursor) complain(c, "%s: event %" PRIu64 " is out of order", id, seq);
    if (!event_load(&c->tx, cursor, &event))
      complain(c, "%s: event %" PRIu64 " is missing", id, seq);
    else if (!event.job || strcmp(event.job, id) != 0 || event.seq != seq || event.cursor != cursor ||
             event.side != side)
      complain(c, "%s: event %" PRIu64 " belongs to something else", id, seq);
    event_record_clear(&event);
    last_cursor = cursor;
  }
  scan_end(&s);
  return expected - 1;
}

static void check_stages(struct check *c, const struct job_record *job) {
  struct stage_rows rows;
  stages_load(&c->tx, job->id, &rows);
  for (size_t i = 0; i < rows.count; i++) {
    const struct stage_record *stage = &rows.items[i];
    struct attempt_record attempt = {0};
    if (!stage->stage || stage->status < STAGE_WAITING || stage->status > STAGE_HELD)
      complain(c, "job %s: stage %zu has no name or no valid status", job->id, i + 1);
    if (stage->fence > c->counters.fence)
      complain(c, "job %s: a stage has fence %" PRIu64 " above the counter's", job->id, stage->fence);
    if (stage->fence && !attempt_load(&c->tx, job->id, stage->fence, &attempt))
      complain(c, "job %s: stage %zu names attempt %" PRIu64 ", which is missing", job->id, i + 1, stage->fence);
    attempt_record_clear(&attempt);
  }
  stages_free(&rows);
}

static void check_attempts(struct check *c, const struct job_record *job) {
  struct scan s;
  struct key prefix = key_prefix(job->id);
  for (bool more = scan_first(&s, &c->tx, DB_ATTEMPTS, &prefix); more; more = scan_next(&s)) {
    struct attempt_record attempt = {0};
    MDB_val v;
    uint64_t fence = s.key.mv_size == prefix.size + 8 ? u64_of((const char *)s.key.mv_data + prefix.size) : 0;
    struct key live = key_u64(fence);
    if (fence == 0 || fence > c->counters.fence)
      complain(c, "job %s: attempt %" PRIu64 " above the counter", job->id, fence);
    if (!attempt_load(&c->tx, job->id, fence, &attempt) || attempt.fence != fence)
      complain(c, "job %s: attempt %" PRIu64 " cannot be read", job->id, fence);
    else if (row_get(&c->tx, DB_LIVE, &live, &v) != (attempt.state == ATTEMPT_LIVE))
      complain(c, "job %s: attempt %" PRIu64 " and the list of live ones disagree", job->id, fence);
    attempt_record_clear(&attempt);
  }
  scan_end(&s);
}

static void check_indices(struct check *c, const struct job_record *job) {
  MDB_val v;
  bool ended = job_status_is_terminal(job->status);
  struct key status = key_status(job->status, job->id), open = key_open(job), waiting = key_waiting(job);
  struct job_name names[JOB_NAMES_MAX];
  size_t name_count = job_names(job, names);
  if (!row_get(&c->tx, DB_INDEX, &status, &v))
    complain(c, "job %s: missing among the %s", job->id, job_status_word(job->status));
  if (row_get(&c->tx, DB_OPEN, &open, &v) == ended) complain(c, "job %s: the list of open jobs disagrees", job->id);
  if (row_get(&c->tx, DB_INDEX, &waiting, &v) != job_is_waiting(job))
    complain(c, "job %s: the list of waiting jobs disagrees", job->id);
  for (size_t i = 0; i < name_count; i++) {
    struct key k = key_index(names[i].tag, names[i].value, job->id);
    if (!row_get(&c->tx, DB_INDEX, &k, &v)) complain(c, "job %s: missing in the list of '%s'", job->id, names[i].value);
  }
  c->jobs++;
  c->open_jobs += !ended;
  c->waiting_jobs += job_is_waiting(job);
  c->seen.by_status[job->status]++;
}

static void check_jobs(struct check *c) {
  struct scan s;
  const struct key all = {.size = 0};
  for (bool more = scan_first(&s, &c->tx, DB_JOBS, &all); more; more = scan_next(&s)) {
    struct job_record job = {0};
    bool good = record_decode(&job_layout, s.data.mv_data, s.data.mv_size, &job) && job.id &&
                job.status >= JOB_QUEUED && job.status <= JOB_CANCELLED && strlen(job.id) == s.key.mv_size &&
                memcmp(job.id, s.key.mv_data, s.key.mv_size) == 0;
    if (good) {
      uint64_t events = check_history(c, job.id, 0);
      if (events != job.last_seq)
        complain(c, "job %s: has %" PRIu64 " events but says %" PRIu64, job.id, events, job.last_seq);
      check_stages(c, &job);
      check_attempts(c, &job);
      check_indices(c, &job);
    } else {
      complain(c, "job %.*s: its record cannot be read", (int)s.key.mv_size, (const char *)s.key.mv_data);
    }
    job_record_clear(&job);
  }
  scan_end(&s);
}

/* Rows of `db` begin with a job's id and NUL (or are the id alone); that job must exist. */
static void check_owners(struct check *c, enum db db) {
  struct scan s;
  MDB_val v;
  const struct key all = {.size = 0};
  for (bool more = scan_first(&s, &c->tx, db, &all); more; more = scan_next(&s)) {
    struct key id = {.size = 0};
    key_add(&id, s.key.mv_data, strnlen(s.key.mv_data, s.key.mv_size));
    if (!row_get(&c->tx, DB_JOBS, &id, &v))
      complain(c, "%s: a row is left of job %.*s, which is gone", db_name(db), (int)id.size, (const char *)id.bytes);
  }
  scan_end(&s);
}

/* Rows of `db` whose value is the id of a job that must exist. */
static void check_targets(struct check *c, enum db db) {
  struct scan s;
  MDB_val v;
  const struct key all = {.size = 0};
  for (bool more = scan_first(&s, &c->tx, db, &all); more; more = scan_next(&s)) {
    struct key id = {.size = 0};
    key_add(&id, s.data.mv_data, s.data.mv_size);
    if (!row_get(&c->tx, DB_JOBS, &id, &v))
      complain(c, "%s: a row names job %.*s, which is gone", db_name(db), (int)id.size, (const char *)id.bytes);
  }
  scan_end(&s);
}

static bool subject_exists(struct check *c, const struct event_record *event) {
  MDB_val v;
  struct key k = event->side ? key_side((enum side_kind)event->side, event->job) : key_text(event->job);
  return row_get(&c->tx, event->side ? DB_SIDES : DB_JOBS, &k, &v);
}

/* Every event is in a history; that histories hold nothing else is seen where they are walked. */
static void check_events(struct check *c) {
  struct scan s;
  MDB_val v;
  const struct key all = {.size = 0};
  for (bool more = scan_first(&s, &c->tx, DB_EVENTS, &all); more; more = scan_next(&s)) {
    struct event_record event = {0};
    uint64_t cursor = s.key.mv_size == 8 ? u64_of(s.key.mv_data) : 0;
    bool good = record_decode(&event_layout, s.data.mv_data, s.data.mv_size, &event) && event.job;
    struct key history = key_of(good ? event.job : "?", event.seq);
    if (good && !subject_exists(c, &event))
      complain(c, "event %" PRIu64 ": is left of %s, which is gone", cursor, event.job);
    if (!good || cursor > c->counters.cursor || !row_get(&c->tx, DB_HISTORY, &history, &v))
      complain(c, "event %" PRIu64 ": belongs to no job's history", cursor);
    event_record_clear(&event);
  }
  scan_end(&s);
}

static uint64_t rows_with(struct check *c, enum db db, const struct key *prefix) {
  struct scan s;
  uint64_t count = 0;
  for (bool more = scan_first(&s, &c->tx, db, prefix); more; more = scan_next(&s)) count++;
  scan_end(&s);
  return count;
}

static void check_counts(struct check *c) {
  struct key statuses = key_text("s"), all = {.size = 0}, waiting = key_waiting(NULL);
  for (int i = 0; i < 16; i++)
    if (c->seen.by_status[i] != c->counters.by_status[i])
      complain(c, "%" PRIu64 " jobs are %s but the counter says %" PRIu64, c->seen.by_status[i],
               job_status_word((enum job_status)i), c->counters.by_status[i]);
  if (rows_with(c, DB_INDEX, &statuses) != c->jobs) complain(c, "the index by status has rows too many");
  if (rows_with(c, DB_OPEN, &all) != c->open_jobs) complain(c, "the list of open jobs has rows too many");
  if (rows_with(c, DB_INDEX, &waiting) != c->waiting_jobs) complain(c, "the list of waiting jobs has rows too many");
}

/* ---- totals: everybody's rows add up to the counters, an owner's rows to those of everybody ---- */

static void check_totals(struct check *c) {
  struct scan s;
  uint64_t sum[COUNTED_STATUSES] = {0};
  struct key all = key_totals(NULL, NULL);
  for (bool more = scan_first(&s, &c->tx, DB_TOTALS, &all); more; more = scan_next(&s)) {
    struct pipeline_totals t = {0};
    const char *name = "";
    if (!record_decode(&totals_layout, s.data.mv_data, s.data.mv_size, &t))
      complain(c, "totals: a row cannot be read");
    else if (t.pipeline)
      name = t.pipeline;
    for (int i = 0; i < COUNTED_STATUSES; i++) sum[i] += t.counts.by_status[i];
    if (t.ended_completed < t.counts.by_status[JOB_COMPLETED] || t.ended_failed < t.counts.by_status[JOB_FAILED] ||
        t.ended_cancelled < t.counts.by_status[JOB_CANCELLED])
      complain(c, "totals of '%s': fewer jobs ended than lie in the store", name);
    free(t.pipeline);
  }
  scan_end(&s);
  for (int i = 0; i < COUNTED_STATUSES; i++)
    if (sum[i] != c->counters.by_status[i])
      complain(c, "totals: %" PRIu64 " jobs are %s but the counter says %" PRIu64, sum[i],
               job_status_word((enum job_status)i), c->counters.by_status[i]);
}

/* ---- side records ---- */

static uint64_t check_side(struct check *c, const struct side_record *r) {
  MDB_val v;
  struct key keys[3];
  size_t count = 0;
  struct subject of;
  if (r->owner) keys[count++] = key_side_name('o', r->kind, r->owner, r->id);
  if (r->group) keys[count++] = key_side_name('g', r->kind, r->group, r->id);
  if (r->due_us > 0) keys[count++] = key_side_due(r->kind, r->due_us, r->id);
  for (size_t i = 0; i < count; i++)
    if (!row_get(&c->tx, DB_SIDE_INDEX, &keys[i], &v)) complain(c, "side record '%s': missing in an index", r->id);
  if (!r->version) complain(c, "side record '%s': has no version", r->id);
  if (subject_load(&c->tx, r->id, &of) && of.side == (uint32_t)r->kind) check_history(c, r->id, of.side);
  return count;
}

static void check_sides(struct check *c) {
  struct scan s;
  uint64_t rows = 0;
  const struct key all = {.size = 0};
  for (bool more = scan_first(&s, &c->tx, DB_SIDES, &all); more; more = scan_next(&s)) {
    struct side_record r = {0};
    bool good = record_decode(&side_layout, s.data.mv_data, s.data.mv_size, &r) && r.id;
    struct key k = key_side(r.kind, r.id);
    if (good && k.size == s.key.mv_size && memcmp(k.bytes, s.key.mv_data, k.size) == 0)
      rows += check_side(c, &r);
    else
      complain(c, "a side record cannot be read");
    side_record_clear(&r);
  }
  scan_end(&s);
  if (rows_with(c, DB_SIDE_INDEX, &all) != rows) complain(c, "the index of side records has rows too many");
}

enum err store_check(struct store *s, void (*report)(void *context, const char *line), void *context, struct error *e) {
  static const enum db owned[] = {DB_SPECS, DB_STAGES, DB_ATTEMPTS, DB_CHECKPOINTS};
  struct check *c = mem_alloc(sizeof(*c));
  enum err status = read_begin(&s->db, &c->tx, e);
  if (!status) {
    counters_load(&c->tx, &c->counters);
    check_jobs(c);
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) check_owners(c, owned[i]);
    check_targets(c, DB_LIVE);
    check_targets(c, DB_IDENTITY);
    check_events(c);
    check_counts(c);
    check_totals(c);
    check_sides(c);
    status = read_end(&c->tx, e);
  }
  for (uint64_t i = 0; i < c->problems && i < LINES_MAX; i++) {
    if (report) report(context, c->lines[i]);
    free(c->lines[i]);
  }
  if (!status && c->problems)
    status = error_set(e, ERR_CORRUPT,
                       "%s: %" PRIu64 " things in the store disagree; restore a backup or export what is there",
                       s->db.folder, c->problems);
  free(c);
  return status;
}
