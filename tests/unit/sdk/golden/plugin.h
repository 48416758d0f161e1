/* plugin.h - a plugin that uses every row macro; built as C and as C++ it must come out the same, for ever: see
 * plugin.txt. What is in it is frozen with ABI 1.0. */
#include <stagemill/media.h>

static const sm_param fields[] = {SM_TEXT("name", NULL, "field"), SM_INT("width", "640", 2, 8192, "px", "field"), SM_PARAMS_END};
static const sm_param params[] = {
  SM_TEXT("text", "a", "text row"),
  SM_CHOICE("choice", "one", "one|two", "choice row"),
  SM_INT("int", "1", 0, 10, "frames", "int row"),
  SM_NUMBER("number", "0.5", 0, 1, NULL, "number row"),
  SM_BOOL("bool", "true", "bool row"),
  SM_DURATION("duration", "6s", 1, 60, "duration row"),
  SM_SIZE("size", "1M", 0, 1e9, "size row"),
  SM_BITRATE("bitrate", "800k", 0, 1e9, "bitrate row"),
  SM_PERCENT("percent", "10%", 0, 100, "percent row"),
  SM_FILE("file", SM_REQUIRED, "file row"),
  SM_TARGET("target", 0, "target row"),
  SM_SECRET("secret", 0, "secret row"),
  SM_PARAM("records", SM_TAKES_RECORD | SM_TAKES_TEXT, SM_REPEATED, NULL, NULL, 0, 0, NULL, fields, "general row"),
  SM_PARAMS_END};
static const sm_port inputs[] = {
  SM_INPUT("file", "*/*", "input row"),
  SM_INPUTS("many", "image/*|video/*", "inputs row"),
  SM_PORT("packets", SM_PORT_PACKETS, SM_PORT_OPTIONAL, NULL, "port row"),
  SM_PORTS_END};
static const sm_port outputs[] = {
  SM_OUTPUT("one", "text/plain", "output row"), SM_OUTPUTS("more", "image/png", "outputs row"), SM_PORTS_END};
static const sm_port frames[] = {SM_VIDEO("video", 0, "video row"), SM_AUDIO("audio", SM_PORT_OPTIONAL, "audio row"), SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT("any", SM_RESULT_TYPE_TEXT, SM_AT_END, SM_RESULT_NULLABLE, NULL, "general row"),
  SM_RESULT_TEXT("text", SM_AT_END, "text row"),
  SM_RESULT_INT("int", SM_AT_END, "px", "int row"),
  SM_RESULT_NUMBER("number", SM_AT_END, "1/s", "number row"),
  SM_RESULT_BOOL("bool", SM_AT_OPEN, "bool row"),
  SM_RESULT_DURATION("duration", SM_AT_END, "duration row"),
  SM_RESULT_LIST("list", SM_AT_END, "list row"),
  SM_RESULTS_END};

static sm_status golden_run(sm_task *task) { return sm_fail(task, SM_FAIL, NULL, "golden plugins do no work"); }

static sm_status golden_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count, void **self) {
  (void)in, (void)in_count, (void)out, (void)out_count, (void)self;
  return golden_run(task);
}
static sm_status golden_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  (void)self;
  return sm_emit(task, stream, frame);
}
static sm_status golden_flush(sm_task *task, void *self, uint32_t stream) {
  (void)task, (void)self, (void)stream;
  return SM_OK;
}
static sm_status golden_close(sm_task *task, void *self, sm_status why) {
  (void)task, (void)self, (void)why;
  return SM_OK;
}
static const sm_media_ops ops = SM_MEDIA_OPS(SM_MEDIA_BYPASS, golden_open, NULL, golden_frame, NULL, golden_flush, golden_close);

static const sm_stage stages[] = {
  SM_TASK_STAGE("golden-task", "task row", params, inputs, outputs, results, golden_run),
  SM_TASK_STAGE_CAP("golden-network", "task row with capabilities", "network exec", params, inputs, outputs, results, golden_run),
  SM_MEDIA_STAGE("golden-filter", "media row", SM_KIND_FILTER, params, frames, frames, results, &ops, golden_run),
  SM_STAGES_END};
SM_PLUGIN("org.stagemill.golden", "1.0.0", "MIT", stages);
