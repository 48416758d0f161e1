#include "session.h"

#include <libavutil/avutil.h>
#include <libavutil/mathematics.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool stop_asked(void *opaque) { return sm_cancelled(opaque); }

static sm_status say(struct session *s, sm_status status) {
  if (status == SM_OK || status == SM_CANCELLED || s->fault.status == SM_OK) return status;
  return sm_fail(s->task, s->fault.status, s->fault.debug[0] ? s->fault.debug : NULL, "%s", s->fault.message);
}

/* ---- streams -------------------------------------------------------------------------------------------------- */

/* The first picture stream; the default sound stream, else the first. The rest is not decoded for us. */
static void choose_streams(struct session *s, sm_stream *in, uint32_t count) {
  s->video = s->audio = -1;
  for (uint32_t i = 0; i < count; i++) {
    if (in[i].kind == SM_STREAM_VIDEO && s->video < 0) s->video = (int)i;
    bool better = s->audio < 0 || (in[i].is_default && !in[s->audio].is_default);
    if (in[i].kind == SM_STREAM_AUDIO && better) s->audio = (int)i;
  }
  for (uint32_t i = 0; i < count; i++)
    if ((int)i != s->video && (int)i != s->audio) in[i].want_none = 1;
}

static bool is_hdr(int transfer) { return transfer == AVCOL_TRC_SMPTE2084 || transfer == AVCOL_TRC_ARIB_STD_B67; }

/* Tags must be written: players guess by size, and would guess differently for each rendition. */
static struct colours colours_of(const sm_stream *v) {
  struct colours c = {v->color_range, v->color_primaries, v->color_transfer, v->color_space, v->chroma_location};
  bool small = (v->width < v->height ? v->width : v->height) < 720;
  if (c.range != AVCOL_RANGE_JPEG) c.range = AVCOL_RANGE_MPEG;
  if (is_hdr(v->color_transfer)) {
    c = (struct colours){AVCOL_RANGE_MPEG, AVCOL_PRI_BT709, AVCOL_TRC_BT709, AVCOL_SPC_BT709, AVCHROMA_LOC_LEFT};
    return c;
  }
  if (c.space <= AVCOL_SPC_RGB || c.space == AVCOL_SPC_UNSPECIFIED)
    c.space = small ? AVCOL_SPC_SMPTE170M : AVCOL_SPC_BT709;
  bool old = c.space == AVCOL_SPC_SMPTE170M || c.space == AVCOL_SPC_BT470BG;
  if (c.primaries <= 0 || c.primaries == AVCOL_PRI_UNSPECIFIED)
    c.primaries = c.space == AVCOL_SPC_BT470BG ? AVCOL_PRI_BT470BG : old ? AVCOL_PRI_SMPTE170M : AVCOL_PRI_BT709;
  if (c.transfer <= 0 || c.transfer == AVCOL_TRC_UNSPECIFIED) c.transfer = old ? AVCOL_TRC_SMPTE170M : AVCOL_TRC_BT709;
  return c;
}

static void want_video(struct session *s, sm_stream *v) {
  v->want_pixel_format = AV_PIX_FMT_YUV420P;
  v->want_sdr = 1;
  s->video_base = v->time_base;
  s->width = v->width;
  s->height = v->height;
  s->vfr = v->is_vfr;
  s->frame_rate = v->frame_rate.num > 0 && v->frame_rate.den > 0 ? av_q2d(v->frame_rate) : 0;
  s->colours = colours_of(v);
}

/* AAC-LC in HLS is 44.1 or 48 kHz, mono or stereo for everybody's decoder. */
static sm_status want_audio(struct session *s, sm_stream *a) {
  int rate = a->sample_rate == 44100 ? 44100 : 48000, channels = a->channels == 1 ? 1 : 2;
  a->want_sample_format = AV_SAMPLE_FMT_FLTP;
  a->want_sample_rate = rate;
  a->want_channels = channels;
  s->audio_base = a->time_base;
  struct sound_setup setup = {rate, channels, s->settings.audio_bitrate, a->time_base};
  s->sound = sound_open(&setup, &s->fault);
  s->packet = av_packet_alloc();
  if (s->sound && !s->packet) fault_set(&s->fault, SM_RETRY, AVERROR(ENOMEM), "out of memory");
  return s->fault.status;
}

/* ---- renditions ----------------------------------------------------------------------------------------------- */

static sm_status choose_rungs(struct session *s) {
  if (s->video < 0) {
    s->count = 1;
    snprintf(s->rungs[0].name, LADDER_NAME, "audio");
    return SM_OK;
  }
  if (s->width < 2 || s->height < 2)
    return fault_set(&s->fault, SM_FAIL, 0, "the source's picture is %dx%d: too small to encode", s->width, s->height);
  struct ladder_source source = {s->width, s->height, s->frame_rate};
  s->count = ladder_build(&s->settings.ladder, &source, s->rungs);
  if (!s->settings.ladder.automatic && s->count < s->settings.ladder.wish_count)
    sm_log(s->task, SM_LOG_INFO, "%zu of %zu renditions are made: the source is %dx%d", s->count,
           s->settings.ladder.wish_count, s->width, s->height);
  return SM_OK;
}

/* The folder that names are relative to, found by asking for the first segment's path (which also makes sub-folders).
 */
static sm_status find_folder(struct session *s, const struct rung *rung) {
  char name[NAMES_MAX];
  names_expand(s->settings.pattern, s->stem, rung->name, 0, name);
  const char *path = sm_output_path(s->task, "segments", name);
  size_t length = path ? strlen(path) : 0, tail = strlen(name);
  if (length <= tail || length - tail >= sizeof s->base || strcmp(path + length - tail, name))
    return fault_set(&s->fault, SM_RETRY, 0, "no place to write %s: check the output folder", name);
  snprintf(s->base, sizeof s->base, "%.*s", (int)(length - tail), path);
  return SM_OK;
}

/* x264 finds work for one and a half times the cores; several encoders share them by size. */
static int threads_for(const struct session *s, const struct rung *rung, int cores) {
  double all = 0;
  for (size_t i = 0; i < s->count; i++) all += (double)s->rungs[i].width * s->rungs[i].height;
  double share = (double)rung->width * rung->height / all;
  int threads = (int)(cores * 1.5 * share + 0.75);
  return threads < 1 ? 1 : threads > 32 ? 32 : threads;
}

static sm_status open_rendition(struct session *s, size_t index, int cores) {
  struct rendition *r = &s->renditions[index];
  r->rung = s->rungs[index];
  if (find_folder(s, &r->rung) != SM_OK) return s->fault.status;
  struct encoder_setup encoder = {.rung = &r->rung,
                                  .preset = s->settings.preset,
                                  .profile = s->settings.profile,
                                  .tune = s->settings.tune[0] ? s->settings.tune : NULL,
                                  .colours = s->colours,
                                  .frame_rate = s->frame_rate,
                                  .threads = threads_for(s, &r->rung, cores)};
  struct segmenter_setup segments = {.folder = s->base,
                                     .pattern = s->settings.pattern,
                                     .name = s->stem,
                                     .rendition = r->rung.name,
                                     .fmp4 = s->settings.fmp4,
                                     .audio = s->sound ? sound_codec(s->sound) : NULL,
                                     .segment = s->segment,
                                     .near = timeline_tolerance(s->gop)};
  return rendition_open(r, s->video < 0 ? NULL : &encoder, &segments, &s->fault);
}

static int by_area(const void *a, const void *b) {
  const struct rendition *x = *(struct rendition *const *)a, *y = *(struct rendition *const *)b;
  long more = (long)y->rung.width * y->rung.height - (long)x->rung.width * x->rung.height;
  return (more > 0) - (more < 0);
}

static sm_status open_mp4(struct session *s, struct rendition *r) {
  if (!s->settings.mp4) return SM_OK;
  char name[NAMES_MAX];
  snprintf(name, sizeof name, "%.200s.mp4", s->stem);
  const char *path = sm_output_path(s->task, "mp4", name);
  if (!path) return fault_set(&s->fault, SM_RETRY, 0, "no place to write %s: check the output folder", name);
  r->mp4 = mp4_open(path, name, r->encoder, s->sound ? sound_codec(s->sound) : NULL, &s->fault);
  return s->fault.status;
}

/* Encoders run on threads of their own, so two cores are one lane's worth. Renditions go, largest first, to the lane
 * with the least to do. */
static sm_status start_lanes(struct session *s, int cores) {
  struct rendition *order[LADDER_MAX], *members[LADDER_MAX][LADDER_MAX];
  size_t sizes[LADDER_MAX] = {0};
  double load[LADDER_MAX] = {0};
  for (size_t i = 0; i < s->count; i++) order[i] = &s->renditions[i];
  qsort(order, s->count, sizeof *order, by_area);
  if (open_mp4(s, order[0]) != SM_OK) return s->fault.status;
  size_t lanes = cores / 2 < 1 ? 1 : (size_t)(cores / 2);
  if (lanes > s->count) lanes = s->count;
  for (size_t i = 0; i < s->count; i++) {
    size_t least = 0;
    for (size_t k = 1; k < lanes; k++)
      if (load[k] < load[least]) least = k;
    members[least][sizes[least]++] = order[i];
    load[least] += (double)order[i]->rung.width * order[i]->rung.height;
  }
  for (size_t k = 0; k < lanes; k++, s->lane_count++)
    if (!(s->lanes[k] = lane_start(members[k], sizes[k], stop_asked, s->task)))
      return fault_set(&s->fault, SM_RETRY, 0, "cannot start an encoding thread: the process limit may be reached");
  return SM_OK;
}

/* ---- the stage's calls ---------------------------------------------------------------------------------------- */

static void release(struct session *s) {
  for (size_t i = 0; i < s->lane_count; i++) lane_stop(&s->lanes[i]);
  for (size_t i = 0; i < s->count; i++) rendition_close(&s->renditions[i]);
  sound_close(&s->sound);
  av_packet_free(&s->packet);
  av_frame_free(&s->held);
  free(s);
}

static sm_status open_all(struct session *s, sm_stream *in, uint32_t count) {
  sm_source source = {0};
  source.size = sizeof source;
  if (sm_source_info(s->task, &source) == SM_OK) s->duration_us = source.duration_us;
  int cores = source.cores > 0 ? (int)source.cores : 1;
  names_stem(source.name ? source.name : sm_info(s->task, "input"), s->stem);
  choose_streams(s, in, count);
  if (s->video < 0 && s->audio < 0)
    return fault_set(&s->fault, SM_FAIL, 0, "the source has neither picture nor sound: there is nothing to stream");
  if (s->video >= 0) want_video(s, &in[s->video]);
  if (s->audio >= 0 && want_audio(s, &in[s->audio]) != SM_OK) return s->fault.status;
  settings_grid(&s->settings, s->frame_rate, &s->gop, &s->segment);
  timeline_init(&s->timeline, s->gop, s->frame_rate);
  if (choose_rungs(s) != SM_OK) return s->fault.status;
  for (size_t i = 0; i < s->count; i++)
    if (open_rendition(s, i, cores) != SM_OK) return s->fault.status;
  return start_lanes(s, cores);
}

sm_status session_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                       void **self) {
  (void)out;
  *out_count = 0;
  struct session *s = calloc(1, sizeof *s);
  if (!s) return sm_fail(task, SM_RETRY, NULL, "out of memory");
  s->task = task;
  sm_status status = settings_read(task, &s->settings);
  if (status == SM_OK) status = say(s, open_all(s, in, in_count));
  if (status == SM_OK) status = publish_opening(s);
  if (status == SM_OK)
    *self = s;
  else
    release(s);
  return status;
}

sm_status session_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  struct session *s = self;
  sm_status status = SM_OK;
  if (sm_cancelled(task)) return SM_CANCELLED;
  if ((int)stream == s->video)
    status = feed_picture(s, frame);
  else if ((int)stream == s->audio)
    status = feed_sound(s, frame);
  if (status != SM_OK) return say(s, status);
  publish_progress(s);
  return publish_segments(s);
}

sm_status session_nothing_before(sm_task *task, void *self, uint32_t stream, int64_t pts) {
  (void)task;
  struct session *s = self;
  bool video = (int)stream == s->video;
  if (!video && (int)stream != s->audio) return SM_OK;
  int64_t *limit = video ? &s->video_limit : &s->audio_limit, *reached = video ? &s->video_reached : &s->audio_reached;
  AVRational base = video ? s->video_base : s->audio_base;
  double seconds = (double)pts * av_q2d(base);
  if (seconds > 1e9) { /* "never again" */
    *limit = NO_LIMIT;
    return say(s, feed_balance(s));
  }
  int64_t at = av_rescale_q(pts, base, (AVRational){1, 1000000});
  if (at > *limit) *limit = at;
  if (at > *reached) *reached = at;
  return say(s, feed_balance(s));
}

sm_status session_flush(sm_task *task, void *self, uint32_t stream) {
  (void)task;
  struct session *s = self;
  if ((int)stream == s->video) s->video_limit = NO_LIMIT;
  if ((int)stream == s->audio) s->audio_limit = NO_LIMIT;
  return say(s, feed_balance(s));
}

static sm_status finish(struct session *s) {
  if (s->video >= 0 && !s->timeline.shown)
    return fault_set(&s->fault, SM_FAIL, 0, "no picture of the source could be decoded: check that the file is whole");
  if (s->video < 0 && !s->heard)
    return fault_set(&s->fault, SM_FAIL, 0, "no sound of the source could be decoded: check that the file is whole");
  return feed_end(s);
}

sm_status session_close(sm_task *task, void *self, sm_status why) {
  struct session *s = self;
  sm_status status = why == SM_OK ? say(s, finish(s)) : SM_OK;
  if (why == SM_OK && status == SM_OK) status = publish_segments(s);
  if (why == SM_OK && status == SM_OK) status = publish_playlists(s);
  if (why == SM_OK && status == SM_OK) sm_progress(task, 1, NULL);
  release(s);
  return status;
}
