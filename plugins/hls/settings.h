/* settings.h - what the operator wrote under `with:`, read once. */
#pragma once
#include <stagemill/stage.h>

#include "ladder.h"
#include "names.h"

struct settings {
  struct ladder_choice ladder;
  struct rung_wish wishes[LADDER_MAX];
  double crf;
  char preset[16], tune[16], profile[16]; /* tune empty: none */
  int64_t gop;                            /* ticks; 0: gop_frames */
  int gop_frames;                         /* 0: gop */
  int64_t segment;                        /* ticks, as written */
  bool fmp4, mp4;
  int64_t audio_bitrate;
  char pattern[NAMES_MAX], playlist[NAMES_MAX], master[NAMES_MAX];
};

extern const sm_param settings_params[]; /* the stage's table */

/* Reads and checks everything that does not need the source; says what is wrong through the task. */
sm_status settings_read(sm_task *task, struct settings *s);

/* GOP and segment length for a source of this rate: the segment is the nearest whole number of GOPs. */
void settings_grid(const struct settings *s, double frame_rate, int64_t *gop, int64_t *segment);
