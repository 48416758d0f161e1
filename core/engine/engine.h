/* engine.h - runs jobs: takes submissions, decides with the planner, starts attempts through the crew, settles verdicts,
 * publishes outputs, keeps everything in the store, and tells listeners what happened once it is durable.
 *
 * One loop thread owns the engine; every function and callback runs there. Blocking work (hashing, syncing) runs in a
 * pool beside it. Nothing here knows any stage by name. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/value.h"
#include "config/report.h"
#include "events/news.h"
#include "host/catalogue.h"
#include "host/crew.h"
#include "pipeline/pipeline.h"
#include "store/store.h"

struct engine;

struct engine_options {
  const char *state_folder;
  struct loop *loop;           /* borrowed for life */
  struct catalogue *catalogue; /* borrowed; NULL: bookkeeping only, nothing is ever started */
  struct crew_options crew;    /* its catalogue field is filled in by the engine */
  unsigned max_attempts;       /* alive at once; 0: number of cores */
  bool only_submitted;         /* what others ask to retry is queued but not run: the owner is here for its own job */
  int64_t memory_limit_bytes;  /* of one attempt; 0: three quarters of the machine's memory */
  /* Secrets that no operator configured: of a job's owner or batch (NULL: none). Owned text, NULL: unknown. May be NULL. */
  char *(*secret)(void *context, const char *owner, const char *batch, const char *name);
  void *secret_context;
};

/* Opens the store (ERR_BUSY: another process owns the folder) and recovers what an earlier owner left. Jobs are not
 * resumed by this: see engine_resume. */
enum err engine_create(struct engine **engine, const struct engine_options *options, struct error *e);
/* Ends attempts at once, commits what is queued, closes the store. The loop may hold calls of it that nothing removes:
 * it is destroyed next, without another turn. */
void engine_destroy(struct engine **engine);
struct store *engine_store(struct engine *engine);

/* ---- submitting ------------------------------------------------------------------------------------------------ */

struct submission {
  const struct pipeline *pipeline;
  const char *input;         /* path or URL; NULL: none */
  const struct value *given; /* -p: map of text; NULL: none */
  const char *given_folder;  /* relative paths in `given` resolve here; NULL: the working directory */
  const char *output_folder; /* absolute */
  bool fresh;                /* forget an earlier job of the same identity */
  /* What a service adds; all may be NULL. */
  const char *owner, *asset, *batch, *title;
  const char *id;            /* of the new job, 26 characters (engine_new_id); NULL: assigned */
  const char *source;        /* identity of the input beyond this host (id and version, ETag or checksum): replaces path and
                                output folder in the job's identity, so that the same work elsewhere is the same job */
  const char *salt;          /* makes the identity unlike any other: always a new job */
  int priority;              /* 0-100; -1: the pipeline's */
  const struct value *extra; /* the job record's extra_json: {"notify": {...}, ...} */
};

enum submit_outcome {
  SUBMIT_NEW = 1,
  SUBMIT_RESUMED,  /* an unfinished job goes on */
  SUBMIT_REOPENED, /* a failed or cancelled one starts a new round; finished stages are kept */
  SUBMIT_FINISHED, /* already completed: nothing to do */
};

/* What makes a submission the same job: digest of pinned pipeline, input, parameters with the content of files, and output
 * folder. Pins nothing. Also checks the input and parameters: every complaint is ERR_INVALID or ERR_NOT_FOUND. */
enum err submission_identity(const struct submission *submission, char identity[65], struct error *e);

typedef void engine_submitted(void *context, const char *job, enum submit_outcome outcome, const struct error *e);
/* Pins the pipeline and every asset, stores the job, starts it. `done` comes once it is durable (job NULL: refused). */
enum err engine_submit(struct engine *engine, const struct submission *submission, engine_submitted *done,
                       void *context, struct error *e);
/* Takes up one open job of the store, or (job NULL) all of them. */
enum err engine_resume(struct engine *engine, const char *job, struct error *e);

/* A fresh job id: 26 characters, lower case, sorts by time. [any-thread] */
void engine_new_id(char id[STORE_ID_MAX]);
/* Takes up open jobs of the store from now on, highest priority first, as places become free; only what runs or is about to is
 * in memory. Replaces engine_resume(engine, NULL, ...) where many jobs wait. */
enum err engine_serve(struct engine *engine, struct error *e);

/* ---- steering ---------------------------------------------------------------------------------------------------- */

typedef void engine_done(void *context, const struct error *e); /* e->code ERR_OK: done and durable */
void engine_cancel(struct engine *engine, const char *job, engine_done *done, void *context);
/* failed or cancelled -> a new round; finished stages are kept unless `whole`. */
void engine_retry(struct engine *engine, const char *job, bool whole, engine_done *done, void *context);
/* The same, from one stage on (NULL: what is not finished; that stage and everything that reads from it is done again), with
 * other parameters (NULL: the same; a map of text as `-p` gives). ERR_INVALID: they do not fit the pipeline. */
struct retry_options {
  bool whole;
  const char *from_stage;
  const struct value *params;
};
void engine_retry_with(struct engine *engine, const char *job, const struct retry_options *options, engine_done *done,
                       void *context);
/* Pause: nothing new of it is started, what runs finishes its pass; the reason is stored. until_us (wall) 0: until it is
 * resumed. `what`: a job's id, "pipeline:NAME" or "queue". Survives a restart. */
void engine_pause(struct engine *engine, const char *what, int64_t until_us, const char *by, engine_done *done, void *context);
void engine_unpause(struct engine *engine, const char *what, engine_done *done, void *context);
/* Lets go of a stage that waits for a person (HELD). decision: {verdict: "released" | "rejected", values: map, comment, by};
 * values become the stage's results. ERR_CONFLICT: it does not wait. */
void engine_release(struct engine *engine, const char *job, const char *stage, const struct value *decision,
                    engine_done *done, void *context);
void engine_prioritize(struct engine *engine, const char *job, int32_t priority, engine_done *done, void *context);
/* Removes an ended job: record, logs, state and output folder (only one that lies below `outputs`; others stay). */
void engine_delete(struct engine *engine, const char *job, const char *outputs, engine_done *done, void *context);
/* Stops starting anything; attempts go on for at most limit_us, then they are handed back without costing an attempt. */
void engine_drain(struct engine *engine, int64_t limit_us, loop_fn *idle, void *context);
/* Stops starting anything and interrupts what runs, without costing an attempt; now: no grace. `idle` comes once nothing
 * is alive. Calling it again with now set hurries. */
void engine_interrupt(struct engine *engine, bool now, loop_fn *idle, void *context);
/* True when nothing of this job runs, publishes or waits for a commit. */
bool engine_job_idle(struct engine *engine, const char *job);

/* How busy it is, for people and gauges. */
struct engine_status {
  unsigned attempts, max_attempts; /* alive, and how many may be */
  size_t waiting;                  /* jobs in line (engine_serve) */
  size_t loaded;                   /* in memory: they run, or are about to */
  bool draining;
};
void engine_status(struct engine *engine, struct engine_status *status);
/* What a stage that waits for a person asks: {title, message, fields: [...], since, until}; NULL: it does not. [any-thread] */
struct value *engine_describe_hold(const struct job_record *job, const char *stage);
/* The public form of a job's record, as `jobs` and the API's lists show it (no stages, no attempts): id, pipeline, title,
 * owner, asset, batchId, status, pct, waitReason, queuePosition, attempt, ... */
struct value *engine_describe_record(struct engine *engine, const struct job_record *job);

/* ---- listening --------------------------------------------------------------------------------------------------- */

/* Called after the fact is durable (lifecycle) or at once (progress). Never called from inside engine_listen. */
typedef void engine_listener(void *context, const struct news *news);
struct listener;
struct listener *engine_listen(struct engine *engine, engine_listener *call, void *context);
void engine_unlisten(struct engine *engine, struct listener **listener);
/* `state` envelope of a job, loaded or not. ERR_NOT_FOUND. */
enum err engine_state(struct engine *engine, const char *job, struct value **state, struct error *e);
/* Everything known about a job: record, stages, attempts, what it waits for. ERR_NOT_FOUND. */
enum err engine_describe(struct engine *engine, const char *job, struct value **description, struct error *e);
