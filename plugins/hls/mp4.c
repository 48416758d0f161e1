#include "mp4.h"

#include <libavformat/avformat.h>
#include <stdbool.h>
#include <stdio.h>

struct mp4 {
  AVFormatContext *muxer;
  AVRational video_base, audio_base;
  int video, audio;
  char name[256];
};

static int add(AVFormatContext *muxer, const AVCodecContext *codec, AVRational *base) {
  AVStream *stream = avformat_new_stream(muxer, NULL);
  if (!stream) return AVERROR(ENOMEM);
  int err = avcodec_parameters_from_context(stream->codecpar, codec);
  if (err < 0) return err;
  stream->time_base = *base = codec->time_base;
  if (codec->codec_type == AVMEDIA_TYPE_VIDEO) stream->avg_frame_rate = codec->framerate;
  return stream->index;
}

static int open_file(struct mp4 *m, const char *path, const AVCodecContext *video, const AVCodecContext *audio) {
  int err = avformat_alloc_output_context2(&m->muxer, NULL, "mp4", path);
  if (err < 0) return err;
  m->muxer->flags |= AVFMT_FLAG_BITEXACT;
  m->video = video ? add(m->muxer, video, &m->video_base) : -1;
  m->audio = audio ? add(m->muxer, audio, &m->audio_base) : -1;
  if ((video && m->video < 0) || (audio && m->audio < 0)) return AVERROR(ENOMEM);
  err = avio_open(&m->muxer->pb, path, AVIO_FLAG_WRITE);
  if (err < 0) return err;
  AVDictionary *options = NULL;
  av_dict_set(&options, "movflags", "+faststart", 0);
  err = avformat_write_header(m->muxer, &options);
  av_dict_free(&options);
  return err;
}

struct mp4 *mp4_open(const char *path, const char *name, const AVCodecContext *video, const AVCodecContext *audio,
                     struct fault *f) {
  struct mp4 *m = av_mallocz(sizeof *m);
  if (!m) {
    fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory");
    return NULL;
  }
  snprintf(m->name, sizeof m->name, "%s", name);
  int err = open_file(m, path, video, audio);
  if (err < 0) {
    fault_write(f, err, m->name);
    mp4_close(&m);
  }
  return m;
}

void mp4_close(struct mp4 **m) {
  if (!*m) return;
  if ((*m)->muxer) {
    avio_closep(&(*m)->muxer->pb);
    avformat_free_context((*m)->muxer);
  }
  av_freep(m);
}

sm_status mp4_packet(struct mp4 *m, const AVPacket *packet, enum AVMediaType type, struct fault *f) {
  bool video = type == AVMEDIA_TYPE_VIDEO;
  AVPacket *copy = av_packet_clone(packet);
  if (!copy) return fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory while writing %s", m->name);
  copy->stream_index = video ? m->video : m->audio;
  av_packet_rescale_ts(copy, video ? m->video_base : m->audio_base, m->muxer->streams[copy->stream_index]->time_base);
  int err = av_interleaved_write_frame(m->muxer, copy);
  av_packet_free(&copy);
  return err < 0 ? fault_write(f, err, m->name) : SM_OK;
}

sm_status mp4_end(struct mp4 *m, struct fault *f) {
  int err = av_write_trailer(m->muxer);
  int closed = avio_closep(&m->muxer->pb);
  if (err >= 0) err = closed;
  return err < 0 ? fault_write(f, err, m->name) : SM_OK;
}
