/* duration.c - how long the source is, how that is known, and whether it kept its promise. */
#include <libavutil/mathematics.h>
#include <string.h>

#include "media/source.h"

enum { SLACK_US = 1000000, SLACK_PERCENT = 2 };

static const AVRational microseconds = {1, 1000000};

/* Reads all packets, decodes none. */
static int64_t scan(struct source *s) {
  int error;
  AVPacket *p;
  uint32_t stream;
  int64_t at_us, end_us = 0;
  struct reader *r = reader_create(s, &error);
  if (!r) return 0;
  while (reader_next(r, &p, &stream, &at_us) > 0) {
    int64_t length_us = av_rescale_q(p->duration, s->streams[stream].time_base, microseconds);
    if (at_us + length_us > end_us) end_us = at_us + length_us;
    av_packet_free(&p);
    s->c->page->heartbeat++;
  }
  reader_destroy(&r);
  return end_us;
}

static int64_t start_us(const struct source *s) { return av_rescale_q(s->start, s->start_base, microseconds); }

/* On the pass's clock. Matroska states when it ends, others how long they are. */
static int64_t on_clock(const struct source *s, const AVFormatContext *ic) {
  int64_t shift_us = 0;
  if (!strncmp(ic->iformat->name, "matroska", 8))
    shift_us = start_us(s);
  else if (ic->start_time != AV_NOPTS_VALUE)
    shift_us = start_us(s) - ic->start_time;
  return shift_us > 0 && ic->duration > shift_us ? ic->duration - shift_us : ic->duration;
}

/* What is at the tail says nothing about the length when the timestamps jumped in between: too few bytes for so long.
 */
static bool tail_is_plausible(const struct source *s, int64_t duration_us) {
  int64_t least = s->origin.streams[0].desc.kind == SM_STREAM_VIDEO ? 100000 : 6000; /* bit/s */
  return s->input.size < 0 || (double)s->input.size * 8e6 / (double)duration_us >= (double)least;
}

void duration_find(struct source *s) {
  const AVFormatContext *ic = reader_format(s->first);
  sm_source *info = &s->origin.info;
  bool header = ic->duration > 0 && ic->duration_estimation_method == AVFMT_DURATION_FROM_STREAM;
  bool tail = ic->duration > 0 && ic->duration_estimation_method == AVFMT_DURATION_FROM_PTS &&
              tail_is_plausible(s, ic->duration);
  if (header || tail) {
    info->duration_us = on_clock(s, ic);
    info->duration_method = header ? SM_DURATION_HEADER : SM_DURATION_SCAN;
    if (header) s->header_us = info->duration_us;
  } else if (s->input.seekable) {
    s->clock_jumps = ic->duration > 0 && ic->duration_estimation_method == AVFMT_DURATION_FROM_PTS;
    info->duration_us = scan(s);
    info->duration_method = info->duration_us > 0 ? SM_DURATION_SCAN : SM_DURATION_UNKNOWN;
  }
  for (uint32_t i = 0; i < s->origin.count; i++)
    if (!s->origin.streams[i].desc.duration_us) s->origin.streams[i].desc.duration_us = info->duration_us;
}

static bool judge(struct source *s, int64_t promised_us, int64_t end_us, int64_t gap_us) {
  int64_t slack_us = FFMAX(FFMAX(SLACK_US, promised_us * SLACK_PERCENT / 100), 2 * gap_us);
  if (promised_us <= 0 || end_us >= promised_us - slack_us) return true;
  pass_fault(
      s->pass, FAULT_SOURCE, SM_FAIL, NULL,
      "'%s' is cut off or damaged: its header promises %.1f s, only the first %.1f s can be read; get a complete copy",
      s->name, (double)promised_us / 1e6, (double)end_us / 1e6);
  return false;
}

/* A stream whose own length the header names is held to that; the others together to the container's. The slack covers
 * encoders that round, and pictures that stand for long (a slide show's last one has no successor to show its length).
 */
bool duration_check(struct source *s, uint32_t stream, int64_t end_us, int64_t longest_gap_us) {
  pthread_mutex_lock(&s->lock);
  if (end_us > s->end_us) s->end_us = end_us;
  if (longest_gap_us > s->longest_gap_us) s->longest_gap_us = longest_gap_us;
  bool last = ++s->ended == s->decoding;
  int64_t all_us = s->end_us, gap_us = s->longest_gap_us;
  pthread_mutex_unlock(&s->lock);
  const sm_stream *d = &s->origin.streams[stream].desc;
  if (s->streams[stream].duration_us)
    return judge(s, s->streams[stream].duration_us + d->start_us, end_us, longest_gap_us);
  bool everything = s->decoding == s->origin.count; /* else the longest stream may be one that nobody wanted */
  return !last || !everything || judge(s, s->header_us, all_us, gap_us);
}
