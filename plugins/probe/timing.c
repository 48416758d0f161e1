#include "timing.h"

#include <stdlib.h>

enum { STEPS_MAX = 1200, BYTES_MAX = 64 << 20, TAIL = 32 /* reordering reaches less far */ };
enum { SPACING_LIMIT_US = 3 * 1000 * 1000, DURATION_LIMIT_US = 10 * 1000 * 1000 };

const char *duration_method_word(enum duration_method method) {
  static const char *const words[] = {"", "unknown", "header", "timestamps", "scan"};
  return words[method];
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int64_t median(int64_t *values, int count) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  return values[count / 2];
}

static enum spacing judge(const int64_t *times, int count, AVRational base) {
  int64_t steps[STEPS_MAX], sorted[STEPS_MAX];
  int uneven = 0, n = 0;
  for (int i = 1; i < count; i++) {
    int64_t step;
    if (__builtin_sub_overflow(times[i], times[i - 1], &step)) return SPACING_UNKNOWN;
    if (step > 0) steps[n++] = step; /* fields and damaged files repeat a time */
  }
  if (n < 2) return SPACING_UNKNOWN;
  for (int i = 0; i < n; i++) sorted[i] = steps[i];
  double middle = (double)median(sorted, n), tick_s = av_q2d(base);
  for (int i = 0; i < n; i++) {
    double off = steps[i] > middle ? (double)steps[i] - middle : middle - (double)steps[i];
    uneven += off > 0.02 * middle && off > 1.5 && off * tick_s > 0.001;
  }
  return uneven * 100 > n ? SPACING_UNEVEN : SPACING_EVEN;
}

struct times {
  int64_t shown[STEPS_MAX], decoded[STEPS_MAX];
  int count, shown_count, decoded_count;
};

static int read_times(struct source *s, int video, AVPacket *packet, struct times *t) {
  int64_t bytes = 0;
  int rc = 0;
  while (t->count < STEPS_MAX && bytes < BYTES_MAX && (rc = av_read_frame(s->format, packet)) >= 0) {
    bool ours = packet->stream_index == video;
    if (ours && packet->pts != AV_NOPTS_VALUE) t->shown[t->shown_count++] = packet->pts;
    if (ours && packet->dts != AV_NOPTS_VALUE) t->decoded[t->decoded_count++] = packet->dts;
    t->count += ours;
    bytes += packet->size;
    av_packet_unref(packet);
  }
  return rc;
}

static void spacing_measure(struct source *s, int video, AVPacket *packet, struct timing *timing) {
  struct times t = {.count = 0};
  source_allow(s, SPACING_LIMIT_US);
  int rc = read_times(s, video, packet, &t);
  bool all_shown = t.shown_count == t.count; /* MPEG program streams leave out some: then decoding times tell */
  int64_t *times = all_shown ? t.shown : t.decoded;
  int count = all_shown ? t.shown_count : t.decoded_count;
  timing->packets = t.count;
  qsort(times, (size_t)count, sizeof *times, by_value);
  if (rc >= 0 && count > 2 * TAIL) count -= TAIL; /* stopped in mid-stream: the last ones may still miss neighbours */
  timing->spacing = judge(times, count, s->format->streams[video]->time_base);
}

/* Ends of packets, up to the end of the file. False when time ran out before. */
static bool scan_to_end(struct source *s, AVPacket *packet, int64_t start_us, int64_t *end_us) {
  int rc;
  source_allow(s, DURATION_LIMIT_US);
  while ((rc = av_read_frame(s->format, packet)) >= 0 && !source_stopped(s)) {
    int64_t at = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (at != AV_NOPTS_VALUE) {
      int64_t end = at + (packet->duration > 0 ? packet->duration : 0);
      int64_t us = av_rescale_q(end, s->format->streams[packet->stream_index]->time_base, AV_TIME_BASE_Q) - start_us;
      if (us > *end_us) *end_us = us;
    }
    av_packet_unref(packet);
  }
  av_packet_unref(packet);
  return rc == AVERROR_EOF && !source_stopped(s);
}

static void duration_measure(struct source *s, AVPacket *packet, struct timing *timing) {
  const AVFormatContext *f = s->format;
  int64_t end_us = 0, start_us = f->start_time != AV_NOPTS_VALUE ? f->start_time : 0;
  bool known = f->duration != AV_NOPTS_VALUE && f->duration > 0;
  timing->duration_us = known ? f->duration : -1;
  timing->method = !known                                                     ? DURATION_UNKNOWN
                   : f->duration_estimation_method == AVFMT_DURATION_FROM_PTS ? DURATION_TIMESTAMPS
                                                                              : DURATION_HEADER;
  if (known && f->duration_estimation_method != AVFMT_DURATION_FROM_BITRATE) return;
  for (unsigned i = 0; i < f->nb_streams; i++) f->streams[i]->discard = AVDISCARD_DEFAULT;
  if (av_seek_frame(s->format, -1, start_us, AVSEEK_FLAG_BACKWARD) < 0)
    avformat_seek_file(s->format, -1, INT64_MIN, 0, 0, AVSEEK_FLAG_BYTE);
  if (scan_to_end(s, packet, start_us, &end_us) && end_us > 0) {
    timing->duration_us = end_us;
    timing->method = DURATION_SCAN;
  } else if (known) { /* too long to read: libavformat's guess would be wrong by any factor */
    timing->duration_us = -1;
    timing->method = DURATION_UNKNOWN;
  }
}

void timing_measure(struct source *s, int video, struct timing *timing) {
  AVPacket *packet = av_packet_alloc();
  *timing = (struct timing){.spacing = SPACING_UNKNOWN, .duration_us = -1, .method = DURATION_UNKNOWN};
  if (!packet) return;
  if (video >= 0) {
    for (unsigned i = 0; i < s->format->nb_streams; i++)
      s->format->streams[i]->discard = (int)i == video ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    spacing_measure(s, video, packet, timing);
  }
  if (!s->cancelled) duration_measure(s, packet, timing);
  av_packet_free(&packet);
}
