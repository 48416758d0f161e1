/* thumbnail.c - media sink `thumbnail`: pictures at times, at percentages, or every so often.
 *
 * The frame on screen at time t is the last one that starts at or before t, so a moment is decided by the first frame
 * that starts after it. That holds whether the host plays everything or seeks from moment to moment (sm_only_at). */
#include <stagemill/media.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/mathematics.h>
#include <libswscale/swscale.h>

#include "candidates.h"
#include "moments.h"
#include "picture.h"

static const sm_param params[] = {
  SM_PARAM("at", SM_TAKES_DURATION | SM_TAKES_PERCENT, SM_REPEATED, NULL, NULL, 0, 0, NULL, NULL,
           "when to take a picture: times or percentages of the duration (10% unless `every` is given)"),
  SM_DURATION("every", NULL, 0.01, 86400, "a picture every so often, from the beginning"),
  SM_INT("max", "100", 1, 10000, NULL, "most pictures that `every` makes"),
  SM_INT("width", NULL, 1, 16384, "px", "width; the aspect is kept (with `height`: the picture fits inside both)"),
  SM_INT("height", NULL, 1, 16384, "px", "height; the aspect is kept"),
  SM_CHOICE("format", "jpeg", "jpeg|png", "image format"),
  SM_INT("quality", "80", 1, 100, NULL, "JPEG quality, 100 is best"),
  SM_TEXT("name", NULL, "file name without extension (default: poster for one picture, thumb for several)"),
  SM_BOOL("skip-black", "false", "where the picture would be black, try up to 4 s later"),
  SM_PARAMS_END};

static const sm_port inputs[] = {SM_VIDEO("video", 0, "the video"), SM_PORTS_END};
static const sm_port outputs[] = {SM_OUTPUTS("image", "image/jpeg|image/png", "the pictures"), SM_PORTS_END};

static const sm_result results[] = {
  SM_RESULT_TEXT("file", SM_AT_END, "the first picture, below the output folder: STAGE/poster.jpg"),
  SM_RESULT_INT("count", SM_AT_END, NULL, "number of pictures"),
  SM_RESULT_INT("width", SM_AT_END, "px", "of each picture"),
  SM_RESULT_INT("height", SM_AT_END, "px", "of each picture"),
  SM_RESULT_DURATION("at", SM_AT_END, "time of the first picture's frame"),
  SM_RESULT_TEXT("method", SM_AT_END, "how the times were found: time, every, percentage of ..., candidates"),
  SM_RESULT_LIST("files", SM_AT_END, "all file names, in the stage's own folder"),
  SM_RESULTS_END};

/* Mean below which a picture counts as black: 16/255 leaves room for noise and a faint logo. */
enum { BLACK = 16, NAME_MAX_ = 100 };

struct thumbnail {
  AVRational time_base;
  struct moments moments;
  struct candidates candidates;
  struct picture_style style;
  struct SwsContext *scaler;
  AVFrame *shown; /* the newest frame */
  int64_t shown_us;
  char name[NAME_MAX_ + 1];
  bool many;
};

static sm_status read_name(struct thumbnail *t, sm_task *task) {
  const char *name = sm_param_text(task, "name");
  if (!name) name = t->many ? "thumb" : "poster";
  bool good = *name && *name != '.' && strlen(name) <= NAME_MAX_;
  for (const char *c = name; *c && good; c++) good = isalnum((unsigned char)*c) || strchr("._-", *c);
  if (!good)
    return sm_fail(task, SM_FAIL, NULL, "name '%.60s' cannot be a file name: use letters, digits, '.', '_' and '-'",
                   name);
  strcpy(t->name, name);
  return SM_OK;
}

static void file_name(const struct thumbnail *t, uint32_t picture, char *out, size_t size) {
  const char *extension = t->style.png ? "png" : "jpg";
  if (t->many) snprintf(out, size, "%s_%03u.%s", t->name, picture + 1, extension);
  else snprintf(out, size, "%s.%s", t->name, extension);
}

static sm_status write_picture(struct thumbnail *t, sm_task *task, uint32_t picture, const AVFrame *rgb,
                               int64_t at_us) {
  struct wanted *w = &t->moments.pictures[picture];
  char name[NAME_MAX_ + 24];
  file_name(t, picture, name, sizeof name);
  sm_status status = picture_write(task, &t->style, rgb, sm_output_path(task, "image", name));
  w->written = w->written || status == SM_OK;
  w->got_us = at_us;
  return status;
}

static void settle(struct thumbnail *t, sm_task *task, struct wanted *w) {
  if (w->settled) return;
  w->settled = true;
  t->moments.settled_count++;
  uint32_t n = t->moments.settled_count, of = t->moments.every_us ? t->moments.picture_max : t->moments.picture_count;
  sm_progress_items(task, (double)n / of, n, of, NULL);
}

/* Uses `frame` for one picture. A black one is written too, and replaced when a later moment is brighter. */
static sm_status take(struct thumbnail *t, sm_task *task, uint32_t picture, const AVFrame *frame, int64_t at_us) {
  struct wanted *w = &t->moments.pictures[picture];
  sm_status status = SM_OK;
  if (w->settled || (w->written && w->got_us == at_us)) return SM_OK;
  AVFrame *rgb = picture_render(&t->style, frame, &t->scaler);
  if (!rgb) return sm_fail(task, SM_RETRY, NULL, "no memory was left for a picture");
  double brightness = t->moments.skip_black ? picture_brightness(rgb) : 255;
  if (brightness > w->brightness) {
    status = write_picture(t, task, picture, rgb, at_us);
    w->brightness = brightness;
  }
  if (status == SM_OK && brightness > BLACK) settle(t, task, w);
  av_frame_free(&rgb);
  return status;
}

/* Decides every moment before `until_us`: the frame on screen then was `shown`, or, before the first, `frame`. */
static sm_status decide(struct thumbnail *t, sm_task *task, int64_t until_us, const AVFrame *frame, int64_t frame_us) {
  struct moments *m = &t->moments;
  sm_status status = SM_OK;
  while (status == SM_OK && m->next < m->count && m->list[m->next].at_us < until_us) {
    const struct moment *moment = &m->list[m->next++];
    bool has_shown = t->shown->buf[0] != NULL;
    status = take(t, task, moment->picture, has_shown ? t->shown : frame, has_shown ? t->shown_us : frame_us);
  }
  return status;
}

static sm_status add_candidate(struct thumbnail *t, sm_task *task, const AVFrame *frame, int64_t at_us) {
  if (!t->moments.open_percents || !candidates_wants(&t->candidates, at_us, frame->key_frame)) return SM_OK;
  AVFrame *rgb = picture_render(&t->style, frame, &t->scaler);
  if (!rgb) return sm_fail(task, SM_RETRY, NULL, "no memory was left for a picture");
  candidates_add(&t->candidates, rgb, at_us);
  return SM_OK;
}

static sm_status thumbnail_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  struct thumbnail *t = self;
  int64_t at_us = av_rescale_q(frame->pts, t->time_base, AV_TIME_BASE_Q);
  (void)stream;
  if (sm_cancelled(task)) return SM_CANCELLED;
  if (!moments_extend(&t->moments, at_us)) return sm_fail(task, SM_RETRY, NULL, "no memory was left for the times");
  sm_status status = decide(t, task, at_us, frame, at_us);
  av_frame_unref(t->shown);
  if (status == SM_OK && av_frame_ref(t->shown, frame) < 0)
    status = sm_fail(task, SM_RETRY, NULL, "no memory was left for a frame");
  t->shown_us = at_us;
  /* What is wanted at the very time of this frame need not wait for the next one. */
  if (status == SM_OK) status = decide(t, task, at_us + 1, frame, at_us);
  if (status == SM_OK) status = add_candidate(t, task, frame, at_us);
  return status == SM_OK && moments_done(&t->moments) ? SM_DONE : status;
}

static sm_status thumbnail_nothing_before(sm_task *task, void *self, uint32_t stream, int64_t pts) {
  struct thumbnail *t = self;
  (void)stream;
  if (!t->shown->buf[0]) return SM_OK;
  sm_status status = decide(t, task, av_rescale_q(pts, t->time_base, AV_TIME_BASE_Q), NULL, 0);
  return status == SM_OK && moments_done(&t->moments) ? SM_DONE : status;
}

/* At the end the duration is known: percentages take the nearest picture that was kept. */
static sm_status decide_percents(struct thumbnail *t, sm_task *task) {
  sm_status status = SM_OK;
  for (uint32_t i = 0; i < t->moments.picture_count && status == SM_OK; i++) {
    struct wanted *w = &t->moments.pictures[i];
    if (w->percent < 0 || w->settled) continue;
    int best = candidates_nearest(&t->candidates, (int64_t)((double)t->shown_us * w->percent / 100));
    if (best < 0) continue;
    status = write_picture(t, task, i, t->candidates.list[best], t->candidates.at_us[best]);
    settle(t, task, w);
  }
  return status;
}

static sm_status thumbnail_flush(sm_task *task, void *self, uint32_t stream) {
  struct thumbnail *t = self;
  (void)stream;
  if (!t->shown->buf[0]) return SM_OK; /* close says that there was no frame */
  sm_status status = decide(t, task, INT64_MAX, NULL, 0);
  return status == SM_OK ? decide_percents(t, task) : status;
}

static sm_status declare(struct thumbnail *t, sm_task *task) {
  const char *type = t->style.png ? "image/png" : "image/jpeg";
  char name[NAME_MAX_ + 24], metadata[128];
  uint32_t count = 0;
  for (uint32_t i = 0; i < t->moments.picture_count; i++) {
    const struct wanted *w = &t->moments.pictures[i];
    if (!w->written) continue;
    file_name(t, i, name, sizeof name);
    snprintf(metadata, sizeof metadata, "{\"at\":%.6f,\"width\":%d,\"height\":%d}", (double)w->got_us / 1e6,
             t->style.width, t->style.height);
    sm_status status = sm_output(task, "image", name, type, metadata);
    if (status != SM_OK) return status;
    sm_result_item(task, "files", name);
    if (count++) continue;
    sm_result_file(task, "file", name);
    sm_result_duration(task, "at", w->got_us);
  }
  if (!count) return sm_fail(task, SM_FAIL, NULL, "no picture could be taken: the video has no frame that decodes");
  sm_result_int(task, "count", count);
  sm_result_int(task, "width", t->style.width);
  sm_result_int(task, "height", t->style.height);
  sm_result_text(task, "method", t->moments.method);
  return SM_OK;
}

static void thumbnail_free(struct thumbnail *t) {
  moments_close(&t->moments);
  candidates_close(&t->candidates);
  sws_freeContext(t->scaler);
  av_frame_free(&t->shown);
  free(t);
}

static sm_status thumbnail_close(sm_task *task, void *self, sm_status why) {
  struct thumbnail *t = self;
  sm_status status = why == SM_OK || why == SM_DONE ? declare(t, task) : SM_OK;
  thumbnail_free(t);
  return status;
}

static sm_status prepare(struct thumbnail *t, sm_task *task, const sm_stream *video) {
  sm_source source = {.duration_us = 0};
  sm_source_info(task, &source);
  sm_status status = moments_open(&t->moments, task, &source);
  if (status != SM_OK) return status;
  t->time_base = video->time_base;
  t->many = sm_param_given(task, "every") || t->moments.picture_count > 1;
  t->style.png = strcmp(sm_param_text(task, "format"), "png") == 0;
  t->style.quality = (int)sm_param_int(task, "quality");
  picture_size(&t->style, (int)sm_param_int(task, "width"), (int)sm_param_int(task, "height"), video->width,
               video->height);
  candidates_open(&t->candidates, &t->style);
  t->shown = av_frame_alloc();
  return t->shown ? read_name(t, task) : sm_fail(task, SM_RETRY, NULL, "no memory was left");
}

static uint32_t find_video(const sm_stream *in, uint32_t count) {
  uint32_t found = count;
  for (uint32_t i = 0; i < count; i++)
    if (in[i].kind == SM_STREAM_VIDEO && (found == count || in[i].is_default > in[found].is_default)) found = i;
  return found;
}

static sm_status thumbnail_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                                void **self) {
  uint32_t video = find_video(in, in_count);
  (void)out;
  *out_count = 0;
  if (video == in_count || in[video].width <= 0 || in[video].height <= 0)
    return sm_fail(task, SM_FAIL, NULL, "there is no video to take pictures of: the source has audio only");
  struct thumbnail *t = calloc(1, sizeof *t);
  if (!t) return sm_fail(task, SM_RETRY, NULL, "no memory was left");
  for (uint32_t i = 0; i < in_count; i++) in[i].want_none = i != video;
  in[video].want_sdr = 1; /* a JPEG or PNG of PQ or HLG values looks grey */
  sm_status status = prepare(t, task, &in[video]);
  if (status != SM_OK) {
    thumbnail_free(t);
    return status;
  }
  moments_announce(&t->moments, task, video);
  *self = t;
  return SM_OK;
}

static const sm_media_ops ops =
  SM_MEDIA_OPS(0, thumbnail_open, NULL, thumbnail_frame, thumbnail_nothing_before, thumbnail_flush, thumbnail_close);

static const sm_stage stages[] = {
  SM_MEDIA_STAGE("thumbnail", "pictures out of a video", SM_KIND_SINK, params, inputs, outputs, results, &ops, NULL),
  SM_STAGES_END};
SM_PLUGIN("org.stagemill.thumbnail", "0.1.0", "MIT", stages);
