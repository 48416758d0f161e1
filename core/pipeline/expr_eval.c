#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/expr_parts.h"

static double as_number(const struct value *v) {
  return v->type == VALUE_NUMBER || v->type == VALUE_PERCENT ? v->number : (double)v->integer;
}

static bool is_zero(const struct value *v) { return v->type == VALUE_INT && v->integer == 0; }

bool value_truthy(const struct value *v) {
  if (value_is_null(v)) return false;
  switch (v->type) {
  case VALUE_TEXT: return v->text_size > 0;
  case VALUE_NUMBER:
  case VALUE_PERCENT: return v->number != 0;
  case VALUE_LIST:
  case VALUE_MAP: return v->count > 0;
  default: return v->integer != 0;
  }
}

/* ---- comparing ------------------------------------------------------------------------------------------------- */

static int order(const struct value *a, const struct value *b) {
  if (a->type == VALUE_TEXT) return strcmp(a->text, b->text);
  bool real = a->type == VALUE_NUMBER || b->type == VALUE_NUMBER || a->type == VALUE_PERCENT;
  if (!real) return a->integer < b->integer ? -1 : a->integer > b->integer;
  double x = as_number(a), y = as_number(b);
  return x < y ? -1 : x > y;
}

/* Null equals null alone; no order holds with null. */
static bool compare_null(enum operation operation, const struct value *a, const struct value *b) {
  bool same = value_is_null(a) && value_is_null(b);
  return operation == OP_EQUAL ? same : operation == OP_UNEQUAL && !same;
}

static bool ordered(enum operation operation, int sign) {
  switch (operation) {
  case OP_EQUAL: return sign == 0;
  case OP_UNEQUAL: return sign != 0;
  case OP_LESS: return sign < 0;
  case OP_LESS_EQUAL: return sign <= 0;
  case OP_GREATER: return sign > 0;
  default: return sign >= 0;
  }
}

enum err value_compare(enum operation operation, const struct value *a, const struct value *b, bool *answer,
                       struct error *e) {
  if (value_is_null(a) || value_is_null(b)) return *answer = compare_null(operation, a, b), ERR_OK;
  bool zero = (is_zero(a) && (b->type == VALUE_DURATION || b->type == VALUE_PERCENT)) ||
              (is_zero(b) && (a->type == VALUE_DURATION || a->type == VALUE_PERCENT));
  if (!zero && !comparable(operation, a->type, b->type))
    return error_set(e, ERR_INVALID, "`%s` cannot compare %s with %s", operation_text(operation),
                     value_type_word(a->type), value_type_word(b->type));
  if (a->type == VALUE_LIST || a->type == VALUE_MAP || a->type == VALUE_BOOL) {
    *answer = ordered(operation, !value_equal(a, b));
    return ERR_OK;
  }
  bool percent = a->type == VALUE_PERCENT || b->type == VALUE_PERCENT;
  int sign = percent ? (as_number(a) > as_number(b)) - (as_number(a) < as_number(b)) : order(a, b);
  *answer = ordered(operation, sign);
  return ERR_OK;
}

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

static enum err overflow(struct error *e) {
  return error_set(e, ERR_INVALID, "the result of an expression is too large for a number");
}

static enum err make_number(enum value_type type, double x, struct value **v, struct error *e) {
  if (!isfinite(x)) return overflow(e);
  if (type == VALUE_NUMBER) return *v = value_number(x), ERR_OK;
  if (type == VALUE_PERCENT) return *v = value_of(type, 0, x), ERR_OK;
  if (fabs(x) > 9.2e18) return overflow(e);
  *v = value_of(type, llround(x), 0);
  return ERR_OK;
}

static enum err whole(enum operation operation, enum value_type type, int64_t a, int64_t b, struct value **v,
                      struct error *e) {
  int64_t n = 0;
  bool over = operation == OP_ADD        ? __builtin_add_overflow(a, b, &n)
              : operation == OP_SUBTRACT ? __builtin_sub_overflow(a, b, &n)
              : operation == OP_MULTIPLY ? __builtin_mul_overflow(a, b, &n)
                                         : (n = b == -1 ? 0 : a % b, false);
  if (over) return overflow(e);
  *v = type == VALUE_INT ? value_int(n) : value_of(type, n, 0);
  return ERR_OK;
}

static double real_result(enum operation operation, double x, double y) {
  switch (operation) {
  case OP_ADD: return x + y;
  case OP_SUBTRACT: return x - y;
  case OP_MULTIPLY: return x * y;
  case OP_DIVIDE: return x / y;
  default: return fmod(x, y);
  }
}

static bool has_integer(const struct value *v) { return v->type != VALUE_NUMBER && v->type != VALUE_PERCENT; }

static enum err arithmetic(enum operation operation, const struct value *a, const struct value *b, struct value **v,
                           struct error *e) {
  if (value_is_null(a) || value_is_null(b)) return *v = value_null(), ERR_OK;
  enum value_type type = arithmetic_type(operation, a->type, b->type);
  if (!type)
    return error_set(e, ERR_INVALID, "`%s` does not fit between %s and %s", operation_text(operation),
                     value_type_word(a->type), value_type_word(b->type));
  double x = as_number(a), y = as_number(b);
  if ((operation == OP_DIVIDE || operation == OP_MODULO) && y == 0)
    return error_set(e, ERR_INVALID, "division by zero");
  bool integers = has_integer(a) && has_integer(b);
  if (operation != OP_DIVIDE && integers) return whole(operation, type, a->integer, b->integer, v, e);
  if (operation == OP_DIVIDE && a->type == VALUE_INT && b->type == VALUE_INT && b->integer != -1 &&
      a->integer % b->integer == 0)
    return *v = value_int(a->integer / b->integer), ERR_OK;
  if (operation == OP_MULTIPLY && (a->type == VALUE_PERCENT || b->type == VALUE_PERCENT)) x /= 100;
  return make_number(type, real_result(operation, x, y), v, e);
}

static enum err negate(struct value *in, struct value **v, struct error *e) {
  switch (in->type) {
  case VALUE_NULL: return *v = value_null(), ERR_OK;
  case VALUE_NUMBER:
  case VALUE_PERCENT: return make_number(in->type, -in->number, v, e);
  case VALUE_INT:
  case VALUE_DURATION:
  case VALUE_SIZE:
  case VALUE_BITRATE: return whole(OP_SUBTRACT, in->type, 0, in->integer, v, e);
  default: return error_set(e, ERR_INVALID, "`-` does not fit before %s", value_type_word(in->type));
  }
}

/* ---- the tree -------------------------------------------------------------------------------------------------- */

static enum err eval(const struct expr_node *node, const struct scope *scope, struct value **v, struct error *e);

static enum err eval_logic(const struct expr_node *node, const struct scope *scope, struct value **v, struct error *e) {
  value_auto struct value *left = NULL, *right = NULL;
  enum err err = eval(node->args[0], scope, &left, e);
  if (err) return err;
  if (node->operation == OP_COALESCE) {
    if (value_is_null(left)) return eval(node->args[1], scope, v, e);
    return *v = left, left = NULL, ERR_OK;
  }
  bool yes = value_truthy(left);
  if (yes == (node->operation == OP_OR)) return *v = value_bool(yes), ERR_OK;
  if ((err = eval(node->args[1], scope, &right, e))) return err;
  *v = value_bool(value_truthy(right));
  return ERR_OK;
}

static enum err eval_binary(const struct expr_node *node, const struct scope *scope, struct value **v,
                            struct error *e) {
  value_auto struct value *a = NULL, *b = NULL;
  enum err err = eval(node->args[0], scope, &a, e);
  if (err || (err = eval(node->args[1], scope, &b, e))) return err;
  if (node->operation >= OP_ADD) return arithmetic(node->operation, a, b, v, e);
  bool answer = false;
  err = value_compare(node->operation, a, b, &answer, e);
  if (!err) *v = value_bool(answer);
  return err;
}

static enum err eval_unary(const struct expr_node *node, const struct scope *scope, struct value **v, struct error *e) {
  value_auto struct value *arg = NULL;
  enum err err = eval(node->args[0], scope, &arg, e);
  if (err) return err;
  if (node->operation == OP_NEGATE) return negate(arg, v, e);
  *v = value_bool(!value_truthy(arg));
  return ERR_OK;
}

static enum err eval_call(const struct expr_node *node, const struct scope *scope, struct value **v, struct error *e) {
  if (node->function->is_status) {
    if (!scope->status) return error_set(e, ERR_INVALID, "%s() can only stand in `if`", node->function->name);
    *v = value_bool(scope->status(scope->context, node->function->name));
    return ERR_OK;
  }
  struct value *args[32] = {0};
  enum err err = ERR_OK;
  for (size_t i = 0; i < node->arg_count && !err; i++) err = eval(node->args[i], scope, &args[i], e);
  if (!err) err = function_eval(node, args, v, e);
  for (size_t i = 0; i < node->arg_count; i++) {
    if (!err && args[i]->secret && (*v)->type == VALUE_TEXT) (*v)->secret = true;
    value_free(&args[i]);
  }
  return err;
}

static enum err eval(const struct expr_node *node, const struct scope *scope, struct value **v, struct error *e) {
  switch (node->operation) {
  case OP_LITERAL: return *v = value_copy(node->literal), ERR_OK;
  case OP_REFERENCE:
    *v = scope->lookup(scope->context, &node->reference);
    if (!*v) *v = value_null();
    return ERR_OK;
  case OP_CALL: return eval_call(node, scope, v, e);
  case OP_NOT:
  case OP_NEGATE: return eval_unary(node, scope, v, e);
  case OP_COALESCE:
  case OP_OR:
  case OP_AND: return eval_logic(node, scope, v, e);
  default: return eval_binary(node, scope, v, e);
  }
}

enum err expr_eval(const struct expr *expr, const struct scope *scope, struct value **v, struct error *e) {
  *v = NULL;
  enum err err = eval(expr->root, scope, v, e);
  if (err) {
    value_free(v);
    error_prefix(e, "${{ %.150s }}", expr->text);
  }
  return err;
}
