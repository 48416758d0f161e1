/* harness.h - a pass_context without a runner, and stages whose behaviour a test sets by hand. */
#pragma once
#include <pthread.h>
#include <stagemill/media.h>

#include "media/parts.h"

enum { LAB_STAGES = 8, LAB_STREAMS = 8, LAB_SHOTS = 64 };

struct seen { /* what a stage was given on one stream */
  uint32_t kind;
  uint64_t frames, floors, changes;
  int64_t first_us, last_us, end_us, last_floor_us;
  int32_t width, height, format, rate, channels; /* of the last frame */
  int32_t transfer, matrix, range;
  bool disorder; /* a timestamp that did not rise */
  bool odd_size; /* a frame of another size than the first, without format() */
  uint64_t samples;
  bool flushed;
  uint8_t seconds[256];        /* frames began in this second */
  int64_t shots_us[LAB_SHOTS]; /* the first frames' times */
  double quarters[4];          /* mean brightness of the first picture's quarters, row by row */
};

struct lab;
struct lab_stage {       /* set before lab_ready */
  const char *id, *uses; /* uses: "sink", "filter" or "none" */
  bool filter, soft, done, bypass, takes_changes, late;
  int32_t video_from, audio_from; /* -2: not connected, -1: source, else a filter */
  uint64_t fail_at, done_at;      /* at the n-th frame */
  sm_status fail_with, open_with;
  uint32_t frame_us;    /* how long a frame takes */
  uint32_t hold;        /* filter: emits frames this late */
  uint32_t keep_one_in; /* filter: drops the others */
  int32_t out_width;    /* filter: makes frames of this width */
  sm_stream want;       /* want_... of the video stream; audio wants likewise */
  bool use_wants, no_audio;
  const int64_t *times_us;
  uint32_t time_count, time_flags;
  /* seen */
  struct seen seen[LAB_STREAMS];
  sm_stream offered[LAB_STREAMS];
  char codecs[LAB_STREAMS][16], languages[LAB_STREAMS][8]; /* what offered[] points to, kept */
  uint32_t offered_count;
  int64_t merge_us; /* time of the latest frame over all streams */
  bool merge_disorder;
  sm_status closed_with;
  bool closed;
  int opens;
  pthread_t thread;
  bool wrong_thread;
  sm_source source;
  AVFrame *held[64];
  uint32_t held_count;
  uint64_t in_frames;
  /* verdict */
  int verdicts;
  sm_status verdict;
  char blame[512];
  uint64_t verdict_at; /* decoded frames when it came */
  struct lab_task *task;
};

struct lab {
  struct pass_context c;
  struct unit unit;
  struct unit_stage specs[LAB_STAGES];
  struct unit_link links[LAB_STAGES][2];
  struct pass_stage rows[LAB_STAGES];
  struct lab_stage stage[LAB_STAGES];
  uint32_t count;
  struct page page;
  pthread_mutex_t lock;
  _Atomic bool cancel;
  const char *path; /* source_open */
  bool drop[LAB_STAGES];
  bool measures; /* reads pixels (off where frames cross threads under TSan: libavutil's reference counts are not
                    instrumented) */
  int opened;
  struct value *facts;
  struct unit_artifact source;
  char scratch[256];
};

void lab_init(struct lab *lab);
/* Adds a sink (or filter) on video (and audio) of `from`. */
struct lab_stage *lab_sink(struct lab *lab, const char *id, int32_t video_from, int32_t audio_from);
struct lab_stage *lab_filter(struct lab *lab, const char *id, int32_t video_from, int32_t audio_from);
void lab_ready(struct lab *lab);
void lab_free(struct lab *lab);
const struct seen *lab_video(const struct lab_stage *stage);
const struct seen *lab_audio(const struct lab_stage *stage);
void lab_quarters(const uint8_t *luma, int stride, int width, int height, double quarters[4]);
