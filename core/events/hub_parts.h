/* hub_parts.h - what the files of the fan-out share. Private to core/events.
 *
 *   hub -- topics (hash) --> node -- links --> follower -- queue --> items -- share --> letter_body
 *
 * One lock, `hub->lock`, covers all of it; `wake` is called with it held. Progress is found again by (follower, job) in
 * one table of the hub, so that merging and clearing cost the same whatever lies in a mailbox, and an idle follower
 * costs no memory for it. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "events/hub.h"

/* ---- body.c: one message, shared by reference ---------------------------------------------------------------------
 */

struct letter_body {
  atomic_uint references;
  bool stored, terminal, replayed;
  uint32_t job_hash;
  uint64_t seq, cursor;
  int64_t published_us;           /* monotonic; 0: replayed */
  double pct;                     /* of progress */
  const char *type, *job, *stage; /* "": none; they and json lie behind the struct */
  const char *json;
  size_t json_size;
};
/* wide: with `cursor` in the envelope (stored messages only). */
struct letter_body *body_of_news(const struct news *news, bool wide);
struct letter_body *body_of_event(const struct event_record *event, bool wide);
struct letter_body *body_of_gap(const struct topic *topic, uint64_t since, uint64_t first);
struct letter_body *body_hold(struct letter_body *body);
void body_release(struct letter_body **body);
size_t body_bytes(const struct letter_body *body); /* what it counts for in a mailbox */
uint32_t text_hash(const char *text);

/* ---- mailbox.c: items of followers --------------------------------------------------------------------------------
 */

enum item_place {
  ITEM_QUEUED = 1, /* in the follower's queue */
  ITEM_HELD,       /* progress that came too early: waits for `due_us` */
  ITEM_SENT,       /* progress that was taken: remembers what it said, for the next */
};
struct item {
  struct item *next, *previous; /* in the follower's queue, or aside */
  struct item *chain;           /* progress: in the hub's table */
  struct follower *follower;
  struct letter_body *body;
  enum item_place place;
  bool throttled;
  int64_t sent_us, due_us;
  double sent_pct;
};
struct items {
  struct item *first, *last;
};
struct progress_table {
  struct item **chains;
  size_t room, count; /* room: a power of two */
};

struct link;
/* All of these: hub's lock held. */
void mailbox_add(struct follower *follower, struct letter_body *body); /* a stored message; may overrun */
void mailbox_progress(struct follower *follower, const struct link *link, struct letter_body *body, int64_t now_us);
/* Drops what waits of a job's progress as of before `seq`, and what is remembered of it. */
void mailbox_clear_job(struct follower *follower, const char *job, uint32_t job_hash, uint64_t seq);
struct letter_body *mailbox_take(struct follower *follower, int64_t now_us); /* a reference; NULL: empty */
void mailbox_forget_sent(struct follower *follower); /* held progress is due now, sent progress forgotten */
void mailbox_empty(struct follower *follower);
/* Queues held progress that is due; answers when the next one is (0: none). */
int64_t mailbox_release_held(struct follower *follower, int64_t now_us);

/* ---- topics.c ------------------------------------------------------------------------------------------------------
 */

struct node {
  struct node *chain;
  uint32_t hash;
  enum topic_kind kind;
  struct link **links;
  size_t count, room;
  char id[];
};
struct link {
  struct link *next; /* of the follower */
  struct follower *follower;
  struct node *node;
  size_t place; /* in node->links */
  char *owner;  /* NULL: whoever's */
  double min_step_pct;
  int64_t min_interval_us;
  /* Not live: the store is being read up to `target`. What is published meanwhile is not queued; `skipped` is the
   * newest of it. Reaching the target goes live if nothing newer was skipped, else notes a new one. `floor`: replayed
   * up to here. */
  bool live, begun, has_target;
  uint64_t skipped, target, floor;
  uint64_t position; /* last seq or cursor that was read */
};
bool topic_is_wide(enum topic_kind kind); /* several jobs */
struct node *node_find(struct hub *hub, enum topic_kind kind, const char *id);
struct link *link_new(struct follower *follower, const struct topic *topic); /* joins the topic, not live */
void link_free(struct link **link); /* leaves the topic; the follower's list is its own */

/* ---- hub.c, follower.c, replay.c ------------------------------------------------------------------------------------
 */

struct follower {
  struct hub *hub;
  struct follower_options options;
  struct items queue, aside;
  struct link *links;
  size_t link_count, replaying, bytes;
  uint64_t stamp; /* of the last news put into the queue */
  bool awake, overrun;
  struct follower *next_throttled, **previous_throttled; /* in hub->throttled while something is held */
  /* Of the follower's own thread: read from the store, not yet taken. */
  struct letter_body **replay; /* NULL unless something is replayed */
  size_t replay_count, replay_room, replay_next;
};
struct hub {
  pthread_mutex_t lock;
  struct store *store;
  struct node **nodes;
  size_t node_room, node_count;
  struct progress_table progress;
  struct item *spare; /* freed items, chained by `next` */
  size_t spare_count;
  uint64_t stamp;
  struct follower *throttled;
  pthread_t ticker; /* delivers held progress when it is due */
  pthread_cond_t tick;
  bool ending;
  struct hub_statistics statistics;
  struct metric *lag;
};
int64_t hub_now_us(void);                      /* monotonic */
void hub_throttles(struct follower *follower); /* it holds something back now */
void hub_throttles_not(struct follower *follower);
void follower_wake(struct follower *follower);
/* Reads one bounded step of what `link` replays. False: the store cannot be read. */
bool replay_step(struct follower *follower, struct link *link);
