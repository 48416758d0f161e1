/* layout.h - compares the ABI as compiled with golden/layout.txt. The same source is built as C and as C++. */
#include <stagemill/media.h>
#include <stdio.h>
#include <string.h>

static int differences;

static void differs(const char *what, const char *which, long long now, long long frozen) {
  printf("%s of %s is %lld, frozen as %lld\n", what, which, now, frozen);
  differences++;
}

#define STRUCT(name, bytes)                                                                                            \
  if (sizeof(struct name) != (bytes)) differs("size", #name, (long long)sizeof(struct name), bytes);
#define FIELD(name, field, offset, bytes)                                                                              \
  if (offsetof(struct name, field) != (offset))                                                                        \
    differs("offset", #name "." #field, (long long)offsetof(struct name, field), offset);                              \
  if (sizeof(((struct name *)0)->field) != (bytes))                                                                    \
    differs("size", #name "." #field, (long long)sizeof(((struct name *)0)->field), bytes);
#define VALUE(constant, number)                                                                                        \
  if ((long long)(constant) != (number)) differs("value", #constant, (long long)(constant), number);

/* The frozen numbers, as code. */
static void compare(void) {
#include "golden/layout.txt"
}

int main(void) {
  if (sizeof(void *) != 8) {
    printf("skipped: the frozen layout is that of 64-bit machines\n");
    return 77;
  }
  compare();
  if (!differences) return 0;
  printf(
    "\nThe ABI changed: every plugin that is out there was compiled with the frozen numbers.\n"
    "- Fields added at the end of a struct, new constants, new slots at the end of a host table: raise SM_ABI_MINOR\n"
    "  in sdk/include/stagemill/abi.h and write the new sizes and fields into tests/unit/sdk/golden/layout.txt\n"
    "  (sm_stream grows through sm_media_ops.stream_size, tables through the sizes in sm_plugin).\n"
    "- Anything else (a field moved, removed, or of another size; a constant renumbered) breaks every plugin. Find\n"
    "  another way; if there is none, raise SM_ABI_MAJOR, start a new layout.txt and say so in sdk/README.md.\n");
  return 1;
}
