/* decode.c - packets in, normalised frames out. Frames are counted as the decoder gives them, before anything else. */
#include "media/decode.h"

#include <stdio.h>

#include "base/mem.h"
#include "media/picture.h"
#include "media/sound.h"

enum { CORRUPT_FLOOR = 50, CORRUPT_PERCENT = 20, THREADS_MAX = 16, MAX_PIXELS = 16384 * 16384 / 2 };

struct decoder {
  struct source *source;
  uint32_t stream;
  struct origin_stream *origin;
  AVCodecContext *codec;
  struct picture_path *pictures; /* video */
  struct sound_path sounds;      /* audio */
  uint64_t packets, corrupt, frames;
  enum outlet_answer answer;
  int error; /* of the picture path */
};

static bool is_video(const struct decoder *d) { return d->origin->desc.kind == SM_STREAM_VIDEO; }

/* As many threads as the cores are worth; a small picture does not feed many. */
static int thread_count(const struct source *s, const AVCodecParameters *p) {
  int64_t pixels = (int64_t)p->width * p->height;
  int cores = (int)FFMIN(s->origin.info.cores, THREADS_MAX);
  if (p->codec_type != AVMEDIA_TYPE_VIDEO) return 1;
  return pixels <= 640 * 360 ? FFMIN(cores, 2) : cores;
}

AVCodecContext *decode_open(const struct source *s, uint32_t stream, int *error) {
  const struct source_stream *own = &s->streams[stream];
  const AVCodec *codec = avcodec_find_decoder(own->codec->codec_id);
  AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
  *error = codec ? AVERROR(ENOMEM) : AVERROR_DECODER_NOT_FOUND;
  if (!c) return NULL;
  *error = avcodec_parameters_to_context(c, own->codec);
  c->pkt_timebase = own->time_base;
  c->thread_count = thread_count(s, own->codec);
  c->max_pixels = MAX_PIXELS;
  if (*error >= 0) *error = avcodec_open2(c, codec, NULL);
  if (*error < 0) avcodec_free_context(&c);
  return c;
}

/* ---- frames ---- */

static bool give(void *context, AVFrame *frame) {
  struct decoder *d = context;
  d->answer = outlet_push(&d->origin->out, frame);
  return d->answer == OUTLET_GOES_ON;
}

static void count_frame(struct decoder *d) {
  struct page *page = d->source->c->page;
  d->frames++;
  atomic_fetch_add_explicit(is_video(d) ? &page->decoded_video_frames : &page->decoded_audio_frames, 1,
                            memory_order_relaxed);
  pass_heartbeat(d->source->pass);
}

static bool handle_frame(struct decoder *d, AVFrame *frame) {
  count_frame(d);
  if (is_video(d)) {
    int e = picture_path_feed(d->pictures, frame, give, d);
    if (e < 0 && e != AVERROR_EXIT) d->error = e;
    return e >= 0;
  }
  return !sound_path_stamp(&d->sounds, frame) || give(d, frame);
}

/* Takes what the decoder has. false: stop. */
static bool receive(struct decoder *d) {
  AVFrame *frame = av_frame_alloc();
  bool goes_on = frame != NULL;
  int e = 0;
  while (goes_on && (e = avcodec_receive_frame(d->codec, frame)) >= 0) {
    goes_on = handle_frame(d, frame);
    av_frame_unref(frame);
  }
  av_frame_free(&frame);
  if (e < 0 && e != AVERROR(EAGAIN) && e != AVERROR_EOF) d->corrupt++;
  return goes_on;
}

static bool send_packet(struct decoder *d, const AVPacket *packet) {
  if (packet) d->packets++;
  for (;;) {
    int e = avcodec_send_packet(d->codec, packet);
    if (e < 0 && e != AVERROR(EAGAIN) && e != AVERROR_EOF) d->corrupt++;
    if (!receive(d)) return false;
    if (e != AVERROR(EAGAIN)) return true;
  }
}

/* ---- the end ---- */

static int64_t end_us(const struct decoder *d) {
  return is_video(d) ? picture_path_end_us(d->pictures) : sound_path_end_us(&d->sounds);
}

/* Some damage is life; a stream that is mostly damage, or yields nothing at all, is not delivered as if it were whole.
 */
static bool check_damage(struct decoder *d) {
  struct source *s = d->source;
  const char *kind = is_video(d) ? "video" : "audio";
  atomic_fetch_add(&s->corrupt_packets, d->corrupt);
  if (d->packets && !d->frames) {
    pass_fault(s->pass, FAULT_SOURCE, SM_FAIL, s->streams[d->stream].codec_name,
               "nothing of the %s stream of '%s' could be decoded: the file is damaged", kind, s->name);
    return false;
  }
  if (d->corrupt > CORRUPT_FLOOR && d->corrupt * 100 > d->packets * CORRUPT_PERCENT) {
    pass_fault(s->pass, FAULT_SOURCE, SM_FAIL, NULL,
               "'%s' is damaged: %llu of %llu packets of its %s stream cannot be decoded", s->name,
               (unsigned long long)d->corrupt, (unsigned long long)d->packets, kind);
    return false;
  }
  if (d->corrupt)
    pass_log(s->pass, -1, SM_LOG_WARNING, "%llu of %llu packets of the %s stream are damaged and were passed over",
             (unsigned long long)d->corrupt, (unsigned long long)d->packets, kind);
  return true;
}

static bool finish(struct decoder *d) {
  if (!send_packet(d, NULL)) return false;
  if (is_video(d)) {
    int e = picture_path_feed(d->pictures, NULL, give, d);
    if (e < 0) return false;
  }
  return check_damage(d) &&
         duration_check(d->source, d->stream, end_us(d), is_video(d) ? picture_path_gap_us(d->pictures) : 0);
}

static void explain_error(struct decoder *d) {
  char text[128];
  if (!d->error) return;
  av_strerror(d->error, text, sizeof text);
  pass_fault(d->source->pass, FAULT_SOURCE, SM_FAIL, text,
             "the pictures of '%s' cannot be turned, scaled or deinterlaced: %s", d->source->name, text);
}

static bool take(struct decoder *d, bool *ended) {
  struct flow_taken taken;
  struct flow_node *node = d->origin->out.node;
  switch (flow_take(node, &taken)) {
  case FLOW_ITEM: {
    AVPacket *packet = taken.item.payload;
    bool goes_on = send_packet(d, packet);
    av_packet_free(&packet);
    return goes_on;
  }
  case FLOW_END: return !taken.failed;
  case FLOW_ALL_ENDED: *ended = true; return false;
  case FLOW_CLOSED: return false;
  default: return true;
  }
}

static void *decoder_main(void *context) {
  struct decoder *d = context;
  bool ended = false, whole = false;
  d->source->c->thread_for(d->source->c, -1);
  while (take(d, &ended)) {
  }
  if (ended) whole = finish(d);
  explain_error(d);
  for (uint32_t i = 0; i < d->origin->out.node->input_count; i++) flow_refuse(d->origin->out.node->inputs[i]);
  outlet_end(&d->origin->out, !whole);
  return NULL;
}

bool decode_start(struct source *s, uint32_t stream) {
  struct source_stream *own = &s->streams[stream];
  struct decoder *d = own->decoder = mem_alloc(sizeof *d);
  char text[128];
  int error;
  d->source = s;
  d->stream = stream;
  d->origin = &s->origin.streams[stream];
  d->answer = OUTLET_GOES_ON;
  if (!(d->codec = decode_open(s, stream, &error))) {
    av_strerror(error, text, sizeof text);
    pass_fault(s->pass, FAULT_SOURCE, SM_FAIL, text, "the %s stream of '%s' (%s) cannot be decoded: %s",
               is_video(d) ? "video" : "audio", s->name, own->codec_name, text);
    return false;
  }
  if (is_video(d))
    d->pictures = picture_path_create(own, d->origin->desc.time_base, (unsigned)FFMIN(s->origin.info.cores, 4));
  sound_path_init(&d->sounds, own->time_base, d->origin->desc.time_base);
  own->has_thread = pthread_create(&own->thread, NULL, decoder_main, d) == 0;
  if (!own->has_thread)
    pass_fault(s->pass, FAULT_SOURCE, SM_RETRY, NULL,
               "no thread could be started for a decoder: raise the limit on tasks");
  return own->has_thread;
}

void decode_wait(struct source *s, uint32_t stream) {
  if (s->streams[stream].has_thread) pthread_join(s->streams[stream].thread, NULL);
  s->streams[stream].has_thread = false;
}

void decode_free(struct source *s, uint32_t stream) {
  struct decoder *d = s->streams[stream].decoder;
  if (!d) return;
  avcodec_free_context(&d->codec);
  picture_path_destroy(&d->pictures);
  free(d);
  s->streams[stream].decoder = NULL;
}
