#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/build.h"

static const struct {
  const char *word;
  uint32_t takes;
} types[] = {{"text", SM_TAKES_TEXT},       {"int", SM_TAKES_INT},           {"number", SM_TAKES_NUMBER | SM_TAKES_INT},
             {"bool", SM_TAKES_BOOL},       {"duration", SM_TAKES_DURATION}, {"size", SM_TAKES_SIZE},
             {"bitrate", SM_TAKES_BITRATE}, {"percent", SM_TAKES_PERCENT},   {"file", SM_TAKES_FILE},
             {"target", SM_TAKES_TARGET},   {"secret", SM_TAKES_SECRET},     {"choice", SM_TAKES_KEYWORD}};

static uint32_t takes_of(const struct value *type) {
  uint32_t takes = 0;
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    if (type->type == VALUE_TEXT && strcmp(type->text, types[t].word) == 0) takes |= types[t].takes;
    for (size_t i = 0; type->type == VALUE_LIST && i < type->count; i++)
      if (type->items[i]->type == VALUE_TEXT && strcmp(type->items[i]->text, types[t].word) == 0)
        takes |= types[t].takes;
  }
  return takes;
}

type_set param_types(const struct param_type *type) {
  static const struct {
    uint32_t takes;
    enum value_type type;
  } map[] = {{SM_TAKES_TEXT | SM_TAKES_KEYWORD | SM_TAKES_FILE | SM_TAKES_TARGET | SM_TAKES_SECRET, VALUE_TEXT},
             {SM_TAKES_INT, VALUE_INT},
             {SM_TAKES_NUMBER, VALUE_NUMBER},
             {SM_TAKES_BOOL, VALUE_BOOL},
             {SM_TAKES_DURATION, VALUE_DURATION},
             {SM_TAKES_SIZE, VALUE_SIZE},
             {SM_TAKES_BITRATE, VALUE_BITRATE},
             {SM_TAKES_PERCENT, VALUE_PERCENT},
             {SM_TAKES_RECORD, VALUE_MAP}};
  if (type->flags & SM_REPEATED) return type_bit(VALUE_LIST);
  type_set set = 0;
  for (size_t i = 0; i < sizeof map / sizeof *map; i++)
    if (type->takes & map[i].takes) set |= type_bit(map[i].type);
  return set;
}

/* ---- declarations ---------------------------------------------------------------------------------------------- */

static void choices_build(struct build *b, const struct node *key, struct param_type *type, const struct value *v) {
  const struct value *list = value_get(v, "choices");
  bool wanted = type->takes & SM_TAKES_KEYWORD;
  if (wanted && (!list || list->type != VALUE_LIST || !list->count))
    node_problem(b->report, PROBLEM_ERROR, key, "write `choices: [one, other]`",
                 "the parameter `%s` is a choice without `choices`", key->text);
  if (!wanted && list)
    node_problem(b->report, PROBLEM_ERROR, key, "write `type: choice`, or remove `choices`",
                 "the parameter `%s` has `choices` but is no choice", key->text);
  if (!wanted || !list || list->type != VALUE_LIST) return;
  type->choices = mem_array(list->count + 1, sizeof *type->choices);
  for (size_t i = 0; i < list->count; i++)
    if (list->items[i]->type == VALUE_TEXT) type->choices[type->choice_count++] = mem_text(list->items[i]->text);
}

static bool limit_of(struct build *b, const struct node *node, const struct param_type *type, double *limit) {
  struct rule rule = rule_of_param(type);
  rule.flags = RULE_SIGNED;
  struct value *v = NULL;
  buf_auto struct buf why = {0};
  if (node->kind != NODE_SCALAR) return false;
  if (literal_parse(&rule, node->text, true, &v, &why)) {
    node_problem(b->report, PROBLEM_ERROR, node, NULL, "a limit of a parameter is such a value itself: %s",
                 buf_string(&why));
    return false;
  }
  bool real = v->type == VALUE_NUMBER || v->type == VALUE_PERCENT;
  *limit = real ? v->number : v->type == VALUE_DURATION ? (double)v->integer / 1e6 : (double)v->integer;
  bool numeric = v->type != VALUE_TEXT && v->type != VALUE_BOOL;
  value_free(&v);
  if (!numeric) node_problem(b->report, PROBLEM_ERROR, node, NULL, "`min` and `max` are for numbers and units");
  return numeric;
}

static void range_build(struct build *b, const struct node *node, struct param_type *type) {
  const struct node *low = node_get(node, "min"), *high = node_get(node, "max");
  double min = type->takes & (SM_TAKES_INT | SM_TAKES_NUMBER) ? -RULE_UNBOUNDED : 0, max = RULE_UNBOUNDED;
  if (!low && !high) return;
  if (low && !limit_of(b, low, type, &min)) return;
  if (high && !limit_of(b, high, type, &max)) return;
  if (min >= max) {
    node_problem(b->report, PROBLEM_ERROR, high ? high : low, NULL, "`max` has to be more than `min`");
    return;
  }
  type->min = min;
  type->max = max;
  if (type->takes & SM_TAKES_DURATION) type->unit = mem_text("s");
}

/* A secret's default names the secret; its value never stands in a file. */
static bool is_secret_reference(const char *text) {
  const char *s = text;
  if (strncmp(s, "${{", 3) == 0) s += 3 + strspn(s + 3, " ");
  if (strncmp(s, "secrets.", 8) != 0) return false;
  s += 8;
  size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
  s += n;
  if (*text == '$') {
    s += strspn(s, " ");
    return n && strcmp(s, "}}") == 0;
  }
  return n && !*s;
}

/* "secrets.NAME", as it is kept in the params map. */
static struct value *secret_reference(const char *text) {
  const char *name = strstr(text, "secrets.");
  return value_text_n(name, strcspn(name, " }"));
}

static bool convert(const struct param_type *type, const struct value *in, struct value **out, struct buf *why) {
  struct rule rule = rule_of_param(type);
  buf_auto struct buf where = {0};
  /* "No file": a stage that is given it sees the parameter as absent. */
  if ((type->takes & SM_TAKES_FILE) && in->type == VALUE_TEXT && !*in->text) return *out = value_text(""), true;
  if ((type->takes & SM_TAKES_SECRET) && in->type == VALUE_TEXT) {
    if (is_secret_reference(in->text)) return *out = secret_reference(in->text), true;
    if (*in->text || !(type->takes & SM_TAKES_TEXT))
      return buf_text(why, "a secret is given by name, secrets.NAME, never by its value"), false;
  }
  return literal_convert(&rule, in, out, &where, why) == ERR_OK;
}

static struct value *node_value(const struct node *node) {
  if (node->kind != NODE_LIST) return value_text_n(node->text ? node->text : "", node->size);
  struct value *list = value_list();
  for (size_t i = 0; i < node->count; i++) value_list_add(list, node_value(node->items[i]));
  return list;
}

static void anchor_default(struct node *node, uint32_t takes) {
  if (node->kind == NODE_SCALAR) path_anchor(node, takes);
  for (size_t i = 0; node->kind == NODE_LIST && i < node->count; i++) anchor_default(node->items[i], takes);
}

static void default_build(struct build *b, const struct node *key, struct node *node, struct pipeline_param *param,
                          const struct value *v) {
  bool required = value_get_bool(v, "required", false), optional = !value_get_bool(v, "required", true);
  struct node *fallback = (struct node *)node_get(node, "default");
  if (fallback && required)
    node_problem(b->report, PROBLEM_ERROR, node_key(node, "required"), "remove one of the two",
                 "the parameter `%s` is required and has a default", key->text);
  if (!fallback && optional) param->fallback = value_null();
  if (!fallback || fallback->kind == NODE_MAP) return;
  if (fallback->kind == NODE_LIST && !(param->type->flags & SM_REPEATED)) {
    node_problem(b->report, PROBLEM_ERROR, fallback, "write `list: true`",
                 "the default of `%s` is a list, the parameter is none", key->text);
    return;
  }
  anchor_default(fallback, param->type->takes);
  path_missing(b, fallback, param->type->takes);
  value_auto struct value *in = node_value(fallback);
  buf_auto struct buf why = {0};
  if (!convert(param->type, in, &param->fallback, &why))
    node_problem(b->report, PROBLEM_ERROR, fallback, param->type->summary, "the default of `%s`: %s", key->text,
                 buf_string(&why));
}

static void param_build(struct build *b, const struct node *key, struct node *node) {
  struct pipeline_param *param = &b->p->params[b->p->param_count++];
  struct param_type *type = mem_alloc(sizeof *type);
  struct schema_place places[KEYS_PLACES_MAX];
  mem_auto char *what = mem_format("parameter `%s`", key->text);
  struct schema schema = {.what = what, .rules = keys_param, .places = places};
  schema.place_count = keys_places(KEYS_PARAM, NULL, places);
  value_auto struct value *v = NULL;
  param->name = mem_text(key->text);
  param->type = type;
  type->name = mem_text(key->text);
  build_id(b, key, "a parameter's name");
  if (node->kind != NODE_MAP) {
    node_problem(b->report, PROBLEM_ERROR, node, "write `{ type: text, default: ... }`",
                 "the parameter `%s` is a map with a `type`, not %s", key->text, node_kind_word(node));
    return;
  }
  schema_check(&schema, node, key, b->report, &v);
  const struct value *word = value_get(v, "type");
  if (!word || !(type->takes = takes_of(word))) return;
  const char *summary = value_get_text(v, "summary", value_get_text(v, "description", NULL));
  type->summary = mem_text(summary);
  type->flags = value_get_bool(v, "list", false) ? SM_REPEATED : 0;
  choices_build(b, key, type, v);
  range_build(b, node, type);
  default_build(b, key, node, param, v);
}

void params_build(struct build *b) {
  const struct node *params = node_get(b->root, "params");
  if (!params || params->kind != NODE_MAP) return;
  if (params->count > BUILD_PARAMS_MAX) {
    node_problem(b->report, PROBLEM_ERROR, params, NULL, "more than %d parameters", BUILD_PARAMS_MAX);
    return;
  }
  b->p->params = mem_array(params->count + 1, sizeof *b->p->params);
  b->param_used = mem_array(params->count + 1, sizeof *b->param_used);
  for (size_t i = 0; i < params->count; i++) param_build(b, params->entries[i].key, params->entries[i].value);
}

/* ---- values of a submission ------------------------------------------------------------------------------------ */

static const struct pipeline_param *param_find(const struct pipeline *p, const char *name) {
  for (size_t i = 0; i < p->param_count; i++)
    if (strcmp(p->params[i].name, name) == 0) return &p->params[i];
  return NULL;
}

static enum err check_names(const struct pipeline *p, const struct value *given, struct error *e) {
  const char *names[BUILD_PARAMS_MAX];
  for (size_t i = 0; i < p->param_count; i++) names[i] = p->params[i].name;
  for (size_t i = 0; given && i < given->count; i++) {
    if (param_find(p, given->keys[i])) continue;
    const char *near = report_nearest(given->keys[i], names, p->param_count);
    buf_auto struct buf valid = {0};
    for (size_t n = 0; n < p->param_count && n < 20; n++) buf_format(&valid, "%s%s", n ? ", " : "", names[n]);
    if (near)
      return error_set(e, ERR_USAGE, "the pipeline %s has no parameter `%.60s`; did you mean `%s`?", p->name,
                       given->keys[i], near);
    return error_set(e, ERR_USAGE, "the pipeline %s has no parameter `%.60s`; valid: %s", p->name, given->keys[i],
                     valid.size ? buf_string(&valid) : "it takes none");
  }
  return ERR_OK;
}

/* Text for a list parameter is split at commas: that is how -p gives several. */
static struct value *split(const char *text) {
  struct value *list = value_list();
  while (*text) {
    size_t n = strcspn(text, ",");
    value_list_add(list, value_text_n(text, n));
    text += n + (text[n] == ',');
  }
  return list;
}

static void anchor_value(struct value **v, uint32_t takes, const char *folder) {
  if (!takes_path(takes) || !folder) return;
  for (size_t i = 0; (*v)->type == VALUE_LIST && i < (*v)->count; i++) anchor_value(&(*v)->items[i], takes, folder);
  if ((*v)->type != VALUE_TEXT) return;
  mem_auto char *path = path_absolute(folder, (*v)->text);
  value_free(v);
  *v = value_text(path);
}

static enum err param_value(const struct pipeline *p, const struct pipeline_param *param, const struct value *given,
                            const char *folder, struct value **v, struct error *e) {
  buf_auto struct buf why = {0};
  if (value_is_null(given)) {
    if (param->fallback) return *v = value_copy(param->fallback), ERR_OK;
    const char *summary = param->type->summary;
    return error_set(e, ERR_USAGE, "the pipeline %s needs a value for `%s`%s%s: give it with -p %s=VALUE", p->name,
                     param->name, summary ? ", " : "", summary ? summary : "", param->name);
  }
  bool several = (param->type->flags & SM_REPEATED) && given->type == VALUE_TEXT;
  value_auto struct value *in = several ? split(given->text) : value_copy(given);
  if (!convert(param->type, in, v, &why))
    return error_set(e, ERR_USAGE, "the parameter `%s`: %s", param->name, buf_string(&why));
  anchor_value(v, param->type->takes, folder);
  return ERR_OK;
}

enum err pipeline_params(const struct pipeline *p, const struct value *given, const char *folder, struct value **params,
                         struct error *e) {
  *params = NULL;
  if (given && given->type != VALUE_MAP) return error_set(e, ERR_USAGE, "parameters are a map of names to values");
  enum err err = check_names(p, given, e);
  struct value *all = value_map();
  for (size_t i = 0; i < p->param_count && !err; i++) {
    struct value *v = NULL;
    err = param_value(p, &p->params[i], value_get(given, p->params[i].name), folder, &v, e);
    if (!err) value_map_set(all, p->params[i].name, v);
  }
  if (err) value_free(&all);
  *params = all;
  return err;
}
