/* hub.h - the fan-out: whoever follows has a mailbox here; publishing puts messages into mailboxes and never waits.
 *
 * A follower subscribes to topics. Stored events are kept in order and never dropped; progress is replaced by newer progress
 * of the same job and stage, and a stored event clears what waits of its job's progress, so that nothing old overtakes it. A
 * mailbox that outgrows its cap with stored events is overrun: the follower is told, takes no more, and comes back with
 * `since`. Replay from the store happens at the reader's pace, in bounded steps, outside of the hub's lock; items at or
 * before what was replayed are dropped (DESIGN section 7).
 *
 * Threads: hub_publish on the engine's thread; a follower's own functions on one thread at a time; everything else [any]. */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "events/news.h"
#include "store/store.h"

struct hub;
struct follower;

enum topic_kind { TOPIC_JOB = 1, TOPIC_BATCH, TOPIC_ASSET, TOPIC_OWN, TOPIC_ALL };
struct topic {
  enum topic_kind kind;
  const char *id; /* OWN: the subject; ALL: NULL */
};
/* "job:ID", "batch:ID", "asset:ID", "own", "all"; ERR_USAGE. `id` points into text (OWN: NULL, the caller fills it in). */
enum err topic_parse(const char *text, struct topic *topic, struct error *e);

enum err hub_create(struct hub **hub, struct store *store, struct error *e);
void hub_destroy(struct hub **hub); /* every follower has been detached */
/* [engine's thread] Never blocks on a follower. */
void hub_publish(struct hub *hub, const struct news *news);

struct follower_options {
  size_t mailbox_bytes_max;    /* 0: 256 KiB */
  void (*wake)(void *context); /* there is something to take; called from any thread, once until the next take; must not block
                                  nor call the hub */
  void *context;
};
struct follower *follower_attach(struct hub *hub, const struct follower_options *options);
void follower_detach(struct hub *hub, struct follower **follower); /* after it `wake` is not called any more */

enum { SINCE_NOW = 0 }; /* only what comes from now on */
struct subscription {
  struct topic topic;
  bool replay;             /* from `since_seq` (JOB, BATCH) or `since_cursor` (others); false: only what comes */
  uint64_t since_seq;      /* the last one seen */
  uint64_t since_cursor;
  double min_step_pct;     /* progress: only when it moved that far since the last sent; 0: all */
  int64_t min_interval_us; /* and not more often than this */
};
/* Lifecycle after `since` first, then live. ERR_TOO_LARGE: more than 1,000 subscriptions. A gap is a message of type `gap`. */
enum err follower_subscribe(struct follower *follower, const struct subscription *subscription, struct error *e);
enum err follower_unsubscribe(struct follower *follower, const struct topic *topic, struct error *e);

enum taken {
  TAKEN_NOTHING = 1,
  TAKEN_MESSAGE,
  TAKEN_OVERRUN, /* too slow: close with 4008 */
};
struct letter {
  char *json; /* owned by the letter; letter_clear */
  size_t size;
  uint64_t seq, cursor;
  bool stored, terminal;
  char job[STORE_ID_MAX]; /* "": none */
};
void letter_clear(struct letter *letter);
/* Next message, oldest first. Reads the store while something is replayed. */
enum taken follower_take(struct follower *follower, struct letter *letter);

/* For metrics. */
struct hub_statistics {
  uint64_t followers, published, delivered, merged, overrun;
};
void hub_statistics(struct hub *hub, struct hub_statistics *statistics);
