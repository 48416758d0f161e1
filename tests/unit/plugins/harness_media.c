/* harness_media.c - a pass of one stage: demux, decode, convert to what the stage wants, frames in order. */
#include "harness_private.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

static struct harness *of(sm_task *task) { return (struct harness *)task; }

static sm_status host_emit(sm_task *task, uint32_t stream, AVFrame *frame) {
  struct harness *h = of(task);
  if (h->in_open || h->ended) fail_msg("the stage emitted a frame outside of its calls");
  if (stream >= h->out_count) fail_msg("the stage emitted to stream %u of %u", stream, h->out_count);
  if (stream != 0) return SM_OK;
  AVFrame **slot = &h->emitted[h->emitted_count++ % HARNESS_FRAMES];
  av_frame_free(slot);
  *slot = av_frame_clone(frame);
  return SM_OK;
}

static sm_status host_emit_nothing_before(sm_task *task, uint32_t stream, int64_t pts) {
  (void)task, (void)stream, (void)pts;
  return SM_OK;
}

static sm_status host_source(sm_task *task, sm_source *source, uint32_t size) {
  struct harness *h = of(task);
  bool unknown = h->unknown_duration || h->duration_us <= 0;
  sm_source full = {.size = sizeof full,
                    .container = "test",
                    .name = "clip",
                    .seekable = 1,
                    .cores = 1,
                    .duration_method = unknown ? SM_DURATION_UNKNOWN : SM_DURATION_HEADER,
                    .duration_us = unknown ? 0 : h->duration_us};
  memcpy(source, &full, size < sizeof full ? size : sizeof full);
  return SM_OK;
}

static sm_status host_only_at(sm_task *task, uint32_t stream, const int64_t *times, uint32_t count, uint32_t flags) {
  struct harness *h = of(task);
  (void)flags;
  if (!h->in_open) fail_msg("sm_only_at was called outside of open()");
  if (stream >= h->in_count) fail_msg("sm_only_at names stream %u of %u", stream, h->in_count);
  assert_true(count <= 4096);
  for (uint32_t i = 1; i < count; i++)
    if (times[i] < times[i - 1]) fail_msg("sm_only_at: times are not ascending");
  memcpy(h->only_at, times, count * sizeof *times);
  h->only_at_count = count;
  return SM_OK;
}

void harness_media_prepare(struct harness *h) {
  h->media_host =
    (sm_media_host){sizeof h->media_host, 0, host_emit, host_emit_nothing_before, host_source, host_only_at};
  h->task.media_host = &h->media_host;
}

void harness_media_release(struct harness *h) {
  for (size_t i = 0; i < HARNESS_FRAMES; i++) av_frame_free(&h->emitted[i]);
}

/* ---- by hand */

sm_status harness_media_open(struct harness *h, sm_stream *in, uint32_t count, int64_t duration_us) {
  h->in = in;
  h->in_count = count;
  h->duration_us = duration_us;
  h->out_count = 8;
  h->in_open = true;
  for (uint32_t i = 0; i < count; i++) {
    in[i].size = sizeof in[i];
    in[i].want_pixel_format = in[i].want_sample_format = -1;
  }
  sm_status status = h->stage.media->open(&h->task, in, count, h->out, &h->out_count, &h->self);
  h->in_open = false;
  if (status == SM_OK && h->stage.kind == SM_KIND_SINK) assert_int_equal(h->out_count, 0);
  return status;
}

sm_status harness_media_frame(struct harness *h, uint32_t stream, AVFrame *frame) {
  h->frames_given++;
  return h->stage.media->frame(&h->task, h->self, stream, frame);
}

sm_status harness_media_flush(struct harness *h, uint32_t stream) {
  return h->stage.media->flush ? h->stage.media->flush(&h->task, h->self, stream) : SM_OK;
}

sm_status harness_media_close(struct harness *h, sm_status why) {
  sm_status status = h->stage.media->close(&h->task, h->self, why);
  h->ended = true;
  return status;
}

/* ---- from a file */

struct player {
  struct harness *h;
  const struct harness_clip *clip;
  AVFormatContext *format;
  AVCodecContext *codec;
  struct SwsContext *scaler;
  AVFrame *frame, *held; /* held: may be the one on screen at the next wanted time */
  sm_stream in;
  int stream;
  int64_t first_pts;
  uint32_t next_time;
};

static const char *port_of(const struct harness *h) {
  for (const sm_port *port = h->stage.inputs; port->name; port++)
    if (port->kind == SM_PORT_VIDEO) return port->name;
  fail_msg("the stage has no video port");
  return NULL;
}

static void player_open(struct player *p) {
  if (avformat_open_input(&p->format, p->clip->path, NULL, NULL) < 0) fail_msg("test: cannot open %s", p->clip->path);
  assert_true(avformat_find_stream_info(p->format, NULL) >= 0);
  const AVCodec *codec = NULL;
  p->stream = av_find_best_stream(p->format, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
  p->h->duration_us = p->format->duration;
  p->h->unknown_duration = p->clip->unknown_duration;
  if (p->stream < 0) return;
  AVStream *st = p->format->streams[p->stream];
  p->codec = avcodec_alloc_context3(codec);
  avcodec_parameters_to_context(p->codec, st->codecpar);
  p->codec->pkt_timebase = st->time_base;
  p->codec->thread_count = 1;
  assert_int_equal(avcodec_open2(p->codec, codec, NULL), 0);
  p->first_pts = AV_NOPTS_VALUE;
  p->in = (sm_stream){.size = sizeof p->in,
                      .kind = SM_STREAM_VIDEO,
                      .port = port_of(p->h),
                      .is_default = 1,
                      .codec = codec->name,
                      .time_base = st->time_base,
                      .duration_us = p->h->duration_us,
                      .width = p->codec->width,
                      .height = p->codec->height,
                      .frame_rate = st->avg_frame_rate,
                      .pixel_format = p->codec->pix_fmt,
                      .color_range = p->codec->color_range,
                      .color_primaries = (int32_t)p->codec->color_primaries,
                      .color_transfer = (int32_t)p->codec->color_trc,
                      .color_space = (int32_t)p->codec->colorspace};
}

static void player_close(struct player *p) {
  av_frame_free(&p->frame);
  av_frame_free(&p->held);
  avcodec_free_context(&p->codec);
  avformat_close_input(&p->format);
  sws_freeContext(p->scaler);
}

static AVFrame *converted(struct player *p, AVFrame *frame) {
  int width = p->in.want_width ? p->in.want_width : frame->width;
  int height = p->in.want_height ? p->in.want_height : frame->height;
  int format = p->in.want_pixel_format >= 0 ? p->in.want_pixel_format : frame->format;
  AVFrame *to = av_frame_alloc();
  if (width == frame->width && height == frame->height && format == frame->format) {
    av_frame_ref(to, frame);
    return to;
  }
  p->scaler = sws_getCachedContext(p->scaler, frame->width, frame->height, (enum AVPixelFormat)frame->format, width,
                                   height, (enum AVPixelFormat)format, SWS_BICUBIC, NULL, NULL, NULL);
  av_frame_copy_props(to, frame);
  to->width = width, to->height = height, to->format = format;
  assert_int_equal(av_frame_get_buffer(to, 0), 0);
  sws_scale(p->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, to->data, to->linesize);
  return to;
}

static sm_status give(struct player *p, AVFrame *frame) {
  AVFrame *to = converted(p, frame);
  sm_status status = harness_media_frame(p->h, 0, to);
  av_frame_free(&to);
  if (status == SM_OK && p->clip->stop_at_frame && p->h->frames_given >= (uint64_t)p->clip->stop_at_frame)
    return SM_CANCELLED;
  return status;
}

static int64_t time_us(const struct player *p, int64_t pts) {
  return av_rescale_q(pts, p->in.time_base, AV_TIME_BASE_Q);
}

/* Gives the held frame for every wanted time before `pts` (INT64_MAX: the end). */
static sm_status give_until(struct player *p, int64_t until_us) {
  sm_status status = SM_OK;
  bool given = false;
  while (status == SM_OK && p->next_time < p->h->only_at_count && p->h->only_at[p->next_time] < until_us) {
    if (!given && p->held->buf[0]) status = give(p, p->held);
    given = true;
    p->next_time++;
  }
  return status;
}

static sm_status on_frame(struct player *p) {
  if (p->first_pts == AV_NOPTS_VALUE) p->first_pts = p->frame->best_effort_timestamp;
  p->frame->pts = p->frame->best_effort_timestamp - p->first_pts;
  if (!p->h->only_at_count || p->clip->decode_all) return give(p, p->frame);
  sm_status status = p->held->buf[0] ? give_until(p, time_us(p, p->frame->pts)) : SM_OK;
  av_frame_unref(p->held);
  av_frame_ref(p->held, p->frame);
  return status;
}

static sm_status drain(struct player *p) {
  sm_status status = SM_OK;
  while (status == SM_OK && avcodec_receive_frame(p->codec, p->frame) == 0) {
    status = on_frame(p);
    av_frame_unref(p->frame);
  }
  return status;
}

static sm_status play_frames(struct player *p) {
  AVPacket *packet = av_packet_alloc();
  sm_status status = SM_OK;
  while (status == SM_OK && av_read_frame(p->format, packet) >= 0) {
    if (packet->stream_index == p->stream && avcodec_send_packet(p->codec, packet) >= 0) status = drain(p);
    av_packet_unref(packet);
  }
  av_packet_free(&packet);
  if (status == SM_OK) {
    avcodec_send_packet(p->codec, NULL);
    status = drain(p);
  }
  if (status == SM_OK && p->h->only_at_count && !p->clip->decode_all) status = give_until(p, INT64_MAX);
  return status == SM_OK ? harness_media_flush(p->h, 0) : status;
}

sm_status harness_play(struct harness *h, const struct harness_clip *clip) {
  struct player p = {.h = h, .clip = clip, .frame = av_frame_alloc(), .held = av_frame_alloc()};
  player_open(&p);
  sm_status status = harness_media_open(h, &p.in, p.stream >= 0, h->duration_us);
  if (status == SM_OK) {
    sm_status played = play_frames(&p);
    status = harness_media_close(h, played);
    if (status == SM_OK && played != SM_OK) status = played;
  }
  player_close(&p);
  return status;
}

uint32_t harness_only_at(const struct harness *h, const int64_t **times_us) {
  if (times_us) *times_us = h->only_at;
  return h->only_at_count;
}

uint64_t harness_frames_given(const struct harness *h) { return h->frames_given; }
size_t harness_emitted_count(const struct harness *h) { return h->emitted_count; }
AVFrame *harness_emitted(const struct harness *h, size_t index) { return h->emitted[index % HARNESS_FRAMES]; }
const sm_stream *harness_out(const struct harness *h, size_t index) { return &h->out[index]; }
