/* hub.h - the fan-out: whoever follows has a mailbox here; publishing puts messages into mailboxes and never waits.
 *
 * A follower subscribes to topics. Stored events are kept in order and never dropped; progress is replaced by newer
 * progress of the same job and stage, and a stored event clears what waits of its job's progress, so that nothing old
 * overtakes it. A mailbox that outgrows its cap with stored events is overrun: the follower is told, takes no more, and
 * comes back with `since`. Replay from the store happens at the reader's pace, in bounded steps, outside of the hub's
 * lock, and hands over to what is live without loss or duplicate, in whatever order events were published.
 *
 * Threads: hub_publish on the engine's thread; a follower's own functions on one thread at a time; everything else
 * [any]. */
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
/* "job:ID", "batch:ID", "asset:ID", "own", "all"; ERR_USAGE. `id` points into text (OWN: NULL, the caller fills it in).
 */
enum err topic_parse(const char *text, struct topic *topic, struct error *e);

enum err hub_create(struct hub **hub, struct store *store, struct error *e);
void hub_destroy(struct hub **hub); /* every follower has been detached */
/* [engine's thread] Never blocks on a follower. */
void hub_publish(struct hub *hub, const struct news *news);

struct follower_options {
  size_t mailbox_bytes_max; /* 0: 1 MiB */
  /* There is something to take (or to look for: a take after it may still answer NOTHING). Called from any thread, once
   * until the next take; must not block nor call the hub. */
  void (*wake)(void *context);
  void *context;
};
struct follower *follower_attach(struct hub *hub, const struct follower_options *options);
void follower_detach(struct hub *hub, struct follower **follower); /* after it `wake` is not called any more */

enum { SINCE_NOW = 0 }; /* only what comes from now on */
/* JOB: what concerns that job. BATCH: the batch's own events. ASSET, OWN, ALL: several jobs, so every stored message
 * carries `cursor`. A message that several subscriptions match is delivered once, live; what is replayed is told by
 * each that asked. */
struct subscription {
  struct topic topic;
  const char *owner;  /* ASSET: only what is of this owner (an asset's id is any text, so two owners may use the same);
                         NULL: whoever's */
  bool replay;        /* from `since_seq` (JOB, BATCH) or `since_cursor` (others); false: only what comes */
  uint64_t since_seq; /* the last one seen */
  uint64_t since_cursor;
  double min_step_pct; /* progress: only when it moved that far since the last sent; 0: all */
  int64_t
      min_interval_us; /* and not more often than this. What was held back comes at the latest 5 s (or this) later */
};
/* Lifecycle after `since` first, then live. The same topic again replaces the earlier subscription. ERR_TOO_LARGE: more
 * than 1,000. Where events are missing (retention, or a `since` of another store) comes `gap` {since, first}: what
 * follows begins at `first`, a seq (JOB, BATCH) or a cursor. */
enum err follower_subscribe(struct follower *follower, const struct subscription *subscription, struct error *e);
enum err follower_unsubscribe(struct follower *follower, const struct topic *topic, struct error *e);

enum taken {
  TAKEN_NOTHING = 1,
  TAKEN_MESSAGE,
  TAKEN_OVERRUN, /* too slow: close with 4008 */
};
struct letter_body;
struct letter { /* every text lies in `body`, which followers share */
  const char *json;
  size_t size;
  const char *type, *job; /* job "": not about one */
  uint64_t seq, cursor;   /* cursor 0: not stored */
  bool stored, terminal;
  bool replayed; /* came from the store: a terminal one may be followed by another round */
  struct letter_body *body;
};
void letter_clear(struct letter *letter);
/* Next message, oldest first. Reads the store while something is replayed; a store that cannot be read is an overrun,
 * too: the follower comes back with `since`. */
enum taken follower_take(struct follower *follower, struct letter *letter);

/* For metrics. */
struct hub_statistics {
  uint64_t followers, published, delivered, merged, overrun;
};
void hub_statistics(struct hub *hub, struct hub_statistics *statistics);
