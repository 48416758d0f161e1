/* settings_parts.h - what the files of the settings share: the one table of keys, and where each value came from. */
#pragma once
#include "config/literal.h"
#include "config/tree.h"
#include "service/settings.h"

enum settings_field { /* how a value stands in struct settings */
  FIELD_TEXT = 1,     /* char *; NULL when it has no value */
  FIELD_PATH,         /* the same, absolute */
  FIELD_TEXTS,        /* char **, NULL-terminated, never NULL */
  FIELD_PATHS,
  FIELD_BOOL,
  FIELD_UNSIGNED,
  FIELD_INT64,
  FIELD_UINT64,
  FIELD_FORMAT, /* log.format */
  FIELD_LEVEL,  /* log.level */
};

struct settings_row {
  const char *path; /* "uploads.s3.bucket" */
  enum settings_field field;
  size_t offset;
  uint32_t takes;
  const char *choices;
  double min, max;
  const char *fallback; /* as it would be written; NULL: none */
  bool restart;         /* takes effect when the daemon is started again */
  const char *summary;
};
extern const struct settings_row settings_rows[]; /* ended by a row without path */

struct rule settings_rule(const struct settings_row *row, const char *key);
bool settings_row_is_list(const struct settings_row *row);

/* One loading: where problems are reported. */
struct settings_source {
  const char *file;
  const struct node *root; /* NULL: no file, or one that could not be read */
  const struct value *overrides;
  struct report *report;
};
/* The variable that overrides a key: into out (64 bytes). */
void settings_variable(const char *path, char out[64]);
/* Its text, NULL when it is not set or empty. */
const char *settings_environment(const char *path);
const struct settings_row *settings_row_find(const char *path);
/* A problem of one key, shown where its value was written. hint NULL: none. */
void settings_problem(const struct settings_source *source, const char *path, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What no single key shows: contradictions, addresses, URLs. settings_check.c */
void settings_check(const struct settings_source *source, const struct settings *s);
