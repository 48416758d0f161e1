/* hls_feed.c - runs the stage `hls` alone on a file: a tool to look at its output and to measure it without the rest.
 *
 *   hls_feed PLUGIN.so FILE FOLDER [name=value]...    (cores=N is ours)
 */
#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavformat/avformat.h>
#include <stdlib.h>
#include <string.h>

#include "fakehost.h"

struct source {
  AVCodecContext *decoder;
  AVFilterContext *in, *out;
  AVFilterGraph *graph;
  int stream;
};

static void must(int err, const char *what) {
  if (err >= 0) return;
  fprintf(stderr, "%s: %s\n", what, av_err2str(err));
  exit(1);
}

static void open_graph(struct source *s, AVStream *stream) {
  char args[256];
  bool video = s->decoder->codec_type == AVMEDIA_TYPE_VIDEO;
  s->graph = avfilter_graph_alloc();
  if (video)
    snprintf(args, sizeof args, "video_size=%dx%d:pix_fmt=%d:time_base=%d/%d:pixel_aspect=1/1", s->decoder->width,
             s->decoder->height, s->decoder->pix_fmt, stream->time_base.num, stream->time_base.den);
  else
    snprintf(args, sizeof args, "time_base=%d/%d:sample_rate=%d:sample_fmt=%s:channel_layout=0x%llx",
             stream->time_base.num, stream->time_base.den, s->decoder->sample_rate,
             av_get_sample_fmt_name(s->decoder->sample_fmt),
             (unsigned long long)(s->decoder->ch_layout.u.mask ? s->decoder->ch_layout.u.mask : AV_CH_LAYOUT_STEREO));
  must(avfilter_graph_create_filter(&s->in, avfilter_get_by_name(video ? "buffer" : "abuffer"), "in", args, NULL,
                                    s->graph),
       "source filter");
  must(avfilter_graph_create_filter(&s->out, avfilter_get_by_name(video ? "buffersink" : "abuffersink"), "out", NULL,
                                    NULL, s->graph),
       "sink filter");
  AVFilterContext *middle;
  must(avfilter_graph_create_filter(&middle, avfilter_get_by_name(video ? "format" : "aformat"), "middle",
                                    video ? "pix_fmts=yuv420p"
                                          : "sample_fmts=fltp:sample_rates=48000|44100:channel_layouts=stereo|mono",
                                    NULL, s->graph),
       "format filter");
  must(avfilter_link(s->in, 0, middle, 0), "link");
  must(avfilter_link(middle, 0, s->out, 0), "link");
  must(avfilter_graph_config(s->graph, NULL), "graph");
}

static bool open_source(struct source *s, AVFormatContext *file, enum AVMediaType type) {
  const AVCodec *codec = NULL;
  s->stream = av_find_best_stream(file, type, -1, -1, &codec, 0);
  if (s->stream < 0 || (file->streams[s->stream]->disposition & AV_DISPOSITION_ATTACHED_PIC))
    return s->stream = -1, false;
  s->decoder = avcodec_alloc_context3(codec);
  must(avcodec_parameters_to_context(s->decoder, file->streams[s->stream]->codecpar), "decoder");
  s->decoder->thread_count = 0;
  s->decoder->pkt_timebase = file->streams[s->stream]->time_base;
  must(avcodec_open2(s->decoder, codec, NULL), "decoder");
  open_graph(s, file->streams[s->stream]);
  return true;
}

static void describe(struct source *s, AVFormatContext *file, sm_stream *out) {
  AVStream *stream = file->streams[s->stream];
  memset(out, 0, sizeof *out);
  bool video = s->decoder->codec_type == AVMEDIA_TYPE_VIDEO;
  *out = (sm_stream){.size = sizeof *out,
                     .kind = video ? SM_STREAM_VIDEO : SM_STREAM_AUDIO,
                     .port = video ? "video" : "audio",
                     .is_default = 1,
                     .time_base = av_buffersink_get_time_base(s->out),
                     .want_pixel_format = -1,
                     .want_sample_format = -1};
  if (video) {
    out->width = s->decoder->width;
    out->height = s->decoder->height;
    out->frame_rate = stream->avg_frame_rate;
    out->is_vfr = av_cmp_q(stream->avg_frame_rate, stream->r_frame_rate) != 0;
    out->pixel_format = s->decoder->pix_fmt;
    out->color_range = s->decoder->color_range;
    out->color_primaries = s->decoder->color_primaries;
    out->color_transfer = s->decoder->color_trc;
    out->color_space = s->decoder->colorspace;
  } else {
    out->sample_rate = av_buffersink_get_sample_rate(s->out);
    out->sample_format = AV_SAMPLE_FMT_FLTP;
    out->channels = av_buffersink_get_channels(s->out);
  }
}

static void pull(struct fake_host *h, struct source *s, uint32_t index, int64_t start_us) {
  AVFrame *frame = av_frame_alloc();
  int64_t start = av_rescale_q(start_us, AV_TIME_BASE_Q, av_buffersink_get_time_base(s->out));
  while (av_buffersink_get_frame(s->out, frame) >= 0) {
    frame->pts -= start;
    if (fake_frame(h, index, frame) != SM_OK) {
      fprintf(stderr, "failed: %s (%s)\n", h->message, h->debug);
      exit(1);
    }
    av_frame_unref(frame);
  }
  av_frame_free(&frame);
}

static void decode(struct fake_host *h, struct source *s, uint32_t index, const AVPacket *packet, int64_t start_us) {
  AVFrame *frame = av_frame_alloc();
  if (avcodec_send_packet(s->decoder, packet) < 0 && packet) {
    av_frame_free(&frame);
    return;
  }
  while (avcodec_receive_frame(s->decoder, frame) >= 0) {
    frame->pts = frame->best_effort_timestamp;
    must(av_buffersrc_add_frame(s->in, frame), "filter");
    pull(h, s, index, start_us);
  }
  av_frame_free(&frame);
  if (packet) return;
  must(av_buffersrc_add_frame(s->in, NULL), "filter");
  pull(h, s, index, start_us);
  if (fake_flush(h, index) != SM_OK) exit(1);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  av_log_set_level(AV_LOG_ERROR);
  struct fake_host *h = fake_create(argv[1], "hls", argv[3]);
  struct source sources[2] = {{.stream = -1}, {.stream = -1}};
  sm_stream in[2];
  uint32_t count = 0;
  AVFormatContext *file = NULL;
  must(avformat_open_input(&file, argv[2], NULL, NULL), argv[2]);
  must(avformat_find_stream_info(file, NULL), argv[2]);
  if (open_source(&sources[count], file, AVMEDIA_TYPE_VIDEO)) describe(&sources[count], file, &in[count]), count++;
  if (open_source(&sources[count], file, AVMEDIA_TYPE_AUDIO)) describe(&sources[count], file, &in[count]), count++;
  h->duration_us = file->duration > 0 ? file->duration : 0;
  const char *base = strrchr(argv[2], '/');
  snprintf(h->source_name, sizeof h->source_name, "%s", base ? base + 1 : argv[2]);
  snprintf(h->source_path, sizeof h->source_path, "%s", argv[2]);
  for (int i = 4; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (!value) return 2;
    *value++ = '\0';
    if (!strcmp(argv[i], "cores"))
      h->cores = (unsigned)atoi(value);
    else
      fake_set(h, argv[i], value);
  }
  if (h->stage->plan(&h->task) == SM_OK)
    for (unsigned i = 0; i < h->rungs; i++) printf("plan: %s\n", h->rung[i]);
  if (fake_open(h, in, count) != SM_OK) {
    fprintf(stderr, "failed: %s (%s)\n", h->message, h->debug);
    return 1;
  }
  int64_t start = file->start_time == AV_NOPTS_VALUE ? 0 : file->start_time;
  AVPacket *packet = av_packet_alloc();
  for (; av_read_frame(file, packet) >= 0; av_packet_unref(packet))
    for (uint32_t i = 0; i < count; i++)
      if (packet->stream_index == sources[i].stream) decode(h, &sources[i], i, packet, start);
  for (uint32_t i = 0; i < count; i++) decode(h, &sources[i], i, NULL, start);
  sm_status status = fake_close(h, SM_OK);
  if (status != SM_OK) fprintf(stderr, "failed: %s (%s)\n", h->message, h->debug);
  printf("status %d, %u playlists, %u segments, memory planned %.0f MB, cost %.2f\n", status,
         fake_count(h, "playlists"), fake_count(h, "segments"), h->memory / 1e6, h->cost);
  av_packet_free(&packet);
  for (uint32_t i = 0; i < count; i++) {
    avcodec_free_context(&sources[i].decoder);
    avfilter_graph_free(&sources[i].graph);
  }
  avformat_close_input(&file);
  fake_destroy(&h);
  return status != SM_OK;
}
