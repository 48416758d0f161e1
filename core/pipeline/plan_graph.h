/* plan_graph.h - [plan*.c only] what the planner derives from a pipeline and its stages' states before it decides.
 *
 * A stage may hang on another in several ways at once (enum link). Frames and packets (LINK_FEED) tie two stages into
 * one pass; an `open` result (LINK_OPEN) may be read within a pass, in its prologue; everything else has to wait until
 * the other stage is over. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/plan.h"

enum link {
  LINK_FEED = 1u << 0,   /* frames or packets */
  LINK_DATA = 1u << 1,   /* artifacts */
  LINK_NEED = 1u << 2,   /* written under `needs:` */
  LINK_OPEN = 1u << 3,   /* reads results that are known once the source is open */
  LINK_END = 1u << 4,    /* reads results that are known at the end */
  LINK_STATUS = 1u << 5, /* reads its status */
};

struct graph {
  /* The caller's state, but with `steps` of its own: what this plan decides is applied there, so that it sees its own
   * skips. */
  struct plan_state view;
  const struct plan_state *state; /* &view */
  struct step *steps;
  const struct pipeline *p;
  size_t count;
  enum step_state *now; /* of each stage, as in steps */
  uint8_t *links;       /* count x count: how row hangs on column */
  bool *reaches;        /* count x count: row waits for column, directly or through others */
  bool forecast;        /* nothing is known of results: what hangs on them is taken as true */
};

void graph_init(struct graph *g, const struct plan_state *state, bool forecast);
void graph_init_states(struct graph *g, const struct plan_state *state); /* without links: enough for graph_feed */
void graph_clear(struct graph *g);
void graph_set(struct graph *g, size_t stage, enum step_state state);

static inline unsigned graph_link(const struct graph *g, size_t from, size_t to) {
  return g->links[from * g->count + to];
}
static inline bool graph_reaches(const struct graph *g, size_t from, size_t to) {
  return g->reaches[from * g->count + to];
}
bool graph_is_media(const struct graph *g, size_t stage);
bool graph_feeds(const struct graph *g, size_t stage); /* some stage takes its frames or packets */
/* A sink. Passes are made of these and the filters they need; a filter has no purpose of its own. */
bool graph_is_root(const struct graph *g, size_t stage);
bool step_is_over(enum step_state state);
const char *step_state_word(enum step_state state); /* as `stages.ID.status` gives it: "soft-failed" */
/* Skipped because something it waited for failed or was cancelled, not by its own `if`. */
bool graph_is_tainted(const struct graph *g, size_t stage);

/* Where a binding's frames come from; SIZE_MAX: from what is demuxed, see `origin`. ERR_NOT_FOUND: from nowhere any
 * more, `lost` says whose absence it is. */
struct feed {
  size_t stage;                   /* the filter, SIZE_MAX: the source */
  const struct port_type *output; /* of the filter, or of the stage that made the source; NULL: the job's input */
  size_t origin;                  /* stage that made the source, SIZE_MAX: the job's input */
  size_t lost;                    /* ERR_NOT_FOUND: the stage that is not there */
};
enum err graph_feed(const struct graph *g, const struct binding *b, const bool *drop, struct feed *feed);
bool binding_is_feed(const struct binding *b);   /* frames or packets of another stage */
bool binding_is_source(const struct binding *b); /* frames or packets that the host demuxes from a file */

/* A stage's part in passes: the filters it needs, and what they all read. */
struct reach {
  bool *filters; /* count entries */
  bool found;    /* a source was found */
  bool mixed;    /* two sources: impossible in one pass */
  size_t origin; /* SIZE_MAX: the job's input */
  const struct port_type *port;
};
void reach_of(const struct graph *g, size_t root, struct reach *r);
void reach_clear(struct reach *r);

/* ---- plan_gate.c: may a stage run? ------------------------------------------------------------------------------- */

enum gate_answer {
  GATE_GO = 1,
  GATE_LATE, /* as soon as the source is open: its condition or settings read `open` results of `late_on` stages */
  GATE_WAIT,
  GATE_SKIP,
  GATE_BROKEN, /* its condition cannot be evaluated: `error` */
};
struct gate {
  enum gate_answer answer;
  char *reason;     /* WAIT, SKIP; owned */
  size_t waits_for; /* WAIT: the first stage it waits for; SIZE_MAX: none in particular */
  bool *late_on;    /* LATE: count entries; owned */
  struct error error;
};
void gate_decide(const struct graph *g, size_t stage, struct gate *gate);
void gate_clear(struct gate *gate);
/* Evaluates the stage's `if`; ERR_OK with *yes true without one. */
enum err gate_condition(const struct plan_state *state, size_t stage, bool *yes, struct error *e);
/* Does the answer of the stage's `if` hang on what stages say, or do parameters alone decide it? */
bool gate_is_open_question(const struct plan_state *state, size_t stage);
char *gate_condition_reason(const struct pipeline *p, size_t stage); /* "if: a > 1 is false" */
/* Meant for the end of the job: `always`, `on-failure` or `if: failure()` without anything to wait for. */
bool gate_is_last(const struct graph *g, size_t stage);
/* A filter of whose consumers none is left: true; *ran says whether one of them got to its end. */
bool gate_is_settled(const struct graph *g, size_t stage, bool *ran);

/* ---- plan_fuse.c: passes ----------------------------------------------------------------------------------------- */

/* Groups the media stages that may run into passes and adds the ready ones, the cuts and the waits to the plan. */
void fuse_passes(struct graph *g, const struct gate *gates, struct plan *plan);
void plan_add_wait(struct plan *plan, size_t stage, char *moved_reason);
void plan_add_cut(struct plan *plan, size_t stage, size_t other, enum cut_reason reason);
struct plan_unit *plan_add_unit(struct plan *plan);

/* plan_next, also without knowing any result (see graph.forecast). */
enum err plan_step(const struct plan_state *state, bool forecast, struct plan *plan, struct error *e);
