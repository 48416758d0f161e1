/* stage.c - a media stage's streams, opening, closing, verdict and thread. */
#include <libavutil/pixdesc.h>
#include <libavutil/samplefmt.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "media/stage_node.h"

bool stage_is_filter(const struct stage *stage) { return stage->row->kind == SM_KIND_FILTER; }

void stage_free(struct stage *stage) {
  for (uint32_t i = 0; i < stage->input_count; i++) {
    converter_destroy(&stage->inputs[i].guard);
    free(stage->inputs[i].times_us);
  }
  for (uint32_t i = 0; i < PASS_OUTPUTS_MAX; i++) outlet_free(&stage->outputs[i].out);
  free(stage->inputs);
  free(stage->queue_inputs);
}

/* ---- verdict ---- */

/* What the pass's own end makes of a stage that did not finish by itself. */
static sm_status verdict_of_pass(struct stage *stage, sm_status status) {
  struct pass *pass = stage->pass;
  char message[sizeof pass->message], debug[sizeof pass->debug];
  pass_explain_wedge(pass);
  pthread_mutex_lock(&pass->lock);
  bool source = pass->culprit == FAULT_SOURCE, other = pass->stopping && pass->culprit != stage->index;
  sm_status fault = pass->fault;
  memcpy(message, pass->message, sizeof message);
  memcpy(debug, pass->debug, sizeof debug);
  pthread_mutex_unlock(&pass->lock);
  if (status == SM_OK || !other) return status;
  if (!source) return SM_CANCELLED;
  pass->c->blame(pass->c, stage->index, fault, message, debug);
  return fault;
}

void stage_verdict(struct stage *stage, sm_status status) {
  if (stage->verdict_sent) return;
  stage->verdict_sent = true;
  stage->verdict = verdict_of_pass(stage, status);
  struct value *stats = value_map();
  value_set_int(stats, "videoFrames", (int64_t)stage->frames[SM_STREAM_VIDEO]);
  value_set_int(stats, "audioFrames", (int64_t)stage->frames[SM_STREAM_AUDIO]);
  if (!stage->dropped) stage->pass->c->verdict(stage->pass->c, stage->index, stage->verdict, stats);
  value_free(&stats);
}

sm_status stage_close(struct stage *stage, sm_status why) {
  if (!stage->opened) return why == SM_DONE ? SM_OK : why;
  stage->opened = false;
  if (!STAGE_OPS_HAVE(stage, close)) return why == SM_DONE ? SM_OK : why;
  sm_status status = stage->ops->close(stage->task, stage->self, why);
  if (why == SM_OK || why == SM_DONE) return status == SM_DONE ? SM_OK : status;
  return why;
}

static sm_status checked_failure(struct stage *stage, sm_status status) {
  char text[256];
  if (status == SM_FAIL || status == SM_RETRY) return status;
  snprintf(text, sizeof text, "stage '%s' stopped with status %d, which means nothing here: report it to its author",
           stage->spec->id, (int)status);
  stage->pass->c->blame(stage->pass->c, stage->index, SM_FAIL, text, NULL);
  return SM_FAIL;
}

void stage_failed(struct stage *stage, sm_status status) {
  struct pass *pass = stage->pass;
  if (!pass_stopping(pass)) {
    status = checked_failure(stage, status);
    if (!stage->spec->soft) pass_fault(pass, stage->index, status, NULL, NULL);
  }
  if (stage->node)
    for (uint32_t i = 0; i < stage->node->input_count; i++) flow_refuse(stage->node->inputs[i]);
  stage_close(stage, SM_FAIL);
  for (uint32_t i = 0; i < stage->output_count; i++) outlet_end(&stage->outputs[i].out, true);
  stage_verdict(stage, status);
}

/* ---- streams ---- */

static const sm_port *port_find(const sm_port *ports, const char *name) {
  for (; ports && ports->name; ports++)
    if (!strcmp(ports->name, name)) return ports;
  return NULL;
}

static void input_add(struct stage *stage, const char *port, const sm_stream *desc, struct outlet *from) {
  stage->inputs = mem_grow(stage->inputs, stage->input_count + 1, sizeof *stage->inputs);
  struct stage_input *in = &stage->inputs[stage->input_count];
  memset(in, 0, sizeof *in);
  in->desc = *desc;
  in->desc.size = sizeof in->desc;
  in->desc.port = port;
  in->desc.index = 0;
  for (uint32_t i = 0; i < stage->input_count; i++)
    if (stage->inputs[i].desc.port == port) in->desc.index++;
  in->desc.want_width = in->desc.want_height = in->desc.want_sample_rate = in->desc.want_channels = 0;
  in->desc.want_pixel_format = in->desc.want_sample_format = -1;
  in->desc.want_sdr = in->desc.want_none = 0;
  in->from = from;
  stage->input_count++;
}

static bool collect_from(struct stage *stage, const struct unit_link *link, const char *port, uint32_t kind, int depth);

/* A filter that is not there lets through what it would have taken itself. */
static bool collect_past(struct stage *stage, const struct stage *filter, const char *port, uint32_t kind, int depth) {
  for (uint32_t i = 0; i < filter->spec->link_count; i++) {
    const sm_port *row = port_find(filter->row->inputs, filter->spec->links[i].port);
    if (row && (row->kind == SM_PORT_AUDIO ? SM_STREAM_AUDIO : SM_STREAM_VIDEO) != kind) continue;
    if (!collect_from(stage, &filter->spec->links[i], port, kind, depth + 1)) return false;
  }
  return true;
}

static bool collect_filter(struct stage *stage, struct stage *filter, const struct unit_link *link, const char *port) {
  char text[256];
  if (!filter->opened && !filter->passing) {
    snprintf(text, sizeof text, "stage '%s' takes frames of stage '%s', which %s", stage->spec->id, filter->spec->id,
             filter->ops ? "failed" : "is not there");
    stage->pass->c->blame(stage->pass->c, stage->index, filter->verdict ? filter->verdict : SM_FAIL, text, NULL);
    return false;
  }
  for (uint32_t i = 0; i < filter->output_count; i++)
    if (!link->from_port || !strcmp(filter->outputs[i].desc.port, link->from_port))
      input_add(stage, port, &filter->outputs[i].desc, &filter->outputs[i].out);
  return true;
}

static bool collect_from(struct stage *stage, const struct unit_link *link, const char *port, uint32_t kind,
                         int depth) {
  struct pass *pass = stage->pass;
  if (depth > UNIT_STAGES_MAX) return true;
  if (link->from_stage < 0) {
    for (uint32_t i = 0; i < pass->origin->count; i++)
      if (pass->origin->streams[i].desc.kind == kind)
        input_add(stage, port, &pass->origin->streams[i].desc, &pass->origin->streams[i].out);
    return true;
  }
  if ((uint32_t)link->from_stage >= pass->stage_count) return true;
  struct stage *filter = &pass->stages[link->from_stage];
  if (filter->bypassed) return collect_past(stage, filter, port, kind, depth);
  return collect_filter(stage, filter, link, port);
}

bool stage_collect(struct stage *stage) {
  char text[256];
  for (uint32_t i = 0; i < stage->spec->link_count; i++) {
    const struct unit_link *link = &stage->spec->links[i];
    const sm_port *port = port_find(stage->row->inputs, link->port);
    if (port && port->kind == SM_PORT_ARTIFACT) continue;
    if (!port || port->kind == SM_PORT_PACKETS) {
      snprintf(text, sizeof text,
               "stage '%s' takes encoded packets at its port '%s', which this version does not offer", stage->spec->id,
               link->port);
      stage->pass->c->blame(stage->pass->c, stage->index, SM_FAIL, text, NULL);
      return false;
    }
    if (!collect_from(stage, link, port->name, port->kind == SM_PORT_AUDIO ? SM_STREAM_AUDIO : SM_STREAM_VIDEO, 0))
      return false;
  }
  return true;
}

/* ---- open ---- */

static bool wants_are_sane(const sm_stream *s) {
  if (s->want_width < 0 || s->want_width > PASS_SIDE_MAX || s->want_height < 0 || s->want_height > PASS_SIDE_MAX)
    return false;
  if (s->want_pixel_format >= 0 && !av_pix_fmt_desc_get(s->want_pixel_format)) return false;
  if (s->want_sample_format >= 0 && !av_get_sample_fmt_name(s->want_sample_format)) return false;
  return s->want_sample_rate >= 0 && s->want_sample_rate <= 768000 && s->want_channels >= 0 && s->want_channels <= 64;
}

/* What a filter left open follows its first input of that kind. */
static bool output_complete(struct stage *stage, sm_stream *out) {
  const sm_stream *like = NULL;
  for (uint32_t i = 0; i < stage->input_count && !like; i++)
    if (stage->inputs[i].desc.kind == out->kind && !stage->inputs[i].nothing) like = &stage->inputs[i].desc;
  if (!out->port) {
    const sm_port *ports = stage->row->outputs;
    for (; ports && ports->name && !out->port; ports++)
      if (ports->kind == (out->kind == SM_STREAM_AUDIO ? SM_PORT_AUDIO : SM_PORT_VIDEO)) out->port = ports->name;
  } else if (port_find(stage->row->outputs, out->port)) {
    out->port = port_find(stage->row->outputs, out->port)->name;
  }
  if (like && (out->time_base.num <= 0 || out->time_base.den <= 0)) out->time_base = like->time_base;
  if (like && !out->width) out->width = like->want_width ? like->want_width : like->width;
  if (like && !out->height) out->height = like->want_height ? like->want_height : like->height;
  if (like && !out->frame_rate.num) out->frame_rate = like->frame_rate;
  if (like && !out->sample_rate) out->sample_rate = like->want_sample_rate ? like->want_sample_rate : like->sample_rate;
  if (like && !out->channels) {
    out->channels = like->want_channels ? like->want_channels : like->channels;
    if (!like->want_channels) out->channel_mask = like->channel_mask;
  }
  if (like && !out->duration_us) out->duration_us = like->duration_us;
  if (like && !out->codec) out->codec = like->codec;
  if (like && !out->language) out->language = like->language;
  if (!out->frame_rate.den) out->frame_rate = (AVRational){0, 1};
  bool sized = out->kind == SM_STREAM_AUDIO
                   ? out->sample_rate > 0 && out->channels > 0
                   : out->width > 0 && out->height > 0 && out->width <= PASS_SIDE_MAX && out->height <= PASS_SIDE_MAX;
  return (out->kind == SM_STREAM_VIDEO || out->kind == SM_STREAM_AUDIO) && out->port && sized &&
         out->time_base.num > 0 && out->time_base.den > 0;
}

static sm_status accept_answers(struct stage *stage, const sm_stream *in, sm_stream *out, uint32_t out_count) {
  char text[256];
  const char *wrong = NULL;
  for (uint32_t i = 0; i < stage->input_count; i++) {
    stage->inputs[i].desc = in[i];
    stage->inputs[i].nothing = in[i].want_none != 0;
    if (!wants_are_sane(&in[i])) wrong = "asks for a format that does not exist";
  }
  if (!stage_is_filter(stage)) out_count = 0;
  if (out_count > PASS_OUTPUTS_MAX) wrong = "announces more streams than there is room for";
  for (uint32_t i = 0; i < out_count && !wrong; i++) {
    if (!output_complete(stage, &out[i])) wrong = "announces a stream without kind, port, size or time base";
    stage->outputs[i].desc = out[i];
    stage->outputs[i].out.time_base = out[i].time_base;
    stage->outputs[i].last_pts = INT64_MIN;
  }
  stage->output_count = wrong ? 0 : out_count;
  if (!wrong) return SM_OK;
  snprintf(text, sizeof text, "stage '%s' %s when it opens: report it to its author", stage->spec->id, wrong);
  stage->pass->c->blame(stage->pass->c, stage->index, SM_FAIL, text, NULL);
  return SM_FAIL;
}

static sm_status call_open(struct stage *stage) {
  if (!STAGE_OPS_HAVE(stage, open)) return SM_FAIL;
  sm_stream out[PASS_OUTPUTS_MAX];
  memset(out, 0, sizeof out);
  uint32_t out_count = PASS_OUTPUTS_MAX;
  sm_stream *in = mem_array(stage->input_count + 1, sizeof *in);
  for (uint32_t i = 0; i < stage->input_count; i++) in[i] = stage->inputs[i].desc;
  for (uint32_t i = 0; i < PASS_OUTPUTS_MAX; i++) {
    out[i].size = sizeof out[i];
    out[i].pixel_format = out[i].sample_format = -1;
  }
  stage->in_open = true;
  sm_status status = stage->ops->open(stage->task, in, stage->input_count, out, &out_count, &stage->self);
  stage->in_open = false;
  if (status == SM_OK || status == SM_DONE) {
    stage->opened = true;
    sm_status accepted = accept_answers(stage, in, out, out_count);
    if (accepted != SM_OK) status = accepted;
  }
  free(in);
  return status;
}

/* false: the stage has ended. */
static bool stage_open(struct stage *stage) {
  sm_status status = stage_collect(stage) ? call_open(stage) : SM_FAIL;
  if (status == SM_OK) return true;
  if (status == SM_DONE && !stage_is_filter(stage)) {
    status = stage_close(stage, SM_DONE);
    if (status == SM_OK)
      stage_verdict(stage, SM_OK);
    else
      stage_failed(stage, status);
    return false;
  }
  if (status == SM_CANCELLED && pass_stopping(stage->pass)) {
    stage_close(stage, SM_CANCELLED);
    stage_verdict(stage, SM_CANCELLED);
    return false;
  }
  stage->bypassed = stage_is_filter(stage) && stage->spec->soft && stage->ops->flags & SM_MEDIA_BYPASS;
  stage_failed(stage, status);
  return false;
}

/* ---- thread ---- */

static enum stage_phase next_phase(struct stage *stage, enum stage_phase from) {
  struct pass *pass = stage->pass;
  pthread_mutex_lock(&pass->lock);
  while (stage->phase == from) pthread_cond_wait(&pass->changed, &pass->lock);
  enum stage_phase phase = stage->phase;
  pthread_mutex_unlock(&pass->lock);
  return phase;
}

static void set_phase(struct stage *stage, enum stage_phase phase) {
  pthread_mutex_lock(&stage->pass->lock);
  stage->phase = phase;
  pthread_cond_broadcast(&stage->pass->changed);
  pthread_mutex_unlock(&stage->pass->lock);
}

static void *stage_main(void *context) {
  struct stage *stage = context;
  stage->pass->c->thread_for(stage->pass->c, stage->index);
  enum stage_phase phase = next_phase(stage, STAGE_IDLE);
  if (phase == STAGE_OPENING) {
    if (!stage_open(stage)) {
      set_phase(stage, STAGE_ENDED);
      return NULL;
    }
    set_phase(stage, STAGE_OPENED);
    phase = next_phase(stage, STAGE_OPENED);
  }
  if (phase == STAGE_RUNNING) {
    stage_run(stage);
  } else {
    stage_close(stage, SM_CANCELLED);
    stage_verdict(stage, SM_CANCELLED);
  }
  set_phase(stage, STAGE_ENDED);
  return NULL;
}

bool stage_start_thread(struct stage *stage) {
  stage->phase = STAGE_IDLE;
  stage->has_thread = pthread_create(&stage->thread, NULL, stage_main, stage) == 0;
  if (!stage->has_thread)
    pass_fault(stage->pass, FAULT_SOURCE, SM_RETRY, NULL,
               "no thread could be started for stage '%s': "
               "raise the limit on tasks or run fewer jobs at once",
               stage->spec->id);
  return stage->has_thread;
}

void stage_ask(struct stage *stage, enum stage_phase phase) {
  pthread_mutex_lock(&stage->pass->lock);
  if (stage->phase != STAGE_ENDED) stage->phase = phase;
  pthread_cond_broadcast(&stage->pass->changed);
  pthread_mutex_unlock(&stage->pass->lock);
}
