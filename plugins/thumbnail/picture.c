#include "picture.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

enum { SIDE_MAX = 16384 };

static int clamp_side(double side) { return side < 1 ? 1 : side > SIDE_MAX ? SIDE_MAX : (int)lround(side); }

void picture_size(struct picture_style *style, int asked_width, int asked_height, int w, int h) {
  double scale = 1;
  if (asked_width && asked_height) scale = fmin((double)asked_width / w, (double)asked_height / h);
  else if (asked_width) scale = (double)asked_width / w;
  else if (asked_height) scale = (double)asked_height / h;
  style->width = clamp_side(w * scale);
  style->height = clamp_side(h * scale);
}

static AVFrame *new_frame(int width, int height, enum AVPixelFormat format) {
  AVFrame *frame = av_frame_alloc();
  if (!frame) return NULL;
  frame->width = width;
  frame->height = height;
  frame->format = format;
  if (av_frame_get_buffer(frame, 0) < 0) av_frame_free(&frame);
  return frame;
}

/* Untagged video is BT.709 from 720 lines on, as players assume. */
static int matrix_of(const AVFrame *frame) {
  switch (frame->colorspace) {
  case AVCOL_SPC_UNSPECIFIED: return frame->height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
  case AVCOL_SPC_BT709: return SWS_CS_ITU709;
  case AVCOL_SPC_BT2020_NCL:
  case AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020;
  case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M;
  case AVCOL_SPC_FCC: return SWS_CS_FCC;
  default: return SWS_CS_ITU601;
  }
}

/* The old full-range formats are the ordinary ones with another range. */
static enum AVPixelFormat plain_format(enum AVPixelFormat format, bool *full) {
  switch (format) {
  case AV_PIX_FMT_YUVJ420P: return *full = true, AV_PIX_FMT_YUV420P;
  case AV_PIX_FMT_YUVJ422P: return *full = true, AV_PIX_FMT_YUV422P;
  case AV_PIX_FMT_YUVJ444P: return *full = true, AV_PIX_FMT_YUV444P;
  case AV_PIX_FMT_YUVJ440P: return *full = true, AV_PIX_FMT_YUV440P;
  default: return format;
  }
}

AVFrame *picture_render(const struct picture_style *style, const AVFrame *frame, struct SwsContext **scaler) {
  bool full = frame->color_range == AVCOL_RANGE_JPEG;
  enum AVPixelFormat format = plain_format((enum AVPixelFormat)frame->format, &full);
  const int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
  *scaler = sws_getCachedContext(*scaler, frame->width, frame->height, format, style->width, style->height,
                                 AV_PIX_FMT_RGB24, flags, NULL, NULL, NULL);
  AVFrame *rgb = *scaler ? new_frame(style->width, style->height, AV_PIX_FMT_RGB24) : NULL;
  if (!rgb) return NULL;
  sws_setColorspaceDetails(*scaler, sws_getCoefficients(matrix_of(frame)), full, sws_getCoefficients(SWS_CS_DEFAULT), 1,
                           0, 1 << 16, 1 << 16);
  sws_scale(*scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, rgb->data, rgb->linesize);
  rgb->pts = frame->pts;
  return rgb;
}

double picture_brightness(const AVFrame *rgb) {
  uint64_t sum = 0, count = 0;
  for (int y = 0; y < rgb->height; y += 2) {
    const uint8_t *row = rgb->data[0] + (ptrdiff_t)y * rgb->linesize[0];
    for (int x = 0; x < rgb->width * 3; x += 3, count += 4) sum += row[x] + 2u * row[x + 1] + row[x + 2];
  }
  return (double)sum / (double)count;
}

/* JFIF pictures are BT.601 with full range. */
static AVFrame *as_jpeg_input(const AVFrame *rgb) {
  struct SwsContext *scaler =
    sws_getContext(rgb->width, rgb->height, AV_PIX_FMT_RGB24, rgb->width, rgb->height, AV_PIX_FMT_YUV420P,
                   SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP, NULL, NULL, NULL);
  AVFrame *yuv = scaler ? new_frame(rgb->width, rgb->height, AV_PIX_FMT_YUV420P) : NULL;
  if (yuv) {
    const int *table = sws_getCoefficients(SWS_CS_ITU601);
    sws_setColorspaceDetails(scaler, table, 1, table, 1, 0, 1 << 16, 1 << 16);
    sws_scale(scaler, (const uint8_t *const *)rgb->data, rgb->linesize, 0, rgb->height, yuv->data, yuv->linesize);
    yuv->format = AV_PIX_FMT_YUVJ420P;
    yuv->color_range = AVCOL_RANGE_JPEG;
    yuv->colorspace = AVCOL_SPC_BT470BG;
  }
  sws_freeContext(scaler);
  return yuv;
}

/* 100 is the encoder's best, 80 about what cameras use; the scale of the eye is not linear in the quantiser. */
static int quantiser(int quality) {
  return FF_QP2LAMBDA + (int)(30 * FF_QP2LAMBDA * pow((100 - quality) / 100.0, 1.5));
}

static AVCodecContext *encoder_open(const struct picture_style *style, const AVFrame *frame) {
  const AVCodec *codec = avcodec_find_encoder(style->png ? AV_CODEC_ID_PNG : AV_CODEC_ID_MJPEG);
  AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
  if (!c) return NULL;
  c->width = frame->width;
  c->height = frame->height;
  c->pix_fmt = (enum AVPixelFormat)frame->format;
  c->color_range = AVCOL_RANGE_JPEG;
  c->colorspace = frame->colorspace;
  c->time_base = (AVRational){1, 25};
  c->thread_count = 1;
  if (!style->png) {
    c->flags |= AV_CODEC_FLAG_QSCALE;
    c->global_quality = quantiser(style->quality);
    c->qmin = 1;
  }
  if (avcodec_open2(c, codec, NULL) < 0) avcodec_free_context(&c);
  return c;
}

static int encode(const struct picture_style *style, AVFrame *frame, AVPacket *packet) {
  AVCodecContext *c = encoder_open(style, frame);
  if (!c) return AVERROR_ENCODER_NOT_FOUND;
  frame->quality = c->global_quality;
  int rc = avcodec_send_frame(c, frame);
  if (rc >= 0) rc = avcodec_send_frame(c, NULL);
  if (rc >= 0) rc = avcodec_receive_packet(c, packet);
  avcodec_free_context(&c);
  return rc;
}

static sm_status save(sm_task *task, const AVPacket *packet, const char *path) {
  FILE *file = fopen(path, "wb");
  bool good = file && fwrite(packet->data, 1, (size_t)packet->size, file) == (size_t)packet->size;
  if (file && fclose(file) != 0) good = false;
  if (good) return SM_OK;
  return sm_fail(task, SM_RETRY, path, "the picture could not be written: %s", strerror(errno));
}

sm_status picture_write(sm_task *task, const struct picture_style *style, const AVFrame *rgb, const char *path) {
  AVFrame *frame = style->png ? av_frame_clone(rgb) : as_jpeg_input(rgb);
  AVPacket *packet = av_packet_alloc();
  sm_status status = SM_OK;
  if (!path) status = sm_fail(task, SM_FAIL, strerror(errno), "the picture has no place to be written to");
  else if (!frame || !packet) status = sm_fail(task, SM_RETRY, NULL, "no memory was left for a picture");
  else if (encode(style, frame, packet) < 0)
    status =
      sm_fail(task, SM_FAIL, NULL, "a picture of %dx%d could not be encoded as %s: choose another size or format",
              rgb->width, rgb->height, style->png ? "PNG" : "JPEG");
  else status = save(task, packet, path);
  av_packet_free(&packet);
  av_frame_free(&frame);
  return status;
}
