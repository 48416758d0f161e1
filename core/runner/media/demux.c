/* demux.c - cursors. Each is a thread with a reader; together they deliver every stream exactly once, in order. */
#include "media/demux.h"

#include <string.h>

#include "base/mem.h"

struct cursor {
  struct cursor *next;
  struct demux *demux;
  struct flow_node *node;
  void *reader;
  int32_t only; /* -1: every stream that is `mine` */
  bool mine[PASS_STREAMS_MAX];
  int64_t skip; /* of stream `only`: packets that another cursor delivered */
  pthread_t thread;
  bool has_thread;
};

struct demux {
  struct pass *pass;
  const struct reader_ops *ops;
  void *source;
  bool seekable;
  struct flow_node *node; /* of the first cursor */
  struct flow_queue *queues[PASS_STREAMS_MAX];
  int64_t given[PASS_STREAMS_MAX]; /* packets delivered; written by the cursor that owns the stream */
  pthread_mutex_t lock;            /* of the list */
  struct cursor *cursors;
  uint32_t cursor_count;
};

struct demux *demux_create(struct pass *pass, const struct reader_ops *ops, void *source, bool seekable) {
  struct demux *d = mem_alloc(sizeof *d);
  d->pass = pass;
  d->ops = ops;
  d->source = source;
  d->seekable = seekable;
  d->node = flow_node_add(&pass->flow, "demuxer");
  pthread_mutex_init(&d->lock, NULL);
  return d;
}

struct flow_queue *demux_connect(struct demux *d, uint32_t stream, struct flow_node *consumer, const char *name,
                                 const struct flow_limits *limits) {
  d->queues[stream] = flow_queue_add(&d->pass->flow, name, d->node, consumer, limits, d->ops->release);
  return d->queues[stream];
}

static bool has_streams(const struct cursor *c) {
  for (uint32_t i = 0; i < PASS_STREAMS_MAX; i++)
    if (c->mine[i]) return true;
  return false;
}

static bool cursor_start(struct cursor *c);

/* The stream of node->split leaves this cursor for one of its own. */
static bool split(struct cursor *c) {
  struct demux *d = c->demux;
  struct flow_queue *q = c->node->split;
  uint32_t stream = 0;
  while (stream < PASS_STREAMS_MAX && d->queues[stream] != q) stream++;
  if (stream == PASS_STREAMS_MAX || !c->mine[stream]) return false;
  struct cursor *other = mem_alloc(sizeof *other);
  other->demux = d;
  other->only = (int32_t)stream;
  other->skip = d->given[stream];
  other->mine[stream] = true;
  c->mine[stream] = false;
  c->node->can_split = false;
  for (uint32_t i = 0, n = 0; i < PASS_STREAMS_MAX; i++)
    if (c->mine[i] && n++) c->node->can_split = true;
  if (!(other->reader = d->ops->open(d->source, other->only))) {
    free(other);
    return false;
  }
  other->node = flow_node_add(&d->pass->flow, "cursor");
  flow_queue_feed(q, other->node);
  d->ops->unwanted(c->reader, stream);
  pass_log(d->pass, -1, SM_LOG_INFO, "the source is interleaved too widely: %s is read through a cursor of its own",
           q->name);
  return cursor_start(other);
}

static void stream_is_unwanted(struct cursor *c, uint32_t stream) {
  c->mine[stream] = false;
  c->demux->ops->unwanted(c->reader, stream);
}

/* false: this cursor is at its end. */
static bool deliver(struct cursor *c, const struct packet *p) {
  struct demux *d = c->demux;
  struct flow_item item = {p->payload, p->at_us, p->bytes};
  if (!c->mine[p->stream] || (c->only >= 0 && c->skip && c->skip--)) {
    d->ops->release(p->payload);
    return true;
  }
  for (;;) {
    switch (flow_push(c->node, d->queues[p->stream], item)) {
    case FLOW_PUSHED: d->given[p->stream]++; return true;
    case FLOW_REFUSED: stream_is_unwanted(c, p->stream); return has_streams(c);
    case FLOW_STOPPED: return false;
    case FLOW_SPLIT:
      if (split(c)) break;
      d->ops->release(p->payload);
      pass_fault(d->pass, FAULT_SOURCE, SM_FAIL, NULL, "the source cannot be read in two places at once");
      return false;
    }
  }
}

static void *cursor_main(void *context) {
  struct cursor *c = context;
  struct demux *d = c->demux;
  struct packet packet;
  int got = 0;
  d->pass->c->thread_for(d->pass->c, -1);
  while (has_streams(c) && (got = d->ops->next(c->reader, &packet)) > 0) {
    pass_heartbeat(d->pass);
    if (!deliver(c, &packet)) break;
  }
  for (uint32_t i = 0; i < PASS_STREAMS_MAX; i++)
    if (c->mine[i]) flow_end(d->queues[i], got < 0);
  return NULL;
}

static bool cursor_start(struct cursor *c) {
  struct demux *d = c->demux;
  pthread_mutex_lock(&d->lock);
  c->next = d->cursors;
  d->cursors = c;
  d->cursor_count++;
  c->has_thread = pthread_create(&c->thread, NULL, cursor_main, c) == 0;
  pthread_mutex_unlock(&d->lock);
  if (!c->has_thread)
    pass_fault(d->pass, FAULT_SOURCE, SM_RETRY, NULL,
               "no thread could be started to read the source: raise the limit on tasks");
  return c->has_thread;
}

bool demux_start(struct demux *d, void *reader) {
  struct cursor *c = mem_alloc(sizeof *c);
  uint32_t streams = 0;
  c->demux = d;
  c->node = d->node;
  c->reader = reader;
  c->only = -1;
  for (uint32_t i = 0; i < PASS_STREAMS_MAX; i++) {
    c->mine[i] = d->queues[i] != NULL;
    streams += c->mine[i];
  }
  c->node->can_split = d->seekable && streams > 1;
  return cursor_start(c);
}

/* Cursors may still be added while the first ones are joined; each is joined outside of the lock. */
void demux_wait(struct demux *d) {
  for (;;) {
    struct cursor *c;
    pthread_mutex_lock(&d->lock);
    for (c = d->cursors; c && !c->has_thread; c = c->next) {
    }
    if (c) c->has_thread = false;
    pthread_mutex_unlock(&d->lock);
    if (!c) return;
    pthread_join(c->thread, NULL);
  }
}

uint32_t demux_cursors(const struct demux *d) { return d->cursor_count; }

void demux_destroy(struct demux **address) {
  struct demux *d = *address;
  if (!d) return;
  while (d->cursors) {
    struct cursor *c = d->cursors;
    d->cursors = c->next;
    if (c->reader) d->ops->close(c->reader);
    free(c);
  }
  pthread_mutex_destroy(&d->lock);
  free(d);
  *address = NULL;
}
