/* stage_host.c - the services a media stage calls: emit, source facts, only_at. */
#include <libavutil/avutil.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "media/stage_node.h"

enum { TIMES_MAX = 100000 };

static struct stage *stage_of(sm_task *task) { return ((const struct stage_host *)task->media_host)->stage; }

static sm_status wrong_call(struct stage *stage, const char *what) {
  char text[256];
  snprintf(text, sizeof text, "stage '%s' %s: report it to its author", stage->spec->id, what);
  stage->pass->c->blame(stage->pass->c, stage->index, SM_FAIL, text, NULL);
  return SM_FAIL;
}

static bool all_unwanted(struct stage *stage) {
  for (uint32_t i = 0; i < stage->output_count; i++)
    if (outlet_wanted(&stage->outputs[i].out)) return false;
  return true;
}

static sm_status host_emit(sm_task *task, uint32_t stream, AVFrame *frame) {
  struct stage *stage = stage_of(task);
  if (stage->in_open || !stage->opened) return wrong_call(stage, "emits frames outside of frame, format and flush");
  if (!frame || stream >= stage->output_count) return wrong_call(stage, "emits on a stream that it has not announced");
  struct stage_output *out = &stage->outputs[stream];
  if (frame->pts == AV_NOPTS_VALUE) return wrong_call(stage, "emits a frame without a timestamp");
  if (frame->pts <= out->last_pts) return wrong_call(stage, "emits frames whose timestamps do not rise");
  out->last_pts = frame->pts;
  switch (outlet_push(&out->out, frame)) {
  case OUTLET_STOPPED: return SM_CANCELLED;
  case OUTLET_UNWANTED: return all_unwanted(stage) ? SM_CANCELLED : SM_OK;
  default: return SM_OK;
  }
}

static sm_status host_emit_nothing_before(sm_task *task, uint32_t stream, int64_t pts) {
  struct stage *stage = stage_of(task);
  if (stage->in_open || stream >= stage->output_count) return SM_FAIL;
  outlet_floor(&stage->outputs[stream].out,
               av_rescale_q(pts, stage->outputs[stream].desc.time_base, (AVRational){1, 1000000}));
  return SM_OK;
}

static sm_status host_source(sm_task *task, sm_source *source, uint32_t size) {
  const sm_source *info = &stage_of(task)->pass->origin->info;
  memcpy(source, info, size < sizeof *info ? size : sizeof *info);
  if (size >= sizeof source->size) source->size = size < sizeof *info ? size : (uint32_t)sizeof *info;
  return SM_OK;
}

static int by_time(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static sm_status host_only_at(sm_task *task, uint32_t stream, const int64_t *times_us, uint32_t count, uint32_t flags) {
  struct stage *stage = stage_of(task);
  if (!stage->in_open) return wrong_call(stage, "calls sm_only_at outside of open");
  if (stream >= stage->input_count || !count || count > TIMES_MAX || !times_us)
    return wrong_call(stage, "calls sm_only_at with an unknown stream or an unusable number of times");
  struct stage_input *in = &stage->inputs[stream];
  if (in->desc.kind != SM_STREAM_VIDEO) return wrong_call(stage, "calls sm_only_at for a stream that is not video");
  free(in->times_us);
  in->times_us = mem_array(count, sizeof *in->times_us);
  for (uint32_t i = 0; i < count; i++) in->times_us[i] = times_us[i] > 0 ? times_us[i] : 0;
  qsort(in->times_us, count, sizeof *in->times_us, by_time);
  in->time_count = count;
  in->time_flags = flags;
  return SM_OK;
}

void stage_host_init(struct stage *stage) {
  stage->host.table = (sm_media_host){.size = sizeof stage->host.table,
                                      .emit = host_emit,
                                      .emit_nothing_before = host_emit_nothing_before,
                                      .source = host_source,
                                      .only_at = host_only_at};
  stage->host.stage = stage;
  stage->task->media_host = &stage->host;
}
