#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *err_word(enum err code) {
  switch (code) {
#define ERR_WORD(name, word)                                                                                           \
  case ERR_##name: return word;
    ERR_TABLE(ERR_WORD)
#undef ERR_WORD
  }
  return "unknown";
}

/* A cut inside a UTF-8 sequence would make the sentence unprintable: the torn tail goes. */
static void drop_torn_tail(char *text, size_t room) {
  size_t size = strlen(text), start = size;
  if (size + 1 < room) return;
  while (start > 0 && size - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) start--;
  if (start > 0 && (unsigned char)text[start - 1] >= 0xc0) text[start - 1] = '\0';
}

static void format_into(char *out, size_t room, const char *format, va_list args) {
  vsnprintf(out, room, format, args);
  drop_torn_tail(out, room);
}

enum err error_set(struct error *e, enum err code, const char *format, ...) {
  if (!e) return code;
  /* The arguments may point into e itself ("%s" of the old message), so the new text is built aside. */
  char text[sizeof(e->message)];
  va_list args;
  va_start(args, format);
  format_into(text, sizeof(text), format, args);
  va_end(args);
  memcpy(e->message, text, sizeof(text));
  e->code = code;
  e->debug[0] = '\0';
  return code;
}

enum err error_errno(struct error *e, int saved_errno, const char *format, ...) {
  bool full = saved_errno == ENOSPC || saved_errno == EDQUOT;
  enum err code = full ? ERR_NO_SPACE : saved_errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
  if (saved_errno == EACCES || saved_errno == EPERM || saved_errno == EROFS) code = ERR_DENIED;
  if (!e) return code;
  char text[sizeof(e->message)], cause[128];
  va_list args;
  va_start(args, format);
  format_into(text, sizeof(text), format, args);
  va_end(args);
  const char *said = strerror_r(saved_errno, cause, sizeof(cause));
  snprintf(e->message, sizeof(e->message), "%.380s: %s", text, said);
  drop_torn_tail(e->message, sizeof(e->message));
  snprintf(e->debug, sizeof(e->debug), "errno %d (%s)", saved_errno, said);
  e->code = code;
  return code;
}

void error_debug(struct error *e, const char *format, ...) {
  if (!e) return;
  char text[sizeof(e->debug)];
  va_list args;
  va_start(args, format);
  format_into(text, sizeof(text), format, args);
  va_end(args);
  memcpy(e->debug, text, sizeof(text));
}

void error_prefix(struct error *e, const char *format, ...) {
  if (!e) return;
  char prefix[sizeof(e->message)], old[sizeof(e->message)];
  va_list args;
  va_start(args, format);
  format_into(prefix, sizeof(prefix), format, args);
  va_end(args);
  memcpy(old, e->message, sizeof(old));
  int used = snprintf(e->message, sizeof(e->message), "%.200s: ", prefix);
  snprintf(e->message + used, sizeof(e->message) - (size_t)used, "%s", old);
  drop_torn_tail(e->message, sizeof(e->message));
}

void error_clear(struct error *e) {
  if (!e) return;
  e->code = ERR_OK;
  e->message[0] = e->debug[0] = '\0';
}
