/* facts.h - what a store acknowledged, remembered by somebody who was not killed. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct fact {
  char kind; /* S, B, F, E: see driver.c */
  char job[STORE_ID_MAX], stage[STORE_ID_MAX];
  uint64_t fence;
};
struct facts {
  struct fact *items;
  size_t count;
};
bool facts_add(struct facts *facts, const char *line); /* false: no such line */
/* How many facts the store does not bear out; each is printed. Also looks at what nobody acknowledged: that no identity
 * has two jobs, no stage finished twice, no job ended twice. */
int facts_check(const struct facts *facts, struct store *store);
