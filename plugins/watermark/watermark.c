/* watermark.c - media filter `watermark`: an image or a text over the video.
 *
 * No SM_MEDIA_BYPASS: a video that goes out without its mark because something failed is worse than one that does not
 * go out. Operators who think otherwise write `continue-on-error` at what consumes the frames, or leave the stage out.
 */
#include <stagemill/media.h>

#include <stdlib.h>
#include <string.h>

#include <libavutil/imgutils.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>
#include <libavutil/parseutils.h>
#include <libavutil/pixdesc.h>

#include "mark.h"
#include "overlay.h"
#include "place.h"

#define POSITIONS "top-left|top|top-right|left|center|right|bottom-left|bottom|bottom-right"

static const sm_param params[] = {
  SM_FILE("image", 0, "picture to lay over the video: PNG, JPEG, WebP or BMP, alpha honoured"),
  SM_TEXT("text", NULL, "text to lay over the video, instead of an image; lines break where it does"),
  SM_CHOICE("position", "bottom-right", POSITIONS, "where it goes"),
  SM_PARAM("x", SM_TAKES_INT | SM_TAKES_PERCENT, 0, NULL, NULL, -16384, 16384, "px", NULL,
           "left edge in px or % of the width, instead of the position's"),
  SM_PARAM("y", SM_TAKES_INT | SM_TAKES_PERCENT, 0, NULL, NULL, -16384, 16384, "px", NULL,
           "top edge in px or % of the height, instead of the position's"),
  SM_PARAM("margin", SM_TAKES_INT | SM_TAKES_PERCENT, 0, "2%", NULL, 0, 8192, "px", NULL,
           "distance from the edges in px or % of the shorter side"),
  SM_PARAM(
    "size", SM_TAKES_INT | SM_TAKES_PERCENT, 0, NULL, NULL, 1, 16384, "px", NULL,
    "image: width in px or % of the video's (default: its own); text: height of type in px or % of the shorter side "
    "(default: 5%)"),
  SM_PARAM("opacity", SM_TAKES_NUMBER | SM_TAKES_INT | SM_TAKES_PERCENT, 0, "1", NULL, 0, 100, NULL, NULL,
           "0 to 1, or a percentage"),
  SM_DURATION("from", NULL, 0, 1e6, "show it from this time on"),
  SM_DURATION("to", NULL, 0, 1e6, "show it until this time"),
  SM_TEXT("color", "white", "colour of a text: a name or #RRGGBB"),
  SM_FILE("font", 0, "font file for a text (default: DejaVu Sans, which ships)"),
  SM_CHOICE("hdr", "sdr", "sdr|keep",
            "HDR video: sdr maps it to standard range first, so that the mark looks as drawn; keep "
            "lays the mark over the HDR picture, its white at 203 cd/m2"),
  SM_PARAMS_END};

static const sm_port inputs[] = {SM_VIDEO("video", 0, "the video"), SM_PORTS_END};
static const sm_port outputs[] = {SM_VIDEO("video", 0, "the video with the mark on it"), SM_PORTS_END};

static const sm_result results[] = {SM_RESULT_INT("x", SM_AT_OPEN, "px", "left edge of the mark"),
                                    SM_RESULT_INT("y", SM_AT_OPEN, "px", "top edge"),
                                    SM_RESULT_INT("width", SM_AT_OPEN, "px", "of the mark"),
                                    SM_RESULT_INT("height", SM_AT_OPEN, "px", "of the mark"), SM_RESULTS_END};

enum { STREAMS_MAX = 8 };

struct track { /* one video stream */
  AVRational time_base;
  struct mark mark;
  struct rectangle at;
  struct overlay overlay;
  AVBufferPool *pool; /* for copies of frames that others hold */
  int pool_size;
};

struct watermark {
  struct track tracks[STREAMS_MAX];
  uint32_t count;
  double opacity;
  int64_t from_us, to_us;
};

static sm_status read_opacity(struct watermark *w, sm_task *task) {
  sm_value value = sm_param_value(task, "opacity");
  w->opacity = value.kind == SM_IS_PERCENT ? value.number / 100 : value.number;
  if (w->opacity >= 0 && w->opacity <= 1) return SM_OK;
  return sm_fail(task, SM_FAIL, NULL, "opacity %g is not between 0 and 1: write 0.8 or 80%%", value.number);
}

static sm_status read_times(struct watermark *w, sm_task *task) {
  w->from_us = sm_param_int(task, "from");
  w->to_us = sm_param_given(task, "to") ? sm_param_int(task, "to") : INT64_MAX;
  if (w->from_us < w->to_us) return SM_OK;
  return sm_fail(task, SM_FAIL, NULL, "`to` is not after `from`: the watermark would never be shown");
}

static sm_status check_params(struct watermark *w, sm_task *task) {
  bool image = sm_param_given(task, "image"), text = sm_param_given(task, "text");
  sm_value size = sm_param_value(task, "size");
  uint8_t rgba[4];
  if (image && text) return sm_fail(task, SM_FAIL, NULL, "`image` and `text` contradict each other: write one of them");
  if (!image && !text)
    return sm_fail(task, SM_FAIL, NULL, "there is nothing to lay over the video: give `image` or `text`");
  if (size.kind == SM_IS_PERCENT && size.number > 100)
    return sm_fail(task, SM_FAIL, NULL, "size %g%% is larger than the video: write at most 100%%", size.number);
  if (text && av_parse_color(rgba, sm_param_text(task, "color"), -1, NULL) < 0)
    return sm_fail(task, SM_FAIL, NULL, "color '%.60s' is no colour: write a name like white or #RRGGBB",
                   sm_param_text(task, "color"));
  sm_status status = read_opacity(w, task);
  return status == SM_OK ? read_times(w, task) : status;
}

static sm_status load(sm_task *task, const sm_stream *video, struct mark_image *image) {
  const char *text = sm_param_text(task, "text"), *font = sm_param_text(task, "font");
  if (!text) return mark_image_load(image, task, sm_param_text(task, "image"));
  return mark_text_render(image, task, text, font ? font : mark_font_path(),
                          place_type_size(task, video->width, video->height), sm_param_text(task, "color"));
}

static bool is_hdr(const sm_stream *video) {
  return video->color_transfer == AVCOL_TRC_SMPTE2084 || video->color_transfer == AVCOL_TRC_ARIB_STD_B67;
}

/* Frames that can be drawn on stay as they are, high depth included; others become 4:2:0 of their depth. HDR becomes
 * SDR unless it is to be kept: whatever takes the frames next most likely wants SDR, would then map the mark's white to
 * grey together with the picture, and a mapping here is shared with every other stage that reads the source as SDR. */
static void choose_format(sm_task *task, sm_stream *video) {
  const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)video->pixel_format);
  bool deep = d && d->comp[0].depth > 8;
  if (is_hdr(video) && strcmp(sm_param_text(task, "hdr"), "sdr") == 0) {
    video->want_sdr = 1;
    video->want_pixel_format = AV_PIX_FMT_YUV420P;
  } else if (!overlay_can(video->pixel_format)) {
    video->want_pixel_format = deep ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
  }
}

static sm_status track_open(struct track *t, sm_task *task, sm_stream *video) {
  struct mark_image image = {0};
  t->time_base = video->time_base;
  overlay_free(&t->overlay); /* made for no frame yet */
  sm_status status = load(task, video, &image);
  if (status == SM_OK)
    status =
      place_mark(task, video->width, video->height, image.width, image.height, sm_param_given(task, "text"), &t->at);
  if (status == SM_OK &&
      !mark_scale(&t->mark, image.rgba, 4 * image.width, image.width, image.height, t->at.width, t->at.height))
    status = sm_fail(task, SM_RETRY, NULL, "no memory was left for the watermark");
  av_free(image.rgba);
  choose_format(task, video);
  return status;
}

static void announce(sm_task *task, const struct track *t) {
  sm_result_int(task, "x", t->at.x);
  sm_result_int(task, "y", t->at.y);
  sm_result_int(task, "width", t->at.width);
  sm_result_int(task, "height", t->at.height);
}

static void watermark_free(struct watermark *w) {
  for (uint32_t i = 0; i < w->count; i++) {
    mark_free(&w->tracks[i].mark);
    overlay_free(&w->tracks[i].overlay);
    av_buffer_pool_uninit(&w->tracks[i].pool);
  }
  free(w);
}

static void describe_output(sm_stream *out, const sm_stream *in, uint32_t index) {
  *out = *in;
  out->port = "video";
  out->index = index;
  if (in->want_pixel_format >= 0) out->pixel_format = in->want_pixel_format;
  if (!in->want_sdr) return;
  out->color_primaries = AVCOL_PRI_BT709;
  out->color_transfer = AVCOL_TRC_BT709;
  out->color_space = AVCOL_SPC_BT709;
  out->color_range = AVCOL_RANGE_MPEG;
}

static sm_status open_tracks(struct watermark *w, sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out,
                             uint32_t room) {
  sm_status status = check_params(w, task);
  if (in_count == 0 || room == 0)
    return sm_fail(task, SM_FAIL, NULL, "there is no video to lay a watermark over: the source has audio only");
  for (uint32_t i = 0; i < in_count && i < STREAMS_MAX && i < room && status == SM_OK; i++) {
    status = track_open(&w->tracks[w->count++], task, &in[i]);
    describe_output(&out[i], &in[i], i);
  }
  for (uint32_t i = w->count; i < in_count; i++) in[i].want_none = 1;
  return status;
}

static sm_status watermark_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                                void **self) {
  struct watermark *w = calloc(1, sizeof *w);
  if (!w) return sm_fail(task, SM_RETRY, NULL, "no memory was left");
  sm_status status = open_tracks(w, task, in, in_count, out, *out_count);
  if (status != SM_OK) {
    watermark_free(w);
    return status;
  }
  announce(task, &w->tracks[0]);
  *out_count = w->count;
  *self = w;
  return SM_OK;
}

/* A copy in a recycled buffer: a fresh one for every frame would cost more in page faults than the copy itself. */
static AVFrame *pooled_copy(struct track *t, const AVFrame *from) {
  int size = av_image_get_buffer_size((enum AVPixelFormat)from->format, from->width, from->height, 64) + 64;
  AVFrame *copy = av_frame_alloc();
  if (size != t->pool_size) {
    av_buffer_pool_uninit(&t->pool);
    t->pool = size > 64 ? av_buffer_pool_init((size_t)size, NULL) : NULL;
    t->pool_size = size;
  }
  if (copy && t->pool) copy->buf[0] = av_buffer_pool_get(t->pool);
  if (!copy || !copy->buf[0]) {
    av_frame_free(&copy);
    return NULL;
  }
  copy->format = from->format;
  copy->width = from->width;
  copy->height = from->height;
  av_image_fill_arrays(copy->data, copy->linesize, copy->buf[0]->data, (enum AVPixelFormat)from->format, from->width,
                       from->height, 64);
  if (av_frame_copy(copy, from) < 0 || av_frame_copy_props(copy, from) < 0) av_frame_free(&copy);
  return copy;
}

static bool draw(struct watermark *w, struct track *t, AVFrame *frame) {
  if (!overlay_fits(&t->overlay, frame) && !overlay_make(&t->overlay, frame, &t->mark, &t->at, w->opacity))
    return false;
  overlay_draw(&t->overlay, frame);
  return true;
}

static sm_status watermark_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  struct watermark *w = self;
  if (stream >= w->count) return SM_OK;
  struct track *t = &w->tracks[stream];
  int64_t at_us = av_rescale_q(frame->pts, t->time_base, AV_TIME_BASE_Q);
  if (at_us < w->from_us || at_us >= w->to_us || w->opacity == 0) return sm_emit(task, stream, frame);
  if (!overlay_can(frame->format))
    return sm_fail(
      task, SM_FAIL, av_get_pix_fmt_name((enum AVPixelFormat)frame->format),
      "the watermark was given frames of a kind it did not ask for: report this with the source's probe.json");
  AVFrame *copy = av_frame_is_writable(frame) ? NULL : pooled_copy(t, frame);
  sm_status status = SM_OK;
  if ((!copy && !av_frame_is_writable(frame)) || !draw(w, t, copy ? copy : frame))
    status = sm_fail(task, SM_RETRY, NULL, "no memory was left for a frame");
  if (status == SM_OK) status = sm_emit(task, stream, copy ? copy : frame);
  av_frame_free(&copy);
  return status;
}

static sm_status watermark_nothing_before(sm_task *task, void *self, uint32_t stream, int64_t pts) {
  const struct watermark *w = self;
  return stream < w->count ? sm_emit_nothing_before(task, stream, pts) : SM_OK;
}

static sm_status watermark_flush(sm_task *task, void *self, uint32_t stream) {
  (void)task, (void)self, (void)stream; /* nothing is held back */
  return SM_OK;
}

static sm_status watermark_close(sm_task *task, void *self, sm_status why) {
  (void)task, (void)why;
  watermark_free(self);
  return SM_OK;
}

static const sm_media_ops ops =
  SM_MEDIA_OPS(0, watermark_open, NULL, watermark_frame, watermark_nothing_before, watermark_flush, watermark_close);

static const sm_stage stages[] = {SM_MEDIA_STAGE("watermark", "an image or a text over the video", SM_KIND_FILTER,
                                                 params, inputs, outputs, results, &ops, NULL),
                                  SM_STAGES_END};
SM_PLUGIN("org.stagemill.watermark", "0.1.0", "MIT", stages);
