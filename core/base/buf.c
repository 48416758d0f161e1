#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void buf_free(struct buf *b) {
  free(b->data);
  *b = (struct buf){0};
}

void buf_reset(struct buf *b) {
  b->size = 0;
  if (b->data) b->data[0] = '\0';
}

/* Room for `more` bytes and the NUL behind them. */
static void buf_reserve(struct buf *b, size_t more) {
  size_t need;
  if (__builtin_add_overflow(b->size, more, &need) || need >= SIZE_MAX / 2) need = SIZE_MAX / 2; /* mem_grow ends it */
  if (need + 1 <= b->room) return;
  size_t room = b->room ? b->room : 64;
  while (room < need + 1) room *= 2;
  b->data = mem_grow(b->data, room, 1);
  b->room = room;
}

void buf_add(struct buf *b, const void *data, size_t size) {
  buf_reserve(b, size);
  if (size) memcpy(b->data + b->size, data, size);
  b->size += size;
  b->data[b->size] = '\0';
}

void buf_text(struct buf *b, const char *text) { buf_add(b, text, strlen(text)); }

void buf_char(struct buf *b, char c) { buf_add(b, &c, 1); }

void buf_format(struct buf *b, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int size = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (size < 0) return;
  buf_reserve(b, (size_t)size);
  va_start(args, format);
  vsnprintf(b->data + b->size, (size_t)size + 1, format, args);
  va_end(args);
  b->size += (size_t)size;
}

/* Length of the valid UTF-8 sequence at s (RFC 3629: no overlong forms, surrogates or values above U+10FFFF), or 0. */
static size_t utf8_length(const unsigned char *s, size_t left) {
  static const struct {
    unsigned char low, high, second_low, second_high, length;
  } rows[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
              {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
              {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    if (s[0] < rows[i].low || s[0] > rows[i].high) continue;
    if (rows[i].length > left) return 0;
    if (rows[i].length > 1 && (s[1] < rows[i].second_low || s[1] > rows[i].second_high)) return 0;
    for (size_t k = 2; k < rows[i].length; k++)
      if ((s[k] & 0xc0) != 0x80) return 0;
    return rows[i].length;
  }
  return 0;
}

static void add_escaped(struct buf *b, unsigned char c) {
  switch (c) {
  case '"': buf_text(b, "\\\""); break;
  case '\\': buf_text(b, "\\\\"); break;
  case '\n': buf_text(b, "\\n"); break;
  case '\r': buf_text(b, "\\r"); break;
  case '\t': buf_text(b, "\\t"); break;
  default: buf_format(b, "\\u%04x", c);
  }
}

void buf_json_text(struct buf *b, const char *text, size_t size) {
  const unsigned char *s = (const unsigned char *)text;
  size_t at = 0, plain = 0; /* plain: start of what needs no change */
  buf_char(b, '"');
  while (at < size) {
    size_t length = utf8_length(s + at, size - at);
    if (length > 1 || (length == 1 && s[at] >= 0x20 && s[at] != '"' && s[at] != '\\' && s[at] != 0x7f)) {
      at += length;
      continue;
    }
    buf_add(b, text + plain, at - plain);
    if (length == 0)
      buf_text(b, "\xef\xbf\xbd");
    else
      add_escaped(b, s[at]);
    plain = ++at;
  }
  buf_add(b, text + plain, at - plain);
  buf_char(b, '"');
}

const char *buf_string(const struct buf *b) { return b->data ? b->data : ""; }

char *buf_take(struct buf *b) {
  char *text = b->data ? b->data : mem_text("");
  *b = (struct buf){0};
  return text;
}
