/* Writing value trees as JSON; needs no library. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/value.h"

/* The shortest text that reads back as the same number. A whole one keeps ".0", so that it stays a number. */
static void write_number(struct buf *out, double x, bool keep_type) {
  char text[40];
  if (!isfinite(x)) {
    buf_text(out, "null");
    return;
  }
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof(text), "%.*g", digits, x);
    if (strtod(text, NULL) == x) break;
  }
  buf_text(out, text);
  if (keep_type && !strpbrk(text, ".eE")) buf_text(out, ".0");
}

static void write_seconds(struct buf *out, int64_t us) {
  uint64_t n = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
  buf_format(out, "%s%" PRIu64, us < 0 ? "-" : "", n / 1000000);
  unsigned rest = (unsigned)(n % 1000000), digits = 6;
  if (!rest) return;
  while (rest % 10 == 0) {
    rest /= 10;
    digits--;
  }
  buf_format(out, ".%0*u", (int)digits, rest);
}

static void new_line(struct buf *out, unsigned flags, unsigned depth) {
  if (!(flags & VALUE_JSON_PRETTY)) return;
  buf_char(out, '\n');
  for (unsigned i = 0; i < depth; i++) buf_text(out, "  ");
}

static void write_value(struct buf *out, const struct value *v, unsigned flags, unsigned depth);

static void write_members(struct buf *out, const struct value *v, unsigned flags, unsigned depth) {
  bool map = v->type == VALUE_MAP;
  buf_char(out, map ? '{' : '[');
  for (size_t i = 0; i < v->count; i++) {
    if (i) buf_char(out, ',');
    new_line(out, flags, depth + 1);
    if (map) {
      buf_json_text(out, v->keys[i], strlen(v->keys[i]));
      buf_text(out, flags & VALUE_JSON_PRETTY ? ": " : ":");
    }
    write_value(out, v->items[i], flags, depth + 1);
  }
  if (v->count) new_line(out, flags, depth);
  buf_char(out, map ? '}' : ']');
}

static void write_value(struct buf *out, const struct value *v, unsigned flags, unsigned depth) {
  if (!v) {
    buf_text(out, "null");
    return;
  }
  switch (v->type) {
  case VALUE_NULL: buf_text(out, "null"); break;
  case VALUE_BOOL: buf_text(out, v->integer ? "true" : "false"); break;
  case VALUE_INT:
  case VALUE_SIZE:
  case VALUE_BITRATE: buf_format(out, "%" PRId64, v->integer); break;
  case VALUE_DURATION: write_seconds(out, v->integer); break;
  case VALUE_NUMBER: write_number(out, v->number, true); break;
  case VALUE_PERCENT: write_number(out, v->number, false); break;
  case VALUE_TEXT:
    if (v->secret && !(flags & VALUE_JSON_REVEAL))
      buf_text(out, "\"***\"");
    else
      buf_json_text(out, v->text, v->text_size);
    break;
  case VALUE_LIST:
  case VALUE_MAP: write_members(out, v, flags, depth); break;
  }
}

void value_json(struct buf *out, const struct value *v, unsigned flags) { write_value(out, v, flags, 0); }
