/* fixture_parts.h - [fixture*.c only] */
#pragma once
#include "config/schema.h"
#include "pipeline/fixture.h"
#include "pipeline/plan.h"

enum fixture_verdict { FIXTURE_RETRY = 1, FIXTURE_FAIL, FIXTURE_CRASH };

struct fixture_stage {   /* what one stage answers */
  struct value *results; /* typed map; NULL: none */
  char *fail;            /* operator sentence; NULL: it succeeds */
  enum fixture_verdict verdict;
  uint32_t times; /* so many attempts fail, then it succeeds */
  int64_t takes_us;
  bool early; /* a sink that is committed when it is done, before its pass is */
};

struct fixture_case {
  const char *name;
  const struct node *node, *expect;
  char *input;
  struct value *params;         /* typed */
  struct fixture_stage *stages; /* one per pipeline stage */
  int64_t cancel_us;            /* -1: never */
  struct value *expected;       /* the typed keys of `expect` */
};

/* ---- fixture_sim.c ---- */

struct sim_stage {
  enum step_state state;
  uint32_t attempts, tries; /* counted against `retry`; of any kind */
  int64_t due_us;           /* DELAYED */
  bool suspect, apart;
  char *reason;                /* skipped: why; failed: the sentence */
  struct value *delays;        /* list of durations */
  const struct value *results; /* what others see */
};

struct sim_run { /* an attempt under way */
  struct plan_unit unit;
  int64_t ends_us;
  bool *gone; /* places in the unit that have left */
  bool over;
};

struct sim {
  const struct pipeline *p;
  const struct fixture_case *c;
  struct sim_stage *stages;
  struct step *steps;
  struct value *job, *order;
  struct sim_run *runs;
  size_t run_count;
  int64_t now_us;
  bool cancelled;
  enum plan_end end;    /* GOES_ON: it did not come to an end */
  struct value *result; /* COMPLETED */
  struct error error;   /* of the result's expressions, or why there is no end */
};
void sim_play(struct sim *s, const struct pipeline *p, const struct fixture_case *c);
void sim_clear(struct sim *s);

/* ---- fixture_compare.c ---- */

/* Adds a line for everything that is not as expected. */
void fixture_compare(const struct sim *s, struct value *differences);
const char *fixture_status(const struct sim *s);
