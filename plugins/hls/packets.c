#include "packets.h"

#include <libavutil/error.h>
#include <libavutil/mem.h>

static int grow(struct packets *q) {
  size_t room = q->room ? q->room * 2 : 64;
  AVPacket **ring = av_calloc(room, sizeof *ring);
  if (!ring) return AVERROR(ENOMEM);
  for (size_t i = 0; i < q->count; i++) ring[i] = q->ring[(q->first + i) % q->room];
  av_free(q->ring);
  q->ring = ring;
  q->room = room;
  q->first = 0;
  return 0;
}

int packets_put(struct packets *q, AVPacket *packet) {
  if (q->count == q->room && grow(q) < 0) return AVERROR(ENOMEM);
  AVPacket *own = av_packet_alloc();
  if (!own) return AVERROR(ENOMEM);
  av_packet_move_ref(own, packet);
  q->ring[(q->first + q->count++) % q->room] = own;
  q->bytes += (size_t)own->size;
  return 0;
}

AVPacket *packets_take(struct packets *q) {
  if (!q->count) return NULL;
  AVPacket *oldest = q->ring[q->first];
  q->first = (q->first + 1) % q->room;
  q->count--;
  q->bytes -= (size_t)oldest->size;
  return oldest;
}

const AVPacket *packets_head(const struct packets *q) { return q->count ? q->ring[q->first] : NULL; }

void packets_clear(struct packets *q) {
  for (AVPacket *p; (p = packets_take(q));) av_packet_free(&p);
  av_freep(&q->ring);
  q->room = 0;
}
