/* Reading JSON, through jansson. A file of its own: what never parses JSON does not pull the library in. */
#include <jansson.h>
#include <string.h>

#include "base/value.h"
#include "base/value_parts.h"

enum { DEPTH_MAX = 64 };

/* Nesting is measured before the parser sees the text: jansson recurses 2048 levels deep, too many for a small stack. */
static bool too_deep(const char *text, size_t size) {
  unsigned depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < size; i++) {
    if (quoted) {
      if (text[i] == '\\')
        i++;
      else if (text[i] == '"')
        quoted = false;
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == '[' || text[i] == '{') {
      if (++depth > DEPTH_MAX) return true;
    } else if ((text[i] == ']' || text[i] == '}') && depth) {
      depth--;
    }
  }
  return false;
}

static struct value *convert(json_t *j) {
  switch (json_typeof(j)) {
  case JSON_TRUE: return value_bool(true);
  case JSON_FALSE: return value_bool(false);
  case JSON_INTEGER: return value_int(json_integer_value(j));
  case JSON_REAL: return value_number(json_real_value(j));
  case JSON_STRING: return value_text_n(json_string_value(j), json_string_length(j));
  case JSON_NULL: return value_null();
  case JSON_ARRAY:
  case JSON_OBJECT: break;
  }
  if (json_is_array(j)) {
    struct value *list = value_list();
    size_t i;
    json_t *item;
    json_array_foreach(j, i, item) value_list_add(list, convert(item));
    return list;
  }
  struct value *map = value_map();
  const char *key;
  json_t *item;
  json_object_foreach(j, key, item) value_map_append(map, key, convert(item));
  return map;
}

enum err value_from_json(const char *text, size_t size, struct value **v, struct error *e) {
  *v = NULL;
  if (too_deep(text, size)) return error_set(e, ERR_INVALID, "JSON is nested more than %d levels deep", DEPTH_MAX);
  json_error_t fault;
  json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
  if (!root) {
    error_set(e, ERR_INVALID, "line %d, column %d: not valid JSON: %s", fault.line, fault.column, fault.text);
    return ERR_INVALID;
  }
  *v = convert(root);
  json_decref(root);
  return ERR_OK;
}
