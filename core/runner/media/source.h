/* source.h - the media file of a pass: its streams, its clock, its threads. */
#pragma once
#include <libavcodec/avcodec.h>

#include "media/input.h"
#include "media/parts.h"
#include "media/reader.h"

struct decoder;

struct source_stream {
  int av_index; /* in the format context */
  AVCodecParameters *codec;
  AVRational time_base; /* of the packets */
  AVRational frame_rate, sample_aspect;
  int32_t matrix[9]; /* display matrix */
  bool has_matrix;
  int64_t duration_us; /* the stream's own, from the header; 0: unknown */
  int64_t start_time;  /* container's clock, time_base; AV_NOPTS_VALUE: unknown */
  char language[16], codec_name[32];
  struct decoder *decoder;
  pthread_t thread;
  bool has_thread;
};

struct source {
  struct pass_context *c;
  struct pass *pass; /* once it runs */
  struct origin origin;
  struct input input;
  struct reader *first;
  struct source_stream streams[PASS_STREAMS_MAX];
  int64_t start; /* the clock's zero: ticks of start_base */
  AVRational start_base;
  int64_t header_us; /* duration as the header promises it; 0: it does not */
  char name[256], container[64];
  struct demux *demux;
  struct seeker *seeker;
  bool clock_jumps; /* timestamps do not tell places in the file */
  _Atomic uint64_t corrupt_packets, read_errors, demuxed_bytes;
  pthread_mutex_t lock; /* what follows: ends of the streams, for the check against the header */
  uint32_t decoding, ended;
  int64_t end_us;
  int64_t longest_gap_us;
};

/* Opens, probes, chooses. On failure *status and a sentence, and nothing to close. */
bool source_open(struct source *s, struct pass_context *c, sm_status *status, char *message, size_t message_size,
                 char *debug, size_t debug_size);
void source_close(struct source *s);
/* The stream at `av_index` as the origin counts; -1: not chosen. */
int source_stream_of(const struct source *s, int av_index);
bool source_stopping(void *source);
/* duration.c */
void duration_find(struct source *s);
/* A stream was decoded to its end. false after pass_fault: the source is cut off. */
bool duration_check(struct source *s, uint32_t stream, int64_t end_us, int64_t longest_gap_us);
/* seek.c */
bool seek_start(struct pass *pass, struct origin *origin, const int64_t *times_us, uint32_t count, bool nearest);
void seek_wait(struct source *s);
void seek_free(struct source *s);
uint32_t seek_count(const struct source *s);
