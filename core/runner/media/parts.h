/* parts.h - what the parts of the pass executor share: the pass, its stages, the origin of its streams.
 *
 *   origin (demux, decode, normalise)      convert            stages
 *   cursor -> packets -> decoder -> outlet -+-> node -> outlet -> filter -> outlet -> sink
 *                                           +------------------------------------> sink
 * Every arrow is a queue of the flow; every box with an outlet is a thread. The main thread opens stages one by one
 * through their own threads, joins the graph, starts it, watches for cancellation, collects.
 * Lock order: pass.lock, then flow.lock. */
#pragma once
#include <stagemill/media.h>

#include "base/value.h"
#include "media/flow.h"
#include "media/outlet.h"
#include "runner/pass.h"

enum { PASS_STREAMS_MAX = 17, PASS_OUTPUTS_MAX = 16, PASS_SIDE_MAX = 16384 };

struct pass;
struct stage;
struct node_thread;

struct origin_stream {
  sm_stream desc;
  struct outlet out;
  bool wanted; /* somebody takes frames of it */
};

/* Where the streams come from: the source (source.h), or a synthetic one in tests. */
struct origin {
  void *self;
  bool abandoned; /* a thread that hangs was left behind: nothing it may touch is freed, the process is about to end */
  sm_source info;
  struct origin_stream streams[PASS_STREAMS_MAX];
  uint32_t count;
  void (*facts)(struct origin *, struct value *facts);
  /* Creates nodes and the outlets' producers for every wanted stream; before any thread runs. */
  bool (*join_graph)(struct pass *, struct origin *);
  bool (*start)(struct pass *, struct origin *); /* starts the threads; false after pass_fault */
  void (*wait)(struct origin *);                 /* the flow has been closed: joins them */
  void (*stats)(struct origin *, struct value *stats);
  /* Instead of start: delivers the frames on screen at these times of stream 0. NULL: cannot. */
  bool (*start_seeking)(struct pass *, struct origin *, const int64_t *times_us, uint32_t count, bool nearest);
};

struct tuning { /* STAGEMILL_PASS_FRAMES and others; tests go down to 1 */
  struct flow_limits video_frames, audio_frames, video_packets, audio_packets;
};

struct pass {
  struct pass_context *c;
  struct origin *origin;
  struct flow flow;
  struct tuning tuning;
  struct stage *stages;
  uint32_t stage_count;
  struct node_thread *threads; /* conversions */
  pthread_mutex_t lock;
  pthread_cond_t changed; /* phase of a stage, or fault */
  int64_t begun_us; /* boot clock: soft sinks have their time-out from here */
  bool stopping;          /* fault is set or the attempt is cancelled */
  int32_t culprit;        /* FAULT_NONE, FAULT_SOURCE or a stage */
  sm_status fault;
  char message[512], debug[256];
};

enum { FAULT_NONE = -2, FAULT_SOURCE = -1 };

/* [any thread] The pass ends because of stage `culprit` or of the source; the first one counts. message may be NULL for
 * a stage that has spoken for itself. */
void pass_fault(struct pass *pass, int32_t culprit, sm_status status, const char *debug, const char *message, ...)
    __attribute__((format(printf, 5, 6)));
void pass_cancel(struct pass *pass);
/* A flow that wedged has closed itself: makes a fault of it. No effect on any other flow. */
void pass_explain_wedge(struct pass *pass);
/* True once the attempt is cancelled or the pass failed. Cheap enough for an I/O interrupt callback. */
bool pass_stopping(struct pass *pass);
void pass_log(struct pass *pass, int32_t stage, int level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void pass_heartbeat(struct pass *pass);
/* The whole pass over an origin that is open. */
sm_status pass_run(struct pass_context *c, struct origin *origin, struct value *stats);
/* What the first use of a pass needs: a verdict for every stage when the source cannot even be opened. */
sm_status pass_refuse(struct pass_context *c, sm_status status, const char *message, const char *debug);
struct tuning tuning_read(void);
