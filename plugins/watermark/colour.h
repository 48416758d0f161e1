/* colour.h - from an sRGB colour to the sample values of a frame's colour space. */
#pragma once
#include <stdbool.h>

#include <libavutil/frame.h>

struct colour {
  double red, blue;  /* weights of the luma equation */
  bool full, pq, hlg;
  int depth;
};

void colour_of(struct colour *colour, const AVFrame *frame);
/* rgb: 0-1, sRGB-encoded. out: luma, blue difference, red difference as sample values. */
void colour_convert(const struct colour *colour, const double rgb[3], double out[3]);
