/* text.h - a growing text, NUL-terminated at all times.
 *
 * Memory that cannot be had sets `failed` and leaves the text as it was; callers check once, at the end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct text {
  char *data; /* NULL while empty */
  size_t size, room;
  bool failed;
};

void text_free(struct text *t);
void text_reset(struct text *t); /* empty, keeps the memory */
void text_add(struct text *t, const void *data, size_t size);
void text_put(struct text *t, const char *string); /* NULL adds nothing */
void text_char(struct text *t, char c);
void text_format(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *text_string(const struct text *t); /* "" when empty */
/* Moves the text out: the caller's to free, never NULL unless memory ran out. */
char *text_take(struct text *t);
#define text_auto __attribute__((cleanup(text_free)))
