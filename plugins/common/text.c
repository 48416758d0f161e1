#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_free(struct text *t) {
  free(t->data);
  *t = (struct text){0};
}

void text_reset(struct text *t) {
  t->size = 0;
  t->failed = false;
  if (t->data) t->data[0] = '\0';
}

static bool text_reserve(struct text *t, size_t more) {
  if (t->failed) return false;
  if (more >= (size_t)1 << 40) return t->failed = true, false;
  size_t need = t->size + more + 1;
  if (need <= t->room) return true;
  size_t room = t->room ? t->room : 64;
  while (room < need) room *= 2;
  char *data = realloc(t->data, room);
  if (!data) return t->failed = true, false;
  t->data = data;
  t->room = room;
  return true;
}

void text_add(struct text *t, const void *data, size_t size) {
  if (!text_reserve(t, size)) return;
  if (size) memcpy(t->data + t->size, data, size);
  t->size += size;
  t->data[t->size] = '\0';
}

void text_put(struct text *t, const char *string) {
  if (string) text_add(t, string, strlen(string));
}

void text_char(struct text *t, char c) { text_add(t, &c, 1); }

void text_format(struct text *t, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int size = vsnprintf(NULL, 0, format, list);
  va_end(list);
  if (size < 0 || !text_reserve(t, (size_t)size)) {
    t->failed = true;
    return;
  }
  va_start(list, format);
  vsnprintf(t->data + t->size, (size_t)size + 1, format, list);
  va_end(list);
  t->size += (size_t)size;
}

const char *text_string(const struct text *t) { return t->data ? t->data : ""; }

char *text_take(struct text *t) {
  char *data = t->failed ? NULL : t->data ? t->data : strdup("");
  if (t->failed) free(t->data);
  *t = (struct text){0};
  return data;
}
