#include "base/value.h"

#include <string.h>

#include "base/mem.h"
#include "base/value_parts.h"

static struct value *value_new(enum value_type type) {
  struct value *v = mem_alloc(sizeof(*v));
  v->type = type;
  return v;
}

struct value *value_null(void) {
  return value_new(VALUE_NULL);
}

struct value *value_bool(bool b) {
  struct value *v = value_new(VALUE_BOOL);
  v->integer = b;
  return v;
}

struct value *value_int(int64_t n) {
  struct value *v = value_new(VALUE_INT);
  v->integer = n;
  return v;
}

struct value *value_number(double x) {
  struct value *v = value_new(VALUE_NUMBER);
  v->number = x;
  return v;
}

struct value *value_text(const char *text) {
  return text ? value_text_n(text, strlen(text)) : value_null();
}

struct value *value_text_n(const char *text, size_t size) {
  struct value *v = value_new(VALUE_TEXT);
  v->text_size = strnlen(text, size);
  v->text = mem_text_n(text, v->text_size);
  return v;
}

struct value *value_of(enum value_type type, int64_t integer, double number) {
  struct value *v = value_new(type);
  v->integer = integer;
  v->number = number;
  return v;
}

struct value *value_list(void) {
  return value_new(VALUE_LIST);
}
struct value *value_map(void) {
  return value_new(VALUE_MAP);
}

void value_free(struct value **v) {
  if (!v || !*v) return;
  struct value *old = *v;
  *v = NULL;
  for (size_t i = 0; i < old->count; i++) {
    value_free(&old->items[i]);
    if (old->keys) free(old->keys[i]);
  }
  /* Resolved secrets do not stay behind in freed memory. */
  if (old->secret && old->text) explicit_bzero(old->text, old->text_size);
  free(old->text);
  free(old->items);
  free(old->keys);
  free(old);
}

void value_free_at(struct value **v) { value_free(v); }

/* Appends without looking for the key: for callers that know it to be new. */
static void append(struct value *v, const char *key, struct value *moved) {
  if ((v->count & (v->count - 1)) == 0) { /* grow at powers of two */
    size_t room = v->count ? v->count * 2 : 1;
    v->items = mem_grow(v->items, room, sizeof(*v->items));
    if (v->type == VALUE_MAP) v->keys = mem_grow(v->keys, room, sizeof(*v->keys));
  }
  v->items[v->count] = moved ? moved : value_null();
  if (v->type == VALUE_MAP) v->keys[v->count] = mem_text(key);
  v->count++;
}

struct value *value_copy(const struct value *v) {
  if (!v) return value_null();
  struct value *copy = value_of(v->type, v->integer, v->number);
  copy->secret = v->secret;
  if (v->text) {
    copy->text = mem_text_n(v->text, v->text_size);
    copy->text_size = v->text_size;
  }
  for (size_t i = 0; i < v->count; i++) append(copy, v->keys ? v->keys[i] : NULL, value_copy(v->items[i]));
  return copy;
}

void value_list_add(struct value *list, struct value *moved) { append(list, NULL, moved); }

void value_map_append(struct value *map, const char *key, struct value *moved) { append(map, key, moved); }

void value_map_set(struct value *map, const char *key, struct value *moved) {
  for (size_t i = 0; i < map->count; i++) {
    if (strcmp(map->keys[i], key) != 0) continue;
    value_free(&map->items[i]);
    map->items[i] = moved ? moved : value_null();
    return;
  }
  append(map, key, moved);
}

void value_set_text(struct value *map, const char *key, const char *text) { value_map_set(map, key, value_text(text)); }
void value_set_int(struct value *map, const char *key, int64_t n) { value_map_set(map, key, value_int(n)); }
void value_set_number(struct value *map, const char *key, double x) { value_map_set(map, key, value_number(x)); }
void value_set_bool(struct value *map, const char *key, bool b) { value_map_set(map, key, value_bool(b)); }

static const struct value *get_n(const struct value *map, const char *key, size_t size) {
  if (!map || map->type != VALUE_MAP) return NULL;
  for (size_t i = 0; i < map->count; i++)
    if (strncmp(map->keys[i], key, size) == 0 && map->keys[i][size] == '\0') return map->items[i];
  return NULL;
}

const struct value *value_get(const struct value *map, const char *key) { return get_n(map, key, strlen(key)); }

static const struct value *list_at(const struct value *list, const char *digits, size_t size) {
  size_t index = 0;
  if (size == 0 || size > 9) return NULL;
  for (size_t i = 0; i < size; i++) {
    if (digits[i] < '0' || digits[i] > '9') return NULL;
    index = index * 10 + (size_t)(digits[i] - '0');
  }
  return index < list->count ? list->items[index] : NULL;
}

const struct value *value_path(const struct value *v, const char *dotted) {
  while (v) {
    size_t size = strcspn(dotted, ".");
    v = v->type == VALUE_LIST ? list_at(v, dotted, size) : get_n(v, dotted, size);
    if (dotted[size] == '\0') return v;
    dotted += size + 1;
  }
  return NULL;
}

const char *value_get_text(const struct value *map, const char *key, const char *otherwise) {
  const struct value *v = value_get(map, key);
  return v && v->type == VALUE_TEXT ? v->text : otherwise;
}

static bool holds_integer(const struct value *v) {
  return v && (v->type == VALUE_INT || v->type == VALUE_DURATION || v->type == VALUE_SIZE || v->type == VALUE_BITRATE);
}

int64_t value_get_int(const struct value *map, const char *key, int64_t otherwise) {
  const struct value *v = value_get(map, key);
  return holds_integer(v) ? v->integer : otherwise;
}

double value_get_number(const struct value *map, const char *key, double otherwise) {
  const struct value *v = value_get(map, key);
  if (holds_integer(v)) return (double)v->integer;
  return v && (v->type == VALUE_NUMBER || v->type == VALUE_PERCENT) ? v->number : otherwise;
}

bool value_get_bool(const struct value *map, const char *key, bool otherwise) {
  const struct value *v = value_get(map, key);
  return v && v->type == VALUE_BOOL ? v->integer != 0 : otherwise;
}

bool value_is_null(const struct value *v) { return !v || v->type == VALUE_NULL; }

static bool map_equal(const struct value *a, const struct value *b) {
  for (size_t i = 0; i < a->count; i++) {
    const struct value *other = value_get(b, a->keys[i]);
    if (!other || !value_equal(a->items[i], other)) return false;
  }
  return true;
}

bool value_equal(const struct value *a, const struct value *b) {
  if (value_is_null(a) || value_is_null(b)) return value_is_null(a) && value_is_null(b);
  if (a->type != b->type || a->count != b->count) return false;
  switch (a->type) {
  case VALUE_NUMBER:
  case VALUE_PERCENT: return a->number == b->number;
  case VALUE_TEXT: return a->text_size == b->text_size && memcmp(a->text, b->text, a->text_size) == 0;
  case VALUE_MAP: return map_equal(a, b);
  case VALUE_LIST:
    for (size_t i = 0; i < a->count; i++)
      if (!value_equal(a->items[i], b->items[i])) return false;
    return true;
  default: return a->integer == b->integer;
  }
}

const char *value_type_word(enum value_type type) {
  switch (type) {
  case VALUE_NULL: return "null";
  case VALUE_BOOL: return "boolean";
  case VALUE_INT: return "integer";
  case VALUE_NUMBER: return "number";
  case VALUE_TEXT: return "text";
  case VALUE_DURATION: return "duration";
  case VALUE_SIZE: return "size";
  case VALUE_BITRATE: return "bitrate";
  case VALUE_PERCENT: return "percentage";
  case VALUE_LIST: return "list";
  case VALUE_MAP: return "map";
  }
  return "unknown";
}
