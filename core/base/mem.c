#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* No abort(): a core dump of a machine without memory helps nobody, and an attempt that ran into its limit is told
 * apart from a crash by its exit code. */
static _Noreturn void out_of_memory(void) {
  static const char text[] = "stagemill: out of memory\n";
  ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
  (void)ignored;
  _exit(MEM_EXIT_CODE);
}

void *mem_alloc(size_t size) {
  void *p = calloc(1, size ? size : 1);
  if (!p) out_of_memory();
  return p;
}

void *mem_array(size_t count, size_t size) {
  void *p = calloc(count ? count : 1, size ? size : 1);
  if (!p) out_of_memory();
  return p;
}

void *mem_grow(void *old, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) out_of_memory();
  void *p = realloc(old, bytes ? bytes : 1);
  if (!p) out_of_memory();
  return p;
}

char *mem_text(const char *text) { return text ? mem_text_n(text, strlen(text)) : NULL; }

char *mem_text_n(const char *text, size_t size) {
  if (size == SIZE_MAX) out_of_memory();
  char *p = mem_grow(NULL, size + 1, 1);
  if (size) memcpy(p, text, size);
  p[size] = '\0';
  return p;
}

char *mem_format(const char *format, ...) {
  va_list args;
  char *text = NULL;
  va_start(args, format);
  int size = vasprintf(&text, format, args);
  va_end(args);
  if (size < 0) out_of_memory();
  return text;
}

void mem_free_at(void *address_of_pointer) {
  void **p = address_of_pointer;
  free(*p);
  *p = NULL;
}

void fd_close_at(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}
