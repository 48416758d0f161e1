/* stack.c - handlers run on a stack of their own.
 *
 * civetweb's workers have 100 KB each, thread-local arrays included. That is little for handlers that parse pipelines,
 * sign requests to a storage and check tokens, and a sanitized build needs several times as much. So each worker has a
 * second, larger stack (only what is touched takes memory) and changes over to it for the length of a request. */
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "http/parts.h"

enum { STACK_BYTES = 1 << 20, GUARD_BYTES = 64 * 1024 };

struct change {
  ucontext_t back, there;
  void (*run)(void *context);
  void *context;
};

/* makecontext passes integers only. */
static void enter(unsigned high, unsigned low) {
  struct change *change = (struct change *)(((uintptr_t)high << 32) | low);
  change->run(change->context);
}

bool stack_make(void **stack) {
  void *made = mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (made == MAP_FAILED) return false;
  mprotect(made, GUARD_BYTES, PROT_NONE); /* an overflow is a fault, not somebody else's memory */
  *stack = made;
  return true;
}

void stack_free(void **stack) {
  if (*stack) munmap(*stack, STACK_BYTES + GUARD_BYTES);
  *stack = NULL;
}

void stack_run(void *stack, void (*run)(void *context), void *context) {
  struct change change = {.run = run, .context = context};
  if (!stack || getcontext(&change.there) != 0) {
    run(context);
    return;
  }
  change.there.uc_stack.ss_sp = (char *)stack + GUARD_BYTES;
  change.there.uc_stack.ss_size = STACK_BYTES;
  change.there.uc_link = &change.back;
  makecontext(&change.there, (void (*)(void))enter, 2, (unsigned)((uintptr_t)&change >> 32),
              (unsigned)(uintptr_t)&change);
  swapcontext(&change.back, &change.there);
}
