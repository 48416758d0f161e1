/* draft.h - one atomic change of a job on its way to disk, and the only place where committed state changes.
 *
 * draft_new, fill in, draft_commit; when the store has it on disk the draft's records replace the job's, listeners
 * hear its events, and `then` runs (never while the engine ends: a context must not own anything). A stage is in at most
 * one draft at a time. When the disk is full the draft waits and is sent again: it owns all it points to. */
#pragma once
#include "engine/job.h"

struct draft;
typedef void draft_before(struct job *job);
typedef void draft_then(struct job *job, const struct commit *commit, void *context);

struct draft *draft_new(struct job *job, uint64_t fence);
/* A stage's record to be edited: starts as the committed one. Text fields set through draft_text live with the draft. */
struct stage_record *draft_stage(struct draft *d, size_t stage);
struct job_record *draft_job(struct draft *d, uint32_t fields);
void draft_extra(struct draft *d); /* the job's extra_json becomes what job->extra is now */
struct attempt_record *draft_attempt(struct draft *d, const struct attempt_record *from);
char *draft_text(struct draft *d, const char *text);   /* copies; scrubbed of secrets */
char *draft_reason(struct draft *d, const char *text); /* the same, cut to what an event can carry */
char *draft_json(struct draft *d, const struct value *v);  /* NULL stays NULL; scrubbed */
char *draft_error(struct draft *d, const struct error *e, const char *stage); /* {"message","code","stage","debug"} */
/* Replaces the stage's results in memory once committed (moved). */
void draft_results(struct draft *d, size_t stage, struct value *moved);
/* An event: `body` moved; attempt numbers are added. type "stage" and the rest of DESIGN's list. */
void draft_event(struct draft *d, const char *type, struct value *body);
struct value *draft_stage_event(struct job *job, size_t stage, const char *what);
/* Runs when the draft is on disk and nobody has heard of it yet. */
void draft_before_telling(struct draft *d, draft_before *before);
void draft_commit(struct draft *d, draft_then *then, void *context);
/* store_begin_attempt; after_cancel: also while the job is being cancelled */
void draft_begin(struct draft *d, bool after_cancel, draft_then *then, void *context);
void draft_discard(struct draft *d); /* instead of committing it */
void draft_free_all(struct job *job); /* the engine ends: nothing of it is told or tried again */
