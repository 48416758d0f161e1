/* Verbs on whole jobs: submit, cancel, reopen, delete, progress. All look first and write only if they will succeed. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "store/inner.h"

/* ---- ids: 48 bits of milliseconds and 80 of chance in base 32, as ULID does, lower case ---- */

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* The next id in order, for one millisecond's second job and for a clock that went back. false: was no id of ours. */
static bool id_increment(char id[27]) {
  for (int i = 25; i >= 0; i--) {
    const char *at = id[i] ? strchr(digits, id[i]) : NULL;
    if (!at) return false;
    if (at[1]) {
      id[i] = at[1];
      return true;
    }
    id[i] = digits[0];
  }
  return false;
}

static void id_make(struct store *s, int64_t now_us, char id[27]) {
  unsigned char chance[16] = {0};
  uint64_t ms = (uint64_t)now_us / 1000;
  if (getrandom(chance, sizeof(chance), GRND_NONBLOCK) < 0) memcpy(chance, &now_us, sizeof(now_us));
  for (int i = 0; i < 10; i++) id[i] = digits[(ms >> (45 - 5 * i)) & 31];
  for (int i = 10; i < 26; i++) id[i] = digits[chance[i - 10] & 31];
  id[26] = '\0';
  char next[27];
  memcpy(next, s->last_id, sizeof(next));
  if (s->last_id[0] && strcmp(id, s->last_id) <= 0 && id_increment(next)) memcpy(id, next, sizeof(next));
  memcpy(s->last_id, id, sizeof(s->last_id));
}

/* ---- submit ---- */

/* The job that an identity belongs to: its newest. */
static bool identity_owner(struct tx *tx, const char *identity, struct job_record *job) {
  MDB_val v;
  char id[STORE_ID_MAX] = "";
  struct key k = key_text(identity);
  *job = (struct job_record){0};
  if (!row_get(tx, DB_IDENTITY, &k, &v) || v.mv_size >= sizeof(id)) return false;
  memcpy(id, v.mv_data, v.mv_size);
  return job_load(tx, id, job);
}

static bool counts_as_the_same(const struct job_record *job) {
  return job->status != JOB_FAILED && job->status != JOB_CANCELLED;
}

/* Whether identity is taken; then the request answers that job. */
static bool answer_existing(struct work *w, struct request *r) {
  struct job_record other = {0};
  bool there = r->values.identity && identity_owner(&w->tx, r->values.identity, &other) && counts_as_the_same(&other);
  if (there) {
    free(r->job);
    r->job = mem_text(other.id);
    r->commit.job = r->job;
    r->commit.existed = true;
  }
  job_record_clear(&other);
  return there;
}

static void claim_identity(struct tx *tx, const struct job_record *job) {
  if (!job->identity) return;
  struct key k = key_text(job->identity);
  row_put(tx, DB_IDENTITY, &k, job->id, strlen(job->id));
}

static bool settle_id(struct work *w, struct request *r) {
  MDB_val v;
  char id[27];
  if (!r->values.id) { /* answered ids are ours to name; a retry of the group may name another one */
    id_make(w->store, w->now_us, id);
    free(r->job);
    r->commit.job = r->job = mem_text(id);
    return true;
  }
  free(r->job);
  r->commit.job = r->job = mem_text(r->values.id);
  struct key k = key_text(r->values.id), first_event = key_of(r->values.id, 1);
  if (!row_get(&w->tx, DB_JOBS, &k, &v) && !row_get(&w->tx, DB_HISTORY, &first_event, &v)) return !w->tx.fault;
  refuse(r, ERR_CONFLICT, "there is a job %s already", r->values.id);
  return false;
}

void verb_submit(struct work *w, struct request *r) {
  if (answer_existing(w, r) || w->tx.fault || !settle_id(w, r)) return;
  struct job_record job = r->values; /* borrows its text */
  job.id = r->job;
  job.status = job.status ? job.status : JOB_QUEUED;
  job.round = 1;
  job.last_seq = 0;
  if (!r->values.id || job.created_us <= 0) job.created_us = w->now_us;
  job_events_append(w, r, &job);
  job_save(w, NULL, &job);
  claim_identity(&w->tx, &job);
  if (job.spec_json) {
    struct key k = key_text(job.id);
    row_put(&w->tx, DB_SPECS, &k, job.spec_json, strlen(job.spec_json));
  }
  for (size_t i = 0; i < r->name_count; i++) {
    struct stage_record stage = {.stage = r->names[i], .status = STAGE_WAITING};
    stage_save(&w->tx, job.id, (uint16_t)i, &stage);
  }
}

/* ---- cancel ---- */

/* Loads the request's job into `job`; false: answered. */
static bool need_job(struct work *w, struct request *r, struct job_record *job) {
  if (job_load(&w->tx, r->job, job)) return true;
  if (!w->tx.fault) refuse(r, ERR_NOT_FOUND, "there is no job %s", r->job);
  return false;
}

void verb_cancel(struct work *w, struct request *r) {
  struct job_record old = {0};
  if (!need_job(w, r, &old)) return;
  if (job_status_is_terminal(old.status)) {
    refuse(r, ERR_CONFLICT, "job %s is already %s", r->job, job_status_word(old.status));
  } else if (old.cancel_requested) {
    r->commit.existed = true;
  } else {
    struct job_record job = old;
    job.cancel_requested = true;
    job_events_append(w, r, &job);
    job_save(w, &old, &job);
  }
  job_record_clear(&old);
}

/* ---- reopen ---- */

static bool is_kept(const struct request *r, const char *stage) {
  for (size_t i = 0; i < r->name_count; i++)
    if (strcmp(r->names[i], stage) == 0) return true;
  return false;
}

static void reset_stages(struct work *w, struct request *r) {
  struct stage_rows rows;
  stages_load(&w->tx, r->job, &rows);
  for (size_t i = 0; i < rows.count; i++) {
    const struct stage_record *old = &rows.items[i];
    if (is_kept(r, old->stage)) continue;
    struct stage_record stage = {
        .stage = old->stage, .status = STAGE_WAITING, .tries = old->tries, .fence = old->fence};
    stage_save(&w->tx, r->job, (uint16_t)i, &stage);
  }
  stages_free(&rows);
}

static bool may_reopen(struct work *w, struct request *r, const struct job_record *old) {
  if (old->status != JOB_FAILED && old->status != JOB_CANCELLED) {
    refuse(r, ERR_CONFLICT, "job %s is %s: only a failed or cancelled one can be tried again", r->job,
           job_status_word(old->status));
    return false;
  }
  struct job_record other = {0};
  bool taken = old->identity && identity_owner(&w->tx, old->identity, &other) && strcmp(other.id, old->id) != 0 &&
               counts_as_the_same(&other);
  if (taken)
    refuse(r, ERR_CONFLICT, "job %s has taken the place of job %s and is %s", other.id, r->job,
           job_status_word(other.status));
  job_record_clear(&other);
  return !taken && !w->tx.fault;
}

void verb_reopen(struct work *w, struct request *r) {
  struct job_record old = {0};
  if (!need_job(w, r, &old)) return;
  if (may_reopen(w, r, &old)) {
    struct job_record job = old;
    job.status = JOB_QUEUED;
    job.round++;
    job.attempt = 1;
    job.pct_ppm = 0;
    job.cancel_requested = false;
    job.started_us = job.ended_us = 0;
    job.wait_reason = job.result_json = job.error_json = NULL;
    job_events_append(w, r, &job);
    job_save(w, &old, &job);
    claim_identity(&w->tx, &job);
    reset_stages(w, r);
  }
  job_record_clear(&old);
}

/* ---- delete ---- */

static void drop_live(struct tx *tx, const char *job) {
  struct scan s;
  struct key prefix = key_prefix(job);
  for (bool more = scan_first(&s, tx, DB_ATTEMPTS, &prefix); more; more = scan_next(&s)) {
    if (s.key.mv_size != prefix.size + 8) continue;
    struct key fence = key_u64(u64_of((const char *)s.key.mv_data + prefix.size));
    row_delete(tx, DB_LIVE, &fence);
  }
  scan_end(&s);
}

static void release_identity(struct tx *tx, const struct job_record *job) {
  MDB_val v;
  if (!job->identity) return;
  struct key k = key_text(job->identity);
  if (row_get(tx, DB_IDENTITY, &k, &v) && v.mv_size == strlen(job->id) && memcmp(v.mv_data, job->id, v.mv_size) == 0)
    row_delete(tx, DB_IDENTITY, &k);
}

void verb_delete(struct work *w, struct request *r) {
  struct job_record job = {0};
  if (!need_job(w, r, &job)) return;
  if (!job_status_is_terminal(job.status)) {
    refuse(r, ERR_CONFLICT, "job %s is %s: cancel it before removing it", r->job, job_status_word(job.status));
  } else {
    struct key id = key_text(job.id), prefix = key_prefix(job.id);
    events_drop(&w->tx, job.id);
    drop_live(&w->tx, job.id);
    row_delete_all(&w->tx, DB_STAGES, &prefix);
    row_delete_all(&w->tx, DB_ATTEMPTS, &prefix);
    row_delete_all(&w->tx, DB_CHECKPOINTS, &prefix);
    row_delete(&w->tx, DB_SPECS, &id);
    row_delete(&w->tx, DB_JOBS, &id);
    release_identity(&w->tx, &job);
    job_reindex(&w->tx, &w->store->counters, &job, NULL);
    deliveries_drop(&w->tx, job.id);
  }
  job_record_clear(&job);
}

void verb_progress(struct work *w, struct request *r) {
  struct job_record old = {0};
  if (!job_load(&w->tx, r->job, &old)) return;
  if (!job_status_is_terminal(old.status) && r->pct_ppm > old.pct_ppm) {
    struct job_record job = old;
    job.pct_ppm = r->pct_ppm;
    job_save(w, &old, &job);
  }
  job_record_clear(&old);
}
