/* picture.c - rotation, aspect, interlacing through one libavfilter chain that exists only when needed; timestamps. */
#include "media/picture.h"

#include <libavutil/avutil.h>
#include <libavutil/mathematics.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "media/picture_graph.h"
#include "media/source.h"

struct picture_path {
  const struct source_stream *stream;
  AVRational out_base;
  unsigned threads;
  bool interlaced;
  struct picture_graph graph;
  char description[256];
  int64_t last_in;  /* source time base; AV_NOPTS_VALUE: none */
  int64_t last_out; /* out_base */
  int64_t last_length;
  int64_t gap;
};

/* The matrix turns and mirrors by multiples of 90 degrees; anything else (a sheared picture) is left alone. Row-major,
 * fixed point: x' = x*m[0] + y*m[3], y' = x*m[1] + y*m[4]. */
static void read_matrix(const int32_t *m, struct picture_shape *shape) {
  enum { SMALL = 1 << 10 };
  bool straight = abs(m[1]) < SMALL && abs(m[3]) < SMALL, turned = abs(m[0]) < SMALL && abs(m[4]) < SMALL;
  if (straight == turned) return;
  if (straight) {
    shape->mirrored = (m[0] < 0) != (m[4] < 0);
    shape->rotation = m[4] < 0 ? 180 : 0; /* a mirrored picture is mirrored left to right first */
  } else {
    shape->mirrored = (m[1] < 0) == (m[3] < 0);
    shape->rotation = (m[1] > 0) != shape->mirrored ? 90 : 270; /* mirroring first turns the turn around */
  }
}

static bool plausible(AVRational aspect) {
  return aspect.num > 0 && aspect.den > 0 && aspect.num != aspect.den && aspect.num < INT64_C(16) * aspect.den &&
         aspect.den < INT64_C(16) * aspect.num;
}

static int even(int64_t n) { return n < 2 ? 2 : n > PASS_SIDE_MAX ? PASS_SIDE_MAX : (int)(n & ~INT64_C(1)); }

struct picture_shape picture_shape(const struct source_stream *stream, int width, int height, AVRational aspect) {
  struct picture_shape shape = {0};
  int w = even(width), h = even(height);
  if (plausible(aspect)) {
    if (aspect.num > aspect.den)
      w = even(av_rescale(w, aspect.num, aspect.den) + 1);
    else
      h = even(av_rescale(h, aspect.den, aspect.num) + 1);
  }
  /* An odd last row or column is cropped for free; only a changed aspect, or a side of one pixel, needs scaling. */
  if (w != (width & ~1) || h != (height & ~1)) {
    shape.scaled_width = w;
    shape.scaled_height = h;
  }
  if (stream->has_matrix) read_matrix(stream->matrix, &shape);
  bool sideways = shape.rotation % 180 != 0;
  shape.width = sideways ? h : w;
  shape.height = sideways ? w : h;
  return shape;
}

struct picture_path *picture_path_create(const struct source_stream *stream, AVRational out_base, unsigned threads) {
  struct picture_path *p = mem_alloc(sizeof *p);
  enum AVFieldOrder order = stream->codec->field_order;
  p->stream = stream;
  p->out_base = out_base;
  p->threads = threads;
  p->interlaced = order == AV_FIELD_TT || order == AV_FIELD_BB || order == AV_FIELD_TB || order == AV_FIELD_BT;
  p->last_in = p->last_out = AV_NOPTS_VALUE;
  return p;
}

void picture_path_destroy(struct picture_path **address) {
  if (!*address) return;
  picture_graph_close(&(*address)->graph);
  free(*address);
  *address = NULL;
}

void picture_path_reset(struct picture_path *p) {
  picture_graph_close(&p->graph);
  p->last_in = p->last_out = AV_NOPTS_VALUE;
}

static void append(char *text, size_t size, const char *step) {
  size_t used = strlen(text);
  snprintf(text + used, size - used, "%s%s", used ? "," : "", step);
}

/* What has to be done to pictures like this one; "" when nothing. */
static void describe(const struct picture_path *p, const AVFrame *f, char *text, size_t size) {
  char step[96];
  AVRational aspect = f->sample_aspect_ratio.num > 0 ? f->sample_aspect_ratio : p->stream->sample_aspect;
  struct picture_shape shape = picture_shape(p->stream, f->width, f->height, aspect);
  text[0] = 0;
  if (p->interlaced && f->width >= 4 && f->height >= 4)
    append(text, size, "bwdif=mode=send_frame:parity=auto:deint=interlaced");
  if (shape.scaled_width) {
    snprintf(step, sizeof step, "scale=%d:%d:flags=bicubic,setsar=1", shape.scaled_width, shape.scaled_height);
    append(text, size, step);
  }
  if (shape.mirrored) append(text, size, "hflip");
  if (shape.rotation == 90) append(text, size, "transpose=clock");
  if (shape.rotation == 180) append(text, size, "hflip,vflip");
  if (shape.rotation == 270) append(text, size, "transpose=cclock");
}

/* ---- timestamps ---- */

static int64_t usual_length(const struct picture_path *p) {
  AVRational rate = p->stream->frame_rate;
  return rate.num > 0 && rate.den > 0 ? FFMAX(1, av_rescale_q(1, av_inv_q(rate), p->stream->time_base)) : 1;
}

/* Missing timestamps follow the frame before. */
static void stamp_in(struct picture_path *p, AVFrame *f) {
  int64_t length = f->pkt_duration > 0 ? f->pkt_duration : usual_length(p);
  f->pts = f->best_effort_timestamp != AV_NOPTS_VALUE ? f->best_effort_timestamp : f->pts;
  if (f->pts == AV_NOPTS_VALUE) f->pts = p->last_in == AV_NOPTS_VALUE ? 0 : p->last_in + length;
  f->pkt_duration = length;
  p->last_in = f->pts;
}

/* Onto the outgoing clock, never standing still or falling back. */
static void stamp_out(struct picture_path *p, AVFrame *f) {
  f->pts = av_rescale_q(f->pts, p->stream->time_base, p->out_base);
  f->pkt_duration = av_rescale_q(f->pkt_duration, p->stream->time_base, p->out_base);
  if (f->pts < 0) f->pts = 0;
  if (p->last_out != AV_NOPTS_VALUE) {
    if (f->pts <= p->last_out) f->pts = p->last_out + 1;
    p->gap = FFMAX(p->gap, f->pts - p->last_out);
  }
  p->last_out = f->pts;
  p->last_length = f->pkt_duration;
}

static bool hand_over(struct picture_path *p, AVFrame *f, picture_give *give, void *context) {
  stamp_out(p, f);
  f->sample_aspect_ratio = (AVRational){1, 1};
  f->time_base = p->out_base;
  av_frame_remove_side_data(f, AV_FRAME_DATA_DISPLAYMATRIX);
  return give(context, f);
}

/* ---- the path ---- */

static int drain(struct picture_path *p, picture_give *give, void *context) {
  AVFrame *out;
  int e;
  while (p->graph.graph && (e = picture_graph_pull(&p->graph, &out)) >= 0) {
    bool goes_on = hand_over(p, out, give, context);
    av_frame_free(&out);
    if (!goes_on) return AVERROR_EXIT;
  }
  return 0;
}

static int end_graph(struct picture_path *p, picture_give *give, void *context) {
  if (!p->graph.graph) return 0;
  int e = picture_graph_push(&p->graph, NULL);
  if (e >= 0) e = drain(p, give, context);
  picture_graph_close(&p->graph);
  return e;
}

/* An odd last column or row is given up: every consumer downstream then has even sides without scaling. */
static void crop_even(AVFrame *f) {
  if (f->width > 2) f->width &= ~1;
  if (f->height > 2) f->height &= ~1;
}

int picture_path_feed(struct picture_path *p, AVFrame *f, picture_give *give, void *context) {
  char text[sizeof p->description];
  int e = 0;
  if (!f) return end_graph(p, give, context);
  stamp_in(p, f);
  if (f->interlaced_frame) p->interlaced = true;
  crop_even(f);
  if (f->sample_aspect_ratio.num <= 0) f->sample_aspect_ratio = p->stream->sample_aspect;
  describe(p, f, text, sizeof text);
  bool same = p->graph.graph && !strcmp(text, p->description) && picture_graph_fits(&p->graph, f);
  if (!same && (e = end_graph(p, give, context)) < 0) return e;
  if (!text[0]) return hand_over(p, f, give, context) ? 0 : AVERROR_EXIT;
  if (!same) {
    snprintf(p->description, sizeof p->description, "%s", text);
    e = picture_graph_open(&p->graph, f, p->stream->time_base, text, p->threads);
  }
  if (e >= 0) e = picture_graph_push(&p->graph, f);
  return e < 0 ? e : drain(p, give, context);
}

int64_t picture_path_end_us(const struct picture_path *p) {
  if (p->last_out == AV_NOPTS_VALUE) return 0;
  return av_rescale_q(p->last_out + p->last_length, p->out_base, (AVRational){1, 1000000});
}

int64_t picture_path_gap_us(const struct picture_path *p) {
  return av_rescale_q(p->gap, p->out_base, (AVRational){1, 1000000});
}
