/* charge.c - whose fault is it? What the end of an attempt means for each of its stages: a pure decision over what the
 * attempt said and how it ended. settle.c carries it out. */
#include "engine/job.h"

/* ---- culprits ------------------------------------------------------------------------------------------------------ */

static bool stage_is_out(const struct trial_stage *s) { return s->leaving == LEAVING_GONE || s->unneeded; }

static bool trial_has_culprit(const struct trial *trial) {
  for (size_t i = 0; i < trial->stage_count; i++) {
    const struct trial_stage *s = &trial->stages[i];
    if (stage_is_out(s)) continue;
    if (s->fault.code || s->verdict == VERDICT_RETRY || s->verdict == VERDICT_FAIL) return true;
  }
  return false;
}

static bool error_is_the_worlds(enum err code) {
  return code == ERR_NO_SPACE || code == ERR_IO || code == ERR_BUSY || code == ERR_LOST || code == ERR_TIMEOUT ||
         code == ERR_NOT_FOUND;
}

/* A stage that is through already cannot be what crashed the rest: then, as without any suspect, nobody is spared. */
static enum charge charge_for_crash(const struct trial *trial, size_t i) {
  int32_t suspect = trial->outcome.suspect;
  bool named = suspect >= 0 && (size_t)suspect < trial->stage_count && !stage_is_out(&trial->stages[suspect]);
  if (trial->stage_count == 1 || !named) return CHARGE_RETRY;
  if ((size_t)suspect != i) return CHARGE_NOTHING;
  return trial->job->stages[trial->stages[i].index].record.suspect ? CHARGE_RETRY : CHARGE_SUSPECT;
}

static int64_t stage_timeout_us(const struct trial *trial, size_t i) {
  return trial->job->pipeline->stages[trial->stages[i].index].timeout_us;
}

/* The shortest among those that are not through: theirs ended the attempt. */
static enum charge charge_for_timeout(const struct trial *trial, size_t i) {
  int64_t least_us = INT64_MAX;
  for (size_t k = 0; k < trial->stage_count; k++) {
    int64_t timeout_us = stage_timeout_us(trial, k);
    if (!stage_is_out(&trial->stages[k]) && timeout_us && timeout_us < least_us) least_us = timeout_us;
  }
  return least_us == INT64_MAX || stage_timeout_us(trial, i) == least_us ? CHARGE_RETRY : CHARGE_NOTHING;
}

/* ---- how it ended -------------------------------------------------------------------------------------------------- */

static enum charge charge_for_trouble(const struct trial *trial) {
  return error_is_the_worlds(trial->trouble.code) ? CHARGE_RETRY : CHARGE_FAIL;
}

static enum charge charge_for_end(const struct trial *trial, size_t i) {
  switch (trial->outcome.end) {
  case ATTEMPT_ENDED: return trial_has_culprit(trial) ? CHARGE_NOTHING : CHARGE_RETRY;
  case ATTEMPT_CANCELLED:
    if (trial->overdue || trial_has_culprit(trial)) return CHARGE_NOTHING;
    return trial->trouble.code ? charge_for_trouble(trial) : CHARGE_RETRY;
  case ATTEMPT_CRASHED:
  case ATTEMPT_EXITED: return charge_for_crash(trial, i);
  case ATTEMPT_LOST: return CHARGE_LOST;
  case ATTEMPT_REFUSED: return error_is_the_worlds(trial->outcome.error.code) ? CHARGE_RETRY : CHARGE_FAIL;
  case ATTEMPT_TIMED_OUT: return charge_for_timeout(trial, i);
  case ATTEMPT_PROTOCOL: return trial->stage_count == 1 ? CHARGE_FAIL : charge_for_crash(trial, i);
  default: return CHARGE_RETRY; /* stalled, out of memory, over its quota: no clear owner, so everybody who is not through */
  }
}

bool trial_is_cancelled(const struct trial *trial) {
  return trial->job->record.cancel_requested && !trial->late_stages;
}

static enum charge charge_alone(const struct trial *trial, size_t i) {
  const struct trial_stage *s = &trial->stages[i];
  bool cancelled = trial_is_cancelled(trial);
  if (s->leaving == LEAVING_GONE) return CHARGE_GONE;
  if (s->unneeded) return CHARGE_NOTHING;
  if (s->leaving == LEAVING_CHECKED) return cancelled ? CHARGE_CANCEL : CHARGE_DONE;
  if (cancelled) return CHARGE_CANCEL;
  if (s->fault.code) return error_is_the_worlds(s->fault.code) ? CHARGE_RETRY : CHARGE_FAIL;
  if (s->verdict == VERDICT_RETRY) return CHARGE_RETRY;
  if (s->verdict == VERDICT_FAIL) return CHARGE_FAIL;
  if (trial->interrupted) return CHARGE_NOTHING;
  if (s->verdict == VERDICT_OK && trial->unit.is_pass) return CHARGE_NOTHING; /* a filter: done when its readers are */
  return charge_for_end(trial, i);
}

/* An attempt that brought nothing and cost nobody anything would be started again at once, for ever. */
static bool trial_is_futile(const struct trial *trial) {
  if (trial->interrupted || trial->overdue) return false;
  for (size_t i = 0; i < trial->stage_count; i++)
    if (charge_alone(trial, i) != CHARGE_NOTHING) return false;
  return true;
}

enum charge charge_of(const struct trial *trial, size_t i) {
  enum charge charge = charge_alone(trial, i);
  if (charge != CHARGE_NOTHING || trial->stages[i].unneeded || !trial_is_futile(trial)) return charge;
  return CHARGE_RETRY;
}

void charge_error(const struct trial *trial, size_t i, struct error *e) {
  const struct trial_stage *s = &trial->stages[i];
  if (s->fault.code) {
    *e = s->fault;
  } else if (s->verdict == VERDICT_RETRY || s->verdict == VERDICT_FAIL) {
    error_set(e, s->verdict == VERDICT_RETRY ? ERR_IO : ERR_INVALID, "%s",
              s->message[0] ? s->message : "the stage failed without saying why");
    error_debug(e, "%s", s->debug);
  } else if (trial->trouble.code) {
    *e = trial->trouble;
  } else if (trial->outcome.error.message[0]) {
    *e = trial->outcome.error;
  } else {
    error_set(e, ERR_INTERNAL, "the attempt ended without a verdict of this stage");
  }
}
