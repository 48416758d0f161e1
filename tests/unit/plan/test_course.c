/* Random pipelines with random fates, played to their end: whatever happens, a job comes to an end, nothing starts
 * before what it waits for is over, no stage is in two live attempts, and a pass reads one source. Same seeds every
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
/* cmocka.h wants the three above */
#include <cmocka.h>
#include <stagemill/abi.h>

#include "base/mem.h"
#include "world.h"

enum { JOBS = 400, STAGES_MAX = 14, TURNS_MAX = 2000 };

static uint64_t seed;
static unsigned dice(unsigned sides) { /* xorshift */
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (unsigned)((seed >> 11) % sides);
}

/* An earlier stage that has an end of its own: what waits for a filter's end and feeds its sinks is a circle that only
 * shows in a pass, and the planner's sentence for it has a test elsewhere. */
static int earlier(const char *const *uses, int i) {
  int other = i ? (int)dice((unsigned)i) : -1;
  return other < 0 || !strcmp(uses[other], "paint") || !strcmp(uses[other], "scale") ? -1 : other;
}

static void add_extra(struct buf *out, const char *const *uses, int i) {
  int other = earlier(uses, i), watched = earlier(uses, i);
  if (other >= 0 && dice(4) == 0) buf_format(out, ", needs: s%d", other);
  switch (dice(9)) {
  case 0: buf_text(out, ", always: true"); break;
  case 1: buf_text(out, ", on-failure: true"); break;
  case 2: buf_text(out, ", if: params.on"); break;
  case 3: buf_text(out, ", continue-on-error: true"); break;
  case 4: buf_text(out, ", isolate: true"); break;
  case 5:
    if (watched >= 0) buf_format(out, ", if: stages.s%d.status == 'finished'", watched);
    break;
  default: break;
  }
}

/* Only kinds whose inputs are always there; what stands in for the input comes first, so that there is one source. */
static char *make_pipeline(int count) {
  static const char *const kinds[] = {"grab", "look", "tell", "draw", "snap", "pack", "gauge", "paint", "scale"};
  const char *uses[STAGES_MAX + 1];
  struct buf out = {0};
  for (int i = 0; i < count; i++) {
    uses[i] = kinds[i ? 1 + dice(8) : dice(9)];
    buf_format(&out, "{ id: s%d, uses: %s", i, uses[i]);
    add_extra(&out, uses, i);
    buf_text(&out, " }\n");
  }
  return buf_take(&out);
}

/* ---- what must hold ---------------------------------------------------------------------------------------------- */

static bool over(enum step_state s) { return s != STEP_WAITING && s != STEP_DELAYED && s != STEP_RUNNING; }

static bool in_unit(const struct plan_unit *unit, size_t stage) {
  for (size_t i = 0; i < unit->stage_count; i++)
    if (unit->stages[i] == stage) return true;
  return false;
}

static void check_unit(const struct world *w, const struct plan_unit *unit) {
  for (size_t i = 0; i < unit->stage_count; i++) {
    size_t stage = unit->stages[i];
    const struct pipeline_stage *s = &w->p->stages[stage];
    bool filter = s->type->kind == SM_KIND_FILTER;
    assert_true(w->steps[stage].state == STEP_WAITING || (filter && w->steps[stage].state == STEP_FINISHED));
    for (size_t k = 0; k < s->after_count; k++)
      if (!over(w->steps[s->after[k]].state) && !(unit->is_pass && in_unit(unit, s->after[k])))
        fail_msg("%s starts before %s is over\n%s", s->id, w->p->stages[s->after[k]].id, w->p->pinned);
    assert_true(unit->is_pass == (s->type->kind != SM_KIND_TASK));
    assert_false(w->cancelled && s->when != RUN_ALWAYS);
    for (size_t k = i + 1; k < unit->stage_count; k++) {
      assert_true(stage < unit->stages[k]);
      bool both_sinks = !filter && w->p->stages[unit->stages[k]].type->kind == SM_KIND_SINK;
      assert_false(both_sinks && (s->isolate || w->steps[stage].suspect || w->steps[stage].apart));
    }
  }
}

/* What starts is planned with the skips of the same plan in mind: they are applied first. */
static void check_plan(struct world *w, const struct plan *plan) {
  for (size_t i = 0; i < plan->skip_count; i++) {
    assert_false(over(w->steps[plan->skips[i].stage].state));
    assert_non_null(plan->skips[i].reason);
    w->steps[plan->skips[i].stage].state = STEP_SKIPPED;
  }
  for (size_t i = 0; i < plan->settled_count; i++) w->steps[plan->settled[i]].state = STEP_FINISHED;
  for (size_t i = 0; i < plan->ready_count; i++) {
    check_unit(w, &plan->ready[i]);
    for (size_t k = i + 1; k < plan->ready_count; k++)
      for (size_t n = 0; n < plan->ready[i].stage_count; n++)
        assert_false(in_unit(&plan->ready[k], plan->ready[i].stages[n]));
  }
  for (size_t i = 0; i < plan->wait_count; i++) assert_non_null(plan->waits[i].reason);
}

/* ---- fate -------------------------------------------------------------------------------------------------------- */

static void end_stage(struct world *w, size_t stage) {
  struct step *step = &w->steps[stage];
  if (step->state != STEP_RUNNING) return;
  if (w->cancelled && dice(2)) {
    step->state = STEP_CANCELLED;
    return;
  }
  switch (dice(10)) {
  case 0: step->state = w->p->stages[stage].continue_on_error ? STEP_SOFT_FAILED : STEP_FAILED; break;
  case 1: step->state = STEP_DELAYED; break;
  case 2: step->suspect = true, step->state = STEP_WAITING; break;
  case 3: step->apart = true, step->state = STEP_DELAYED; break;
  default: step->state = w->p->stages[stage].type->kind == SM_KIND_FILTER ? STEP_WAITING : STEP_FINISHED;
  }
}

/* Something ends or comes due; false: nothing is under way. */
static bool happen(struct world *w) {
  size_t first = dice((unsigned)w->p->stage_count);
  for (size_t i = 0; i < w->p->stage_count; i++) {
    size_t stage = (first + i) % w->p->stage_count;
    if (w->steps[stage].state == STEP_DELAYED) {
      w->steps[stage].state = STEP_WAITING;
      return true;
    }
    if (w->steps[stage].state != STEP_RUNNING) continue;
    end_stage(w, stage);
    return true;
  }
  return false;
}

static enum plan_end turn(struct world *w) {
  struct plan plan;
  struct error e = {0};
  struct plan_state state = world_state(w);
  assert_int_equal(plan_next(&state, &plan, &e), ERR_OK);
  check_plan(w, &plan);
  enum plan_end end = plan.end;
  bool moved = plan.skip_count || plan.settled_count || plan.ready_count || plan.bad_stage != SIZE_MAX;
  if (plan.bad_stage != SIZE_MAX) fail_msg("%s", plan.bad_error.message);
  for (size_t i = 0; i < plan.ready_count; i++)
    for (size_t k = 0; k < plan.ready[i].stage_count; k++) w->steps[plan.ready[i].stages[k]].state = STEP_RUNNING;
  plan_clear(&plan);
  bool happened = end == PLAN_GOES_ON && happen(w);
  assert_true(end != PLAN_GOES_ON || moved || happened);
  return end;
}

static void whatever_happens_a_job_comes_to_an_end(void **unused) {
  (void)unused;
  for (int job = 0; job < JOBS; job++) {
    seed = 88172645463325252ULL + (uint64_t)job * 7919;
    for (int i = 0; i < 8; i++) dice(2);
    struct world w;
    mem_auto char *stages = make_pipeline(1 + (int)dice(STAGES_MAX));
    world_open(&w, stages, dice(2) ? "{\"on\": \"true\"}" : NULL);
    unsigned cancel_at = dice(4) ? UINT32_MAX : dice(30);
    enum plan_end end = PLAN_GOES_ON;
    for (unsigned t = 0; end == PLAN_GOES_ON && t < TURNS_MAX; t++) {
      w.cancelled |= t == cancel_at;
      end = turn(&w);
    }
    if (end == PLAN_GOES_ON) print_error("job %d does not end:\n%s", job, stages);
    assert_true(end != PLAN_GOES_ON);
    for (size_t i = 0; i < w.p->stage_count; i++) assert_true(over(w.steps[i].state));
    world_close(&w);
  }
}

static void a_forecast_of_any_pipeline_ends(void **unused) {
  (void)unused;
  for (int job = 0; job < JOBS; job++) {
    seed = 362436069ULL + (uint64_t)job * 104729;
    for (int i = 0; i < 8; i++) dice(2);
    struct world w;
    struct error e = {0};
    buf_auto struct buf text = {0};
    mem_auto char *stages = make_pipeline(1 + (int)dice(STAGES_MAX));
    world_open(&w, stages, NULL);
    if (plan_text(w.p, w.params, w.job, NULL, &text, &e)) fail_msg("%s\n%s", e.message, stages);
    assert_true(text.size > 0);
    world_close(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whatever_happens_a_job_comes_to_an_end),
      cmocka_unit_test(a_forecast_of_any_pipeline_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
