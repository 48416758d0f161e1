/* harness.h - runs one stage of a plugin file inside the test's own process, with a host the test controls.
 *
 * A stage sees the same services as in an attempt (parameters with their defaults, inputs, outputs in a folder of their
 * own, results checked against its table), and for media stages a small pass: demux, decode, conversion to what the
 * stage wants, frames in order. Faults of the test's own making (unknown file, bad parameter text) fail the test. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stagemill/media.h>

struct harness_output {
  char *port, *name, *type, *metadata, *path;
};

struct harness_result {
  char *key;
  sm_value value; /* text owned by the harness */
  char *items;    /* of a list result: separated by newlines */
};

struct harness;

/* Loads FILE (a path) and prepares one run of its stage `stage`. */
struct harness *harness_create(const char *file, const char *stage);
/* Removes the run's folder; h becomes NULL. */
void harness_destroy(struct harness **h);

/* One parameter, written as in YAML ("10%", "90s", "true"). Again for a REPEATED one: appends. Inside lists of records:
 * "ladder.0.width". Text that no kind of the row accepts fails the test. */
void harness_set(struct harness *h, const char *path, const char *text);
void harness_input(struct harness *h, const char *port, const char *path, const char *media_type);
void harness_checkpoint(struct harness *h, const char *key, const char *value);
/* The host's tables as an older host has them: services beyond `bytes` do not exist. */
void harness_shrink_host(struct harness *h, uint32_t bytes);
void harness_cancel_after(struct harness *h, int polls); /* sm_cancelled() turns true at that call */

sm_status harness_run(struct harness *h);

/* ---- what came out */
const char *harness_message(const struct harness *h); /* operator sentence of sm_fail, "" when none */
const char *harness_debug(const struct harness *h);
const char *harness_folder(const struct harness *h);
size_t harness_output_count(const struct harness *h);
const struct harness_output *harness_output_at(const struct harness *h, size_t index);
/* NULL: not set. A null that the stage set has kind SM_IS_ABSENT. */
const struct harness_result *harness_result(const struct harness *h, const char *key);
const char *harness_result_text(const struct harness *h, const char *key); /* "" when not text */
int64_t harness_result_int(const struct harness *h, const char *key);      /* INT64_MIN when not a number */
double harness_progress(const struct harness *h);
const char *harness_checkpoint_value(const struct harness *h, const char *key);

/* ---- media stages: a pass of one stage */
struct harness_clip {
  const char *path;
  bool decode_all;       /* act as if another stage needed every frame, whatever sm_only_at said */
  bool unknown_duration; /* sm_source_info does not know */
  int64_t stop_at_frame; /* > 0: end the pass with SM_CANCELLED after so many video frames */
};
/* Plays the clip through the stage: open, frames, flush, close. Answers what ended it: SM_OK, SM_DONE (the sink was
 * satisfied early) or the stage's failure. */
sm_status harness_play(struct harness *h, const struct harness_clip *clip);

/* The same by hand, for made-up streams: `in` is borrowed until harness_media_close. */
sm_status harness_media_open(struct harness *h, sm_stream *in, uint32_t count, int64_t duration_us);
sm_status harness_media_frame(struct harness *h, uint32_t stream, AVFrame *frame);
sm_status harness_media_flush(struct harness *h, uint32_t stream);
sm_status harness_media_close(struct harness *h, sm_status why);

/* Times the stage asked for with sm_only_at; 0: it never did. */
uint32_t harness_only_at(const struct harness *h, const int64_t **times_us);
uint64_t harness_frames_given(const struct harness *h);
/* Frames a filter emitted on stream 0 (the last 512 are kept). */
size_t harness_emitted_count(const struct harness *h);
AVFrame *harness_emitted(const struct harness *h, size_t index);
const sm_stream *harness_out(const struct harness *h, size_t index);
