/* source.h - the input of one probe: libavformat over a descriptor, bounded in time, opening nothing else. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include <libavformat/avformat.h>
#include <stagemill/stage.h>

struct source {
  sm_task *task;
  char name[256];      /* for sentences */
  int descriptor;
  int64_t size_bytes, position;
  int64_t deadline_us; /* CLOCK_MONOTONIC; reads fail afterwards */
  bool timed_out, cancelled, reached_out; /* reached_out: the file asked for another file or URL */
  char complaint[256]; /* libav's last error line */
  AVIOContext *io;
  AVFormatContext *format;
};

/* Opens the input port `port`. On failure the answer is the verdict, with its sentence recorded. */
sm_status source_open(struct source *s, sm_task *task, const char *port);
void source_close(struct source *s);
/* From now on reading may take this long. */
void source_allow(struct source *s, int64_t microseconds);
/* True once time or patience is over; *verdict then says which. */
bool source_stopped(const struct source *s);
