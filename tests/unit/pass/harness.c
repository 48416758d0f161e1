/* harness.c - the runner's side of a pass, faked in process; see harness.h. */
#include "harness.h"

#include <fcntl.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct lab_task {
  sm_task task;
  struct lab *lab;
  uint32_t index;
};

static const AVRational us = {1, 1000000};

static struct lab_stage *of(sm_task *task) {
  struct lab_task *t = (struct lab_task *)task;
  return &t->lab->stage[t->index];
}

/* ---- host services ---- */

static int host_cancelled(sm_task *task) { return atomic_load(&((struct lab_task *)task)->lab->cancel); }
static sm_status host_fail(sm_task *task, sm_status verdict, const char *text, const char *debug) {
  (void)debug;
  snprintf(of(task)->blame, sizeof of(task)->blame, "%s", text);
  return verdict;
}
static const sm_host host = {
    .size = sizeof host, .abi_major = SM_ABI_MAJOR, .cancelled = host_cancelled, .fail = host_fail};

/* ---- the stages ---- */

static void check_thread(struct lab_stage *s) {
  if (!pthread_equal(s->thread, pthread_self())) s->wrong_thread = true;
}

static sm_status stage_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                            void **self) {
  struct lab_stage *s = of(task);
  *self = s;
  s->opens++;
  s->thread = pthread_self();
  s->offered_count = in_count < LAB_STREAMS ? in_count : LAB_STREAMS;
  memcpy(s->offered, in, s->offered_count * sizeof *in);
  sm_source_info(task, &s->source);
  uint32_t made = 0;
  for (uint32_t i = 0; i < in_count && i < LAB_STREAMS; i++) {
    snprintf(s->codecs[i], sizeof s->codecs[i], "%s", in[i].codec ? in[i].codec : "");
    snprintf(s->languages[i], sizeof s->languages[i], "%s", in[i].language ? in[i].language : "");
    s->offered[i].codec = s->codecs[i];
    s->offered[i].language = s->languages[i];
    s->seen[i].kind = in[i].kind;
    s->seen[i].first_us = INT64_MIN;
    s->seen[i].last_us = INT64_MIN;
    if (in[i].kind == SM_STREAM_AUDIO && s->no_audio) in[i].want_none = 1;
    if (s->use_wants) {
      in[i].want_width = s->want.want_width;
      in[i].want_height = s->want.want_height;
      in[i].want_pixel_format = s->want.want_pixel_format;
      in[i].want_sdr = s->want.want_sdr;
      in[i].want_sample_rate = s->want.want_sample_rate;
      in[i].want_sample_format = s->want.want_sample_format;
      in[i].want_channels = s->want.want_channels;
    }
    if (in[i].kind == SM_STREAM_VIDEO && s->times_us) sm_only_at(task, i, s->times_us, s->time_count, s->time_flags);
    if (s->filter) {
      out[made] = in[i];
      out[made].port = in[i].kind == SM_STREAM_VIDEO ? "video-out" : "audio-out";
      if (in[i].kind == SM_STREAM_VIDEO && s->out_width) {
        out[made].width = s->out_width;
        out[made].height = s->out_width / 2;
        out[made].time_base = (AVRational){1, 1000};
      }
      made++;
    }
  }
  *out_count = made;
  if (s->open_with) return sm_fail(task, s->open_with, NULL, "open fails as the test asks");
  return SM_OK;
}

static AVFrame *resized(const struct lab_stage *s, const AVFrame *frame) {
  AVFrame *made = av_frame_alloc();
  made->width = s->out_width;
  made->height = s->out_width / 2;
  made->format = frame->format;
  made->pts = frame->pts;
  if (av_frame_get_buffer(made, 0) < 0) abort();
  for (int i = 0; i < 3; i++)
    memset(made->data[i], 128, (size_t)made->linesize[i] * (size_t)(i ? (made->height + 1) / 2 : made->height));
  return made;
}

static sm_status emit(sm_task *task, struct lab_stage *s, uint32_t stream, AVFrame *frame) {
  if (s->seen[stream].kind != SM_STREAM_VIDEO || !s->out_width) return sm_emit(task, stream, frame);
  AVFrame *made = resized(s, frame);
  made->pts = av_rescale_q(frame->pts, s->offered[stream].time_base, (AVRational){1, 1000});
  sm_status status = sm_emit(task, stream, made);
  av_frame_free(&made);
  return status;
}

static sm_status emit_floor(sm_task *task, struct lab_stage *s, uint32_t stream, int64_t pts) {
  if (s->seen[stream].kind == SM_STREAM_VIDEO && s->out_width)
    pts = av_rescale_q(pts, s->offered[stream].time_base, (AVRational){1, 1000});
  return sm_emit_nothing_before(task, stream, pts);
}

static sm_status release_held(sm_task *task, struct lab_stage *s, uint32_t stream, uint32_t keep) {
  sm_status status = SM_OK;
  while (s->held_count > keep && status == SM_OK) {
    AVFrame *first = s->held[0];
    memmove(s->held, s->held + 1, --s->held_count * sizeof *s->held);
    status = emit(task, s, stream, first);
    av_frame_free(&first);
  }
  return status;
}

void lab_quarters(const uint8_t *luma, int stride, int width, int height, double quarters[4]) {
  for (int q = 0; q < 4; q++) {
    int64_t sum = 0;
    int left = q & 1 ? width / 2 : 0, top = q & 2 ? height / 2 : 0;
    for (int y = top; y < top + height / 2; y++)
      for (int x = left; x < left + width / 2; x++) sum += luma[y * stride + x];
    quarters[q] = (double)sum / (width / 2) / (height / 2);
  }
}

static void note(struct lab_stage *s, uint32_t stream, const AVFrame *f) {
  struct seen *seen = &s->seen[stream];
  AVRational tb = s->offered[stream].time_base;
  int64_t at = av_rescale_q(f->pts, tb, us);
  if (seen->frames < LAB_SHOTS) seen->shots_us[seen->frames] = at;
  if (!seen->frames) seen->first_us = at;
  if (!seen->frames && s->task->lab->measures && f->format == AV_PIX_FMT_YUV420P)
    lab_quarters(f->data[0], f->linesize[0], f->width, f->height, seen->quarters);
  if (seen->frames && at <= seen->last_us && !s->times_us) seen->disorder = true;
  if (seen->kind == SM_STREAM_VIDEO && seen->frames && !seen->changes &&
      (f->width != seen->width || f->height != seen->height))
    seen->odd_size = true;
  if (at < s->merge_us && !s->times_us) s->merge_disorder = true;
  if (at > s->merge_us) s->merge_us = at;
  seen->frames++;
  seen->last_us = at;
  seen->width = f->width;
  seen->height = f->height;
  seen->format = f->format;
  seen->rate = f->sample_rate;
  seen->channels = f->ch_layout.nb_channels;
  seen->transfer = f->color_trc;
  seen->matrix = f->colorspace;
  seen->range = f->color_range;
  seen->samples += (uint64_t)f->nb_samples;
  seen->end_us = at + av_rescale_q(f->pkt_duration, tb, us);
  if (at >= 0 && at / 1000000 < 256) seen->seconds[at / 1000000] = 1;
}

static sm_status stage_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  struct lab_stage *s = self;
  check_thread(s);
  note(s, stream, frame);
  s->in_frames++;
  if (s->frame_us) usleep(s->frame_us);
  if (s->fail_at && s->in_frames >= s->fail_at)
    return s->fail_with == SM_CANCELLED ? SM_CANCELLED : sm_fail(task, s->fail_with, NULL, "fails as the test asks");
  if (s->done_at && s->in_frames >= s->done_at) return SM_DONE;
  if (!s->filter) return SM_OK;
  if (s->seen[stream].kind == SM_STREAM_VIDEO && s->keep_one_in && (s->seen[stream].frames - 1) % s->keep_one_in)
    return emit_floor(task, s, stream, frame->pts);
  if (s->seen[stream].kind == SM_STREAM_VIDEO && s->hold) {
    s->held[s->held_count++] = av_frame_clone(frame);
    return release_held(task, s, stream, s->hold);
  }
  return emit(task, s, stream, frame);
}

static sm_status stage_format(sm_task *task, void *self, uint32_t stream, const sm_stream *now) {
  (void)task;
  (void)now;
  ((struct lab_stage *)self)->seen[stream].changes++;
  return SM_OK;
}

static sm_status stage_nothing_before(sm_task *task, void *self, uint32_t stream, int64_t pts) {
  struct lab_stage *s = self;
  check_thread(s);
  s->seen[stream].floors++;
  s->seen[stream].last_floor_us = av_rescale_q(pts, s->offered[stream].time_base, us);
  return s->filter && !s->hold ? emit_floor(task, s, stream, pts) : SM_OK;
}

static sm_status stage_flush(sm_task *task, void *self, uint32_t stream) {
  struct lab_stage *s = self;
  check_thread(s);
  s->seen[stream].flushed = true;
  return s->seen[stream].kind == SM_STREAM_VIDEO ? release_held(task, s, stream, 0) : SM_OK;
}

static sm_status stage_close(sm_task *task, void *self, sm_status why) {
  struct lab_stage *s = self;
  (void)task;
  check_thread(s);
  s->closed = true;
  s->closed_with = why;
  while (s->held_count) av_frame_free(&s->held[--s->held_count]);
  return why == SM_OK || why == SM_DONE ? SM_OK : why;
}

#define OPS(flags_)                                                                                                    \
  {                                                                                                                    \
    .size = sizeof(sm_media_ops), .flags = flags_, .open = stage_open, .format = stage_format, .frame = stage_frame,   \
    .nothing_before = stage_nothing_before, .flush = stage_flush, .close = stage_close                                 \
  }
static const sm_media_ops plain = OPS(0), bypassing = OPS(SM_MEDIA_BYPASS), changing = OPS(SM_MEDIA_TAKES_CHANGES);
static const sm_port in_ports[] = {SM_VIDEO("video", SM_PORT_OPTIONAL, "v"), SM_AUDIO("audio", SM_PORT_OPTIONAL, "a"),
                                   SM_PORTS_END};
static const sm_port out_ports[] = {SM_VIDEO("video-out", 0, "v"), SM_AUDIO("audio-out", 0, "a"), SM_PORTS_END};

/* ---- the runner's side ---- */

static struct lab *lab_of(struct pass_context *c) { return c->runner; }

static int ctx_source_open(struct pass_context *c) { return open(lab_of(c)->path, O_RDONLY | O_CLOEXEC); }

static enum err ctx_opened(struct pass_context *c, const struct value *facts, struct value **go, struct error *e) {
  struct lab *lab = lab_of(c);
  (void)e;
  lab->opened++;
  lab->facts = value_copy(facts);
  *go = value_map();
  struct value *drop = value_list();
  for (uint32_t i = 0; i < lab->count; i++)
    if (lab->drop[i]) value_list_add(drop, value_int(i));
  value_map_set(*go, "drop", drop);
  return ERR_OK;
}

static void ctx_thread_for(struct pass_context *c, int32_t stage) {
  (void)c;
  (void)stage;
}

static void ctx_blame(struct pass_context *c, int32_t stage, sm_status status, const char *message, const char *debug) {
  struct lab *lab = lab_of(c);
  (void)status;
  pthread_mutex_lock(&lab->lock);
  if (!lab->stage[stage].blame[0])
    snprintf(lab->stage[stage].blame, sizeof lab->stage[stage].blame, "%s", message ? message : "");
  pthread_mutex_unlock(&lab->lock);
  if (getenv("LAB_LOUD")) fprintf(stderr, "blame %d: %s (%s)\n", stage, message, debug ? debug : "");
}

static void ctx_verdict(struct pass_context *c, int32_t stage, sm_status status, const struct value *stats) {
  struct lab *lab = lab_of(c);
  (void)stats;
  pthread_mutex_lock(&lab->lock);
  lab->stage[stage].verdicts++;
  lab->stage[stage].verdict = status;
  lab->stage[stage].verdict_at = atomic_load(&lab->page.decoded_video_frames);
  pthread_mutex_unlock(&lab->lock);
}

static bool ctx_cancelled(struct pass_context *c) { return atomic_load(&lab_of(c)->cancel); }

static void ctx_log(struct pass_context *c, int32_t stage, int level, const char *text) {
  (void)c;
  if (getenv("LAB_LOUD")) fprintf(stderr, "log %d %d: %s\n", stage, level, text);
}

void lab_init(struct lab *lab) {
  memset(lab, 0, sizeof *lab);
  pthread_mutex_init(&lab->lock, NULL);
  lab->c = (struct pass_context){.unit = &lab->unit,
                                 .stages = lab->rows,
                                 .page = &lab->page,
                                 .runner = lab,
                                 .source_open = ctx_source_open,
                                 .opened = ctx_opened,
                                 .thread_for = ctx_thread_for,
                                 .blame = ctx_blame,
                                 .verdict = ctx_verdict,
                                 .cancelled = ctx_cancelled,
                                 .log = ctx_log};
  lab->unit.kind = UNIT_PASS;
  lab->unit.stages = lab->specs;
  lab->unit.cores = 2;
  for (int i = 0; i < LAB_STAGES; i++) atomic_store(&lab->page.stages[i].fraction_ppm, UINT32_MAX);
}

struct lab_stage *lab_sink(struct lab *lab, const char *id, int32_t video_from, int32_t audio_from) {
  struct lab_stage *s = &lab->stage[lab->count++];
  s->id = id;
  s->video_from = video_from;
  s->audio_from = audio_from;
  s->fail_with = SM_FAIL;
  s->verdict = -1;
  s->merge_us = INT64_MIN;
  s->want.want_pixel_format = s->want.want_sample_format = -1;
  return s;
}

struct lab_stage *lab_filter(struct lab *lab, const char *id, int32_t video_from, int32_t audio_from) {
  struct lab_stage *s = lab_sink(lab, id, video_from, audio_from);
  s->filter = true;
  return s;
}

static char *text_of(const char *text) { return mem_text(text); }

static void link_port(struct lab *lab, uint32_t i, const char *port, int32_t from, const char *from_port) {
  if (from < -1) return;
  lab->links[i][lab->specs[i].link_count++] =
      (struct unit_link){.port = text_of(port), .from_stage = from, .from_port = from < 0 ? NULL : text_of(from_port)};
}

void lab_ready(struct lab *lab) {
  lab->unit.stage_count = lab->count;
  lab->unit.source = &lab->source;
  for (uint32_t i = 0; i < lab->count; i++) {
    struct lab_stage *s = &lab->stage[i];
    lab->specs[i] = (struct unit_stage){.id = text_of(s->id), .soft = s->soft, .done = s->done, .links = lab->links[i]};
    if (lab->scratch[0]) lab->specs[i].scratch_path = lab->scratch;
    if (s->late) {
      lab->specs[i].late = value_map();
      value_map_set(lab->specs[i].late, "at", value_null());
    }
    link_port(lab, i, "video", s->video_from, "video-out");
    link_port(lab, i, "audio", s->audio_from, "audio-out");
    struct lab_task *task = mem_alloc(sizeof *task);
    *task = (struct lab_task){{.host = &host}, lab, i};
    s->task = task;
    lab->rows[i] = (struct pass_stage){.spec = &lab->specs[i], .task = &task->task};
    lab->rows[i].stage = (sm_stage){.name = s->id,
                                    .kind = s->filter ? SM_KIND_FILTER : SM_KIND_SINK,
                                    .inputs = in_ports,
                                    .outputs = out_ports,
                                    .media = s->bypass          ? &bypassing
                                             : s->takes_changes ? &changing
                                                                : &plain};
  }
}

void lab_free(struct lab *lab) {
  for (uint32_t i = 0; i < lab->count; i++) {
    for (uint32_t k = 0; k < lab->specs[i].link_count; k++) {
      free(lab->links[i][k].port);
      free(lab->links[i][k].from_port);
    }
    free(lab->specs[i].id);
    value_free(&lab->specs[i].late);
    free(lab->stage[i].task);
  }
  value_free(&lab->facts);
  pthread_mutex_destroy(&lab->lock);
}

static const struct seen *first_of(const struct lab_stage *s, uint32_t kind) {
  static const struct seen none;
  for (uint32_t i = 0; i < s->offered_count; i++)
    if (s->seen[i].kind == kind) return &s->seen[i];
  return &none;
}

const struct seen *lab_video(const struct lab_stage *s) { return first_of(s, SM_STREAM_VIDEO); }
const struct seen *lab_audio(const struct lab_stage *s) { return first_of(s, SM_STREAM_AUDIO); }
