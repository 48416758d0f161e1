/* ladder.h - which renditions a source is turned into: names, sizes and rates. Pure arithmetic. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LADDER_MAX 16
#define LADDER_NAME 32

/* What the operator asks of one rendition. Zero (or an empty name) leaves the choice to the ladder. */
struct rung_wish {
  char name[LADDER_NAME];
  int width, height;                 /* a box the picture is fitted into; one of them alone bounds that side only */
  bool by_short_edge;                /* `1080p`: height is the short edge, whatever the orientation */
  int64_t bitrate, maxrate, bufsize; /* bit/s, bit/s, bits */
  double crf;                        /* below 0: the stage's own */
};

/* One rendition as it will be encoded. */
struct rung {
  char name[LADDER_NAME];
  int width, height; /* even, at least 2; 0 for audio alone */
  int64_t bitrate;   /* average wanted; 0: constant quality */
  int64_t maxrate, bufsize;
  double crf;
};

/* The source's picture as the host delivers it: rotation applied, square pixels. */
struct ladder_source {
  int width, height;
  double frame_rate; /* 0: unknown */
};

struct ladder_choice {
  bool automatic;
  bool upscale; /* wishes larger than the source are made all the same */
  double crf;   /* for rungs without one of their own */
  const struct rung_wish *wishes;
  size_t wish_count;
};

/* Fills rungs (room for LADDER_MAX) in the operator's order, largest first when automatic, and returns how many, at
 * least one. Without `upscale` no rung exceeds the source: of the wishes that would, the smallest is made at the
 * source's size and the rest are dropped. */
size_t ladder_build(const struct ladder_choice *choice, const struct ladder_source *source,
                    struct rung rungs[LADDER_MAX]);

/* The cap of a rung of this size when the operator gives none, in bit/s. */
int64_t ladder_default_maxrate(int width, int height, double frame_rate);
