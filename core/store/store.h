/* store.h - durable state in the engine's verbs. Two implementations, one conformance suite: LMDB and (later)
 * PostgreSQL.
 *
 * Durable before visible: a verb's completion runs only after its transaction is on disk. Completions of one store run
 * in commit order, on the thread that calls store_dispatch().
 *
 *   job:   queued -> processing -> completed | failed | cancelled      terminal: the first to commit wins
 *                 -> retrying, held, paused -> processing
 *          failed, cancelled -> queued (store_reopen: a new round)
 *   stage: waiting -> running -> publishing -> finished
 *                            \-> delayed (back-off) -> running ...
 *                            \-> failed | soft-failed | cancelled        waiting -> skipped
 *
 * Fencing: every attempt gets a number from a counter of the store that only grows. A change that carries a fence is
 * applied only while that number is the fence of every stage it writes (checked inside the same transaction); otherwise
 * nothing of it is applied and the answer is ERR_STALE. Events: `seq` is contiguous per job from 1, `cursor` grows in
 * commit order over all jobs; both are assigned by the transaction that stores the event. Text fields are UTF-8; *_json
 * fields are JSON text that the store keeps verbatim. Values above 16 KiB: ERR_TOO_LARGE. Threads: every function is
 * [any-thread] unless it says otherwise. Reads copy out and hold nothing open. Errors of any verb: ERR_NO_SPACE (disk
 * or map full; nothing lost, heals when space returns), ERR_IO, ERR_CORRUPT. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

enum { STORE_VALUE_MAX = 16 * 1024, STORE_ID_MAX = 64 };

enum job_status { /* 7: the words of DESIGN's `status` */
                  JOB_QUEUED = 1,
                  JOB_PROCESSING,
                  JOB_RETRYING,
                  JOB_HELD,
                  JOB_PAUSED,
                  JOB_COMPLETED,
                  JOB_FAILED,
                  JOB_CANCELLED,
};
const char *job_status_word(enum job_status status);
bool job_status_from_word(const char *word, enum job_status *status);
bool job_status_is_terminal(enum job_status status);

enum stage_status {
  STAGE_WAITING = 1,
  STAGE_RUNNING,
  STAGE_DELAYED, /* waits for its next attempt */
  STAGE_PUBLISHING,
  STAGE_FINISHED,
  STAGE_SKIPPED,
  STAGE_FAILED,
  STAGE_SOFT_FAILED,
  STAGE_CANCELLED,
  STAGE_HELD, /* waits for a person; not terminal, though behind those that are */
};
const char *stage_status_word(enum stage_status status); /* "soft-failed" */
bool stage_status_is_terminal(enum stage_status status);

/* ---- records: owned text, NULL when absent ------------------------------------------------------------------- */

struct job_record {
  char *id;       /* 26 characters, lower case, sorts by time of creation */
  char *identity; /* hex digest of pinned pipeline, input, params, output folder: at most one live job each */
  char *pipeline; /* name */
  char *title, *owner, *asset, *batch;
  char *spec_json; /* what was submitted (input identity, params, folders, pinned pipeline's digest); never changes */
  enum job_status status;
  uint32_t round;                           /* from 1; an operator's retry opens the next */
  int32_t priority;                         /* 0-100 */
  int64_t created_us, started_us, ended_us; /* wall; 0: not yet */
  char *wait_reason;                        /* why it is not running, for people */
  uint32_t pct_ppm;                         /* high-water mark of the round, 0-1000000 */
  uint32_t attempt, max_attempts;           /* as events carry them, from 1 */
  bool cancel_requested;
  char *result_json; /* completed */
  char *error_json;  /* failed: {message, stage, code, debug} */
  uint64_t last_seq;
  char *extra_json; /* what may change besides: {"pause": {...}, "notify": {...}, ...}; NULL: nothing */
};

struct stage_record {
  char *stage; /* id in the pipeline */
  enum stage_status status;
  uint32_t attempts;     /* of this round that count against `retry` */
  uint32_t lost;         /* attempts lost with their zygote or engine, bounded at 3 */
  uint32_t tries;        /* attempts of any kind, all rounds */
  bool suspect;          /* crashed in a fused pass: next attempt alone */
  bool apart;            /* dropped from its pass: gets one of its own */
  int64_t not_before_us; /* wall, DELAYED: earliest next attempt */
  int64_t delay_us;      /* the configured delay behind it: a restart waits never longer than this */
  uint64_t fence;        /* of the live or last attempt; 0: never tried */
  int64_t started_us, ended_us;
  char *result_json;     /* typed results, as value_json of a map */
  char *manifest_sha256; /* digest of the manifest file (publishing, finished); NULL: none */
  char *error_json;      /* last failure */
  char *reason;          /* skipped: why; waiting: what for */
};

enum attempt_state { ATTEMPT_LIVE = 1, ATTEMPT_OVER };

struct attempt_record {
  char *job; /* filled by reads, ignored by writes */
  uint64_t fence;
  char *stages; /* ids, comma-separated */
  enum attempt_state state;
  char *node, *boot_id; /* lease: who runs it */
  uint64_t generation;  /* of its zygote */
  int32_t pid;          /* 0 until started */
  int64_t started_us, ended_us;
  char *outcome;        /* attempt_end_word() or "ok", "failed", "retry" */
  char *stage_at_fault; /* NULL: none or unclear */
  char *error_json;     /* NULL on success */
  char *stats_json;     /* decoded frames, cpu, rss, plugin ids, versions and digests */
};

struct event_record {
  char *job;
  uint64_t seq, cursor;
  char *type;      /* "queued", "started", "stage", ... */
  int64_t at_us;   /* wall */
  char *body_json; /* object: the envelope's fields beyond type, jobId, seq, at */
  uint32_t side;   /* 0: of a job; else enum side_kind: `job` is the id of that side record */
};

void job_record_clear(struct job_record *r);
void stage_record_clear(struct stage_record *r);
void attempt_record_clear(struct attempt_record *r);
void event_record_clear(struct event_record *r);
void job_record_copy(struct job_record *to, const struct job_record *from);
void stage_record_copy(struct stage_record *to, const struct stage_record *from);

/* Lists that reads hand out; free with the matching function. */
struct job_list {
  struct job_record *items;
  size_t count;
};
struct stage_list {
  struct stage_record *items;
  size_t count;
};
struct attempt_list {
  struct attempt_record *items;
  size_t count;
};
struct event_list {
  struct event_record *items;
  size_t count;
};
void job_list_clear(struct job_list *l);
void stage_list_clear(struct stage_list *l);
void attempt_list_clear(struct attempt_list *l);
void event_list_clear(struct event_list *l);

/* ---- opening ------------------------------------------------------------------------------------------------- */

struct store;
struct store_options {
  const char *folder;            /* state directory: owner.lock, data.mdb, ... are made in it */
  uint64_t map_bytes;            /* 0: 64 GiB (reserved address space, not disk) */
  bool read_only;                /* for a look without ownership is not possible: only the owner opens LMDB */
  void (*notify)(void *context); /* called on the writer's thread when completions wait for store_dispatch */
  void *context;
  const struct clock *clock; /* NULL: the system's; stamps jobs and events */
};
/* Takes the exclusive lock on owner.lock for life and writes the pid into it (for messages only). ERR_BUSY: owned, the
 * message names the pid. ERR_VERSION: written by a newer version; the message says the cure. Older schemas are backed
 * up beside it, then migrated. */
enum err store_open(struct store **store, const struct store_options *options, struct error *e);
/* Commits what is queued, runs no further completions, releases the lock. */
void store_close(struct store **store);
/* Runs completions of committed transactions; call when notify was called. Returns how many ran. [one-thread: the one
 * that completions belong to; a completion may call it again] */
size_t store_dispatch(struct store *store);
/* Blocks until everything queued before the call is committed and its completions were dispatched (by this call).
 * [the thread of store_dispatch] Answers the first ERR_IO, ERR_NO_SPACE or ERR_CORRUPT among them. */
enum err store_flush(struct store *store, struct error *e);

/* ---- writing -------------------------------------------------------------------------------------------------- */

struct commit {
  enum err status; /* of this verb; `error` says more */
  struct error error;
  const char *job; /* id; for submit: the new or the existing job */
  bool existed;    /* submit: a live or completed job of the same identity was there, nothing was written */
  uint64_t fence;  /* begin_attempt: the new number */
  uint64_t first_seq, last_seq, last_cursor; /* of the events stored; 0: none */
};
typedef void store_done(void *context, const struct commit *commit);

struct event_draft {
  const char *type;
  const char *body_json;
};

/* Stores job (id, created_us, round, last_seq are assigned unless id is given) with its stages, all WAITING, and its
 * events. If a job with this identity exists that is not failed or cancelled: answers it instead (existed). done may be
 * NULL. ERR_CONFLICT when a given id is taken. Names (identity, pipeline, owner, asset, batch): at most 255 bytes. */
void store_submit(struct store *store, const struct job_record *job, const char *const *stages, size_t stage_count,
                  const struct event_draft *events, size_t event_count, store_done *done, void *context);

/* What to write of a job; fields are taken when their bit is set. */
enum job_fields {
  JOB_SET_STATUS = 1u << 0,
  JOB_SET_WAIT_REASON = 1u << 1,
  JOB_SET_PCT = 1u << 2, /* never lowers within a round */
  JOB_SET_ATTEMPT = 1u << 3,
  JOB_SET_RESULT = 1u << 4,
  JOB_SET_ERROR = 1u << 5,
  JOB_SET_STARTED = 1u << 6,
  JOB_SET_ENDED = 1u << 7,
  JOB_SET_PRIORITY = 1u << 8,
  JOB_SET_TITLE = 1u << 9,
  JOB_SET_EXTRA = 1u << 10,
};

/* One atomic change of one job. */
struct change {
  const char *job;
  uint64_t fence; /* 0: not on behalf of an attempt */
  uint32_t job_fields;
  const struct job_record *job_values;
  const struct stage_record *stages; /* whole records, by id; their fence field must be 0 (keep) or equal `fence` */
  size_t stage_count;
  const struct attempt_record *attempt; /* whole record of attempt `fence`; NULL: none */
  const struct event_draft *events;
  size_t event_count;
  bool after_cancel; /* begin_attempt: though the job is being cancelled (for stages that run in any case) */
};
/* ERR_NOT_FOUND; ERR_STALE (fence); ERR_CONFLICT: the job is terminal already (no job_fields but JOB_SET_EXTRA alone,
 * no stages or events may follow a terminal status; the attempt record may). Everything is copied before the call returns. */
void store_change(struct store *store, const struct change *change, store_done *done, void *context);

/* Takes a lease: assigns a fencing number, stores the attempt (LIVE) and the given stage records with status RUNNING
 * and that fence, plus events and job fields. ERR_CONFLICT when one of the stages has a LIVE attempt, or the job is
 * terminal or has cancel_requested (unless after_cancel). change->fence must be 0, change->attempt is required. */
void store_begin_attempt(struct store *store, const struct change *change, store_done *done, void *context);

/* Persists the intent to cancel (cancel_requested) with events. ERR_CONFLICT when already terminal: message says so.
 * Asking again changes nothing and stores no events (existed). */
void store_request_cancel(struct store *store, const char *job, const struct event_draft *events, size_t event_count,
                          store_done *done, void *context);

/* failed or cancelled -> queued, round + 1, pct 0, cancel_requested cleared, error and result cleared; stages in
 * `keep` stay as they are, every other becomes WAITING with attempts 0. ERR_CONFLICT when not terminal or completed, or
 * when another job of the same identity is live or completed. */
void store_reopen(struct store *store, const char *job, const char *const *keep, size_t keep_count,
                  const struct event_draft *events, size_t event_count, store_done *done, void *context);

/* Checkpoints of a stage: key <= 63 bytes, value <= 4000 bytes, dropped when the stage finishes. fence as in change. */
void store_checkpoint(struct store *store, const char *job, const char *stage, uint64_t fence, const char *key,
                      const char *value, store_done *done, void *context);

/* Newest progress, not waited for: rides along with the next commit (or within a second). */
void store_note_progress(struct store *store, const char *job, uint32_t pct_ppm);

/* ---- side records: what is stored beside jobs ------------------------------------------------------------------- */

enum side_kind {
  SIDE_ASSET = 1,   /* what a caller's jobs are about: metadata */
  SIDE_UPLOAD,      /* a file on its way in; due: expiry */
  SIDE_BATCH,       /* group: none */
  SIDE_BATCH_FILE,  /* group: its batch */
  SIDE_DELIVERY,    /* a webhook or mail that has to go out; group: its job; due: the next try */
  SIDE_IDEMPOTENCY, /* answer to a request that may be repeated; due: expiry */
  SIDE_PAUSE,       /* id: "queue" or "pipeline:NAME"; due: when it ends by itself */
  SIDE_REVOCATION,  /* id: "jti:..." or "sub:..."; due: when no token it could name is valid any more */
  SIDE_CREDENTIAL,  /* encrypted, wiped when its batch ends; group: its batch */
  SIDE_MARK,        /* how far a reader of the events has come; id: its name */
  SIDE_KINDS        /* how many, and none */
};
struct side_record {
  enum side_kind kind;
  char *id;                       /* at most 255 bytes, unique in its kind */
  char *owner;                    /* NULL: nobody's */
  char *group;                    /* NULL: none */
  int64_t due_us;                 /* wall; 0: never */
  uint64_t version;               /* assigned: 1, 2, ... */
  int64_t created_us, updated_us; /* assigned, wall */
  char *body_json;                /* at most STORE_VALUE_MAX */
};
struct side_list {
  struct side_record *items;
  size_t count;
};
void side_record_clear(struct side_record *r);
void side_list_clear(struct side_list *l);
enum { SIDE_NEW = 0 };      /* expected version: it must not exist */
#define SIDE_ANY UINT64_MAX /* expected version: whatever is there, if anything */
struct side_change {
  const struct side_record *record; /* kind and id always; the rest unless `remove` */
  uint64_t expected_version;
  bool remove; /* one that is not there is fine with SIDE_ANY */
  /* Stored under the record's id as subject: seq contiguous per subject from 1, cursors shared with those of jobs. */
  const struct event_draft *events;
  size_t event_count;
};
/* All or nothing, in one transaction. ERR_CONFLICT: a version is not the expected one (the message names the record).
 * Answers first_seq, last_seq and last_cursor of the last change that has events. */
void store_side(struct store *store, const struct side_change *changes, size_t count, store_done *done, void *context);
/* The same, and waits until it is on disk: for threads that may block. Never on the thread of store_dispatch when
 * somebody's completion is waited for there, too. */
enum err store_side_now(struct store *store, const struct side_change *changes, size_t count, struct error *e);
enum err store_side_get(struct store *store, enum side_kind kind, const char *id, struct side_record *record,
                        struct error *e); /* ERR_NOT_FOUND */
struct side_filter {
  enum side_kind kind;
  const char *owner, *group; /* NULL: any */
  const char
      *after_id; /* page: behind this one in the order of ids (before it when newest_first); NULL: from the end */
  int64_t due_until_us; /* only those due (due_us not 0) by then, in the order of due_us; 0: all, in the order of ids */
  bool newest_first;    /* by id, descending */
  size_t limit;         /* 0: 100; at most 1000 */
};
enum err store_sides(struct store *store, const struct side_filter *filter, struct side_list *list, struct error *e);

/* Removes a terminal job with all its records, its deliveries among them. ERR_CONFLICT when not terminal. */
void store_delete(struct store *store, const char *job, store_done *done, void *context);

/* ---- reading --------------------------------------------------------------------------------------------------- */

enum err store_job(struct store *store, const char *id, struct job_record *job, struct error *e); /* ERR_NOT_FOUND */
/* Unique prefix or "last"; ERR_NOT_FOUND, ERR_CONFLICT (ambiguous: the message lists candidates). */
enum err store_find(struct store *store, const char *prefix, char id[STORE_ID_MAX], struct error *e);
enum err store_by_identity(struct store *store, const char *identity, struct job_record *job, struct error *e);

struct job_filter {
  uint32_t statuses;                            /* bits 1 << job_status; 0: any */
  const char *pipeline, *owner, *asset, *batch; /* NULL: any */
  int64_t since_us;                             /* created at or after */
  const char *before_id;                        /* page: jobs older than this one; NULL: from the newest */
  size_t limit;                                 /* 0: 100; at most 1000 */
};
enum err store_jobs(struct store *store, const struct job_filter *filter, struct job_list *jobs, struct error *e);
/* Not terminal, highest priority first, then oldest. */
enum err store_open_jobs(struct store *store, struct job_list *jobs, struct error *e);
/* Those of them that something can be done for (queued, processing, retrying; not held, not paused), in the same order:
 * `skip` rows are passed over, at most `limit` are read. Costs skip + limit rows, whatever lies behind them. */
enum err store_waiting_jobs(struct store *store, size_t skip, size_t limit, struct job_list *jobs, struct error *e);
enum err store_stages(struct store *store, const char *job, struct stage_list *stages, struct error *e);
enum err store_attempts(struct store *store, const char *job, struct attempt_list *attempts, struct error *e);
enum err store_live_attempts(struct store *store, const char *job /* NULL: all */, struct attempt_list *attempts,
                             struct error *e);
enum err store_events(struct store *store, const char *job, uint64_t after_seq, size_t limit, struct event_list *events,
                      struct error *e);
/* After a cursor, over all jobs, in commit order. first_kept: oldest cursor still stored (gap when after + 1 < it). */
enum err store_events_since(struct store *store, uint64_t after_cursor, size_t limit, struct event_list *events,
                            uint64_t *first_kept, struct error *e);
enum err store_last_cursor(struct store *store, uint64_t *cursor, struct error *e);
/* map of key -> text as JSON object; "{}" when none. malloc'ed. */
enum err store_checkpoints(struct store *store, const char *job, const char *stage, char **json, struct error *e);
struct store_counts {
  uint64_t by_status[16];
};
enum err store_counts(struct store *store, struct store_counts *counts, struct error *e);
/* The same for each pipeline, with what its jobs took; kept by the transactions that change them, so that asking is
 * cheap whatever lies in the store. Ended jobs count until they are deleted; `ended_*` count for ever. */
struct pipeline_totals {
  char *pipeline;
  struct store_counts counts;
  uint64_t ended_completed, ended_failed, ended_cancelled;
  int64_t completed_us; /* sum of started to ended over ended_completed */
};
struct totals_list {
  struct pipeline_totals *items;
  size_t count;
  uint64_t
      cursor; /* the last commit they know of, read in the same transaction: whoever counts on from there is right */
};
void totals_list_clear(struct totals_list *l);
enum err store_totals(struct store *store, struct totals_list *totals, struct error *e);
/* The same over the jobs of one owner. */
enum err store_totals_of(struct store *store, const char *owner, struct totals_list *totals, struct error *e);

/* ---- care ------------------------------------------------------------------------------------------------------- */

struct store_retention {
  int64_t completed_age_us, failed_age_us; /* terminal longer than this: removed; 0: never */
  uint64_t completed_count, failed_count;  /* newest so many stay; 0: all */
};
/* Removes what retention says, oldest first, in bounded transactions. Cancelled jobs can be retried and are kept like
 * failed ones; counts hold for each status. */
enum err store_prune(struct store *store, const struct store_retention *retention, uint64_t *removed, struct error *e);
/* Consistent copy of a running store into an empty folder (mdb_env_copy2, compacting). */
enum err store_backup(struct store *store, const char *folder, struct error *e);
/* Reads everything, checks invariants (seq contiguous, indices agree, fences below the counter). report gets lines. */
enum err store_check(struct store *store, void (*report)(void *context, const char *line), void *context,
                     struct error *e);
/* Every record as one JSON object a line. Consistent job by job; export a backup where all must be one moment's. */
enum err store_export(struct store *store, int fd, struct error *e);

/* What the writer has done since opening: verbs per transaction is what group commit brings. */
struct store_stats {
  uint64_t transactions; /* committed, each with one sync */
  uint64_t verbs;        /* answered, failed ones too */
  uint64_t largest;      /* most verbs in one transaction */
};
void store_statistics(struct store *store, struct store_stats *stats);
