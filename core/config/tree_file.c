#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/report_parts.h"
#include "config/tree_parts.h"

/* Length of the line break at s, 0 when there is none. YAML 1.1 knows five of them (5.4 Line Break Characters), and
 * the positions that libyaml gives count all. */
static size_t line_break(const char *s) {
  if (s[0] == '\r') return s[1] == '\n' ? 2 : 1;
  if (s[0] == '\n') return 1;
  if (memcmp(s, "\xc2\x85", 2) == 0) return 2;
  return memcmp(s, "\xe2\x80\xa8", 3) == 0 || memcmp(s, "\xe2\x80\xa9", 3) == 0 ? 3 : 0;
}

static void find_lines(struct tree_file *file) {
  size_t room = 64;
  file->lines = mem_array(room, sizeof *file->lines);
  file->line_count = 1;
  for (size_t i = 0; i < file->size;) {
    size_t n = line_break(file->text + i);
    i += n ? n : 1;
    if (!n) continue;
    if (file->line_count == room) file->lines = mem_grow(file->lines, room *= 2, sizeof *file->lines);
    file->lines[file->line_count++] = i;
  }
}

struct tree_file *tree_file_add(struct tree *tree, const char *text, size_t size, const char *name,
                                const char *folder) {
  struct tree_file *file = mem_alloc(sizeof *file);
  size_t kept = size > tree->limits.file_bytes ? tree->limits.file_bytes + 1 : size;
  file->name = mem_text(name);
  file->folder = mem_text(folder);
  file->text = mem_alloc(kept + 4); /* line_break looks up to three bytes ahead */
  if (kept) memcpy(file->text, text, kept);
  file->size = kept;
  find_lines(file);
  tree->files = mem_grow(tree->files, tree->file_count + 1, sizeof *tree->files);
  tree->files[tree->file_count++] = file;
  return file;
}

char *tree_file_line(const struct tree_file *file, size_t line) {
  if (line == 0 || line > file->line_count) return NULL;
  const char *start = file->text + file->lines[line - 1], *end = start;
  /* An over-long line is cut: reports show a window of it. */
  while (*end && !line_break(end) && end - start < 4096) end++;
  return mem_text_n(start, (size_t)(end - start));
}

bool tree_file_byte(const struct tree_file *file, size_t offset, struct report *report, const char *what,
                    const char *hint) {
  size_t line = 1, column = 1;
  while (line < file->line_count && file->lines[line] <= offset) line++;
  for (size_t i = file->lines[line - 1]; i < offset; column++) i += utf8_length(file->text + i);
  mem_auto char *source = tree_file_line(file, line);
  report_add(report, PROBLEM_ERROR, file->name, line, column, 1, source, hint, "%s", what);
  return false;
}

bool tree_file_check(const struct tree *tree, const struct tree_file *file, struct report *report) {
  if (file->size > tree->limits.file_bytes) {
    report_add(report, PROBLEM_ERROR, file->name, 0, 0, 0, NULL,
               "split it with `include`, or check that it is the right file", "the file is larger than %zu KiB",
               tree->limits.file_bytes / 1024);
    return false;
  }
  for (size_t i = 0; i < file->size;) {
    size_t n = utf8_length(file->text + i);
    if (!file->text[i]) return tree_file_byte(file, i, report, "a NUL byte stands in the text", "is this a text file?");
    if (!n) return tree_file_byte(file, i, report, "this byte is not UTF-8", "save the file in UTF-8");
    i += n;
  }
  return true;
}

static void problem_list(struct report *report, enum problem_level level, const struct node *node, size_t shift,
                         size_t length, const char *hint, const char *format, va_list list) {
  char message[2000];
  vsnprintf(message, sizeof message, format, list);
  mem_auto char *source = node->file ? tree_file_line(node->file, node->line) : NULL;
  report_add(report, level, node->file ? node->file->name : NULL, node->line, node->column + shift, length, source,
             hint, "%s", message);
}

void node_problem(struct report *report, enum problem_level level, const struct node *node, const char *hint,
                  const char *format, ...) {
  va_list list;
  va_start(list, format);
  problem_list(report, level, node, 0, node->length, hint, format, list);
  va_end(list);
}

void node_problem_within(struct report *report, enum problem_level level, const struct node *node, size_t shift,
                         size_t length, const char *hint, const char *format, ...) {
  va_list list;
  va_start(list, format);
  problem_list(report, level, node, shift, length, hint, format, list);
  va_end(list);
}
