/* The packed form of a value tree:
 *
 *   item   = type:u8 payload
 *   BOOL   u8 (0, 1)             INT, DURATION, SIZE, BITRATE   i64
 *   NUMBER, PERCENT   IEEE 754 binary64, finite
 *   TEXT   flags:u8 (1 secret) size:u32 bytes
 *   LIST   count:u32 item...     MAP   count:u32 (size:u32 key item)...
 *
 * All little-endian. */
#include <endian.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/value.h"
#include "base/value_parts.h"

enum { DEPTH_MAX = 32 };

static void pack_u8(struct buf *out, unsigned n) { buf_char(out, (char)n); }

static void pack_u32(struct buf *out, size_t n) {
  uint32_t le = htole32((uint32_t)n);
  buf_add(out, &le, sizeof(le));
}

static void pack_u64(struct buf *out, uint64_t n) {
  uint64_t le = htole64(n);
  buf_add(out, &le, sizeof(le));
}

static void pack_number(struct buf *out, const struct value *v) {
  uint64_t bits;
  if (!isfinite(v->number)) { /* has no meaning in any text we write: null */
    pack_u8(out, VALUE_NULL);
    return;
  }
  memcpy(&bits, &v->number, sizeof(bits));
  pack_u8(out, v->type);
  pack_u64(out, bits);
}

static void pack_text(struct buf *out, const char *text, size_t size) {
  pack_u32(out, size);
  buf_add(out, text, size);
}

void value_pack(struct buf *out, const struct value *v) {
  if (!v) {
    pack_u8(out, VALUE_NULL);
    return;
  }
  if (v->type == VALUE_NUMBER || v->type == VALUE_PERCENT) {
    pack_number(out, v);
    return;
  }
  pack_u8(out, v->type);
  switch (v->type) {
  case VALUE_NULL: break;
  case VALUE_BOOL: pack_u8(out, v->integer != 0); break;
  case VALUE_TEXT:
    pack_u8(out, v->secret);
    pack_text(out, v->text, v->text_size);
    break;
  case VALUE_LIST:
  case VALUE_MAP:
    pack_u32(out, v->count);
    for (size_t i = 0; i < v->count; i++) {
      if (v->type == VALUE_MAP) pack_text(out, v->keys[i], strlen(v->keys[i]));
      value_pack(out, v->items[i]);
    }
    break;
  default: pack_u64(out, (uint64_t)v->integer);
  }
}

/* ---- and back ---- */

struct cursor {
  const unsigned char *at;
  size_t left;
  const char *wrong; /* what is off, once something is */
};

static bool take(struct cursor *c, void *out, size_t size) {
  if (c->left < size) {
    c->wrong = "ends too early";
    return false;
  }
  memcpy(out, c->at, size);
  c->at += size;
  c->left -= size;
  return true;
}

static bool take_u32(struct cursor *c, uint32_t *n) {
  if (!take(c, n, sizeof(*n))) return false;
  *n = le32toh(*n);
  return true;
}

static bool take_u64(struct cursor *c, uint64_t *n) {
  if (!take(c, n, sizeof(*n))) return false;
  *n = le64toh(*n);
  return true;
}

static const char *take_text(struct cursor *c, size_t *size) {
  uint32_t n;
  if (!take_u32(c, &n)) return NULL;
  if (n > c->left || memchr(c->at, 0, n)) {
    c->wrong = n > c->left ? "a text is longer than what is there" : "a text holds a NUL";
    return NULL;
  }
  const char *text = (const char *)c->at;
  c->at += n;
  c->left -= n;
  *size = n;
  return text;
}

static struct value *take_value(struct cursor *c, unsigned depth);

static struct value *take_text_value(struct cursor *c) {
  unsigned char flags;
  size_t size;
  if (!take(c, &flags, 1)) return NULL;
  const char *text = take_text(c, &size);
  if (!text) return NULL;
  struct value *v = value_text_n(text, size);
  v->secret = flags & 1;
  return v;
}

static int compare_keys(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorted, not searched one by one: a hostile map of many keys costs n log n. */
static bool keys_are_unique(const struct value *map) {
  if (map->count < 2) return true;
  mem_auto char **sorted = mem_array(map->count, sizeof(*sorted));
  memcpy(sorted, map->keys, map->count * sizeof(*sorted));
  qsort(sorted, map->count, sizeof(*sorted), compare_keys);
  for (size_t i = 1; i < map->count; i++)
    if (strcmp(sorted[i - 1], sorted[i]) == 0) return false;
  return true;
}

static bool take_members(struct cursor *c, struct value *v, unsigned depth) {
  uint32_t count;
  if (!take_u32(c, &count)) return false;
  if (count > c->left) { /* every item takes at least one byte */
    c->wrong = "more items are announced than can be there";
    return false;
  }
  for (uint32_t i = 0; i < count; i++) {
    size_t size = 0;
    const char *key = v->type == VALUE_MAP ? take_text(c, &size) : "";
    struct value *item = key ? take_value(c, depth + 1) : NULL;
    if (!item) return false;
    if (v->type == VALUE_MAP) {
      mem_auto char *name = mem_text_n(key, size);
      value_map_append(v, name, item);
    } else {
      value_list_add(v, item);
    }
  }
  if (v->type == VALUE_MAP && !keys_are_unique(v)) {
    c->wrong = "a map names a key twice";
    return false;
  }
  return true;
}

static struct value *take_number(struct cursor *c, enum value_type type) {
  uint64_t bits;
  double number;
  if (!take_u64(c, &bits)) return NULL;
  memcpy(&number, &bits, sizeof(number));
  if (!isfinite(number)) {
    c->wrong = "a number is not finite";
    return NULL;
  }
  return value_of(type, 0, number);
}

static struct value *take_bool(struct cursor *c) {
  unsigned char b;
  if (!take(c, &b, 1)) return NULL;
  return value_bool(b != 0);
}

static struct value *take_integer(struct cursor *c, enum value_type type) {
  uint64_t n;
  if (!take_u64(c, &n)) return NULL;
  return value_of(type, (int64_t)n, 0);
}

static struct value *take_value(struct cursor *c, unsigned depth) {
  unsigned char type;
  if (depth > DEPTH_MAX) {
    c->wrong = "it is nested too deeply";
    return NULL;
  }
  if (!take(c, &type, 1)) return NULL;
  switch (type) {
  case VALUE_NULL: return value_null();
  case VALUE_BOOL: return take_bool(c);
  case VALUE_INT:
  case VALUE_DURATION:
  case VALUE_SIZE:
  case VALUE_BITRATE: return take_integer(c, type);
  case VALUE_NUMBER:
  case VALUE_PERCENT: return take_number(c, type);
  case VALUE_TEXT: return take_text_value(c);
  case VALUE_LIST:
  case VALUE_MAP: break;
  default: c->wrong = "an item has an unknown type"; return NULL;
  }
  struct value *v = type == VALUE_MAP ? value_map() : value_list();
  if (!take_members(c, v, depth)) value_free(&v);
  return v;
}

enum err value_unpack(const void *data, size_t size, struct value **v, struct error *e) {
  struct cursor c = {data, size, NULL};
  *v = take_value(&c, 1);
  if (*v && c.left) {
    value_free(v);
    c.wrong = "bytes follow its end";
  }
  if (*v) return ERR_OK;
  error_set(e, ERR_PROTOCOL, "a packed value cannot be read: %s", c.wrong ? c.wrong : "unknown fault");
  error_debug(e, "%zu bytes, %zu unread", size, c.left);
  return ERR_PROTOCOL;
}
