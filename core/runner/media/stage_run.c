/* stage_run.c - a stage's life between open and close: merged frames in, failures and early ends out. */
#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

#include "media/stage_node.h"

static const AVRational microseconds = {1, 1000000};

/* ---- progress ---- */

static void show_progress(struct stage *stage, int64_t at_us) {
  struct page_stage *page = &stage->pass->c->page->stages[stage->index];
  int64_t duration_us = stage->pass->origin->info.duration_us;
  atomic_fetch_add_explicit(&page->frames, 1, memory_order_relaxed);
  pass_heartbeat(stage->pass);
  if (duration_us <= 0 || stage->own_progress) return;
  uint32_t ppm = (uint32_t)(av_clip64(at_us, 0, duration_us) * 1000000.0 / (double)duration_us);
  if (ppm < stage->fraction_ppm / 1000 * 1000 + 1000 && ppm < 999000) return;
  uint32_t expected = stage->fraction_ppm;
  if (!expected) expected = atomic_load(&page->fraction_ppm) == UINT32_MAX ? UINT32_MAX : 0;
  if (atomic_compare_exchange_strong(&page->fraction_ppm, &expected, ppm))
    stage->fraction_ppm = ppm;
  else
    stage->own_progress = true; /* somebody else wrote it: the stage reports for itself */
}

/* ---- formats ---- */

static void describe(sm_stream *s, const AVFrame *frame) {
  if (s->kind == SM_STREAM_VIDEO) {
    s->width = frame->width;
    s->height = frame->height;
    s->pixel_format = frame->format;
    s->color_range = frame->color_range;
    s->color_primaries = frame->color_primaries;
    s->color_transfer = frame->color_trc;
    s->color_space = frame->colorspace;
    s->chroma_location = frame->chroma_location;
  } else {
    s->sample_rate = frame->sample_rate;
    s->sample_format = frame->format;
    s->channels = frame->ch_layout.nb_channels;
    s->channel_mask = frame->ch_layout.order == AV_CHANNEL_ORDER_NATIVE ? frame->ch_layout.u.mask : 0;
  }
}

/* The frame as the stage was promised it: itself, converted, or announced. *out is a new reference or NULL. */
static sm_status as_promised(struct stage *stage, uint32_t i, AVFrame *frame, AVFrame **out) {
  struct stage_input *in = &stage->inputs[i];
  *out = NULL;
  if (convert_matches(frame, &in->now)) {
    converter_destroy(&in->guard); /* back to normal: what it still holds would come too late */
    *out = av_frame_clone(frame);
    return *out ? SM_OK : SM_RETRY;
  }
  if (stage->ops->flags & SM_MEDIA_TAKES_CHANGES && STAGE_OPS_HAVE(stage, format)) {
    in->now = convert_target_of(frame, in->desc.kind);
    describe(&in->desc, frame);
    sm_status status = stage->ops->format(stage->task, stage->self, i, &in->desc);
    if (status == SM_OK && !(*out = av_frame_clone(frame))) status = SM_RETRY;
    return status;
  }
  if (!in->guard) in->guard = converter_create(&in->now, in->desc.time_base, 1);
  return converter_frame(in->guard, frame, out) < 0 ? SM_FAIL : SM_OK;
}

static sm_status give_frame(struct stage *stage, uint32_t i, AVFrame *frame) {
  AVFrame *ready;
  sm_status status = as_promised(stage, i, frame, &ready);
  if (status == SM_FAIL && !ready && stage->inputs[i].guard)
    stage->pass->c->blame(stage->pass->c, stage->index, SM_FAIL,
                          "the source changes its format in mid-course to one that cannot be converted", NULL);
  if (status == SM_OK && ready && STAGE_OPS_HAVE(stage, frame))
    status = stage->ops->frame(stage->task, stage->self, i, ready);
  av_frame_free(&ready);
  return status;
}

/* ---- a failed filter that lets frames through ---- */

static enum outlet_answer pass_through(struct stage *stage, uint32_t i, AVFrame *frame) {
  uint32_t kind = stage->inputs[i].desc.kind, rank = 0, seen = 0;
  for (uint32_t k = 0; k < i; k++)
    if (stage->inputs[k].desc.kind == kind) rank++;
  for (uint32_t k = 0; k < stage->output_count; k++) {
    struct stage_output *out = &stage->outputs[k];
    if (out->desc.kind != kind || seen++ != rank) continue;
    frame->pts = av_rescale_q(frame->pts, stage->inputs[i].desc.time_base, out->desc.time_base);
    if (frame->pts <= out->last_pts) return OUTLET_GOES_ON; /* it already left the filter */
    out->last_pts = frame->pts;
    return outlet_push(&out->out, frame);
  }
  return OUTLET_GOES_ON;
}

/* A soft failure of a filter that declared bypass: closed and judged, but its thread goes on passing frames. */
static void begin_passing(struct stage *stage, sm_status status) {
  stage_close(stage, SM_FAIL);
  stage_verdict(stage, status);
  stage->passing = true;
  pass_log(stage->pass, stage->index, SM_LOG_WARNING, "filter '%s' failed; its frames pass unchanged from here",
           stage->spec->id);
}

/* ---- one step ---- */

/* The pass is ending, or its flow is: what follows is nobody's fault here. */
static bool ending(struct stage *stage) { return pass_stopping(stage->pass) || flow_is_closed(&stage->pass->flow); }

static bool unwanted(struct stage *stage) {
  if (!stage->output_count) return false;
  for (uint32_t i = 0; i < stage->output_count; i++)
    if (outlet_wanted(&stage->outputs[i].out)) return false;
  return true;
}

static sm_status take_frame(struct stage *stage, const struct flow_taken *taken) {
  uint32_t i = stage->queue_inputs[taken->input];
  AVFrame *frame = taken->item.payload;
  sm_status status = SM_OK;
  stage->frames[stage->inputs[i].desc.kind]++;
  show_progress(stage, taken->item.at_us);
  if (!stage->passing)
    status = give_frame(stage, i, frame);
  else if (pass_through(stage, i, frame) == OUTLET_STOPPED)
    status = SM_CANCELLED;
  av_frame_free(&frame);
  return status;
}

static sm_status take_floor(struct stage *stage, const struct flow_taken *taken) {
  uint32_t i = stage->queue_inputs[taken->input];
  if (stage->passing || !STAGE_OPS_HAVE(stage, nothing_before)) return SM_OK;
  int64_t pts = av_rescale_q(taken->at_us, microseconds, stage->inputs[i].desc.time_base);
  return stage->ops->nothing_before(stage->task, stage->self, i, pts);
}

static sm_status take_end(struct stage *stage, const struct flow_taken *taken) {
  char text[256];
  uint32_t i = stage->queue_inputs[taken->input];
  if (taken->failed && ending(stage)) return SM_CANCELLED;
  if (taken->failed) {
    snprintf(text, sizeof text, "stage '%s' lost its frames: the stage that makes them failed", stage->spec->id);
    stage->pass->c->blame(stage->pass->c, stage->index, SM_FAIL, text, NULL);
    return SM_FAIL;
  }
  if (stage->passing) return SM_OK;
  /* what a guard still holds (less than a millisecond of resampled sound) is let go: it would come out of order */
  return STAGE_OPS_HAVE(stage, flush) ? stage->ops->flush(stage->task, stage->self, i) : SM_OK;
}

/* Its own end, with everything taken (SM_OK) or early (SM_DONE). */
static void finish(struct stage *stage, sm_status why) {
  for (uint32_t i = 0; i < stage->node->input_count; i++) flow_refuse(stage->node->inputs[i]);
  if (stage->passing || stage->verdict_sent) {
    for (uint32_t i = 0; i < stage->output_count; i++) outlet_end(&stage->outputs[i].out, false);
    return;
  }
  sm_status status = stage_close(stage, why);
  if (status != SM_OK) {
    stage_failed(stage, status);
    return;
  }
  for (uint32_t i = 0; i < stage->output_count; i++) outlet_end(&stage->outputs[i].out, false);
  struct page_stage *page = &stage->pass->c->page->stages[stage->index];
  if (!stage->own_progress) atomic_store(&page->fraction_ppm, 1000000);
  stage_verdict(stage, SM_OK);
}

static void run_out(struct stage *stage) {
  stage_blame_overdue(stage);
  stage_failed(stage, SM_RETRY);
}

static void leave(struct stage *stage) {
  stage_close(stage, SM_CANCELLED);
  stage_verdict(stage, SM_CANCELLED);
}

/* false: the stage has ended. */
static bool go_on(struct stage *stage, sm_status status) {
  if (stage_is_filter(stage) && unwanted(stage) && (status == SM_OK || status == SM_CANCELLED) && !ending(stage)) {
    finish(stage, SM_DONE);
    return false;
  }
  bool overdue = !stage_is_filter(stage) && stage->spec->soft && stage_is_overdue(stage);
  if (status == SM_OK && !overdue) return true;
  if (status == SM_DONE && !stage_is_filter(stage)) {
    finish(stage, SM_DONE);
    return false;
  }
  if (overdue && !ending(stage)) {
    run_out(stage);
    return false;
  }
  if (ending(stage)) {
    leave(stage);
    return false;
  }
  if (stage_is_filter(stage) && stage->spec->soft && stage->ops->flags & SM_MEDIA_BYPASS && !stage->passing) {
    begin_passing(stage, status == SM_RETRY ? SM_RETRY : SM_FAIL);
    return true;
  }
  stage_failed(stage, status);
  return false;
}

void stage_run(struct stage *stage) {
  struct flow_taken taken;
  if (stage->passing) stage_close(stage, SM_CANCELLED); /* dropped, but others take its frames */
  for (;;) {
    switch (flow_take(stage->node, &taken)) {
    case FLOW_ITEM:
      if (!go_on(stage, take_frame(stage, &taken))) return;
      break;
    case FLOW_FLOOR:
      if (!go_on(stage, take_floor(stage, &taken))) return;
      break;
    case FLOW_END:
      if (!go_on(stage, take_end(stage, &taken))) return;
      break;
    case FLOW_ALL_ENDED:
      if (stage_is_overdue(stage)) run_out(stage);
      else finish(stage, SM_OK);
      return;
    case FLOW_CLOSED: leave(stage); return;
    }
  }
}
