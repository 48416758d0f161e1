/* convert_node.c - conversions as nodes of the flow: made once for all consumers that want the same. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "media/convert.h"
#include "media/parts.h"
#include "media/tonemap.h"

struct node_thread {
  struct node_thread *next;
  struct pass *pass;
  struct flow_node *node;
  struct outlet *from, out;
  struct convert_target target;
  bool sdr;
  const int64_t *times_us; /* of the picker in front of it */
  uint32_t time_count;
  struct converter *converter;
  struct tonemap *tonemap;
  pthread_t thread;
  bool has_thread;
};

static bool same_times(const struct node_thread *n, const int64_t *times_us, uint32_t count) {
  return n->time_count == count && (!count || !memcmp(n->times_us, times_us, count * sizeof *times_us));
}

static struct node_thread *find(struct pass *pass, const struct outlet *from, const struct convert_target *target,
                                bool sdr, const int64_t *times_us, uint32_t count) {
  for (struct node_thread *n = pass->threads; n; n = n->next)
    if (n->from == from && n->sdr == sdr && (sdr || convert_target_equal(&n->target, target)) &&
        same_times(n, times_us, count))
      return n;
  return NULL;
}

static unsigned some_threads(const struct pass *pass) {
  unsigned cores = pass->origin->info.cores;
  return cores > 8 ? 4 : cores > 2 ? cores / 2 : 1;
}

/* One node: tone mapping or conversion, never both, so that several sizes share one tone mapping. */
static struct outlet *node_for(struct pass *pass, struct outlet *from, const struct convert_target *target, bool sdr,
                               const int64_t *times_us, uint32_t count) {
  struct node_thread *n = find(pass, from, target, sdr, times_us, count);
  if (n) return &n->out;
  n = mem_alloc(sizeof *n);
  n->pass = pass;
  n->node = flow_node_add(&pass->flow, sdr ? "tone mapping" : "conversion");
  n->from = from;
  n->out.node = n->node;
  n->out.time_base = from->time_base;
  n->target = *target;
  n->sdr = sdr;
  n->times_us = times_us;
  n->time_count = count;
  if (sdr)
    n->tonemap = tonemap_create(some_threads(pass));
  else
    n->converter = converter_create(target, from->time_base, some_threads(pass));
  const struct flow_limits *limits =
      target->kind == SM_STREAM_AUDIO ? &pass->tuning.audio_frames : &pass->tuning.video_frames;
  struct flow_queue *q = flow_queue_add(&pass->flow, n->node->name, from->node, n->node, limits, outlet_release_frame);
  outlet_add(from, q, times_us, count);
  n->next = pass->threads;
  pass->threads = n;
  return &n->out;
}

struct outlet *convert_outlet(struct pass *pass, struct outlet *from, const struct convert_target *target, bool sdr,
                              const int64_t *times_us, uint32_t time_count, bool *picked) {
  bool shaped = target->width || target->height || target->format >= 0 || target->sample_rate || target->channels;
  *picked = false;
  if (sdr) {
    from = node_for(pass, from, target, true, times_us, time_count);
    *picked = times_us != NULL;
  }
  if (!shaped) return from;
  from = node_for(pass, from, target, false, *picked ? NULL : times_us, *picked ? 0 : time_count);
  *picked = times_us != NULL;
  return from;
}

/* ---- threads ---- */

static bool emit(struct node_thread *n, AVFrame **frame) {
  enum outlet_answer answer = outlet_push(&n->out, *frame);
  av_frame_free(frame);
  return answer == OUTLET_GOES_ON;
}

static bool convert_one(struct node_thread *n, AVFrame *in) {
  AVFrame *out = NULL;
  char text[128];
  int e = n->sdr ? tonemap_frame(n->tonemap, in, &out) : converter_frame(n->converter, in, &out);
  if (e < 0) {
    av_strerror(e, text, sizeof text);
    pass_fault(n->pass, FAULT_SOURCE, SM_FAIL, text,
               n->sdr ? "the HDR pictures of the source cannot be mapped to SDR: %s"
                      : "the frames of the source cannot be brought to the format that a stage wants: %s",
               text);
    return false;
  }
  return out ? emit(n, &out) : outlet_wanted(&n->out);
}

static void flush(struct node_thread *n) {
  AVFrame *rest;
  while (n->converter && converter_flush(n->converter, &rest) == 0 && rest)
    if (!emit(n, &rest)) break;
}

static void *node_main(void *context) {
  struct node_thread *n = context;
  struct flow_taken taken;
  bool goes_on = true, failed = false, ended = false;
  n->pass->c->thread_for(n->pass->c, -1);
  n->node->wants_floors = true;
  while (goes_on && !ended) {
    switch (flow_take(n->node, &taken)) {
    case FLOW_ITEM: {
      AVFrame *in = taken.item.payload;
      goes_on = convert_one(n, in);
      av_frame_free(&in);
      break;
    }
    case FLOW_FLOOR: outlet_floor(&n->out, taken.at_us); break;
    case FLOW_END: failed = taken.failed; break;
    case FLOW_ALL_ENDED: ended = true; break;
    case FLOW_CLOSED: goes_on = false; break;
    }
  }
  if (goes_on && !failed) flush(n);
  flow_refuse(n->node->inputs[0]);
  outlet_end(&n->out, failed);
  return NULL;
}

bool convert_start(struct pass *pass) {
  for (struct node_thread *n = pass->threads; n; n = n->next) {
    n->has_thread = pthread_create(&n->thread, NULL, node_main, n) == 0;
    if (n->has_thread) continue;
    pass_fault(pass, FAULT_SOURCE, SM_RETRY, NULL,
               "no thread could be started for a conversion: raise the limit on tasks");
    return false;
  }
  return true;
}

void convert_wait(struct pass *pass) {
  for (struct node_thread *n = pass->threads; n; n = n->next)
    if (n->has_thread) pthread_join(n->thread, NULL);
}

void convert_free(struct pass *pass) {
  while (pass->threads) {
    struct node_thread *n = pass->threads;
    pass->threads = n->next;
    converter_destroy(&n->converter);
    tonemap_destroy(&n->tonemap);
    outlet_free(&n->out);
    free(n);
  }
}
