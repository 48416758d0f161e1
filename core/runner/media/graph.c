/* graph.c - which stages take part, what is connected to what, and whether seeking will do. */
#include "media/graph.h"

#include <string.h>

#include "base/mem.h"
#include "media/tonemap.h"

static void activate(struct pass *pass, struct stage *stage) {
  if (stage->active || !stage->ops) return; /* a stage without code is another's problem: its consumers say so */
  stage->active = true;
  for (uint32_t i = 0; i < stage->spec->link_count; i++) {
    int32_t from = stage->spec->links[i].from_stage;
    if (from >= 0 && (uint32_t)from < pass->stage_count) activate(pass, &pass->stages[from]);
  }
}

static bool is_late(struct pass *pass, struct stage *stage, int depth) {
  if (stage->spec->late && stage->spec->late->count) return true;
  for (uint32_t i = 0; i < stage->spec->link_count && depth < UNIT_STAGES_MAX; i++) {
    int32_t from = stage->spec->links[i].from_stage;
    if (from >= 0 && (uint32_t)from < pass->stage_count && is_late(pass, &pass->stages[from], depth + 1)) return true;
  }
  return false;
}

void graph_stages(struct pass *pass) {
  struct pass_context *c = pass->c;
  pass->stage_count = c->unit->stage_count;
  pass->stages = mem_array(pass->stage_count + 1, sizeof *pass->stages);
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    struct stage *stage = &pass->stages[i];
    stage->pass = pass;
    stage->index = (int32_t)i;
    stage->spec = c->stages[i].spec;
    stage->task = c->stages[i].task;
    stage->row = &c->stages[i].stage;
    stage->ops = stage->row->media;
    stage->phase = STAGE_IDLE;
  }
  for (uint32_t i = 0; i < pass->stage_count; i++)
    if (!pass->stages[i].spec->done && !stage_is_filter(&pass->stages[i])) activate(pass, &pass->stages[i]);
  for (uint32_t i = 0; i < pass->stage_count; i++) pass->stages[i].late = is_late(pass, &pass->stages[i], 0);
}

/* ---- edges ---- */

static struct convert_target promised(const struct stage *stage, const struct stage_input *in) {
  const sm_stream *s = &in->desc;
  struct convert_target t = {.kind = s->kind};
  if (s->kind == SM_STREAM_AUDIO) {
    t.format = s->want_sample_format >= 0 ? s->want_sample_format : s->sample_format;
    t.sample_rate = s->want_sample_rate ? s->want_sample_rate : s->sample_rate;
    t.channels = s->want_channels ? s->want_channels : s->channels;
    t.channel_mask = s->want_channels ? 0 : s->channel_mask;
    if (t.format < 0) t.format = AV_SAMPLE_FMT_FLTP;
    return t;
  }
  bool mapped = s->want_sdr && tonemap_needed(s->color_transfer);
  t.width = s->want_width ? s->want_width : s->width;
  t.height = s->want_height ? s->want_height : s->height;
  if (s->want_width && !s->want_height) t.height = (int)(av_rescale(s->height, s->want_width, s->width) / 2 * 2);
  if (s->want_height && !s->want_width) t.width = (int)(av_rescale(s->width, s->want_height, s->height) / 2 * 2);
  if (t.width < 2) t.width = 2;
  if (t.height < 2) t.height = 2;
  t.format = s->want_pixel_format >= 0 ? s->want_pixel_format : mapped ? AV_PIX_FMT_YUV420P : s->pixel_format;
  if (t.format < 0) t.format = AV_PIX_FMT_YUV420P;
  (void)stage;
  return t;
}

/* What a conversion node must do so that frames come as promised: 0 and -1 where the offer is already right. All wants
 * are one node; fields that nobody asked for follow the input (a change in mid-course is the stage's guard's matter).
 */
static struct convert_target needed(const struct stage_input *in, const struct convert_target *now, bool sdr) {
  const sm_stream *s = &in->desc;
  struct convert_target t = *now;
  bool same;
  if (s->kind == SM_STREAM_AUDIO)
    same = t.format == s->sample_format && t.sample_rate == s->sample_rate && t.channels == s->channels;
  else
    same = t.width == s->width && t.height == s->height && t.format == (sdr ? AV_PIX_FMT_YUV420P : s->pixel_format);
  if (same) t = (struct convert_target){.kind = s->kind, .format = -1};
  return t;
}

static void connect_input(struct pass *pass, struct stage *stage, struct stage_input *in, uint32_t number) {
  bool sdr = in->desc.kind == SM_STREAM_VIDEO && in->desc.want_sdr && tonemap_needed(in->desc.color_transfer), picked;
  in->now = promised(stage, in);
  struct convert_target target = needed(in, &in->now, sdr);
  struct outlet *from = convert_outlet(pass, in->from, &target, sdr, in->times_us, in->time_count, &picked);
  const struct flow_limits *limits =
      in->desc.kind == SM_STREAM_AUDIO ? &pass->tuning.audio_frames : &pass->tuning.video_frames;
  struct flow_queue *q =
      flow_queue_add(&pass->flow, stage->spec->id, from->node, stage->node, limits, outlet_release_frame);
  outlet_add(from, q, picked ? NULL : in->times_us, picked ? 0 : in->time_count);
  stage->queue_inputs[q->index] = number;
}

static void connect_stage(struct pass *pass, struct stage *stage) {
  stage->queue_inputs = mem_array(stage->input_count + 1, sizeof *stage->queue_inputs);
  stage->node->wants_floors = STAGE_OPS_HAVE(stage, nothing_before);
  for (uint32_t i = 0; i < stage->input_count; i++)
    if (!stage->inputs[i].nothing) connect_input(pass, stage, &stage->inputs[i], i);
}

static bool takes_part(const struct stage *stage) { return stage->opened || stage->passing; }

void graph_connect(struct pass *pass) {
  for (uint32_t i = 0; i < pass->stage_count; i++) {
    struct stage *stage = &pass->stages[i];
    if (!takes_part(stage)) continue;
    stage->node = flow_node_add(&pass->flow, stage->spec->id);
    for (uint32_t k = 0; k < stage->output_count; k++) stage->outputs[k].out.node = stage->node;
  }
  for (uint32_t i = 0; i < pass->stage_count; i++)
    if (takes_part(&pass->stages[i])) connect_stage(pass, &pass->stages[i]);
  for (uint32_t i = 0; i < pass->origin->count; i++)
    pass->origin->streams[i].wanted = pass->origin->streams[i].out.edge_count > 0;
}

/* ---- seeking ---- */

static int by_time(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Every edge of the origin is a picker on its first stream: the union of their times, else 0. */
uint32_t graph_times(struct pass *pass, int64_t **times_us, bool *nearest) {
  struct origin *origin = pass->origin;
  uint32_t count = 0;
  *times_us = NULL;
  *nearest = true;
  if (!origin->start_seeking || !origin->info.seekable || !origin->count) return 0;
  for (uint32_t i = 0; i < origin->count; i++)
    for (uint32_t k = 0; k < origin->streams[i].out.edge_count; k++) {
      struct edge *edge = &origin->streams[i].out.edges[k];
      if (i || !edge->times_us) goto no;
      *times_us = mem_grow(*times_us, count + edge->time_count, sizeof **times_us);
      memcpy(*times_us + count, edge->times_us, edge->time_count * sizeof **times_us);
      count += edge->time_count;
    }
  for (uint32_t i = 0; i < pass->stage_count; i++)
    for (uint32_t k = 0; takes_part(&pass->stages[i]) && k < pass->stages[i].input_count; k++)
      if (pass->stages[i].inputs[k].times_us && !(pass->stages[i].inputs[k].time_flags & SM_NEAREST_KEYFRAME))
        *nearest = false;
  if (count) qsort(*times_us, count, sizeof **times_us, by_time);
  return count;
no:
  free(*times_us);
  *times_us = NULL;
  return 0;
}
