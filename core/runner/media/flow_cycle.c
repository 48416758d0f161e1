/* flow_cycle.c - finds the cycle of waits that a thread is about to close, and opens it. */
#include <stdio.h>

#include "media/flow_parts.h"

enum { PATH_MAX_NODES = 256 };

/* The nodes of the walk from the one that begins to wait; starving[i]: the queue through which i waits for i + 1 (NULL:
 * it pushes). */
struct path {
  struct flow_node *nodes[PATH_MAX_NODES];
  struct flow_queue *starving[PATH_MAX_NODES];
  uint32_t count;
  uint32_t mark;
};

static bool leads_back(struct flow_node *node, struct path *path);

static bool step(struct flow_node *from, struct flow_queue *starving, struct flow_node *to, struct path *path) {
  if (!to || path->count == PATH_MAX_NODES) return false;
  path->nodes[path->count] = from;
  path->starving[path->count++] = starving;
  if (to == path->nodes[0] || leads_back(to, path)) return true;
  path->count--;
  return false;
}

static bool leads_back(struct flow_node *node, struct path *path) {
  if (node->state == FLOW_RUNS || node->mark == path->mark) return false;
  node->mark = path->mark;
  if (node->state == FLOW_PUSHES) return step(node, NULL, node->pushing->consumer, path);
  for (uint32_t i = 0; i < node->input_count; i++) {
    struct flow_queue *q = node->inputs[i];
    if (flow_starves_for(node, q) && step(node, q, q->producer, path)) return true;
  }
  return false;
}

static bool may_grow(const struct flow_queue *q, size_t pending) {
  if (q->bytes + pending > q->limits.grow_bytes) return false;
  const struct flow_item *first = &q->ring[q->head], *last = &q->ring[(q->head + q->count - 1) % q->room];
  return last->at_us - first->at_us < q->limits.grow_us;
}

static struct flow_node *cheapest_push(const struct path *path, bool small) {
  struct flow_node *best = NULL;
  for (uint32_t i = 0; i < path->count; i++) {
    struct flow_node *n = path->nodes[i];
    if (path->starving[i] || n->pushing->limits.small != small || !may_grow(n->pushing, n->pending_bytes)) continue;
    if (!best || n->pending_bytes < best->pending_bytes) best = n;
  }
  return best;
}

/* A producer in the cycle that can give the queue its consumer starves for to another thread. */
static bool ask_to_split(const struct path *path) {
  for (uint32_t i = 0; i < path->count; i++) {
    struct flow_queue *q = path->starving[i];
    if (!q || !q->producer->can_split || q->producer->state != FLOW_PUSHES) continue;
    q->producer->split = q;
    q->producer->state = FLOW_RUNS;
    pthread_cond_signal(&q->producer->wake);
    return true;
  }
  return false;
}

static void give_up(struct flow *flow, const struct path *path) {
  const char *full = "?", *starving = "?";
  for (uint32_t i = 0; i < path->count; i++) {
    if (path->starving[i])
      starving = path->starving[i]->name;
    else
      full = path->nodes[i]->pushing->name;
  }
  flow->wedged = true;
  snprintf(flow->wedge, sizeof flow->wedge, "%s is full while nothing comes at %s", full, starving);
  flow_close_locked(flow);
}

static bool let_grow(struct flow_node *node) {
  if (!node) return false;
  node->grant = true;
  node->state = FLOW_RUNS;
  pthread_cond_signal(&node->wake);
  return true;
}

void flow_open_cycle(struct flow_node *self) {
  static _Atomic uint32_t marks;
  struct path path = {.mark = ++marks};
  path.nodes[0] = self;
  if (!leads_back(self, &path)) return;
  if (let_grow(cheapest_push(&path, true)) || ask_to_split(&path) || let_grow(cheapest_push(&path, false))) return;
  give_up(self->flow, &path);
}
