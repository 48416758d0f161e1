/* plan_gate.c - may a stage run now, later or never? The rules, in the order in which they are asked:
 *
 *   1. it waits until everything in after[] is over; a stage of the same pass only has to be in that pass (frames), or
 *      to have opened the source (`open` results);
 *   2. the job is being cancelled: skipped, unless `always`; a stage it waits for failed, was cancelled, or was skipped
 *      because of a failure: skipped, unless `always`, `on-failure`; an `if` that asks always(), failure() or
 * cancelled() decides alone in both cases;
 *   3. an input of which nothing is left (producers skipped, or failed softly): skipped, unless the port is optional;
 *      a `needs` without data that was skipped: skipped;
 *   4. `if` is false: skipped.
 * Results of skipped and softly failed stages are null (or the fallback) for those who only read them. */
#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/plan_graph.h"

static void gate_set(struct gate *gate, enum gate_answer answer, char *moved_reason) {
  gate->answer = answer;
  free(gate->reason);
  gate->reason = moved_reason;
}

void gate_clear(struct gate *gate) {
  free(gate->reason);
  free(gate->late_on);
  memset(gate, 0, sizeof *gate);
}

static const char *id_of(const struct graph *g, size_t stage) { return g->p->stages[stage].id; }

/* ---- conditions -------------------------------------------------------------------------------------------------- */

enum err gate_condition(const struct plan_state *state, size_t stage, bool *yes, struct error *e) {
  const struct pipeline_stage *s = &state->pipeline->stages[stage];
  struct scope scope = plan_scope(state);
  value_auto struct value *v = NULL;
  *yes = true;
  if (!s->condition) return ERR_OK;
  enum err err = expr_eval(s->condition, &scope, &v, e);
  if (err)
    error_prefix(e, "stage `%s`, if", s->id);
  else
    *yes = value_truthy(v);
  return err;
}

char *gate_condition_reason(const struct pipeline *p, size_t stage) {
  return mem_format("if: %s is false", expr_text(p->stages[stage].condition));
}

/* ---- forecasts: what parameters alone decide --------------------------------------------------------------------- */

struct knowing { /* a scope that notices when a stage is asked about */
  struct scope inner;
  bool asked;
};

static struct value *knowing_lookup(void *context, const struct reference *r) {
  struct knowing *knowing = context;
  knowing->asked |= r->kind == REFERENCE_STAGE;
  return knowing->inner.lookup(knowing->inner.context, r);
}

static bool knowing_status(void *context, const char *function) {
  struct knowing *knowing = context;
  return knowing->inner.status(knowing->inner.context, function);
}

bool gate_is_open_question(const struct plan_state *state, size_t stage) {
  struct knowing knowing = {.inner = plan_scope(state)};
  struct scope scope = {knowing_lookup, knowing_status, &knowing};
  value_auto struct value *v = NULL;
  struct error ignored;
  const struct expr *condition = state->pipeline->stages[stage].condition;
  if (condition) expr_eval(condition, &scope, &v, &ignored);
  return knowing.asked; /* `&&` and `||` ask no further once they are decided */
}

struct late_search {
  const struct graph *g;
  const bool *late_on;
  bool found;
};

static void find_late(void *context, const struct reference *r) {
  struct late_search *search = context;
  size_t index = r->kind == REFERENCE_STAGE ? pipeline_index(search->g->p, r->name) : SIZE_MAX;
  if (index != SIZE_MAX && search->late_on[index]) search->found = true;
}

static bool condition_is_late(const struct graph *g, size_t stage, const struct gate *gate) {
  struct late_search search = {g, gate->late_on, false};
  if (gate->late_on) expr_references(g->p->stages[stage].condition, find_late, &search);
  return search.found;
}

static bool gate_if(const struct graph *g, size_t stage, struct gate *gate) {
  if (!g->p->stages[stage].condition || condition_is_late(g, stage, gate)) return true;
  if (g->forecast && gate_is_open_question(g->state, stage)) return true;
  bool yes;
  if (gate_condition(g->state, stage, &yes, &gate->error)) {
    gate_set(gate, GATE_BROKEN, NULL);
    return false;
  }
  if (!yes) gate_set(gate, GATE_SKIP, gate_condition_reason(g->p, stage));
  return yes;
}

/* An `if` that asks always(), failure() or cancelled() replaces the silent "only on success": it decides alone. */
static bool decides_alone(const struct graph *g, size_t stage) {
  const struct expr *condition = g->p->stages[stage].condition;
  return condition && expr_runs_after_failure(condition);
}

static bool is_ordinary(const struct graph *g, size_t stage) {
  return g->p->stages[stage].when == RUN_ON_SUCCESS && !decides_alone(g, stage);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* May `stage` share a pass with `other` although it hangs on it? */
static bool may_share_pass(const struct graph *g, size_t stage, size_t other) {
  unsigned links = graph_link(g, stage, other);
  if (!graph_is_media(g, stage) || !graph_is_media(g, other)) return false;
  if (links & (LINK_DATA | LINK_END | LINK_STATUS)) return false;
  return (links & LINK_FEED) || links == LINK_OPEN;
}

/* An ordinary stage behind it would wait for it and be waited for: then it is not meant for the end. */
bool gate_is_last(const struct graph *g, size_t stage) {
  if (is_ordinary(g, stage) || g->p->stages[stage].after_count) return false;
  for (size_t j = 0; j < g->count; j++)
    if (graph_reaches(g, j, stage) && is_ordinary(g, j)) return false;
  return true;
}

static bool gate_wait_for(const struct graph *g, size_t other, struct gate *gate) {
  gate->waits_for = other;
  gate_set(gate, GATE_WAIT, mem_format("waits for `%s`", id_of(g, other)));
  return false;
}

/* A filter is over when its sinks are: waiting for those is enough, and one of them may wait for this stage. */
static bool gate_wait_for_all(const struct graph *g, size_t stage, struct gate *gate) {
  for (size_t j = 0; j < g->count; j++) {
    bool filter = g->p->stages[j].type->kind == SM_KIND_FILTER;
    if (j == stage || filter || !is_ordinary(g, j) || step_is_over(g->now[j])) continue;
    return gate_wait_for(g, j, gate);
  }
  return true;
}

static bool gate_waits(const struct graph *g, size_t stage, struct gate *gate) {
  const struct pipeline_stage *s = &g->p->stages[stage];
  if (gate_is_last(g, stage)) return gate_wait_for_all(g, stage, gate);
  for (size_t i = 0; i < s->after_count; i++) {
    size_t j = s->after[i];
    if (step_is_over(g->now[j])) continue;
    if (!may_share_pass(g, stage, j)) return gate_wait_for(g, j, gate);
    if (!(graph_link(g, stage, j) & LINK_OPEN)) continue;
    if (!gate->late_on) gate->late_on = mem_array(g->count + 1, sizeof *gate->late_on);
    gate->late_on[j] = true;
  }
  return true;
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static const char *failure_word(const struct graph *g, size_t stage) {
  if (g->now[stage] == STEP_FAILED) return "failed";
  if (g->now[stage] == STEP_CANCELLED) return "was cancelled";
  return graph_is_tainted(g, stage) ? "was skipped after a failure" : NULL;
}

static bool gate_success(const struct graph *g, size_t stage, struct gate *gate) {
  const struct pipeline_stage *s = &g->p->stages[stage];
  for (size_t i = 0; i < s->after_count; i++) {
    const char *word = failure_word(g, s->after[i]);
    if (!word) continue;
    gate_set(gate, GATE_SKIP, mem_format("stage `%s` %s", id_of(g, s->after[i]), word));
    return false;
  }
  return true;
}

static bool gate_on_failure(const struct graph *g, size_t stage, struct gate *gate) {
  bool any = !g->p->stages[stage].after_count;
  for (size_t j = 0; j < g->count; j++)
    if (g->now[j] == STEP_FAILED && (any || graph_reaches(g, stage, j))) return true;
  gate_set(gate, GATE_SKIP, mem_text(any ? "on-failure: no stage failed" : "on-failure: nothing it waits for failed"));
  return false;
}

static bool gate_when(const struct graph *g, size_t stage, struct gate *gate) {
  switch (g->p->stages[stage].when) {
  case RUN_ALWAYS: return true;
  case RUN_ON_FAILURE: return gate_on_failure(g, stage, gate);
  case RUN_ON_SUCCESS: break;
  }
  return decides_alone(g, stage) || gate_success(g, stage, gate);
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static const char *absence_word(const struct graph *g, size_t stage) {
  switch (g->now[stage]) {
  case STEP_SOFT_FAILED: return "failed softly";
  case STEP_FAILED: return "failed";
  case STEP_CANCELLED: return "was cancelled";
  default: return "was skipped";
  }
}

/* The stage whose absence leaves this connection empty; SIZE_MAX: it is not empty. */
static size_t binding_lost(const struct graph *g, const struct binding *b) {
  struct feed feed;
  return graph_feed(g, b, NULL, &feed) ? feed.lost : SIZE_MAX;
}

/* Is nothing left of the port that binding `first` belongs to? Asked at the port's first binding only. */
static bool port_is_empty(const struct graph *g, const struct pipeline_stage *s, size_t first, size_t *lost) {
  const struct port_type *port = s->bindings[first].port;
  for (size_t i = 0; i < first; i++)
    if (s->bindings[i].port == port) return false;
  for (size_t i = first; i < s->binding_count; i++) {
    if (s->bindings[i].port != port) continue;
    size_t one = binding_lost(g, &s->bindings[i]);
    if (one == SIZE_MAX) return false;
    if (i == first) *lost = one;
  }
  return true;
}

static bool gate_inputs(const struct graph *g, size_t stage, struct gate *gate) {
  const struct pipeline_stage *s = &g->p->stages[stage];
  for (size_t i = 0; i < s->binding_count; i++) {
    const struct port_type *port = s->bindings[i].port;
    size_t lost = SIZE_MAX;
    if (!port || (port->flags & SM_PORT_OPTIONAL) || !port_is_empty(g, s, i, &lost)) continue;
    gate_set(gate, GATE_SKIP,
             mem_format("nothing arrives at its input `%s`: stage `%s` %s", port->name, id_of(g, lost),
                        absence_word(g, lost)));
    return false;
  }
  return true;
}

static bool gate_frames(const struct graph *g, size_t stage, struct gate *gate) {
  struct reach r;
  if (!graph_is_root(g, stage)) return true;
  reach_of(g, stage, &r);
  if (r.mixed) {
    error_set(&gate->error, ERR_INVALID,
              "stage `%s` takes frames of two different sources: one pass reads one source; give it inputs of one",
              id_of(g, stage));
    gate_set(gate, GATE_BROKEN, NULL);
  } else if (!r.found) {
    gate_set(gate, GATE_SKIP, mem_text("no frames reach it: what made them was skipped or failed"));
  }
  reach_clear(&r);
  return r.found && !r.mixed;
}

static bool gate_needs(const struct graph *g, size_t stage, struct gate *gate) {
  const struct pipeline_stage *s = &g->p->stages[stage];
  for (size_t i = 0; i < s->needs_count && is_ordinary(g, stage); i++) {
    size_t j = s->needs[i];
    if (g->now[j] != STEP_SKIPPED || graph_link(g, stage, j) & (LINK_DATA | LINK_FEED)) continue;
    gate_set(gate, GATE_SKIP, mem_format("needs `%s`, which was skipped", id_of(g, j)));
    return false;
  }
  return true;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

/* While a job is being cancelled only `always` stages may start, and those whose `if` asks for it: they decide. Asked
 * after the waiting: an `always` stage must not start while what its predecessors waited for is still ending. */
static bool gate_cancelled(const struct graph *g, size_t stage, struct gate *gate) {
  if (!g->state->cancelled || g->p->stages[stage].when == RUN_ALWAYS || decides_alone(g, stage)) return true;
  gate_set(gate, GATE_SKIP, mem_text("the job was cancelled"));
  return false;
}

void gate_decide(const struct graph *g, size_t stage, struct gate *gate) {
  *gate = (struct gate){.answer = GATE_GO, .waits_for = SIZE_MAX};
  bool may = gate_waits(g, stage, gate) && gate_cancelled(g, stage, gate) && gate_when(g, stage, gate) &&
             gate_inputs(g, stage, gate) && gate_frames(g, stage, gate) && gate_needs(g, stage, gate) &&
             gate_if(g, stage, gate);
  if (may && gate->late_on) gate->answer = GATE_LATE;
}

bool gate_is_settled(const struct graph *g, size_t stage, bool *ran) {
  *ran = false;
  if (g->p->stages[stage].type->kind != SM_KIND_FILTER) return false;
  for (size_t i = 0; i < g->count; i++) {
    struct reach r;
    if (!graph_is_root(g, i) || (step_is_over(g->now[i]) && g->now[i] != STEP_FINISHED)) continue;
    reach_of(g, i, &r);
    bool takes = r.filters[stage];
    reach_clear(&r);
    if (!takes) continue;
    if (!step_is_over(g->now[i])) return false;
    *ran = true;
  }
  return true;
}
