/* session.h - one run of the stage: from the streams a pass offers to lanes of renditions. All of it belongs to the
 * thread on which the host calls the stage. */
#pragma once
#include <stagemill/media.h>

#include "lane.h"
#include "settings.h"
#include "sound.h"
#include "timeline.h"

struct session {
  sm_task *task;
  struct settings settings;
  struct rung rungs[LADDER_MAX];
  struct rendition renditions[LADDER_MAX];
  size_t count;
  struct lane *lanes[LADDER_MAX];
  size_t lane_count;
  int video, audio; /* index of the stream we take, -1: none */
  AVRational video_base, audio_base;
  double frame_rate;
  bool vfr;
  struct colours colours;
  int width, height; /* of the source */
  int64_t gop, segment;
  struct timeline timeline;
  struct sound *sound;
  AVPacket *packet;
  AVFrame *held; /* what is on screen, or black before the first picture */
  /* On either side: nothing more comes before `limit`, time has reached `reached`; microseconds. */
  int64_t video_limit, video_reached, audio_limit, audio_reached;
  bool heard;                                   /* sound has come, not silence of ours alone */
  int64_t duration_us;                          /* of the source, 0: unknown */
  char stem[NAMES_MAX], base[1024], title[160]; /* title: what followers read beside the bar */
  struct fault fault;
};

#define NO_LIMIT (INT64_MAX / 4)

/* The media calls of the stage (stagemill/media.h). */
sm_status session_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                       void **self);
sm_status session_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame);
sm_status session_nothing_before(sm_task *task, void *self, uint32_t stream, int64_t pts);
sm_status session_flush(sm_task *task, void *self, uint32_t stream);
sm_status session_close(sm_task *task, void *self, sm_status why);

/* feed.c: what comes in goes to the lanes, gaps filled. */
sm_status feed_picture(struct session *s, AVFrame *frame);
sm_status feed_sound(struct session *s, const AVFrame *frame);
/* Fills what is missing on either side as far as the other has come. */
sm_status feed_balance(struct session *s);
/* Ends every lane and waits. */
sm_status feed_end(struct session *s);

/* publish.c: what the stage tells the host. */
sm_status publish_opening(struct session *s);
sm_status publish_segments(struct session *s); /* those that are complete and not yet declared */
sm_status publish_playlists(struct session *s);
void publish_progress(struct session *s);

/* plan.c */
sm_status hls_plan(sm_task *task);
/* Memory of one encoder in bytes, measured with preset fast: reference, look-ahead and thread frames. */
double plan_memory(int width, int height, int threads);
