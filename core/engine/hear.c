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

/* *bad: the stage whose parameters cannot be settled. */
static enum err prologue_params(struct trial *trial, const bool *drop, struct value *go, size_t *bad, struct error *e) {
  struct value *all = value_map();
  value_map_set(go, "params", all);
  for (size_t i = 0; i < trial->stage_count; i++) {
    if (drop[i] || !trial->unit.late[i]) continue;
    struct value *params = trial_settings(trial->job, trial->stages[i].index, e);
    if (!params) {
      error_prefix(e, "stage '%s'", trial_stage_id(trial, &trial->stages[i]));
      *bad = i;
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
  record->reason = draft_reason(d, reason);
  record->ended_us = clock_wall(loop_clock(trial->job->engine->loop));
  struct value *body = draft_stage_event(trial->job, stage->index, "skipped");
  value_set_text(body, "reason", record->reason);
  draft_event(d, "stage", body);
}

/* Ends an attempt whose change the store refused. One that no longer counts just goes; else its stages fail with the
 * reason. */
static void prologue_refused(struct trial *trial, const struct commit *commit) {
  if (commit->status != ERR_STALE && commit->status != ERR_CONFLICT) {
    trial->trouble = commit->error;
    trial->trouble.code = commit->status;
  }
  if (trial->attempt) attempt_cancel(trial->attempt, true);
}

static void prologue_go(struct job *job, const struct commit *commit, void *context) {
  struct trial *trial = context;
  struct error e;
  trial->pending--;
  if (commit->status)
    prologue_refused(trial, commit);
  else if (trial->attempt && attempt_go(trial->attempt, trial->go, &e))
    log_warning("job %s: %s", job->id, e.message);
  value_free(&trial->go);
  trial_settle(trial);
}

static enum err prologue_plan(struct trial *trial, struct draft *d, size_t *bad, struct error *e) {
  struct job *job = trial->job;
  bool drop[UNIT_STAGES_MAX] = {false};
  char *reasons[UNIT_STAGES_MAX] = {NULL};
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  struct value *list = value_list();
  trial->go = value_map();
  value_map_set(trial->go, "drop", list);
  enum err err = plan_prologue(&state, &trial->unit, drop, reasons, e);
  if (!err) err = prologue_params(trial, drop, trial->go, bad, e);
  for (size_t i = 0; i < trial->stage_count; i++) {
    if (!err && drop[i]) {
      value_list_add(list, value_int((int64_t)i));
      prologue_drop(trial, i, reasons[i], d);
    }
    free(reasons[i]);
  }
  free(steps);
  return err;
}

/* The stage whose own words cannot be settled fails, or all late ones when it is not clear which; the rest begin again
 * without it. */
static void prologue_fail(struct trial *trial, size_t bad, const struct error *e) {
  log_warning("job %s: %s", trial->job->id, e->message);
  for (size_t i = 0; i < trial->stage_count; i++) {
    if (bad == SIZE_MAX ? !trial->unit.late[i] : i != bad) continue;
    trial->stages[i].verdict = VERDICT_FAIL;
    snprintf(trial->stages[i].message, sizeof trial->stages[i].message, "%s", e->message);
  }
  attempt_cancel(trial->attempt, true);
}

/* `open` results are on disk: decide which late stages stay, with what parameters. */
static void prologue_decide(struct job *job, const struct commit *commit, void *context) {
  struct trial *trial = context;
  trial->pending--;
  if (!trial->attempt || commit->status) {
    if (commit->status) prologue_refused(trial, commit);
    trial_settle(trial);
    return;
  }
  struct draft *d = draft_new(job, trial->fence);
  size_t bad = SIZE_MAX;
  struct error e;
  if (prologue_plan(trial, d, &bad, &e)) prologue_fail(trial, bad, &e);
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

static size_t json_size(const struct value *v) {
  struct buf text = {0};
  value_json(&text, v, VALUE_JSON_COMPACT);
  size_t size = text.size;
  buf_free(&text);
  return size;
}

/* Results live in the store and in every event about the stage. What is larger belongs into a file of its own. */
static bool results_have_room(struct trial_stage *stage, const char *key, const struct value *v) {
  size_t size = strlen(key) + json_size(v) + 4;
  if (stage->result_bytes + size > RESULTS_BYTES_MAX) {
    stage->result_bytes = json_size(stage->results); /* some may have been given twice */
    const struct value *old = value_get(stage->results, key);
    if (old) stage->result_bytes -= json_size(old);
  }
  stage->result_bytes += size;
  return stage->result_bytes <= RESULTS_BYTES_MAX;
}

static void hear_result(struct trial *trial, struct trial_stage *stage, const struct value *body) {
  const char *key = value_get_text(body, "key", "");
  const struct stage_type *type = trial->job->pipeline->stages[stage->index].type;
  if (!stage_type_result(type, key) || stage->fault.code) return;
  if (results_have_room(stage, key, value_get(body, "value")))
    value_map_set(stage->results, key, value_copy(value_get(body, "value")));
  else
    error_set(&stage->fault, ERR_TOO_LARGE, "the results of stage '%s' take more than %d KiB, with '%.64s': a stage "
              "writes what is that large into an artifact", trial_stage_id(trial, stage), RESULTS_BYTES_MAX / 1024, key);
}

static void hear_output(struct trial *trial, struct trial_stage *stage, const struct value *body) {
  (void)trial;
  if (stage->outputs->count < MANIFEST_FILES_MAX) value_list_add(stage->outputs, value_copy(body));
}

static void hear_checkpoint(struct trial *trial, struct trial_stage *stage, const struct value *body) {
  mem_auto char *value = mem_text(value_get_text(body, "value", ""));
  log_scrub(value);
  store_checkpoint(trial->job->engine->store, trial->job->id, trial_stage_id(trial, stage), trial->fence,
                   value_get_text(body, "key", ""), value, NULL, NULL);
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
  /* What a stage says when it is asked to stop is no failure of its own. */
  if (trial->interrupted && stage->verdict != VERDICT_OK) stage->verdict = VERDICT_CANCELLED;
  if (stage->fault.code) return;
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
  const struct stage_type *type = stage ? trial->job->pipeline->stages[stage->index].type : NULL;
  char fence[24];
  snprintf(fence, sizeof fence, "%llu", (unsigned long long)trial->fence);
  log_context(trial->job->id, stage ? trial_stage_id(trial, stage) : NULL, fence, type ? type->plugin_id : NULL);
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
