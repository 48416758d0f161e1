/* fixture_sim.c - plays a job as the engine would: asks the planner, lets attempts take their time on a clock that
 * jumps, charges failures to the stages that cause them. */
#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/fixture_parts.h"

enum { ROUNDS_MAX = 20000 }; /* 256 stages of 100 attempts need fewer */

static const struct pipeline_stage *stage_of(const struct sim *s, size_t stage) { return &s->p->stages[stage]; }
static const struct fixture_stage *answer_of(const struct sim *s, size_t stage) { return &s->c->stages[stage]; }
static bool is_filter(const struct sim *s, size_t stage) { return stage_of(s, stage)->type->kind == SM_KIND_FILTER; }

static void say(struct sim_stage *stage, char *moved_reason) {
  free(stage->reason);
  stage->reason = moved_reason;
}

static struct plan_state sim_state(struct sim *s) {
  for (size_t i = 0; i < s->p->stage_count; i++)
    s->steps[i] = (struct step){s->stages[i].state, s->stages[i].results, s->stages[i].suspect, s->stages[i].apart};
  return (struct plan_state){
      .pipeline = s->p, .steps = s->steps, .params = s->c->params, .job = s->job, .cancelled = s->cancelled};
}

/* ---- the fate of one stage --------------------------------------------------------------------------------------- */

static void stage_finish(struct sim *s, size_t stage) {
  s->stages[stage].state = STEP_FINISHED;
  s->stages[stage].results = answer_of(s, stage)->results;
}

static void stage_end(struct sim *s, size_t stage, const char *why) {
  s->stages[stage].state = stage_of(s, stage)->continue_on_error ? STEP_SOFT_FAILED : STEP_FAILED;
  say(&s->stages[stage], mem_text(why));
}

/* An attempt is charged: back-off, or the end. Jitter counts in full, so that a test always sees the same delays. */
static void stage_charge(struct sim *s, size_t stage, bool final, bool alone, const char *why) {
  struct sim_stage *at = &s->stages[stage];
  const struct pipeline_stage *spec = stage_of(s, stage);
  at->attempts++;
  if (final || at->attempts >= spec->retry.attempts) {
    stage_end(s, stage, why);
    return;
  }
  int64_t delay_us = retry_delay_us(&spec->retry, at->attempts + 1, 1);
  at->state = STEP_DELAYED;
  at->due_us = s->now_us + delay_us;
  at->apart |= !alone && spec->continue_on_error;
  value_list_add(at->delays, value_of(VALUE_DURATION, delay_us, 0));
}

static void stage_crash(struct sim *s, size_t stage, bool alone, const char *why) {
  if (alone || s->stages[stage].suspect) {
    stage_charge(s, stage, false, alone, why);
  } else {
    s->stages[stage].suspect = true;
    s->stages[stage].state = STEP_WAITING;
  }
}

static bool fails_now(const struct sim *s, size_t stage) {
  const struct fixture_stage *a = answer_of(s, stage);
  return a->fail && s->stages[stage].tries <= a->times;
}

static void stage_fail(struct sim *s, size_t stage, bool alone) {
  const struct fixture_stage *a = answer_of(s, stage);
  if (a->verdict == FIXTURE_CRASH)
    stage_crash(s, stage, alone, a->fail);
  else
    stage_charge(s, stage, a->verdict == FIXTURE_FAIL, alone, a->fail);
}

/* ---- attempts ---------------------------------------------------------------------------------------------------- */

/* A failure that ends the whole attempt: not the soft one of a sink, or of a filter that lets frames pass. */
static bool ends_attempt(const struct sim *s, size_t stage) {
  if (!fails_now(s, stage)) return false;
  if (answer_of(s, stage)->verdict == FIXTURE_CRASH) return true;
  return !stage_of(s, stage)->continue_on_error || (is_filter(s, stage) && !stage_of(s, stage)->type->has_bypass);
}

static int64_t run_length(const struct sim *s, const struct sim_run *run) {
  int64_t longest = 0, first_failure = INT64_MAX;
  for (size_t i = 0; i < run->unit.stage_count; i++) {
    size_t stage = run->unit.stages[i];
    int64_t takes_us = answer_of(s, stage)->takes_us;
    if (run->gone[i]) continue;
    if (takes_us > longest) longest = takes_us;
    if (ends_attempt(s, stage) && takes_us < first_failure) first_failure = takes_us;
  }
  return first_failure < longest ? first_failure : longest;
}

static void note_order(struct sim *s, const struct sim_run *run) {
  buf_auto struct buf text = {0};
  for (size_t i = 0; i < run->unit.stage_count; i++)
    if (!run->gone[i]) buf_format(&text, "%s%s", text.size ? "+" : "", stage_of(s, run->unit.stages[i])->id);
  if (text.size) value_list_add(s->order, value_text(text.data));
}

/* What a stage knows once the source is open. */
static struct value *open_results(const struct sim *s, size_t stage) {
  const struct stage_type *type = stage_of(s, stage)->type;
  struct value *v = value_map();
  for (size_t i = 0; i < type->result_count; i++)
    if (type->results[i].available == SM_AT_OPEN)
      value_map_set(v, type->results[i].key, value_copy(value_get(answer_of(s, stage)->results, type->results[i].key)));
  return v;
}

static void run_prologue(struct sim *s, struct sim_run *run) {
  bool drop[PLAN_PASS_MAX];
  char *reasons[PLAN_PASS_MAX];
  struct value *known[PLAN_PASS_MAX] = {NULL};
  struct error e = {0};
  struct plan_state state = sim_state(s);
  for (size_t i = 0; i < run->unit.stage_count; i++)
    if (!run->unit.late[i]) s->steps[run->unit.stages[i]].results = known[i] = open_results(s, run->unit.stages[i]);
  enum err err = plan_prologue(&state, &run->unit, drop, reasons, &e);
  for (size_t i = 0; i < run->unit.stage_count; i++) {
    size_t stage = run->unit.stages[i];
    value_free(&known[i]);
    if (err && run->unit.late[i]) stage_end(s, stage, e.message);
    if (!err && drop[i]) s->stages[stage].state = reasons[i] ? STEP_SKIPPED : STEP_WAITING;
    if (!err && drop[i] && reasons[i]) say(&s->stages[stage], mem_text(reasons[i]));
    run->gone[i] = err ? run->unit.late[i] : drop[i];
    free(reasons[i]);
  }
}

/* Settings are filled in as for a real attempt: an expression that cannot be evaluated fails its stage. */
static void run_settings(struct sim *s, struct sim_run *run) {
  struct plan_state state = sim_state(s);
  struct scope scope = plan_scope(&state);
  for (size_t i = 0; i < run->unit.stage_count; i++) {
    value_auto struct value *params = NULL;
    struct error e = {0};
    if (run->gone[i] || run->unit.late[i]) continue;
    if (!pipeline_settings(s->p, run->unit.stages[i], &scope, NULL, NULL, &params, &e)) continue;
    s->stages[run->unit.stages[i]].tries++;
    stage_charge(s, run->unit.stages[i], true, true, e.message);
    run->gone[i] = true;
  }
}

static void run_begin(struct sim *s, struct plan_unit *unit) {
  s->runs = mem_grow(s->runs, s->run_count + 1, sizeof *s->runs);
  struct sim_run *run = &s->runs[s->run_count++];
  *run = (struct sim_run){.unit = *unit, .gone = mem_array(unit->stage_count, sizeof *run->gone)};
  memset(unit, 0, sizeof *unit); /* moved */
  for (size_t i = 0; i < run->unit.stage_count; i++) s->stages[run->unit.stages[i]].state = STEP_RUNNING;
  if (run->unit.is_pass) run_prologue(s, run);
  run_settings(s, run);
  for (size_t i = 0; i < run->unit.stage_count; i++)
    if (!run->gone[i]) s->stages[run->unit.stages[i]].tries++;
  note_order(s, run);
  run->ends_us = s->now_us + run_length(s, run);
}

/* Consumers of a filter that fails without a bypass fail with it. */
static void fail_consumers(struct sim *s, const struct sim_run *run, size_t filter) {
  for (size_t i = 0; i < run->unit.stage_count; i++) {
    const struct pipeline_stage *spec = stage_of(s, run->unit.stages[i]);
    for (size_t k = 0; k < spec->binding_count; k++) {
      const struct binding *b = &spec->bindings[k];
      bool fed = b->kind == PRODUCER_STAGE && b->stage == filter && b->output && b->output->kind != SM_PORT_ARTIFACT;
      if (!fed || s->stages[run->unit.stages[i]].state != STEP_RUNNING) continue;
      mem_auto char *why = mem_format("its filter `%s` failed", stage_of(s, filter)->id);
      stage_charge(s, run->unit.stages[i], false, false, why);
      break;
    }
  }
}

static bool is_broken(const struct sim *s, const struct sim_run *run) {
  for (size_t i = 0; i < run->unit.stage_count; i++)
    if (!run->gone[i] && ends_attempt(s, run->unit.stages[i])) return true;
  return false;
}

static void settle_stage(struct sim *s, const struct sim_run *run, size_t stage, int64_t length_us, bool broken) {
  const struct fixture_stage *a = answer_of(s, stage);
  bool alone = run->unit.stage_count == 1, done = a->takes_us <= length_us;
  if (s->stages[stage].state != STEP_RUNNING) return; /* failed with its filter */
  if (fails_now(s, stage) && done) {
    stage_fail(s, stage, alone);
    if (is_filter(s, stage) && !stage_of(s, stage)->type->has_bypass && stage_of(s, stage)->continue_on_error)
      fail_consumers(s, run, stage);
  } else if (is_filter(s, stage) || (broken && !(a->early && done))) {
    s->stages[stage].state = STEP_WAITING;
  } else {
    stage_finish(s, stage);
  }
}

static void run_settle(struct sim *s, struct sim_run *run, int64_t length_us) {
  bool broken = is_broken(s, run);
  for (size_t i = 0; i < run->unit.stage_count; i++)
    if (!run->gone[i]) settle_stage(s, run, run->unit.stages[i], length_us, broken);
  run->over = true;
}

static void run_cancel(struct sim *s, struct sim_run *run) {
  for (size_t i = 0; i < run->unit.stage_count; i++)
    if (!run->gone[i]) s->stages[run->unit.stages[i]].state = STEP_CANCELLED;
  run->over = true;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void earlier(int64_t *soonest_us, int64_t at_us) {
  if (at_us < *soonest_us) *soonest_us = at_us;
}

/* Jumps to the next thing that happens; false: nothing will. */
static bool sim_advance(struct sim *s) {
  int64_t soonest_us = INT64_MAX;
  for (size_t i = 0; i < s->run_count; i++)
    if (!s->runs[i].over) earlier(&soonest_us, s->runs[i].ends_us);
  for (size_t i = 0; i < s->p->stage_count; i++)
    if (s->stages[i].state == STEP_DELAYED) earlier(&soonest_us, s->stages[i].due_us);
  if (soonest_us == INT64_MAX) return false;
  if (!s->cancelled && s->c->cancel_us >= 0) earlier(&soonest_us, s->c->cancel_us);
  if (soonest_us > s->now_us) s->now_us = soonest_us;
  return true;
}

static void sim_happen(struct sim *s) {
  bool cancel = !s->cancelled && s->c->cancel_us >= 0 && s->c->cancel_us <= s->now_us;
  for (size_t i = 0; i < s->run_count; i++) {
    struct sim_run *run = &s->runs[i];
    if (run->over) continue;
    if (run->ends_us <= s->now_us)
      run_settle(s, run, run_length(s, run));
    else if (cancel)
      run_cancel(s, run);
  }
  if (cancel) s->cancelled = true;
  for (size_t i = 0; i < s->p->stage_count; i++)
    if (s->stages[i].state == STEP_DELAYED && s->stages[i].due_us <= s->now_us) s->stages[i].state = STEP_WAITING;
}

/* ---- the job ----------------------------------------------------------------------------------------------------- */

static void apply_skips(struct sim *s, struct plan *plan) {
  for (size_t i = 0; i < plan->skip_count; i++) {
    s->stages[plan->skips[i].stage].state = STEP_SKIPPED;
    say(&s->stages[plan->skips[i].stage], plan->skips[i].reason);
    plan->skips[i].reason = NULL; /* moved */
  }
  for (size_t i = 0; i < plan->settled_count; i++) stage_finish(s, plan->settled[i]);
}

/* One turn; false when the job is over or stuck. */
static bool sim_turn(struct sim *s) {
  struct plan plan;
  struct plan_state state = sim_state(s);
  if (plan_next(&state, &plan, &s->error)) return false;
  apply_skips(s, &plan);
  bool moved = plan.skip_count || plan.settled_count || plan.bad_stage != SIZE_MAX;
  if (plan.bad_stage != SIZE_MAX) stage_end(s, plan.bad_stage, plan.bad_error.message);
  for (size_t i = 0; i < plan.ready_count && !moved; i++) run_begin(s, &plan.ready[i]);
  bool began = plan.ready_count && !moved;
  s->end = plan.end;
  plan_clear(&plan);
  if (s->end != PLAN_GOES_ON) return false;
  if (moved || began) {
    sim_happen(s); /* what takes no time is over at once */
    return true;
  }
  if (!sim_advance(s)) return false;
  sim_happen(s);
  return true;
}

static void sim_result(struct sim *s) {
  struct plan_state state = sim_state(s);
  struct scope scope = plan_scope(&state);
  if (s->end == PLAN_COMPLETED) pipeline_result(s->p, &scope, &s->result, &s->error);
}

void sim_play(struct sim *s, const struct pipeline *p, const struct fixture_case *c) {
  size_t round = 0;
  *s = (struct sim){.p = p, .c = c, .job = value_map(), .order = value_list(), .end = PLAN_GOES_ON};
  s->stages = mem_array(p->stage_count + 1, sizeof *s->stages);
  s->steps = mem_array(p->stage_count + 1, sizeof *s->steps);
  for (size_t i = 0; i < p->stage_count; i++)
    s->stages[i] = (struct sim_stage){.state = STEP_WAITING, .delays = value_list()};
  value_set_text(s->job, "id", "test");
  value_set_text(s->job, "input", c->input);
  value_set_text(s->job, "name", c->name);
  if (c->cancel_us == 0) s->cancelled = true;
  while (round++ < ROUNDS_MAX && sim_turn(s)) continue;
  if (s->end == PLAN_GOES_ON && !s->error.code) error_set(&s->error, ERR_INTERNAL, "the job did not come to an end");
  sim_result(s);
}

void sim_clear(struct sim *s) {
  for (size_t i = 0; i < s->p->stage_count; i++) {
    free(s->stages[i].reason);
    value_free(&s->stages[i].delays);
  }
  for (size_t i = 0; i < s->run_count; i++) {
    free(s->runs[i].unit.stages);
    free(s->runs[i].unit.late);
    free(s->runs[i].gone);
  }
  free(s->runs);
  free(s->stages);
  free(s->steps);
  value_free(&s->job);
  value_free(&s->order);
  value_free(&s->result);
  memset(s, 0, sizeof *s);
}
