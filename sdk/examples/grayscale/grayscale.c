/* grayscale.c - a media filter: takes the colour out of the video, all or some of it. */
#include <stagemill/media.h>

#include <libavutil/pixfmt.h>
#include <stdlib.h>

static const sm_param params[] = {
  SM_PERCENT("amount", "100%", 0, 100, "how much of the colour goes"), SM_PARAMS_END};
static const sm_port inputs[] = {SM_VIDEO("video", 0, "the video"), SM_PORTS_END};
static const sm_port outputs[] = {SM_VIDEO("video", 0, "the video without its colour"), SM_PORTS_END};
static const sm_result results[] = {SM_RESULTS_END};

struct grayscale {
  unsigned char faded[256]; /* what a chroma sample becomes */
};

static sm_status gray_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                           void **self) {
  if (in_count == 0 || *out_count == 0) return sm_fail(task, SM_FAIL, NULL, "there is no video to make gray");
  struct grayscale *g = malloc(sizeof *g);
  if (!g) return sm_fail(task, SM_RETRY, NULL, "no memory was left");
  double keep = 1 - sm_param_number(task, "amount") / 100;
  for (int i = 0; i < 256; i++) g->faded[i] = (unsigned char)(128 + (i - 128) * keep + 0.5);
  for (uint32_t i = 1; i < in_count; i++) in[i].want_none = 1; /* the first video stream is ours */
  in[0].want_pixel_format = AV_PIX_FMT_YUV420P;                /* the host converts, once for all who want it */
  in[0].want_sdr = 1;                                          /* eight bits are too few for HDR */
  out[0] = in[0];
  out[0].pixel_format = AV_PIX_FMT_YUV420P;
  *out_count = 1;
  *self = g;
  return SM_OK;
}

static sm_status gray_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  const struct grayscale *g = (const struct grayscale *)self;
  if (av_frame_make_writable(frame) < 0) return sm_fail(task, SM_RETRY, NULL, "no memory was left for a frame");
  for (int plane = 1; plane < 3; plane++)
    for (int y = 0; y < (frame->height + 1) / 2; y++) {
      unsigned char *row = frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
      for (int x = 0; x < (frame->width + 1) / 2; x++) row[x] = g->faded[row[x]];
    }
  return sm_emit(task, stream, frame);
}

static sm_status gray_nothing_before(sm_task *task, void *self, uint32_t stream, int64_t pts) {
  (void)self;
  return sm_emit_nothing_before(task, stream, pts);
}

static sm_status gray_flush(sm_task *task, void *self, uint32_t stream) {
  (void)task, (void)self, (void)stream; /* nothing is held back */
  return SM_OK;
}

static sm_status gray_close(sm_task *task, void *self, sm_status why) {
  (void)task, (void)why;
  free(self);
  return SM_OK;
}

static const sm_media_ops ops =
  SM_MEDIA_OPS(SM_MEDIA_BYPASS, gray_open, NULL, gray_frame, gray_nothing_before, gray_flush, gray_close);
static const sm_stage stages[] = {
  SM_MEDIA_STAGE("grayscale", "takes the colour out of the video", SM_KIND_FILTER, params, inputs, outputs, results,
                 &ops, NULL),
  SM_STAGES_END};
SM_PLUGIN("org.example.grayscale", "1.0.0", "MIT", stages);
