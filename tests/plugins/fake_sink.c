/* fake-sink - a sink for the pass module of these tests, which decodes nothing: it reads the parameters and acts. */
#define SM_SEES_PACKETS
#include <stagemill/media.h>

static const sm_param params[] = {
  SM_CHOICE("crash", "no", "no|here|below", "crash in the stage's thread, or in one that it opened"),
  SM_INT("n", "0", 0, 1000000, NULL, "known late, comes back as a result"),
  SM_CHOICE("fail", "no", "no|retry|fail", "the host finds a fault"),
  SM_PARAMS_END,
};
static const sm_port inputs[] = {SM_VIDEO("video", 0, "frames"), SM_PORTS_END};
static const sm_port outputs[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_INT("width", SM_AT_OPEN, "px", "from the headers"),
  SM_RESULT_LIST("tracks", SM_AT_OPEN, "from the headers"),
  SM_RESULT_INT("n", SM_AT_END, NULL, "the late parameter"),
  SM_RESULTS_END,
};

static sm_status sink_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count, void **self) {
  (void)in, (void)in_count, (void)out, (void)self;
  *out_count = 0;
  sm_result_item(task, "tracks", "one");
  sm_result_item(task, "tracks", "two");
  return sm_result_int(task, "width", 640);
}
static sm_status sink_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  (void)self, (void)stream, (void)frame;
  return sm_result_int(task, "n", sm_param_int(task, "n"));
}
static sm_status sink_close(sm_task *task, void *self, sm_status why) {
  (void)task, (void)self;
  return why;
}

static const sm_media_ops media = SM_MEDIA_OPS(0, sink_open, NULL, sink_frame, NULL, NULL, sink_close);
static const sm_stage stages[] = {
  SM_MEDIA_STAGE("fake-sink", "acts by its parameters", SM_KIND_SINK, params, inputs, outputs, results, &media, NULL),
  SM_STAGES_END,
};
SM_PLUGIN("test.fake-sink", "1.0.0", "MIT", stages);
