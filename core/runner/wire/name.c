#include "wire/name.h"

#include <string.h>

static const char *part_problem(const char *part, size_t size) {
  if (size == 0) return "has an empty part";
  if (size > ARTIFACT_PART_MAX) return "has a part longer than 255 bytes";
  if (part[0] == '.' && (size == 1 || (size == 2 && part[1] == '.'))) return "contains \".\" or \"..\"";
  return NULL;
}

const char *artifact_name_problem(const char *name) {
  if (!name || !*name) return "is empty";
  if (*name == '/') return "is absolute";
  if (strnlen(name, ARTIFACT_NAME_MAX + 1) > ARTIFACT_NAME_MAX) return "is longer than 1024 bytes";
  for (const char *c = name; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f) return "contains a control character";
  unsigned depth = 0;
  for (const char *part = name;; depth++) {
    size_t size = strcspn(part, "/");
    const char *problem = part_problem(part, size);
    if (problem) return problem;
    if (depth >= ARTIFACT_DEPTH_MAX) return "is nested deeper than 16 folders";
    if (!part[size]) return NULL;
    part += size + 1;
  }
}
