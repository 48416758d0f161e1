#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/build.h"
#include "pipeline/expr_parts.h"

/* ---- paths ----------------------------------------------------------------------------------------------------- */

/* "A file or a text" may be a text that only looks like a path; a target is one whatever else it may be. */
bool takes_path(uint32_t takes) {
  return (takes & SM_TAKES_TARGET) || ((takes & SM_TAKES_FILE) && !(takes & SM_TAKES_TEXT));
}

char *path_absolute(const char *folder, const char *path) {
  if (!folder || !*path || *path == '/' || strstr(path, "://")) return mem_text(path);
  size_t size = strlen(path);
  mem_auto char *clean = fs_absolute(folder, path);
  return size && path[size - 1] == '/' ? mem_format("%s/", clean) : mem_text(clean);
}

void path_anchor(struct node *node, uint32_t takes) {
  bool path = takes_path(takes);
  const char *folder = node->file ? node->file->folder : NULL;
  if (!path || !folder || node->kind != NODE_SCALAR || node_is_empty(node)) return;
  if (strncmp(node->text, "${{", 3) == 0 || *node->text == '/' || !*node->text || strstr(node->text, "://")) return;
  /* A text with expressions cannot be cleaned: what they give is not known. */
  char *text = node_has_expression(node) ? mem_format("%s/%s", folder, node->text) : path_absolute(folder, node->text);
  free(node->text);
  node->text = text;
  node->size = strlen(text);
}

/* A warning only: -p may name another file, and a pinned text is read where the files are no more. */
void path_missing(struct build *b, const struct node *node, uint32_t takes) {
  bool file = (takes & SM_TAKES_FILE) && !(takes & (SM_TAKES_TEXT | SM_TAKES_TARGET));
  bool here = node->kind == NODE_SCALAR && node->file && node->file->folder && node->size;
  if (!file || !here || node_has_expression(node) || access(node->text, F_OK) == 0) return;
  node_problem(b->report, PROBLEM_WARNING, node, "paths are relative to the file that writes them",
               "there is no file `%.300s`", fs_base_name(node->text));
}

/* ---- building -------------------------------------------------------------------------------------------------- */

static void setting_value_free(struct setting_value **address) {
  struct setting_value *v = *address;
  if (!v) return;
  for (size_t i = 0; i < v->count; i++) {
    setting_value_free(&v->items[i]);
    if (v->keys) free(v->keys[i]);
  }
  free(v->items);
  free(v->keys);
  value_free(&v->literal);
  template_free(&v->t);
  free(v);
  *address = NULL;
}

void setting_free(struct setting *setting) {
  free(setting->name);
  if (setting->at) free(setting->at->file);
  free(setting->at);
  setting_value_free(&setting->value);
}

static size_t asked_of(const struct setting_value *v, const char **names, size_t room) {
  size_t count = 0;
  if (v->kind == SETTING_LITERAL && v->literal->type == VALUE_TEXT && room) names[count++] = v->literal->text;
  for (size_t i = 0; v->kind == SETTING_LIST && i < v->count; i++)
    count += asked_of(v->items[i], names + count, room - count);
  return count;
}

size_t settings_asked(const struct pipeline *p, size_t stage, const char **names, size_t room) {
  const struct pipeline_stage *s = &p->stages[stage];
  if (!stage_type_can(s->type, "person")) return 0;
  for (size_t i = 0; i < s->setting_count; i++)
    if (strcmp(s->settings[i].name, "fields") == 0) return asked_of(s->settings[i].value, names, room);
  return 0;
}

static struct setting_value *build(const struct rule *rule, const struct node *node);

static struct setting_value *build_scalar(const struct rule *rule, const struct node *node) {
  struct setting_value *v = mem_alloc(sizeof *v);
  buf_auto struct buf why = {0};
  struct expr_problem problem;
  v->kind = SETTING_TEMPLATE;
  if (node_has_expression(node)) {
    if (template_parse(node->text, &v->t, &problem)) v->kind = SETTING_LITERAL, v->literal = value_null();
    return v;
  }
  v->kind = SETTING_LITERAL;
  /* What is wrong has been reported; null keeps the place. */
  if (literal_parse(rule, node->text, node->plain, &v->literal, &why)) v->literal = value_null();
  return v;
}

static struct setting_value *build_record(const struct rule *rule, const struct node *node) {
  struct setting_value *v = mem_alloc(sizeof *v);
  v->kind = SETTING_RECORD;
  v->items = mem_array(node->count + 1, sizeof *v->items);
  v->keys = mem_array(node->count + 1, sizeof *v->keys);
  for (size_t i = 0; i < node->count; i++) {
    struct rule field;
    if (!rule_field_find(rule, node->entries[i].key->text, &field)) continue;
    v->keys[v->count] = mem_text(field.key);
    v->items[v->count++] = build(&field, node->entries[i].value);
  }
  return v;
}

static struct setting_value *build(const struct rule *rule, const struct node *node) {
  if (node->kind == NODE_SCALAR) return build_scalar(rule, node);
  if (node->kind == NODE_MAP) return build_record(rule, node);
  struct setting_value *v = mem_alloc(sizeof *v);
  struct rule item = *rule;
  item.flags &= ~(uint32_t)SM_REPEATED;
  v->kind = SETTING_LIST;
  v->items = mem_array(node->count + 1, sizeof *v->items);
  for (size_t i = 0; i < node->count; i++) v->items[v->count++] = build(&item, node->items[i]);
  return v;
}

/* Also refuses what must not be in a file: a secret's value. */
static void anchor_all(struct build *b, const struct rule *rule, struct node *node) {
  struct rule field;
  if (node->kind == NODE_LIST)
    for (size_t i = 0; i < node->count; i++) anchor_all(b, rule, node->items[i]);
  if (node->kind == NODE_MAP)
    for (size_t i = 0; i < node->count; i++)
      if (rule_field_find(rule, node->entries[i].key->text, &field)) anchor_all(b, &field, node->entries[i].value);
  if (node->kind != NODE_SCALAR) return;
  path_anchor(node, rule->takes);
  path_missing(b, node, rule->takes);
  if ((rule->takes & SM_TAKES_SECRET) && !(rule->takes & SM_TAKES_TEXT) && !node_has_expression(node) &&
      !node_is_empty(node))
    node_problem(b->report, PROBLEM_ERROR, node, "write a reference: ${{ secrets.NAME }}",
                 "`%s` is a secret: its value cannot stand in a file", rule->key);
}

static void check_setting(void *context, const struct rule *rule, const struct node *node) {
  struct expression_check *c = context;
  struct template *t;
  type_set types, wanted = rule_types(rule);
  if (!expression_template(c, node, &t, &types)) return;
  template_free(&t);
  if ((types & wanted & ~type_bit(VALUE_NULL)) || types == type_bit(VALUE_NULL)) return;
  buf_auto struct buf given = {0}, takes = {0};
  type_set_text(types, &given);
  rule_describe(rule, &takes);
  node_problem(c->b->report, PROBLEM_ERROR, node, rule->summary, "`%s` takes %s; this expression gives %s", rule->key,
               buf_string(&takes), buf_string(&given));
}

void settings_build(struct build *b, size_t index) {
  struct pipeline_stage *stage = &b->p->stages[index];
  const struct node *node = b->stage_nodes[index], *with = node_get(node, "with");
  if (!stage->type || (with && with->kind != NODE_MAP)) return;
  struct expression_check c = {b, PLACE_WITH, index};
  struct schema_place places[KEYS_PLACES_MAX];
  mem_auto char *what = mem_format("stage `%s` (%s)", stage->id, stage->uses);
  struct schema schema = {.what = what,
                          .params = stage->type->params,
                          .param_count = stage->type->param_count,
                          .expressions = true,
                          .places = places,
                          .expression = check_setting,
                          .context = &c};
  schema.place_count = keys_places(KEYS_WITH, NULL, places);
  for (size_t i = 0; with && i < with->count; i++) {
    const struct param_type *type = stage_type_param(stage->type, with->entries[i].key->text);
    struct rule rule = type ? rule_of_param(type) : (struct rule){0};
    if (type) anchor_all(b, &rule, with->entries[i].value);
  }
  schema_check(&schema, with, node_key(node, "uses") ? node_get(node, "uses") : node, b->report, NULL);
  stage->settings = mem_array(with ? with->count + 1 : 1, sizeof *stage->settings);
  for (size_t i = 0; with && i < with->count; i++) {
    const struct node *key = with->entries[i].key;
    const struct param_type *type = stage_type_param(stage->type, key->text);
    if (!type) continue;
    struct rule rule = rule_of_param(type);
    struct setting *setting = &stage->settings[stage->setting_count++];
    setting->name = mem_text(key->text);
    setting->type = type;
    setting->at = mem_alloc(sizeof *setting->at);
    *setting->at = (struct node_text){mem_text(key->file->name), key->line, key->column};
    setting->value = build(&rule, with->entries[i].value);
  }
}

void setting_templates(const struct setting_value *v, setting_visit *visit, void *context) {
  if (v->t) visit(context, v->t);
  for (size_t i = 0; i < v->count; i++) setting_templates(v->items[i], visit, context);
}
