/* image.h - what is in an image file, for tests. */
#pragma once
#include <libavcodec/codec_id.h>
#include <libavutil/frame.h>

/* Decodes a JPEG or PNG to RGB24; fails the test when it cannot. */
AVFrame *image_load(const char *path, enum AVCodecID codec);
/* Mean of the red, green and blue of a rectangle. */
void image_mean(const AVFrame *rgb, int x, int y, int w, int h, double mean[3]);
