/* frames.c - a media sink and a filter that count what they get and misbehave at a chosen frame: for passes. */
#define SM_SEES_PACKETS
#include <stagemill/media.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct counter {
  int64_t video, audio, at, done_at;
  const char *how;
};

static const sm_param params[] = {
  SM_INT("at", "0", 0, 1000000, "frames", "the video frame at which it misbehaves; 0: never"),
  SM_CHOICE("how", "crash", "crash|retry|fail|hang|slow", "what it does there"),
  SM_INT("until-attempt", "1000", 1, 1000, NULL, "from this attempt on it behaves"),
  SM_INT("done-at", "0", 0, 1000000, "frames", "satisfied after so many video frames; 0: never"),
  SM_PARAMS_END,
};
static const sm_port sink_inputs[] = {
  SM_VIDEO("video", SM_PORT_OPTIONAL, "pictures to count"),
  SM_AUDIO("audio", SM_PORT_OPTIONAL, "sound to count"),
  SM_PORTS_END,
};
static const sm_port sink_outputs[] = {SM_OUTPUT("count", "text/plain", "the numbers"), SM_PORTS_END};
static const sm_result sink_results[] = {
  SM_RESULT_INT("width", SM_AT_OPEN, "px", "width of the pictures"),
  SM_RESULT_INT("frames", SM_AT_END, "frames", "video frames counted"),
  SM_RESULT_INT("sounds", SM_AT_END, "frames", "audio frames counted"),
  SM_RESULTS_END,
};
static const sm_port filter_inputs[] = {SM_VIDEO("video", 0, "pictures"), SM_PORTS_END};
static const sm_port filter_outputs[] = {SM_VIDEO("video", 0, "the same"), SM_PORTS_END};
static const sm_result no_results[] = {SM_RESULTS_END};

static struct counter *counter_new(sm_task *task) {
  struct counter *c = (struct counter *)calloc(1, sizeof *c);
  if (!c) return NULL;
  c->at = sm_attempt(task) >= sm_param_int(task, "until-attempt") ? 0 : sm_param_int(task, "at");
  c->done_at = sm_param_int(task, "done-at");
  c->how = sm_param_text(task, "how");
  return c;
}

static sm_status misbehave(sm_task *task, const struct counter *c) {
  if (!strcmp(c->how, "retry")) return sm_fail(task, SM_RETRY, NULL, "frame %d was in the wrong phase", (int)c->at);
  if (!strcmp(c->how, "fail")) return sm_fail(task, SM_FAIL, NULL, "frame %d is not to my taste", (int)c->at);
  if (!strcmp(c->how, "slow")) usleep(200 * 1000);
  while (!strcmp(c->how, "hang")) pause();
  if (!strcmp(c->how, "crash")) raise(SIGSEGV);
  return SM_OK;
}

static sm_status sink_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                           void **self) {
  (void)out;
  *out_count = 0;
  *self = counter_new(task);
  int64_t width = 0;
  for (uint32_t i = 0; i < in_count; i++)
    if (in[i].kind == SM_STREAM_VIDEO) width = in[i].width;
  sm_result_int(task, "width", width);
  return *self ? SM_OK : SM_RETRY;
}

static sm_status sink_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  struct counter *c = (struct counter *)self;
  (void)stream;
  if (frame->width == 0) {
    c->audio++;
    return SM_OK;
  }
  c->video++;
  if (c->at && (c->video == c->at || !strcmp(c->how, "slow"))) {
    sm_status status = misbehave(task, c);
    if (status != SM_OK) return status;
  }
  return c->done_at && c->video >= c->done_at ? SM_DONE : SM_OK;
}

static sm_status sink_close(sm_task *task, void *self, sm_status why) {
  struct counter *c = (struct counter *)self;
  sm_status status = SM_OK;
  if (why == SM_OK || why == SM_DONE) {
    const char *path = sm_output_path(task, "count", "count.txt");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file || fprintf(file, "%lld %lld\n", (long long)c->video, (long long)c->audio) < 0 || fclose(file) != 0)
      status = sm_fail(task, SM_RETRY, NULL, "cannot write the count");
    else
      status = sm_output(task, "count", "count.txt", NULL, NULL);
    sm_result_int(task, "frames", c->video);
    sm_result_int(task, "sounds", c->audio);
  }
  free(c);
  return status;
}

static sm_status filter_open(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count,
                             void **self) {
  if (in_count != 1 || *out_count < 1) return SM_FAIL;
  out[0] = in[0];
  out[0].port = "video";
  *out_count = 1;
  *self = counter_new(task);
  return *self ? SM_OK : SM_RETRY;
}

static sm_status filter_frame(sm_task *task, void *self, uint32_t stream, AVFrame *frame) {
  struct counter *c = (struct counter *)self;
  c->video++;
  if (c->at && (c->video == c->at || !strcmp(c->how, "slow"))) {
    sm_status status = misbehave(task, c);
    if (status != SM_OK) return status;
  }
  return sm_emit(task, stream, frame);
}

static sm_status nothing_more(sm_task *task, void *self, uint32_t stream) {
  (void)task, (void)self, (void)stream;
  return SM_OK;
}

static sm_status filter_close(sm_task *task, void *self, sm_status why) {
  (void)task, (void)why;
  free(self);
  return SM_OK;
}

static const sm_media_ops sink = {
  .size = sizeof(sm_media_ops), .stream_size = sizeof(sm_stream),
  .open = sink_open, .frame = sink_frame, .flush = nothing_more, .close = sink_close,
};
static const sm_media_ops filter = {
  .size = sizeof(sm_media_ops), .flags = SM_MEDIA_BYPASS, .stream_size = sizeof(sm_stream),
  .open = filter_open, .frame = filter_frame, .flush = nothing_more, .close = filter_close,
};

static const sm_stage stages[] = {
  SM_MEDIA_STAGE("count-frames", "counts frames", SM_KIND_SINK, params, sink_inputs, sink_outputs, sink_results, &sink, NULL),
  SM_MEDIA_STAGE("pass-frames", "lets frames through", SM_KIND_FILTER, params, filter_inputs, filter_outputs, no_results,
                 &filter, NULL),
  SM_STAGES_END,
};
SM_PLUGIN("test.frames", "1.0.0", "MIT", stages);
