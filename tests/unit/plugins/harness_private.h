/* harness_private.h - between harness.c (services) and harness_media.c (the pass). */
#pragma once
#include "harness.h"

enum { HARNESS_ROWS = 256, HARNESS_OUTPUTS = 4096, HARNESS_FRAMES = 512 };

struct harness_row {
  char *path;
  sm_value value;
  char *text; /* as written; value.text may point to it */
};
struct harness_artifact {
  char *port, *path, *type;
};

struct harness {
  struct sm_task task; /* first: the stage gets its address */
  sm_host host;
  sm_media_host media_host;
  void *library;
  const sm_plugin *plugin;
  sm_stage stage;
  struct harness_row rows[HARNESS_ROWS];
  size_t row_count;
  struct harness_artifact inputs[64];
  size_t input_count;
  struct harness_output outputs[HARNESS_OUTPUTS];
  size_t output_count;
  struct harness_result results[HARNESS_ROWS];
  size_t result_count;
  struct harness_row checkpoints[64];
  size_t checkpoint_count;
  char folder[64], paths[8][512];
  unsigned path_turn;
  char message[1024], debug[1024];
  double fraction;
  int cancel_after;
  /* pass */
  bool in_open, ended;
  void *self;
  int64_t duration_us;
  bool unknown_duration;
  sm_stream out[8];
  uint32_t out_count;
  sm_stream *in;
  uint32_t in_count;
  int64_t only_at[4096];
  uint32_t only_at_count;
  uint64_t frames_given;
  AVFrame *emitted[HARNESS_FRAMES];
  size_t emitted_count;
};

void harness_media_prepare(struct harness *h);
void harness_media_release(struct harness *h);
