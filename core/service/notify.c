#include "service/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/job.h"
#include "service/notify_parts.h"

static const char mark_name[] = "notify";
enum { PAGE = 200, CHANGES_MAX = 200, LOOK_EVERY_US = 2000000, MARK_EVERY = 2000, WAIT_MAX_US = 30000000 };

/* ---- waking
 * ----------------------------------------------------------------------------------------------------------------------
 */

void notify_wake(struct notify *n) {
  pthread_mutex_lock(&n->lock);
  n->wakes++;
  pthread_cond_broadcast(&n->woken);
  pthread_mutex_unlock(&n->lock);
}

void notify_heard(void *notify, const struct news *news) {
  if (news->stored && targets_may_want(news->type)) notify_wake(notify);
}

/* By the clock that nobody sets: a wall clock that goes back must not make anybody wait for hours. */
bool notify_wait(struct notify *n, uint64_t *seen, int64_t until_us) {
  int64_t left_us = until_us - clock_wall(&clock_system);
  left_us = left_us < 0 ? 0 : left_us > WAIT_MAX_US ? WAIT_MAX_US : left_us;
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  int64_t ns = until.tv_nsec + left_us % 1000000 * 1000;
  until.tv_sec += left_us / 1000000 + ns / 1000000000;
  until.tv_nsec = ns % 1000000000;
  pthread_mutex_lock(&n->lock);
  int code = 0;
  while (!n->stopping && n->wakes == *seen && code != ETIMEDOUT)
    code = pthread_cond_timedwait(&n->woken, &n->lock, &until);
  *seen = n->wakes;
  bool go_on = !n->stopping;
  pthread_mutex_unlock(&n->lock);
  return go_on;
}

bool notify_stopping_now(struct notify *n) { return atomic_load(&n->hurry); }

char *notify_secret(struct notify *n, const char *name) {
  if (!name) return NULL;
  if (n->options.secret) return n->options.secret(n->options.context, name);
  value_auto struct value *v = secret_lookup(NULL, name);
  return v ? mem_text(v->text) : NULL;
}

/* ---- the clerk: from events to deliveries
 * --------------------------------------------------------------------------------------- */

struct clerk {
  struct notify *notify;
  struct store *store;
  uint64_t cursor, marked; /* read so far; as it is stored */
  struct side_record records[CHANGES_MAX + TARGETS_MAX];
  size_t count;
  bool troubled; /* and somebody was told */
};

static struct side_record mark_record(uint64_t cursor) {
  return (struct side_record){
      .kind = SIDE_MARK, .id = mem_text(mark_name), .body_json = mem_format("{\"cursor\":%" PRIu64 "}", cursor)};
}

/* Stores what was collected together with the mark: all or nothing. A delivery that is there already was stored by the
 * same events before: it stays as it is. */
static enum err clerk_store(struct clerk *c, struct error *e) {
  struct side_change changes[CHANGES_MAX + TARGETS_MAX + 1];
  struct side_record mark = mark_record(c->cursor);
  for (size_t i = 0; i < c->count; i++)
    changes[i] = (struct side_change){.record = &c->records[i], .expected_version = SIDE_NEW};
  changes[c->count] = (struct side_change){.record = &mark, .expected_version = SIDE_ANY};
  enum err err = store_side_now(c->store, changes, c->count + 1, e);
  side_record_clear(&mark);
  if (err) return err;
  for (size_t i = 0; i < c->count; i++) side_record_clear(&c->records[i]);
  bool some = c->count > 0;
  c->count = 0;
  c->marked = c->cursor;
  if (some) notify_wake(c->notify);
  return ERR_OK;
}

static void clerk_add(struct clerk *c, const struct event_record *event, const struct target *t, const char *owner,
                      unsigned max_attempts) {
  char hex[65];
  mem_auto char *name = mem_format("%d %s", (int)t->kind, t->to);
  digest_of(name, strlen(name), hex);
  mem_auto char *id = mem_format("%016" PRIx64 "-%.16s", event->cursor, hex); /* sorts in the order of events */
  struct delivery d = {.kind = t->kind,
                       .state = DELIVERY_WAITING,
                       .id = id,
                       .owner = mem_text(owner),
                       .subject = event->job,
                       .batch = event->side == SIDE_BATCH,
                       .to = t->to,
                       .secret = t->secret,
                       .event = event->type,
                       .source = mem_text(t->source),
                       .seq = event->seq,
                       .max_attempts = max_attempts,
                       .due_us = event->at_us > 0 ? event->at_us : 1};
  c->records[c->count++] = delivery_record(&d);
  free(d.owner);
  free(d.source);
}

static void clerk_event(struct clerk *c, const struct settings *settings, const struct event_record *event) {
  struct job_record job = {0};
  struct side_record side = {0};
  struct targets targets;
  if (!targets_may_want(event->type)) return;
  bool known = event->side ? store_side_get(c->store, (enum side_kind)event->side, event->job, &side, NULL) == ERR_OK
                           : store_job(c->store, event->job, &job, NULL) == ERR_OK;
  if (known) { /* else it was removed in the meantime, and the event with it */
    targets_find(settings, event, job.extra_json, &targets);
    for (size_t i = 0; i < targets.count; i++)
      clerk_add(c, event, &targets.items[i], event->side ? side.owner : job.owner, settings->webhooks.attempts);
    targets_clear(&targets);
  }
  job_record_clear(&job);
  side_record_clear(&side);
}

/* Reads on from the cursor to the end. What could not be stored is read again at the next turn. */
static enum err clerk_read(struct clerk *c, struct error *e) {
  for (size_t seen = PAGE; seen == PAGE && !notify_stopping_now(c->notify);) {
    struct event_list events;
    enum err err = store_events_since(c->store, c->cursor, PAGE, &events, NULL, e);
    if (err) return err;
    const struct settings *settings = settings_hold(c->notify->options.settings);
    seen = events.count;
    for (size_t i = 0; i < seen && !err; i++) {
      clerk_event(c, settings, &events.items[i]);
      c->cursor = events.items[i].cursor;
      if (c->count >= CHANGES_MAX) err = clerk_store(c, e);
    }
    settings_release(c->notify->options.settings, &settings);
    event_list_clear(&events);
    if (!err && (c->count || c->cursor - c->marked >= MARK_EVERY)) err = clerk_store(c, e);
    if (err) return err;
  }
  return ERR_OK;
}

static void clerk_forget(struct clerk *c) {
  for (size_t i = 0; i < c->count; i++) side_record_clear(&c->records[i]);
  c->count = 0;
  c->cursor = c->marked;
}

/* Something among them cannot be stored: it is there already, which only an edited store can show, or it is out of
 * bounds. One by one then, so that it stands in nobody's way. */
static void clerk_resolve(struct clerk *c) {
  for (size_t i = 0; i < c->count; i++) {
    struct side_change change = {.record = &c->records[i], .expected_version = SIDE_NEW};
    struct error e = {0};
    if (store_side_now(c->store, &change, 1, &e)) log_warning("a notification is left out: %s", e.message);
    side_record_clear(&c->records[i]);
  }
  c->count = 0;
  clerk_store(c, NULL);
  notify_wake(c->notify);
}

static bool is_refusal(enum err err) { return err == ERR_CONFLICT || err == ERR_USAGE || err == ERR_TOO_LARGE; }

/* One turn. What the store cannot do now is done at the next; said once, not every time. */
static void clerk_turn(struct clerk *c) {
  struct error e = {0};
  enum err err = clerk_read(c, &e);
  if (is_refusal(err)) {
    clerk_resolve(c);
  } else if (err) {
    if (!c->troubled) log_warning("notifications wait: %s", e.message);
    clerk_forget(c);
  }
  c->troubled = err && !is_refusal(err);
}

static void clerk_find_place(struct clerk *c) {
  struct side_record mark;
  if (store_side_get(c->store, SIDE_MARK, mark_name, &mark, NULL) == ERR_OK && mark.body_json) {
    value_auto struct value *v = NULL;
    if (!value_from_json(mark.body_json, strlen(mark.body_json), &v, NULL))
      c->cursor = (uint64_t)value_get_int(v, "cursor", 0);
  }
  side_record_clear(&mark);
  c->marked = c->cursor;
}

static void *clerk_run(void *argument) {
  struct notify *n = argument;
  struct clerk *c = mem_alloc(sizeof *c);
  uint64_t seen = 0;
  *c = (struct clerk){.notify = n, .store = n->options.store};
  clerk_find_place(c);
  do clerk_turn(c);
  while (notify_wait(n, &seen, clock_wall(&clock_system) + LOOK_EVERY_US));
  if (c->cursor != c->marked && !c->count) clerk_store(c, NULL);
  clerk_forget(c);
  free(c);
  return NULL;
}

/* ---- opening and closing
 * ------------------------------------------------------------------------------------------------------------ */

/* The first time: begins with what comes from now on. */
static enum err mark_begin(struct store *store, struct error *e) {
  struct side_record mark = {0};
  uint64_t cursor = 0;
  if (store_side_get(store, SIDE_MARK, mark_name, &mark, NULL) == ERR_OK) return side_record_clear(&mark), ERR_OK;
  if (store_last_cursor(store, &cursor, e)) return e ? e->code : ERR_IO;
  mark = mark_record(cursor);
  struct side_change change = {.record = &mark, .expected_version = SIDE_ANY};
  enum err err = store_side_now(store, &change, 1, e);
  side_record_clear(&mark);
  return err;
}

static void make_threads(struct notify *n) {
  static const struct {
    void *(*run)(void *);
    const char *name;
  } threads[] = {{clerk_run, "notify"}, {courier_run, "webhooks"}, {postman_run, "mail"}};
  sigset_t all, old; /* signals belong to the thread that runs the loop */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  for (size_t i = 0; i < 3; i++) {
    if (pthread_create(&n->threads[n->thread_count], NULL, threads[i].run, n))
      log_error("cannot start the thread '%s': nobody is notified until a restart", threads[i].name);
    else
      pthread_setname_np(n->threads[n->thread_count++], threads[i].name);
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

enum err notify_create(struct notify **notify, const struct notify_options *options, struct error *e) {
  *notify = NULL;
  enum err err = mark_begin(options->store, e);
  if (err) return err;
  struct notify *n = mem_alloc(sizeof *n);
  n->options = *options;
  if (!n->options.first_delay_us) n->options.first_delay_us = 5000000;
  pthread_mutex_init(&n->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&n->woken, &attributes);
  pthread_condattr_destroy(&attributes);
  make_threads(n);
  *notify = n;
  return ERR_OK;
}

void notify_destroy(struct notify **address) {
  struct notify *n = *address;
  if (!n) return;
  *address = NULL;
  atomic_store(&n->hurry, true);
  pthread_mutex_lock(&n->lock);
  n->stopping = true;
  pthread_cond_broadcast(&n->woken);
  pthread_mutex_unlock(&n->lock);
  for (size_t i = 0; i < n->thread_count; i++) pthread_join(n->threads[i], NULL);
  pthread_cond_destroy(&n->woken);
  pthread_mutex_destroy(&n->lock);
  free(n);
}
