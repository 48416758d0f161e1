/* synthetic.h - an origin without media files: a script of frames in "file order", read by the real demuxer threads,
 * passed on by pretend decoders. */
#pragma once
#include "harness.h"
#include "media/demux.h"

struct script_item {
  uint32_t stream;
  int64_t at_us;
};

struct synthetic {
  struct origin origin;
  struct pass *pass;
  struct script_item *items;
  uint32_t count, room;
  bool seekable;
  uint32_t delay[4]; /* decoder of stream i gives frames out this much later */
  struct demux *demux;
  struct flow_node *nodes[4];
  pthread_t threads[4];
  bool has_thread[4];
  _Atomic uint64_t decoded;
  uint32_t cursors, readers;
  uint32_t peak[4]; /* most packets a queue held */
  struct flow_queue *queues[4];
};

/* Stream 0 is video (25 fps, 32x16), the others audio (1024 samples at 48 kHz). */
void synthetic_init(struct synthetic *s, uint32_t streams, bool seekable);
void synthetic_add(struct synthetic *s, uint32_t stream, int64_t at_us);
/* Interleaved properly: video and audio (stream 1, between the two times) for `seconds`. */
void synthetic_fill(struct synthetic *s, int seconds, int64_t audio_from_us, int64_t audio_to_us);
void synthetic_free(struct synthetic *s);
