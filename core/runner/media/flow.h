/* flow.h - threads joined by short bounded queues, free of deadlock. Knows no media: items carry a time and a size.
 *
 * A node is one thread. It takes items from its queues, merged in the order of their times, and pushes items into the
 * queues of other nodes. A queue has one producer and one consumer and is full at a few items or bytes; a push into a
 * full queue waits, and so does a take when the merge cannot go on because an open queue is empty.
 *
 * Why nothing locks up: a thread waits for a node only here, and all waits are entered under one lock. A node that
 * pushes waits for the queue's consumer; a node that takes waits for the producers of all queues it starves for. A
 * deadlock is a cycle of such waits, and a cycle can only be closed by the thread that begins to wait; so that thread
 * walks the graph first. Waits for a producer lead upstream, waits for a consumer downstream, and the graph of queues
 * has no cycle, therefore every cycle of waits holds at least one push. One of them may put one item more than the
 * bound into its queue, and the cycle is open. That growth has a bound of its own (seconds and bytes). What is tried,
 * in this order: a queue of small items (packets) grows; a producer that feeds several queues and can split hands the
 * starving one to a thread of its own (for a demuxer: a second cursor); a queue of big items (frames) grows; the flow
 * fails, naming both queues.
 *
 * Lock: flow.lock alone; it is never held while code of a stage or of libav runs. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flow_node;
struct flow_queue;

struct flow_item {
  void *payload; /* owned by the queue once pushed */
  int64_t at_us; /* on the common clock; never decreasing within a queue, but for repaired sources */
  size_t bytes;
};

struct flow_limits {
  uint32_t items;  /* full at this many */
  size_t bytes;    /* or at this many bytes, though one item always fits */
  int64_t grow_us; /* may grow to this span while its consumer starves for another queue */
  size_t grow_bytes;
  bool small; /* items are cheap to keep: grows first */
};

struct flow {
  pthread_mutex_t lock;
  struct flow_node *nodes; /* list */
  bool closed;
  bool wedged; /* a cycle could not be opened: says which */
  char wedge[256];
};

enum flow_state { FLOW_RUNS = 1, FLOW_PUSHES, FLOW_TAKES };

struct flow_node {
  const char *name; /* borrowed for life */
  struct flow *flow;
  struct flow_node *next;
  pthread_cond_t wake;
  enum flow_state state;
  struct flow_queue **inputs;
  uint32_t input_count;
  bool wants_floors; /* flow_take also answers FLOW_FLOOR */
  bool can_split;
  /* while it pushes */
  struct flow_queue *pushing;
  size_t pending_bytes;
  bool grant;               /* one item more than the bound */
  struct flow_queue *split; /* asked to give this queue away */
  uint32_t mark;            /* of the walk */
};

struct flow_queue {
  struct flow_node *producer, *consumer;
  const char *name; /* borrowed for life */
  uint32_t index;   /* among the consumer's inputs */
  void (*release)(void *payload);
  struct flow_limits limits;
  struct flow_item *ring;
  uint32_t head, count, room;
  size_t bytes;
  int64_t floor_us; /* nothing before this will be pushed */
  int64_t told_us;  /* the consumer knows about times up to here */
  bool ended;       /* nothing more will be pushed */
  bool end_taken;
  bool failed;   /* ended because the producer failed */
  bool refused;  /* the consumer wants no more */
  uint32_t peak; /* most items it ever held */
};

void flow_init(struct flow *flow);
/* All nodes' threads have been joined. Queues and nodes are freed with it, items are released. */
void flow_destroy(struct flow *flow);
struct flow_node *flow_node_add(struct flow *flow, const char *name);
struct flow_queue *flow_queue_add(struct flow *flow, const char *name, struct flow_node *producer,
                                  struct flow_node *consumer, const struct flow_limits *limits,
                                  void (*release)(void *));

enum flow_push {
  FLOW_PUSHED = 1,
  FLOW_REFUSED, /* the consumer has left: the item was released */
  FLOW_STOPPED, /* the flow is closed: the item was released */
  FLOW_SPLIT    /* node->split must get another producer (flow_queue_feed); the item is still the caller's */
};
/* [producer's thread] */
enum flow_push flow_push(struct flow_node *self, struct flow_queue *queue, struct flow_item item);
/* [producer's thread] Nothing before at_us will be pushed. Never waits. */
void flow_floor(struct flow_queue *queue, int64_t at_us);
/* [producer's thread] Nothing more will be pushed. failed: because the producer failed. */
void flow_end(struct flow_queue *queue, bool failed);
/* The queue gets another producer; clears old->split when it was this queue. */
void flow_queue_feed(struct flow_queue *queue, struct flow_node *producer);

enum flow_take {
  FLOW_ITEM = 1, /* taken->item is the caller's */
  FLOW_FLOOR,    /* nothing before taken->at_us will come at taken->input */
  FLOW_END,      /* taken->input has ended; taken->failed */
  FLOW_ALL_ENDED,
  FLOW_CLOSED
};
struct flow_taken {
  uint32_t input;
  struct flow_item item;
  int64_t at_us;
  bool failed;
};
/* [consumer's thread] The next thing in the order of time over all inputs. */
enum flow_take flow_take(struct flow_node *self, struct flow_taken *taken);
/* [consumer's thread] Wants no more of this queue; what it holds is released. */
void flow_refuse(struct flow_queue *queue);
/* [any thread] The same for all queues of a node, on its behalf; it sees FLOW_ALL_ENDED next. */
void flow_leave(struct flow_node *node);
/* [any thread] Wakes everybody for good. */
void flow_close(struct flow *flow);
bool flow_is_closed(struct flow *flow);
