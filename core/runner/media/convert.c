/* convert.c - one converter: swscale for pictures, swresample for sound; references pass untouched when they fit. */
#include "media/convert.h"

#include <libavutil/channel_layout.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
#include <stagemill/media.h>

#include "base/mem.h"

struct converter {
  struct convert_target target, in; /* in: what the contexts were made for */
  AVRational time_base;
  unsigned threads;
  struct SwsContext *sws;
  int in_range, in_space;
  SwrContext *swr;
  struct convert_target made; /* audio: concrete output */
  int64_t end_pts;            /* audio, 1/rate: where the last output ended */
};

bool convert_target_equal(const struct convert_target *a, const struct convert_target *b) {
  return a->kind == b->kind && a->width == b->width && a->height == b->height && a->format == b->format &&
         a->sample_rate == b->sample_rate && a->channels == b->channels;
}

struct convert_target convert_target_of(const AVFrame *frame, uint32_t kind) {
  struct convert_target t = {.kind = kind, .format = frame->format};
  if (kind == SM_STREAM_VIDEO) {
    t.width = frame->width;
    t.height = frame->height;
  } else {
    t.sample_rate = frame->sample_rate;
    t.channels = frame->ch_layout.nb_channels;
    t.channel_mask = frame->ch_layout.order == AV_CHANNEL_ORDER_NATIVE ? frame->ch_layout.u.mask : 0;
  }
  return t;
}

bool convert_matches(const AVFrame *frame, const struct convert_target *t) {
  if (t->format >= 0 && frame->format != t->format) return false;
  if (t->kind == SM_STREAM_VIDEO)
    return (!t->width || frame->width == t->width) && (!t->height || frame->height == t->height);
  return (!t->sample_rate || frame->sample_rate == t->sample_rate) &&
         (!t->channels || frame->ch_layout.nb_channels == t->channels);
}

struct converter *converter_create(const struct convert_target *target, AVRational time_base, unsigned threads) {
  struct converter *c = mem_alloc(sizeof *c);
  c->target = *target;
  c->time_base = time_base;
  c->threads = threads;
  c->end_pts = AV_NOPTS_VALUE;
  return c;
}

void converter_destroy(struct converter **address) {
  struct converter *c = *address;
  if (!c) return;
  sws_freeContext(c->sws);
  swr_free(&c->swr);
  free(c);
  *address = NULL;
}

/* ---- pictures ---- */

/* The "J" formats are their plain namesakes in full range: the same bytes under a deprecated name. */
static int plain_format(int format) {
  switch (format) {
  case AV_PIX_FMT_YUVJ420P: return AV_PIX_FMT_YUV420P;
  case AV_PIX_FMT_YUVJ422P: return AV_PIX_FMT_YUV422P;
  case AV_PIX_FMT_YUVJ444P: return AV_PIX_FMT_YUV444P;
  case AV_PIX_FMT_YUVJ440P: return AV_PIX_FMT_YUV440P;
  case AV_PIX_FMT_YUVJ411P: return AV_PIX_FMT_YUV411P;
  default: return format;
  }
}

static bool is_full_range(const AVFrame *frame) {
  return plain_format(frame->format) != frame->format || frame->color_range == AVCOL_RANGE_JPEG;
}

static bool is_rgb(int format) {
  const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format);
  return desc && desc->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL);
}

/* The matrix for a picture that does not say: by its shorter side, as players guess. */
static int matrix_of(const AVFrame *frame) {
  if (frame->colorspace != AVCOL_SPC_UNSPECIFIED && frame->colorspace != AVCOL_SPC_RGB) return frame->colorspace;
  return FFMIN(frame->width, frame->height) >= 720 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
}

/* Nobody asked for another range or matrix, so YUV keeps both: what a stage was told in open() stays true. */
static void tag_colours(AVFrame *out, const AVFrame *in) {
  bool full =
      is_rgb(out->format) || plain_format(out->format) != out->format || (!is_rgb(in->format) && is_full_range(in));
  out->color_range = full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  if (is_rgb(out->format))
    out->colorspace = AVCOL_SPC_RGB;
  else
    out->colorspace = is_rgb(in->format) ? (enum AVColorSpace)matrix_of(in) : in->colorspace;
}

/* Only the name of the format differs. */
static bool renames(const AVFrame *in, const struct convert_target *t) {
  return t->format >= 0 && plain_format(in->format) == t->format && (!t->width || t->width == in->width) &&
         (!t->height || t->height == in->height);
}

static int sws_prepare(struct converter *c, const AVFrame *in, const AVFrame *out) {
  struct convert_target now = convert_target_of(in, SM_STREAM_VIDEO);
  int range = is_full_range(in), space = matrix_of(in);
  if (c->sws && convert_target_equal(&now, &c->in) && c->in_range == range && c->in_space == space) return 0;
  sws_freeContext(c->sws);
  c->in = now;
  c->in_range = range;
  c->in_space = space;
  if (!(c->sws = sws_alloc_context())) return AVERROR(ENOMEM);
  av_opt_set_int(c->sws, "srcw", in->width, 0);
  av_opt_set_int(c->sws, "srch", in->height, 0);
  av_opt_set_int(c->sws, "src_format", in->format, 0);
  av_opt_set_int(c->sws, "dstw", out->width, 0);
  av_opt_set_int(c->sws, "dsth", out->height, 0);
  av_opt_set_int(c->sws, "dst_format", out->format, 0);
  av_opt_set_int(c->sws, "src_range", range, 0);
  av_opt_set_int(c->sws, "dst_range", out->color_range == AVCOL_RANGE_JPEG, 0);
  av_opt_set_int(c->sws, "sws_flags", SWS_BICUBIC, 0);
  av_opt_set_int(c->sws, "threads", c->threads ? c->threads : 1, 0);
  int e = sws_init_context(c->sws, NULL, NULL);
  if (e < 0) return e;
  const int *from = sws_getCoefficients(space);
  const int *to = sws_getCoefficients(is_rgb(out->format) ? space : matrix_of(out));
  sws_setColorspaceDetails(c->sws, from, range, to, out->color_range == AVCOL_RANGE_JPEG, 0, 1 << 16, 1 << 16);
  return 0;
}

static int convert_picture(struct converter *c, AVFrame *in, AVFrame **out) {
  if (renames(in, &c->target)) {
    if (!(*out = av_frame_clone(in))) return AVERROR(ENOMEM);
    (*out)->format = c->target.format;
    (*out)->color_range = AVCOL_RANGE_JPEG;
    return 0;
  }
  AVFrame *made = av_frame_alloc();
  if (!made) return AVERROR(ENOMEM);
  int e = av_frame_copy_props(made, in);
  made->width = c->target.width ? c->target.width : in->width;
  made->height = c->target.height ? c->target.height : in->height;
  made->format = c->target.format >= 0 ? c->target.format : in->format;
  made->sample_aspect_ratio = (AVRational){1, 1};
  made->crop_left = made->crop_right = made->crop_top = made->crop_bottom = 0;
  tag_colours(made, in);
  if (e >= 0) e = av_frame_get_buffer(made, 0);
  if (e >= 0) e = sws_prepare(c, in, made);
  if (e >= 0) e = sws_scale_frame(c->sws, made, in);
  if (e >= 0)
    *out = made;
  else
    av_frame_free(&made);
  return e < 0 ? e : 0;
}

/* ---- sound ---- */

static int swr_prepare(struct converter *c, const AVFrame *in) {
  struct convert_target now = convert_target_of(in, SM_STREAM_AUDIO);
  AVChannelLayout from = {0}, to = {0};
  if (c->swr && convert_target_equal(&now, &c->in)) return 0;
  swr_free(&c->swr);
  c->in = now;
  c->made = c->target;
  if (c->made.format < 0) c->made.format = now.format;
  if (!c->made.sample_rate) c->made.sample_rate = now.sample_rate;
  if (!c->made.channels) c->made.channels = now.channels;
  if (in->ch_layout.order == AV_CHANNEL_ORDER_NATIVE)
    av_channel_layout_from_mask(&from, in->ch_layout.u.mask);
  else
    av_channel_layout_default(&from, in->ch_layout.nb_channels);
  if (c->made.channels == now.channels)
    av_channel_layout_copy(&to, &from);
  else if (c->made.channel_mask && av_popcount64(c->made.channel_mask) == c->made.channels)
    av_channel_layout_from_mask(&to, c->made.channel_mask);
  else
    av_channel_layout_default(&to, c->made.channels);
  int e = swr_alloc_set_opts2(&c->swr, &to, c->made.format, c->made.sample_rate, &from, now.format, now.sample_rate, 0,
                              NULL);
  av_channel_layout_uninit(&from);
  av_channel_layout_uninit(&to);
  return e < 0 ? e : swr_init(c->swr);
}

static AVFrame *sound_frame(struct converter *c, int samples) {
  AVFrame *made = av_frame_alloc();
  if (!made) return NULL;
  made->nb_samples = samples;
  made->format = c->made.format;
  made->sample_rate = c->made.sample_rate;
  av_opt_get_chlayout(c->swr, "ochl", 0, &made->ch_layout);
  if (!made->ch_layout.nb_channels) av_channel_layout_default(&made->ch_layout, c->made.channels);
  if (av_frame_get_buffer(made, 0) < 0) av_frame_free(&made);
  return made;
}

/* Timestamps follow the samples, and jump ahead where the input does. start: of the first sample, 1/rate. */
static void stamp_sound(struct converter *c, AVFrame *made, int64_t start) {
  AVRational rate = {1, c->made.sample_rate};
  if (c->end_pts == AV_NOPTS_VALUE || start - c->end_pts > c->made.sample_rate / 100) c->end_pts = start;
  made->pts = av_rescale_q(c->end_pts, rate, c->time_base);
  c->end_pts += made->nb_samples;
  made->pkt_duration = av_rescale_q(made->nb_samples, rate, c->time_base);
}

static int convert_sound(struct converter *c, AVFrame *in, AVFrame **out) {
  int e = swr_prepare(c, in);
  if (e < 0) return e;
  int room = swr_get_out_samples(c->swr, in->nb_samples);
  AVFrame *made = room > 0 ? sound_frame(c, room) : NULL;
  if (!made) return room > 0 ? AVERROR(ENOMEM) : 0;
  int64_t start = av_rescale_q(in->pts, c->time_base, (AVRational){1, c->made.sample_rate}) -
                  swr_get_delay(c->swr, c->made.sample_rate);
  e = swr_convert(c->swr, made->extended_data, room, (const uint8_t **)in->extended_data, in->nb_samples);
  if (e <= 0) {
    av_frame_free(&made);
    return e;
  }
  made->nb_samples = e;
  stamp_sound(c, made, start);
  *out = made;
  return 0;
}

int converter_frame(struct converter *c, AVFrame *in, AVFrame **out) {
  *out = NULL;
  if (c->target.kind == SM_STREAM_AUDIO && (c->swr || !convert_matches(in, &c->target)))
    return convert_sound(c, in, out);
  if (!convert_matches(in, &c->target)) return convert_picture(c, in, out);
  *out = av_frame_clone(in);
  return *out ? 0 : AVERROR(ENOMEM);
}

int converter_flush(struct converter *c, AVFrame **out) {
  *out = NULL;
  if (!c->swr || c->end_pts == AV_NOPTS_VALUE) return 0;
  int room = swr_get_out_samples(c->swr, 0);
  AVFrame *made = room > 0 ? sound_frame(c, room) : NULL;
  if (!made) return 0;
  int e = swr_convert(c->swr, made->extended_data, room, NULL, 0);
  if (e <= 0) {
    av_frame_free(&made);
    return e;
  }
  made->nb_samples = e;
  stamp_sound(c, made, c->end_pts);
  *out = made;
  return 0;
}
