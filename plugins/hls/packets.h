/* packets.h - a first-in first-out list of packets owned by one thread. */
#pragma once
#include <libavcodec/packet.h>
#include <stddef.h>

struct packets {
  AVPacket **ring;
  size_t room, first, count, bytes;
};

/* Moves the packet's reference in; the caller's packet is blank afterwards. Negative: out of memory. */
int packets_put(struct packets *q, AVPacket *packet);
/* The oldest packet, now the caller's; NULL when empty. */
AVPacket *packets_take(struct packets *q);
const AVPacket *packets_head(const struct packets *q);
static inline size_t packets_count(const struct packets *q) { return q->count; }
static inline size_t packets_bytes(const struct packets *q) { return q->bytes; }
void packets_clear(struct packets *q);
