/* seek.c - instead of a whole decode: the frames on screen at some times, by seeking. One thread seeks, demuxes and
 * decodes. For each time: to the last keyframe at or before it, then forward until the next picture would be later.
 * Where decoding on from the last picture reaches the time sooner than a seek (no keyframe lies in between), it decodes
 * on. A seek that lands too late (transport streams have no index) is tried again from earlier. */
#include <libavutil/mathematics.h>

#include "base/mem.h"
#include "media/decode.h"
#include "media/picture.h"

enum { BLIND_FORWARD_US = 2000000, BACK_OFF_US = 500000, BACK_OFF_MAX_US = 64000000 };

static const AVRational microseconds = {1, 1000000};

struct seeker {
  struct source *source;
  struct reader *reader;
  AVCodecContext *codec;
  struct picture_path *pictures;
  AVRational base; /* of the delivered pictures */
  int64_t *times_us;
  uint32_t count;
  bool nearest;
  AVFrame *shown, *next; /* on screen at the latest decoded moment; the one after it */
  bool ended;            /* nothing is left to decode behind `next` */
  bool needs_key;        /* packets before the next keyframe are of no use */
  bool fresh;            /* the reader stands at the start of the source */
  bool drained;
  uint32_t seeks;
  pthread_t thread;
  bool has_thread;
};

uint32_t seek_count(const struct source *s) { return s->seeker ? s->seeker->seeks : 0; }

static int64_t picture_us(const struct seeker *k, const AVFrame *f) {
  return av_rescale_q(f->pts, k->base, microseconds);
}

/* ---- decoding forward ---- */

static bool keep(void *context, AVFrame *picture) {
  struct seeker *k = context;
  if (k->next) { /* several pictures of one packet: all but the last are already past */
    av_frame_free(&k->shown);
    k->shown = k->next;
  }
  k->next = av_frame_clone(picture);
  return k->next != NULL;
}

static void count_frame(struct seeker *k) {
  atomic_fetch_add_explicit(&k->source->c->page->decoded_video_frames, 1, memory_order_relaxed);
  pass_heartbeat(k->source->pass);
}

static int feed_packet(struct seeker *k) {
  AVPacket *p;
  uint32_t stream;
  int64_t at_us;
  int e = reader_next(k->reader, &p, &stream, &at_us);
  if (e < 0) return e;
  if (e == 0) {
    k->drained = true;
    avcodec_send_packet(k->codec, NULL);
    return 0;
  }
  k->fresh = false;
  if (k->needs_key && !(p->flags & AV_PKT_FLAG_KEY)) {
    av_packet_free(&p);
    return 0;
  }
  k->needs_key = false;
  e = avcodec_send_packet(k->codec, p);
  if (e < 0 && e != AVERROR(EAGAIN)) atomic_fetch_add(&k->source->corrupt_packets, 1);
  av_packet_free(&p);
  if (k->nearest) { /* the keyframe alone is wanted: have it now */
    k->drained = true;
    avcodec_send_packet(k->codec, NULL);
  }
  return 0;
}

/* Until there is a next picture, or the end. false: stop. */
static bool advance(struct seeker *k) {
  AVFrame *frame = av_frame_alloc();
  int e = 0;
  while (frame && !k->next && !k->ended && e >= 0) {
    e = avcodec_receive_frame(k->codec, frame);
    if (e >= 0) {
      count_frame(k);
      e = picture_path_feed(k->pictures, frame, keep, k);
      av_frame_unref(frame);
    } else if (e == AVERROR_EOF || (k->drained && e != AVERROR(EAGAIN))) {
      e = picture_path_feed(k->pictures, NULL, keep, k);
      k->ended = true;
    } else {
      if (e != AVERROR(EAGAIN)) atomic_fetch_add(&k->source->corrupt_packets, 1);
      e = feed_packet(k);
    }
  }
  av_frame_free(&frame);
  return e >= 0;
}

/* Makes `shown` the picture on screen at time_us, seen from where the decoder stands. */
static bool forward(struct seeker *k, int64_t time_us) {
  for (;;) {
    if (!advance(k)) return false;
    if (!k->next || (k->shown && picture_us(k, k->next) > time_us)) return true;
    bool later = picture_us(k, k->next) > time_us;
    av_frame_free(&k->shown);
    k->shown = k->next;
    k->next = NULL;
    if (later || k->nearest) return true; /* the first picture there is, when it begins after the time */
  }
}

/* ---- seeking ---- */

static AVStream *stream_of(struct seeker *k) {
  return reader_format(k->reader)->streams[k->source->streams[0].av_index];
}

static int64_t ticks(const struct seeker *k, int64_t time_us) {
  const struct source *s = k->source;
  AVRational base = s->streams[0].time_base;
  return av_rescale_q(time_us, microseconds, base) + av_rescale_q(s->start, s->start_base, base);
}

/* How much later than its place in decoding order a keyframe may be shown. Index entries count in decoding order. */
static int64_t shown_later(const struct seeker *k) {
  const struct source_stream *own = &k->source->streams[0];
  if (own->frame_rate.num <= 0 || own->frame_rate.den <= 0) return 0;
  return av_rescale_q(own->codec->video_delay, av_inv_q(own->frame_rate), own->time_base);
}

/* The keyframe shown at or before t, or (behind) at or behind it; false when the index does not say. Containers without
 * an index only list what has been read so far. */
static bool keyframe_near(struct seeker *k, int64_t t, bool behind, int64_t *at) {
  if (reader_format(k->reader)->iformat->flags & AVFMT_TS_DISCONT) return false;
  int64_t later = shown_later(k);
  const AVIndexEntry *entry =
      avformat_index_get_entry_from_timestamp(stream_of(k), t - later, behind ? 0 : AVSEEK_FLAG_BACKWARD);
  if (entry) *at = entry->timestamp + later;
  return entry != NULL;
}

static void forget(struct seeker *k) {
  av_frame_free(&k->shown);
  av_frame_free(&k->next);
  avcodec_flush_buffers(k->codec);
  picture_path_reset(k->pictures);
  k->ended = k->drained = false;
}

static bool seek_to(struct seeker *k, int64_t time_us) {
  forget(k);
  k->seeks++;
  k->needs_key = true;
  k->fresh = false;
  return reader_seek(k->reader, 0, time_us) >= 0;
}

/* Some containers cannot even seek to their own start. */
static bool start_over(struct seeker *k) {
  int error = 0;
  forget(k);
  k->needs_key = false;
  if (!k->fresh) {
    k->seeks++;
    reader_destroy(&k->reader);
    k->reader = reader_create(k->source, &error);
    if (!k->reader) return false;
    for (uint32_t i = 0; i < k->source->origin.count; i++) reader_want(k->reader, i, i == 0);
    k->fresh = true;
  }
  return true;
}

/* Decoding on is cheaper than a seek when no keyframe lies between here and there. */
static bool worth_decoding_on(struct seeker *k, int64_t time_us) {
  int64_t keyframe;
  if (!k->shown || k->nearest || picture_us(k, k->shown) > time_us) return false;
  if (keyframe_near(k, ticks(k, time_us), false, &keyframe)) return keyframe <= ticks(k, picture_us(k, k->shown));
  return time_us - picture_us(k, k->shown) < BLIND_FORWARD_US;
}

static int64_t nearest_keyframe_us(struct seeker *k, int64_t time_us) {
  int64_t t = ticks(k, time_us), before, behind;
  if (!keyframe_near(k, t, false, &before) || !keyframe_near(k, t, true, &behind)) return time_us;
  int64_t chosen = behind - t < t - before ? behind : before;
  return time_us + av_rescale_q(chosen - t, k->source->streams[0].time_base, microseconds);
}

static bool is_found(const struct seeker *k, int64_t time_us) {
  return k->shown && (k->nearest || picture_us(k, k->shown) <= time_us);
}

/* Far enough back that the first picture is not later than the time; from the very start when all else fails. */
static bool find(struct seeker *k, int64_t time_us) {
  int64_t duration_us = k->source->origin.info.duration_us;
  if (duration_us > 0 && time_us > duration_us) time_us = duration_us;
  if (k->ended && !k->next && k->shown && !k->nearest && time_us >= picture_us(k, k->shown)) return true;
  if (worth_decoding_on(k, time_us)) return forward(k, time_us);
  int64_t goal_us = k->nearest ? nearest_keyframe_us(k, time_us) : time_us;
  for (int64_t back_us = 0; goal_us - back_us > 0 && back_us <= BACK_OFF_MAX_US;
       back_us = back_us ? back_us * 2 : BACK_OFF_US) {
    if (!seek_to(k, goal_us - back_us)) continue;
    if (!forward(k, time_us)) return false;
    if (is_found(k, time_us)) return true;
  }
  return start_over(k) && forward(k, time_us);
}

/* ---- the thread ---- */

static void *seeker_main(void *context) {
  struct seeker *k = context;
  struct source *s = k->source;
  struct outlet *out = &s->origin.streams[0].out;
  bool failed = false;
  s->c->thread_for(s->c, -1);
  for (uint32_t i = 0; i < k->count; i++) {
    if (i && k->times_us[i] == k->times_us[i - 1]) continue;
    failed = !find(k, k->times_us[i]) || !k->shown;
    if (failed || outlet_pick(out, k->shown, k->times_us[i]) != OUTLET_GOES_ON) break;
  }
  if (failed && !pass_stopping(s->pass))
    pass_fault(s->pass, FAULT_SOURCE, s->input.error ? SM_RETRY : SM_FAIL, NULL,
               "no picture of '%s' could be decoded at the times that were asked for: the file is damaged", s->name);
  outlet_end(out, failed);
  return NULL;
}

bool seek_start(struct pass *pass, struct origin *origin, const int64_t *times_us, uint32_t count, bool nearest) {
  struct source *s = origin->self;
  struct seeker *k = s->seeker = mem_alloc(sizeof *k);
  int error;
  k->source = s;
  k->reader = s->first;
  s->first = NULL;
  k->base = origin->streams[0].desc.time_base;
  k->times_us = mem_array(count, sizeof *times_us);
  for (uint32_t i = 0; i < count; i++) k->times_us[i] = times_us[i];
  k->count = count;
  k->nearest = nearest;
  k->fresh = true;
  for (uint32_t i = 0; i < origin->count; i++) reader_want(k->reader, i, i == 0);
  k->codec = decode_open(s, 0, &error);
  k->pictures = picture_path_create(&s->streams[0], k->base, 1);
  k->has_thread = k->codec && pthread_create(&k->thread, NULL, seeker_main, k) == 0;
  if (!k->has_thread)
    pass_fault(pass, FAULT_SOURCE, SM_FAIL, NULL, "the video stream of '%s' (%s) cannot be decoded", s->name,
               s->streams[0].codec_name);
  return k->has_thread;
}

void seek_wait(struct source *s) {
  struct seeker *k = s->seeker;
  if (!k || !k->has_thread) return;
  pthread_join(k->thread, NULL);
  k->has_thread = false;
}

void seek_free(struct source *s) {
  struct seeker *k = s->seeker;
  if (!k) return;
  av_frame_free(&k->shown);
  av_frame_free(&k->next);
  avcodec_free_context(&k->codec);
  picture_path_destroy(&k->pictures);
  reader_destroy(&k->reader);
  free(k->times_us);
  free(k);
  s->seeker = NULL;
}
