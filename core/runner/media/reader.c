/* reader.c - demuxing. Timestamps are moved so that the earliest chosen stream begins at 0; a jump of more than ten
 * seconds in a format that may jump (MPEG-TS and its kin) is taken as a cut between recordings and closed. */
#include "media/reader.h"

#include <libavutil/mathematics.h>
#include <string.h>

#include "base/mem.h"
#include "media/source.h"

enum { JUMP_US = 10000000, ERRORS_IN_A_ROW = 32 };

static const AVRational microseconds = {1, 1000000};

struct reader {
  struct source *source;
  AVFormatContext *ic;
  bool unwanted[PASS_STREAMS_MAX];
  bool may_jump;
  int64_t jump_us;                   /* added to every timestamp */
  int64_t last_us[PASS_STREAMS_MAX]; /* of each stream; INT64_MIN: none yet */
  int64_t next_us[PASS_STREAMS_MAX]; /* where its next packet is due, for those without timestamps */
  int64_t latest_us;
  int errors;
};

/* Formats that do nothing but name other files. They could open none here; saying so is kinder than "invalid data". */
static bool is_list(const AVInputFormat *format) {
  static const char *const lists[] = {"dash", "concat", "sdp", "rtsp", "imf", "lavfi", "image2"};
  for (size_t i = 0; format && i < sizeof lists / sizeof *lists; i++)
    if (!strcmp(format->name, lists[i])) return true;
  return format && format->long_name && strstr(format->long_name, "Live Streaming"); /* M3U8 playlists */
}

static int open_format(struct reader *r) {
  const AVInputFormat *format = NULL;
  int e = av_probe_input_buffer2(r->ic->pb, &format, "", NULL, 0, 0);
  if (e < 0) return e;
  if (is_list(format)) return AVERROR_DEMUXER_NOT_FOUND;
  AVIOContext *pb = r->ic->pb;
  e = avformat_open_input(&r->ic, "", format, NULL);
  if (e < 0) {
    free(pb->opaque);
    av_freep(&pb->buffer);
    avio_context_free(&pb);
    return e;
  }
  return avformat_find_stream_info(r->ic, NULL);
}

struct reader *reader_create(struct source *source, int *error) {
  struct reader *r = mem_alloc(sizeof *r);
  r->source = source;
  r->latest_us = INT64_MIN;
  for (uint32_t i = 0; i < PASS_STREAMS_MAX; i++) r->last_us[i] = INT64_MIN;
  r->ic = input_attach(&source->input);
  *error = r->ic ? open_format(r) : AVERROR(ENOMEM);
  if (*error < 0) {
    reader_destroy(&r);
    return NULL;
  }
  r->may_jump = r->ic->iformat->flags & AVFMT_TS_DISCONT;
  return r;
}

void reader_destroy(struct reader **address) {
  struct reader *r = *address;
  if (!r) return;
  input_detach(&r->ic);
  free(r);
  *address = NULL;
}

AVFormatContext *reader_format(struct reader *r) { return r->ic; }

/* A stream nobody wants is skipped by the demuxer where that saves work; where timestamps may jump it is still read,
 * since the jump shows in all streams. */
static void apply_wishes(struct reader *r) {
  for (unsigned i = 0; i < r->ic->nb_streams; i++) {
    int stream = source_stream_of(r->source, (int)i);
    bool skip = stream < 0 || (r->unwanted[stream] && !r->may_jump);
    r->ic->streams[i]->discard = skip ? AVDISCARD_ALL : AVDISCARD_DEFAULT;
  }
}

void reader_want(struct reader *r, uint32_t stream, bool wanted) {
  r->unwanted[stream] = !wanted;
  apply_wishes(r);
}

static void close_jump(struct reader *r, uint32_t stream, int64_t *at_us, int64_t duration_us) {
  int64_t last = r->last_us[stream], delta = *at_us - last;
  bool jumps = r->may_jump && last != INT64_MIN && (delta > JUMP_US || delta < -JUMP_US);
  if (jumps && delta > 0 && *at_us - r->latest_us <= JUMP_US) jumps = false; /* the others are there already: a gap */
  if (jumps) {
    int64_t next = last + (duration_us > 0 ? duration_us : 0);
    r->jump_us += next - *at_us;
    *at_us = next;
  }
  r->last_us[stream] = *at_us;
  if (*at_us > r->latest_us) r->latest_us = *at_us;
}

static int64_t moved(int64_t t, int64_t start, int64_t jump) { return t == AV_NOPTS_VALUE ? t : t - start + jump; }

static int64_t stamp(struct reader *r, AVPacket *p, uint32_t stream) {
  struct source *s = r->source;
  AVRational base = r->ic->streams[p->stream_index]->time_base;
  int64_t start = av_rescale_q(s->start, s->start_base, base);
  int64_t t = p->dts != AV_NOPTS_VALUE ? p->dts : p->pts;
  int64_t at_us = r->next_us[stream], length_us = av_rescale_q(p->duration, base, microseconds);
  if (t != AV_NOPTS_VALUE) {
    at_us = av_rescale_q(t - start, base, microseconds) + r->jump_us;
    close_jump(r, stream, &at_us, length_us);
  }
  r->next_us[stream] = at_us + length_us;
  int64_t jump = av_rescale_q(r->jump_us, microseconds, base);
  p->pts = moved(p->pts, start, jump);
  p->dts = moved(p->dts, start, jump);
  return at_us;
}

int reader_next(struct reader *r, AVPacket **out, uint32_t *stream, int64_t *at_us) {
  AVPacket *p = av_packet_alloc();
  if (!p) return AVERROR(ENOMEM);
  for (;;) {
    int e = source_stopping(r->source) ? AVERROR_EXIT : av_read_frame(r->ic, p);
    if (e == AVERROR(EAGAIN)) continue;
    if (e < 0 && e != AVERROR_EOF && e != AVERROR_EXIT && !r->source->input.error && ++r->errors < ERRORS_IN_A_ROW) {
      atomic_fetch_add(&r->source->read_errors, 1);
      continue;
    }
    if (e < 0) {
      av_packet_free(&p);
      return e == AVERROR_EOF || (e != AVERROR_EXIT && !r->source->input.error) ? 0 : e;
    }
    r->errors = 0;
    int index = source_stream_of(r->source, p->stream_index);
    if (index >= 0) {
      *stream = (uint32_t)index;
      *at_us = stamp(r, p, *stream);
      if (!r->unwanted[index]) break;
    }
    av_packet_unref(p);
  }
  if (p->flags & AV_PKT_FLAG_CORRUPT) atomic_fetch_add(&r->source->corrupt_packets, 1);
  atomic_fetch_add_explicit(&r->source->demuxed_bytes, (uint64_t)p->size, memory_order_relaxed);
  *out = p;
  return 1;
}

int reader_seek(struct reader *r, uint32_t stream, int64_t time_us) {
  struct source *s = r->source;
  AVRational base = s->streams[stream].time_base;
  int64_t t = av_rescale_q(time_us, microseconds, base) + av_rescale_q(s->start, s->start_base, base);
  int e = avformat_seek_file(r->ic, s->streams[stream].av_index, INT64_MIN, t, t, 0);
  r->errors = 0;
  r->jump_us = 0;
  r->latest_us = INT64_MIN;
  for (uint32_t i = 0; i < PASS_STREAMS_MAX; i++) r->last_us[i] = INT64_MIN;
  return e < 0 ? e : 0;
}

/* ---- for demux.h ---- */

static void *ops_open(void *context, int32_t only) {
  struct source *s = context;
  int error;
  char text[128];
  struct reader *r = reader_create(s, &error);
  if (!r) {
    av_strerror(error, text, sizeof text);
    pass_fault(s->pass, FAULT_SOURCE, SM_FAIL, text,
               "'%s' could not be opened a second time to read its streams side by "
               "side",
               s->name);
    return NULL;
  }
  for (uint32_t i = 0; i < s->origin.count; i++) r->unwanted[i] = only >= 0 && (int32_t)i != only;
  apply_wishes(r);
  return r;
}

static int ops_next(void *context, struct packet *out) {
  struct reader *r = context;
  AVPacket *p;
  char text[128];
  int e = reader_next(r, &p, &out->stream, &out->at_us);
  if (e > 0) {
    out->payload = p;
    out->bytes = (size_t)p->size + sizeof *p;
    return 1;
  }
  if (e == 0) return 0;
  if (e != AVERROR_EXIT) {
    av_strerror(e, text, sizeof text);
    pass_fault(r->source->pass, FAULT_SOURCE, SM_RETRY, text, "reading '%s' failed: check the disk or share it lies on",
               r->source->name);
  }
  return -1;
}

static void ops_unwanted(void *context, uint32_t stream) { reader_want(context, stream, false); }

static void ops_close(void *context) {
  struct reader *r = context;
  reader_destroy(&r);
}

static void ops_release(void *payload) {
  AVPacket *p = payload;
  av_packet_free(&p);
}

const struct reader_ops reader_ops = {ops_open, ops_next, ops_unwanted, ops_close, ops_release};
