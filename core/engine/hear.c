/* hear.c - what an attempt says while it lives. Bodies were checked for shape by the crew; what they mean is checked here. */
#include <stagemill/abi.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/draft.h"

static struct trial_stage *trial_stage_of(struct trial *trial, int32_t stage) {
  if (stage < 0 || (size_t)stage >= trial->stage_count) return NULL;
  return &trial->stages[stage];
}

static const char *trial_stage_id(const struct trial *trial, const struct trial_stage *stage) {
  return trial->job->pipeline->stages[stage->index].id;
}

/* ---- the prologue of a pass ------------------------------------------------------------------------------------ */

static enum err prologue_params(struct trial *trial, const bool *drop, struct value *go, struct error *e) {
  struct value *all = value_map();
  value_map_set(go, "params", all);
  for (size_t i = 0; i < trial->stage_count; i++) {
    if (drop[i] || !trial->unit.late[i]) continue;
    struct value *params = trial_settings(trial->job, trial->stages[i].index, e);
    if (!params) {
      error_prefix(e, "stage '%s'", trial_stage_id(trial, &trial->stages[i]));
      return e->code;
    }
    mem_auto char *key = mem_format("%zu", i);
    value_map_set(all, key, params);
  }
  return ERR_OK;
}

static void prologue_drop(struct trial *trial, size_t i, const char *reason, struct draft *d) {
  struct trial_stage *stage = &trial->stages[i];
  if (!reason) {
    stage->unneeded = true;
    return;
  }
  struct stage_record *record = draft_stage(d, stage->index);
  stage->leaving = LEAVING_GONE;
  record->status = STAGE_SKIPPED;
  record->reason = draft_text(d, reason);
  record->ended_us = clock_wall(loop_clock(trial->job->engine->loop));
  struct value *body = draft_stage_event(trial->job, stage->index, "skipped");
  value_set_text(body, "reason", record->reason);
  draft_event(d, "stage", body);
}

static void prologue_go(struct job *job, const struct commit *commit, void *context) {
  struct trial *trial = context;
  struct error e;
  trial->pending--;
  if (trial->attempt && commit->status)
    attempt_cancel(trial->attempt, true);
  else if (trial->attempt && attempt_go(trial->attempt, trial->go, &e))
    log_warning("job %s: %s", job->id, e.message);
  value_free(&trial->go);
  trial_settle(trial);
}

/* `open` results are on disk: decide which late stages stay, with what parameters. */
static void prologue_decide(struct job *job, const struct commit *commit, void *context) {
  struct trial *trial = context;
  trial->pending--;
  if (!trial->attempt || commit->status) {
    if (trial->attempt) attempt_cancel(trial->attempt, true);
    trial_settle(trial);
    return;
  }
  bool drop[UNIT_STAGES_MAX] = {false};
  char *reasons[UNIT_STAGES_MAX] = {NULL};
  struct error e;
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  trial->go = value_map();
  struct value *list = value_list();
  value_map_set(trial->go, "drop", list);
  struct draft *d = draft_new(job, trial->fence);
  enum err err = plan_prologue(&state, &trial->unit, drop, reasons, &e);
  if (!err) err = prologue_params(trial, drop, trial->go, &e);
  for (size_t i = 0; i < trial->stage_count; i++) {
    if (!err && drop[i]) {
      value_list_add(list, value_int((int64_t)i));
      prologue_drop(trial, i, reasons[i], d);
    }
    free(reasons[i]);
  }
  free(steps);
  if (err) {
    log_warning("job %s: %s", job->id, e.message);
    for (size_t i = 0; i < trial->stage_count; i++)
      if (trial->unit.late[i]) {
        trial->stages[i].verdict = VERDICT_FAIL;
        snprintf(trial->stages[i].message, sizeof trial->stages[i].message, "%s", e.message);
      }
    attempt_cancel(trial->attempt, true);
  }
  trial->pending++;
  draft_commit(d, prologue_go, trial);
}

static void hear_opened(struct trial *trial, const struct message *m) {
  struct draft *d = draft_new(trial->job, trial->fence);
  value_free(&trial->opened);
  trial->opened = value_copy(m->body);
  for (size_t i = 0; i < trial->stage_count; i++)
    if (trial->stages[i].results->count)
      draft_results(d, trial->stages[i].index, value_copy(trial->stages[i].results));
  trial->pending++;
  draft_commit(d, prologue_decide, trial);
}

/* ---- results and outputs ------------------------------------------------------------------------------------------ */

static void hear_result(struct trial *trial, struct trial_stage *stage, const struct value *body) {
  const char *key = value_get_text(body, "key", "");
  const struct stage_type *type = trial->job->pipeline->stages[stage->index].type;
  if (!stage_type_result(type, key)) return;
  value_map_set(stage->results, key, value_copy(value_get(body, "value")));
}

static void hear_output(struct trial *trial, struct trial_stage *stage, const struct value *body) {
  (void)trial;
  if (stage->outputs->count < MANIFEST_FILES_MAX) value_list_add(stage->outputs, value_copy(body));
}

static void hear_checkpoint(struct trial *trial, struct trial_stage *stage, const struct value *body) {
  store_checkpoint(trial->job->engine->store, trial->job->id, trial_stage_id(trial, stage), trial->fence,
                   value_get_text(body, "key", ""), value_get_text(body, "value", ""), NULL, NULL);
}

static enum verdict verdict_of(int64_t status) {
  switch (status) {
  case SM_OK:
  case SM_DONE: return VERDICT_OK;
  case SM_RETRY: return VERDICT_RETRY;
  case SM_CANCELLED: return VERDICT_CANCELLED;
  default: return VERDICT_FAIL;
  }
}

static void hear_verdict(struct trial *trial, struct trial_stage *stage, const struct value *body) {
  if (stage->verdict != VERDICT_NONE) return;
  stage->verdict = verdict_of(value_get_int(body, "status", SM_FAIL));
  snprintf(stage->message, sizeof stage->message, "%s", value_get_text(body, "message", ""));
  snprintf(stage->debug, sizeof stage->debug, "%s", value_get_text(body, "debug", ""));
  /* A sink that is through is committed at once: the next attempt, should there be one, goes without it. */
  if (stage->verdict == VERDICT_OK && trial_stage_is_sink(trial, stage)) publish_check(trial, stage);
}

/* ---- callbacks ------------------------------------------------------------------------------------------------------ */

static void trial_started(void *context, struct attempt *a, int pid) {
  struct trial *trial = context;
  (void)a;
  trial->record.pid = pid;
  struct change change = {.job = trial->job->id, .fence = trial->fence, .attempt = &trial->record};
  store_change(trial->job->engine->store, &change, NULL, NULL);
}

static void trial_message(void *context, struct attempt *a, const struct message *m) {
  struct trial *trial = context;
  (void)a;
  struct trial_stage *stage = trial_stage_of(trial, m->stage);
  if (m->type == MESSAGE_OPENED) hear_opened(trial, m);
  if (!stage || stage->leaving != LEAVING_NOT) return;
  switch (m->type) {
  case MESSAGE_RESULT: hear_result(trial, stage, m->body); break;
  case MESSAGE_OUTPUT: hear_output(trial, stage, m->body); break;
  case MESSAGE_CHECKPOINT: hear_checkpoint(trial, stage, m->body); break;
  case MESSAGE_TITLE: progress_message(trial, stage->index, value_get_text(m->body, "text", "")); break;
  case MESSAGE_VERDICT: hear_verdict(trial, stage, m->body); break;
  default: break;
  }
}

static void trial_progress(void *context, struct attempt *a, const struct attempt_progress *p) {
  (void)a;
  progress_heard(context, p);
}

static void trial_log(void *context, struct attempt *a, int32_t index, int level, const char *line) {
  struct trial *trial = context;
  (void)a;
  struct trial_stage *stage = trial_stage_of(trial, index);
  log_context(trial->job->id, stage ? trial_stage_id(trial, stage) : NULL, NULL, NULL);
  log_line(level < LOG_LEVEL_DEBUG || level > LOG_LEVEL_ERROR ? LOG_LEVEL_INFO : (enum log_level)level, "%s", line);
  log_context(NULL, NULL, NULL, NULL);
}

static void trial_ended(void *context, struct attempt *a, const struct attempt_outcome *outcome) {
  struct trial *trial = context;
  (void)a;
  trial->attempt = NULL;
  trial->over = true;
  trial->outcome.end = outcome->end;
  trial->outcome.error = outcome->error;
  trial->outcome.suspect = outcome->suspect;
  trial->outcome.cpu_us = outcome->cpu_us;
  trial->outcome.max_rss_bytes = outcome->max_rss_bytes;
  trial->outcome.wall_us = outcome->wall_us;
  trial->outcome.log_tail = mem_text(outcome->log_tail);
  trial->stats = outcome->stats ? value_copy(outcome->stats) : NULL;
  trial_settle(trial);
}

const struct attempt_callbacks trial_callbacks = {
    .started = trial_started,
    .message = trial_message,
    .progress = trial_progress,
    .log = trial_log,
    .ended = trial_ended,
};
