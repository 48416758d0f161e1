#include "pipeline/expr.h"

#include <string.h>

#include "base/mem.h"
#include "config/report.h"
#include "pipeline/expr_parts.h"

struct parser {
  const char *text;
  size_t size;
  struct token token;
  size_t last_end; /* end of the token before */
  size_t depth, nodes;
  struct expr_problem *problem;
};

const struct function expr_functions[] = {{"format", 1, 32, false, FUNCTION_FORMAT},
                                          {"contains", 2, 2, false, FUNCTION_CONTAINS},
                                          {"starts-with", 2, 2, false, FUNCTION_STARTS},
                                          {"ends-with", 2, 2, false, FUNCTION_ENDS},
                                          {"lower", 1, 1, false, FUNCTION_LOWER},
                                          {"upper", 1, 1, false, FUNCTION_UPPER},
                                          {"length", 1, 1, false, FUNCTION_LENGTH},
                                          {"list", 1, 32, false, FUNCTION_LIST},
                                          {"min", 1, 32, false, FUNCTION_MIN},
                                          {"max", 1, 32, false, FUNCTION_MAX},
                                          {"round", 1, 1, false, FUNCTION_ROUND},
                                          {"floor", 1, 1, false, FUNCTION_FLOOR},
                                          {"ceil", 1, 1, false, FUNCTION_CEIL},
                                          {"always", 0, 0, true, FUNCTION_ALWAYS},
                                          {"failure", 0, 0, true, FUNCTION_FAILURE},
                                          {"success", 0, 0, true, FUNCTION_SUCCESS},
                                          {"cancelled", 0, 0, true, FUNCTION_CANCELLED},
                                          {NULL, 0, 0, false, 0}};

static void node_free(struct expr_node *node) {
  if (!node) return;
  for (size_t i = 0; i < node->arg_count; i++) node_free(node->args[i]);
  free(node->args);
  value_free(&node->literal);
  free(node->words);
  free(node);
}

void expr_free(struct expr **expr) {
  if (!*expr) return;
  node_free((*expr)->root);
  free((*expr)->text);
  free(*expr);
  *expr = NULL;
}

const char *expr_text(const struct expr *expr) { return expr->text; }

static enum err advance(struct parser *p) {
  p->last_end = p->token.offset + p->token.length;
  value_free(&p->token.literal);
  return token_next(p->text, p->size, p->last_end, &p->token, p->problem);
}

static enum err unexpected(struct parser *p, const char *wanted) {
  if (p->token.kind == TOKEN_END)
    return problem_set(p->problem, p->token.offset, 1, "the expression ends where %s is expected", wanted);
  return problem_set(p->problem, p->token.offset, p->token.length, "`%.*s` stands where %s is expected",
                     (int)(p->token.length < 60 ? p->token.length : 60), p->text + p->token.offset, wanted);
}

static struct expr_node *node_new(struct parser *p, enum operation operation, size_t offset) {
  if (++p->nodes > EXPR_NODES_MAX) {
    problem_set(p->problem, offset, 1, "the expression is too long: more than %d parts", EXPR_NODES_MAX);
    return NULL;
  }
  struct expr_node *node = mem_alloc(sizeof *node);
  node->operation = operation;
  node->offset = offset;
  return node;
}

static void arg_add(struct expr_node *node, struct expr_node *moved) {
  node->args = mem_grow(node->args, node->arg_count + 1, sizeof *node->args);
  node->args[node->arg_count++] = moved;
}

static enum err parse_level(struct parser *p, size_t level, struct expr_node **node);

/* ---- primaries ------------------------------------------------------------------------------------------------- */

static bool word_is(const struct parser *p, const char *word) {
  return p->token.length == strlen(word) && strncmp(p->text + p->token.offset, word, p->token.length) == 0;
}

static enum err read_dotted(struct parser *p, struct expr_node *node, const char *what, size_t *at) {
  enum err err = advance(p);
  if (err) return err;
  if (p->token.kind != TOKEN_DOT) return unexpected(p, what);
  if ((err = advance(p))) return err;
  if (p->token.kind != TOKEN_NAME) return unexpected(p, what);
  size_t used = *at;
  memcpy(node->words + used, p->text + p->token.offset, p->token.length);
  *at = used + p->token.length + 1; /* the NUL is there already: words is zeroed */
  return ERR_OK;
}

static const struct root {
  const char *word;
  enum reference_kind kind;
  const char *name, *key; /* what has to follow */
} roots[] = {{"params", REFERENCE_PARAM, "`.NAME` of a parameter", NULL},
             {"stages", REFERENCE_STAGE, "`.ID.RESULT` of a stage", "`.RESULT` of that stage, or `.status`"},
             {"job", REFERENCE_JOB, "`.id`, `.input` or `.name`", NULL},
             {"secrets", REFERENCE_SECRET, "`.NAME` of a secret", NULL}};

static enum err parse_reference(struct parser *p, const struct root *root, struct expr_node **out) {
  struct expr_node *node = node_new(p, OP_REFERENCE, p->token.offset);
  if (!node) return ERR_INVALID;
  *out = node;
  node->words = mem_alloc(p->size - p->token.offset + 3);
  node->reference.kind = root->kind;
  size_t at = 0, second = 0;
  enum err err = read_dotted(p, node, root->name, &at);
  second = at;
  if (!err && root->key) err = read_dotted(p, node, root->key, &at);
  if (!err) err = advance(p);
  if (err) return err;
  node->reference.name = node->words;
  node->reference.key = root->key ? node->words + second : NULL;
  node->length = p->last_end - node->offset;
  node->reference.offset = node->offset;
  node->reference.length = node->length;
  if (p->token.kind == TOKEN_DOT)
    return problem_set(p->problem, p->token.offset, 1, "nothing more can follow here: results have no parts");
  return ERR_OK;
}

static enum err unknown_word(struct parser *p) {
  const char *words[64];
  size_t n = 0;
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) words[n++] = roots[i].word;
  for (const struct function *f = expr_functions; f->name; f++) words[n++] = f->name;
  words[n++] = "null", words[n++] = "true", words[n++] = "false";
  mem_auto char *word = mem_text_n(p->text + p->token.offset, p->token.length < 100 ? p->token.length : 100);
  const char *near = report_nearest(word, words, n);
  if (near)
    return problem_set(p->problem, p->token.offset, p->token.length, "unknown word `%s`; did you mean `%s`?", word,
                       near);
  return problem_set(
      p->problem, p->token.offset, p->token.length,
      "unknown word `%s`: texts stand in single quotes, references begin with params., stages., job. or secrets.",
      word);
}

static enum err parse_arguments(struct parser *p, struct expr_node *call) {
  enum err err;
  while (p->token.kind != TOKEN_CLOSE) {
    struct expr_node *arg = NULL;
    err = parse_level(p, 0, &arg);
    if (arg) arg_add(call, arg);
    if (err) return err;
    if (p->token.kind == TOKEN_CLOSE) break;
    if (p->token.kind != TOKEN_COMMA) return unexpected(p, "`,` or `)`");
    if ((err = advance(p))) return err;
    if (p->token.kind == TOKEN_CLOSE) return unexpected(p, "an argument");
  }
  return advance(p);
}

static enum err parse_call(struct parser *p, struct expr_node **out) {
  const struct function *f = expr_functions;
  while (f->name && !word_is(p, f->name)) f++;
  if (!f->name) return unknown_word(p);
  struct expr_node *node = node_new(p, OP_CALL, p->token.offset);
  if (!node) return ERR_INVALID;
  *out = node;
  node->function = f;
  enum err err = advance(p);
  if (err) return err;
  if (p->token.kind != TOKEN_OPEN) return unexpected(p, "`(` of a function");
  if ((err = advance(p)) || (err = parse_arguments(p, node))) return err;
  node->length = p->last_end - node->offset;
  if (node->arg_count >= f->least && node->arg_count <= f->most) return ERR_OK;
  return problem_set(p->problem, node->offset, node->length, "%s() takes %zu%s argument%s, not %zu", f->name, f->least,
                     f->most > f->least ? " or more" : "", f->least == 1 && f->most == 1 ? "" : "s", node->arg_count);
}

static enum err parse_literal(struct parser *p, struct value *moved, struct expr_node **out) {
  struct expr_node *node = node_new(p, OP_LITERAL, p->token.offset);
  if (!node) return value_free(&moved), ERR_INVALID;
  *out = node;
  node->literal = moved;
  node->length = p->token.length;
  return advance(p);
}

static enum err parse_word(struct parser *p, struct expr_node **out) {
  if (word_is(p, "null")) return parse_literal(p, value_null(), out);
  if (word_is(p, "true")) return parse_literal(p, value_bool(true), out);
  if (word_is(p, "false")) return parse_literal(p, value_bool(false), out);
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
    if (word_is(p, roots[i].word)) return parse_reference(p, &roots[i], out);
  return parse_call(p, out);
}

static enum err parse_group(struct parser *p, struct expr_node **out) {
  enum err err = advance(p);
  if (err || (err = parse_level(p, 0, out))) return err;
  if (p->token.kind != TOKEN_CLOSE) return unexpected(p, "`)`");
  return advance(p);
}

static enum err parse_primary(struct parser *p, struct expr_node **out) {
  if (p->token.kind == TOKEN_LITERAL) {
    struct value *literal = p->token.literal;
    p->token.literal = NULL;
    return parse_literal(p, literal, out);
  }
  if (p->token.kind == TOKEN_NAME) return parse_word(p, out);
  if (p->token.kind == TOKEN_OPEN) return parse_group(p, out);
  return unexpected(p, "a value");
}

static enum err parse_unary(struct parser *p, struct expr_node **out) {
  bool negate = p->token.kind == TOKEN_OPERATOR && p->token.operation == OP_SUBTRACT;
  bool invert = p->token.kind == TOKEN_OPERATOR && p->token.operation == OP_NOT;
  if (!negate && !invert) return parse_primary(p, out);
  if (p->depth >= EXPR_DEPTH_MAX)
    return problem_set(p->problem, p->token.offset, 1, "the expression is nested too deeply");
  struct expr_node *node = node_new(p, negate ? OP_NEGATE : OP_NOT, p->token.offset), *arg = NULL;
  if (!node) return ERR_INVALID;
  *out = node;
  enum err err = advance(p);
  p->depth++;
  if (!err) err = parse_unary(p, &arg);
  p->depth--;
  if (arg) arg_add(node, arg);
  node->length = p->last_end - node->offset;
  return err;
}

/* ---- levels of binary operators, loosest first ----------------------------------------------------------------- */

static const struct level {
  enum operation first, last;
  bool chains;
} levels[] = {{OP_COALESCE, OP_COALESCE, true},
              {OP_OR, OP_OR, true},
              {OP_AND, OP_AND, true},
              {OP_EQUAL, OP_UNEQUAL, false},
              {OP_LESS, OP_GREATER_EQUAL, false},
              {OP_ADD, OP_SUBTRACT, true},
              {OP_MULTIPLY, OP_MODULO, true}};
enum { LEVELS = sizeof levels / sizeof *levels };

static bool at_level(const struct parser *p, const struct level *level) {
  return p->token.kind == TOKEN_OPERATOR && p->token.operation >= level->first && p->token.operation <= level->last;
}

static enum err parse_right(struct parser *p, size_t level, struct expr_node **left) {
  struct expr_node *node = node_new(p, p->token.operation, (*left)->offset), *right = NULL;
  if (!node) return ERR_INVALID;
  arg_add(node, *left);
  *left = node;
  enum err err = advance(p);
  if (!err) err = parse_level(p, level + 1, &right);
  if (right) arg_add(node, right);
  node->length = p->last_end - node->offset;
  return err;
}

static enum err parse_operands(struct parser *p, size_t level, struct expr_node **node) {
  enum err err = parse_level(p, level + 1, node);
  while (!err && at_level(p, &levels[level])) {
    err = parse_right(p, level, node);
    if (!err && !levels[level].chains && at_level(p, &levels[level]))
      return problem_set(p->problem, p->token.offset, p->token.length,
                         "comparisons do not chain: write `a < b && b < c`");
  }
  return err;
}

static enum err parse_level(struct parser *p, size_t level, struct expr_node **node) {
  if (level == LEVELS) return parse_unary(p, node);
  if (level > 0) return parse_operands(p, level, node);
  if (p->depth >= EXPR_DEPTH_MAX)
    return problem_set(p->problem, p->token.offset, 1, "the expression is nested too deeply");
  p->depth++;
  enum err err = parse_operands(p, level, node);
  p->depth--;
  return err;
}

static char *trimmed(const char *text, size_t begin, size_t end) {
  while (begin < end && strchr(" \t\r\n", text[begin])) begin++;
  while (end > begin && strchr(" \t\r\n", text[end - 1])) end--;
  return mem_text_n(text + begin, end - begin);
}

enum err expr_parse_within(const char *text, size_t begin, size_t end, struct expr **out,
                           struct expr_problem *problem) {
  struct parser p = {.text = text, .size = end, .problem = problem};
  *out = NULL;
  if (end - begin > EXPR_TEXT_MAX)
    return problem_set(problem, begin, 1, "an expression has at most %d characters", EXPR_TEXT_MAX);
  struct expr *expr = mem_alloc(sizeof *expr);
  enum err err = token_next(text, end, begin, &p.token, problem);
  if (!err) err = parse_level(&p, 0, &expr->root);
  if (!err && p.token.kind != TOKEN_END) err = unexpected(&p, "an operator or the end");
  value_free(&p.token.literal);
  if (err) return expr_free(&expr), err;
  expr->text = trimmed(text, begin, end);
  *out = expr;
  return ERR_OK;
}

enum err expr_parse(const char *text, struct expr **expr, struct expr_problem *problem) {
  return expr_parse_within(text, 0, strlen(text), expr, problem);
}

static void visit_references(const struct expr_node *node, reference_visit *visit, void *context) {
  if (node->operation == OP_REFERENCE) visit(context, &node->reference);
  for (size_t i = 0; i < node->arg_count; i++) visit_references(node->args[i], visit, context);
}

void expr_references(const struct expr *expr, reference_visit *visit, void *context) {
  visit_references(expr->root, visit, context);
}

static unsigned status_bits(const struct expr_node *node) {
  unsigned bits = 0;
  if (node->operation == OP_CALL && node->function->is_status) bits = 1u << node->function->id;
  for (size_t i = 0; i < node->arg_count; i++) bits |= status_bits(node->args[i]);
  return bits;
}

bool expr_asks_status(const struct expr *expr) { return status_bits(expr->root) != 0; }
bool expr_runs_after_failure(const struct expr *expr) {
  return (status_bits(expr->root) & ~(1u << FUNCTION_SUCCESS)) != 0;
}
