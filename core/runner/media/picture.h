/* picture.h - decoded pictures as stages expect them: upright, square pixels, even sides, progressive, rising
 * timestamps. A picture that is all that already passes by reference. */
#pragma once
#include <libavutil/frame.h>
#include <stdbool.h>
#include <stdint.h>

struct source_stream;

struct picture_shape {             /* what becomes of a coded size */
  int width, height;               /* delivered */
  int scaled_width, scaled_height; /* before turning; 0: no scaling */
  int rotation;                    /* 0, 90, 180, 270 degrees clockwise */
  bool mirrored;
};
struct picture_shape picture_shape(const struct source_stream *stream, int width, int height, AVRational aspect);

struct picture_path;
/* out_base: of the frames delivered. */
struct picture_path *picture_path_create(const struct source_stream *stream, AVRational out_base, unsigned threads);
void picture_path_destroy(struct picture_path **path);
/* Frame in (owned by the caller; NULL: the stream has ended); give() is called with each picture that is ready, which
 * it borrows, and answers whether to go on. 0, AVERROR_EXIT when it said no, another AVERROR. */
typedef bool picture_give(void *context, AVFrame *picture);
int picture_path_feed(struct picture_path *path, AVFrame *frame, picture_give *give, void *context);
/* Forgets timestamps and held pictures (after a seek). */
void picture_path_reset(struct picture_path *path);
/* Where the last delivered picture ends, and the longest time between two of them. */
int64_t picture_path_end_us(const struct picture_path *path);
int64_t picture_path_gap_us(const struct picture_path *path);
