#include "encoder.h"

#include <libavutil/opt.h>
#include <stdio.h>

#include "timeline.h"

/* x264's "no keyframe of its own": every IDR frame is forced by the timeline. */
#define KEYINT_INFINITE (1 << 30)

static int set_rate(AVCodecContext *c, const struct rung *rung) {
  c->rc_max_rate = rung->maxrate;
  c->rc_buffer_size = (int)(rung->bufsize > INT32_MAX ? INT32_MAX : rung->bufsize);
  if (rung->bitrate) {
    c->bit_rate = rung->bitrate; /* never together with crf: x264 would ignore it */
    return 0;
  }
  return av_opt_set_double(c->priv_data, "crf", rung->crf, 0);
}

static int set_options(AVCodecContext *c, const struct encoder_setup *setup) {
  int err = av_opt_set(c->priv_data, "preset", setup->preset, 0);
  if (err >= 0 && setup->tune) err = av_opt_set(c->priv_data, "tune", setup->tune, 0);
  if (err >= 0) err = av_opt_set(c->priv_data, "profile", setup->profile, 0);
  if (err >= 0) err = av_opt_set_int(c->priv_data, "forced-idr", 1, 0);
  if (err >= 0) err = av_opt_set_int(c->priv_data, "sc_threshold", 0, 0);
  return err;
}

static void set_picture(AVCodecContext *c, const struct encoder_setup *setup) {
  c->width = setup->rung->width;
  c->height = setup->rung->height;
  c->pix_fmt = AV_PIX_FMT_YUV420P;
  c->sample_aspect_ratio = (AVRational){1, 1};
  c->time_base = (AVRational){1, TICKS};
  double rate = setup->frame_rate > 0.1 && setup->frame_rate < 1000 ? setup->frame_rate : 25;
  c->framerate = av_d2q(rate, 100100);
  c->color_range = (enum AVColorRange)setup->colours.range;
  c->color_primaries = (enum AVColorPrimaries)setup->colours.primaries;
  c->color_trc = (enum AVColorTransferCharacteristic)setup->colours.transfer;
  c->colorspace = (enum AVColorSpace)setup->colours.space;
  c->chroma_sample_location = (enum AVChromaLocation)setup->colours.chroma_location;
  c->gop_size = KEYINT_INFINITE;
  c->thread_count = setup->threads;
  c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
}

AVCodecContext *encoder_open(const struct encoder_setup *setup, struct fault *f) {
  const struct rung *rung = setup->rung;
  const AVCodec *x264 = avcodec_find_encoder_by_name("libx264");
  if (!x264) {
    fault_set(f, SM_FAIL, AVERROR_ENCODER_NOT_FOUND,
              "this FFmpeg has no libx264 encoder: install libavcodec with x264");
    return NULL;
  }
  AVCodecContext *c = avcodec_alloc_context3(x264);
  if (!c) {
    fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory while opening the encoder of rendition %s", rung->name);
    return NULL;
  }
  set_picture(c, setup);
  int err = set_options(c, setup);
  if (err >= 0) err = set_rate(c, rung);
  if (err >= 0) err = avcodec_open2(c, x264, NULL);
  if (err < 0) {
    fault_set(f, err == AVERROR(ENOMEM) ? SM_RETRY : SM_FAIL, err,
              "the H.264 encoder refuses rendition %s (%dx%d, preset %s, profile %s%s%s): change ladder, preset, tune "
              "or profile",
              rung->name, rung->width, rung->height, setup->preset, setup->profile, setup->tune ? ", tune " : "",
              setup->tune ? setup->tune : "");
    avcodec_free_context(&c);
  }
  return c;
}

bool encoder_codec_name(const uint8_t *data, size_t size, char out[16]) {
  for (size_t i = 0; i + 6 < size; i++) {
    if (data[i] || data[i + 1] || data[i + 2] != 1 || (data[i + 3] & 0x1f) != 7) continue;
    snprintf(out, 16, "avc1.%02x%02x%02x", data[i + 4], data[i + 5], data[i + 6]);
    return true;
  }
  return false;
}
