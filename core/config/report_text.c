#include <string.h>

#include "base/value.h"
#include "config/report_parts.h"

static const char *level_word(enum problem_level level) { return level == PROBLEM_ERROR ? "error" : "warning"; }

static void place(const struct problem *p, struct buf *out) {
  if (!p->file) return;
  buf_text(out, p->file);
  if (p->line) buf_format(out, ":%zu:%zu", p->line, p->column);
  buf_text(out, ": ");
}

static void headline(const struct problem *p, struct buf *out, bool color) {
  if (color) buf_text(out, "\033[1m");
  place(p, out);
  if (color) buf_text(out, p->level == PROBLEM_ERROR ? "\033[31m" : "\033[33m");
  buf_text(out, level_word(p->level));
  if (color) buf_text(out, "\033[0m");
  buf_format(out, ": %s\n", p->message);
}

/* The caret stands under the column: what is before it becomes blanks, tabs stay tabs. */
static void caret(const struct problem *p, struct buf *out, bool color) {
  const char *s = p->source;
  for (size_t column = p->source_column; column < p->column && *s; column++) {
    buf_char(out, *s == '\t' ? '\t' : ' ');
    s += utf8_length(s);
  }
  if (color) buf_text(out, "\033[32m");
  buf_char(out, '^');
  for (size_t i = 1; i < p->length && *s; i++) {
    s += utf8_length(s);
    if (*s) buf_char(out, '~');
  }
  if (color) buf_text(out, "\033[0m");
  buf_char(out, '\n');
}

static void excerpt(const struct problem *p, struct buf *out, bool color) {
  if (!p->source || !p->line) return;
  buf_format(out, "%5zu | %s%s\n      | %s", p->line, p->source_column > 1 ? "..." : "", p->source,
             p->source_column > 1 ? "   " : "");
  caret(p, out, color);
}

static void hints(const struct problem *p, struct buf *out) {
  for (const char *s = p->hint; s && *s;) {
    size_t n = strcspn(s, "\n");
    buf_text(out, "      = ");
    buf_add(out, s, n);
    buf_char(out, '\n');
    s += n + (s[n] == '\n');
  }
}

void report_text(const struct report *report, struct buf *out, bool color) {
  for (size_t i = 0; i < report->count; i++) {
    const struct problem *p = &report->items[i];
    headline(p, out, color);
    excerpt(p, out, color);
    hints(p, out);
  }
  if (report->dropped) buf_format(out, "and %zu more: mend these first\n", report->dropped);
}

static struct value *problem_value(const struct problem *p) {
  struct value *v = value_map();
  value_set_text(v, "level", level_word(p->level));
  if (p->file) value_set_text(v, "file", p->file);
  if (p->line) {
    value_set_int(v, "line", (int64_t)p->line);
    value_set_int(v, "column", (int64_t)p->column);
    value_set_int(v, "length", (int64_t)p->length);
  }
  value_set_text(v, "message", p->message);
  if (p->hint) value_set_text(v, "hint", p->hint);
  if (p->source) value_set_text(v, "source", p->source);
  return v;
}

void report_json(const struct report *report, struct buf *out) {
  value_auto struct value *list = value_list();
  for (size_t i = 0; i < report->count; i++) value_list_add(list, problem_value(&report->items[i]));
  value_json(out, list, VALUE_JSON_COMPACT);
}
