/* tuning.c - how much the queues hold. Small on purpose: frames are big, and a pass is paced by its encoders. The
 * environment may change it (STAGEMILL_PASS_FRAMES, _PACKETS, _WINDOW_MS, _WINDOW_BYTES), which tests do down to 1. */
#include <stdlib.h>

#include "media/parts.h"

static long number(const char *name, long otherwise, long least, long most) {
  const char *text = getenv(name);
  char *end;
  if (!text || !*text) return otherwise;
  long n = strtol(text, &end, 10);
  return *end || n < least || n > most ? otherwise : n;
}

struct tuning tuning_read(void) {
  enum { MB = 1 << 20 };
  long frames = number("STAGEMILL_PASS_FRAMES", 0, 1, 64), packets = number("STAGEMILL_PASS_PACKETS", 0, 1, 4096);
  int64_t window_us = number("STAGEMILL_PASS_WINDOW_MS", 10000, 1, 600000) * 1000;
  size_t window_bytes = (size_t)number("STAGEMILL_PASS_WINDOW_BYTES", 48l * MB, 1024, 1l << 32);
  return (struct tuning){
      .video_frames = {frames ? (uint32_t)frames : 3, 512l * MB, window_us, 384l * MB, false},
      .audio_frames = {frames ? (uint32_t)frames : 12, 16l * MB, window_us, 64l * MB, false},
      .video_packets = {packets ? (uint32_t)packets : 64, 16l * MB, window_us, window_bytes, true},
      .audio_packets = {packets ? (uint32_t)packets : 256, 4l * MB, window_us, window_bytes, true},
  };
}
