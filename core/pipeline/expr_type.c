/* The rules of the types, in one place: the check before a run and the evaluation ask the same tables. */
#include <string.h>

#include "pipeline/expr_parts.h"

static bool is_plain(enum value_type t) { return t == VALUE_INT || t == VALUE_NUMBER; }
static bool is_amount(enum value_type t) { return t == VALUE_DURATION || t == VALUE_SIZE || t == VALUE_BITRATE; }
static bool is_numeric(enum value_type t) { return is_plain(t) || is_amount(t) || t == VALUE_PERCENT; }

static enum value_type add_type(enum value_type a, enum value_type b) {
  if (is_plain(a) && is_plain(b)) return a == VALUE_INT && b == VALUE_INT ? VALUE_INT : VALUE_NUMBER;
  if (a == b && is_numeric(a)) return a;
  /* Bytes and bits per second are counted in plain numbers anyway; seconds are not. */
  if ((a == VALUE_SIZE || a == VALUE_BITRATE) && is_plain(b)) return a;
  if ((b == VALUE_SIZE || b == VALUE_BITRATE) && is_plain(a)) return b;
  return 0;
}

static enum value_type multiply_type(enum value_type a, enum value_type b) {
  if (is_plain(a) && is_plain(b)) return a == VALUE_INT && b == VALUE_INT ? VALUE_INT : VALUE_NUMBER;
  if (a == VALUE_PERCENT) return is_plain(b) ? VALUE_NUMBER : is_numeric(b) ? b : 0; /* 10% * x is a tenth of x */
  if (b == VALUE_PERCENT) return is_plain(a) ? VALUE_NUMBER : is_numeric(a) ? a : 0;
  if (is_amount(a) && is_plain(b)) return a;
  if (is_amount(b) && is_plain(a)) return b;
  return 0;
}

static enum value_type divide_type(enum value_type a, enum value_type b) {
  if (is_numeric(a) && a == b && !is_plain(a)) return VALUE_NUMBER;
  if (is_numeric(a) && is_plain(b)) return is_plain(a) ? VALUE_NUMBER : a;
  return 0;
}

static enum value_type modulo_type(enum value_type a, enum value_type b) {
  if (is_plain(a) && is_plain(b)) return a == VALUE_INT && b == VALUE_INT ? VALUE_INT : VALUE_NUMBER;
  return is_amount(a) && a == b ? a : 0;
}

enum value_type arithmetic_type(enum operation operation, enum value_type a, enum value_type b) {
  switch (operation) {
  case OP_ADD:
  case OP_SUBTRACT: return add_type(a, b);
  case OP_MULTIPLY: return multiply_type(a, b);
  case OP_DIVIDE: return divide_type(a, b);
  case OP_MODULO: return modulo_type(a, b);
  default: return 0;
  }
}

bool comparable(enum operation operation, enum value_type a, enum value_type b) {
  bool equality = operation == OP_EQUAL || operation == OP_UNEQUAL;
  if (a == VALUE_NULL || b == VALUE_NULL) return true;
  if (is_plain(a) && is_plain(b)) return true;
  if ((a == VALUE_SIZE || a == VALUE_BITRATE) && is_plain(b)) return true;
  if ((b == VALUE_SIZE || b == VALUE_BITRATE) && is_plain(a)) return true;
  if (a != b) return false;
  return equality || is_numeric(a) || a == VALUE_TEXT;
}

static const type_set numbers = (1u << VALUE_INT) | (1u << VALUE_NUMBER);
static const type_set nullable = 1u << VALUE_NULL;

/* All but null of each argument has to meet `wanted`. */
static bool takes(const type_set *args, size_t count, type_set wanted, size_t *bad) {
  for (size_t i = 0; i < count; i++) {
    type_set set = args[i] & ~nullable;
    if (!set || (set & wanted)) continue;
    *bad = i;
    return false;
  }
  return true;
}

static type_set any_null(const type_set *args, size_t count) {
  type_set set = 0;
  for (size_t i = 0; i < count; i++) set |= args[i] & nullable;
  return set;
}

static type_set extreme_type(const type_set *args, size_t count, size_t *bad) {
  type_set all = 0;
  for (size_t i = 0; i < count; i++) {
    type_set set = args[i] & ~nullable, wanted = 0;
    for (unsigned t = VALUE_BOOL; t <= VALUE_MAP; t++)
      for (unsigned u = VALUE_BOOL; u <= VALUE_MAP; u++)
        if ((set & (1u << t)) && (!all || (all & (1u << u))) && comparable(OP_LESS, t, all ? u : t)) wanted |= 1u << t;
    if (set && !wanted) return *bad = i, 0;
    all |= wanted;
  }
  return all | any_null(args, count);
}

type_set function_type(const struct function *f, const type_set *args, size_t count, size_t *bad) {
  const type_set text = type_bit(VALUE_TEXT), list = type_bit(VALUE_LIST), yes = type_bit(VALUE_BOOL);
  const type_set whole = type_bit(VALUE_INT);
  switch (f->id) {
  case FUNCTION_FORMAT: return takes(args, 1, text, bad) && takes(args, count, TYPE_ANY & ~list, bad) ? text : 0;
  case FUNCTION_CONTAINS: return takes(args, 1, text | list, bad) ? yes : 0;
  case FUNCTION_STARTS:
  case FUNCTION_ENDS: return takes(args, 2, text, bad) ? yes : 0;
  case FUNCTION_LOWER:
  case FUNCTION_UPPER: return takes(args, 1, text, bad) ? text | any_null(args, 1) : 0;
  case FUNCTION_LENGTH: return takes(args, 1, text | list, bad) ? whole | any_null(args, 1) : 0;
  case FUNCTION_LIST: return takes(args, count, TYPE_ANY & ~list, bad) ? list : 0;
  case FUNCTION_MIN:
  case FUNCTION_MAX: return extreme_type(args, count, bad);
  case FUNCTION_ROUND:
  case FUNCTION_FLOOR:
  case FUNCTION_CEIL: return takes(args, 1, numbers, bad) ? whole | any_null(args, 1) : 0;
  case FUNCTION_ALWAYS:
  case FUNCTION_FAILURE:
  case FUNCTION_SUCCESS:
  case FUNCTION_CANCELLED: return yes;
  }
  return 0;
}

void type_set_text(type_set set, struct buf *out) {
  size_t begin = out->size;
  for (unsigned t = VALUE_BOOL; t <= VALUE_MAP; t++)
    if (set & (1u << t)) buf_format(out, "%s%s", out->size > begin ? " or " : "", value_type_word((enum value_type)t));
  if (out->size == begin) buf_text(out, "null");
}
