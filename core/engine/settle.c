/* settle.c - an attempt is over: who tries again and when, who is through (charge.c says whose fault it was). One commit
 * says it all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "engine/draft.h"

/* ---- what follows ------------------------------------------------------------------------------------------------- */

/* `failed` is the number of the attempt that failed, `next` that of the one to come; the same when it cost nothing. */
static void charge_tell_retry(struct trial *trial, size_t i, struct draft *d, uint32_t failed, uint32_t next,
                              const struct error *e) {
  const struct pipeline_stage *s = &trial->job->pipeline->stages[trial->stages[i].index];
  const struct stage_record *record = draft_stage(d, trial->stages[i].index);
  struct job_record *values = draft_job(d, JOB_SET_ATTEMPT);
  char at[32];
  values->attempt = next;
  values->max_attempts = s->retry.attempts;
  struct value *body = value_map();
  value_set_text(body, "stage", s->id);
  value_set_int(body, "attempt", next);
  value_set_int(body, "currentAttempt", failed);
  value_set_int(body, "maxAttempts", s->retry.attempts);
  value_set_int(body, "maxRetries", (int64_t)s->retry.attempts - 1);
  value_set_int(body, "delayMs", record->delay_us / 1000);
  value_set_text(body, "retryAt", clock_format(record->not_before_us, at));
  value_set_text(body, "error", e->message);
  draft_event(d, "retrying", body);
  trial->job->told = JOB_RETRYING;
}

static void charge_delay(struct trial *trial, size_t i, struct draft *d, int64_t delay_us, const struct error *e) {
  struct job *job = trial->job;
  size_t index = trial->stages[i].index;
  const struct pipeline_stage *s = &job->pipeline->stages[index];
  struct stage_record *record = draft_stage(d, index);
  record->status = STAGE_DELAYED;
  record->delay_us = delay_us;
  record->not_before_us = clock_wall(loop_clock(job->engine->loop)) + delay_us;
  if (s->continue_on_error && trial->outcome.end == ATTEMPT_ENDED && trial->stage_count > 1) record->apart = true;
  charge_tell_retry(trial, i, d, record->attempts, record->attempts + 1, e);
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
  record->status = STAGE_WAITING;
  record->delay_us = 0;
  record->not_before_us = clock_wall(loop_clock(trial->job->engine->loop));
  charge_tell_retry(trial, i, d, record->attempts + 1, record->attempts + 1, &e);
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
  case CHARGE_CANCEL:
    draft_stage(d, stage->index)->status = STAGE_CANCELLED;
    draft_stage(d, stage->index)->ended_us = clock_wall(loop_clock(trial->job->engine->loop));
    break;
  }
}

enum { SETTLE_FOREIGN_MAX = 3000, SETTLE_LOG_MAX = 2000, SETTLE_STATS_MAX = 15 * 1024 };

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

static size_t json_size(const struct value *v) {
  struct buf text = {0};
  value_json(&text, v, VALUE_JSON_COMPACT);
  size_t size = text.size;
  buf_free(&text);
  return size;
}

/* What the attempt says of itself is foreign: taken when it is a map of a size that fits into the record. */
static struct value *settle_stats(const struct trial *trial) {
  bool fits = trial->stats && trial->stats->type == VALUE_MAP && json_size(trial->stats) <= SETTLE_FOREIGN_MAX;
  struct value *stats = fits ? value_copy(trial->stats) : value_map();
  value_set_int(stats, "cpuMs", trial->outcome.cpu_us / 1000);
  value_set_int(stats, "wallMs", trial->outcome.wall_us / 1000);
  value_set_int(stats, "maxRssBytes", trial->outcome.max_rss_bytes);
  value_map_set(stats, "plugins", settle_plugins(trial));
  if (trial->outcome.end != ATTEMPT_ENDED && trial->outcome.log_tail && trial->outcome.log_tail[0]) {
    size_t size = strlen(trial->outcome.log_tail), from = size > SETTLE_LOG_MAX ? size - SETTLE_LOG_MAX : 0;
    while (((unsigned char)trial->outcome.log_tail[from] & 0xc0) == 0x80) from++;
    value_set_text(stats, "logTail", trial->outcome.log_tail + from);
    if (json_size(stats) > SETTLE_STATS_MAX) value_set_text(stats, "logTail", "(left out: see the attempt's log)");
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

static void settle_count(const struct trial *trial, const char *outcome) {
  static struct metric *ended, *seconds; /* on the loop's thread only */
  if (!ended) {
    ended = metric_counter("stagemill_attempts_total", "attempts that ended, by how", "outcome");
    seconds = metric_histogram("stagemill_attempt_seconds", "how long attempts took, by how they ended", "outcome", NULL, 0);
  }
  metric_add(ended, 1, outcome);
  metric_observe(seconds, (double)trial->outcome.wall_us / 1e6, outcome);
}

static void settle_record(struct trial *trial, struct draft *d) {
  struct attempt_record *r = draft_attempt(d, &trial->record);
  const struct trial_stage *culprit = settle_culprit(trial);
  value_auto struct value *stats = settle_stats(trial);
  r->state = ATTEMPT_OVER;
  r->ended_us = clock_wall(loop_clock(trial->job->engine->loop));
  r->outcome = draft_text(d, settle_word(trial, culprit));
  settle_count(trial, r->outcome);
  r->stats_json = draft_json(d, stats);
  struct error e = trial->outcome.error;
  if (!culprit && trial->outcome.end != ATTEMPT_ENDED) r->error_json = draft_error(d, &e, NULL);
  if (!culprit) return;
  charge_error(trial, (size_t)(culprit - trial->stages), &e);
  r->stage_at_fault = draft_text(d, trial->job->pipeline->stages[culprit->index].id);
  r->error_json = draft_error(d, &e, r->stage_at_fault);
}

/* ---- settling ------------------------------------------------------------------------------------------------------- */

static void trial_settled(struct job *job, const struct commit *commit, void *context);

/* The commit was refused for what it held, not because the attempt no longer counts: its stages must not stay RUNNING for
 * ever. They fail with the reason, in a commit that holds little else. */
static void settle_plainly(struct trial *trial, const struct error *why) {
  struct draft *d = draft_new(trial->job, trial->fence);
  trial->plain = true;
  trial->trouble = *why;
  trial->trouble.debug[0] = '\0';
  for (size_t i = 0; i < trial->stage_count; i++) {
    struct trial_stage *s = &trial->stages[i];
    if (s->leaving == LEAVING_GONE) continue;
    memset(&s->fault, 0, sizeof s->fault);
    s->verdict = VERDICT_NONE;
    s->leaving = LEAVING_NOT;
    draft_results(d, s->index, value_map());
    charge_attempt(trial, i, d, true);
  }
  struct attempt_record *r = draft_attempt(d, &trial->record);
  r->state = ATTEMPT_OVER;
  r->ended_us = clock_wall(loop_clock(trial->job->engine->loop));
  r->outcome = draft_text(d, "failed");
  r->error_json = draft_error(d, why, NULL);
  draft_commit(d, trial_settled, trial);
}

static void trial_settled(struct job *job, const struct commit *commit, void *context) {
  struct trial *trial = context;
  struct engine *engine = job->engine;
  uint64_t fence = trial->fence;
  bool lapsed = commit->status == ERR_STALE || commit->status == ERR_CONFLICT || commit->status == ERR_NOT_FOUND;
  if (commit->status && !lapsed && !trial->plain) {
    struct error why = commit->error;
    settle_plainly(trial, &why);
    return;
  }
  for (size_t i = 0; commit->status == ERR_OK && i < trial->stage_count; i++)
    if (job->stages[trial->stages[i].index].record.status == STAGE_PUBLISHING &&
        trial->stages[i].leaving == LEAVING_CHECKED)
      publish_begun(trial, &trial->stages[i]);
  engine->alive--;
  trial_free(&trial);
  publish_sweep(job, fence);
  engine_wake_all(engine);
}

/* A task that was interrupted within its grace and yet came to its end has done its work. */
static bool settle_ended(const struct trial *trial) {
  return trial->outcome.end == ATTEMPT_ENDED || (trial->outcome.end == ATTEMPT_CANCELLED && trial->interrupted);
}

static bool settle_checks(struct trial *trial) {
  bool checking = false;
  if (trial_is_cancelled(trial)) return false; /* cancelled before publishing: outputs are dropped */
  for (size_t i = 0; i < trial->stage_count; i++) {
    struct trial_stage *s = &trial->stages[i];
    bool done = s->verdict == VERDICT_OK && !s->fault.code && s->leaving == LEAVING_NOT;
    bool counts = trial->unit.is_pass ? trial_stage_is_sink(trial, s) : settle_ended(trial);
    if (!done || !counts) continue;
    publish_check(trial, s);
    checking = true;
  }
  return checking;
}

void trial_settle(struct trial *trial) {
  if (!trial->over || trial->pending || trial->settling || trial->job->cancelling) return;
  if (settle_checks(trial)) return;
  trial->settling = true;
  struct draft *d = draft_new(trial->job, trial->fence);
  for (size_t i = 0; i < trial->stage_count; i++) charge_stage(trial, i, d);
  settle_record(trial, d);
  draft_commit(d, trial_settled, trial);
}
