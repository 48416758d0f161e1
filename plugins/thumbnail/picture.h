/* picture.h - from a decoded frame to an image file: scaled RGB first, encoded when it is wanted. */
#pragma once
#include <stdbool.h>

#include <libavutil/frame.h>
#include <stagemill/stage.h>

struct SwsContext;

struct picture_style {
  bool png;
  int quality;       /* JPEG, 1-100 */
  int width, height; /* of the image */
};

/* Fits the asked-for size (0: not asked) around a source of w x h, its aspect kept. */
void picture_size(struct picture_style *style, int asked_width, int asked_height, int w, int h);
/* A new RGB24 frame of the style's size, pts kept; NULL: no memory or an impossible format. *scaler is kept for the
 * next. */
AVFrame *picture_render(const struct picture_style *style, const AVFrame *frame, struct SwsContext **scaler);
/* Mean brightness of a rendered picture, 0-255. */
double picture_brightness(const AVFrame *rgb);
/* Encodes a rendered picture into the file `path`. */
sm_status picture_write(sm_task *task, const struct picture_style *style, const AVFrame *rgb, const char *path);
