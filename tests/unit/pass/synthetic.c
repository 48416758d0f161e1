/* synthetic.c - see synthetic.h. */
#include "synthetic.h"

#include <libavutil/channel_layout.h>
#include <string.h>

#include "base/mem.h"

enum { FRAME_US = 40000, SOUND_US = 21333 };

struct script_reader {
  struct synthetic *s;
  uint32_t at;
};

static void *reader_open(void *source, int32_t only) {
  struct synthetic *s = source;
  (void)only;
  struct script_reader *r = mem_alloc(sizeof *r);
  r->s = s;
  s->readers++;
  return r;
}

static AVFrame *frame_for(const struct synthetic *s, const struct script_item *item) {
  AVFrame *f = av_frame_alloc();
  const sm_stream *desc = &s->origin.streams[item->stream].desc;
  f->pts = av_rescale_q(item->at_us, (AVRational){1, 1000000}, desc->time_base);
  if (desc->kind == SM_STREAM_VIDEO) {
    f->width = 32;
    f->height = 16;
    f->format = AV_PIX_FMT_YUV420P;
  } else {
    f->nb_samples = 1024;
    f->format = AV_SAMPLE_FMT_FLTP;
    f->sample_rate = 48000;
    av_channel_layout_default(&f->ch_layout, 1);
  }
  if (av_frame_get_buffer(f, 0) < 0) abort();
  return f;
}

static int reader_next(void *reader, struct packet *p) {
  struct script_reader *r = reader;
  if (pass_stopping(r->s->pass)) return -1;
  if (r->at == r->s->count) return 0;
  const struct script_item *item = &r->s->items[r->at++];
  *p = (struct packet){item->stream, frame_for(r->s, item), item->at_us, 2000};
  return 1;
}

static void reader_unwanted(void *reader, uint32_t stream) {
  (void)reader;
  (void)stream;
}

static const struct reader_ops ops = {reader_open, reader_next, reader_unwanted, free, outlet_release_frame};

struct decoder_start {
  struct synthetic *s;
  uint32_t stream;
};

static void *decoder_main(void *context) {
  struct decoder_start start = *(struct decoder_start *)context;
  free(context);
  struct synthetic *s = start.s;
  struct outlet *out = &s->origin.streams[start.stream].out;
  struct flow_node *node = s->nodes[start.stream];
  AVFrame *held[64];
  uint32_t count = 0;
  struct flow_taken taken;
  enum outlet_answer answer = OUTLET_GOES_ON;
  enum flow_take take;
  while (answer == OUTLET_GOES_ON && (take = flow_take(node, &taken)) != FLOW_CLOSED && take != FLOW_ALL_ENDED) {
    if (take != FLOW_ITEM) continue;
    held[count++] = taken.item.payload;
    if (count <= s->delay[start.stream]) continue;
    atomic_fetch_add(&s->decoded, 1);
    answer = outlet_push(out, held[0]);
    av_frame_free(&held[0]);
    memmove(held, held + 1, --count * sizeof *held);
  }
  for (uint32_t i = 0; i < count; i++) {
    if (answer == OUTLET_GOES_ON) answer = outlet_push(out, held[i]);
    av_frame_free(&held[i]);
  }
  flow_refuse(node->inputs[0]);
  outlet_end(out, false);
  return NULL;
}

static bool join_graph(struct pass *pass, struct origin *origin) {
  struct synthetic *s = origin->self;
  s->pass = pass;
  for (uint32_t i = 0; i < origin->count; i++)
    origin->streams[i].out.node = s->nodes[i] = flow_node_add(&pass->flow, i ? "audio decoder" : "video decoder");
  return true;
}

static bool start(struct pass *pass, struct origin *origin) {
  struct synthetic *s = origin->self;
  s->demux = demux_create(pass, &ops, s, s->seekable);
  for (uint32_t i = 0; i < origin->count; i++)
    if (origin->streams[i].wanted)
      s->queues[i] = demux_connect(s->demux, i, s->nodes[i], i ? "audio packets" : "video packets",
                                   i ? &pass->tuning.audio_packets : &pass->tuning.video_packets);
  for (uint32_t i = 0; i < origin->count; i++) {
    if (!origin->streams[i].wanted) continue;
    struct decoder_start *d = mem_alloc(sizeof *d);
    *d = (struct decoder_start){s, i};
    s->has_thread[i] = pthread_create(&s->threads[i], NULL, decoder_main, d) == 0;
  }
  return demux_start(s->demux, reader_open(s, -1));
}

static void wait_all(struct origin *origin) {
  struct synthetic *s = origin->self;
  if (!s->demux) return;
  demux_wait(s->demux);
  for (uint32_t i = 0; i < origin->count; i++)
    if (s->has_thread[i]) pthread_join(s->threads[i], NULL);
  for (uint32_t i = 0; i < 4; i++)
    if (s->queues[i]) s->peak[i] = s->queues[i]->peak;
  s->cursors = demux_cursors(s->demux);
  demux_destroy(&s->demux);
}

void synthetic_init(struct synthetic *s, uint32_t streams, bool seekable) {
  memset(s, 0, sizeof *s);
  s->seekable = seekable;
  s->origin = (struct origin){.self = s, .count = streams, .join_graph = join_graph, .start = start, .wait = wait_all};
  s->origin.info = (sm_source){.size = sizeof(sm_source),
                               .name = "synthetic",
                               .container = "script",
                               .cores = 2,
                               .seekable = seekable,
                               .duration_method = SM_DURATION_UNKNOWN};
  for (uint32_t i = 0; i < streams; i++) {
    sm_stream *desc = &s->origin.streams[i].desc;
    desc->kind = i ? SM_STREAM_AUDIO : SM_STREAM_VIDEO;
    desc->time_base = (AVRational){1, i ? 48000 : 90000};
    desc->width = i ? 0 : 32;
    desc->height = i ? 0 : 16;
    desc->pixel_format = AV_PIX_FMT_YUV420P;
    desc->sample_format = AV_SAMPLE_FMT_FLTP;
    desc->sample_rate = i ? 48000 : 0;
    desc->channels = i ? 1 : 0;
    s->origin.streams[i].out.time_base = desc->time_base;
  }
}

void synthetic_add(struct synthetic *s, uint32_t stream, int64_t at_us) {
  if (s->count == s->room) s->items = mem_grow(s->items, s->room = s->room ? s->room * 2 : 256, sizeof *s->items);
  s->items[s->count++] = (struct script_item){stream, at_us};
}

void synthetic_fill(struct synthetic *s, int seconds, int64_t audio_from_us, int64_t audio_to_us) {
  int64_t end_us = seconds * INT64_C(1000000), sound_us = audio_from_us;
  for (int64_t at_us = 0; at_us < end_us; at_us += FRAME_US) {
    for (; sound_us <= at_us && sound_us < audio_to_us; sound_us += SOUND_US) synthetic_add(s, 1, sound_us);
    synthetic_add(s, 0, at_us);
  }
  for (; sound_us < audio_to_us; sound_us += SOUND_US) synthetic_add(s, 1, sound_us);
  if (s->origin.info.duration_us < end_us) s->origin.info.duration_us = end_us;
}

void synthetic_free(struct synthetic *s) {
  free(s->items);
  s->items = NULL;
}
