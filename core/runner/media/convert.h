/* convert.h - frames to another size, pixel format, sample rate or layout; and the nodes that do it once for all
 * consumers that want the same. */
#pragma once
#include <libavutil/frame.h>
#include <stdbool.h>
#include <stdint.h>

struct pass;
struct outlet;

/* 0 (-1 for format): follow the input. */
struct convert_target {
  uint32_t kind; /* SM_STREAM_VIDEO, SM_STREAM_AUDIO */
  int32_t width, height, format;
  int32_t sample_rate, channels;
  uint64_t channel_mask;
};

bool convert_target_equal(const struct convert_target *a, const struct convert_target *b);
/* The format of a frame. */
struct convert_target convert_target_of(const AVFrame *frame, uint32_t kind);
/* frame is as target says, where target says something. */
bool convert_matches(const AVFrame *frame, const struct convert_target *target);

struct converter;
struct converter *converter_create(const struct convert_target *target, AVRational time_base, unsigned threads);
void converter_destroy(struct converter **c);
/* *out: a new reference (perhaps of `in` itself), or NULL when nothing is ready. 0 or an AVERROR. */
int converter_frame(struct converter *c, AVFrame *in, AVFrame **out);
/* What a resampler still holds; *out NULL: nothing more. */
int converter_flush(struct converter *c, AVFrame **out);

/* The outlet that carries `from` converted: a node of its own, shared with everybody who wants the same (times_us of a
 * picker included). sdr: tone-mapped first. Returns `from` itself when there is nothing to do. */
struct outlet *convert_outlet(struct pass *pass, struct outlet *from, const struct convert_target *target, bool sdr,
                              const int64_t *times_us, uint32_t time_count, bool *picked);
bool convert_start(struct pass *pass);
void convert_wait(struct pass *pass);
void convert_free(struct pass *pass);
