/* serve.h - a service's side of the engine: who waits (line.h), who sleeps until a time, who has the turn of its concurrency
 * group. Only jobs that run or are about to are in memory. Everything here does nothing unless the engine serves. */
#pragma once
#include "engine/job.h"

/* Puts a job that is not in memory where its record says it belongs: in line, asleep, or nowhere. */
void serve_place(struct engine *engine, const struct job_record *job);
void serve_line_up(struct engine *engine, const struct job_record *job); /* whatever its status says */
void serve_place_id(struct engine *engine, const char *id);
void serve_leave(struct engine *engine, const char *id); /* it is in memory now, or has ended */
void serve_claim_soon(struct engine *engine);
/* A job that cannot go on for now leaves memory; called when nothing of it is under way. true: it did, and is freed. */
bool serve_rest(struct job *job);
void serve_free(struct engine *engine);
/* Turns: of the jobs of one group one at a time, from its start to its end. */
const char *turn_holder(const struct engine *engine, uint64_t group); /* a job's id; NULL: nobody */
bool turn_take(struct job *job); /* false: another one has it */
void turn_return(struct engine *engine, const char *id);
