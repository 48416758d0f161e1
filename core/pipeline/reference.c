#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"
#include "pipeline/expr_parts.h"

/* ---- where an offset of the expression's text stands in the file ------------------------------------------------ */

static size_t characters(const char *text, size_t bytes) {
  size_t n = 0;
  for (size_t i = 0; i < bytes && text[i]; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
  return n;
}

/* Exact for a scalar on one line without escapes; else the scalar's beginning. */
static void report_at_offset(struct build *b, const struct node *node, size_t offset, size_t length, const char *hint,
                             const char *message) {
  size_t quote = node->plain ? 0 : 1, all = characters(node->text, node->size);
  if (node->length != all + 2 * quote) {
    node_problem(b->report, PROBLEM_ERROR, node, hint, "%s", message);
    return;
  }
  size_t shift = characters(node->text, offset) + quote;
  node_problem_within(b->report, PROBLEM_ERROR, node, shift, characters(node->text + offset, length), hint, "%s",
                      message);
}

static bool bad_expression(const struct expression_check *c, const struct node *node,
                           const struct expr_problem *problem) {
  report_at_offset(c->b, node, problem->offset, problem->length, NULL, problem->message);
  return false;
}

/* ---- what a reference may name --------------------------------------------------------------------------------- */

struct visit {
  const struct expression_check *c;
  const struct node *node;
  bool good;
};

static void unknown(struct visit *v, const struct reference *r, const char *word, const char *const *valid,
                    size_t count, const char *message) {
  buf_auto struct buf hint = {0};
  if (report_is_full(v->c->b->report)) count = 0;
  const char *near = report_nearest(word, valid, count);
  if (near) buf_format(&hint, "did you mean `%s`?\n", near);
  if (count) buf_text(&hint, "valid: ");
  for (size_t i = 0; i < count && i < 40; i++) buf_format(&hint, "%s%s", i ? ", " : "", valid[i]);
  report_at_offset(v->c->b, v->node, r->offset, r->length, buf_string(&hint), message);
  v->good = false;
}

static void refuse(struct visit *v, const struct reference *r, const char *hint, const char *message) {
  report_at_offset(v->c->b, v->node, r->offset, r->length, hint, message);
  v->good = false;
}

static void visit_param(struct visit *v, const struct reference *r) {
  struct build *b = v->c->b;
  const char *names[BUILD_PARAMS_MAX];
  for (size_t i = 0; i < b->p->param_count; i++) {
    names[i] = b->p->params[i].name;
    if (strcmp(names[i], r->name) != 0) continue;
    b->param_used[i] = true;
    if (v->c->place == PLACE_RESULT && (b->p->params[i].type->takes & SM_TAKES_SECRET))
      refuse(v, r, NULL, "a secret cannot stand in `result`");
    return;
  }
  mem_auto char *message = mem_format("the pipeline has no parameter `%.100s`", r->name);
  unknown(v, r, r->name, names, b->p->param_count, message);
}

/* What a person is asked for under `with: fields` comes back as results of those names. Asked of the file: the stage's own
 * settings may not be there yet. */
static bool is_persons_answer(const struct build *b, size_t stage, const char *key) {
  const struct node *with = node_get(b->stage_nodes[stage], "with"), *fields = with ? node_get(with, "fields") : NULL;
  if (!stage_type_can(b->p->stages[stage].type, "person") || !fields) return false;
  if (fields->kind == NODE_SCALAR) return strcmp(fields->text, key) == 0;
  for (size_t i = 0; fields->kind == NODE_LIST && i < fields->count; i++)
    if (fields->items[i]->kind == NODE_SCALAR && strcmp(fields->items[i]->text, key) == 0) return true;
  return false;
}

static void visit_result(struct visit *v, const struct reference *r, const struct pipeline_stage *stage) {
  const char *keys[257];
  size_t n = 0;
  if (!stage->type || strcmp(r->key, "status") == 0 || stage_type_result(stage->type, r->key)) return;
  if (is_persons_answer(v->c->b, (size_t)(stage - v->c->b->p->stages), r->key)) return;
  for (; n < stage->type->result_count && n < 256; n++) keys[n] = stage->type->results[n].key;
  keys[n++] = "status";
  mem_auto char *message = mem_format("stage `%s` (%s) has no result `%.100s`", stage->id, stage->uses, r->key);
  unknown(v, r, r->key, keys, n, message);
}

static void visit_stage(struct visit *v, const struct reference *r) {
  struct build *b = v->c->b;
  const char *ids[BUILD_STAGES_MAX];
  size_t n = 0;
  if (v->c->place == PLACE_GROUP)
    return refuse(v, r, "use params and job", "a concurrency group is needed before any stage has run");
  for (size_t i = 0; i < b->p->stage_count; i++) {
    struct pipeline_stage *stage = &b->p->stages[i];
    if (strcmp(stage->id, r->name) != 0) {
      if (*stage->id) ids[n++] = stage->id; /* one that lacks its id is reported elsewhere */
      continue;
    }
    if (i == v->c->stage)
      return refuse(v, r, "its results are there when it has ended", "a stage cannot refer to itself");
    if (v->c->stage != SIZE_MAX) after_add(&b->p->stages[v->c->stage], i);
    return visit_result(v, r, stage);
  }
  mem_auto char *message = mem_format("the pipeline has no stage `%.100s`", r->name);
  unknown(v, r, r->name, ids, n, message);
}

static void visit_job(struct visit *v, const struct reference *r) {
  static const char *const fields[] = {EXPR_JOB_FIELDS};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (strcmp(fields[i], r->name) == 0) return;
  mem_auto char *message = mem_format("a job has no `%.100s`", r->name);
  unknown(v, r, r->name, fields, sizeof fields / sizeof *fields, message);
}

static void visit_reference(void *context, const struct reference *r) {
  struct visit *v = context;
  switch (r->kind) {
  case REFERENCE_PARAM: visit_param(v, r); return;
  case REFERENCE_STAGE: visit_stage(v, r); return;
  case REFERENCE_JOB: visit_job(v, r); return;
  case REFERENCE_SECRET:
    if (v->c->place == PLACE_RESULT || v->c->place == PLACE_GROUP)
      refuse(v, r, "secrets are for `with` and `if`", "a secret cannot stand where it would be stored");
    return;
  }
}

/* ---- types ----------------------------------------------------------------------------------------------------- */

static type_set result_types(const struct result_type *result) {
  static const enum value_type types[] = {
      [SM_RESULT_TYPE_TEXT] = VALUE_TEXT,         [SM_RESULT_TYPE_INT] = VALUE_INT,
      [SM_RESULT_TYPE_NUMBER] = VALUE_NUMBER,     [SM_RESULT_TYPE_BOOL] = VALUE_BOOL,
      [SM_RESULT_TYPE_DURATION] = VALUE_DURATION, [SM_RESULT_TYPE_LIST] = VALUE_LIST};
  if (result->type == 0 || result->type >= sizeof types / sizeof *types) return 0;
  return type_bit(types[result->type]) | type_bit(VALUE_NULL);
}

static type_set type_of_reference(void *context, const struct reference *r) {
  const struct pipeline *p = ((const struct expression_check *)context)->b->p;
  if (r->kind == REFERENCE_SECRET) return type_bit(VALUE_TEXT) | type_bit(VALUE_NULL);
  if (r->kind == REFERENCE_JOB) return type_bit(VALUE_TEXT);
  for (size_t i = 0; r->kind == REFERENCE_PARAM && i < p->param_count; i++) {
    if (strcmp(p->params[i].name, r->name) != 0) continue;
    bool may_be_null = p->params[i].fallback && p->params[i].fallback->type == VALUE_NULL;
    return param_types(p->params[i].type) | (may_be_null ? type_bit(VALUE_NULL) : 0);
  }
  size_t stage = r->kind == REFERENCE_STAGE ? pipeline_index(p, r->name) : SIZE_MAX;
  if (stage == SIZE_MAX || !p->stages[stage].type) return 0;
  if (strcmp(r->key, "status") == 0) return type_bit(VALUE_TEXT);
  const struct result_type *result = stage_type_result(p->stages[stage].type, r->key);
  return result ? result_types(result) : 0;
}

type_set rule_types(const struct rule *rule) {
  struct param_type type = {.takes = rule->takes, .flags = rule->flags & ~(uint32_t)SM_REPEATED};
  const uint32_t counted = SM_TAKES_SIZE | SM_TAKES_BITRATE | SM_TAKES_INT | SM_TAKES_NUMBER;
  type_set set = param_types(&type) | type_bit(VALUE_NULL);
  if (rule->takes & ~(uint32_t)SM_TAKES_RECORD) set |= type_bit(VALUE_TEXT);
  if (rule->takes & counted) set |= type_bit(VALUE_INT) | type_bit(VALUE_NUMBER);
  if (rule->takes & SM_TAKES_TEXT) set |= TYPE_ANY & ~(type_bit(VALUE_LIST) | type_bit(VALUE_MAP));
  if (rule->flags & SM_REPEATED) set |= type_bit(VALUE_LIST);
  return set;
}

/* ---- expressions in the file ----------------------------------------------------------------------------------- */

static bool check_status_functions(const struct expression_check *c, const struct node *node, const struct expr *e) {
  if (c->place == PLACE_IF || !expr_asks_status(e)) return true;
  report_at_offset(c->b, node, e->root->offset, e->root->length, NULL,
                   "always(), failure(), success() and cancelled() can only stand in `if`");
  return false;
}

bool expression_template(const struct expression_check *c, const struct node *node, struct template **t,
                         type_set *types) {
  struct expr_problem problem;
  struct visit v = {c, node, true};
  *t = NULL;
  if (template_parse(node->text, t, &problem)) return bad_expression(c, node, &problem);
  template_references(*t, visit_reference, &v);
  for (size_t i = 0; i < (*t)->count; i++)
    if ((*t)->pieces[i].expr && !check_status_functions(c, node, (*t)->pieces[i].expr)) v.good = false;
  if (v.good && template_check(*t, type_of_reference, (void *)c, types, &problem))
    v.good = bad_expression(c, node, &problem);
  if (!v.good) template_free(t);
  return v.good;
}

/* `if: a > b` and `if: ${{ a > b }}` are the same; text around the braces is a mistake. */
static bool strip_braces(const struct expression_check *c, const struct node *node, size_t *begin, size_t *end) {
  const char *text = node->text;
  *begin = strspn(text, " \t\r\n");
  *end = node->size;
  while (*end > *begin && isspace((unsigned char)text[*end - 1])) --*end;
  if (!node_has_expression(node)) return true;
  bool around = strncmp(text + *begin, "${{", 3) == 0 && *end - *begin >= 5 && strncmp(text + *end - 2, "}}", 2) == 0 &&
                !strstr(text + *begin + 3, "${{");
  if (around) {
    *begin += 3;
    *end -= 2;
    return true;
  }
  bool open = strncmp(text + *begin, "${{", 3) == 0 && !strstr(text, "}}");
  if (open)
    node_problem(c->b->report, PROBLEM_ERROR, node, NULL, "the `${{` that begins here does not end: `}}` is missing");
  else
    node_problem(c->b->report, PROBLEM_ERROR, node, "write `if: ${{ a && b }}`",
                 "`if` holds one expression and nothing around it");
  return false;
}

bool expression_condition(const struct expression_check *c, const struct node *node, struct expr **expr) {
  struct expr_problem problem;
  struct visit v = {c, node, true};
  size_t begin, end;
  type_set types;
  *expr = NULL;
  if (!strip_braces(c, node, &begin, &end)) return false;
  if (expr_parse_within(node->text, begin, end, expr, &problem)) return bad_expression(c, node, &problem);
  expr_references(*expr, visit_reference, &v);
  if (v.good && expr_check(*expr, type_of_reference, (void *)c, &types, &problem))
    v.good = bad_expression(c, node, &problem);
  if (!v.good) expr_free(expr);
  return v.good;
}
