#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "config/literal.h"
#include "pipeline/expr_parts.h"

static enum err wrong(const struct expr_node *node, const struct value *v, struct error *e) {
  return error_set(e, ERR_INVALID, "%s() cannot take %s here", node->function->name, value_type_word(v->type));
}

static enum err text_result(struct buf *text, struct value **v, struct error *e) {
  if (text->size > EXPR_RESULT_MAX)
    return error_set(e, ERR_TOO_LARGE, "the text is longer than %d KiB", EXPR_RESULT_MAX >> 10);
  *v = value_text_n(buf_string(text), text->size);
  return ERR_OK;
}

/* {} takes the next argument; {{ and }} are braces. */
static enum err format(const struct expr_node *node, struct value **args, struct value **v, struct error *e) {
  buf_auto struct buf out = {0};
  size_t used = 1;
  if (args[0]->type != VALUE_TEXT) return wrong(node, args[0], e);
  for (const char *s = args[0]->text; *s; s++) {
    bool twice = (*s == '{' || *s == '}') && s[1] == *s;
    if (twice || (*s != '{' && *s != '}')) {
      buf_char(&out, *s);
      s += twice;
      continue;
    }
    if (*s == '}' || s[1] != '}')
      return error_set(e, ERR_INVALID, "format(): write {} for a value, {{ or }} for a brace");
    if (used == node->arg_count) return error_set(e, ERR_INVALID, "format(): more {} than values");
    if (!literal_text(args[used], &out)) return wrong(node, args[used], e);
    if (out.size > EXPR_RESULT_MAX) break;
    used++;
    s++;
  }
  if (used < node->arg_count && out.size <= EXPR_RESULT_MAX)
    return error_set(e, ERR_INVALID, "format(): more values than {}");
  return text_result(&out, v, e);
}

static enum err contains(const struct expr_node *node, struct value **args, struct value **v, struct error *e) {
  const struct value *in = args[0], *item = args[1];
  bool found = false;
  if (in->type == VALUE_LIST) {
    for (size_t i = 0; i < in->count && !found; i++) found = value_equal(in->items[i], item);
  } else if (in->type == VALUE_TEXT && item->type == VALUE_TEXT) {
    found = strstr(in->text, item->text) != NULL;
  } else if (!value_is_null(in) && !value_is_null(item)) {
    return wrong(node, in->type == VALUE_TEXT ? item : in, e);
  }
  *v = value_bool(found);
  return ERR_OK;
}

static enum err edge(const struct expr_node *node, struct value **args, bool at_end, struct value **v,
                     struct error *e) {
  *v = NULL;
  for (size_t i = 0; i < 2; i++)
    if (!value_is_null(args[i]) && args[i]->type != VALUE_TEXT) return wrong(node, args[i], e);
  bool yes = !value_is_null(args[0]) && !value_is_null(args[1]) && args[0]->text_size >= args[1]->text_size;
  size_t skip = yes && at_end ? args[0]->text_size - args[1]->text_size : 0;
  *v = value_bool(yes && memcmp(args[0]->text + skip, args[1]->text, args[1]->text_size) == 0);
  return ERR_OK;
}

/* ASCII letters alone: what other scripts do depends on the language, and a pipeline must not. */
static enum err fold(const struct expr_node *node, struct value **args, bool upper, struct value **v, struct error *e) {
  if (value_is_null(args[0])) return *v = value_null(), ERR_OK;
  if (args[0]->type != VALUE_TEXT) return wrong(node, args[0], e);
  *v = value_copy(args[0]);
  for (char *s = (*v)->text; *s; s++) {
    if (upper && *s >= 'a' && *s <= 'z') *s = (char)(*s - 'a' + 'A');
    if (!upper && *s >= 'A' && *s <= 'Z') *s = (char)(*s - 'A' + 'a');
  }
  return ERR_OK;
}

static enum err length(const struct expr_node *node, struct value **args, struct value **v, struct error *e) {
  const struct value *in = args[0];
  if (value_is_null(in)) return *v = value_null(), ERR_OK;
  if (in->type == VALUE_LIST) return *v = value_int((int64_t)in->count), ERR_OK;
  if (in->type != VALUE_TEXT) return wrong(node, in, e);
  int64_t characters = 0;
  for (const char *s = in->text; *s; s++) characters += ((unsigned char)*s & 0xc0) != 0x80;
  *v = value_int(characters);
  return ERR_OK;
}

/* What is null is left out: a result of a stage that was skipped makes no item. */
static enum err list(const struct expr_node *node, struct value **args, struct value **v, struct error *e) {
  value_auto struct value *items = value_list();
  size_t size = 0;
  for (size_t i = 0; i < node->arg_count; i++) {
    if (args[i]->type == VALUE_LIST || args[i]->type == VALUE_MAP) return wrong(node, args[i], e);
    if (args[i]->type == VALUE_TEXT) size += args[i]->text_size;
    if (!value_is_null(args[i])) value_list_add(items, value_copy(args[i]));
  }
  if (size > EXPR_RESULT_MAX)
    return error_set(e, ERR_TOO_LARGE, "the list is longer than %d KiB", EXPR_RESULT_MAX >> 10);
  *v = items;
  items = NULL;
  return ERR_OK;
}

static enum err extreme(const struct expr_node *node, struct value **args, enum operation operation, struct value **v,
                        struct error *e) {
  size_t best = 0;
  for (size_t i = 0; i < node->arg_count; i++) {
    bool better = false;
    if (value_is_null(args[i])) return *v = value_null(), ERR_OK;
    enum err err = value_compare(operation, args[i], args[best], &better, e);
    if (err) return err;
    if (better) best = i;
  }
  *v = value_copy(args[best]);
  return ERR_OK;
}

static enum err rounded(const struct expr_node *node, struct value **args, struct value **v, struct error *e) {
  const struct value *in = args[0];
  if (value_is_null(in) || in->type == VALUE_INT) return *v = value_copy(in), ERR_OK;
  if (in->type != VALUE_NUMBER) return wrong(node, in, e);
  enum function_id id = node->function->id;
  double x = id == FUNCTION_ROUND ? round(in->number) : id == FUNCTION_FLOOR ? floor(in->number) : ceil(in->number);
  if (!(fabs(x) < 9.2e18)) return error_set(e, ERR_INVALID, "%s(): the number is too large", node->function->name);
  *v = value_int((int64_t)x);
  return ERR_OK;
}

enum err function_eval(const struct expr_node *node, struct value **args, struct value **v, struct error *e) {
  switch (node->function->id) {
  case FUNCTION_FORMAT: return format(node, args, v, e);
  case FUNCTION_CONTAINS: return contains(node, args, v, e);
  case FUNCTION_STARTS: return edge(node, args, false, v, e);
  case FUNCTION_ENDS: return edge(node, args, true, v, e);
  case FUNCTION_LOWER: return fold(node, args, false, v, e);
  case FUNCTION_UPPER: return fold(node, args, true, v, e);
  case FUNCTION_LENGTH: return length(node, args, v, e);
  case FUNCTION_LIST: return list(node, args, v, e);
  case FUNCTION_MIN: return extreme(node, args, OP_LESS, v, e);
  case FUNCTION_MAX: return extreme(node, args, OP_GREATER, v, e);
  case FUNCTION_ROUND:
  case FUNCTION_FLOOR:
  case FUNCTION_CEIL: return rounded(node, args, v, e);
  default: return error_set(e, ERR_INTERNAL, "%s() has no value", node->function->name);
  }
}
