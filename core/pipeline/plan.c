#include "pipeline/plan.h"

#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/plan_graph.h"

/* ---- one step ---------------------------------------------------------------------------------------------------- */

struct planning {
  struct graph g;
  struct gate *gates; /* of every stage that is due */
  struct plan *plan;
};

static bool is_due(const struct graph *g, size_t stage) {
  return g->now[stage] == STEP_WAITING || g->now[stage] == STEP_DELAYED;
}

static void add_skip(struct plan *plan, size_t stage, char *moved_reason) {
  plan->skips = mem_grow(plan->skips, plan->skip_count + 1, sizeof *plan->skips);
  plan->skips[plan->skip_count++] = (struct plan_skip){stage, moved_reason};
}

static void add_settled(struct plan *plan, size_t stage) {
  plan->settled = mem_grow(plan->settled, plan->settled_count + 1, sizeof *plan->settled);
  plan->settled[plan->settled_count++] = stage;
}

/* Filters that nobody needs any more. */
static bool settle(struct planning *n, size_t stage) {
  bool ran;
  if (!gate_is_settled(&n->g, stage, &ran)) return false;
  if (ran)
    add_settled(n->plan, stage);
  else
    add_skip(n->plan, stage, mem_text("no stage is left that takes its frames"));
  graph_set(&n->g, stage, ran ? STEP_FINISHED : STEP_SKIPPED);
  return true;
}

static bool decide(struct planning *n, size_t stage) {
  struct gate *gate = &n->gates[stage];
  gate_clear(gate);
  if (settle(n, stage)) return true;
  gate_decide(&n->g, stage, gate);
  if (gate->answer != GATE_SKIP) return false;
  add_skip(n->plan, stage, gate->reason);
  gate->reason = NULL;
  graph_set(&n->g, stage, STEP_SKIPPED);
  return true;
}

/* A skip may let others be skipped or start: until nothing changes, at most once for each stage. */
static void decide_all(struct planning *n) {
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < n->g.count; i++)
      if (is_due(&n->g, i)) changed |= decide(n, i);
  }
}

static void note_broken(struct planning *n) {
  for (size_t i = 0; i < n->g.count && n->plan->bad_stage == SIZE_MAX; i++) {
    if (!is_due(&n->g, i) || n->gates[i].answer != GATE_BROKEN) continue;
    n->plan->bad_stage = i;
    n->plan->bad_error = n->gates[i].error;
  }
}

static void start_tasks(struct planning *n) {
  for (size_t i = 0; i < n->g.count; i++) {
    if (n->g.now[i] != STEP_WAITING || graph_is_media(&n->g, i) || n->gates[i].answer != GATE_GO) continue;
    struct plan_unit *unit = plan_add_unit(n->plan);
    unit->stages = mem_array(1, sizeof *unit->stages);
    unit->late = mem_array(1, sizeof *unit->late);
    unit->stages[0] = i;
    unit->stage_count = 1;
  }
}

static void note_waits(struct planning *n) {
  for (size_t i = 0; i < n->g.count; i++) {
    if (!is_due(&n->g, i) || n->gates[i].answer != GATE_WAIT) continue;
    plan_add_wait(n->plan, i, n->gates[i].reason);
    n->gates[i].reason = NULL;
  }
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static size_t first_in(const struct graph *g, enum step_state state) {
  for (size_t i = 0; i < g->count; i++)
    if (g->now[i] == state) return i;
  return SIZE_MAX;
}

static const char *wait_of(const struct plan *plan, size_t stage) {
  for (size_t i = 0; i < plan->wait_count; i++)
    if (plan->waits[i].stage == stage) return plan->waits[i].reason;
  return "has filters that never start";
}

/* Nothing runs, nothing may start, and yet a stage waits: stages that wait for each other through a pass, which no
 * pipeline that passed `check` should have. Ends with a sentence instead of waiting for ever. */
static void end_stuck(const struct graph *g, size_t stage, struct plan *plan) {
  plan->bad_stage = stage;
  error_set(&plan->bad_error, ERR_INVALID, "stage `%s` can never start: it %s, and that waits for it in turn",
            g->p->stages[stage].id, wait_of(plan, stage));
}

static void find_end(const struct graph *g, struct plan *plan) {
  plan->end = PLAN_GOES_ON;
  if (plan->skip_count || plan->settled_count || plan->ready_count || plan->bad_stage != SIZE_MAX) return;
  if (first_in(g, STEP_RUNNING) != SIZE_MAX || first_in(g, STEP_DELAYED) != SIZE_MAX) return;
  size_t stuck = first_in(g, STEP_WAITING);
  if (stuck != SIZE_MAX) {
    end_stuck(g, stuck, plan);
    return;
  }
  plan->failed_stage = first_in(g, STEP_FAILED);
  plan->end = g->state->cancelled ? PLAN_CANCELLED : plan->failed_stage != SIZE_MAX ? PLAN_FAILED : PLAN_COMPLETED;
}

enum err plan_step(const struct plan_state *state, bool forecast, struct plan *plan, struct error *e) {
  struct planning n = {.plan = plan};
  memset(plan, 0, sizeof *plan);
  plan->bad_stage = plan->failed_stage = SIZE_MAX;
  if (!state->pipeline || (state->pipeline->stage_count && !state->steps))
    return error_set(e, ERR_INTERNAL, "there is no pipeline to plan");
  graph_init(&n.g, state, forecast);
  n.gates = mem_array(n.g.count + 1, sizeof *n.gates);
  decide_all(&n);
  note_broken(&n);
  start_tasks(&n);
  fuse_passes(&n.g, n.gates, plan);
  note_waits(&n);
  find_end(&n.g, plan);
  for (size_t i = 0; i < n.g.count; i++) gate_clear(&n.gates[i]);
  free(n.gates);
  graph_clear(&n.g);
  return ERR_OK;
}

enum err plan_next(const struct plan_state *state, struct plan *plan, struct error *e) {
  return plan_step(state, false, plan, e);
}

static void skips_free(struct plan_skip *skips, size_t count) {
  for (size_t i = 0; i < count; i++) free(skips[i].reason);
  free(skips);
}

void plan_clear(struct plan *plan) {
  for (size_t i = 0; i < plan->ready_count; i++) {
    free(plan->ready[i].stages);
    free(plan->ready[i].late);
  }
  free(plan->ready);
  skips_free(plan->skips, plan->skip_count);
  skips_free(plan->waits, plan->wait_count);
  free(plan->cuts);
  free(plan->settled);
  memset(plan, 0, sizeof *plan);
}

/* ---- inside a pass ----------------------------------------------------------------------------------------------- */

size_t plan_feed(const struct plan_state *state, const struct binding *binding, const bool *drop,
                 const struct port_type **output) {
  struct graph g;
  struct feed feed;
  graph_init_states(&g, state);
  graph_feed(&g, binding, drop, &feed);
  graph_clear(&g);
  if (output) *output = feed.stage == SIZE_MAX ? NULL : feed.output;
  return feed.stage;
}

struct prologue {
  struct graph g;
  const struct plan_unit *unit;
  bool *gone; /* by stage */
  bool *drop; /* by place in the unit */
  char **reasons;
};

static void prologue_drop(struct prologue *p, size_t place, char *moved_reason) {
  p->drop[place] = true;
  p->gone[p->unit->stages[place]] = true;
  p->reasons[place] = moved_reason;
}

static enum err prologue_conditions(struct prologue *p, struct error *e) {
  for (size_t i = 0; i < p->unit->stage_count; i++) {
    size_t stage = p->unit->stages[i];
    bool yes;
    if (!p->unit->late || !p->unit->late[i]) continue;
    enum err err = gate_condition(p->g.state, stage, &yes, e);
    if (err) return err;
    if (!yes) prologue_drop(p, i, gate_condition_reason(p->g.p, stage));
  }
  return ERR_OK;
}

/* The stage whose leaving empties a required frames port of this one; SIZE_MAX: all are fed. */
static size_t prologue_lost(const struct prologue *p, size_t stage) {
  const struct pipeline_stage *s = &p->g.p->stages[stage];
  for (size_t i = 0; i < s->binding_count; i++) {
    const struct binding *b = &s->bindings[i];
    struct feed feed;
    bool must = b->port && !(b->port->flags & SM_PORT_OPTIONAL);
    if (must && binding_is_feed(b) && graph_feed(&p->g, b, p->gone, &feed)) return feed.lost;
  }
  return SIZE_MAX;
}

static bool prologue_starve(struct prologue *p) {
  bool changed = false;
  for (size_t i = 0; i < p->unit->stage_count; i++) {
    if (p->drop[i]) continue;
    size_t lost = prologue_lost(p, p->unit->stages[i]);
    if (lost == SIZE_MAX) continue;
    prologue_drop(p, i, mem_format("nothing arrives from `%s`, which was skipped", p->g.p->stages[lost].id));
    changed = true;
  }
  return changed;
}

/* Does a stage that stays in this pass take frames of `filter`? */
static bool prologue_takes(const struct prologue *p, size_t filter) {
  for (size_t i = 0; i < p->unit->stage_count; i++) {
    const struct pipeline_stage *s = &p->g.p->stages[p->unit->stages[i]];
    for (size_t k = 0; k < s->binding_count && !p->drop[i]; k++) {
      struct feed feed;
      if (binding_is_feed(&s->bindings[k]) && !graph_feed(&p->g, &s->bindings[k], p->gone, &feed) &&
          feed.stage == filter)
        return true;
    }
  }
  return false;
}

static bool prologue_release(struct prologue *p) {
  bool changed = false;
  for (size_t i = 0; i < p->unit->stage_count; i++) {
    size_t stage = p->unit->stages[i];
    if (p->drop[i] || graph_is_root(&p->g, stage) || prologue_takes(p, stage)) continue;
    prologue_drop(p, i, NULL);
    changed = true;
  }
  return changed;
}

enum err plan_prologue(const struct plan_state *state, const struct plan_unit *unit, bool *drop, char **reasons,
                       struct error *e) {
  struct prologue p = {.unit = unit, .drop = drop, .reasons = reasons};
  for (size_t i = 0; i < unit->stage_count; i++) {
    drop[i] = false;
    reasons[i] = NULL;
  }
  graph_init(&p.g, state, false);
  p.gone = mem_array(p.g.count + 1, sizeof *p.gone);
  enum err err = prologue_conditions(&p, e);
  while (!err && (prologue_starve(&p) || prologue_release(&p))) continue;
  free(p.gone);
  graph_clear(&p.g);
  return err;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

void plan_weights(const struct pipeline *p, double *weights) {
  double sum = 0;
  for (size_t i = 0; i < p->stage_count; i++) {
    const struct pipeline_stage *s = &p->stages[i];
    double usual = s->type->kind == SM_KIND_SINK ? 10 : s->type->kind == SM_KIND_FILTER ? 0 : 1;
    weights[i] = s->weight > 0 ? s->weight : usual;
    sum += weights[i];
  }
  for (size_t i = 0; i < p->stage_count; i++) weights[i] = sum > 0 ? weights[i] / sum : 1.0 / (double)p->stage_count;
}
