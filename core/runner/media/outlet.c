/* outlet.c - references of one frame to all consumers, and pickers. */
#include "media/outlet.h"

#include <libavutil/mathematics.h>

#include "base/mem.h"

void outlet_release_frame(void *frame) {
  AVFrame *f = frame;
  av_frame_free(&f);
}

void outlet_free(struct outlet *out) {
  for (uint32_t i = 0; i < out->edge_count; i++) av_frame_free(&out->edges[i].held);
  free(out->edges);
  out->edges = NULL;
  out->edge_count = 0;
}

void outlet_add(struct outlet *out, struct flow_queue *queue, const int64_t *times_us, uint32_t time_count) {
  out->edges = mem_grow(out->edges, out->edge_count + 1, sizeof *out->edges);
  out->edges[out->edge_count++] = (struct edge){.queue = queue, .times_us = times_us, .time_count = time_count};
}

size_t outlet_frame_bytes(const AVFrame *frame) {
  size_t bytes = 0;
  for (int i = 0; i < AV_NUM_DATA_POINTERS; i++)
    if (frame->buf[i]) bytes += frame->buf[i]->size;
  for (int i = 0; i < frame->nb_extended_buf; i++) bytes += frame->extended_buf[i]->size;
  return bytes;
}

static int64_t frame_us(const struct outlet *out, const AVFrame *frame) {
  return av_rescale_q(frame->pts, out->time_base, (AVRational){1, 1000000});
}

/* false: the flow is closed. */
static bool edge_give(struct outlet *out, struct edge *edge, AVFrame *frame) {
  AVFrame *ref = av_frame_clone(frame);
  if (!ref) return false;
  struct flow_item item = {ref, frame_us(out, frame), outlet_frame_bytes(frame)};
  enum flow_push answer = flow_push(out->node, edge->queue, item);
  if (answer == FLOW_REFUSED) edge->dead = true;
  return answer != FLOW_STOPPED;
}

static void edge_finish(struct edge *edge, bool failed) {
  if (!edge->dead) flow_end(edge->queue, failed);
  edge->dead = true;
  av_frame_free(&edge->held);
}

static bool edge_give_times(struct outlet *out, struct edge *edge, AVFrame *frame, int64_t up_to_us) {
  while (!edge->dead && edge->next < edge->time_count && edge->times_us[edge->next] <= up_to_us) {
    edge->next++;
    if (!edge_give(out, edge, frame)) return false;
  }
  if (edge->next == edge->time_count) edge_finish(edge, false);
  return true;
}

/* The frame on screen at t is the last one that began at or before t; before the first frame it is the first. */
static bool edge_consider(struct outlet *out, struct edge *edge, AVFrame *frame) {
  int64_t at_us = frame_us(out, frame);
  if (!edge_give_times(out, edge, edge->held ? edge->held : frame, at_us - 1)) return false;
  if (edge->dead) return true;
  av_frame_free(&edge->held);
  edge->held = av_frame_clone(frame);
  if (!edge->held) return false;
  flow_floor(edge->queue, at_us);
  return edge_give_times(out, edge, frame, at_us);
}

bool outlet_wanted(struct outlet *out) {
  for (uint32_t i = 0; i < out->edge_count; i++)
    if (!out->edges[i].dead) return true;
  return false;
}

enum outlet_answer outlet_push(struct outlet *out, AVFrame *frame) {
  for (uint32_t i = 0; i < out->edge_count; i++) {
    struct edge *edge = &out->edges[i];
    if (edge->dead) continue;
    if (!(edge->times_us ? edge_consider(out, edge, frame) : edge_give(out, edge, frame))) return OUTLET_STOPPED;
  }
  return outlet_wanted(out) ? OUTLET_GOES_ON : OUTLET_UNWANTED;
}

enum outlet_answer outlet_pick(struct outlet *out, AVFrame *frame, int64_t time_us) {
  for (uint32_t i = 0; i < out->edge_count; i++) {
    struct edge *edge = &out->edges[i];
    if (!edge->dead && edge->times_us && !edge_give_times(out, edge, frame, time_us)) return OUTLET_STOPPED;
  }
  return outlet_wanted(out) ? OUTLET_GOES_ON : OUTLET_UNWANTED;
}

void outlet_floor(struct outlet *out, int64_t at_us) {
  for (uint32_t i = 0; i < out->edge_count; i++) {
    struct edge *edge = &out->edges[i];
    if (!edge->dead && !edge->held) flow_floor(edge->queue, at_us);
  }
}

void outlet_end(struct outlet *out, bool failed) {
  for (uint32_t i = 0; i < out->edge_count; i++) {
    struct edge *edge = &out->edges[i];
    if (edge->dead) continue;
    if (edge->held && !failed) edge_give_times(out, edge, edge->held, INT64_MAX);
    edge_finish(edge, failed);
  }
}
