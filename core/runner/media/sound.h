/* sound.h - decoded sound with timestamps that follow the samples: containers round them (a millisecond in Matroska),
 * so a frame that begins about where the last one ended begins exactly there. Real gaps stay gaps. */
#pragma once
#include <libavutil/frame.h>
#include <stdbool.h>

struct sound_path {
  AVRational in_base, out_base; /* out_base: one sample */
  int64_t next;                 /* out_base; AV_NOPTS_VALUE: nothing yet */
};
void sound_path_init(struct sound_path *p, AVRational in_base, AVRational out_base);
/* false: leave this frame out (it lies before what was already delivered, or is unusable). */
bool sound_path_stamp(struct sound_path *p, AVFrame *frame);
int64_t sound_path_end_us(const struct sound_path *p);
