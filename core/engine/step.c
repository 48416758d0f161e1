/* step.c - decides what a job does next: asks the planner, records skips, starts what is ready, sets the alarm for what
 * backs off, and writes down why the rest waits. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/draft.h"
#include "engine/hold.h"
#include "engine/pause.h"
#include "engine/serve.h"

enum { STEP_LOOK_US = 60 * 1000 * 1000, STEP_REASON_SAME = 500 }; /* stored reasons are cut somewhat behind this */

static void job_step(struct job *job);

static void job_step_posted(void *context) {
  struct job *job = context;
  job->step_posted = false;
  if (job->doomed) {
    job_drop(job);
    return;
  }
  job_step(job);
}

void job_wake(struct job *job) {
  if (job->step_posted) return;
  job->step_posted = true;
  loop_post(job->engine->loop, job_step_posted, job);
}

static void job_alarm(void *context) {
  struct job *job = context;
  job->wake = NULL;
  job_wake(job);
}

void job_wake_in(struct job *job, int64_t delay_us) {
  loop_cancel(job->engine->loop, &job->wake);
  job->wake = loop_after(job->engine->loop, delay_us, job_alarm, job);
}

/* ---- skips and stages whose expressions cannot be evaluated ------------------------------------------------------ */

static void step_skip(struct job *job, const struct plan *plan) {
  struct draft *d = draft_new(job, 0);
  for (size_t i = 0; i < plan->skip_count; i++) {
    const struct plan_skip *skip = &plan->skips[i];
    struct stage_record *record = draft_stage(d, skip->stage);
    record->status = STAGE_SKIPPED;
    record->reason = draft_reason(d, skip->reason);
    record->ended_us = clock_wall(loop_clock(job->engine->loop));
    struct value *body = draft_stage_event(job, skip->stage, "skipped");
    value_set_text(body, "reason", skip->reason);
    draft_event(d, "stage", body);
  }
  draft_commit(d, NULL, NULL);
}

void step_fail(struct job *job, size_t stage, const struct error *e) {
  struct draft *d = draft_new(job, 0);
  struct stage_record *record = draft_stage(d, stage);
  record->status = job->pipeline->stages[stage].continue_on_error ? STAGE_SOFT_FAILED : STAGE_FAILED;
  record->error_json = draft_error(d, e, job->pipeline->stages[stage].id);
  record->ended_us = clock_wall(loop_clock(job->engine->loop));
  struct value *body = draft_stage_event(job, stage, "failed");
  value_set_int(body, "attempt", record->attempts ? record->attempts : 1);
  value_set_text(body, "error", e->message);
  value_set_bool(body, "soft", record->status == STAGE_SOFT_FAILED);
  draft_event(d, "stage", body);
  draft_commit(d, NULL, NULL);
}

/* An engine that dies again and again while a stage runs: the losses beyond the bound have used its attempts up. */
static bool step_worn_out(struct job *job) {
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    const struct stage_record *record = &job->stages[i].record;
    if (record->status != STAGE_WAITING || record->attempts < job->pipeline->stages[i].retry.attempts) continue;
    struct error e;
    error_set(&e, ERR_LOST, "the process that ran it was lost %u times while it ran: look at the machine's memory and logs",
              record->lost + record->attempts);
    step_fail(job, i, &e);
    return true;
  }
  return false;
}

/* Filters whose last reader is through have done what they are for. */
static void step_settle(struct job *job, const struct plan *plan) {
  struct draft *d = draft_new(job, 0);
  for (size_t i = 0; i < plan->settled_count; i++) {
    struct stage_record *record = draft_stage(d, plan->settled[i]);
    record->status = STAGE_FINISHED;
    record->ended_us = clock_wall(loop_clock(job->engine->loop));
    struct value *body = draft_stage_event(job, plan->settled[i], "finished");
    value_set_int(body, "durationMs", (record->ended_us - record->started_us) / 1000);
    draft_event(d, "stage", body);
  }
  draft_commit(d, NULL, NULL);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------- */

/* What ends by the wall clock is looked at now and then: somebody may set it. */
static int64_t step_wall_alarm(const struct job *job) {
  const struct clock *clock = loop_clock(job->engine->loop);
  int64_t until_us = hold_alarm_us(job), paused_us = value_get_int(value_get(job->extra, "pause"), "untilUs", 0);
  if (paused_us && (!until_us || paused_us < until_us)) until_us = paused_us;
  if (!until_us) return 0;
  int64_t left_us = until_us - clock_wall(clock);
  if (left_us > STEP_LOOK_US) left_us = STEP_LOOK_US;
  return clock_boot(clock) + (left_us > 0 ? left_us : 0);
}

static void step_alarm(struct job *job) {
  int64_t now_us = clock_boot(loop_clock(job->engine->loop)), soonest_us = step_wall_alarm(job);
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    const struct job_stage *stage = &job->stages[i];
    if (stage->record.status != STAGE_DELAYED || stage->due_boot_us <= now_us) continue; /* due ones wait for a place */
    if (!soonest_us || stage->due_boot_us < soonest_us) soonest_us = stage->due_boot_us;
  }
  loop_cancel(job->engine->loop, &job->wake);
  if (soonest_us) job->wake = loop_at(job->engine->loop, soonest_us, job_alarm, job);
}

/* The job of the same group that has the turn, or NULL. With cancel-in-progress the newcomer ends its elders instead. */
static const char *step_elder(const struct job *job) {
  if (job->engine->serving) {
    const char *holder = turn_holder(job->engine, job->group_digest);
    return holder && strcmp(holder, job->id) != 0 ? holder : NULL;
  }
  for (struct job *other = job->engine->jobs; job->group && other; other = other->next) {
    if (other == job || other->doomed || !other->group || strcmp(other->group, job->group) != 0) continue;
    if (job_status_is_terminal(other->record.status)) continue;
    bool first = other->record.started_us && !job->record.started_us;
    if (first || (strcmp(other->id, job->id) < 0 && !!other->record.started_us == !!job->record.started_us))
      return other->id;
  }
  return NULL;
}

/* Somebody has stopped it, or everything. */
static bool step_stopped(const struct job *job, char *text, size_t size) {
  const struct engine *engine = job->engine;
  const struct pause *pause = pause_of_queue(engine);
  if (!pause) pause = pause_of_pipeline(engine, line_digest(job->record.pipeline));
  if (engine->interrupted)
    snprintf(text, size, "interrupted: %s", engine->serving ? "goes on when the service runs again"
                                                             : "run the same command again to go on");
  else if (engine->draining)
    snprintf(text, size, "the service is being stopped: goes on when it runs again");
  else if (pause_of_extra(engine, job->extra))
    pause_extra_text(job->extra, text, size);
  else if (pause)
    pause_text(pause, text, size);
  else
    return false;
  return true;
}

static void step_wait_reason(const struct job *job, const struct plan *plan, char *text, size_t size) {
  char when[32];
  text[0] = '\0';
  if (job->trouble[0]) {
    snprintf(text, size, "%s", job->trouble);
    return;
  }
  hold_text(job, text, size);
  if (text[0] && !plan->ready_count) return;
  if (step_stopped(job, text, size)) return;
  const char *elder = step_elder(job);
  if (elder) {
    snprintf(text, size, "waits for job %s of the same concurrency group '%s'", elder, job->group);
    return;
  }
  if (plan->ready_count) {
    snprintf(text, size, "%u of %u attempts are running: waits for a free place", job->engine->alive,
             job->engine->max_attempts);
    return;
  }
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    const struct stage_record *record = &job->stages[i].record;
    if (record->status != STAGE_DELAYED) continue;
    snprintf(text, size, "stage '%s' waits until %s for attempt %u of %u", record->stage,
             clock_format(record->not_before_us, when), record->attempts + 1, job->pipeline->stages[i].retry.attempts);
    return;
  }
}

static bool step_has(const struct job *job, enum stage_status status) {
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.status == status) return true;
  return false;
}

static enum job_status step_status(const struct job *job, const struct plan *plan) {
  if (job->trials || step_has(job, STAGE_PUBLISHING)) return JOB_PROCESSING;
  if (step_has(job, STAGE_HELD) && !plan->ready_count && !step_has(job, STAGE_DELAYED)) return JOB_HELD;
  if (pause_of_extra(job->engine, job->extra)) return JOB_PAUSED;
  if (step_has(job, STAGE_DELAYED)) return JOB_RETRYING;
  return plan->ready_count || job->engine->interrupted || job->engine->draining ? JOB_QUEUED : JOB_PROCESSING;
}

/* A status that no other event speaks of is told by itself: who counts jobs by their events counts right. */
static void step_tell_status(struct job *job, struct draft *d, enum job_status status, const char *reason) {
  job->told = status;
  struct value *body = job_state_body(&job->record, status, reason);
  const struct value *pause = value_get(job->extra, "pause");
  int64_t until_us = status == JOB_PAUSED ? value_get_int(pause, "untilUs", 0) : 0;
  char at[32];
  if (until_us) value_set_text(body, "pausedUntil", clock_format(until_us, at));
  for (size_t i = 0; status == JOB_HELD && i < job->pipeline->stage_count; i++) {
    if (job->stages[i].record.status != STAGE_HELD) continue;
    const struct value *hold = value_get(value_get(job->extra, "holds"), job->pipeline->stages[i].id);
    value_set_text(body, "stage", job->pipeline->stages[i].id);
    value_set_text(body, "title", value_get_text(hold, "title", NULL));
    value_set_text(body, "message", value_get_text(hold, "message", NULL));
    if (value_get(hold, "fields")) value_map_set(body, "fields", value_copy(value_get(hold, "fields")));
    break;
  }
  draft_event(d, "state", body);
}

static bool same_text(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

/* Every job that is not running has a stored reason. */
static void step_note(struct job *job, const struct plan *plan) {
  char reason[600];
  enum job_status status = step_status(job, plan);
  if (status == JOB_PROCESSING && !job->trouble[0])
    reason[0] = '\0';
  else
    step_wait_reason(job, plan, reason, sizeof reason);
  struct draft *d = NULL;
  if (job->record.status != status || job->told != status || !same_text(job->record.wait_reason, reason)) {
    d = draft_new(job, 0);
    struct job_record *record = draft_job(d, JOB_SET_STATUS | JOB_SET_WAIT_REASON);
    record->status = status;
    record->wait_reason = draft_reason(d, reason);
    if (job->told != status) step_tell_status(job, d, status, reason);
  }
  for (size_t i = 0; i < plan->wait_count; i++) {
    const struct plan_skip *wait = &plan->waits[i];
    const char *said = job->stages[wait->stage].record.reason;
    if (said && strncmp(said, wait->reason, STEP_REASON_SAME) == 0) continue;
    if (!d) d = draft_new(job, 0);
    draft_stage(d, wait->stage)->reason = draft_reason(d, wait->reason);
  }
  if (d) draft_commit(d, NULL, NULL);
}

/* ---- the step -------------------------------------------------------------------------------------------------------- */

static void step_deadline(void *context) {
  struct job *job = context;
  job->deadline = NULL;
  job_wake(job);
}

/* What is left of the pipeline's time-out; the boot clock counts it once it is known, whatever happens to the wall clock. */
static int64_t step_time_left(struct job *job) {
  const struct clock *clock = loop_clock(job->engine->loop);
  int64_t limit_us = job->pipeline->timeout_us;
  if (!job->overdue_boot_us) {
    int64_t left_us = job->record.started_us + limit_us - clock_wall(clock);
    job->overdue_boot_us = clock_boot(clock) + (left_us > limit_us ? limit_us : left_us < 0 ? 0 : left_us);
  }
  return job->overdue_boot_us - clock_boot(clock);
}

static void step_end_trials(struct job *job) {
  for (struct trial *trial = job->trials; trial; trial = trial->next) {
    if (!trial->attempt || trial->overdue) continue;
    trial->overdue = true;
    attempt_cancel(trial->attempt, false);
  }
}

/* The pipeline's own time-out counts over all attempts, from the job's start. */
static bool step_overdue(struct job *job) {
  if (!job->pipeline->timeout_us || !job->record.started_us || job->record.cancel_requested) return false;
  int64_t left_us = step_time_left(job);
  if (left_us > 0) {
    if (!job->deadline) job->deadline = loop_after(job->engine->loop, left_us, step_deadline, job);
    return false;
  }
  char limit[32];
  struct error e;
  bool failed = false;
  error_set(&e, ERR_TIMEOUT, "the job took longer than the pipeline's timeout of %s",
            clock_human(job->pipeline->timeout_us, limit));
  step_end_trials(job);
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    enum stage_status status = job->stages[i].record.status;
    if (status != STAGE_WAITING && status != STAGE_DELAYED && status != STAGE_HELD) continue;
    step_fail(job, i, &e);
    failed = true;
  }
  return failed;
}

static bool step_has_turn(struct job *job) {
  const char *elder = step_elder(job);
  if (!elder) return !job->engine->serving || turn_take(job);
  struct job *other = job->pipeline->cancel_in_progress ? job_find(job->engine, elder) : NULL;
  if (job->pipeline->cancel_in_progress && !(other && other->record.cancel_requested))
    engine_cancel(job->engine, elder, NULL, NULL);
  return false;
}

static bool unit_is_persons(const struct job *job, const struct plan_unit *unit) {
  return !unit->is_pass && stage_type_can(job->pipeline->stages[unit->stages[0]].type, "person");
}

static void step_start(struct job *job, const struct plan *plan) {
  struct engine *engine = job->engine;
  char why[600];
  bool cleans_up = job->record.cancel_requested; /* what `always` stages do is not put off */
  if (!step_has_turn(job)) return;
  for (size_t i = 0; i < plan->ready_count && !engine->interrupted && !engine->draining; i++) {
    if (!cleans_up && step_stopped(job, why, sizeof why)) return;
    if (unit_is_persons(job, &plan->ready[i])) {
      hold_begin(job, plan->ready[i].stages[0]);
    } else if (engine->crew) {
      job->hungry = engine->alive >= engine->max_attempts;
      if (job->hungry) return;
      trial_begin(job, &plan->ready[i]);
    }
  }
}

/* A pause that is over is forgotten on disk as well. true: the job's state is on its way there. */
static bool step_unpause(struct job *job) {
  if (value_is_null(value_get(job->extra, "pause")) || pause_of_extra(job->engine, job->extra)) return false;
  struct draft *d = draft_new(job, 0);
  extra_drop(job->extra, "pause");
  draft_extra(d);
  draft_commit(d, NULL, NULL);
  return true;
}

static void job_step(struct job *job) {
  /* Only committed state is planned on: every commit wakes the job again when it is on disk. */
  if (job->committing || job->cancelling || job->engine->closing) return;
  if (job_status_is_terminal(job->record.status) || step_unpause(job) || step_overdue(job) || hold_overdue(job) ||
      step_worn_out(job))
    return;
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  struct plan plan = {0};
  struct error e;
  bool rests = false;
  if (plan_next(&state, &plan, &e)) {
    job_hold(job->engine, job->id, &e);
    if (job->engine->serving) job_drop(job);
  } else if (plan.bad_stage != SIZE_MAX) {
    step_fail(job, plan.bad_stage, &plan.bad_error);
  } else if (plan.skip_count) {
    step_skip(job, &plan);
  } else if (plan.settled_count) {
    step_settle(job, &plan);
  } else if (plan.end != PLAN_GOES_ON) {
    /* A sink that finished early may be published before its attempt is over: the job ends with the last attempt. */
    if (!job->trials) job_finish(job, &plan);
  } else {
    step_start(job, &plan);
    step_alarm(job);
    if (!job->committing) step_note(job, &plan);
    rests = !job->committing;
  }
  plan_clear(&plan);
  free(steps);
  if (rests) serve_rest(job);
}
