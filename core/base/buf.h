/* buf.h - a growing byte buffer, always NUL-terminated behind its size so that text needs no copy. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct buf {
  char *data; /* NULL while empty and never grown */
  size_t size, room;
};

void buf_free(struct buf *b); /* leaves it empty and usable */
void buf_reset(struct buf *b); /* size 0, keeps the memory */
void buf_add(struct buf *b, const void *data, size_t size);
void buf_text(struct buf *b, const char *text);
void buf_char(struct buf *b, char c);
void buf_format(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_json_text(struct buf *b, const char *text, size_t size); /* quoted and escaped; invalid UTF-8 becomes U+FFFD */
const char *buf_string(const struct buf *b); /* "" when empty */
char *buf_take(struct buf *b); /* moves the text out (never NULL), leaves b empty */
#define buf_auto __attribute__((cleanup(buf_free)))
