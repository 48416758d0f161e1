/* scene.h - a store in a folder of its own, and short words for what tests do with it. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/store.h"

/* Who opens: one for each implementation of store.h. */
enum err opener_open(struct store **store, const struct store_options *options, struct error *e);

struct scene {
  char folder[64];
  struct clock_fake clock;
  struct store *store;
};
int scene_begin(void **state); /* cmocka set-up and tear-down: *state is a scene */
int scene_end(void **state);   /* checks the store, too */
void scene_reopen(struct scene *s);

/* What a completion said, copied. */
struct answer {
  int calls;
  enum err status;
  char message[512], job[STORE_ID_MAX];
  bool existed;
  uint64_t fence, first_seq, last_seq, last_cursor;
};
void answer_keep(void *answer, const struct commit *commit); /* a store_done */

extern const char *const two_stages[2]; /* "one", "two" */
/* Each calls the verb and flushes. */
struct answer submit(struct scene *s, const char *identity);
struct answer submit_job(struct scene *s, const struct job_record *job);
struct answer change(struct scene *s, const struct change *change);
struct answer begin(struct scene *s, const char *job, const char *stage);
struct answer set_status(struct scene *s, const char *job, enum job_status status);
struct answer finish(struct scene *s, const char *job, const char *stage, uint64_t fence, enum stage_status status);
struct answer cancel(struct scene *s, const char *job);
struct answer reopen(struct scene *s, const char *job, const char *keep);
struct answer delete (struct scene *s, const char *job);
struct stage_record stage_now(struct scene *s, const char *job, const char *stage); /* clear it */
struct job_record job_now(struct scene *s, const char *job);                        /* clear it */
uint64_t event_count(struct scene *s, const char *job); /* and proves that seq is contiguous from 1 */
