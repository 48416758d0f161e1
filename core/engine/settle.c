/* settle.c - an attempt is over: who is to blame, who tries again and when, who is through. One commit says it all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/draft.h"

enum charge { /* what the end of an attempt means for one of its stages */
  CHARGE_NOTHING = 1, /* goes back to waiting, costs nothing */
  CHARGE_DONE,        /* its outputs are checked: publish */
  CHARGE_GONE,        /* committed already */
  CHARGE_RETRY,       /* costs an attempt; back-off, or the end */
  CHARGE_FAIL,        /* costs an attempt; the end */
  CHARGE_SUSPECT,     /* crashed in company: next time alone */
  CHARGE_LOST,        /* its zygote died: bounded, costs no attempt */
  CHARGE_CANCEL,
};

/* ---- whose fault ------------------------------------------------------------------------------------------------- */

static bool trial_has_culprit(const struct trial *trial) {
  for (size_t i = 0; i < trial->stage_count; i++) {
    const struct trial_stage *s = &trial->stages[i];
    if (s->fault.code || s->verdict == VERDICT_RETRY || s->verdict == VERDICT_FAIL) return true;
  }
  return false;
}

static bool error_is_the_worlds(enum err code) {
  return code == ERR_NO_SPACE || code == ERR_IO || code == ERR_BUSY || code == ERR_LOST || code == ERR_TIMEOUT ||
         code == ERR_NOT_FOUND;
}

static enum charge charge_for_crash(const struct trial *trial, size_t i) {
  int32_t suspect = trial->outcome.suspect;
  if (trial->stage_count == 1 || suspect < 0 || (size_t)suspect >= trial->stage_count) return CHARGE_RETRY;
  if ((size_t)suspect != i) return CHARGE_NOTHING;
  return trial->job->stages[trial->stages[i].index].record.suspect ? CHARGE_RETRY : CHARGE_SUSPECT;
}

static int64_t trial_timeout_us(const struct trial *trial) {
  int64_t least_us = INT64_MAX;
  for (size_t i = 0; i < trial->stage_count; i++) {
    int64_t timeout_us = trial->job->pipeline->stages[trial->stages[i].index].timeout_us;
    if (timeout_us && timeout_us < least_us) least_us = timeout_us;
  }
  return least_us;
}

static enum charge charge_for_end(const struct trial *trial, size_t i) {
  const struct pipeline_stage *s = &trial->job->pipeline->stages[trial->stages[i].index];
  switch (trial->outcome.end) {
  case ATTEMPT_ENDED: return trial_has_culprit(trial) ? CHARGE_NOTHING : CHARGE_RETRY;
  case ATTEMPT_CANCELLED: return trial_has_culprit(trial) ? CHARGE_NOTHING : CHARGE_FAIL;
  case ATTEMPT_CRASHED:
  case ATTEMPT_EXITED: return charge_for_crash(trial, i);
  case ATTEMPT_LOST: return CHARGE_LOST;
  case ATTEMPT_REFUSED: return error_is_the_worlds(trial->outcome.error.code) ? CHARGE_RETRY : CHARGE_FAIL;
  case ATTEMPT_TIMED_OUT: return s->timeout_us == trial_timeout_us(trial) ? CHARGE_RETRY : CHARGE_NOTHING;
  case ATTEMPT_PROTOCOL: return trial->stage_count == 1 ? CHARGE_FAIL : charge_for_crash(trial, i);
  default: return CHARGE_RETRY; /* stalled, out of memory, over its quota: no clear owner, so everybody who is not through */
  }
}

static enum charge charge_of(const struct trial *trial, size_t i) {
  const struct trial_stage *s = &trial->stages[i];
  bool cancelled = trial->job->record.cancel_requested;
  if (s->leaving == LEAVING_GONE) return CHARGE_GONE;
  if (s->unneeded) return CHARGE_NOTHING;
  if (s->leaving == LEAVING_CHECKED) return cancelled ? CHARGE_CANCEL : CHARGE_DONE;
  if (s->fault.code) return error_is_the_worlds(s->fault.code) ? CHARGE_RETRY : CHARGE_FAIL;
  if (cancelled) return CHARGE_CANCEL;
  if (trial->interrupted) return CHARGE_NOTHING;
  if (s->verdict == VERDICT_RETRY) return CHARGE_RETRY;
  if (s->verdict == VERDICT_FAIL) return CHARGE_FAIL;
  if (s->verdict == VERDICT_OK && trial->unit.is_pass) return CHARGE_NOTHING; /* a filter: done when its readers are */
  return charge_for_end(trial, i);
}

static void charge_error(const struct trial *trial, size_t i, struct error *e) {
  const struct trial_stage *s = &trial->stages[i];
  if (s->fault.code) {
    *e = s->fault;
  } else if (s->verdict == VERDICT_RETRY || s->verdict == VERDICT_FAIL) {
    error_set(e, s->verdict == VERDICT_RETRY ? ERR_IO : ERR_INVALID, "%s",
              s->message[0] ? s->message : "the stage failed without saying why");
    error_debug(e, "%s", s->debug);
  } else if (trial->outcome.error.message[0]) {
    *e = trial->outcome.error;
  } else {
    error_set(e, ERR_INTERNAL, "the attempt ended without a verdict of this stage");
  }
}

/* ---- what follows ------------------------------------------------------------------------------------------------- */

static void charge_delay(struct trial *trial, size_t i, struct draft *d, int64_t delay_us, const struct error *e) {
  struct job *job = trial->job;
  size_t index = trial->stages[i].index;
  const struct pipeline_stage *s = &job->pipeline->stages[index];
  struct stage_record *record = draft_stage(d, index);
  char at[32];
  record->status = STAGE_DELAYED;
  record->delay_us = delay_us;
  record->not_before_us = clock_wall(loop_clock(job->engine->loop)) + delay_us;
  if (s->continue_on_error && trial->outcome.end == ATTEMPT_ENDED && trial->stage_count > 1) record->apart = true;
  struct job_record *values = draft_job(d, JOB_SET_ATTEMPT);
  values->attempt = record->attempts + 1;
  values->max_attempts = s->retry.attempts;
  struct value *body = value_map();
  value_set_text(body, "stage", s->id);
  value_set_int(body, "attempt", record->attempts + 1);
  value_set_int(body, "currentAttempt", record->attempts);
  value_set_int(body, "maxAttempts", s->retry.attempts);
  value_set_int(body, "maxRetries", (int64_t)s->retry.attempts - 1);
  value_set_int(body, "delayMs", delay_us / 1000);
  value_set_text(body, "retryAt", clock_format(record->not_before_us, at));
  value_set_text(body, "error", e->message);
  draft_event(d, "retrying", body);
}

static void charge_end(struct trial *trial, size_t i, struct draft *d, const struct error *e) {
  struct job *job = trial->job;
  size_t index = trial->stages[i].index;
  struct stage_record *record = draft_stage(d, index);
  record->status = job->pipeline->stages[index].continue_on_error ? STAGE_SOFT_FAILED : STAGE_FAILED;
  record->ended_us = clock_wall(loop_clock(job->engine->loop));
  struct value *body = draft_stage_event(job, index, "failed");
  value_set_int(body, "attempt", record->attempts);
  value_set_text(body, "error", e->message);
  value_set_bool(body, "soft", record->status == STAGE_SOFT_FAILED);
  draft_event(d, "stage", body);
}

static void charge_attempt(struct trial *trial, size_t i, struct draft *d, bool final) {
  size_t index = trial->stages[i].index;
  const struct retry_policy *policy = &trial->job->pipeline->stages[index].retry;
  struct stage_record *record = draft_stage(d, index);
  struct error e;
  charge_error(trial, i, &e);
  record->attempts++;
  record->error_json = draft_error(d, &e, record->stage);
  if (final || record->attempts >= policy->attempts)
    charge_end(trial, i, d, &e);
  else
    charge_delay(trial, i, d, retry_delay_us(policy, record->attempts + 1, drand48()), &e);
}

/* The crashing thread names a suspect, not the culprit: heap damage surfaces elsewhere. Next time it runs alone. */
static void charge_suspect(struct trial *trial, size_t i, struct draft *d) {
  struct stage_record *record = draft_stage(d, trial->stages[i].index);
  struct error e;
  charge_error(trial, i, &e);
  record->error_json = draft_error(d, &e, record->stage);
  record->suspect = true;
  charge_delay(trial, i, d, 0, &e);
  record->status = STAGE_WAITING;
}

static void charge_lost(struct trial *trial, size_t i, struct draft *d) {
  struct stage_record *record = draft_stage(d, trial->stages[i].index);
  if (record->lost >= LOST_MAX) {
    charge_attempt(trial, i, d, false);
    return;
  }
  record->lost++;
  record->status = STAGE_WAITING;
}

static void charge_stage(struct trial *trial, size_t i, struct draft *d) {
  struct trial_stage *stage = &trial->stages[i];
  switch (charge_of(trial, i)) {
  case CHARGE_GONE: break;
  case CHARGE_DONE: publish_draft(trial, stage, d); break;
  case CHARGE_NOTHING:
    draft_stage(d, stage->index)->status = STAGE_WAITING;
    if (stage->verdict == VERDICT_OK) draft_results(d, stage->index, value_copy(stage->results));
    break;
  case CHARGE_RETRY: charge_attempt(trial, i, d, false); break;
  case CHARGE_FAIL: charge_attempt(trial, i, d, true); break;
  case CHARGE_SUSPECT: charge_suspect(trial, i, d); break;
  case CHARGE_LOST: charge_lost(trial, i, d); break;
  case CHARGE_CANCEL: draft_stage(d, stage->index)->status = STAGE_CANCELLED; break;
  }
}

/* ---- the attempt's own record --------------------------------------------------------------------------------------- */

static struct value *settle_plugins(const struct trial *trial) {
  struct value *list = value_list();
  for (size_t i = 0; i < trial->stage_count; i++) {
    const struct stage_type *type = trial->job->pipeline->stages[trial->stages[i].index].type;
    struct value *item = value_map();
    value_set_text(item, "stage", trial->job->pipeline->stages[trial->stages[i].index].id);
    value_set_text(item, "plugin", type->plugin_id);
    value_set_text(item, "version", type->plugin_version);
    value_set_text(item, "sha256", type->plugin_sha256);
    value_list_add(list, item);
  }
  return list;
}

static struct value *settle_stats(const struct trial *trial) {
  struct value *stats = trial->stats ? value_copy(trial->stats) : value_map();
  if (stats->type != VALUE_MAP) {
    value_free(&stats);
    stats = value_map();
  }
  value_set_int(stats, "cpuMs", trial->outcome.cpu_us / 1000);
  value_set_int(stats, "wallMs", trial->outcome.wall_us / 1000);
  value_set_int(stats, "maxRssBytes", trial->outcome.max_rss_bytes);
  value_map_set(stats, "plugins", settle_plugins(trial));
  if (trial->outcome.end != ATTEMPT_ENDED && trial->outcome.log_tail && trial->outcome.log_tail[0]) {
    size_t size = strlen(trial->outcome.log_tail), keep = size > 2000 ? 2000 : size;
    value_set_text(stats, "logTail", trial->outcome.log_tail + size - keep);
  }
  return stats;
}

static const struct trial_stage *settle_culprit(const struct trial *trial) {
  const struct trial_stage *retry = NULL;
  for (size_t i = 0; i < trial->stage_count; i++) {
    enum charge charge = charge_of(trial, i);
    if (charge == CHARGE_FAIL || charge == CHARGE_SUSPECT) return &trial->stages[i];
    if (charge == CHARGE_RETRY && !retry) retry = &trial->stages[i];
  }
  return retry;
}

static const char *settle_word(const struct trial *trial, const struct trial_stage *culprit) {
  if (trial->interrupted && trial->outcome.end == ATTEMPT_CANCELLED) return "interrupted";
  if (trial->outcome.end != ATTEMPT_ENDED) return attempt_end_word(trial->outcome.end);
  if (!culprit) return trial->job->record.cancel_requested ? "cancelled" : "ok";
  return culprit->verdict == VERDICT_RETRY ? "retry" : "failed";
}

static void settle_record(struct trial *trial, struct draft *d) {
  struct attempt_record *r = draft_attempt(d, &trial->record);
  const struct trial_stage *culprit = settle_culprit(trial);
  value_auto struct value *stats = settle_stats(trial);
  r->state = ATTEMPT_OVER;
  r->ended_us = clock_wall(loop_clock(trial->job->engine->loop));
  r->outcome = draft_text(d, settle_word(trial, culprit));
  r->stats_json = draft_json(d, stats);
  if (!culprit) return;
  struct error e;
  charge_error(trial, (size_t)(culprit - trial->stages), &e);
  r->stage_at_fault = draft_text(d, trial->job->pipeline->stages[culprit->index].id);
  r->error_json = draft_error(d, &e, r->stage_at_fault);
}

/* ---- settling ------------------------------------------------------------------------------------------------------- */

static void trial_settled(struct job *job, const struct commit *commit, void *context) {
  struct trial *trial = context;
  struct engine *engine = job->engine;
  uint64_t fence = trial->fence;
  for (size_t i = 0; commit->status == ERR_OK && i < trial->stage_count; i++)
    if (job->stages[trial->stages[i].index].record.status == STAGE_PUBLISHING &&
        trial->stages[i].leaving == LEAVING_CHECKED)
      publish_begun(trial, &trial->stages[i]);
  engine->alive--;
  trial_free(&trial);
  publish_sweep(job, fence);
  engine_wake_all(engine);
}

static bool settle_checks(struct trial *trial) {
  bool checking = false;
  if (trial->job->record.cancel_requested) return false; /* cancelled before publishing: outputs are dropped */
  for (size_t i = 0; i < trial->stage_count; i++) {
    struct trial_stage *s = &trial->stages[i];
    bool done = s->verdict == VERDICT_OK && !s->fault.code && s->leaving == LEAVING_NOT;
    bool counts = trial->unit.is_pass ? trial_stage_is_sink(trial, s) : trial->outcome.end == ATTEMPT_ENDED;
    if (!done || !counts) continue;
    publish_check(trial, s);
    checking = true;
  }
  return checking;
}

void trial_settle(struct trial *trial) {
  if (!trial->over || trial->pending || trial->settling) return;
  if (settle_checks(trial)) return;
  trial->settling = true;
  struct draft *d = draft_new(trial->job, trial->fence);
  for (size_t i = 0; i < trial->stage_count; i++) charge_stage(trial, i, d);
  settle_record(trial, d);
  draft_commit(d, trial_settled, trial);
}
