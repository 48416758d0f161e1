#include "hdr.h"

#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/dovi_meta.h>

enum { PACKETS_MAX = 64, LIMIT_US = 3 * 1000 * 1000 };

static void take_display(struct hdr *hdr, const void *data, size_t size) {
  if (hdr->has_display || size < sizeof hdr->display) return;
  memcpy(&hdr->display, data, sizeof hdr->display);
  hdr->has_display = hdr->display.has_primaries || hdr->display.has_luminance;
}

static void take_light(struct hdr *hdr, const void *data, size_t size) {
  if (hdr->has_light || size < sizeof hdr->light) return;
  memcpy(&hdr->light, data, sizeof hdr->light);
  hdr->has_light = hdr->light.MaxCLL || hdr->light.MaxFALL;
}

static void from_stream(const AVStream *stream, struct hdr *hdr) {
  for (int i = 0; i < stream->nb_side_data; i++) {
    const AVPacketSideData *side = &stream->side_data[i];
    if (side->type == AV_PKT_DATA_MASTERING_DISPLAY_METADATA) take_display(hdr, side->data, side->size);
    if (side->type == AV_PKT_DATA_CONTENT_LIGHT_LEVEL) take_light(hdr, side->data, side->size);
    if (side->type == AV_PKT_DATA_DOVI_CONF && side->size >= sizeof(AVDOVIDecoderConfigurationRecord)) {
      const AVDOVIDecoderConfigurationRecord *record = (const void *)side->data;
      hdr->has_dolby = true;
      hdr->dolby_profile = record->dv_profile;
      hdr->dolby_level = record->dv_level;
    }
  }
}

static void from_frame(const AVFrame *frame, struct hdr *hdr) {
  const AVFrameSideData *side = av_frame_get_side_data(frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
  if (side) take_display(hdr, side->data, side->size);
  side = av_frame_get_side_data(frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
  if (side) take_light(hdr, side->data, side->size);
}

static AVCodecContext *decoder_for(const AVStream *stream) {
  const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
  AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;
  if (!context) return NULL;
  context->thread_count = 1;
  context->max_pixels = 8192 * 8192;
  if (avcodec_parameters_to_context(context, stream->codecpar) < 0 || avcodec_open2(context, codec, NULL) < 0)
    avcodec_free_context(&context);
  return context;
}

static void decode_first(struct source *s, int video, AVCodecContext *decoder, AVPacket *packet, AVFrame *frame,
                         struct hdr *hdr) {
  for (int i = 0; i < PACKETS_MAX && av_read_frame(s->format, packet) >= 0;) {
    bool ours = packet->stream_index == video;
    if (ours) avcodec_send_packet(decoder, packet);
    av_packet_unref(packet);
    i += ours;
    if (ours && avcodec_receive_frame(decoder, frame) >= 0) {
      from_frame(frame, hdr);
      return;
    }
  }
  if (avcodec_send_packet(decoder, NULL) >= 0 && avcodec_receive_frame(decoder, frame) >= 0) from_frame(frame, hdr);
}

static void from_first_frame(struct source *s, int video, struct hdr *hdr) {
  AVPacket *packet = av_packet_alloc();
  AVFrame *frame = av_frame_alloc();
  AVCodecContext *decoder = decoder_for(s->format->streams[video]);
  int64_t start = s->format->start_time != AV_NOPTS_VALUE ? s->format->start_time : 0;
  source_allow(s, LIMIT_US);
  s->format->streams[video]->discard = AVDISCARD_DEFAULT;
  if (packet && frame && decoder && av_seek_frame(s->format, -1, start, AVSEEK_FLAG_BACKWARD) >= 0)
    decode_first(s, video, decoder, packet, frame, hdr);
  avcodec_free_context(&decoder);
  av_frame_free(&frame);
  av_packet_free(&packet);
}

void hdr_inspect(struct source *s, int video, struct hdr *hdr) {
  *hdr = (struct hdr){0};
  if (video < 0) return;
  const AVStream *stream = s->format->streams[video];
  enum AVColorTransferCharacteristic transfer = stream->codecpar->color_trc;
  bool pq = transfer == AVCOL_TRC_SMPTE2084, hlg = transfer == AVCOL_TRC_ARIB_STD_B67;
  from_stream(stream, hdr);
  if (pq && !(hdr->has_display && hdr->has_light)) from_first_frame(s, video, hdr);
  if (hdr->has_dolby) hdr->format = "dolby-vision";
  else if (pq) hdr->format = hdr->has_display ? "hdr10" : "pq";
  else if (hlg) hdr->format = "hlg";
}
