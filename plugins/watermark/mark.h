/* mark.h - what is laid over the video: a small picture with alpha. */
#pragma once
#include <stdint.h>

#include <stagemill/stage.h>

struct mark {
  int width, height;
  float *rgba; /* 0-1, sRGB-encoded values multiplied by alpha, row by row */
};

enum { MARK_SIDE_MAX = 16384 };
#define MARK_PIXELS_MAX (32 << 20)

void mark_free(struct mark *mark);
/* From 8-bit RGBA rows whose colours are not multiplied by alpha, scaled to width x height. False: no memory. */
bool mark_scale(struct mark *mark, const uint8_t *rgba, int stride, int from_width, int from_height, int width,
                int height);

/* An image file (PNG, JPEG, WebP, BMP), read and decoded whole. The pixels are the caller's to av_free(). */
struct mark_image {
  int width, height;
  uint8_t *rgba; /* stride 4 * width */
};
sm_status mark_image_load(struct mark_image *image, sm_task *task, const char *path);
/* The same shape for a text in the given size of type and colour ("white", "#ffcc00"). font: a file. */
sm_status mark_text_render(struct mark_image *image, sm_task *task, const char *text, const char *font, int size,
                           const char *color);
/* Path of the font that ships; "" when the installation lacks it. Valid until the process ends. */
const char *mark_font_path(void);
