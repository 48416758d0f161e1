#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka.h wants the four above */
#include <cmocka.h>
#include <stagemill/abi.h>

#include "base/mem.h"
#include "kinds.h"

static const char head[] = "stagemill: 1\nname: test\nparams:\n  on: { type: bool, default: false }\n"
                           "  to: { type: text, default: '' }\nstages:\n";

static struct pipeline *parse(const char *text, struct stage_set *set) {
  struct report *report = report_new();
  struct pipeline *p = NULL;
  struct error e = {0};
  pipeline_parse(text, strlen(text), "test.yaml", NULL, set, report, &p, &e);
  if (!p) {
    buf_auto struct buf out = {0};
    report_text(report, &out, false);
    print_error("%s\n%s\n", text, buf_string(&out));
  }
  report_free(&report);
  assert_non_null(p);
  return p;
}

void world_open(struct world *w, const char *stages, const char *params) {
  struct error e = {0};
  buf_auto struct buf text = {0};
  value_auto struct value *given = value_map();
  memset(w, 0, sizeof *w);
  buf_text(&text, head);
  for (const char *line = stages; *line;) {
    size_t size = strcspn(line, "\n");
    buf_format(&text, "  - %.*s\n", (int)size, line);
    line += size + (line[size] == '\n');
  }
  w->set = kinds_new();
  w->p = parse(text.data, w->set);
  w->steps = mem_array(w->p->stage_count, sizeof *w->steps);
  for (size_t i = 0; i < w->p->stage_count; i++) w->steps[i].state = STEP_WAITING;
  if (params) {
    value_free(&given);
    assert_int_equal(value_from_json(params, strlen(params), &given, &e), ERR_OK);
  }
  if (pipeline_params(w->p, given, ".", &w->params, &e)) fail_msg("%s", e.message);
  w->job = value_map();
  value_set_text(w->job, "id", "job1");
  value_set_text(w->job, "input", "/in/clip.mp4");
}

void world_close(struct world *w) {
  for (size_t i = 0; i < w->p->stage_count; i++) {
    struct value *results = (struct value *)(uintptr_t)w->steps[i].results;
    value_free(&results);
  }
  free(w->steps);
  value_free(&w->params);
  value_free(&w->job);
  pipeline_free(&w->p);
  stage_set_unref(&w->set);
}

void world_set(struct world *w, const char *ids, enum step_state state) {
  mem_auto char *copy = mem_text(ids);
  char *rest = NULL;
  for (char *id = strtok_r(copy, " ", &rest); id; id = strtok_r(NULL, " ", &rest)) {
    size_t index = pipeline_index(w->p, id);
    if (index == SIZE_MAX) fail_msg("no stage %s", id);
    w->steps[index].state = state;
  }
}

void world_results(struct world *w, const char *id, const char *json) {
  struct error e = {0};
  struct value *v = NULL;
  size_t index = pipeline_index(w->p, id);
  if (value_from_json(json, strlen(json), &v, &e)) fail_msg("%s", e.message);
  struct value *old = (struct value *)(uintptr_t)w->steps[index].results;
  value_free(&old);
  w->steps[index].results = v;
}

struct plan_state world_state(const struct world *w) {
  return (struct plan_state){
      .pipeline = w->p, .steps = w->steps, .params = w->params, .job = w->job, .cancelled = w->cancelled};
}

static void say_unit(const struct world *w, const struct plan_unit *unit, struct buf *out) {
  if (out->size) buf_char(out, ' ');
  buf_text(out, unit->is_pass ? "pass" : "task");
  if (unit->is_pass && unit->source_kind == PRODUCER_STAGE)
    buf_format(out, "[%s.%s]", w->p->stages[unit->source_stage].id, unit->source_port->name);
  for (size_t i = 0; i < unit->stage_count; i++)
    buf_format(out, "%s%s%s", i ? " " : "(", w->p->stages[unit->stages[i]].id, unit->late[i] ? "~" : "");
  buf_char(out, ')');
}

static void bar(struct buf *out) {
  if (out->size) buf_text(out, " | ");
}

static void say_end(const struct world *w, const struct plan *plan, struct buf *out) {
  static const char *const words[] = {NULL, NULL, "completed", "failed", "cancelled"};
  if (plan->bad_stage != SIZE_MAX) {
    bar(out);
    buf_format(out, "bad %s: %s", w->p->stages[plan->bad_stage].id, plan->bad_error.message);
  }
  if (plan->end == PLAN_GOES_ON) return;
  bar(out);
  buf_format(out, "end %s", words[plan->end]);
  if (plan->end == PLAN_FAILED) buf_format(out, " %s", w->p->stages[plan->failed_stage].id);
}

static void say_plan(const struct world *w, const struct plan *plan, struct buf *out) {
  for (size_t i = 0; i < plan->ready_count; i++) say_unit(w, &plan->ready[i], out);
  for (size_t i = 0; i < plan->skip_count; i++) {
    bar(out);
    buf_format(out, "skip(%s: %s)", w->p->stages[plan->skips[i].stage].id, plan->skips[i].reason);
  }
  for (size_t i = 0; i < plan->settled_count; i++) {
    bar(out);
    buf_format(out, "settled(%s)", w->p->stages[plan->settled[i]].id);
  }
  for (size_t i = 0; i < plan->cut_count; i++) {
    bar(out);
    buf_format(out, "cut(%s/%s: %s)", w->p->stages[plan->cuts[i].stage].id, w->p->stages[plan->cuts[i].other].id,
               cut_reason_text(plan->cuts[i].reason));
  }
  say_end(w, plan, out);
}

static void next(struct world *w, struct plan *plan) {
  struct plan_state state = world_state(w);
  struct error e = {0};
  if (plan_next(&state, plan, &e)) fail_msg("%s", e.message);
}

char *world_plan(struct world *w) {
  struct buf out = {0};
  struct plan plan;
  next(w, &plan);
  say_plan(w, &plan, &out);
  plan_clear(&plan);
  return buf_take(&out);
}

char *world_waits(struct world *w) {
  struct buf out = {0};
  struct plan plan;
  next(w, &plan);
  for (size_t i = 0; i < plan.wait_count; i++) {
    bar(&out);
    buf_format(&out, "%s: %s", w->p->stages[plan.waits[i].stage].id, plan.waits[i].reason);
  }
  plan_clear(&plan);
  return buf_take(&out);
}

static void say_prologue(struct world *w, const struct plan_unit *unit, struct buf *out) {
  struct plan_state state = world_state(w);
  struct error e = {0};
  bool drop[PLAN_PASS_MAX];
  char *reasons[PLAN_PASS_MAX];
  if (plan_prologue(&state, unit, drop, reasons, &e)) buf_format(out, "error: %s", e.message);
  for (size_t i = 0; i < unit->stage_count; i++) {
    if (drop[i]) buf_format(out, "%s-%s", out->size ? " " : "", w->p->stages[unit->stages[i]].id);
    if (reasons[i]) buf_format(out, ": %s", reasons[i]);
    free(reasons[i]);
  }
}

char *world_prologue(struct world *w, const char *first) {
  struct buf out = {0};
  struct plan plan;
  next(w, &plan);
  for (size_t i = 0; i < plan.ready_count; i++) {
    struct plan_unit *unit = &plan.ready[i];
    if (strcmp(w->p->stages[unit->stages[0]].id, first)) continue;
    for (size_t k = 0; k < unit->stage_count; k++) w->steps[unit->stages[k]].state = STEP_RUNNING;
    say_prologue(w, unit, &out);
  }
  plan_clear(&plan);
  return buf_take(&out);
}

static bool play(struct world *w, struct buf *out) {
  struct plan plan;
  next(w, &plan);
  say_plan(w, &plan, out);
  for (size_t i = 0; i < plan.skip_count; i++) w->steps[plan.skips[i].stage].state = STEP_SKIPPED;
  for (size_t i = 0; i < plan.settled_count; i++) w->steps[plan.settled[i]].state = STEP_FINISHED;
  for (size_t i = 0; i < plan.ready_count; i++)
    for (size_t k = 0; k < plan.ready[i].stage_count; k++) {
      size_t stage = plan.ready[i].stages[k];
      if (w->p->stages[stage].type->kind != SM_KIND_FILTER) w->steps[stage].state = STEP_FINISHED;
    }
  bool on = plan.end == PLAN_GOES_ON && plan.bad_stage == SIZE_MAX;
  plan_clear(&plan);
  return on;
}

char *world_course(struct world *w) {
  struct buf out = {0};
  for (int round = 0; round < 50 && play(w, &out); round++) continue;
  return buf_take(&out);
}
