/* world.h - a pipeline with the state of its stages, and what the planner says to it as one line of text:
 *
 *   pass(poster brand stream~) task(info) | skip(x: reason) | settled(brand) | cut(a/b: reason) | end failed a
 *
 * `~` marks a late stage; a pass over another stage's file is written pass[grab.file](...). */
#pragma once
#include "pipeline/plan.h"

struct world {
  struct stage_set *set;
  struct pipeline *p;
  struct step *steps;
  struct value *params, *job;
  bool cancelled;
};
/* stages: the list under `stages:`, one flow map a line ("{ id: a, uses: snap }"). params: `-p` texts as JSON, or NULL;
 * the declared parameters are `on` (bool, false) and `to` (text, ''). Fails the test when there are problems. */
void world_open(struct world *w, const char *stages, const char *params);
void world_close(struct world *w);
void world_set(struct world *w, const char *ids, enum step_state state); /* several, separated by blanks */
void world_results(struct world *w, const char *id, const char *json);
struct plan_state world_state(const struct world *w);
char *world_plan(struct world *w);  /* everything but waits; owned */
char *world_waits(struct world *w); /* "a: reason | b: reason"; owned */
char *world_prologue(struct world *w,
                     const char *first); /* of the pass that starts with stage `first`: "-x: reason -y" */
/* Applies skips and settled filters, says what starts, finishes it, until the end: every pass and task in order. */
char *world_course(struct world *w);
