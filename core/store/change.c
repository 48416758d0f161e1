/* Changes on behalf of attempts: the fence is checked in the very transaction that would apply them. */
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

/* What a change needs to know before it writes. */
struct before {
  struct job_record job;
  struct stage_rows stages;
};

static void before_free(struct before *b) {
  job_record_clear(&b->job);
  stages_free(&b->stages);
}

static bool load(struct work *w, struct request *r, struct before *b) {
  *b = (struct before){0};
  if (!job_load(&w->tx, r->job, &b->job)) {
    if (!w->tx.fault) refuse(r, ERR_NOT_FOUND, "there is no job %s", r->job);
    return false;
  }
  if (r->stage_count || r->verb == VERB_CHECKPOINT) stages_load(&w->tx, r->job, &b->stages);
  return !w->tx.fault;
}

/* Each stage of the request must exist and, when the change comes from an attempt, still belong to it. */
static bool stages_agree(struct request *r, struct before *b) {
  uint16_t position;
  for (size_t i = 0; i < r->stage_count; i++) {
    const struct stage_record *asked = &r->stages[i], *stored = stages_find(&b->stages, asked->stage, &position);
    if (!stored) {
      refuse(r, ERR_NOT_FOUND, "job %s has no stage '%s'", r->job, asked->stage);
      return false;
    }
    if (r->fence && stored->fence != r->fence) {
      refuse(r, ERR_STALE, "job %s, stage '%s': attempt %llu is not the current one: its result was dropped", r->job,
             asked->stage, (unsigned long long)r->fence);
      return false;
    }
    if (asked->fence && asked->fence != stored->fence) {
      refuse(r, ERR_STALE, "job %s, stage '%s': the record is of an older attempt", r->job, asked->stage);
      return false;
    }
  }
  return true;
}

/* Text is borrowed from the request: old keeps its own. */
static void apply_fields(const struct request *r, struct job_record *job) {
  const struct job_record *v = &r->values;
  uint32_t f = r->job_fields;
  if (f & JOB_SET_STATUS) job->status = v->status;
  if (f & JOB_SET_WAIT_REASON) job->wait_reason = v->wait_reason;
  if (f & JOB_SET_PCT && v->pct_ppm > job->pct_ppm) job->pct_ppm = v->pct_ppm > 1000000 ? 1000000 : v->pct_ppm;
  if (f & JOB_SET_ATTEMPT) {
    job->attempt = v->attempt;
    job->max_attempts = v->max_attempts;
  }
  if (f & JOB_SET_RESULT) job->result_json = v->result_json;
  if (f & JOB_SET_ERROR) job->error_json = v->error_json;
  if (f & JOB_SET_STARTED) job->started_us = v->started_us;
  if (f & JOB_SET_ENDED) job->ended_us = v->ended_us;
  if (f & JOB_SET_PRIORITY) job->priority = v->priority;
  if (f & JOB_SET_TITLE) job->title = v->title;
  if (f & JOB_SET_EXTRA) job->extra_json = v->extra_json;
}

static void save_job(struct work *w, struct request *r, const struct before *b) {
  if (!r->has_job && !r->event_count) return;
  struct job_record job = b->job;
  apply_fields(r, &job);
  job_events_append(w, r, &job);
  job_save(w, &b->job, &job);
}

static void save_stages(struct work *w, struct request *r, struct before *b, uint64_t fence) {
  uint16_t position;
  for (size_t i = 0; i < r->stage_count; i++) {
    struct stage_record stage = r->stages[i]; /* borrows */
    const struct stage_record *stored = stages_find(&b->stages, stage.stage, &position);
    stage.fence = fence ? fence : stored->fence;
    stage_save(&w->tx, r->job, position, &stage);
  }
}

void verb_change(struct work *w, struct request *r) {
  struct before b;
  struct attempt_record known = {0};
  if (!load(w, r, &b)) goto out;
  bool only_extra = r->has_job && r->job_fields == JOB_SET_EXTRA; /* what a retry is to do otherwise is noted before it */
  bool touches_job = (r->has_job && !only_extra) || r->stage_count || r->event_count;
  if (touches_job && job_status_is_terminal(b.job.status)) {
    refuse(r, ERR_CONFLICT, "job %s is already %s", r->job, job_status_word(b.job.status));
    goto out;
  }
  if (!stages_agree(r, &b)) goto out;
  if (r->has_attempt && !attempt_load(&w->tx, r->job, r->fence, &known)) {
    if (!w->tx.fault) refuse(r, ERR_STALE, "job %s has no attempt %llu", r->job, (unsigned long long)r->fence);
    goto out;
  }
  save_job(w, r, &b);
  save_stages(w, r, &b, 0);
  if (r->has_attempt) {
    struct attempt_record attempt = r->attempt; /* borrows */
    attempt.fence = r->fence;
    if (!attempt.stages) attempt.stages = known.stages;
    attempt_save(&w->tx, r->job, &attempt);
  }
out:
  attempt_record_clear(&known);
  before_free(&b);
}

static bool is_live(struct work *w, const char *job, uint64_t fence) {
  struct attempt_record attempt = {0};
  bool live = fence && attempt_load(&w->tx, job, fence, &attempt) && attempt.state == ATTEMPT_LIVE;
  attempt_record_clear(&attempt);
  return live;
}

static bool may_begin(struct work *w, struct request *r, struct before *b) {
  uint16_t position;
  bool cancelled = b->job.cancel_requested && !r->after_cancel;
  if (job_status_is_terminal(b->job.status) || cancelled) {
    refuse(r, ERR_CONFLICT, "job %s is %s: no attempt begins", r->job,
           cancelled ? "being cancelled" : job_status_word(b->job.status));
    return false;
  }
  if (!stages_agree(r, b)) return false;
  for (size_t i = 0; i < r->stage_count; i++) {
    const struct stage_record *stored = stages_find(&b->stages, r->stages[i].stage, &position);
    if (!is_live(w, r->job, stored->fence)) continue;
    refuse(r, ERR_CONFLICT, "job %s, stage '%s': attempt %llu may still be alive", r->job, stored->stage,
           (unsigned long long)stored->fence);
    return false;
  }
  return !w->tx.fault;
}

static char *stage_names(const struct request *r) {
  struct buf b = {0};
  for (size_t i = 0; i < r->stage_count; i++) buf_format(&b, "%s%s", i ? "," : "", r->stages[i].stage);
  return buf_take(&b);
}

void verb_begin(struct work *w, struct request *r) {
  struct before b;
  if (load(w, r, &b) && may_begin(w, r, &b)) {
    mem_auto char *names = stage_names(r);
    struct attempt_record attempt = r->attempt; /* borrows */
    attempt.fence = ++w->store->counters.fence;
    attempt.state = ATTEMPT_LIVE;
    if (!attempt.stages) attempt.stages = names;
    for (size_t i = 0; i < r->stage_count; i++) r->stages[i].status = STAGE_RUNNING;
    save_job(w, r, &b);
    save_stages(w, r, &b, attempt.fence);
    attempt_save(&w->tx, r->job, &attempt);
    r->commit.fence = attempt.fence;
  }
  before_free(&b);
}

void verb_checkpoint(struct work *w, struct request *r) {
  struct before b;
  uint16_t position;
  const char *stage = r->names[0], *key = r->names[1], *value = r->names[2];
  if (load(w, r, &b)) {
    const struct stage_record *stored = stages_find(&b.stages, stage, &position);
    if (!stored) {
      refuse(r, ERR_NOT_FOUND, "job %s has no stage '%s'", r->job, stage);
    } else if (job_status_is_terminal(b.job.status)) {
      refuse(r, ERR_CONFLICT, "job %s is already %s", r->job, job_status_word(b.job.status));
    } else if (r->fence && stored->fence != r->fence) {
      refuse(r, ERR_STALE, "job %s, stage '%s': attempt %llu is not the current one", r->job, stage,
             (unsigned long long)r->fence);
    } else {
      struct key k = key_prefix(r->job);
      key_add(&k, stage, strlen(stage) + 1);
      key_add(&k, key, strlen(key));
      row_put(&w->tx, DB_CHECKPOINTS, &k, value, strlen(value));
    }
  }
  before_free(&b);
}
