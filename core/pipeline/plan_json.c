/* plan_json.c - the forecast for programs: {pipeline, file, steps, skipped, cuts, result}. */
#include <stagemill/abi.h>

#include "base/mem.h"
#include "pipeline/plan_forecast.h"

static void list_add_id(void *context, const char *id) { value_list_add(context, value_text(id)); }

static struct value *json_neighbours(const struct forecast *f, size_t stage, bool feeds) {
  struct value *list = value_list();
  forecast_neighbours(f, stage, feeds, list_add_id, list);
  return list;
}

static struct value *json_after(const struct forecast *f, size_t stage) {
  const struct pipeline_stage *s = &f->p->stages[stage];
  struct value *list = value_list();
  for (size_t i = 0; i < s->after_count; i++) list_add_id(list, f->p->stages[s->after[i]].id);
  return list;
}

static const char *decided(const struct forecast *f, size_t stage, bool late) {
  if (late) return "open";
  return gate_is_open_question(&f->state, stage) ? "end" : "now";
}

static struct value *json_retry(const struct retry_policy *retry) {
  struct value *v = value_map(), *delays = value_list();
  value_set_int(v, "attempts", retry->attempts);
  for (uint32_t next = 2; next <= retry->attempts && next <= 33; next++)
    value_list_add(delays, value_int(retry_delay_us(retry, next, 1) / 1000));
  value_map_set(v, "delaysMs", delays);
  value_set_bool(v, "jitter", retry->jitter == JITTER_FULL);
  return v;
}

static const char *when_word(enum run_when when) {
  switch (when) {
  case RUN_ALWAYS: return "always";
  case RUN_ON_FAILURE: return "on-failure";
  case RUN_ON_SUCCESS: break;
  }
  return "on-success";
}

static const char *kind_word(uint32_t kind) {
  return kind == SM_KIND_FILTER ? "filter" : kind == SM_KIND_SINK ? "sink" : "task";
}

static struct value *json_stage(const struct forecast *f, size_t stage, bool late, double weight,
                                const struct value *notes) {
  const struct pipeline_stage *s = &f->p->stages[stage];
  struct value *v = value_map();
  value_set_text(v, "id", s->id);
  value_set_text(v, "uses", s->uses);
  value_set_text(v, "kind", kind_word(s->type->kind));
  value_map_set(v, "after", json_after(f, stage));
  value_map_set(v, "framesFrom", json_neighbours(f, stage, false));
  value_map_set(v, "feeds", json_neighbours(f, stage, true));
  value_set_text(v, "when", when_word(s->when));
  value_map_set(v, "if", s->condition ? value_text(expr_text(s->condition)) : value_null());
  value_map_set(v, "decided", value_text(decided(f, stage, late)));
  value_set_bool(v, "continueOnError", s->continue_on_error);
  value_map_set(v, "retry", json_retry(&s->retry));
  value_set_number(v, "timeoutSeconds", (double)s->timeout_us / 1e6);
  value_set_number(v, "weight", weight);
  const struct value *own = value_get(notes, s->id);
  value_map_set(v, "notes", own ? value_copy(own) : value_list());
  return v;
}

static struct value *json_source(const struct forecast *f, const struct plan_unit *unit) {
  if (unit->source_kind == PRODUCER_SOURCE) return value_text("input");
  mem_auto char *text =
      mem_format("%s.%s", f->p->stages[unit->source_stage].id, unit->source_port ? unit->source_port->name : "output");
  return value_text(text);
}

static struct value *json_unit(const struct forecast *f, size_t number, const double *weights,
                               const struct value *notes) {
  const struct plan_unit *unit = &f->units[number].unit;
  struct value *v = value_map(), *stages = value_list();
  value_set_int(v, "step", (int64_t)f->units[number].wave + 1);
  value_set_text(v, "kind", unit->is_pass ? "pass" : "task");
  value_map_set(v, "source", unit->is_pass ? json_source(f, unit) : value_null());
  for (size_t i = 0; i < unit->stage_count; i++)
    value_list_add(stages, json_stage(f, unit->stages[i], unit->late[i], weights[unit->stages[i]], notes));
  value_map_set(v, "stages", stages);
  return v;
}

static struct value *json_skips(const struct forecast *f) {
  struct value *list = value_list();
  for (size_t i = 0; i < f->skip_count; i++) {
    struct value *v = value_map();
    value_set_text(v, "stage", f->p->stages[f->skips[i].stage].id);
    value_set_text(v, "when", when_word(f->p->stages[f->skips[i].stage].when));
    value_set_text(v, "reason", f->skips[i].reason);
    value_list_add(list, v);
  }
  return list;
}

static struct value *json_cuts(const struct forecast *f) {
  struct value *list = value_list();
  for (size_t i = 0; i < f->cut_count; i++) {
    struct value *v = value_map();
    value_set_text(v, "stage", f->p->stages[f->cuts[i].stage].id);
    value_set_text(v, "other", f->p->stages[f->cuts[i].other].id);
    value_set_text(v, "reason", cut_reason_text(f->cuts[i].reason));
    value_list_add(list, v);
  }
  return list;
}

static void json_whole(const struct forecast *f, const struct value *notes, struct buf *out) {
  value_auto struct value *v = value_map();
  struct value *steps = value_list(), *keys = value_list();
  double *weights = mem_array(f->p->stage_count + 1, sizeof *weights);
  plan_weights(f->p, weights);
  value_set_text(v, "pipeline", f->p->name);
  value_set_text(v, "file", f->p->file);
  for (size_t i = 0; i < f->unit_count; i++) value_list_add(steps, json_unit(f, i, weights, notes));
  value_map_set(v, "steps", steps);
  value_map_set(v, "skipped", json_skips(f));
  value_map_set(v, "cuts", json_cuts(f));
  for (size_t i = 0; i < f->p->result_count; i++) list_add_id(keys, f->p->results[i].key);
  value_map_set(v, "result", keys);
  value_json(out, v, VALUE_JSON_PRETTY);
  free(weights);
}

enum err plan_json(const struct pipeline *p, const struct value *params, const struct value *job,
                   const struct value *notes, struct buf *out, struct error *e) {
  struct forecast f;
  enum err err = forecast_make(&f, p, params, job, e);
  if (!err) json_whole(&f, notes, out);
  forecast_clear(&f);
  return err;
}
