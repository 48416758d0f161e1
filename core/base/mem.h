/* mem.h - allocation that does not fail. Sizes that outsiders control are bounded before they get here, so running
 * out of memory means that the machine is out of memory: the process ends and durable state carries on after it. */
#pragma once
#include <stddef.h>
#include <stdlib.h>

enum { MEM_EXIT_CODE = 71 }; /* how a process ends that ran out of memory (sysexits.h: EX_OSERR) */

void *mem_alloc(size_t size);                 /* zeroed */
void *mem_array(size_t count, size_t size);   /* zeroed, overflow-checked */
void *mem_grow(void *old, size_t count, size_t size);
char *mem_text(const char *text);             /* NULL stays NULL */
char *mem_text_n(const char *text, size_t size);
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Cleanup attributes: `mem_auto char *s = ...` frees at scope end; `fd_auto int fd = -1` closes. */
void mem_free_at(void *address_of_pointer);
void fd_close_at(int *fd);
#define mem_auto __attribute__((cleanup(mem_free_at)))
#define fd_auto __attribute__((cleanup(fd_close_at)))
