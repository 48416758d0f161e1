/* plan.h - from a pipeline and the state of its stages to what should happen next. Pure: no clock, no disk, no process;
 * the engine, `stagemill plan` and `stagemill test` share it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/value.h"
#include "pipeline/pipeline.h"

/* Of one stage, as planning needs it. */
enum step_state {
  STEP_WAITING = 1, /* never tried, or due again */
  STEP_DELAYED,     /* backing off */
  STEP_RUNNING,     /* an attempt is alive, or publishing */
  STEP_FINISHED,
  STEP_SKIPPED,
  STEP_FAILED,
  STEP_SOFT_FAILED,
  STEP_CANCELLED,
};

struct step {
  enum step_state state;
  const struct value *results; /* map; NULL: none */
  bool suspect, apart;         /* run alone */
};

struct plan_state {
  const struct pipeline *pipeline;
  const struct step *steps;                                 /* one per pipeline stage */
  const struct value *params;                               /* typed */
  const struct value *job;                                  /* map: id, input, name */
  struct value *(*secret)(void *context, const char *name); /* owned text or NULL */
  void *secret_context;
  bool cancelled; /* the job is being cancelled: only `always` stages may still start */
};
/* The scope expressions are evaluated in. Lives as long as state. */
struct scope plan_scope(const struct plan_state *state);

/* Why two media stages of one source are not in one pass. CUT_RETRY is never given: retry policies do not cut, see
 * plan_fuse.c. */
enum cut_reason {
  CUT_RETRY = 1,
  CUT_TIMEOUT,
  CUT_CONDITION,
  CUT_ISOLATE,
  CUT_END_RESULT,
  CUT_SUSPECT,
  CUT_APART,
  CUT_SOURCE,
  CUT_DELAYED,
  CUT_NEEDS,
  CUT_RUNNING,
  CUT_SIZE, /* the pass is full: PLAN_PASS_MAX */
};
enum { PLAN_PASS_MAX = 32 };                         /* stages in one pass, as many as a unit holds */
const char *cut_reason_text(enum cut_reason reason); /* "different retry policies" */

struct plan_cut {
  size_t stage, other;
  enum cut_reason reason;
};

struct plan_unit { /* one attempt: a task, or a pass of fused media stages with a common source */
  bool is_pass;
  size_t *stages; /* ascending */
  size_t stage_count;
  enum producer_kind source_kind; /* pass */
  size_t source_stage;            /* PRODUCER_STAGE */
  const struct port_type *source_port;
  /* Stages of this pass whose `if` or settings read only `open` results of others in it: decided in the prologue. */
  bool *late;
};

struct plan_skip { /* a stage that will not run, or does not run yet */
  size_t stage;
  char *reason; /* "if: params.publish_to != '' is false", "stage `stream` failed", "waits for `fetch`" */
};

enum plan_end { PLAN_GOES_ON = 1, PLAN_COMPLETED, PLAN_FAILED, PLAN_CANCELLED };

struct plan {
  struct plan_unit *ready; /* may start now */
  size_t ready_count;
  struct plan_skip *skips; /* to be recorded now */
  size_t skip_count;
  struct plan_cut *cuts;
  size_t cut_count;
  enum plan_end end;   /* not GOES_ON: nothing is ready, running or delayed */
  size_t failed_stage; /* PLAN_FAILED: the first hard failure */
  size_t bad_stage;    /* an expression failed to evaluate: this stage must fail with bad_error; SIZE_MAX: none */
  struct error bad_error;
  /* Filters that ran with consumers of which the last is done now: to be recorded as finished. A filter has no end of
   * its own: after a pass it is WAITING again while a consumer is left, for a later pass needs it anew. */
  size_t *settled;
  size_t settled_count;
  struct plan_skip *waits; /* why each stage that is due does not start: for `explain` */
  size_t wait_count;
};
/* What to do now. Call again after applying its skips or any change of state. */
enum err plan_next(const struct plan_state *state, struct plan *plan, struct error *e);
void plan_clear(struct plan *plan);

/* Where the frames or packets of a media stage's binding come from in a pass: stage index of the filter and its output
 * port, or SIZE_MAX for the pass's source. A filter that was skipped or failed softly is stepped over when it declared
 * `bypass`; `drop` (indexed by stage, NULL: none) names further ones that left in the prologue. */
size_t plan_feed(const struct plan_state *state, const struct binding *binding, const bool *drop,
                 const struct port_type **output);

/* The prologue of a running pass: with `open` results now in steps[].results, which of its stages leave. drop and
 * reasons have unit->stage_count entries. A dropped stage with a reason is skipped; one without (a filter whose
 * consumers here have all left) is only not needed in this pass and stays as it was. Reasons are malloc'ed. */
enum err plan_prologue(const struct plan_state *state, const struct plan_unit *unit, bool *drop, char **reasons,
                       struct error *e);

/* Weights of the stages for the job's percentage; sum 1. Written weights count; else a media sink weighs 10, a task 1,
 * a filter 0: the core knows no stage by name, but who ends a pass does the work that people wait for. */
void plan_weights(const struct pipeline *p, double *weights);

/* The whole graph from the beginning, as if every stage succeeded (unknown results null, conditions on them open):
 * what `stagemill plan` prints. notes (NULL: none): map of stage id -> list of {what, text, amount} that the stages'
 * plan() announced for an input. */
enum err plan_text(const struct pipeline *p, const struct value *params, const struct value *job,
                   const struct value *notes, struct buf *out, struct error *e);
enum err plan_json(const struct pipeline *p, const struct value *params, const struct value *job,
                   const struct value *notes, struct buf *out, struct error *e);
/* The difference of two pipelines, stage by stage. */
enum err plan_diff(const struct pipeline *old, const struct pipeline *new, struct buf *out, struct error *e);
