#include <string.h>

#include "pipeline/expr_parts.h"

struct check {
  reference_type *type;
  void *context;
  struct expr_problem *problem;
};

/* A literal 0 may stand for no time, no bytes, nothing of any unit. */
static type_set widen_zero(const struct expr_node *node, type_set set) {
  bool zero = node->operation == OP_LITERAL && node->literal->type == VALUE_INT && node->literal->integer == 0;
  return zero ? set | type_bit(VALUE_DURATION) | type_bit(VALUE_PERCENT) : set;
}

static enum err check(const struct check *c, const struct expr_node *node, type_set *result);

static enum err mismatch(const struct check *c, const struct expr_node *node, type_set a, type_set b) {
  buf_auto struct buf left = {0}, right = {0};
  type_set_text(a, &left);
  type_set_text(b, &right);
  const char *cure = "";
  type_set plain = type_bit(VALUE_INT) | type_bit(VALUE_NUMBER), duration = type_bit(VALUE_DURATION);
  if (((a & duration) && (b & plain)) || ((b & duration) && (a & plain)))
    cure = "; durations are written with a unit, 1s";
  if (node->operation == OP_ADD && ((a | b) & type_bit(VALUE_TEXT)))
    cure = "; texts are joined with format('{}{}', a, b)";
  return problem_set(c->problem, node->offset, node->length, "`%s` does not fit between %s and %s%s",
                     operation_text(node->operation), buf_string(&left), buf_string(&right), cure);
}

static enum err check_operands(const struct check *c, const struct expr_node *node, type_set *a, type_set *b) {
  enum err err = check(c, node->args[0], a);
  return err ? err : check(c, node->args[1], b);
}

static enum err check_comparison(const struct check *c, const struct expr_node *node, type_set *result) {
  type_set a, b;
  enum err err = check_operands(c, node, &a, &b);
  if (err) return err;
  *result = type_bit(VALUE_BOOL);
  a = widen_zero(node->args[0], a), b = widen_zero(node->args[1], b);
  type_set some_null = (a | b) & type_bit(VALUE_NULL);
  bool equality = node->operation == OP_EQUAL || node->operation == OP_UNEQUAL;
  /* A null that is possible only now and then is no reason to compare a text with a number. */
  bool written_null = a == type_bit(VALUE_NULL) || b == type_bit(VALUE_NULL);
  if (some_null && written_null && equality) return ERR_OK;
  for (unsigned t = VALUE_BOOL; t <= VALUE_MAP; t++)
    for (unsigned u = VALUE_BOOL; u <= VALUE_MAP; u++)
      if ((a & (1u << t)) && (b & (1u << u)) && comparable(node->operation, t, u)) return ERR_OK;
  return mismatch(c, node, a, b);
}

static enum err check_arithmetic(const struct check *c, const struct expr_node *node, type_set *result) {
  type_set a, b;
  enum err err = check_operands(c, node, &a, &b);
  if (err) return err;
  *result = (a | b) & type_bit(VALUE_NULL);
  type_set before = *result;
  for (unsigned t = VALUE_BOOL; t <= VALUE_MAP; t++)
    for (unsigned u = VALUE_BOOL; u <= VALUE_MAP; u++) {
      if (!(a & (1u << t)) || !(b & (1u << u))) continue;
      enum value_type made = arithmetic_type(node->operation, t, u);
      if (made) *result |= type_bit(made);
    }
  /* Whole numbers divide to a whole number when nothing is left over. */
  if (node->operation == OP_DIVIDE && (*result & type_bit(VALUE_NUMBER))) *result |= type_bit(VALUE_INT);
  bool nothing = a == type_bit(VALUE_NULL) || b == type_bit(VALUE_NULL);
  return *result == before && !nothing ? mismatch(c, node, a, b) : ERR_OK;
}

static enum err check_negate(const struct check *c, const struct expr_node *node, type_set *result) {
  enum err err = check(c, node->args[0], result);
  if (err) return err;
  const type_set texts = type_bit(VALUE_TEXT) | type_bit(VALUE_BOOL) | type_bit(VALUE_LIST) | type_bit(VALUE_MAP);
  bool nothing = *result == type_bit(VALUE_NULL);
  if (nothing || (*result & ~texts & ~type_bit(VALUE_NULL))) return *result &= ~texts, ERR_OK;
  buf_auto struct buf text = {0};
  type_set_text(*result, &text);
  return problem_set(c->problem, node->offset, node->length, "`-` does not fit before %s", buf_string(&text));
}

static enum err check_call(const struct check *c, const struct expr_node *node, type_set *result) {
  type_set args[32];
  size_t bad = 0;
  for (size_t i = 0; i < node->arg_count; i++) {
    enum err err = check(c, node->args[i], &args[i]);
    if (err) return err;
  }
  *result = function_type(node->function, args, node->arg_count, &bad);
  if (*result) return ERR_OK;
  buf_auto struct buf text = {0};
  type_set_text(args[bad], &text);
  return problem_set(c->problem, node->args[bad]->offset, node->args[bad]->length, "%s() cannot take %s here",
                     node->function->name, buf_string(&text));
}

static enum err check_either(const struct check *c, const struct expr_node *node, type_set *result) {
  type_set a, b;
  enum err err = check_operands(c, node, &a, &b);
  if (err) return err;
  *result = type_bit(VALUE_BOOL);
  /* What stands left of ?? is used when it is not null, so that only the right side can make null. */
  if (node->operation == OP_COALESCE) *result = (a & ~type_bit(VALUE_NULL)) | b;
  return ERR_OK;
}

static enum err check(const struct check *c, const struct expr_node *node, type_set *result) {
  switch (node->operation) {
  case OP_LITERAL: return *result = type_bit(node->literal->type), ERR_OK;
  case OP_REFERENCE:
    *result = c->type(c->context, &node->reference);
    if (!*result) *result = TYPE_ANY;
    return ERR_OK;
  case OP_CALL: return check_call(c, node, result);
  case OP_NOT: {
    enum err err = check(c, node->args[0], result);
    *result = type_bit(VALUE_BOOL);
    return err;
  }
  case OP_NEGATE: return check_negate(c, node, result);
  case OP_COALESCE:
  case OP_OR:
  case OP_AND: return check_either(c, node, result);
  case OP_EQUAL:
  case OP_UNEQUAL:
  case OP_LESS:
  case OP_LESS_EQUAL:
  case OP_GREATER:
  case OP_GREATER_EQUAL: return check_comparison(c, node, result);
  case OP_ADD:
  case OP_SUBTRACT:
  case OP_MULTIPLY:
  case OP_DIVIDE:
  case OP_MODULO: return check_arithmetic(c, node, result);
  }
  return ERR_INTERNAL;
}

enum err expr_check(const struct expr *expr, reference_type *type, void *context, type_set *result,
                    struct expr_problem *problem) {
  struct check c = {type, context, problem};
  return check(&c, expr->root, result);
}

enum err template_check(const struct template *t, reference_type *type, void *context, type_set *result,
                        struct expr_problem *problem) {
  const type_set branches = type_bit(VALUE_LIST) | type_bit(VALUE_MAP);
  *result = type_bit(VALUE_TEXT);
  for (size_t i = 0; i < t->count; i++) {
    const struct expr *expr = t->pieces[i].expr;
    if (!expr) continue;
    type_set set;
    enum err err = expr_check(expr, type, context, &set, problem);
    if (err) return err;
    if (t->count == 1) return *result = set, ERR_OK;
    if (set & ~(branches | type_bit(VALUE_NULL)) || set == type_bit(VALUE_NULL)) continue;
    return problem_set(problem, expr->root->offset, expr->root->length, "a list cannot stand inside a text");
  }
  return ERR_OK;
}
