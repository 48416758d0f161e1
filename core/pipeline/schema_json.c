/* The editor's view: JSON Schema from the same tables that check a file. Looser than the check where JSON Schema cannot
 * say it (units are patterns, expressions are allowed wherever one may stand). */
#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"
#include "pipeline/stagejson.h"

static struct value *schema_of(const struct rule *rule, bool expressions);

static struct value *typed(const char *type) {
  struct value *v = value_map();
  value_set_text(v, "type", type);
  return v;
}

static struct value *pattern(const char *expression) {
  struct value *v = typed("string");
  value_set_text(v, "pattern", expression);
  return v;
}

static struct value *choices_schema(const struct rule *rule) {
  struct value *v = value_map(), *list = value_list();
  char choice[256];
  for (size_t i = 0; rule_choice(rule, i, choice, sizeof choice); i++) value_list_add(list, value_text(choice));
  value_map_set(v, "enum", list);
  return v;
}

static void limit(struct value *v, const struct rule *rule) {
  if (rule->min >= rule->max) return;
  value_set_number(v, "minimum", rule->min);
  value_set_number(v, "maximum", rule->max);
}

static struct value *record_schema(const struct rule *rule, bool expressions) {
  struct value *v = typed("object"), *properties = value_map(), *required = value_list();
  for (size_t i = 0; i < rule_field_count(rule); i++) {
    struct rule field = rule_field(rule, i);
    value_map_set(properties, field.key, schema_of(&field, expressions));
    if (field.flags & SM_REQUIRED) value_list_add(required, value_text(field.key));
  }
  value_map_set(v, "properties", properties);
  value_map_set(v, "required", required);
  value_set_bool(v, "additionalProperties", false);
  return v;
}

static void add_numbers(const struct rule *rule, struct value *any) {
  static const char duration[] = "^-?(0|([0-9.]+(d|h|m|s|ms|us))+)$", scaled[] = "^-?[0-9.]+(k|M|G|T|[KMGT]i)?$";
  struct value *number = rule->takes & SM_TAKES_NUMBER ? typed("number")
                         : rule->takes & SM_TAKES_INT  ? typed("integer")
                                                       : NULL;
  if (number) limit(number, rule), value_list_add(any, number);
  if (rule->takes & (SM_TAKES_SIZE | SM_TAKES_BITRATE)) {
    struct value *plain = typed("integer");
    limit(plain, rule);
    value_list_add(any, plain);
    value_list_add(any, pattern(scaled));
  }
  if (rule->takes & SM_TAKES_DURATION) value_list_add(any, pattern(duration));
  if (rule->takes & SM_TAKES_PERCENT) value_list_add(any, pattern("^-?[0-9.]+%$"));
}

static struct value *one_schema(const struct rule *rule, bool expressions) {
  struct value *any = value_list();
  if (rule->takes & SM_TAKES_KEYWORD) value_list_add(any, choices_schema(rule));
  if (rule->takes & SM_TAKES_BOOL) value_list_add(any, typed("boolean"));
  add_numbers(rule, any);
  if (rule->takes & (SM_TAKES_TEXT | SM_TAKES_FILE | SM_TAKES_TARGET | SM_TAKES_SECRET)) {
    struct value *text = value_map(), *types = value_list();
    value_list_add(types, value_text("string"));
    if (rule->takes & SM_TAKES_TEXT) value_list_add(types, value_text("number"));
    value_map_set(text, "type", types);
    value_list_add(any, text);
  }
  if (rule->takes & SM_TAKES_RECORD) value_list_add(any, record_schema(rule, expressions));
  if (rule->takes & RULE_MAP) value_list_add(any, typed("object"));
  if (rule->takes & RULE_LIST) value_list_add(any, typed("array"));
  if (expressions || (rule->flags & RULE_EXPRESSIONS)) value_list_add(any, pattern("\\$\\{\\{"));
  struct value *v = value_map();
  value_map_set(v, "anyOf", any);
  return v;
}

static struct value *schema_of(const struct rule *rule, bool expressions) {
  struct value *v = one_schema(rule, expressions);
  if (rule->flags & SM_REPEATED) {
    struct value *list = typed("array"), *any = value_list(), *either = value_map();
    value_map_set(list, "items", value_copy(v));
    value_list_add(any, v);
    value_list_add(any, list);
    value_map_set(either, "anyOf", any);
    v = either;
  }
  if (rule->summary) value_set_text(v, "description", rule->summary);
  if (rule->param && rule->param->fallback) value_set_text(v, "default", rule->param->fallback);
  return v;
}

static struct value *table_schema(const struct rule *rules) {
  struct rule record = {.takes = SM_TAKES_RECORD, .fields = rules};
  return record_schema(&record, false);
}

static struct value *reference(const char *name) {
  struct value *v = value_map();
  mem_auto char *path = mem_format("#/$defs/%s", name);
  value_set_text(v, "$ref", path);
  return v;
}

static void set_property(struct value *schema, const char *key, struct value *moved) {
  struct value *properties = (struct value *)value_get(schema, "properties");
  value_map_set(properties, key, moved);
}

/* if uses is NAME then with is that stage's table */
static struct value *stage_branch(const struct stage_type *type) {
  mem_auto char *name = mem_format("with-%s", type->name);
  struct value *branch = value_map(), *uses = value_map(), *is = value_map(), *properties = value_map();
  value_set_text(uses, "const", type->name);
  value_map_set(properties, "uses", uses);
  value_map_set(is, "properties", properties);
  value_map_set(branch, "if", is);
  struct value *then = value_map(), *with = value_map();
  value_map_set(with, "with", reference(name));
  value_map_set(then, "properties", with);
  value_map_set(branch, "then", then);
  return branch;
}

static struct value *with_schema(const struct stage_type *type, bool expressions) {
  struct value *v = typed("object"), *properties = value_map();
  for (size_t i = 0; i < type->param_count; i++) {
    struct rule rule = rule_of_param(&type->params[i]);
    value_map_set(properties, rule.key, schema_of(&rule, expressions));
  }
  value_set_text(v, "description", type->summary);
  value_map_set(v, "properties", properties);
  value_set_bool(v, "additionalProperties", false);
  return v;
}

struct value *param_schema(const struct param_type *param) {
  struct rule rule = rule_of_param(param);
  return schema_of(&rule, false);
}

struct value *stage_params_schema(const struct stage_type *type) {
  struct value *v = with_schema(type, false), *required = value_list();
  for (size_t i = 0; i < type->param_count; i++)
    if (type->params[i].flags & SM_REQUIRED) value_list_add(required, value_text(type->params[i].name));
  value_map_set(v, "required", required);
  return v;
}

static struct value *stage_schema(const struct stage_set *stages, struct value *defs) {
  struct value *stage = table_schema(keys_stage), *names = value_list(), *branches = value_list(), *uses = value_map();
  for (size_t i = 0; i < stage_set_count(stages); i++) {
    const struct stage_type *type = stage_set_at(stages, i);
    mem_auto char *name = mem_format("with-%s", type->name);
    value_list_add(names, value_text(type->name));
    value_list_add(branches, stage_branch(type));
    value_map_set(defs, name, with_schema(type, true));
  }
  value_map_set(uses, "enum", names);
  set_property(stage, "uses", uses);
  set_property(stage, "retry", reference("retry"));
  value_map_set(stage, "allOf", branches);
  return stage;
}

static struct value *list_of(const char *name) {
  struct value *v = typed("array");
  value_map_set(v, "items", reference(name));
  return v;
}

static struct value *map_of(const char *name) {
  struct value *v = typed("object");
  value_map_set(v, "additionalProperties", reference(name));
  return v;
}

void pipeline_schema_json(const struct stage_set *stages, struct buf *out) {
  value_auto struct value *root = table_schema(keys_pipeline);
  struct value *defs = value_map(), *private_keys = value_map();
  value_set_text(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
  value_set_text(root, "title", "stagemill pipeline");
  value_map_set(private_keys, "^x-", value_map());
  value_map_set(root, "patternProperties", private_keys);
  value_map_set(defs, "stage", stage_schema(stages, defs));
  value_map_set(defs, "retry", table_schema(keys_retry));
  struct value *defaults = table_schema(keys_defaults);
  set_property(defaults, "retry", reference("retry"));
  value_map_set(defs, "defaults", defaults);
  value_map_set(defs, "param", table_schema(keys_param));
  set_property(root, "stages", list_of("stage"));
  set_property(root, "params", map_of("param"));
  set_property(root, "defaults", reference("defaults"));
  value_map_set(root, "$defs", defs);
  value_json(out, root, VALUE_JSON_PRETTY);
}
