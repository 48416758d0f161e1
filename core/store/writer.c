/* The one thread that writes. It takes whatever waits, commits it as one transaction with one sync, and hands the
 * answers on in that order. What the database refuses as a group is tried again one by one, so that a verb that does
 * not fit spoils no neighbour. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "store/inner.h"

enum { BATCH_MAX = 1024, NOTES_DELAY_US = 1000000, READER_CHECK_EVERY = 4096 };

static int64_t monotonic_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- one transaction ---- */

static void run_verb(struct work *w, struct request *r) {
  if (r->refused) return;
  r->commit = (struct commit){.status = ERR_OK, .job = r->job};
  switch (r->verb) {
  case VERB_SUBMIT: verb_submit(w, r); break;
  case VERB_CHANGE: verb_change(w, r); break;
  case VERB_BEGIN: verb_begin(w, r); break;
  case VERB_CANCEL: verb_cancel(w, r); break;
  case VERB_REOPEN: verb_reopen(w, r); break;
  case VERB_CHECKPOINT: verb_checkpoint(w, r); break;
  case VERB_DELETE: verb_delete(w, r); break;
  case VERB_PROGRESS: verb_progress(w, r); break;
  case VERB_SIDE: verb_side(w, r); break;
  }
}

/* Runs and commits the first `count` of the list; answers the fault that kept all of them from the disk, 0 when they
 * are on it. */
static int commit_group(struct store *s, struct request *list, size_t count) {
  struct work w = {.store = s, .now_us = clock_wall(s->clock)};
  struct counters before = s->counters;
  char last_id[sizeof(s->last_id)];
  memcpy(last_id, s->last_id, sizeof(last_id));
  int code = write_begin(&s->db, &w.tx);
  if (code) return code;
  struct request *r = list;
  for (size_t i = 0; i < count && !w.tx.fault; i++, r = r->next) run_verb(&w, r);
  if (memcmp(&before, &s->counters, sizeof(before)) != 0) counters_save(&w.tx, &s->counters);
  code = w.tx.fault;
  if (code)
    mdb_txn_abort(w.tx.txn);
  else
    code = mdb_txn_commit(w.tx.txn); /* frees it either way */
  if (!code) return 0;
  s->counters = before;
  memcpy(s->last_id, last_id, sizeof(last_id));
  return code;
}

/* Growing what can grow before giving up. Deleting is let over a fixed bound by a little: it is how room comes back. */
static int commit_growing(struct store *s, struct request *list, size_t count) {
  int code = commit_group(s, list, count);
  for (int tries = 0; code == MDB_MAP_FULL && tries < 8; tries++) {
    if (!db_grow(&s->db, count == 1 && list->verb == VERB_DELETE)) break;
    code = commit_group(s, list, count);
  }
  return code;
}

static void answer_fault(struct store *s, struct request *r, int code) {
  if (r->refused) return;
  r->commit = (struct commit){.job = r->job};
  r->commit.status = db_fault(&s->db, code, "cannot write", &r->commit.error);
}

/* After the environment refused to go on: what is on disk counts, not what we remember. */
static void recover(struct store *s) {
  struct tx tx;
  struct error e = {0};
  if (db_reopen(&s->db, &e) || read_begin(&s->db, &tx, &e)) {
    log_error("%s", e.message);
    return;
  }
  counters_load(&tx, &s->counters);
  read_end(&tx, NULL);
}

/* One by one. When a commit leaves the environment unusable nobody knows whether it reached the disk: nothing is tried
 * twice then, the callers are told and can look. */
static uint64_t commit_singly(struct store *s, struct request *list, int code, bool repeat_first) {
  uint64_t commits = 0;
  bool panicked = false;
  for (struct request *r = list; r; r = r->next) {
    if (!panicked && (repeat_first || r != list)) code = commit_growing(s, r, 1);
    if (code == MDB_PANIC && !panicked) {
      panicked = true;
      recover(s);
    }
    if (panicked) code = EIO;
    if (code)
      answer_fault(s, r, code);
    else
      commits++;
  }
  return commits;
}

static uint64_t commit_list(struct store *s, struct request *list, size_t count) {
  int code = commit_growing(s, list, count);
  if (code == MDB_PANIC) { /* left behind by an earlier commit: none of these has been tried */
    recover(s);
    code = commit_growing(s, list, count);
  }
  return code ? commit_singly(s, list, code, count > 1) : 1;
}

/* ---- queue and answers ---- */

static void note_fault(struct store *s, const struct request *r) {
  enum err code = r->commit.status;
  bool ours = code == ERR_IO || code == ERR_NO_SPACE || code == ERR_CORRUPT;
  if (ours && !s->first_fault.code) s->first_fault = r->commit.error;
}

/* Moves the list to the answered ones. Under the lock. Tells whether a completion now waits for store_dispatch. */
static bool hand_on(struct store *s, struct request *list) {
  bool dispatch = false;
  while (list) {
    struct request *r = list;
    list = r->next;
    r->next = NULL;
    s->committed_serial = r->serial > s->committed_serial ? r->serial : s->committed_serial;
    note_fault(s, r);
    if (r->waiter) *r->waiter = (struct waiter){true, r->commit.status, r->commit.error};
    if (!r->done) {
      request_free(r);
      continue;
    }
    *s->answered_end = r;
    s->answered_end = &r->next;
    dispatch = true;
  }
  pthread_cond_broadcast(&s->committed);
  return dispatch;
}

/* Takes the progress notes and at most BATCH_MAX of the queue. Under the lock. */
static struct request *take_batch(struct store *s, size_t *count) {
  struct request *list = s->notes, **end = &list;
  s->notes = NULL;
  *count = 0;
  for (; *end; end = &(*end)->next) ++*count;
  for (size_t i = 0; s->queue && i < BATCH_MAX; i++) {
    *end = s->queue;
    s->queue = s->queue->next;
    end = &(*end)->next;
    *end = NULL;
    ++*count;
  }
  if (!s->queue) s->queue_end = &s->queue;
  return list;
}

/* Until there is something to commit; false: stopping and nothing left. Under the lock. */
static bool wait_for_work(struct store *s) {
  while (!s->queue) {
    if (s->stopping) return s->notes != NULL;
    if (!s->notes) {
      pthread_cond_wait(&s->wake, &s->lock);
      continue;
    }
    if (monotonic_us() >= s->notes_due_us) return true;
    struct timespec due = {s->notes_due_us / 1000000, s->notes_due_us % 1000000 * 1000};
    pthread_cond_timedwait(&s->wake, &s->lock, &due);
  }
  return true;
}

static void measure(int64_t begun_us, uint64_t commits, size_t verbs) {
  static const double sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  struct metric *took = metric_histogram("stagemill_store_commit_seconds",
                                         "how long a transaction of the store took, its sync included", NULL, NULL, 0);
  struct metric *held =
      metric_histogram("stagemill_store_commit_changes", "changes that one transaction brought to disk", NULL, sizes,
                       sizeof(sizes) / sizeof(sizes[0]));
  if (commits != 1) return; /* a group that had to be tried one by one says nothing about either */
  metric_observe(took, (double)(monotonic_us() - begun_us) / 1e6);
  metric_observe(held, (double)verbs);
}

static void *writer_run(void *argument) {
  struct store *s = argument;
  uint64_t turns = 0;
  pthread_mutex_lock(&s->lock);
  while (wait_for_work(s)) {
    size_t count;
    struct request *list = take_batch(s, &count);
    pthread_mutex_unlock(&s->lock);
    int64_t begun_us = monotonic_us();
    uint64_t commits = commit_list(s, list, count);
    measure(begun_us, commits, count);
    int dead = 0;
    if (++turns % READER_CHECK_EVERY == 0 && s->db.env) mdb_reader_check(s->db.env, &dead);
    pthread_mutex_lock(&s->lock);
    s->stats.transactions += commits;
    s->stats.verbs += count;
    if (commits == 1 && count > s->stats.largest) s->stats.largest = count;
    if (hand_on(s, list) && s->notify) {
      pthread_mutex_unlock(&s->lock);
      s->notify(s->context);
      pthread_mutex_lock(&s->lock);
    }
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

enum err writer_start(struct store *s, struct error *e) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->wake, &attributes);
  pthread_cond_init(&s->committed, &attributes);
  pthread_condattr_destroy(&attributes);
  s->queue_end = &s->queue;
  s->answered_end = &s->answered;
  sigset_t all, old; /* signals belong to the thread that runs the loop */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int code = pthread_create(&s->writer, NULL, writer_run, s);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return code ? error_errno(e, code, "cannot start the store's writer") : ERR_OK;
}

void writer_stop(struct store *s) {
  pthread_mutex_lock(&s->lock);
  s->stopping = true;
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
  pthread_join(s->writer, NULL);
  while (s->answered) {
    struct request *r = s->answered;
    s->answered = r->next;
    request_free(r);
  }
  pthread_cond_destroy(&s->wake);
  pthread_cond_destroy(&s->committed);
  pthread_mutex_destroy(&s->lock);
}

static void enqueue(struct store *s, struct request *r) {
  r->serial = ++s->queued_serial;
  bool was_empty = s->queue == NULL;
  *s->queue_end = r;
  s->queue_end = &r->next;
  if (was_empty) pthread_cond_signal(&s->wake);
}

void writer_queue(struct store *s, struct request *r) {
  pthread_mutex_lock(&s->lock);
  enqueue(s, r);
  pthread_mutex_unlock(&s->lock);
}

enum err writer_ask(struct store *s, struct request *r, struct error *e) {
  struct waiter waiter = {0};
  r->waiter = &waiter;
  pthread_mutex_lock(&s->lock);
  enqueue(s, r);
  while (!waiter.over) pthread_cond_wait(&s->committed, &s->lock);
  pthread_mutex_unlock(&s->lock);
  if (e && waiter.status) *e = waiter.error;
  return waiter.status;
}

void store_note_progress(struct store *s, const char *job, uint32_t pct_ppm) {
  pthread_mutex_lock(&s->lock);
  struct request **at = &s->notes;
  while (*at && strcmp((*at)->job, job) != 0) at = &(*at)->next;
  if (!*at && strlen(job) < STORE_ID_MAX) {
    if (!s->notes) {
      s->notes_due_us = monotonic_us() + NOTES_DELAY_US;
      pthread_cond_signal(&s->wake);
    }
    *at = mem_alloc(sizeof(**at));
    (*at)->verb = VERB_PROGRESS;
    (*at)->job = mem_text(job);
  }
  if (*at) (*at)->pct_ppm = pct_ppm > 1000000 ? 1000000 : pct_ppm;
  pthread_mutex_unlock(&s->lock);
}

/* One at a time off the shared list: a completion that dispatches again goes on where this one stands, in order. */
size_t store_dispatch(struct store *s) {
  size_t ran = 0;
  for (;;) {
    pthread_mutex_lock(&s->lock);
    struct request *r = s->answered;
    if (r) s->answered = r->next;
    if (!s->answered) s->answered_end = &s->answered;
    pthread_mutex_unlock(&s->lock);
    if (!r) return ran;
    r->done(r->context, &r->commit);
    request_free(r);
    ran++;
  }
}

enum err store_flush(struct store *s, struct error *e) {
  pthread_mutex_lock(&s->lock);
  uint64_t wanted = s->queued_serial;
  while (s->committed_serial < wanted) pthread_cond_wait(&s->committed, &s->lock);
  struct error fault = s->first_fault;
  error_clear(&s->first_fault);
  pthread_mutex_unlock(&s->lock);
  store_dispatch(s);
  if (fault.code && e) *e = fault;
  return fault.code;
}

void store_statistics(struct store *s, struct store_stats *stats) {
  pthread_mutex_lock(&s->lock);
  *stats = s->stats;
  pthread_mutex_unlock(&s->lock);
}
