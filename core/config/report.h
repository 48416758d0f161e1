/* report.h - all problems of a file at once: file:line:column, source line, caret, what is valid, the nearest match. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum problem_level { PROBLEM_ERROR = 1, PROBLEM_WARNING };

struct problem {
  enum problem_level level;
  char *file;
  size_t line, column, length; /* from 1; 0: whole file. length: how far the caret line reaches */
  char *message;
  char *hint;   /* what is valid, nearest match, cure; NULL: none */
  char *source; /* the source line, clipped to 200 characters; NULL: none */
  size_t source_column; /* column of the first character of `source`: 1 unless the line was clipped on the left */
};

struct report;
struct report *report_new(void);
void report_free(struct report **report);
/* At most 100 problems are kept; a last line says how many more there were. */
void report_add(struct report *report, enum problem_level level, const char *file, size_t line, size_t column,
                size_t length, const char *source, const char *hint, const char *format, ...)
    __attribute__((format(printf, 9, 10)));
size_t report_errors(const struct report *report);
/* No further problem is kept: hints for it need not be worked out. */
bool report_is_full(const struct report *report);
size_t report_count(const struct report *report);
const struct problem *report_at(const struct report *report, size_t index); /* sorted by file, line, column */
void report_text(const struct report *report, struct buf *out, bool color);
void report_json(const struct report *report, struct buf *out); /* array of objects */
/* The candidate nearest to word (edit distance, at most a third of its length), or NULL. */
const char *report_nearest(const char *word, const char *const *candidates, size_t count);
/* Text that is safe to print: control characters and bytes that are not UTF-8 become '?'. Tabs and line feeds stay. */
void report_clean(char *text);
