/* image.c - reads an image file: bounded, one decoder, one thread, nothing else opened. */
#include "mark.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>

enum { FILE_BYTES_MAX = 64 << 20 };

static enum AVCodecID codec_of(const uint8_t *d, int size) {
  if (size < 16) return AV_CODEC_ID_NONE;
  if (memcmp(d, "\x89PNG\r\n\x1a\n", 8) == 0) return AV_CODEC_ID_PNG;
  if (memcmp(d, "\xff\xd8\xff", 3) == 0) return AV_CODEC_ID_MJPEG;
  if (memcmp(d, "RIFF", 4) == 0 && memcmp(d + 8, "WEBP", 4) == 0) return AV_CODEC_ID_WEBP;
  if (memcmp(d, "BM", 2) == 0) return AV_CODEC_ID_BMP;
  return AV_CODEC_ID_NONE;
}

static bool read_all(int fd, uint8_t *to, int size) {
  int done = 0;
  while (done < size) {
    ssize_t n = read(fd, to + done, (size_t)(size - done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += (int)n;
  }
  return true;
}

static sm_status file_read(sm_task *task, const char *path, AVPacket *packet) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  sm_status status = SM_OK;
  if (fd < 0 || fstat(fd, &st) != 0)
    status = sm_fail(task, SM_FAIL, path, "watermark image '%s' cannot be opened: %s", path, strerror(errno));
  else if (!S_ISREG(st.st_mode) || st.st_size == 0)
    status =
      sm_fail(task, SM_FAIL, path, "watermark image '%s' is empty or no file: give a PNG, JPEG, WebP or BMP", path);
  else if (st.st_size > FILE_BYTES_MAX)
    status = sm_fail(task, SM_FAIL, path, "watermark image '%s' is larger than %d MiB: make it smaller", path,
                     FILE_BYTES_MAX >> 20);
  else if (av_new_packet(packet, (int)st.st_size) < 0)
    status = sm_fail(task, SM_RETRY, NULL, "no memory was left for the watermark image");
  else if (!read_all(fd, packet->data, packet->size))
    status = sm_fail(task, SM_RETRY, path, "watermark image '%s' cannot be read: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return status;
}

static int decode(const AVPacket *packet, AVFrame *frame) {
  const AVCodec *codec = avcodec_find_decoder(codec_of(packet->data, packet->size));
  AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
  if (!c) return AVERROR_DECODER_NOT_FOUND;
  c->thread_count = 1;
  c->max_pixels = MARK_PIXELS_MAX;
  c->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE; /* half a logo is no logo */
  int rc = avcodec_open2(c, codec, NULL);
  if (rc >= 0) rc = avcodec_send_packet(c, packet);
  if (rc >= 0) rc = avcodec_send_packet(c, NULL);
  if (rc >= 0) rc = avcodec_receive_frame(c, frame);
  avcodec_free_context(&c);
  if (rc >= 0 && (frame->width > MARK_SIDE_MAX || frame->height > MARK_SIDE_MAX || frame->decode_error_flags))
    rc = AVERROR_INVALIDDATA;
  return rc;
}

static bool to_rgba(const AVFrame *frame, struct mark_image *image) {
  struct SwsContext *s =
    sws_getContext(frame->width, frame->height, (enum AVPixelFormat)frame->format, frame->width, frame->height,
                   AV_PIX_FMT_RGBA, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
  uint8_t *planes[4] = {NULL};
  int strides[4] = {4 * frame->width};
  image->width = frame->width;
  image->height = frame->height;
  image->rgba = s ? av_malloc((size_t)strides[0] * (size_t)frame->height + 64) : NULL;
  planes[0] = image->rgba;
  if (image->rgba)
    sws_scale(s, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, planes, strides);
  sws_freeContext(s);
  return image->rgba != NULL;
}

sm_status mark_image_load(struct mark_image *image, sm_task *task, const char *path) {
  AVPacket *packet = av_packet_alloc();
  AVFrame *frame = av_frame_alloc();
  char debug[AV_ERROR_MAX_STRING_SIZE] = "";
  *image = (struct mark_image){0};
  sm_status status = packet && frame ? file_read(task, path, packet) : SM_RETRY;
  int rc = status == SM_OK ? decode(packet, frame) : 0;
  if (rc < 0) {
    av_strerror(rc, debug, sizeof debug);
    status = sm_fail(task, SM_FAIL, debug,
                     "watermark image '%s' is no whole PNG, JPEG, WebP or BMP picture: give another", path);
  }
  if (status == SM_OK && !to_rgba(frame, image))
    status = sm_fail(task, SM_RETRY, NULL, "no memory was left for the watermark image");
  av_frame_free(&frame);
  av_packet_free(&packet);
  return status;
}
