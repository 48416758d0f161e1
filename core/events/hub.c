/* Publishing: one walk over the followers of the topics a message belongs to. */
#include "events/hub.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/metric.h"
#include "events/hub_parts.h"

int64_t hub_now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void follower_wake(struct follower *follower) {
  if (follower->awake) return;
  follower->awake = true;
  if (follower->options.wake) follower->options.wake(follower->options.context);
}

/* ---- progress that was held back --------------------------------------------------------------------------------- */

void hub_throttles(struct follower *follower) {
  struct hub *hub = follower->hub;
  if (follower->previous_throttled) return;
  follower->next_throttled = hub->throttled;
  follower->previous_throttled = &hub->throttled;
  if (hub->throttled) hub->throttled->previous_throttled = &follower->next_throttled;
  hub->throttled = follower;
  pthread_cond_signal(&hub->tick);
}

void hub_throttles_not(struct follower *follower) {
  if (!follower->previous_throttled) return;
  *follower->previous_throttled = follower->next_throttled;
  if (follower->next_throttled) follower->next_throttled->previous_throttled = follower->previous_throttled;
  follower->next_throttled = NULL;
  follower->previous_throttled = NULL;
}

static void hub_tick(struct hub *hub, int64_t now_us) {
  for (struct follower *f = hub->throttled, *next; f; f = next) {
    next = f->next_throttled;
    if (!mailbox_release_held(f, now_us)) hub_throttles_not(f);
  }
}

/* Sleeps while nothing is held; else looks 20 times a second. */
static void *hub_ticker(void *context) {
  struct hub *hub = context;
  pthread_mutex_lock(&hub->lock);
  while (!hub->ending) {
    if (!hub->throttled) {
      pthread_cond_wait(&hub->tick, &hub->lock);
      continue;
    }
    int64_t until_us = hub_now_us() + 50 * 1000;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_cond_timedwait(&hub->tick, &hub->lock, &until);
    hub_tick(hub, hub_now_us());
  }
  pthread_mutex_unlock(&hub->lock);
  return NULL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

enum err hub_create(struct hub **at, struct store *store, struct error *e) {
  struct hub *hub = mem_alloc(sizeof *hub);
  hub->store = store;
  static const double bounds[] = {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10};
  hub->lag = metric_histogram("stagemill_fanout_lag_seconds",
                              "from telling the followers of an event to one's taking it (the first "
                              "it takes after it was woken)",
                              NULL, bounds, sizeof bounds / sizeof *bounds);
  pthread_mutex_init(&hub->lock, NULL);
  pthread_condattr_t clock;
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_cond_init(&hub->tick, &clock);
  pthread_condattr_destroy(&clock);
  int failed = pthread_create(&hub->ticker, NULL, hub_ticker, hub);
  if (failed) {
    free(hub);
    return error_errno(e, failed, "cannot start the thread of the event fan-out");
  }
  *at = hub;
  return ERR_OK;
}

void hub_destroy(struct hub **at) {
  struct hub *hub = *at;
  if (!hub) return;
  pthread_mutex_lock(&hub->lock);
  hub->ending = true;
  pthread_cond_signal(&hub->tick);
  pthread_mutex_unlock(&hub->lock);
  pthread_join(hub->ticker, NULL);
  for (struct item *item = hub->spare, *next; item; item = next) {
    next = item->next;
    free(item);
  }
  free(hub->progress.chains);
  free(hub->nodes);
  pthread_cond_destroy(&hub->tick);
  pthread_mutex_destroy(&hub->lock);
  free(hub);
  *at = NULL;
}

void hub_statistics(struct hub *hub, struct hub_statistics *statistics) {
  pthread_mutex_lock(&hub->lock);
  *statistics = hub->statistics;
  pthread_mutex_unlock(&hub->lock);
}

/* ---- publishing -------------------------------------------------------------------------------------------------- */

/* A message on its way through its topics; its two texts are made when the first follower needs them. */
struct delivery {
  struct hub *hub;
  const struct news *news;
  struct letter_body *narrow, *wide;
  const char *job;
  uint32_t job_hash;
  int64_t now_us;
};

static struct letter_body *delivery_body(struct delivery *d, bool wide) {
  wide = wide && d->news->cursor;
  struct letter_body **body = wide ? &d->wide : &d->narrow;
  if (!*body) *body = body_of_news(d->news, wide);
  return *body;
}

static void deliver_stored(struct delivery *d, struct link *link, bool wide) {
  struct follower *follower = link->follower;
  if (*d->job) mailbox_clear_job(follower, d->job, d->job_hash, UINT64_MAX);
  if (!link->live) {
    if (d->news->cursor > link->skipped) link->skipped = d->news->cursor;
    return;
  }
  if (d->news->cursor <= link->floor || follower->stamp == d->hub->stamp) return;
  follower->stamp = d->hub->stamp;
  mailbox_add(follower, delivery_body(d, wide));
}

static void deliver_progress(struct delivery *d, struct link *link, bool wide) {
  struct follower *follower = link->follower;
  if (follower->stamp == d->hub->stamp) return;
  follower->stamp = d->hub->stamp;
  mailbox_progress(follower, link, delivery_body(d, wide), d->now_us);
}

static void deliver(struct delivery *d, enum topic_kind kind, const char *id) {
  struct node *node = id ? node_find(d->hub, kind, id) : NULL;
  if (!node) return;
  bool wide = topic_is_wide(kind);
  for (size_t i = 0; i < node->count; i++) {
    struct link *link = node->links[i];
    if (link->follower->overrun) continue;
    if (link->owner && (!d->news->owner || strcmp(link->owner, d->news->owner) != 0)) continue;
    if (d->news->stored)
      deliver_stored(d, link, wide);
    else
      deliver_progress(d, link, wide);
  }
}

void hub_publish(struct hub *hub, const struct news *news) {
  struct delivery d = {.hub = hub, .news = news, .job = news->job ? news->job : ""};
  d.job_hash = text_hash(d.job);
  if (!news->stored) d.now_us = hub_now_us();
  bool of_batch = news->batch && strcmp(news->subject, news->batch) == 0;
  pthread_mutex_lock(&hub->lock);
  hub->stamp++;
  hub->statistics.published++;
  deliver(&d, TOPIC_JOB,
          of_batch ? NULL : news->job); /* the most specific first: it decides how often and in which form */
  deliver(&d, TOPIC_BATCH, of_batch ? news->batch : NULL);
  deliver(&d, TOPIC_ASSET, news->asset);
  deliver(&d, TOPIC_OWN, news->owner);
  deliver(&d, TOPIC_ALL, "");
  pthread_mutex_unlock(&hub->lock);
  body_release(&d.narrow);
  body_release(&d.wide);
}
