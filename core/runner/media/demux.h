/* demux.h - packets from a source into one queue a stream. Begins with one cursor, a thread that reads the source from
 * its start; when the flow cannot go on because that thread is stuck with one stream while another starves (flow.h),
 * the starving stream gets a cursor of its own, which reads the source again and skips what was already delivered.
 * Knows no libav: what reads is a table of functions. */
#pragma once
#include "media/parts.h"

struct packet {
  uint32_t stream; /* index of the origin's stream */
  void *payload;
  int64_t at_us;
  size_t bytes;
};

struct reader_ops {
  /* A reader at the start of the source. only: the one stream it is for, -1: all. NULL after pass_fault. */
  void *(*open)(void *source, int32_t only);
  /* 1: a packet, 0: the end, -1: stop (pass_fault done, or the pass is stopping). Packets come in the same order from
   * every reader. */
  int (*next)(void *reader, struct packet *packet);
  void (*unwanted)(void *reader, uint32_t stream); /* nobody takes this stream any more */
  void (*close)(void *reader);
  void (*release)(void *payload);
};

struct demux;
/* seekable: several readers at once are possible. */
struct demux *demux_create(struct pass *pass, const struct reader_ops *ops, void *source, bool seekable);
/* Packets of `stream` go to this node's next input. Before demux_start. */
struct flow_queue *demux_connect(struct demux *demux, uint32_t stream, struct flow_node *consumer, const char *name,
                                 const struct flow_limits *limits);
/* reader: the first one, already open, moved (also on failure). */
bool demux_start(struct demux *demux, void *reader);
void demux_wait(struct demux *demux);
uint32_t demux_cursors(const struct demux *demux); /* after demux_wait */
void demux_destroy(struct demux **demux);
