/* rendition.h - one rung at work: scale, encode, cut into segments. Every call but the [any thread] ones comes from the
 * lane that owns it. */
#pragma once
#include <libavcodec/avcodec.h>
#include <stdbool.h>

#include "encoder.h"
#include "fault.h"
#include "ladder.h"
#include "mp4.h"
#include "segmenter.h"

struct rendition {
  struct rung rung;
  AVCodecContext *encoder; /* NULL: audio alone */
  struct SwsContext *scaler;
  AVFrame *scaled; /* reused; what the next smaller rendition may scale from */
  AVPacket *packet;
  struct segmenter *segmenter;
  struct mp4 *mp4; /* NULL: none */
  int64_t reached; /* [any thread, atomic] ticks encoded so far */
  size_t declared; /* segments the stage has told the host about */
};

/* Opens encoder (unless `encoder` is NULL: audio alone) and segmenter. */
sm_status rendition_open(struct rendition *r, const struct encoder_setup *encoder, struct segmenter_setup *segments,
                         struct fault *f);
void rendition_close(struct rendition *r);

/* Encodes a picture at pts (ticks). *best: in, what a larger rendition scaled the source to, or the source itself; out,
 * what a smaller one had better scale from. */
sm_status rendition_picture(struct rendition *r, const AVFrame *source, const AVFrame **best, int64_t pts, bool key,
                            struct fault *f);
/* The packet stays the caller's. */
sm_status rendition_sound(struct rendition *r, const AVPacket *packet, struct fault *f);
sm_status rendition_end(struct rendition *r, int64_t end, struct fault *f);

int64_t rendition_reached(const struct rendition *r); /* [any thread] */
