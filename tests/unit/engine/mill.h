/* mill.h - an engine that really runs: the built runner, the test plugins, a store; jobs from YAML, and what was told. */
#pragma once
#include "bench.h"
#include "events/news.h"

struct mill {
  struct bench b;
  struct catalogue *catalogue;
  struct listener *listener;
  unsigned places;      /* attempts alive at once */
  struct buf told;      /* stored events: "JOB TYPE STATUS\n" */
  uint64_t last_cursor; /* of what was told; falls back never */
  bool out_of_order;
  size_t loaded_most;
};

void mill_open(struct mill *m, unsigned places);
void mill_check(struct mill *m); /* cursors only grew, and who counts by events alone counts right */
void mill_close(struct mill *m);
void mill_begin(struct mill *m);   /* engine_serve */
void mill_restart(struct mill *m); /* the engine ends as it stands and a new one takes over; it serves */
/* Submits YAML; the id is good until the next call but three. Fails the test when it is refused. */
const char *mill_submit(struct mill *m, const char *yaml, const struct submission *more);
/* The same that has to be refused; the message is left in e. */
void mill_refused(struct mill *m, const char *yaml, const struct submission *more, struct error *e);
/* Turns the loop until the job has this status. */
void mill_await(struct mill *m, const char *job, enum job_status status);
void mill_await_stage(struct mill *m, const char *job, const char *stage, enum stage_status status);
void mill_turn(struct mill *m, int64_t us);
enum job_status mill_status(struct mill *m, const char *job);
char *mill_reason(struct mill *m, const char *job); /* the stored one; owned */
unsigned mill_tries(struct mill *m, const char *job, const char *stage);
struct value *mill_results(struct mill *m, const char *job, const char *stage); /* owned */
bool mill_heard(const struct mill *m, const char *job, const char *words); /* "state held" */
/* For the engine's verbs: engine_x(..., mill_done, m), then mill_answered says how it went. */
void mill_done(void *context, const struct error *e);
enum err mill_answered(struct mill *m, struct error *e);
