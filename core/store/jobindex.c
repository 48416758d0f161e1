/* What is kept beside a job's row and must agree with it: lists by name and status, open and waiting jobs, counts,
 * totals. */
#include <endian.h>
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

static void add_rank(struct key *k, const struct job_record *job) {
  unsigned char rank = (unsigned char)(100 - job->priority);
  uint64_t created = htobe64((uint64_t)job->created_us);
  key_add(k, &rank, 1);
  key_add(k, &created, sizeof(created));
  key_add(k, job->id, strlen(job->id));
}

struct key key_open(const struct job_record *job) {
  struct key k = {.size = 0};
  add_rank(&k, job);
  return k;
}

struct key key_waiting(const struct job_record *job) {
  struct key k = key_index('w', "", NULL);
  if (job) add_rank(&k, job);
  return k;
}

struct key key_status(enum job_status status, const char *id) {
  char digit[2] = {(char)('0' + (int)status), '\0'};
  return key_index('s', digit, id);
}

bool job_is_waiting(const struct job_record *job) {
  return job->status == JOB_QUEUED || job->status == JOB_PROCESSING || job->status == JOB_RETRYING;
}

size_t job_names(const struct job_record *job, struct job_name names[JOB_NAMES_MAX]) {
  const struct job_name all[JOB_NAMES_MAX] = {
      {'p', job->pipeline}, {'o', job->owner}, {'a', job->asset}, {'b', job->batch}};
  size_t count = 0;
  for (size_t i = 0; i < JOB_NAMES_MAX; i++)
    if (all[i].value) names[count++] = all[i];
  return count;
}

static void set_row(struct tx *tx, enum db db, const struct key *k, bool there) {
  if (there)
    row_put(tx, db, k, "", 0);
  else
    row_delete(tx, db, k);
}

static void index_names(struct tx *tx, const struct job_record *job, bool there) {
  struct job_name names[JOB_NAMES_MAX];
  size_t count = job_names(job, names);
  for (size_t i = 0; i < count; i++) {
    struct key k = key_index(names[i].tag, names[i].value, job->id);
    set_row(tx, DB_INDEX, &k, there);
  }
}

/* What depends on status and priority. */
static void index_state(struct tx *tx, const struct job_record *job, bool there) {
  struct key status = key_status(job->status, job->id), open = key_open(job), waiting = key_waiting(job);
  set_row(tx, DB_INDEX, &status, there);
  if (!job_status_is_terminal(job->status)) set_row(tx, DB_OPEN, &open, there);
  if (job_is_waiting(job)) set_row(tx, DB_INDEX, &waiting, there);
}

/* ---- totals ---- */

static bool is_ended(const struct job_record *job) { return job && job_status_is_terminal(job->status); }

static void count_end(struct pipeline_totals *t, const struct job_record *job) {
  if (job->status == JOB_FAILED) t->ended_failed++;
  if (job->status == JOB_CANCELLED) t->ended_cancelled++;
  if (job->status != JOB_COMPLETED) return;
  t->ended_completed++;
  if (job->started_us > 0 && job->ended_us > job->started_us) t->completed_us += job->ended_us - job->started_us;
}

static void totals_move(struct tx *tx, const struct key *k, const struct job_record *old,
                        const struct job_record *job) {
  MDB_val v;
  struct buf buf_auto b = {0};
  struct pipeline_totals t = {0};
  if (row_get(tx, DB_TOTALS, k, &v) && !record_decode(&totals_layout, v.mv_data, v.mv_size, &t))
    tx->fault = MDB_CORRUPTED;
  const char *pipeline = job ? job->pipeline : old->pipeline;
  if (!t.pipeline) t.pipeline = mem_text(pipeline);
  if (old) t.counts.by_status[old->status]--;
  if (job) t.counts.by_status[job->status]++;
  if (is_ended(job) && !is_ended(old)) count_end(&t, job);
  record_encode(&b, &totals_layout, &t);
  row_put(tx, DB_TOTALS, k, b.data, b.size);
  free(t.pipeline);
}

static void totals_count(struct tx *tx, const struct job_record *old, const struct job_record *job) {
  const struct job_record *any = job ? job : old;
  const char *pipeline = any->pipeline ? any->pipeline : "";
  struct key k = key_totals(NULL, pipeline);
  totals_move(tx, &k, old, job);
  if (!any->owner) return;
  k = key_totals(any->owner, pipeline);
  totals_move(tx, &k, old, job);
}

/* ---- */

void job_reindex(struct tx *tx, struct counters *c, const struct job_record *old, const struct job_record *job) {
  if (!old) index_names(tx, job, true);
  if (!job) index_names(tx, old, false);
  bool moved = !old || !job || old->status != job->status;
  if (!moved && old->priority == job->priority) return;
  if (old) index_state(tx, old, false);
  if (job) index_state(tx, job, true);
  if (!moved) return;
  if (old) c->by_status[old->status]--;
  if (job) c->by_status[job->status]++;
  totals_count(tx, old, job);
}
