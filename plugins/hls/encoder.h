/* encoder.h - one H.264 encoder, set up so that IDR frames stand where the timeline says and nowhere else. */
#pragma once
#include <libavcodec/avcodec.h>
#include <stddef.h>

#include "fault.h"
#include "ladder.h"

/* How the picture is to be read; libav's enum values. */
struct colours {
  int range, primaries, transfer, space, chroma_location;
};

struct encoder_setup {
  const struct rung *rung;
  const char *preset, *tune, *profile; /* tune NULL: none */
  struct colours colours;
  double frame_rate; /* nominal, for rate control and level; 0: unknown */
  int threads;       /* 0: the encoder decides */
};

/* NULL with *f set. Time base 1/90000, pixel format yuv420p, headers also in extradata. */
AVCodecContext *encoder_open(const struct encoder_setup *setup, struct fault *f);

/* RFC 6381 name from the bytes of the first SPS, "avc1.640028". False: no SPS there. */
bool encoder_codec_name(const uint8_t *extradata, size_t size, char out[16]);
