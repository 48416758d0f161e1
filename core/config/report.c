#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/report_parts.h"

enum { PROBLEMS_MAX = 100, MESSAGE_MAX = 2000, SOURCE_MAX = 200, WORD_MAX = 64 };

struct report *report_new(void) {
  return mem_alloc(sizeof(struct report));
}

static void problem_clear(struct problem *p) {
  free(p->file);
  free(p->message);
  free(p->hint);
  free(p->source);
}

void report_free(struct report **report) {
  if (!*report) return;
  for (size_t i = 0; i < (*report)->count; i++) problem_clear(&(*report)->items[i]);
  free((*report)->items);
  free(*report);
  *report = NULL;
}

bool report_is_full(const struct report *report) { return report->count >= PROBLEMS_MAX; }
size_t report_errors(const struct report *report) { return report->errors; }
size_t report_count(const struct report *report) { return report->count; }

size_t utf8_length(const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  size_t more;
  unsigned lowest = 0x80, highest = 0xbf;
  if (s[0] < 0x80) return 1;
  if (s[0] >= 0xc2 && s[0] <= 0xdf)
    more = 1;
  else if (s[0] >= 0xe0 && s[0] <= 0xef)
    more = 2;
  else if (s[0] >= 0xf0 && s[0] <= 0xf4)
    more = 3;
  else
    return 0;
  if (s[0] == 0xe0) lowest = 0xa0;
  if (s[0] == 0xed) highest = 0x9f;
  if (s[0] == 0xf0) lowest = 0x90;
  if (s[0] == 0xf4) highest = 0x8f;
  if (s[1] < lowest || s[1] > highest) return 0;
  for (size_t i = 2; i <= more; i++)
    if (s[i] < 0x80 || s[i] > 0xbf) return 0;
  return more + 1;
}

void report_clean(char *text) {
  char *out = text;
  while (*text) {
    size_t n = utf8_length(text);
    unsigned char c = (unsigned char)*text;
    bool control = (c < 0x20 && c != '\t' && c != '\n') || c == 0x7f || (c == 0xc2 && (unsigned char)text[1] < 0xa0);
    if (n == 0 || control) {
      *out++ = '?';
      text += n ? n : 1;
      continue;
    }
    memmove(out, text, n);
    out += n;
    text += n;
  }
  *out = 0;
}

static char *clean_copy(const char *text) {
  char *copy = mem_text(text);
  if (copy) report_clean(copy);
  return copy;
}

/* A sentence is one line; only hints have several. */
static char *clean_line(const char *text) {
  char *copy = clean_copy(text);
  for (char *s = copy; s && *s; s++)
    if (*s == '\n') *s = '?';
  return copy;
}

/* Keeps a window of the line around the column, so that the caret of a long line still has something above it. */
static char *clip_source(const char *source, size_t column, size_t *first) {
  *first = 1;
  if (!source) return NULL;
  char *copy = clean_line(source);
  size_t skip = column > SOURCE_MAX - 40 ? column - 100 : 0;
  char *start = copy;
  for (; skip > 0 && *start; skip--, ++*first) start += utf8_length(start);
  char *end = start;
  for (size_t i = 0; i < SOURCE_MAX && *end; i++) end += utf8_length(end);
  char *clipped = mem_text_n(start, (size_t)(end - start));
  free(copy);
  return clipped;
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

/* An alias shows the same place many times: each problem is told once. */
static bool known(const struct report *r, const struct problem *p) {
  for (size_t i = 0; i < r->count; i++) {
    const struct problem *q = &r->items[i];
    if (q->line == p->line && q->column == p->column && same_text(q->message, p->message) &&
        same_text(q->file, p->file))
      return true;
  }
  return false;
}

static int problem_order(const struct problem *a, const struct problem *b) {
  int files = strcmp(a->file ? a->file : "", b->file ? b->file : "");
  if (files) return files;
  if (a->line != b->line) return a->line < b->line ? -1 : 1;
  if (a->column != b->column) return a->column < b->column ? -1 : 1;
  return 0;
}

/* Insertion keeps the list sorted and, within one place, in the order of finding. */
static void insert(struct report *r, const struct problem *p) {
  r->items = mem_grow(r->items, r->count + 1, sizeof *r->items);
  size_t at = r->count;
  while (at > 0 && problem_order(&r->items[at - 1], p) > 0) {
    r->items[at] = r->items[at - 1];
    at--;
  }
  r->items[at] = *p;
  r->count++;
}

void report_add(struct report *report, enum problem_level level, const char *file, size_t line, size_t column,
                size_t length, const char *source, const char *hint, const char *format, ...) {
  char message[MESSAGE_MAX];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  struct problem p = {.level = level, .line = line, .column = column, .length = length ? length : 1};
  p.file = clean_line(file);
  p.message = clean_line(message);
  p.hint = clean_copy(hint && *hint ? hint : NULL);
  if (p.hint && strlen(p.hint) > MESSAGE_MAX) p.hint[MESSAGE_MAX] = 0;
  p.source = clip_source(source, column, &p.source_column);
  bool again = known(report, &p);
  if (!again && level == PROBLEM_ERROR) report->errors++;
  if (again || report->count >= PROBLEMS_MAX) {
    if (!again) report->dropped++;
    problem_clear(&p);
    return;
  }
  insert(report, &p);
}

const struct problem *report_at(const struct report *report, size_t index) {
  return index < report->count ? &report->items[index] : NULL;
}

static char folded(char c) { return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static unsigned smaller(unsigned a, unsigned b) { return a < b ? a : b; }

/* Edit distance with neighbouring letters swapped counting once; case and '-' against '_' count nothing. */
static unsigned distance(const char *a, size_t n, const char *b, size_t m) {
  unsigned row[3][WORD_MAX + 1];
  for (; n && m && folded(*a) == folded(*b); n--, m--) a++, b++; /* what is alike at both ends costs nothing */
  for (; n && m && folded(a[n - 1]) == folded(b[m - 1]); n--) m--;
  for (size_t j = 0; j <= m; j++) row[0][j] = (unsigned)j;
  for (size_t i = 1; i <= n; i++) {
    unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
    now[0] = (unsigned)i;
    for (size_t j = 1; j <= m; j++) {
      unsigned differs = folded(a[i - 1]) != folded(b[j - 1]);
      now[j] = smaller(smaller(last[j] + 1, now[j - 1] + 1), last[j - 1] + differs);
      bool swapped = i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1]);
      if (swapped) now[j] = smaller(now[j], before[j - 2] + 1);
    }
  }
  return row[n % 3][m];
}

const char *report_nearest(const char *word, const char *const *candidates, size_t count) {
  size_t length = strlen(word);
  if (length == 0 || length > WORD_MAX) return NULL;
  unsigned best = (unsigned)(length < 3 ? 0 : length / 3) + 1;
  const char *nearest = NULL;
  for (size_t i = 0; i < count; i++) {
    size_t other = strlen(candidates[i]);
    if (other == 0 || other > WORD_MAX) continue;
    if ((other > length ? other - length : length - other) >= best) continue;
    unsigned d = distance(word, length, candidates[i], other);
    if (d >= best) continue;
    best = d;
    nearest = candidates[i];
  }
  return nearest;
}
