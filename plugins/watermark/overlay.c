#include "overlay.h"

#include <math.h>
#include <stdlib.h>

#include <libavutil/pixdesc.h>

#include "colour.h"

static bool component_can(const AVPixFmtDescriptor *d, int i) {
  const AVComponentDescriptor *c = &d->comp[i];
  return c->plane == i && c->offset == 0 && c->shift == 0 && c->depth >= 8 && c->depth <= 16 &&
         c->step == (c->depth > 8 ? 2 : 1) && c->depth == d->comp[0].depth;
}

bool overlay_can(int pixel_format) {
  const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)pixel_format);
  const uint64_t foreign = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                           AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_ALPHA |
                           AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_FLOAT;
  if (!d || d->nb_components != 3 || (d->flags & foreign) || !(d->flags & AV_PIX_FMT_FLAG_PLANAR)) return false;
  return component_can(d, 0) && component_can(d, 1) && component_can(d, 2);
}

bool overlay_fits(const struct overlay *o, const AVFrame *f) {
  return o->format == f->format && o->width == f->width && o->height == f->height && o->space == f->colorspace &&
         o->range == f->color_range && o->transfer == f->color_trc;
}

void overlay_free(struct overlay *o) {
  for (int i = 0; i < 3; i++) {
    struct overlay_plane *p = &o->planes[i];
    free(p->keep8), free(p->add8), free(p->keep16), free(p->add16);
  }
  *o = (struct overlay){.format = AV_PIX_FMT_NONE};
}

/* The part of the mark's rectangle inside the frame, in samples of a plane with these shifts. */
static void plane_extent(struct overlay_plane *p, const struct rectangle *at, const AVFrame *frame, int sx, int sy) {
  int right = at->x + at->width, bottom = at->y + at->height;
  int left = at->x < 0 ? 0 : at->x, top = at->y < 0 ? 0 : at->y;
  right = right > frame->width ? frame->width : right;
  bottom = bottom > frame->height ? frame->height : bottom;
  p->x = left >> sx;
  p->y = top >> sy;
  p->width = ((right + (1 << sx) - 1) >> sx) - p->x;
  p->height = ((bottom + (1 << sy) - 1) >> sy) - p->y;
}

static bool plane_alloc(struct overlay_plane *p, bool wide) {
  size_t count = (size_t)p->width * (size_t)p->height;
  if (wide) {
    p->keep16 = malloc(count * sizeof *p->keep16);
    p->add16 = malloc(count * sizeof *p->add16);
    return p->keep16 && p->add16;
  }
  p->keep8 = malloc(count * sizeof *p->keep8);
  p->add8 = malloc(count * sizeof *p->add8);
  return p->keep8 && p->add8;
}

struct values {   /* the mark in the frame's colours, multiplied by alpha */
  float *samples; /* luma, blue, red, alpha */
  const struct mark *mark;
  const struct rectangle *at;
};

static bool values_make(struct values *v, const AVFrame *frame, double opacity) {
  struct colour colour;
  size_t count = (size_t)v->mark->width * (size_t)v->mark->height;
  colour_of(&colour, frame);
  v->samples = malloc(4 * count * sizeof *v->samples);
  for (size_t i = 0; v->samples && i < count; i++) {
    const float *p = v->mark->rgba + 4 * i;
    float *to = v->samples + 4 * i;
    double alpha = p[3], rgb[3] = {0}, out[3];
    for (int k = 0; k < 3 && alpha > 0; k++) rgb[k] = fmin(1, p[k] / alpha);
    colour_convert(&colour, rgb, out);
    for (int k = 0; k < 3; k++) to[k] = (float)(out[k] * alpha * opacity);
    to[3] = (float)(alpha * opacity);
  }
  return v->samples != NULL;
}

/* Mean over the frame pixels that the plane's sample (x, y) stands for; those beside the mark count as transparent. */
static void mean_at(const struct values *v, const AVFrame *frame, int which, int x, int y, int sx, int sy,
                    double out[2]) {
  double value = 0, alpha = 0;
  int count = 0;
  for (int j = y << sy; j < (y + 1) << sy && j < frame->height; j++)
    for (int i = x << sx; i < (x + 1) << sx && i < frame->width; i++, count++) {
      int mx = i - v->at->x, my = j - v->at->y;
      if (mx < 0 || my < 0 || mx >= v->mark->width || my >= v->mark->height) continue;
      const float *p = v->samples + 4 * ((size_t)my * (size_t)v->mark->width + (size_t)mx);
      value += p[which];
      alpha += p[3];
    }
  out[0] = count ? value / count : 0;
  out[1] = count ? fmin(1, alpha / count) : 0;
}

static void plane_fill(struct overlay_plane *p, const struct values *v, const AVFrame *frame, int which, int sx, int sy,
                       double top) {
  double one = p->keep8 ? 256 : 65536;
  for (int y = 0; y < p->height; y++)
    for (int x = 0; x < p->width; x++) {
      size_t i = (size_t)y * (size_t)p->width + (size_t)x;
      double mean[2];
      mean_at(v, frame, which, p->x + x, p->y + y, sx, sy, mean);
      double alpha = round(one * mean[1]);
      /* The value keeps its share of the rounded alpha, so that what is opaque is exact and no sum leaves its range. */
      double add = fmin(round(mean[1] > 0 ? mean[0] / mean[1] * alpha : 0), alpha * top);
      if (p->keep8) p->keep8[i] = (uint16_t)(one - alpha), p->add8[i] = (uint16_t)add;
      else p->keep16[i] = (uint32_t)(one - alpha), p->add16[i] = (uint32_t)add;
    }
}

bool overlay_make(struct overlay *o, const AVFrame *frame, const struct mark *mark, const struct rectangle *at,
                  double opacity) {
  const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
  struct values values = {NULL, mark, at};
  bool good = values_make(&values, frame, opacity);
  double top = (double)((1 << d->comp[0].depth) - 1);
  overlay_free(o);
  *o = (struct overlay){frame->width,       frame->height,    frame->format, frame->colorspace,
                        frame->color_range, frame->color_trc, {{0}}};
  for (int i = 0; i < 3 && good; i++) {
    int sx = i ? d->log2_chroma_w : 0, sy = i ? d->log2_chroma_h : 0;
    plane_extent(&o->planes[i], at, frame, sx, sy);
    good = plane_alloc(&o->planes[i], d->comp[0].depth > 8);
    if (good) plane_fill(&o->planes[i], &values, frame, i, sx, sy, top);
  }
  free(values.samples);
  if (!good) overlay_free(o);
  return good;
}

/* 255 * 256 + 128 still fits into 16 bits. */
static void draw_row_8(uint8_t *restrict row, const uint16_t *restrict keep, const uint16_t *restrict add, int n) {
  for (int i = 0; i < n; i++) row[i] = (uint8_t)((uint16_t)(row[i] * keep[i] + add[i] + 128) >> 8);
}

static void draw_row_16(uint16_t *restrict row, const uint32_t *restrict keep, const uint32_t *restrict add, int n) {
  for (int i = 0; i < n; i++) row[i] = (uint16_t)((row[i] * keep[i] + add[i] + 32768) >> 16);
}

void overlay_draw(const struct overlay *o, AVFrame *frame) {
  for (int i = 0; i < 3; i++) {
    const struct overlay_plane *p = &o->planes[i];
    for (int y = 0; y < p->height; y++) {
      uint8_t *row = frame->data[i] + (ptrdiff_t)(p->y + y) * frame->linesize[i];
      size_t at = (size_t)y * (size_t)p->width;
      if (p->keep8) draw_row_8(row + p->x, p->keep8 + at, p->add8 + at, p->width);
      else draw_row_16((uint16_t *)row + p->x, p->keep16 + at, p->add16 + at, p->width);
    }
  }
}
