#include "sound.h"

#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>

/* Timestamps that wander by less than this are rounding of the container; following them would click. */
#define WANDER_MS 40

struct sound {
  AVCodecContext *codec;
  AVAudioFifo *fifo;
  AVFrame *block; /* what the encoder takes at a time */
  AVRational time_base;
  int64_t position;     /* next sample to go into the fifo, on the pass's clock */
  int64_t encoded;      /* next sample to leave it */
  int64_t silent_until; /* silence is still owed up to here */
  int64_t wander;       /* WANDER_MS in samples */
  bool started, ended;
  bool silent; /* the newest samples are silence of ours: what follows is placed exactly */
};

static int open_codec(struct sound *s, const struct sound_setup *setup) {
  const AVCodec *aac = avcodec_find_encoder_by_name("aac");
  if (!aac) return AVERROR_ENCODER_NOT_FOUND;
  s->codec = avcodec_alloc_context3(aac);
  if (!s->codec) return AVERROR(ENOMEM);
  s->codec->sample_fmt = AV_SAMPLE_FMT_FLTP;
  s->codec->sample_rate = setup->sample_rate;
  s->codec->bit_rate = setup->bitrate;
  s->codec->time_base = (AVRational){1, setup->sample_rate};
  s->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
  av_channel_layout_default(&s->codec->ch_layout, setup->channels);
  return avcodec_open2(s->codec, aac, NULL);
}

static int make_buffers(struct sound *s) {
  AVCodecContext *c = s->codec;
  s->fifo = av_audio_fifo_alloc(c->sample_fmt, c->ch_layout.nb_channels, c->frame_size * 8);
  s->block = av_frame_alloc();
  if (!s->fifo || !s->block) return AVERROR(ENOMEM);
  s->block->nb_samples = c->frame_size;
  s->block->format = c->sample_fmt;
  s->block->sample_rate = c->sample_rate;
  int err = av_channel_layout_copy(&s->block->ch_layout, &c->ch_layout);
  return err < 0 ? err : av_frame_get_buffer(s->block, 0);
}

struct sound *sound_open(const struct sound_setup *setup, struct fault *f) {
  struct sound *s = av_mallocz(sizeof *s);
  if (!s) {
    fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory while opening the AAC encoder");
    return NULL;
  }
  s->time_base = setup->time_base;
  s->wander = (int64_t)setup->sample_rate * WANDER_MS / 1000;
  int err = open_codec(s, setup);
  if (err >= 0) err = make_buffers(s);
  if (err < 0) {
    fault_set(f, SM_FAIL, err,
              "the AAC encoder does not take %d Hz with %d channels at %lld bit/s: change audio-bitrate",
              setup->sample_rate, setup->channels, (long long)setup->bitrate);
    sound_close(&s);
  }
  return s;
}

void sound_close(struct sound **s) {
  if (!*s) return;
  avcodec_free_context(&(*s)->codec);
  if ((*s)->fifo) av_audio_fifo_free((*s)->fifo);
  av_frame_free(&(*s)->block);
  av_freep(s);
}

const AVCodecContext *sound_codec(const struct sound *s) { return s->codec; }
int64_t sound_end_us(const struct sound *s) { return av_rescale(s->position, 1000000, s->codec->sample_rate); }

static sm_status encode_block(struct sound *s, int samples, struct fault *f) {
  /* the encoder may still hold the block of before */
  s->block->nb_samples = s->codec->frame_size;
  int err = av_frame_make_writable(s->block);
  if (err >= 0) {
    s->block->nb_samples = samples;
    s->block->pts = s->encoded;
    if (av_audio_fifo_read(s->fifo, (void **)s->block->data, samples) < samples) err = AVERROR_BUG;
  }
  if (err >= 0) err = avcodec_send_frame(s->codec, s->block);
  if (err < 0)
    return fault_set(f, SM_FAIL, err, "the AAC encoder failed at %.3f s", (double)s->encoded / s->codec->sample_rate);
  s->encoded += samples;
  return SM_OK;
}

/* One block at a time: its packet is taken before the next goes in, as the encoder refuses input while it has output.
 */
static bool block_ready(const struct sound *s) { return av_audio_fifo_size(s->fifo) >= s->codec->frame_size; }

static sm_status put(struct sound *s, uint8_t **data, int samples, struct fault *f) {
  if (samples <= 0) return SM_OK;
  if (av_audio_fifo_write(s->fifo, (void **)data, samples) < samples)
    return fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory while buffering audio");
  s->position += samples;
  s->silent = false;
  return SM_OK;
}

/* Bounded: an hour of silence is made a little at a time, as the encoder takes it. */
static sm_status put_silence(struct sound *s, struct fault *f) {
  static const float zeros[4096];
  uint8_t *planes[AV_NUM_DATA_POINTERS];
  for (int i = 0; i < AV_NUM_DATA_POINTERS; i++) planes[i] = (uint8_t *)zeros;
  int64_t size = (int64_t)(sizeof zeros / sizeof *zeros), missing = s->silent_until - s->position;
  sm_status status = put(s, planes, (int)(missing < size ? missing : size), f);
  s->silent = true;
  return status;
}

void sound_fill(struct sound *s, int64_t until_us) {
  int64_t until = av_rescale(until_us, s->codec->sample_rate, 1000000);
  if (until - s->position <= (s->silent ? 0 : s->wander)) return;
  s->started = true;
  s->silent_until = until;
}

sm_status sound_frame(struct sound *s, const AVFrame *frame, struct fault *f) {
  if (frame->format != AV_SAMPLE_FMT_FLTP || frame->sample_rate != s->codec->sample_rate ||
      frame->ch_layout.nb_channels != s->codec->ch_layout.nb_channels)
    return fault_set(f, SM_FAIL, 0, "audio changed to %d Hz with %d channels in mid-course and was not converted",
                     frame->sample_rate, frame->ch_layout.nb_channels);
  int64_t at = av_rescale_q(frame->pts, s->time_base, s->codec->time_base);
  int64_t skip = 0;
  if (!s->started && at > 0 && at <= s->wander) s->position = s->encoded = at;
  if (at < 0 || s->position - at > (s->silent ? 0 : s->wander)) skip = s->position - at;
  s->started = true;
  if (skip >= frame->nb_samples) return SM_OK;
  uint8_t *planes[AV_NUM_DATA_POINTERS] = {NULL};
  for (int i = 0; i < frame->ch_layout.nb_channels && i < AV_NUM_DATA_POINTERS; i++)
    planes[i] = frame->extended_data[i] + skip * (int64_t)sizeof(float);
  return put(s, planes, frame->nb_samples - (int)skip, f);
}

void sound_end(struct sound *s) { s->ended = true; }

/* Feeds the encoder once: a whole block, more silence, or the end. False: nothing to feed. */
static bool feed(struct sound *s, struct fault *f) {
  if (block_ready(s)) return encode_block(s, s->codec->frame_size, f) == SM_OK;
  if (s->silent_until > s->position) return put_silence(s, f) == SM_OK;
  if (!s->ended) return false;
  int rest = av_audio_fifo_size(s->fifo);
  if (rest > 0) return encode_block(s, rest, f) == SM_OK;
  return avcodec_send_frame(s->codec, NULL) >= 0;
}

bool sound_packet(struct sound *s, AVPacket *packet, struct fault *f) {
  for (;;) {
    int err = avcodec_receive_packet(s->codec, packet);
    if (err >= 0) return true;
    if (err != AVERROR(EAGAIN) || !feed(s, f)) return false;
  }
}
