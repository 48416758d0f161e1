#include "common/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Index of "<name>" or "<name attributes>" from `at` on (behind its ">" in *behind), or -1. */
static long find_open(const char *xml, size_t size, const char *name, size_t at, size_t *behind) {
  size_t length = strlen(name);
  while (at < size) {
    const char *angle = memchr(xml + at, '<', size - at);
    if (!angle) return -1;
    at = (size_t)(angle - xml);
    size_t end = at + 1 + length;
    if (end < size && memcmp(angle + 1, name, length) == 0 && (xml[end] == '>' || xml[end] == ' ' || xml[end] == '/')) {
      const char *close = memchr(xml + end, '>', size - end);
      if (!close) return -1;
      *behind = (size_t)(close + 1 - xml);
      return (long)at;
    }
    at++;
  }
  return -1;
}

const char *xml_next(const char *xml, size_t size, const char *name, size_t *at, size_t *inner_size) {
  char closing[64];
  size_t from;
  if (!xml || (size_t)snprintf(closing, sizeof closing, "</%s>", name) >= sizeof closing) return NULL;
  if (find_open(xml, size, name, *at, &from) < 0) return NULL;
  if (xml[from - 2] == '/') { /* <name/> */
    *at = from;
    *inner_size = 0;
    return xml + from;
  }
  const char *end = memmem(xml + from, size - from, closing, strlen(closing));
  if (!end) return NULL;
  *inner_size = (size_t)(end - xml) - from;
  *at = (size_t)(end - xml) + strlen(closing);
  return xml + from;
}

/* The character an entity at s stands for and its length, or 0. */
static size_t entity(const char *s, size_t size, char *c) {
  static const struct {
    const char *name;
    char c;
  } known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    size_t length = strlen(known[i].name);
    if (length <= size && memcmp(s, known[i].name, length) == 0) return *c = known[i].c, length;
  }
  if (size > 3 && s[1] == '#') { /* ASCII only: ETags arrive as &#34;...&#34; */
    char *end;
    char digits[8] = {0};
    memcpy(digits, s + 2, size - 2 < 7 ? size - 2 : 7);
    long code = digits[0] == 'x' ? strtol(digits + 1, &end, 16) : strtol(digits, &end, 10);
    if (*end == ';' && code > 0 && code < 128) return *c = (char)code, (size_t)(end - digits) + 3;
  }
  return 0;
}

bool xml_text(const char *xml, size_t size, const char *name, struct text *out) {
  size_t at = 0, inner;
  const char *from = xml_next(xml, size, name, &at, &inner);
  if (!from) return false;
  for (size_t i = 0; i < inner; i++) {
    char c;
    size_t skip = from[i] == '&' ? entity(from + i, inner - i, &c) : 0;
    text_char(out, skip ? c : from[i]);
    if (skip) i += skip - 1;
  }
  return !out->failed;
}
