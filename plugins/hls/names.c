#include "names.h"

#include <stdio.h>
#include <string.h>

#define STEM_MAX 96

static bool plain(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '~';
}

/* Cuts at the start of a UTF-8 sequence, never inside one. */
static void cut(char *text, size_t max) {
  if (strlen(text) <= max) return;
  while (max > 0 && ((unsigned char)text[max] & 0xC0) == 0x80) max--;
  text[max] = '\0';
}

void names_stem(const char *source, char stem[NAMES_MAX]) {
  const char *base = source ? strrchr(source, '/') : NULL;
  base = base ? base + 1 : source ? source : "";
  snprintf(stem, NAMES_MAX, "%s", base);
  char *dot = strrchr(stem, '.');
  if (dot && dot != stem) *dot = '\0';
  cut(stem, STEM_MAX);
  for (char *c = stem; *c; c++)
    if (!plain((unsigned char)*c) && (unsigned char)*c < 0x80) *c = '_';
  while (stem[0] == '.') memmove(stem, stem + 1, strlen(stem));
  if (!stem[0]) snprintf(stem, NAMES_MAX, "video");
}

static bool append(char *out, size_t *used, const char *text, size_t length) {
  if (*used + length >= NAMES_MAX) return false;
  memcpy(out + *used, text, length);
  *used += length;
  out[*used] = '\0';
  return true;
}

bool names_expand(const char *pattern, const char *name, const char *rendition, long index, char out[NAMES_MAX]) {
  char number[24] = "init";
  if (index >= 0) snprintf(number, sizeof number, "%03ld", index);
  const struct {
    const char *word, *value;
  } words[] = {{"{name}", name}, {"{rendition}", rendition}, {"{index}", number}};
  size_t used = 0;
  out[0] = '\0';
  while (*pattern) {
    size_t known = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++) {
      size_t length = strlen(words[i].word);
      if (strncmp(pattern, words[i].word, length)) continue;
      if (!append(out, &used, words[i].value, strlen(words[i].value))) return false;
      known = length;
    }
    if (!known && (*pattern == '{' || *pattern == '}')) return false;
    if (!known && !append(out, &used, pattern, 1)) return false;
    pattern += known ? known : 1;
  }
  if (index < 0 && names_has_extension(out, ".m4s")) memcpy(out + used - 4, ".mp4", 4); /* servers know that type */
  return true;
}

static const char *check_path(const char *path) {
  if (!path[0] || path[0] == '/') return "it must be a relative path";
  if (strstr(path, "//") || path[strlen(path) - 1] == '/') return "it has an empty part";
  for (const char *c = path; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == '\\' || *c == 0x7f)
      return "it holds a character that file names should not have";
  for (const char *part = path; part; part = strchr(part, '/')) {
    if (*part == '/') part++;
    size_t length = strcspn(part, "/");
    if ((length == 1 && part[0] == '.') || (length == 2 && !strncmp(part, "..", 2)))
      return "it must not hold '.' or '..'";
  }
  return NULL;
}

const char *names_check(const char *pattern, bool segment, bool many) {
  char sample[NAMES_MAX];
  if (!names_expand(pattern, "n", "r", 0, sample))
    return "placeholders are {name}, {rendition} and {index}, and it must be shorter than 200 characters";
  const char *problem = check_path(pattern);
  if (problem) return problem;
  if (strlen(pattern) > 100) return "it is longer than 100 characters";
  const char *index = strstr(pattern, "{index}");
  if (segment && !index) return "it must hold {index}, or every segment would have the same name";
  if (index && strchr(index, '/')) return "{index} must stand after the last '/'";
  if (!segment && index) return "{index} is for segments only";
  if (many && !strstr(pattern, "{rendition}"))
    return "it must hold {rendition}, or the renditions would overwrite each other";
  return NULL;
}

size_t names_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

static bool encode(const char *text, char *out, size_t size, size_t *used) {
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    bool as_is = plain(c) || c == '/';
    size_t need = as_is ? 1 : 3;
    if (*used + need >= size) return false;
    if (as_is)
      out[*used] = (char)c;
    else
      snprintf(out + *used, 4, "%%%02X", c);
    *used += need;
  }
  out[*used] = '\0';
  return true;
}

bool names_reference(const char *from, const char *to, char *out, size_t size) {
  size_t common = 0; /* length of the folders both share */
  for (size_t i = 0; from[i] && from[i] == to[i]; i++)
    if (from[i] == '/') common = i + 1;
  size_t used = 0;
  out[0] = '\0';
  for (const char *c = from + common; (c = strchr(c, '/')); c++) {
    if (used + 3 >= size) return false;
    memcpy(out + used, "../", 4);
    used += 3;
  }
  return encode(to + common, out, size, &used);
}

bool names_has_extension(const char *path, const char *extension) {
  size_t length = strlen(path), tail = strlen(extension);
  return length > tail && !strcmp(path + length - tail, extension);
}
