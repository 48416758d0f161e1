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
  uint64_t jobs, open_jobs;
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

static void check_history(struct check *c, const struct job_record *job) {
  struct scan s;
  struct key prefix = key_prefix(job->id);
  uint64_t expected = 1, last_cursor = 0;
  for (bool more = scan_first(&s, &c->tx, DB_HISTORY, &prefix); more; more = scan_next(&s), expected++) {
    struct event_record event = {0};
    uint64_t seq = s.key.mv_size == prefix.size + 8 ? u64_of((const char *)s.key.mv_data + prefix.size) : 0;
    uint64_t cursor = s.data.mv_size == 8 ? u64_of(s.data.mv_data) : 0;
    if (seq != expected)
      complain(c, "job %s: event %" PRIu64 " stands where %" PRIu64 " should", job->id, seq, expected);
    if (cursor <= last_cursor) complain(c, "job %s: event %" PRIu64 " is out of order", job->id, seq);
    if (!event_load(&c->tx, cursor, &event))
      complain(c, "job %s: event %" PRIu64 " is missing", job->id, seq);
    else if (!event.job || strcmp(event.job, job->id) != 0 || event.seq != seq || event.cursor != cursor)
      complain(c, "job %s: event %" PRIu64 " belongs to another job", job->id, seq);
    event_record_clear(&event);
    last_cursor = cursor;
  }
  scan_end(&s);
  if (expected - 1 != job->last_seq)
    complain(c, "job %s: has %" PRIu64 " events but says %" PRIu64, job->id, expected - 1, job->last_seq);
}

static void check_stages(struct check *c, const struct job_record *job) {
  struct stage_rows rows;
  stages_load(&c->tx, job->id, &rows);
  for (size_t i = 0; i < rows.count; i++) {
    const struct stage_record *stage = &rows.items[i];
    struct attempt_record attempt = {0};
    if (!stage->stage || stage->status < STAGE_WAITING || stage->status > STAGE_CANCELLED)
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
  struct key status = key_status(job->status, job->id), open = key_open(job);
  const struct {
    char tag;
    const char *value;
  } names[] = {{'p', job->pipeline}, {'o', job->owner}, {'a', job->asset}, {'b', job->batch}};
  if (!row_get(&c->tx, DB_INDEX, &status, &v))
    complain(c, "job %s: missing among the %s", job->id, job_status_word(job->status));
  if (row_get(&c->tx, DB_OPEN, &open, &v) == ended) complain(c, "job %s: the list of open jobs disagrees", job->id);
  for (size_t i = 0; i < 4; i++) {
    if (!names[i].value) continue;
    struct key k = key_index(names[i].tag, names[i].value, job->id);
    if (!row_get(&c->tx, DB_INDEX, &k, &v)) complain(c, "job %s: missing in the list of '%s'", job->id, names[i].value);
  }
  c->jobs++;
  c->open_jobs += !ended;
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
      check_history(c, &job);
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

static void check_events(struct check *c) {
  struct scan s;
  MDB_val v;
  const struct key all = {.size = 0};
  for (bool more = scan_first(&s, &c->tx, DB_EVENTS, &all); more; more = scan_next(&s)) {
    struct event_record event = {0};
    uint64_t cursor = s.key.mv_size == 8 ? u64_of(s.key.mv_data) : 0;
    bool good = record_decode(&event_layout, s.data.mv_data, s.data.mv_size, &event) && event.job;
    struct key history = key_of(good ? event.job : "?", event.seq);
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
  struct key statuses = key_text("s"), all = {.size = 0};
  for (int i = 0; i < 16; i++)
    if (c->seen.by_status[i] != c->counters.by_status[i])
      complain(c, "%" PRIu64 " jobs are %s but the counter says %" PRIu64, c->seen.by_status[i],
               job_status_word((enum job_status)i), c->counters.by_status[i]);
  if (rows_with(c, DB_INDEX, &statuses) != c->jobs) complain(c, "the index by status has rows too many");
  if (rows_with(c, DB_OPEN, &all) != c->open_jobs) complain(c, "the list of open jobs has rows too many");
}

enum err store_check(struct store *s, void (*report)(void *context, const char *line), void *context, struct error *e) {
  static const enum db owned[] = {DB_SPECS, DB_STAGES, DB_ATTEMPTS, DB_HISTORY, DB_CHECKPOINTS};
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
