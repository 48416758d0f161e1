/* segmenter.h - the packets of one rendition become segment files: one muxer that lives as long as the rendition (its
 * MPEG-TS continuity counters run on), a new file at each IDR frame on a segment boundary, audio in the segment its
 * timestamp lies in.
 *
 * A pass offers sound and picture without holes, so the segmenter waits for both when it has both. */
#pragma once
#include <libavcodec/avcodec.h>
#include <pthread.h>
#include <stdbool.h>

#include "fault.h"
#include "names.h"

struct segment {
  int64_t start, end; /* ticks on the pass's clock; end is known when the segment is complete */
  uint64_t bytes;
};

struct segmenter_setup {
  const char *folder;                     /* absolute, with its slash: where files go */
  const char *pattern, *name, *rendition; /* names.h */
  bool fmp4;
  const AVCodecContext *video, *audio; /* either may be NULL, not both; read during open only */
  int64_t segment;                     /* ticks, a whole number of GOPs */
  int64_t near;                        /* tolerance at boundaries, ticks */
};

struct segmenter;

struct segmenter *segmenter_open(const struct segmenter_setup *setup, struct fault *f);
void segmenter_close(struct segmenter **s);

/* Takes the packet's reference. Video in the encoder's time base 1/90000, audio in 1/sample_rate. */
sm_status segmenter_video(struct segmenter *s, AVPacket *packet, struct fault *f);
sm_status segmenter_audio(struct segmenter *s, AVPacket *packet, struct fault *f);

/* No more packets: everything held is written and the last segment ends at `end` ticks. */
sm_status segmenter_end(struct segmenter *s, int64_t end, struct fault *f);

/* [any thread] How many segments are complete, and one of them. */
size_t segmenter_count(struct segmenter *s);
struct segment segmenter_get(struct segmenter *s, size_t index);
