/* Settings at run time: templates evaluated, values made to fit the parameter, defaults filled in. */
#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"

struct settle {
  const struct pipeline *p;
  const struct scope *scope;
  asset_map *asset;
  void *asset_context;
};

/* ---- parameters that name a secret ------------------------------------------------------------------------------ */

static bool is_secret_param(const struct pipeline *p, const char *name) {
  for (size_t i = 0; i < p->param_count; i++)
    if (strcmp(p->params[i].name, name) == 0) return (p->params[i].type->takes & SM_TAKES_SECRET) != 0;
  return false;
}

/* The params map keeps "secrets.NAME" for a secret; where it is used it is looked up like a written reference. */
static struct value *lookup(void *context, const struct reference *r) {
  const struct settle *s = context;
  struct value *v = s->scope->lookup(s->scope->context, r);
  if (r->kind != REFERENCE_PARAM || !v || v->type != VALUE_TEXT || !is_secret_param(s->p, r->name)) return v;
  if (strncmp(v->text, "secrets.", 8) != 0) return v;
  struct reference secret = {.kind = REFERENCE_SECRET, .name = v->text + 8};
  struct value *found = s->scope->lookup(s->scope->context, &secret);
  value_free(&v);
  if (found && found->type == VALUE_TEXT) found->secret = true;
  return found;
}

static bool status(void *context, const char *function) {
  const struct settle *s = context;
  return s->scope->status && s->scope->status(s->scope->context, function);
}

/* ---- evaluation ------------------------------------------------------------------------------------------------ */

static enum err evaluate(const struct settle *s, const struct setting_value *in, struct value **out, struct error *e);

static enum err evaluate_branch(const struct settle *s, const struct setting_value *in, struct value **out,
                                struct error *e) {
  value_auto struct value *v = in->kind == SETTING_LIST ? value_list() : value_map();
  for (size_t i = 0; i < in->count; i++) {
    struct value *item = NULL;
    enum err err = evaluate(s, in->items[i], &item, e);
    if (err) return err;
    if (in->kind == SETTING_LIST)
      value_list_add(v, item);
    else
      value_map_set(v, in->keys[i], item);
  }
  *out = v;
  v = NULL;
  return ERR_OK;
}

static enum err evaluate(const struct settle *s, const struct setting_value *in, struct value **out, struct error *e) {
  *out = NULL;
  if (in->kind == SETTING_LITERAL) return *out = value_copy(in->literal), ERR_OK;
  if (in->kind != SETTING_TEMPLATE) return evaluate_branch(s, in, out, e);
  struct scope scope = {lookup, s->scope->status ? status : NULL, (void *)s};
  return template_eval(in->t, &scope, out, e);
}

static void map_assets(const struct settle *s, const struct rule *rule, struct value **v) {
  struct rule field;
  if (!*v) return;
  for (size_t i = 0; (*v)->type == VALUE_LIST && i < (*v)->count; i++) map_assets(s, rule, &(*v)->items[i]);
  for (size_t i = 0; (*v)->type == VALUE_MAP && i < (*v)->count; i++)
    if (rule_field_find(rule, (*v)->keys[i], &field)) map_assets(s, &field, &(*v)->items[i]);
  if ((*v)->type != VALUE_TEXT) return;
  if ((rule->takes & SM_TAKES_SECRET) && !(rule->takes & SM_TAKES_TEXT)) (*v)->secret = true;
  if (!(rule->takes & SM_TAKES_FILE) || !s->asset || !(*v)->text_size) return;
  char *copy = s->asset(s->asset_context, (*v)->text);
  if (!copy) return;
  value_free(v);
  *v = value_text(copy);
  free(copy);
}

static enum err setting_error(const struct pipeline_stage *stage, const struct setting *setting, const char *where,
                              const char *why, struct error *e) {
  return error_set(e, ERR_INVALID, "stage `%s`, `%s` (%s:%zu): %s", stage->id, *where ? where : setting->name,
                   setting->at->file, setting->at->line, why);
}

static enum err settle_setting(const struct settle *s, const struct pipeline_stage *stage,
                               const struct setting *setting, struct value **v, struct error *e) {
  struct rule rule = rule_of_param(setting->type);
  buf_auto struct buf where = {0}, why = {0};
  value_auto struct value *raw = NULL;
  enum err err = evaluate(s, setting->value, &raw, e);
  *v = NULL;
  if (err) {
    error_prefix(e, "stage `%s`, `%s` (%s:%zu)", stage->id, setting->name, setting->at->file, setting->at->line);
    return err;
  }
  bool no_file =
      raw->type == VALUE_TEXT && !*raw->text && (rule.takes & SM_TAKES_FILE) && !(rule.takes & SM_TAKES_TEXT);
  if (value_is_null(raw) || no_file) return ERR_OK; /* as if it were not written */
  buf_text(&where, setting->name);
  if (literal_convert(&rule, raw, v, &where, &why))
    return setting_error(stage, setting, buf_string(&where), buf_string(&why), e);
  map_assets(s, &rule, v);
  return ERR_OK;
}

static const struct setting *setting_find(const struct pipeline_stage *stage, const char *name, size_t *index) {
  for (*index = 0; *index < stage->setting_count; ++*index)
    if (strcmp(stage->settings[*index].name, name) == 0) return &stage->settings[*index];
  return NULL;
}

static enum err settle_param(const struct settle *s, const struct pipeline_stage *stage, const struct param_type *type,
                             const bool *skip, struct value *all, struct error *e) {
  size_t index;
  struct value *v = NULL;
  buf_auto struct buf why = {0};
  const struct setting *setting = setting_find(stage, type->name, &index);
  if (setting && skip && skip[index]) return ERR_OK;
  enum err err = setting ? settle_setting(s, stage, setting, &v, e) : ERR_OK;
  if (!err && !v && literal_default(type, &v, &why))
    err = error_set(e, ERR_INVALID, "stage `%s`: the default of `%s` in plugin %s is wrong: %s", stage->id, type->name,
                    stage->type->plugin_id ? stage->type->plugin_id : "?", buf_string(&why));
  if (!err && value_is_null(v) && (type->flags & SM_REQUIRED))
    err = error_set(e, ERR_INVALID, "stage `%s`: `%s` is required and the expression gave null", stage->id, type->name);
  if (!err && !value_is_null(v)) value_map_set(all, type->name, v), v = NULL;
  value_free(&v);
  return err;
}

enum err pipeline_settings_except(const struct pipeline *p, size_t index, const struct scope *scope, asset_map *asset,
                                  void *asset_context, const bool *skip, struct value **params, struct error *e) {
  const struct pipeline_stage *stage = &p->stages[index];
  struct settle s = {p, scope, asset, asset_context};
  struct value *all = value_map();
  enum err err = ERR_OK;
  for (size_t i = 0; i < stage->type->param_count && !err; i++)
    err = settle_param(&s, stage, &stage->type->params[i], skip, all, e);
  if (err) value_free(&all);
  *params = all;
  return err;
}

enum err pipeline_settings(const struct pipeline *p, size_t stage, const struct scope *scope, asset_map *asset,
                           void *asset_context, struct value **params, struct error *e) {
  return pipeline_settings_except(p, stage, scope, asset, asset_context, NULL, params, e);
}

/* ---- what has to be pinned -------------------------------------------------------------------------------------- */

static enum err visit_files(const struct value *v, const struct rule *rule, asset_visit *visit, void *context,
                            struct error *e) {
  struct rule field;
  enum err err = ERR_OK;
  if (value_is_null(v)) return ERR_OK;
  for (size_t i = 0; v->type == VALUE_LIST && i < v->count && !err; i++)
    err = visit_files(v->items[i], rule, visit, context, e);
  for (size_t i = 0; v->type == VALUE_MAP && i < v->count && !err; i++)
    if (rule_field_find(rule, v->keys[i], &field)) err = visit_files(v->items[i], &field, visit, context, e);
  bool file = v->type == VALUE_TEXT && v->text_size && (rule->takes & SM_TAKES_FILE) && !(rule->takes & SM_TAKES_TEXT);
  return !err && file ? visit(context, v->text, e) : err;
}

static enum err visit_setting(const struct setting_value *v, const struct rule *rule, asset_visit *visit, void *context,
                              struct error *e) {
  struct rule field;
  enum err err = v->kind == SETTING_LITERAL ? visit_files(v->literal, rule, visit, context, e) : ERR_OK;
  for (size_t i = 0; i < v->count && !err; i++) {
    if (v->kind == SETTING_LIST)
      err = visit_setting(v->items[i], rule, visit, context, e);
    else if (rule_field_find(rule, v->keys[i], &field))
      err = visit_setting(v->items[i], &field, visit, context, e);
  }
  return err;
}

enum err pipeline_assets(const struct pipeline *p, const struct value *params, asset_visit *visit, void *context,
                         struct error *e) {
  enum err err = ERR_OK;
  for (size_t i = 0; i < p->param_count && !err; i++) {
    struct rule rule = rule_of_param(p->params[i].type);
    const struct value *v = value_get(params, p->params[i].name);
    if (v) err = visit_files(v, &rule, visit, context, e);
  }
  for (size_t i = 0; i < p->stage_count && !err; i++)
    for (size_t n = 0; n < p->stages[i].setting_count && !err; n++) {
      struct rule rule = rule_of_param(p->stages[i].settings[n].type);
      err = visit_setting(p->stages[i].settings[n].value, &rule, visit, context, e);
    }
  return err;
}
