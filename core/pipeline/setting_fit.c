/* Settings that depend on nothing but parameters are known at submission: they have to fit then, not hours later. */
#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"

struct fit {
  const struct pipeline *p;
  const struct value *params;
};

/* ---- what is known ----------------------------------------------------------------------------------------------- */

struct known {
  const struct pipeline *p;
  bool all;
};

static void know_reference(void *context, const struct reference *r) {
  struct known *known = context;
  if (r->kind != REFERENCE_PARAM) known->all = false;
  for (size_t i = 0; i < known->p->param_count; i++)
    if (!strcmp(known->p->params[i].name, r->name) && (known->p->params[i].type->takes & SM_TAKES_SECRET))
      known->all = false;
}

static void know_template(void *context, const struct template *t) {
  template_references(t, know_reference, context);
}

static struct value *fit_lookup(void *context, const struct reference *r) {
  const struct fit *fit = context;
  const struct value *v = r->kind == REFERENCE_PARAM ? value_get(fit->params, r->name) : NULL;
  return v ? value_copy(v) : value_null();
}

/* ---- one stage --------------------------------------------------------------------------------------------------- */

/* Will it run, as far as parameters tell? One that may fail, or may not run at all, is left to itself. */
static bool is_certain(const struct fit *fit, const struct pipeline_stage *stage, const struct scope *scope) {
  struct known known = {fit->p, true};
  value_auto struct value *v = NULL;
  struct error ignored = {0};
  if (stage->continue_on_error || stage->when == RUN_ON_FAILURE) return false;
  if (!stage->condition) return true;
  if (expr_asks_status(stage->condition)) return false;
  expr_references(stage->condition, know_reference, &known);
  return known.all && !expr_eval(stage->condition, scope, &v, &ignored) && value_truthy(v);
}

static enum err fit_stage(const struct fit *fit, size_t index, const struct scope *scope, struct error *e) {
  const struct pipeline_stage *stage = &fit->p->stages[index];
  mem_auto bool *skip = mem_array(stage->setting_count + 1, sizeof *skip);
  value_auto struct value *settled = NULL;
  for (size_t i = 0; i < stage->setting_count; i++) {
    struct known known = {fit->p, true};
    setting_templates(stage->settings[i].value, know_template, &known);
    skip[i] = !known.all;
  }
  return pipeline_settings_except(fit->p, index, scope, NULL, NULL, skip, &settled, e);
}

enum err pipeline_settings_fit(const struct pipeline *p, const struct value *params, struct error *e) {
  struct fit fit = {p, params};
  struct scope scope = {.lookup = fit_lookup, .context = &fit};
  enum err err = ERR_OK;
  for (size_t i = 0; i < p->stage_count && !err; i++)
    if (is_certain(&fit, &p->stages[i], &scope)) err = fit_stage(&fit, i, &scope, e);
  return err;
}
