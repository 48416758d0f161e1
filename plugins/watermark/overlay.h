/* overlay.h - a mark made ready for one kind of frame, so that laying it on costs a multiplication and an addition for
 * every sample under it and nothing for the rest of the frame. */
#pragma once
#include <libavutil/frame.h>

#include "mark.h"
#include "place.h"

/* sample = (sample * keep + add) / one, rounded. 8-bit video counts in 256ths and 16-bit words, which every processor
 * does eight at a time; deeper video in 65536ths and 32-bit words. */
struct overlay_plane {
  int x, y, width, height; /* in samples of the plane, inside the frame */
  uint16_t *keep8, *add8;
  uint32_t *keep16, *add16;
};

struct overlay {
  /* what it was made for */
  int width, height, format;
  enum AVColorSpace space;
  enum AVColorRange range;
  enum AVColorTransferCharacteristic transfer;
  struct overlay_plane planes[3];
};

/* Planar YUV without alpha, 8 to 16 bits: what can be drawn on. Anything else the host converts first. */
bool overlay_can(int pixel_format);
bool overlay_fits(const struct overlay *overlay, const AVFrame *frame);
/* False: no memory. */
bool overlay_make(struct overlay *overlay, const AVFrame *frame, const struct mark *mark, const struct rectangle *at,
                  double opacity);
void overlay_free(struct overlay *overlay);
/* frame must be writable, and overlay_fits. */
void overlay_draw(const struct overlay *overlay, AVFrame *frame);
