/* Credentials that nobody registered: what stands behind the names they usually have, and whatever looks like a token.
 * A log is read by more people than the request was meant for. */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"

/* Ends of names, so that `access_token` and `X-Drive-Token` count, too. */
static const char *const names[] = {"token", "ticket", "signature", "password", "authorization", "secret", "cookie"};

static bool ends_value(char c) { return !c || strchr(" \t\r\n&\"'<>,;)}]", c) != NULL; }

/* Writes stars over a value and closes the gap; answers where the text goes on. */
static char *hide(char *begin, char *end) {
  size_t stars = (size_t)(end - begin) < 3 ? (size_t)(end - begin) : 3;
  memcpy(begin, "***", stars);
  memmove(begin + stars, end, strlen(end) + 1);
  return begin + stars;
}

static char *hide_value(char *at) {
  char *end = at;
  while (!ends_value(*end)) end++;
  return hide(at, end);
}

/* `Authorization: Bearer abc`: the scheme is told, what follows is not. */
static char *hide_header(char *at) {
  static const char *const schemes[] = {"bearer ", "basic ", "digest ", "negotiate "};
  while (*at == ' ') at++;
  for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
    if (strncasecmp(at, schemes[i], strlen(schemes[i])) == 0) return hide_value(at + strlen(schemes[i]));
  return hide_value(at);
}

static size_t name_size(const char *at) {
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    if (strncasecmp(at, names[i], strlen(names[i])) == 0) return strlen(names[i]);
  return 0;
}

/* Whether a header's name ends before `end`: a sentence may hold "token: " without giving one away. */
static bool is_header(const char *text, const char *begin, const char *end) {
  return strncasecmp(begin, "authorization", 13) == 0 || strncasecmp(begin, "cookie", 6) == 0 ||
         (end > begin && begin > text && begin[-1] == '-');
}

/* The value behind a name, if one is given: name=value, "name":"value", Name: value. */
static char *behind_name(const char *text, char *begin, size_t size) {
  char *end = begin + size;
  if (*end == '=') return hide_value(end + 1);
  if (*end == ':' && is_header(text, begin, end)) return hide_header(end + 1);
  if (*end != '"') return NULL;
  char *value = end + 1 + strspn(end + 1, " ");
  if (*value != ':') return NULL;
  value += 1 + strspn(value + 1, " ");
  return *value == '"' ? hide_header(value + 1) : NULL;
}

static bool is_base64url(char c) { return isalnum((unsigned char)c) || c == '-' || c == '_'; }

/* eyJ... . eyJ... . ...: a JSON Web Token, wherever it stands. */
static char *token_end(const char *at) {
  const char *c = at;
  for (int part = 0; part < 3; part++) {
    const char *begin = c;
    while (is_base64url(*c)) c++;
    if (c - begin < 8) return NULL;
    if (part < 2 && *c++ != '.') return NULL;
  }
  return (char *)(uintptr_t)c;
}

void log_scrub_credentials(char *text) {
  for (char *at = text; *at;) {
    char *next = NULL;
    size_t size = name_size(at);
    if (size) next = behind_name(text, at, size);
    if (!next && strncmp(at, "eyJ", 3) == 0 && token_end(at)) next = hide(at, token_end(at));
    if (!next && strncasecmp(at, "bearer ", 7) == 0) next = hide_value(at + 7);
    at = next ? next : at + 1;
  }
}
