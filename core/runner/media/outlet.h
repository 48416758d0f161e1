/* outlet.h - where one stream of frames leaves a thread: every consumer's queue gets its own reference. An edge may
 * have a picker, which lets through no more than the frame on screen at each of some times (sm_only_at). */
#pragma once
#include <libavutil/frame.h>
#include <stdbool.h>

#include "media/flow.h"

struct edge {
  struct flow_queue *queue;
  bool dead;
  const int64_t *times_us; /* borrowed for life, ascending; NULL: every frame */
  uint32_t time_count, next;
  AVFrame *held; /* the latest frame, while times are open */
};

struct outlet {
  struct flow_node *node; /* whose thread pushes */
  AVRational time_base;
  struct edge *edges;
  uint32_t edge_count;
};

enum outlet_answer {
  OUTLET_GOES_ON = 1,
  OUTLET_UNWANTED, /* every consumer has left */
  OUTLET_STOPPED   /* the flow is closed */
};

void outlet_free(struct outlet *out);
/* Before the threads run. */
void outlet_add(struct outlet *out, struct flow_queue *queue, const int64_t *times_us, uint32_t time_count);
/* Borrows frame; frame->pts in out->time_base. */
enum outlet_answer outlet_push(struct outlet *out, AVFrame *frame);
/* The frame on screen at time_us, for every picker that asks for just this time. */
enum outlet_answer outlet_pick(struct outlet *out, AVFrame *frame, int64_t time_us);
void outlet_floor(struct outlet *out, int64_t at_us);
void outlet_end(struct outlet *out, bool failed);
/* Consumers that have not left. */
bool outlet_wanted(struct outlet *out);
/* Releases a frame held in a flow_item. */
void outlet_release_frame(void *frame);
size_t outlet_frame_bytes(const AVFrame *frame);
