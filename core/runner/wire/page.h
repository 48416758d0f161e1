/* page.h - the page of memory an attempt shares with the engine: progress and heartbeat one way, cancel the other.
 * Untrusted on the engine's side: copied field by field, clamped. Sampled at 10 Hz. Lives in a sealed memfd. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "wire/unit.h"

struct page_stage {
  _Atomic uint32_t fraction_ppm; /* 0-1000000; UINT32_MAX: unknown */
  _Atomic uint32_t item, items;
  _Atomic uint64_t frames; /* frames this stage was given */
};

struct page {
  _Atomic uint32_t cancel;     /* engine -> attempt: 1 stop */
  _Atomic uint64_t heartbeat;  /* attempt -> engine: any change is a sign of life */
  _Atomic uint64_t decoded_video_frames, decoded_audio_frames; /* counted at the decoder's output */
  struct page_stage stages[UNIT_STAGES_MAX];
};
