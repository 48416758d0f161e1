#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/mime.h"
#include "common/url.h"
#include "fetch.h"

bool name_is_sane(const char *name) {
  size_t size = strlen(name);
  if (!size || size > FETCH_NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
  for (const char *c = name; *c; c++)
    if (*c == '/' || (unsigned char)*c < ' ' || *c == 127) return false;
  return true;
}

/* Bytes of the UTF-8 sequence at s, 0 when it is not one (RFC 3629). */
static size_t utf8_at(const unsigned char *s) {
  if (s[0] < 0x80) return 1;
  size_t more = s[0] >= 0xf0 && s[0] <= 0xf4 ? 3 : s[0] >= 0xe0 ? 2 : s[0] >= 0xc2 ? 1 : 0;
  if (!more || s[0] > 0xf4) return 0;
  for (size_t i = 1; i <= more; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
      (s[0] == 0xf4 && s[1] > 0x8f))
    return 0;
  return more + 1;
}

/* Last component of a server's word, with nothing in it that a file system or terminal could mind. False: nothing left. */
static bool take_untrusted(struct fetch *f, const char *word) {
  for (const char *c = word; *c; c++)
    if (*c == '/' || *c == '\\') word = c + 1;
  while (*word == '.' || *word == ' ') word++;
  const char *dot = strrchr(word, '.');
  char extension[16] = "";
  size_t plain = dot ? 1 + strspn(dot + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") : 0;
  if (dot && !dot[plain] && plain < sizeof extension && strlen(word) > FETCH_NAME_MAX) strcpy(extension, dot);
  const size_t room = FETCH_NAME_MAX - strlen(extension);
  size_t n = 0;
  while (*word) {
    size_t step = utf8_at((const unsigned char *)word);
    bool odd = !step || (step == 1 && ((unsigned char)*word < ' ' || *word == 127 || strchr("\"*:<>?|", *word)));
    if (n + (step ? step : 1) > room) break;
    if (odd)
      f->name[n++] = '_';
    else
      memcpy(f->name + n, word, step), n += step;
    word += step ? step : 1;
  }
  while (n && f->name[n - 1] == ' ') n--;
  f->name[n] = '\0';
  if (n && *word) strcat(f->name, extension);
  return n > 0;
}

static void take_type(struct fetch *f, const char *content_type) {
  size_t size = content_type ? strcspn(content_type, "; \t,") : 0;
  bool sane = size > 2 && size < sizeof f->media_type && memchr(content_type, '/', size) &&
              strspn(content_type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.+-_!#$&^") >= size;
  if (sane) {
    for (size_t i = 0; i < size; i++) f->media_type[i] = (char)tolower((unsigned char)content_type[i]);
    f->media_type[size] = '\0';
  }
  /* Servers call what they do not know octet-stream or text: the file's name knows better. */
  static const char *const vague[] = {"application/octet-stream", "binary/octet-stream", "text/plain",
                                      "application/x-download", "application/force-download"};
  for (size_t i = 0; sane && i < sizeof vague / sizeof *vague; i++)
    if (strcmp(f->media_type, vague[i]) == 0) sane = false;
  if (!sane) snprintf(f->media_type, sizeof f->media_type, "%s", mime_of_name(f->name));
}

void name_from_path(struct fetch *f, const char *path) {
  if (!f->name[0] && !take_untrusted(f, path)) strcpy(f->name, "source");
  take_type(f, NULL);
}

/* filename*=UTF-8''percent-encoded before filename="quoted" before filename=token (RFC 6266). */
static char *disposition_name(const char *disposition) {
  const char *at = strcasestr(disposition, "filename*=utf-8'");
  if (at && (at = strchr(at + 16, '\''))) {
    char *encoded = strndup(at + 1, strcspn(at + 1, "; ")), *plain = encoded ? url_decode(encoded) : NULL;
    free(encoded);
    if (plain) return plain;
  }
  at = strcasestr(disposition, "filename=");
  if (!at) return NULL;
  at += 9;
  return *at == '"' ? strndup(at + 1, strcspn(at + 1, "\"")) : strndup(at, strcspn(at, "; "));
}

static bool take_from_url(struct fetch *f, const char *string) {
  url_auto struct url url = {.port = -1};
  if (!url_parse(string, &url, NULL)) return false;
  char *plain = url_decode(url.path);
  bool taken = plain && take_untrusted(f, plain);
  free(plain);
  return taken;
}

void name_from_answer(struct fetch *f, const char *disposition, const char *url, const char *content_type) {
  char *offered = disposition ? disposition_name(disposition) : NULL;
  bool taken = f->name[0] != '\0';
  bool operators = taken;
  if (!taken && offered) taken = take_untrusted(f, offered);
  if (!taken) taken = take_from_url(f, f->url) && strchr(f->name, '.');
  if (!taken) taken = take_from_url(f, url);
  if (!taken) strcpy(f->name, "source");
  free(offered);
  take_type(f, content_type);
  if (!operators && !strchr(f->name, '.')) strcat(f->name, mime_extension(f->media_type));
}
