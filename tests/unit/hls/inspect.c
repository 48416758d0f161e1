#include "inspect.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <math.h>
#include <string.h>

struct reading {
  AVFormatContext *file;
  AVCodecContext *decoders[4];
  double squares;
  int64_t samples;
  bool clean;
  struct inspection *out;
};

static void count_samples(struct reading *r, const AVFrame *frame) {
  const float *samples = (const float *)frame->extended_data[0];
  for (int i = 0; i < frame->nb_samples; i++) r->squares += (double)samples[i] * samples[i];
  r->samples += frame->nb_samples;
}

static void decode(struct reading *r, int stream, const AVPacket *packet) {
  AVCodecContext *d = r->decoders[stream];
  AVFrame *frame = av_frame_alloc();
  if (avcodec_send_packet(d, packet) < 0) r->clean = false;
  while (avcodec_receive_frame(d, frame) >= 0) {
    if (frame->decode_error_flags || (frame->flags & AV_FRAME_FLAG_CORRUPT)) r->clean = false;
    if (d->codec_type == AVMEDIA_TYPE_VIDEO)
      r->out->decoded_pictures++;
    else
      count_samples(r, frame);
  }
  av_frame_free(&frame);
}

static void note(struct reading *r, const AVPacket *p) {
  struct inspection *o = r->out;
  AVStream *stream = r->file->streams[p->stream_index];
  double pts = (double)p->pts * av_q2d(stream->time_base);
  if (stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO) {
    bool key = p->flags & AV_PKT_FLAG_KEY;
    if (!o->pictures++) {
      o->first_picture = pts;
      o->starts_with_key = key;
    }
    o->keys += key;
    o->last_picture = fmax(o->last_picture, pts);
  } else {
    if (!o->sounds++) o->first_sound = pts;
    o->last_sound = pts + (double)p->duration * av_q2d(stream->time_base);
  }
}

static bool open_decoders(struct reading *r) {
  for (unsigned i = 0; i < r->file->nb_streams && i < 4; i++) {
    AVCodecParameters *par = r->file->streams[i]->codecpar;
    r->decoders[i] = avcodec_alloc_context3(avcodec_find_decoder(par->codec_id));
    if (!r->decoders[i] || avcodec_parameters_to_context(r->decoders[i], par) < 0) return false;
    r->decoders[i]->thread_count = 1;
    r->decoders[i]->err_recognition = AV_EF_EXPLODE | AV_EF_CRCCHECK | AV_EF_BITSTREAM;
    if (avcodec_open2(r->decoders[i], NULL, NULL) < 0) return false;
    if (par->codec_type == AVMEDIA_TYPE_VIDEO) {
      r->out->width = par->width;
      r->out->height = par->height;
    }
  }
  return true;
}

bool inspect_segment(const char *init, const char *path, struct inspection *out) {
  struct reading r = {.clean = true, .out = out};
  char url[2200];
  memset(out, 0, sizeof *out);
  snprintf(url, sizeof url, init ? "concat:%s|%s" : "%s%s", init ? init : "", path);
  bool good = avformat_open_input(&r.file, url, NULL, NULL) >= 0 && avformat_find_stream_info(r.file, NULL) >= 0 &&
              r.file->nb_streams <= 4 && open_decoders(&r);
  AVPacket *packet = av_packet_alloc();
  for (; good && av_read_frame(r.file, packet) >= 0; av_packet_unref(packet)) {
    note(&r, packet);
    decode(&r, packet->stream_index, packet);
  }
  for (unsigned i = 0; good && i < r.file->nb_streams; i++) decode(&r, (int)i, NULL);
  for (int i = 0; i < 4; i++) avcodec_free_context(&r.decoders[i]);
  av_packet_free(&packet);
  avformat_close_input(&r.file);
  out->loudness = r.samples ? sqrt(r.squares / (double)r.samples) : 0;
  return good && r.clean;
}
