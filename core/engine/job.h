/* job.h - a job in memory: its pipeline, the committed state of its stages, its live trials. Internal to the engine.
 *
 * The committed state changes only in draft.c, when the store says that a draft is on disk; everything else reads it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "engine/engine.h"
#include "engine/line.h"
#include "engine/manifest.h"
#include "host/crew.h"
#include "pipeline/plan.h"
#include "store/store.h"

enum { LOST_MAX = 3, RESULTS_BYTES_MAX = 12 * 1024, TROUBLE_RETRY_US = 2 * 1000 * 1000 };

struct engine {
  struct loop *loop;
  struct store *store;
  struct crew *crew; /* NULL: bookkeeping only */
  struct catalogue *catalogue;
  struct pool *pool;
  char *state_folder;
  char *node, *boot_id;
  unsigned max_attempts, alive;
  int64_t memory_limit_bytes;
  char *(*secret)(void *context, const char *owner, const char *batch, const char *name); /* NULL: none */
  void *secret_context;
  struct job *jobs; /* list */
  struct listener *listeners;
  unsigned telling; /* depth of engine_tell: listeners are swept when it is over */
  struct work *works;
  unsigned submitting; /* submissions on their way to disk */
  bool only_submitted; /* what others retry is stored, not started */
  bool interrupted, interrupt_now, draining, closing;
  bool awaiting_idle;
  loop_fn *idle;
  void *idle_context;
  struct loop_timer *drain_alarm;
  struct errand *errands;
  struct pause *pauses; /* of the queue and of pipelines */
  struct loop_timer *pause_alarm;
  /* serve.h */
  bool serving, claim_posted;
  struct line *line;
  struct sleeper *sleepers;
  size_t sleeper_count;
  struct loop_timer *alarm; /* of the first sleeper, at alarm_us on the boot clock */
  int64_t alarm_us;
  struct turn *turns;
  size_t turn_count;
};

struct job_stage {
  struct stage_record record; /* as committed */
  struct value *results;      /* as committed: map, or NULL */
  struct manifest *manifest;  /* finished or publishing: what it made; NULL: nothing */
  double weight;
  int64_t due_boot_us; /* DELAYED: when the next attempt is due, whatever the wall clock does meanwhile */
  /* live, for progress only */
  double fraction; /* < 0: unknown */
  uint32_t item, items;
  uint64_t frames;
  char message[256];
};

struct job {
  struct job *next;
  struct engine *engine;
  char *id;
  struct job_record record; /* as committed */
  struct pipeline *pipeline;
  struct value *spec, *params, *facts; /* facts: the map behind job.id, job.input, job.name */
  struct value *extra;                 /* what is to be in extra_json: every draft that has it writes all of it */
  char *output_folder, *input;         /* input NULL: none */
  char *group;                         /* concurrency group, NULL: none */
  uint64_t group_digest;
  struct job_stage *stages;            /* pipeline->stage_count of them */
  struct trial *trials;                /* live attempts */
  struct draft *drafts;                /* on their way to disk */
  unsigned committing;                 /* drafts and moves that are under way */
  unsigned parked;                     /* of those, waiting for space or for the output folder */
  unsigned cancelling;                 /* requests to cancel on their way to disk: nothing is finished meanwhile */
  struct loop_timer *wake, *deadline;
  int64_t overdue_boot_us;  /* when the pipeline's time-out ends; 0: not known yet */
  char trouble[256];        /* why it stands still although nothing of it waits; "": it does not */
  bool step_posted, doomed; /* doomed: freed when idle */
  bool announced;           /* `started` is stored or on its way */
  enum job_status told;     /* as followers understand it from the events so far */
  bool hungry;              /* waits for a place, or will in a moment */
  /* progress of this process's share of the round */
  int64_t begun_boot_us;
  double begun_pct, shown_pct;
};

/* Where a stage of a live attempt stands on its way out. */
enum leaving {
  LEAVING_NOT = 1,  /* still running */
  LEAVING_CHECKING, /* its outputs are being checked and hashed */
  LEAVING_CHECKED,  /* waiting for the settle, which commits PUBLISHING */
  LEAVING_MOVING,   /* PUBLISHING is committed, files are being moved */
  LEAVING_GONE,     /* committed: finished, skipped, failed, ... */
};

struct trial_stage {
  struct trial *trial;
  size_t index; /* in the pipeline */
  enum leaving leaving;
  bool unneeded; /* left in the prologue without being skipped: a filter without consumers here */
  enum verdict verdict; /* NONE until it spoke */
  char message[1024], debug[1024];
  struct value *results, *outputs; /* map; list of maps {port, name, type, meta} */
  size_t result_bytes;             /* about what the results take as JSON */
  struct manifest *manifest;
  char manifest_sha256[65];
  struct error fault; /* found by the check of its outputs */
};

struct trial {
  struct trial *next;
  struct job *job;
  struct attempt *attempt; /* NULL before start and after end */
  uint64_t fence;
  struct plan_unit unit; /* copied */
  struct trial_stage *stages;
  size_t stage_count;
  struct attempt_record record; /* as last committed */
  struct value *go;             /* prologue's answer while its commit is on the way */
  struct value *opened, *stats;
  unsigned pending; /* commits and checks that still refer to this trial */
  bool interrupted; /* ended by engine_interrupt: costs nothing */
  bool overdue;     /* ended by the pipeline's time-out: costs nothing, what is left fails by itself */
  bool late_stages; /* `always` stages of a job that is being cancelled: they may finish */
  bool plain;       /* settled a second time, for what it held was refused */
  struct error trouble; /* why the engine itself ended it; code ERR_OK: it did not */
  bool over;        /* outcome known */
  bool settling;    /* its last commit is on the way */
  struct outcome_copy {
    enum attempt_end end;
    struct error error;
    int32_t suspect;
    int64_t cpu_us, max_rss_bytes, wall_us;
    char *log_tail;
  } outcome;
};

/* job.c */
struct job *job_find(struct engine *engine, const char *id);
enum err job_open(struct engine *engine, const char *id, struct job **job, struct error *e);
/* The same without linking it: to look at its pipeline and parameters. Freed by job_put_down. */
enum err job_look(struct engine *engine, const char *id, struct job **job, struct error *e);
void job_put_down(struct job **job);
void job_reread(struct job *job); /* another hand has changed its record */
void job_relink(struct job *job); /* its priority is another */
void extra_drop(struct value *extra, const char *key);
/* What was given at submission, with what was edited since. */
struct value *job_given(const struct value *spec, const struct value *extra);
void job_drop(struct job *job); /* unlinks and frees, now or when the last commit and attempt are through */
bool job_idle(const struct job *job);
bool job_quiet(const struct job *job); /* nothing of it is alive or under way, though something may wait for space */
void job_trouble(struct job *job, const char *what); /* what keeps it from going on, told to its followers; NULL: over */
/* Keeps the job from running until somebody takes it up again, with the reason stored. */
void job_hold(struct engine *engine, const char *id, const struct error *why);
void job_stage_due(const struct job *job, struct job_stage *stage); /* a DELAYED record came in: when is it due? */
struct plan_state job_plan_state(const struct job *job, struct step *steps); /* steps: room for stage_count */
char *job_folder(const struct job *job, const char *below);  /* STATE/jobs/ID/below */
char *attempt_folder(const struct job *job, uint64_t fence); /* OUT/.stagemill/ID/FENCE; fence 0: OUT/.stagemill/ID */
char *keep_folder(const struct job *job, size_t stage); /* OUT/.stagemill/ID/keep/STAGE: outlives attempts, goes with the job */

/* step.c */
void job_wake(struct job *job); /* decides what to do next, from the loop, soon */
void job_wake_in(struct job *job, int64_t delay_us);
void step_fail(struct job *job, size_t stage, const struct error *e);

/* launch.c */
void trial_begin(struct job *job, const struct plan_unit *unit);
struct draft;
void job_announce(struct job *job, struct draft *d, int64_t now_us); /* its first stage starts: `started` */
void trial_free(struct trial **trial);
bool trial_stage_is_sink(const struct trial *trial, const struct trial_stage *stage); /* of a pass */
struct value *trial_settings(struct job *job, size_t stage, struct error *e); /* NULL with e set */
/* hear.c */
extern const struct attempt_callbacks trial_callbacks;
/* settle.c */
void trial_settle(struct trial *trial); /* no-op until the outcome is known and nothing refers to the trial */
void trial_drop_live(struct job *job); /* the store knows attempts of this job that nobody runs: they are over */
/* charge.c */
enum charge { /* what the end of an attempt means for one of its stages */
  CHARGE_NOTHING = 1, /* goes back to waiting, costs nothing */
  CHARGE_DONE,        /* its outputs are checked: publish */
  CHARGE_GONE,        /* committed already */
  CHARGE_RETRY,       /* costs an attempt; back-off, or the end */
  CHARGE_FAIL,        /* costs an attempt; the end */
  CHARGE_SUSPECT,     /* crashed in company: next time alone */
  CHARGE_LOST,        /* its zygote died: bounded, costs no attempt */
  CHARGE_CANCEL,
};
enum charge charge_of(const struct trial *trial, size_t i);
void charge_error(const struct trial *trial, size_t i, struct error *e);
bool trial_is_cancelled(const struct trial *trial); /* its outputs are to be dropped */
/* publish.c */
void publish_check(struct trial *trial, struct trial_stage *stage);
/* Puts {result, manifest, publishing} of a checked stage into the draft; after its commit: publish_begun. */
void publish_draft(struct trial *trial, struct trial_stage *stage, struct draft *d);
void publish_begun(struct trial *trial, struct trial_stage *stage);
void publish_move(struct job *job, size_t stage); /* PUBLISHING -> finished; idempotent */
void publish_sweep(struct job *job, uint64_t fence); /* removes an attempt's folder once nothing in it is publishing */
void publish_remove(struct engine *engine, char *moved_path); /* a whole tree, in the pool */
/* recover.c */
enum err engine_recover(struct engine *engine, struct error *e);
void job_recover(struct job *job); /* rolls publishing forward, sweeps what earlier attempts left in the output folder */
/* progress.c */
void progress_heard(struct trial *trial, const struct attempt_progress *p);
void progress_message(struct trial *trial, size_t stage, const char *text);
double progress_pct(const struct job *job);
/* finish.c */
void job_finish(struct job *job, const struct plan *plan); /* the terminal transition */
struct value *finish_json(const char *json); /* never NULL */
/* Puts the job.json of an ended job where it belongs, should that have been cut short; removes the job's attempts. */
void summary_settle(const char *output_folder, const char *job);
/* secret.c */
struct value *secret_lookup(void *job, const char *name);
void secret_scrub(struct value *v); /* in every text of the tree */
/* work.c - `run` in the pool, then `done` on the loop; `drop` (the context alone) when the engine ends first */
void work_submit(struct engine *engine, loop_fn *run, loop_fn *done, loop_fn *drop, void *context);
void work_later(struct engine *engine, int64_t delay_us, loop_fn *run, loop_fn *done, loop_fn *drop, void *context);
bool work_is_quiet(const struct engine *engine); /* all that is left waits for its next try */
void work_drop_all(struct engine *engine);
/* engine.c */
/* From 1; of a job that is not in line: the place it would get. */
int64_t engine_queue_position(struct engine *engine, const struct job_record *job);
/* serve.c: a job that has just been stored or opened again goes on from here, or waits for its turn. */
enum err engine_take_up(struct engine *engine, const char *id, struct error *e);
/* retry.c: a new round of an ended job. keep: list of stages that stay as they are; NULL: all that are finished. */
void engine_reopen(struct engine *engine, const struct job_record *job, const char *reason, const struct value *keep,
                   store_done *done, void *context);
/* submit.c: the files that a pipeline with these parameters reads, as keys of a map; hashed and copied (pool). */
enum err assets_find(const struct pipeline *p, const struct value *params, struct value *files, struct error *e);
enum err assets_pin(const struct value *files, const char *copy_to, struct value *assets, struct error *e);
void engine_wake_all(struct engine *engine); /* a place, or a turn, is free */
/* tell.c */
void listeners_free(struct engine *engine);
void job_tags(struct value *body, const struct job_record *job); /* what every envelope of the job carries */
/* Body of a stored `state`: the job's status has become another although none of its stages says so. */
struct value *job_state_body(const struct job_record *job, enum job_status status, const char *reason);
void engine_tell_stored(struct engine *engine, const struct job_record *job, const struct commit *commit);
void engine_tell_commit(struct engine *engine, const struct commit *commit); /* the same, the job read as well */
/* cursor 0: not stored. */
void engine_tell(struct engine *engine, const struct job_record *job, uint64_t cursor, const struct value *event);
