/* flow.c - nodes, queues, the merge (flow.h says why it cannot lock up; flow_cycle.c walks the waits). */
#include "media/flow.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "media/flow_parts.h"

enum { FLOOR_STEP_US = 500000 }; /* a silent stream is announced to its consumer this often, in media time */

void flow_init(struct flow *flow) {
  memset(flow, 0, sizeof *flow);
  pthread_mutex_init(&flow->lock, NULL);
}

static void queue_drop_items(struct flow_queue *q) {
  while (q->count) {
    q->release(q->ring[q->head].payload);
    q->head = (q->head + 1) % q->room;
    q->count--;
  }
  q->bytes = 0;
}

void flow_destroy(struct flow *flow) {
  while (flow->nodes) {
    struct flow_node *node = flow->nodes;
    flow->nodes = node->next;
    for (uint32_t i = 0; i < node->input_count; i++) {
      queue_drop_items(node->inputs[i]);
      free(node->inputs[i]->ring);
      free(node->inputs[i]);
    }
    free(node->inputs);
    pthread_cond_destroy(&node->wake);
    free(node);
  }
  pthread_mutex_destroy(&flow->lock);
}

struct flow_node *flow_node_add(struct flow *flow, const char *name) {
  struct flow_node *node = mem_alloc(sizeof *node);
  node->name = name;
  node->flow = flow;
  node->state = FLOW_RUNS;
  pthread_cond_init(&node->wake, NULL);
  pthread_mutex_lock(&flow->lock);
  node->next = flow->nodes;
  flow->nodes = node;
  pthread_mutex_unlock(&flow->lock);
  return node;
}

struct flow_queue *flow_queue_add(struct flow *flow, const char *name, struct flow_node *producer,
                                  struct flow_node *consumer, const struct flow_limits *limits,
                                  void (*release)(void *)) {
  struct flow_queue *q = mem_alloc(sizeof *q);
  q->name = name;
  q->producer = producer;
  q->consumer = consumer;
  q->release = release;
  q->limits = *limits;
  q->room = limits->items + 1;
  q->ring = mem_array(q->room, sizeof *q->ring);
  q->floor_us = INT64_MIN;
  q->told_us = 0;
  pthread_mutex_lock(&flow->lock);
  q->index = consumer->input_count;
  consumer->inputs = mem_grow(consumer->inputs, consumer->input_count + 1, sizeof *consumer->inputs);
  consumer->inputs[consumer->input_count++] = q;
  pthread_mutex_unlock(&flow->lock);
  return q;
}

static void node_wake(struct flow_node *node) {
  node->state = FLOW_RUNS;
  pthread_cond_signal(&node->wake);
}

/* What happened at q may let its consumer's merge go on. */
static void wake_consumer(struct flow_queue *q) {
  if (q->consumer->state == FLOW_TAKES) node_wake(q->consumer);
}

static void wake_producer(struct flow_queue *q) {
  struct flow_node *p = q->producer;
  if (p && p->state == FLOW_PUSHES && p->pushing == q) node_wake(p);
}

/* Waits until somebody sets the node running again. The cycle walk may do so at once. */
static void node_wait(struct flow_node *self, enum flow_state state) {
  self->state = state;
  flow_open_cycle(self);
  while (self->state != FLOW_RUNS && !self->flow->closed) pthread_cond_wait(&self->wake, &self->flow->lock);
  self->state = FLOW_RUNS;
}

static void queue_put(struct flow_queue *q, const struct flow_item *item) {
  if (q->count == q->room) {
    uint32_t room = q->room * 2;
    struct flow_item *ring = mem_array(room, sizeof *ring);
    for (uint32_t i = 0; i < q->count; i++) ring[i] = q->ring[(q->head + i) % q->room];
    free(q->ring);
    q->ring = ring;
    q->room = room;
    q->head = 0;
  }
  q->ring[(q->head + q->count) % q->room] = *item;
  q->count++;
  q->bytes += item->bytes;
  if (item->at_us > q->floor_us) q->floor_us = item->at_us;
  if (q->count > q->peak) q->peak = q->count;
}

static bool queue_full(const struct flow_queue *q, size_t pending) {
  return q->count && (q->count >= q->limits.items || q->bytes + pending > q->limits.bytes);
}

enum flow_push flow_push(struct flow_node *self, struct flow_queue *q, struct flow_item item) {
  struct flow *flow = self->flow;
  enum flow_push answer = FLOW_PUSHED;
  pthread_mutex_lock(&flow->lock);
  self->grant = false;
  while (!flow->closed && !q->refused && !self->grant && !self->split && queue_full(q, item.bytes)) {
    self->pushing = q;
    self->pending_bytes = item.bytes;
    node_wait(self, FLOW_PUSHES);
    self->pushing = NULL;
  }
  self->grant = false;
  if (flow->closed)
    answer = FLOW_STOPPED;
  else if (q->refused)
    answer = FLOW_REFUSED;
  else if (self->split)
    answer = FLOW_SPLIT;
  else {
    queue_put(q, &item);
    wake_consumer(q);
  }
  pthread_mutex_unlock(&flow->lock);
  if (answer == FLOW_STOPPED || answer == FLOW_REFUSED) q->release(item.payload);
  return answer;
}

void flow_floor(struct flow_queue *q, int64_t at_us) {
  struct flow *flow = q->consumer->flow;
  pthread_mutex_lock(&flow->lock);
  if (at_us > q->floor_us) {
    q->floor_us = at_us;
    wake_consumer(q);
  }
  pthread_mutex_unlock(&flow->lock);
}

void flow_end(struct flow_queue *q, bool failed) {
  struct flow *flow = q->consumer->flow;
  pthread_mutex_lock(&flow->lock);
  q->ended = true;
  q->failed |= failed;
  wake_consumer(q);
  pthread_mutex_unlock(&flow->lock);
}

void flow_queue_feed(struct flow_queue *q, struct flow_node *producer) {
  struct flow *flow = q->consumer->flow;
  pthread_mutex_lock(&flow->lock);
  if (q->producer && q->producer->split == q) q->producer->split = NULL;
  q->producer = producer;
  pthread_mutex_unlock(&flow->lock);
}

/* The open input whose head is earliest; NULL when all are empty. */
static struct flow_queue *earliest(const struct flow_node *node) {
  struct flow_queue *best = NULL;
  for (uint32_t i = 0; i < node->input_count; i++) {
    struct flow_queue *q = node->inputs[i];
    if (q->count && !q->refused && (!best || q->ring[q->head].at_us < best->ring[best->head].at_us)) best = q;
  }
  return best;
}

bool flow_starves_for(const struct flow_node *node, const struct flow_queue *q) {
  if (q->count || q->ended || q->refused) return false;
  const struct flow_queue *best = earliest(node);
  return !best || q->floor_us < best->ring[best->head].at_us;
}

static bool starves(const struct flow_node *node) {
  for (uint32_t i = 0; i < node->input_count; i++)
    if (flow_starves_for(node, node->inputs[i])) return true;
  return false;
}

static enum flow_take take_end(struct flow_node *node, struct flow_taken *taken) {
  bool open = false;
  for (uint32_t i = 0; i < node->input_count; i++) {
    struct flow_queue *q = node->inputs[i];
    if (q->end_taken || q->refused) continue;
    open = true;
    if (!q->ended || q->count) continue;
    q->end_taken = true;
    taken->input = i;
    taken->failed = q->failed;
    return FLOW_END;
  }
  return open ? 0 : FLOW_ALL_ENDED;
}

/* A silent input that is known to stay silent up to `limit` (the time of the next item) and has not been announced. */
static enum flow_take take_floor(struct flow_node *node, const struct flow_queue *next, struct flow_taken *taken) {
  for (uint32_t i = 0; node->wants_floors && i < node->input_count; i++) {
    struct flow_queue *q = node->inputs[i];
    if (q == next || q->end_taken || q->refused) continue;
    int64_t known = next ? next->ring[next->head].at_us : q->floor_us;
    if (!next && q->count) continue;
    if (known == INT64_MIN || known - q->told_us < FLOOR_STEP_US) continue;
    q->told_us = known;
    taken->input = i;
    taken->at_us = known;
    return FLOW_FLOOR;
  }
  return 0;
}

static enum flow_take take_item(struct flow_queue *q, struct flow_taken *taken) {
  taken->item = q->ring[q->head];
  taken->input = q->index;
  q->head = (q->head + 1) % q->room;
  q->count--;
  q->bytes -= taken->item.bytes;
  if (taken->item.at_us > q->told_us) q->told_us = taken->item.at_us;
  wake_producer(q);
  return FLOW_ITEM;
}

static enum flow_take take_now(struct flow_node *node, struct flow_taken *taken) {
  enum flow_take answer = take_end(node, taken);
  if (answer) return answer;
  bool waits = starves(node);
  struct flow_queue *next = waits ? NULL : earliest(node);
  if ((answer = take_floor(node, next, taken))) return answer;
  return next ? take_item(next, taken) : 0;
}

enum flow_take flow_take(struct flow_node *self, struct flow_taken *taken) {
  struct flow *flow = self->flow;
  enum flow_take answer;
  memset(taken, 0, sizeof *taken);
  pthread_mutex_lock(&flow->lock);
  for (;;) {
    answer = flow->closed ? FLOW_CLOSED : take_now(self, taken);
    if (answer) break;
    node_wait(self, FLOW_TAKES);
  }
  pthread_mutex_unlock(&flow->lock);
  return answer;
}

static void refuse_locked(struct flow_queue *q) {
  q->refused = true;
  queue_drop_items(q);
  wake_producer(q);
}

void flow_refuse(struct flow_queue *q) {
  struct flow *flow = q->consumer->flow;
  pthread_mutex_lock(&flow->lock);
  refuse_locked(q);
  pthread_mutex_unlock(&flow->lock);
}

void flow_leave(struct flow_node *node) {
  struct flow *flow = node->flow;
  pthread_mutex_lock(&flow->lock);
  for (uint32_t i = 0; i < node->input_count; i++) refuse_locked(node->inputs[i]);
  if (node->state == FLOW_TAKES) node_wake(node);
  pthread_mutex_unlock(&flow->lock);
}

void flow_close_locked(struct flow *flow) {
  flow->closed = true;
  for (struct flow_node *n = flow->nodes; n; n = n->next) pthread_cond_broadcast(&n->wake);
}

void flow_close(struct flow *flow) {
  pthread_mutex_lock(&flow->lock);
  flow_close_locked(flow);
  pthread_mutex_unlock(&flow->lock);
}

bool flow_is_closed(struct flow *flow) {
  pthread_mutex_lock(&flow->lock);
  bool closed = flow->closed;
  pthread_mutex_unlock(&flow->lock);
  return closed;
}
