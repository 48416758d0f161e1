/* inner.h - what the files of core/store share beyond store.h. Private. */
#pragma once
#include <pthread.h>

#include "base/buf.h"
#include "store/db.h"
#include "store/record.h"
#include "store/store.h"

enum verb {
  VERB_SUBMIT = 1,
  VERB_CHANGE,
  VERB_BEGIN,
  VERB_CANCEL,
  VERB_REOPEN,
  VERB_CHECKPOINT,
  VERB_DELETE,
  VERB_PROGRESS,
  VERB_SIDE,
};

/* One change of a side record, everything in it owned. */
struct side_draft {
  struct side_record record;
  uint64_t expected_version;
  bool remove;
  struct event_record *events;
  size_t event_count;
};

/* One call of a writing verb, everything in it owned. */
struct request {
  struct request *next;
  enum verb verb;
  uint64_t serial;
  char *job;
  uint64_t fence;
  uint32_t job_fields, pct_ppm;
  bool has_job, has_attempt, after_cancel;
  struct job_record values;
  struct stage_record *stages;
  size_t stage_count;
  char **names; /* submit: stages; reopen: stages to keep; checkpoint: stage, key, value */
  size_t name_count;
  struct attempt_record attempt;
  struct event_record *events; /* type and body_json */
  size_t event_count;
  struct side_draft *sides;
  size_t side_count;
  bool refused; /* what was asked is out of bounds: commit.status says so already */
  store_done *done;
  void *context;
  struct waiter *waiter; /* instead of done: somebody blocks until it is committed */
  struct commit commit;
};
void request_free(struct request *r);
struct request *request_new(enum verb verb, const char *job, store_done *done, void *context);
/* Copies drafts; what is out of bounds marks the request as refused. */
struct event_record *request_events(struct request *r, const struct event_draft *events, size_t *count);
void request_check_record(struct request *r, const struct layout *layout, const void *record);
void request_refuse(struct request *r, enum err code, const char *what, const char *which);

struct waiter {
  bool over;
  enum err status;
  struct error error;
};

struct store {
  struct database db;
  int lock_fd;
  const struct clock *clock;
  void (*notify)(void *context);
  void *context;
  pthread_t writer; /* joined by store_close */
  /* Lock: guards all below. Never held while LMDB works or a completion runs. Taken alone or after db.lock, never
   * before. */
  pthread_mutex_t lock;
  pthread_cond_t wake, committed;
  struct request *queue, **queue_end;
  struct request *notes; /* newest progress a job, not yet queued */
  int64_t notes_due_us;  /* CLOCK_MONOTONIC */
  struct request *answered, **answered_end;
  uint64_t queued_serial, committed_serial;
  bool stopping;
  struct store_stats stats;
  struct error first_fault; /* among answered ones since the last store_flush */
  /* The writer's own: no lock. */
  struct counters counters;
  char last_id[27];
};

/* ---- writer.c ---- */
enum err writer_start(struct store *s, struct error *e);
void writer_stop(struct store *s);
void writer_queue(struct store *s, struct request *r); /* moves it in */
/* Queues, waits for the commit, answers its status; no completions run. [any thread] */
enum err writer_ask(struct store *s, struct request *r, struct error *e); /* e may be NULL */

/* A verb at work: the transaction, the store's numbers, the request and its answer. */
struct work {
  struct tx tx;
  struct store *store;
  int64_t now_us;
};
/* verbs.c, change.c: writes nothing unless it will answer OK; a fault of the database is left in w->tx.fault. */
void verb_submit(struct work *w, struct request *r);
void verb_cancel(struct work *w, struct request *r);
void verb_reopen(struct work *w, struct request *r);
void verb_delete(struct work *w, struct request *r);
void verb_progress(struct work *w, struct request *r);
void verb_change(struct work *w, struct request *r);
void verb_begin(struct work *w, struct request *r);
void verb_checkpoint(struct work *w, struct request *r);
void verb_side(struct work *w, struct request *r);

enum err refuse(struct request *r, enum err code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- jobindex.c: what must agree with a job's row ---- */
enum { JOB_NAMES_MAX = 4 };
struct job_name {
  char tag; /* of DB_INDEX */
  const char *value;
};
size_t job_names(const struct job_record *job, struct job_name names[JOB_NAMES_MAX]);
bool job_is_waiting(const struct job_record *job);
struct key key_open(const struct job_record *job);
struct key key_waiting(const struct job_record *job); /* NULL: the prefix of all */
struct key key_status(enum job_status status, const char *id);
/* old NULL: a new job; job NULL: it goes. */
void job_reindex(struct tx *tx, struct counters *c, const struct job_record *old, const struct job_record *job);

/* ---- jobrow.c ---- */
bool job_load(struct tx *tx, const char *id, struct job_record *job); /* without spec; false: absent or fault */
/* old: NULL for a new one. Keeps everything of jobindex.c. */
void job_save(struct work *w, const struct job_record *old, const struct job_record *job);
void spec_load(struct tx *tx, struct job_record *job);

struct stage_rows { /* of one job, by position */
  struct stage_record *items;
  size_t count;
};
void stages_load(struct tx *tx, const char *job, struct stage_rows *rows);
void stages_free(struct stage_rows *rows);
struct stage_record *stages_find(struct stage_rows *rows, const char *stage, uint16_t *position);
void stage_save(struct tx *tx, const char *job, uint16_t position, const struct stage_record *stage);
bool attempt_load(struct tx *tx, const char *job, uint64_t fence, struct attempt_record *attempt);
void attempt_save(struct tx *tx, const char *job, const struct attempt_record *attempt);
struct subject { /* what a history is of */
  char *id;
  uint32_t side; /* 0: a job, else enum side_kind */
  uint64_t last_seq;
};
/* Stores and numbers events; answers the subject's last seq. */
uint64_t events_append(struct work *w, const struct subject *of, const struct event_record *events, size_t count,
                       struct commit *commit);
void job_events_append(struct work *w, struct request *r, struct job_record *job); /* the request's; moves last_seq */
void events_drop(struct tx *tx, const char *subject);

void counters_load(struct tx *tx, struct counters *c);
void counters_save(struct tx *tx, const struct counters *c);
bool event_load(struct tx *tx, uint64_t cursor, struct event_record *event);

/* ---- siderow.c ---- */
bool side_load(struct tx *tx, enum side_kind kind, const char *id, struct side_record *record);
/* old NULL: a new one; record NULL: it goes, its events too. */
void side_save(struct tx *tx, const struct side_record *old, const struct side_record *record);
/* Who a history belongs to; false: there is none of that name. */
bool subject_load(struct tx *tx, const char *id, struct subject *subject);
/* Deliveries of what is gone have nothing left to tell. */
void deliveries_drop(struct tx *tx, const char *subject);

/* ---- migrate.c ---- */
enum err schema_settle(struct store *s, struct error *e);
/* Rebuilds what can be derived from jobs: index, open, counts, totals. */
void derived_rebuild(struct tx *tx, struct counters *c);

/* care.c */
enum err backup_into(struct database *db, const char *folder, struct error *e);
