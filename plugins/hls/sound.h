/* sound.h - one AAC encode for all renditions, from a stream without holes: where the source has no sound there is
 * silence, so that every segment carries audio for all of its time. */
#pragma once
#include <libavcodec/avcodec.h>
#include <stdbool.h>

#include "fault.h"

struct sound;

struct sound_setup {
  int sample_rate, channels;
  int64_t bitrate;
  AVRational time_base; /* of the frames */
};

/* NULL with *f set when the encoder cannot be opened. */
struct sound *sound_open(const struct sound_setup *setup, struct fault *f);
void sound_close(struct sound **s);

const AVCodecContext *sound_codec(const struct sound *s);

/* A frame of planar float samples. Fill up to its start and take the packets first; samples that were there before are
 * dropped. */
sm_status sound_frame(struct sound *s, const AVFrame *frame, struct fault *f);

/* Silence up to `until_us` when more than a blink is missing. */
void sound_fill(struct sound *s, int64_t until_us);

/* No more sound: the encoder's last packets come out. */
void sound_end(struct sound *s);

/* Takes the next encoded packet (time base 1/sample_rate), which the caller owns; false: none now, or *f is set. */
bool sound_packet(struct sound *s, AVPacket *packet, struct fault *f);

/* End of what was put in, in microseconds. */
int64_t sound_end_us(const struct sound *s);
