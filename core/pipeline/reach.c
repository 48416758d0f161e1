#include "pipeline/reach.h"

#include <stdlib.h>
#include <string.h>

#include <stagemill/abi.h>

#include "base/mem.h"
#include "config/literal.h"
#include "pipeline/build.h"
#include "pipeline/plan.h"

struct reaching {
  const struct pipeline *p;
  struct scope scope;
  reach_visit *visit;
  void *context;
  const char *stage, *setting;
  enum err err;
  struct error *e;
};

static void tell(struct reaching *r, enum reach_kind kind, const char *text) {
  struct reach reach = {kind, r->stage, r->setting, text};
  if (!r->err) r->err = r->visit(r->context, &reach, r->e);
}

/* A file wherever a file may stand, though a text may stand there too: the plugin decides what it makes of it. */
static void tell_value(struct reaching *r, const struct rule *rule, const struct value *v) {
  struct rule field;
  if (value_is_null(v) || r->err) return;
  for (size_t i = 0; v->type == VALUE_LIST && i < v->count; i++) tell_value(r, rule, v->items[i]);
  for (size_t i = 0; v->type == VALUE_MAP && i < v->count; i++)
    if (rule_field_find(rule, v->keys[i], &field)) tell_value(r, &field, v->items[i]);
  if (v->type != VALUE_TEXT || !v->text_size) return;
  bool path = !(rule->takes & SM_TAKES_TEXT) || v->text[0] == '/';
  if (rule->takes & SM_TAKES_TARGET)
    tell(r, REACH_TARGET, v->text);
  else if ((rule->takes & SM_TAKES_FILE) && path)
    tell(r, REACH_FILE, v->text);
}

static void tell_secret(void *context, const struct reference *reference) {
  if (reference->kind == REFERENCE_SECRET) tell(context, REACH_SECRET, reference->name);
}

static void note_open(void *context, const struct reference *reference) {
  bool *open = context;
  *open |= reference->kind == REFERENCE_STAGE || reference->kind == REFERENCE_SECRET;
}

static void tell_template(struct reaching *r, const struct rule *rule, const struct template *t) {
  struct value *v = NULL;
  bool open = false;
  template_references(t, tell_secret, r);
  if (!(rule->takes & (SM_TAKES_FILE | SM_TAKES_TARGET))) return;
  template_references(t, note_open, &open);
  if (open || template_eval(t, &r->scope, &v, NULL))
    tell(r, REACH_UNKNOWN, NULL);
  else
    tell_value(r, rule, v);
  value_free(&v);
}

static void tell_setting(struct reaching *r, const struct rule *rule, const struct setting_value *v) {
  struct rule field;
  if (v->kind == SETTING_LITERAL) tell_value(r, rule, v->literal);
  if (v->kind == SETTING_TEMPLATE) tell_template(r, rule, v->t);
  for (size_t i = 0; i < v->count && !r->err; i++) {
    if (v->kind == SETTING_LIST)
      tell_setting(r, rule, v->items[i]);
    else if (rule_field_find(rule, v->keys[i], &field))
      tell_setting(r, &field, v->items[i]);
  }
}

static void tell_stage(struct reaching *r, const struct pipeline_stage *stage) {
  r->stage = stage->id;
  if (stage->condition) expr_references(stage->condition, tell_secret, r);
  for (size_t i = 0; i < stage->setting_count && !r->err; i++) {
    struct rule rule = rule_of_param(stage->settings[i].type);
    r->setting = stage->settings[i].name;
    tell_setting(r, &rule, stage->settings[i].value);
  }
  r->stage = r->setting = NULL;
}

static void tell_param(struct reaching *r, const struct pipeline_param *param, const struct value *params) {
  struct rule rule = rule_of_param(param->type);
  const struct value *v = value_get(params, param->name);
  r->setting = param->name;
  if ((rule.takes & SM_TAKES_SECRET) && v && v->type == VALUE_TEXT && strncmp(v->text, "secrets.", 8) == 0)
    tell(r, REACH_SECRET, v->text + 8);
  else if (v)
    tell_value(r, &rule, v);
  r->setting = NULL;
}

static void tell_notify(struct reaching *r) {
  const struct value *hooks = value_get(r->p->notify, "webhooks");
  for (size_t i = 0; hooks && i < hooks->count && !r->err; i++) {
    const char *secret = value_get_text(hooks->items[i], "secret", NULL);
    r->setting = "notify";
    if (secret) tell(r, REACH_SECRET, secret);
  }
  r->setting = NULL;
}

enum err pipeline_reach(const struct pipeline *p, const struct value *params, const struct value *job, reach_visit *visit,
                        void *context, struct error *e) {
  struct step *steps = mem_array(p->stage_count + 1, sizeof *steps);
  for (size_t i = 0; i < p->stage_count; i++) steps[i].state = STEP_WAITING;
  struct plan_state state = {.pipeline = p, .steps = steps, .params = params, .job = job};
  struct reaching r = {.p = p, .scope = plan_scope(&state), .visit = visit, .context = context, .e = e};
  for (size_t i = 0; i < p->param_count && !r.err; i++) tell_param(&r, &p->params[i], params);
  for (size_t i = 0; i < p->stage_count && !r.err; i++) tell_stage(&r, &p->stages[i]);
  for (size_t i = 0; i < p->result_count && !r.err; i++) template_references(p->results[i].value, tell_secret, &r);
  if (p->concurrency_group && !r.err) template_references(p->concurrency_group, tell_secret, &r);
  tell_notify(&r);
  free(steps);
  return r.err;
}
