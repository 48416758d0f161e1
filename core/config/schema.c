#include "config/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { KEYS_MAX = 256, LISTED_MAX = 40 };

/* ---- tables, wherever their rows come from --------------------------------------------------------------------- */

static size_t row_count(const struct rule *rules, size_t param_count) {
  size_t n = 0;
  if (!rules) return param_count;
  while (rules[n].key) n++;
  return n;
}

static struct rule row_at(const struct rule *rules, const struct param_type *params, size_t index) {
  return rules ? rules[index] : rule_of_param(&params[index]);
}

static bool row_find(const struct rule *rules, const struct param_type *params, size_t count, const char *key,
                     struct rule *row) {
  for (size_t i = 0; i < row_count(rules, count); i++) {
    *row = row_at(rules, params, i);
    if (strcmp(row->key, key) == 0) return true;
  }
  return false;
}

static size_t row_keys(const struct rule *rules, const struct param_type *params, size_t count,
                       const char *keys[KEYS_MAX]) {
  size_t n = row_count(rules, count);
  if (n > KEYS_MAX) n = KEYS_MAX;
  for (size_t i = 0; i < n; i++) keys[i] = rules ? rules[i].key : params[i].name;
  return n;
}

/* ---- unknown keys ---------------------------------------------------------------------------------------------- */

static void list_valid(struct buf *hint, const char *const *keys, size_t count) {
  if (!count) return;
  buf_format(hint, "%svalid: ", hint->size ? "\n" : "");
  for (size_t i = 0; i < count && i < LISTED_MAX; i++) buf_format(hint, "%s%s", i ? ", " : "", keys[i]);
  if (count > LISTED_MAX) buf_text(hint, ", ...");
}

static const struct schema_place *place_with(const struct schema *s, const char *key) {
  struct rule row;
  for (size_t i = 0; i < s->place_count; i++)
    if (row_find(s->places[i].rules, s->places[i].params, s->places[i].param_count, key, &row)) return &s->places[i];
  return NULL;
}

/* The nearest key of another place, when nothing here is near. */
static bool near_elsewhere(const struct schema *s, const char *key, struct buf *hint) {
  const char *keys[KEYS_MAX];
  for (size_t i = 0; i < s->place_count; i++) {
    const struct schema_place *p = &s->places[i];
    const char *near = report_nearest(key, keys, row_keys(p->rules, p->params, p->param_count, keys));
    if (!near) continue;
    buf_format(hint, "did you mean `%s`? It belongs %s", near, p->where);
    return true;
  }
  return false;
}

static const char *synonym(const struct schema *s, const char *key) {
  size_t n = strlen(key);
  struct rule row;
  for (const char *const *pair = s->synonyms; pair && *pair; pair++)
    if (strncmp(*pair, key, n) == 0 && (*pair)[n] == '=' &&
        row_find(s->rules, s->params, s->param_count, *pair + n + 1, &row))
      return *pair + n + 1;
  return NULL;
}

static void unknown_key(const struct schema *s, const struct node *key, struct report *report) {
  const char *keys[KEYS_MAX];
  size_t count = row_keys(s->rules, s->params, s->param_count, keys);
  buf_auto struct buf hint = {0};
  if (report_is_full(report)) {
    node_problem(report, PROBLEM_ERROR, key, NULL, "unknown key `%.100s` in %s", key->text, s->what);
    return;
  }
  const char *near = synonym(s, key->text);
  const struct schema_place *place = near ? NULL : place_with(s, key->text);
  if (!near) near = report_nearest(key->text, keys, count);
  if (place)
    buf_format(&hint, "`%s` belongs %s", key->text, place->where);
  else if (near)
    buf_format(&hint, "did you mean `%s`?", near);
  else
    near_elsewhere(s, key->text, &hint);
  if (count)
    list_valid(&hint, keys, count);
  else if (!hint.size)
    buf_text(&hint, "nothing can be written here");
  node_problem(report, PROBLEM_ERROR, key, buf_string(&hint), "unknown key `%.100s` in %s", key->text, s->what);
}

void schema_unknown(struct report *report, const struct node *at, const char *const *valid, size_t count,
                    const char *format, ...) {
  char message[512];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  buf_auto struct buf hint = {0};
  bool helps = !report_is_full(report);
  const char *near = helps && at->text ? report_nearest(at->text, valid, count) : NULL;
  if (near) buf_format(&hint, "did you mean `%s`?", near);
  if (helps) list_valid(&hint, valid, count);
  node_problem(report, PROBLEM_ERROR, at, buf_string(&hint), "%s", message);
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

bool node_has_expression(const struct node *node) {
  return node->kind == NODE_SCALAR && strstr(node->text, "${{") != NULL;
}

static void wrong(const struct schema *s, const struct rule *rule, const struct node *node, struct report *report,
                  const char *why) {
  node_problem(report, PROBLEM_ERROR, node, rule->summary, "`%s` of %s: %s", rule->key, s->what, why);
}

static void wrong_kind(const struct schema *s, const struct rule *rule, const struct node *node,
                       struct report *report) {
  buf_auto struct buf why = {0};
  if (node_is_empty(node))
    buf_text(&why, "it has no value: write ");
  else
    buf_format(&why, "%s stands where it has to be ", node_kind_word(node));
  rule_describe(rule, &why);
  if (node_is_empty(node)) buf_text(&why, ", or remove the key");
  wrong(s, rule, node, report, buf_string(&why));
}

static void check_scalar(const struct schema *s, const struct rule *rule, const struct node *node,
                         struct report *report, struct value **value) {
  bool may = s->expressions || (rule->flags & RULE_EXPRESSIONS);
  bool is_expression = node_has_expression(node) || (rule->flags & RULE_BARE);
  if (s->expression && may && is_expression && !node_is_empty(node)) {
    s->expression(s->context, rule, node);
    *value = value_text_n(node->text, node->size);
    return;
  }
  bool scalar = (rule->takes & ~(uint32_t)(RULE_MAP | RULE_LIST | SM_TAKES_RECORD)) != 0;
  if (s->expression && is_expression && scalar) {
    wrong(s, rule, node, report, "an expression cannot stand here: it is needed before the pipeline runs");
    return;
  }
  buf_auto struct buf why = {0};
  if (node_is_empty(node) && !(rule->takes & (RULE_MAP | RULE_LIST))) return wrong_kind(s, rule, node, report);
  if (!scalar) return wrong_kind(s, rule, node, report);
  if (literal_parse(rule, node->text, node->plain, value, &why)) wrong(s, rule, node, report, buf_string(&why));
}

static void check_list(const struct schema *s, const struct rule *rule, const struct node *node, struct report *report,
                       struct value **value) {
  struct rule item = *rule;
  item.flags &= ~(uint32_t)SM_REPEATED;
  struct value *list = value_list();
  for (size_t i = 0; i < node->count; i++) {
    struct value *v = NULL;
    schema_value(s, &item, node->items[i], report, &v);
    value_list_add(list, v ? v : value_null());
  }
  *value = list;
}

static void check_record(const struct schema *s, const struct rule *rule, const struct node *node,
                         struct report *report, struct value **value) {
  mem_auto char *what = mem_format("`%s` of %s", rule->key, s->what);
  struct schema inner = *s;
  inner.what = what;
  inner.rules = rule->param ? NULL : rule->fields;
  inner.params = rule->param ? rule->param->fields : NULL;
  inner.param_count = rule_field_count(rule);
  inner.place_count = 0;
  schema_check(&inner, node, node, report, value);
}

void schema_value(const struct schema *s, const struct rule *rule, const struct node *node, struct report *report,
                  struct value **value) {
  *value = NULL;
  if (node->kind == NODE_LIST && (rule->flags & SM_REPEATED)) return check_list(s, rule, node, report, value);
  if (node->kind == NODE_MAP && (rule->takes & SM_TAKES_RECORD)) return check_record(s, rule, node, report, value);
  bool walked_elsewhere =
      (node->kind == NODE_MAP && (rule->takes & RULE_MAP)) || (node->kind == NODE_LIST && (rule->takes & RULE_LIST));
  if (walked_elsewhere) return;
  if (node->kind != NODE_SCALAR) return wrong_kind(s, rule, node, report);
  check_scalar(s, rule, node, report, value);
}

static void check_missing(const struct schema *s, const struct node *map, const struct node *at,
                          struct report *report) {
  for (size_t i = 0; i < row_count(s->rules, s->param_count); i++) {
    struct rule row = row_at(s->rules, s->params, i);
    if (!(row.flags & SM_REQUIRED) || node_get(map, row.key)) continue;
    buf_auto struct buf hint = {0};
    buf_format(&hint, "%s: ", row.key);
    rule_describe(&row, &hint);
    if (row.summary) buf_format(&hint, ": %s", row.summary);
    node_problem(report, PROBLEM_ERROR, at, buf_string(&hint), "%s lacks `%s`", s->what, row.key);
  }
}

void schema_check(const struct schema *s, const struct node *map, const struct node *at, struct report *report,
                  struct value **value) {
  value_auto struct value *all = value_map();
  for (size_t i = 0; map && i < map->count; i++) {
    struct rule row;
    const struct node *key = map->entries[i].key;
    if (!row_find(s->rules, s->params, s->param_count, key->text, &row)) {
      unknown_key(s, key, report);
      continue;
    }
    struct value *v = NULL;
    schema_value(s, &row, map->entries[i].value, report, &v);
    if (v) value_map_set(all, key->text, v);
  }
  check_missing(s, map, at, report);
  if (value) *value = all, all = NULL;
}
