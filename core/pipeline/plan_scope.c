/* plan_scope.c - what expressions see: parameters, the job's facts, secrets, and what the stages have said so far. */
#include <string.h>

#include "pipeline/plan_graph.h"

static struct value *scope_stage(const struct plan_state *state, const struct reference *r) {
  size_t index = pipeline_index(state->pipeline, r->name);
  if (index == SIZE_MAX || !r->key) return value_null();
  const struct step *step = &state->steps[index];
  if (!strcmp(r->key, "status")) return value_text(step_state_word(step->state));
  const struct value *found = NULL;
  if (step->state == STEP_SOFT_FAILED)
    found = value_get(state->pipeline->stages[index].fallback, r->key);
  else if (step->state == STEP_FINISHED || step->state == STEP_RUNNING)
    found = value_get(step->results, r->key);
  return value_copy(found);
}

static struct value *scope_secret(const struct plan_state *state, const char *name) {
  struct value *v = state->secret ? state->secret(state->secret_context, name) : NULL;
  if (!v) return value_null();
  if (v->type == VALUE_TEXT) v->secret = true; /* whatever the caller's function forgot */
  return v;
}

static struct value *scope_lookup(void *context, const struct reference *r) {
  const struct plan_state *state = context;
  switch (r->kind) {
  case REFERENCE_PARAM: return value_copy(value_get(state->params, r->name));
  case REFERENCE_STAGE: return scope_stage(state, r);
  case REFERENCE_JOB: return value_copy(value_get(state->job, r->name));
  case REFERENCE_SECRET: return scope_secret(state, r->name);
  }
  return value_null();
}

/* Status functions speak of the whole job, as in a workflow's steps: failure() is true once a stage has failed hard. */
static bool scope_status(void *context, const char *function) {
  const struct plan_state *state = context;
  bool failed = false;
  for (size_t i = 0; i < state->pipeline->stage_count; i++) failed |= state->steps[i].state == STEP_FAILED;
  if (!strcmp(function, "always")) return true;
  if (!strcmp(function, "cancelled")) return state->cancelled;
  if (!strcmp(function, "failure")) return failed && !state->cancelled;
  if (!strcmp(function, "success")) return !failed && !state->cancelled;
  return false;
}

struct scope plan_scope(const struct plan_state *state) {
  return (struct scope){.lookup = scope_lookup, .status = scope_status, .context = (void *)(uintptr_t)state};
}
