/* late.c - reading on for streams that probing did not reach. */
#include "media/late.h"

#include <stdio.h>

enum { LATE_MAX = 8, PACKETS_MAX = 200 };

struct late {
  int av_index;
  AVCodecContext *codec;
  int64_t start_time;
  int packets;
};

static bool incomplete(const AVStream *st) {
  const AVCodecParameters *p = st->codecpar;
  if (!avcodec_find_decoder(p->codec_id)) return false;
  if (p->codec_type == AVMEDIA_TYPE_AUDIO) return p->sample_rate <= 0 || p->ch_layout.nb_channels <= 0;
  return p->codec_type == AVMEDIA_TYPE_VIDEO && (p->width <= 0 || p->height <= 0) &&
         !(st->disposition & AV_DISPOSITION_ATTACHED_PIC);
}

static AVCodecContext *open_codec(const AVCodecParameters *parameters) {
  const AVCodec *codec = avcodec_find_decoder(parameters->codec_id);
  AVCodecContext *c = avcodec_alloc_context3(codec);
  if (c) c->thread_count = 1;
  if (c && (avcodec_parameters_to_context(c, parameters) < 0 || avcodec_open2(c, codec, NULL) < 0))
    avcodec_free_context(&c);
  return c;
}

static uint32_t collect(AVFormatContext *ic, struct late *late) {
  uint32_t count = 0;
  for (unsigned i = 0; i < ic->nb_streams && count < LATE_MAX; i++) {
    AVCodecContext *c = incomplete(ic->streams[i]) ? open_codec(ic->streams[i]->codecpar) : NULL;
    if (c) late[count++] = (struct late){(int)i, c, AV_NOPTS_VALUE, 0};
  }
  return count;
}

/* The parameters as the decoder found them, and the time of the first packet. */
static void complete(AVStream *st, const struct late *l) {
  AVCodecParameters *p = st->codecpar;
  avcodec_parameters_from_context(p, l->codec);
  st->start_time = l->start_time;
}

/* true: this stream is settled, found or given up. */
static bool try_packet(struct late *l, const AVPacket *packet, AVStream *st) {
  AVFrame *frame = av_frame_alloc();
  if (l->start_time == AV_NOPTS_VALUE) l->start_time = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
  avcodec_send_packet(l->codec, packet);
  bool found = frame && avcodec_receive_frame(l->codec, frame) >= 0;
  if (found) complete(st, l);
  av_frame_free(&frame);
  return found || ++l->packets >= PACKETS_MAX;
}

static struct late *find(struct late *late, uint32_t count, int av_index) {
  for (uint32_t i = 0; i < count; i++)
    if (late[i].av_index == av_index && late[i].codec) return &late[i];
  return NULL;
}

static void read_on(struct source *s, AVFormatContext *ic, struct late *late, uint32_t count) {
  int error;
  struct reader *r = reader_create(s, &error);
  AVPacket *p = av_packet_alloc();
  AVFormatContext *other = r ? reader_format(r) : NULL;
  uint32_t open = count;
  while (other && p && open && !source_stopping(s) && av_read_frame(other, p) >= 0) {
    struct late *l = p->stream_index < (int)ic->nb_streams ? find(late, count, p->stream_index) : NULL;
    atomic_fetch_add_explicit(&s->c->page->heartbeat, 1, memory_order_relaxed);
    if (l && try_packet(l, p, ic->streams[l->av_index])) {
      avcodec_free_context(&l->codec);
      open--;
    }
    av_packet_unref(p);
  }
  av_packet_free(&p);
  reader_destroy(&r);
}

void late_find(struct source *s, AVFormatContext *ic) {
  struct late late[LATE_MAX];
  char text[160];
  if (!s->input.seekable && s->input.spill < 0) return; /* it can be read but once */
  uint32_t count = collect(ic, late);
  if (!count) return;
  read_on(s, ic, late, count);
  for (uint32_t i = 0; i < count; i++) {
    avcodec_free_context(&late[i].codec);
    if (!incomplete(ic->streams[late[i].av_index])) continue;
    snprintf(text, sizeof text, "stream %d of the source is announced but nothing of it can be decoded: it is left out",
             late[i].av_index);
    s->c->log(s->c, -1, SM_LOG_WARNING, text);
  }
}
