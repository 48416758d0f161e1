#include "runner/jsoncheck.h"

#include <stddef.h>
#include <string.h>

enum { DEPTH_MAX = 32 };

static const char *blank(const char *c) { return c + strspn(c, " \t\r\n"); }

static const char *string_end(const char *c) { /* behind the closing quote; NULL: malformed */
  if (*c++ != '"') return NULL;
  for (;; c++) {
    if (*c == '"') return c + 1;
    if ((unsigned char)*c < 0x20) return NULL;
    if (*c != '\\') continue;
    c++;
    if (*c == 'u') {
      if (strspn(c + 1, "0123456789abcdefABCDEF") < 4) return NULL;
      c += 4;
    } else if (!*c || !strchr("\"\\/bfnrt", *c)) {
      return NULL;
    }
  }
}

static const char *digits(const char *c) {
  size_t n = strspn(c, "0123456789");
  return n ? c + n : NULL;
}

static const char *number_end(const char *c) {
  if (*c == '-') c++;
  c = *c == '0' ? c + 1 : digits(c);
  if (c && *c == '.') c = digits(c + 1);
  if (c && (*c == 'e' || *c == 'E')) {
    c++;
    if (*c == '+' || *c == '-') c++;
    c = digits(c);
  }
  return c;
}

static const char *value_end(const char *c, unsigned depth);

static const char *member_end(const char *c, bool is_object, unsigned depth) {
  if (is_object) {
    c = string_end(c);
    if (!c) return NULL;
    c = blank(c);
    if (*c != ':') return NULL;
    c = blank(c + 1);
  }
  return value_end(c, depth);
}

static const char *members_end(const char *c, unsigned depth) {
  bool is_object = *c == '{';
  char close = is_object ? '}' : ']';
  c = blank(c + 1);
  if (*c == close) return c + 1;
  for (;;) {
    c = member_end(c, is_object, depth + 1);
    if (!c) return NULL;
    c = blank(c);
    if (*c == close) return c + 1;
    if (*c != ',') return NULL;
    c = blank(c + 1);
  }
}

static const char *value_end(const char *c, unsigned depth) {
  if (depth > DEPTH_MAX) return NULL;
  if (*c == '{' || *c == '[') return members_end(c, depth);
  if (*c == '"') return string_end(c);
  if (strncmp(c, "true", 4) == 0 || strncmp(c, "null", 4) == 0) return c + 4;
  if (strncmp(c, "false", 5) == 0) return c + 5;
  return number_end(c);
}

bool json_is_object(const char *text) {
  const char *c = blank(text);
  if (*c != '{') return false;
  c = members_end(c, 0);
  return c && !*blank(c);
}
