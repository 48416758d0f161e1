#include "pipeline/plan_forecast.h"

#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"

static void take_skips(struct forecast *f, struct plan *plan) {
  for (size_t i = 0; i < plan->skip_count; i++) {
    f->skips = mem_grow(f->skips, f->skip_count + 1, sizeof *f->skips);
    f->skips[f->skip_count++] = plan->skips[i];
    f->steps[plan->skips[i].stage].state = STEP_SKIPPED;
    plan->skips[i].reason = NULL; /* moved */
  }
  for (size_t i = 0; i < plan->settled_count; i++) f->steps[plan->settled[i]].state = STEP_FINISHED;
}

static void take_cuts(struct forecast *f, const struct plan *plan) {
  for (size_t i = 0; i < plan->cut_count; i++) {
    bool known = false;
    for (size_t k = 0; k < f->cut_count; k++)
      known |= f->cuts[k].stage == plan->cuts[i].stage && f->cuts[k].other == plan->cuts[i].other;
    if (known) continue;
    f->cuts = mem_grow(f->cuts, f->cut_count + 1, sizeof *f->cuts);
    f->cuts[f->cut_count++] = plan->cuts[i];
  }
}

/* Every stage of the unit succeeds at once; filters wait until the planner says that nobody needs them any more. */
static void take_units(struct forecast *f, struct plan *plan, size_t wave) {
  for (size_t i = 0; i < plan->ready_count; i++) {
    struct plan_unit *unit = &plan->ready[i];
    for (size_t k = 0; k < unit->stage_count; k++)
      if (f->p->stages[unit->stages[k]].type->kind != SM_KIND_FILTER) f->steps[unit->stages[k]].state = STEP_FINISHED;
    f->units = mem_grow(f->units, f->unit_count + 1, sizeof *f->units);
    f->units[f->unit_count++] = (struct forecast_unit){*unit, wave};
    memset(unit, 0, sizeof *unit); /* moved */
  }
}

static enum err forecast_play(struct forecast *f, struct error *e) {
  size_t wave = 0;
  /* Every round ends at least one stage, or the job. */
  for (size_t round = 0; round <= 2 * f->p->stage_count + 1; round++) {
    struct plan plan;
    enum err err = plan_step(&f->state, true, &plan, e);
    if (err) return err;
    enum plan_end end = plan.end;
    bool bad = plan.bad_stage != SIZE_MAX;
    if (bad && e) *e = plan.bad_error;
    if (bad) err = plan.bad_error.code;
    take_skips(f, &plan);
    take_cuts(f, &plan);
    if (plan.ready_count) take_units(f, &plan, wave++);
    plan_clear(&plan);
    if (bad) return err;
    if (end != PLAN_GOES_ON) return ERR_OK;
  }
  return error_set(e, ERR_INTERNAL, "the plan of pipeline `%s` does not come to an end", f->p->name);
}

enum err forecast_make(struct forecast *f, const struct pipeline *p, const struct value *params,
                       const struct value *job, struct error *e) {
  *f = (struct forecast){.p = p};
  f->steps = mem_array(p->stage_count + 1, sizeof *f->steps);
  for (size_t i = 0; i < p->stage_count; i++) f->steps[i].state = STEP_WAITING;
  f->state = (struct plan_state){.pipeline = p, .steps = f->steps, .params = params, .job = job};
  graph_init(&f->graph, &f->state, true);
  return forecast_play(f, e);
}

void forecast_clear(struct forecast *f) {
  for (size_t i = 0; i < f->unit_count; i++) {
    free(f->units[i].unit.stages);
    free(f->units[i].unit.late);
  }
  for (size_t i = 0; i < f->skip_count; i++) free(f->skips[i].reason);
  free(f->units);
  free(f->skips);
  free(f->cuts);
  free(f->steps);
  graph_clear(&f->graph);
  memset(f, 0, sizeof *f);
}

void forecast_neighbours(const struct forecast *f, size_t stage, bool feeds, forecast_visit *visit, void *context) {
  for (size_t i = 0; i < f->p->stage_count; i++) {
    unsigned links = feeds ? graph_link(&f->graph, i, stage) : graph_link(&f->graph, stage, i);
    if (links & LINK_FEED) visit(context, f->p->stages[i].id);
  }
}

size_t forecast_passes_of(const struct forecast *f, size_t stage) {
  size_t passes = 0;
  for (size_t i = 0; i < f->unit_count; i++)
    for (size_t k = 0; k < f->units[i].unit.stage_count; k++) passes += f->units[i].unit.stages[k] == stage;
  return passes;
}
