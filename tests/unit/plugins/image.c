#include "image.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <libswscale/swscale.h>

static AVPacket *whole_file(const char *path) {
  AVPacket *packet = av_packet_alloc();
  FILE *file = fopen(path, "rb");
  if (!file) fail_msg("%s is not there", path);
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  assert_int_equal(av_new_packet(packet, (int)size), 0);
  assert_int_equal(fread(packet->data, 1, (size_t)size, file), size);
  fclose(file);
  return packet;
}

static AVFrame *to_rgb(AVFrame *from) {
  AVFrame *rgb = av_frame_alloc();
  rgb->width = from->width, rgb->height = from->height, rgb->format = AV_PIX_FMT_RGB24;
  assert_int_equal(av_frame_get_buffer(rgb, 0), 0);
  struct SwsContext *s = sws_getContext(from->width, from->height, (enum AVPixelFormat)from->format, rgb->width,
                                        rgb->height, AV_PIX_FMT_RGB24, SWS_POINT | SWS_ACCURATE_RND, NULL, NULL, NULL);
  sws_scale(s, (const uint8_t *const *)from->data, from->linesize, 0, from->height, rgb->data, rgb->linesize);
  sws_freeContext(s);
  return rgb;
}

AVFrame *image_load(const char *path, enum AVCodecID id) {
  AVCodecContext *c = avcodec_alloc_context3(avcodec_find_decoder(id));
  AVPacket *packet = whole_file(path);
  AVFrame *frame = av_frame_alloc();
  assert_int_equal(avcodec_open2(c, NULL, NULL), 0);
  if (avcodec_send_packet(c, packet) < 0) fail_msg("%s does not decode", path);
  avcodec_send_packet(c, NULL);
  if (avcodec_receive_frame(c, frame) < 0) fail_msg("%s does not decode", path);
  AVFrame *rgb = to_rgb(frame);
  av_frame_free(&frame);
  av_packet_free(&packet);
  avcodec_free_context(&c);
  return rgb;
}

void image_mean(const AVFrame *rgb, int x, int y, int w, int h, double mean[3]) {
  double sum[3] = {0};
  for (int j = y; j < y + h; j++)
    for (int i = x; i < x + w; i++)
      for (int k = 0; k < 3; k++) sum[k] += rgb->data[0][j * rgb->linesize[0] + i * 3 + k];
  for (int k = 0; k < 3; k++) mean[k] = sum[k] / (w * h);
}
