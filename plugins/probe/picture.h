/* picture.h - how a video stream's pictures are shown: turned by the display matrix, with square pixels. */
#pragma once
#include <stdbool.h>

#include <libavformat/avformat.h>

struct picture {
  int rotation;  /* clockwise quarter turns a player makes, in degrees: 0, 90, 180, 270 */
  double angle;  /* the matrix's own, clockwise, when it is no quarter turn */
  bool mirrored;            /* left to right, before turning */
  AVRational sample_aspect; /* 1:1 when unknown */
  int width, height;        /* shown: square pixels, turned */
};
void picture_of(AVFormatContext *format, AVStream *stream, struct picture *picture);
bool picture_is_interlaced(const AVStream *stream);
const char *picture_field_order(const AVStream *stream); /* "progressive", "tt", ...; NULL: unknown */
