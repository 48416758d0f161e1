/* What waits for one follower. Stored messages lie in a queue in order; progress lies there too, replaced in place by
 * newer progress of its job and stage until it is taken. The hub's lock is held in all of this. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "events/hub_parts.h"

enum {
  MAILBOX_BYTES_MAX = 1024 * 1024, /* texts are shared: mostly it is less */
  SPARE_MAX = 16 * 1024,           /* items kept for reuse, 72 bytes each */
  TABLE_LEAST = 1024,
  HELD_US_MAX = 5 * 1000 * 1000, /* a bar never stands at an old value for longer than this */
};

/* ---- items ----------------------------------------------------------------------------------------------------------
 */

static struct items *list_of(struct item *item) {
  return item->place == ITEM_QUEUED ? &item->follower->queue : &item->follower->aside;
}

static void item_append(struct item *item, enum item_place place) {
  item->place = place;
  struct items *list = list_of(item);
  item->next = NULL;
  item->previous = list->last;
  if (list->last)
    list->last->next = item;
  else
    list->first = item;
  list->last = item;
}

static void item_unlink(struct item *item) {
  struct items *list = list_of(item);
  if (item->previous)
    item->previous->next = item->next;
  else
    list->first = item->next;
  if (item->next)
    item->next->previous = item->previous;
  else
    list->last = item->previous;
}

static struct item *item_new(struct follower *follower, struct letter_body *body) {
  struct hub *hub = follower->hub;
  struct item *item = hub->spare;
  if (item) {
    hub->spare = item->next;
    hub->spare_count--;
    memset(item, 0, sizeof *item);
  } else {
    item = mem_alloc(sizeof *item);
  }
  item->follower = follower;
  item->body = body_hold(body);
  follower->bytes += body_bytes(body);
  return item;
}

static void item_free(struct item *item) {
  struct hub *hub = item->follower->hub;
  item->follower->bytes -= body_bytes(item->body);
  body_release(&item->body);
  if (hub->spare_count >= SPARE_MAX) {
    free(item);
    return;
  }
  item->next = hub->spare;
  hub->spare = item;
  hub->spare_count++;
}

/* ---- the table of progress, by follower and job ------------------------------------------------------------------ */

static struct item **chain_of(struct progress_table *table, const struct follower *follower, uint32_t job_hash) {
  uint64_t mixed = ((uint64_t)(uintptr_t)follower >> 4 ^ (uint64_t)job_hash << 20) * 0x9e3779b97f4a7c15u;
  return &table->chains[(mixed >> 32) & (table->room - 1)];
}

static void table_grow(struct progress_table *table) {
  struct progress_table larger = {.room = table->room ? table->room * 2 : TABLE_LEAST, .count = table->count};
  larger.chains = mem_array(larger.room, sizeof *larger.chains);
  for (size_t i = 0; i < table->room; i++)
    for (struct item *item = table->chains[i], *next; item; item = next) {
      next = item->chain;
      struct item **chain = chain_of(&larger, item->follower, item->body->job_hash);
      item->chain = *chain;
      *chain = item;
    }
  free(table->chains);
  *table = larger;
}

static void table_add(struct progress_table *table, struct item *item) {
  if (table->count >= table->room) table_grow(table);
  struct item **chain = chain_of(table, item->follower, item->body->job_hash);
  item->chain = *chain;
  *chain = item;
  table->count++;
}

static void table_remove(struct progress_table *table, struct item *item) {
  for (struct item **at = chain_of(table, item->follower, item->body->job_hash); *at; at = &(*at)->chain)
    if (*at == item) {
      *at = item->chain;
      table->count--;
      return;
    }
}

static struct item *table_find(struct progress_table *table, const struct follower *follower,
                               const struct letter_body *body) {
  if (!table->room) return NULL;
  for (struct item *item = *chain_of(table, follower, body->job_hash); item; item = item->chain)
    if (item->follower == follower && strcmp(item->body->job, body->job) == 0 &&
        strcmp(item->body->stage, body->stage) == 0)
      return item;
  return NULL;
}

static void item_drop(struct item *item) {
  if (!item->body->stored) table_remove(&item->follower->hub->progress, item);
  item_unlink(item);
  item_free(item);
}

/* ---- putting in -------------------------------------------------------------------------------------------------- */

static bool fits(const struct follower *follower, const struct letter_body *body) {
  size_t most = follower->options.mailbox_bytes_max ? follower->options.mailbox_bytes_max : MAILBOX_BYTES_MAX;
  return !follower->bytes || follower->bytes + body_bytes(body) <= most;
}

void mailbox_add(struct follower *follower, struct letter_body *body) {
  if (!fits(follower, body)) {
    follower->overrun = true;
    follower->hub->statistics.overrun++;
    mailbox_empty(follower);
  } else {
    item_append(item_new(follower, body), ITEM_QUEUED);
    follower->hub->statistics.delivered++;
  }
  follower_wake(follower);
}

static void item_replace(struct item *item, struct letter_body *body) {
  if (item->place != ITEM_SENT) item->follower->hub->statistics.merged++;
  item->follower->bytes += body_bytes(body) - body_bytes(item->body);
  body_release(&item->body);
  item->body = body_hold(body);
}

static void item_queue(struct item *item) {
  item_unlink(item);
  item_append(item, ITEM_QUEUED);
  follower_wake(item->follower);
}

/* Progress that follows something already sent: now, or held until it is due. */
static void item_throttle(struct item *item, const struct link *link, int64_t now_us) {
  bool moved = fabs(item->body->pct - item->sent_pct) >= link->min_step_pct;
  if (moved && now_us - item->sent_us >= link->min_interval_us) {
    item_queue(item);
    return;
  }
  int64_t longest_us =
      link->min_step_pct > 0 && link->min_interval_us < HELD_US_MAX ? HELD_US_MAX : link->min_interval_us;
  item->due_us = item->sent_us + (moved ? link->min_interval_us : longest_us);
  item->place = ITEM_HELD;
  hub_throttles(item->follower);
}

/* Progress is never worth an overrun: what does not fit is left out, the next will do. */
void mailbox_progress(struct follower *follower, const struct link *link, struct letter_body *body, int64_t now_us) {
  struct item *item = table_find(&follower->hub->progress, follower, body);
  if (item) {
    item_replace(item, body);
    if (item->place != ITEM_QUEUED) item_throttle(item, link, now_us);
    return;
  }
  if (!fits(follower, body)) return;
  item = item_new(follower, body);
  item->throttled = link->min_step_pct > 0 || link->min_interval_us > 0;
  table_add(&follower->hub->progress, item);
  item_append(item, ITEM_QUEUED);
  follower->hub->statistics.delivered++;
  follower_wake(follower);
}

/* ---- taking out -------------------------------------------------------------------------------------------------- */

void mailbox_clear_job(struct follower *follower, const char *job, uint32_t job_hash, uint64_t seq) {
  struct progress_table *table = &follower->hub->progress;
  if (!table->count) return;
  for (struct item *item = *chain_of(table, follower, job_hash), *next; item; item = next) {
    next = item->chain;
    if (item->follower == follower && item->body->seq < seq && strcmp(item->body->job, job) == 0) item_drop(item);
  }
}

struct letter_body *mailbox_take(struct follower *follower, int64_t now_us) {
  struct item *item = follower->queue.first;
  if (!item) return NULL;
  struct letter_body *body = body_hold(item->body);
  if (!item->throttled) {
    item_drop(item);
    return body;
  }
  item_unlink(item);
  item_append(item, ITEM_SENT);
  item->sent_us = now_us;
  item->sent_pct = body->pct;
  return body;
}

int64_t mailbox_release_held(struct follower *follower, int64_t now_us) {
  int64_t first_us = 0;
  for (struct item *item = follower->aside.first, *next; item; item = next) {
    next = item->next;
    if (item->place != ITEM_HELD) continue;
    if (item->due_us <= now_us)
      item_queue(item);
    else if (!first_us || item->due_us < first_us)
      first_us = item->due_us;
  }
  return first_us;
}

void mailbox_forget_sent(struct follower *follower) {
  for (struct item *item = follower->aside.first, *next; item; item = next) {
    next = item->next;
    if (item->place == ITEM_HELD)
      item_queue(item);
    else
      item_drop(item);
  }
}

void mailbox_empty(struct follower *follower) {
  while (follower->queue.first) item_drop(follower->queue.first);
  while (follower->aside.first) item_drop(follower->aside.first);
}
