#include "describe.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/channel_layout.h>
#include <libavutil/pixdesc.h>

#include "picture.h"

enum { STREAMS_MAX = 256, TAGS_MAX = 64, TEXT_MAX = 1024 };

/* Text out of a foreign file: bounded, and bytes that are no UTF-8 replaced. */
static json_t *text(const char *from) {
  char clean[TEXT_MAX];
  if (!from) return json_null();
  json_t *whole = strlen(from) < sizeof clean ? json_string(from) : NULL;
  if (whole) return whole;
  size_t n = 0;
  for (; from[n] && n < sizeof clean - 1; n++)
    clean[n] = isprint((unsigned char)from[n]) && !(from[n] & 0x80) ? from[n] : '?';
  clean[n] = 0;
  return json_string(clean);
}

static void put(json_t *object, const char *key, json_t *value) { json_object_set_new(object, key, value); }
static void put_text(json_t *o, const char *key, const char *value) { put(o, key, text(value)); }
static void put_int(json_t *o, const char *key, int64_t value) { put(o, key, json_integer(value)); }

static void put_positive(json_t *o, const char *key, int64_t value) {
  put(o, key, value > 0 ? json_integer(value) : json_null());
}

static void put_seconds(json_t *o, const char *key, int64_t value, AVRational base) {
  put(o, key, value == AV_NOPTS_VALUE ? json_null() : json_real((double)value * av_q2d(base)));
}

static void put_ratio(json_t *o, const char *key, AVRational r, char between) {
  char word[48];
  snprintf(word, sizeof word, "%d%c%d", r.num, between, r.den);
  put(o, key, r.num > 0 && r.den > 0 ? json_string(word) : json_null());
}

static json_t *tags(const AVDictionary *from) {
  json_t *all = json_object();
  const AVDictionaryEntry *entry = NULL;
  for (int i = 0; i < TAGS_MAX && (entry = av_dict_get(from, "", entry, AV_DICT_IGNORE_SUFFIX)); i++) {
    json_t *key = text(entry->key);
    put(all, json_string_value(key), text(entry->value));
    json_decref(key);
  }
  return all;
}

static const char *tag(const AVDictionary *from, const char *key) {
  const AVDictionaryEntry *entry = av_dict_get(from, key, NULL, 0);
  return entry ? entry->value : NULL;
}

static json_t *disposition(int bits) {
  json_t *words = json_array();
  for (unsigned bit = 0; bit < 31; bit++) {
    const char *word = bits & (1 << bit) ? av_disposition_to_string(1 << bit) : NULL;
    if (word) json_array_append_new(words, json_string(word));
  }
  return words;
}

/* H.264 counts levels in tenths (A.3.1), HEVC in thirtieths (A.4.1). */
static json_t *level_text(const AVCodecParameters *c) {
  char word[16];
  if (c->level <= 0) return json_null();
  if (c->codec_id == AV_CODEC_ID_H264) snprintf(word, sizeof word, "%d.%d", c->level / 10, c->level % 10);
  else if (c->codec_id == AV_CODEC_ID_HEVC) snprintf(word, sizeof word, "%d.%d", c->level / 30, c->level % 30 / 3);
  else snprintf(word, sizeof word, "%d", c->level);
  return json_string(word);
}

static json_t *mastering(const AVMasteringDisplayMetadata *d) {
  static const char *const names[] = {"red", "green", "blue"};
  json_t *all = json_object();
  for (int i = 0; i < 3 && d->has_primaries; i++)
    put(all, names[i], json_pack("[ff]", av_q2d(d->display_primaries[i][0]), av_q2d(d->display_primaries[i][1])));
  if (d->has_primaries) put(all, "white", json_pack("[ff]", av_q2d(d->white_point[0]), av_q2d(d->white_point[1])));
  if (d->has_luminance) {
    put(all, "min_luminance", json_real(av_q2d(d->min_luminance)));
    put(all, "max_luminance", json_real(av_q2d(d->max_luminance)));
  }
  return all;
}

static json_t *hdr_object(const struct hdr *hdr) {
  if (!hdr->format) return json_null();
  json_t *all = json_object();
  put_text(all, "format", hdr->format);
  put(all, "mastering_display", hdr->has_display ? mastering(&hdr->display) : json_null());
  put(all, "content_light",
      hdr->has_light
        ? json_pack("{sIsI}", "max_cll", (json_int_t)hdr->light.MaxCLL, "max_fall", (json_int_t)hdr->light.MaxFALL)
        : json_null());
  put(all, "dolby_vision",
      hdr->has_dolby ? json_pack("{sisi}", "profile", hdr->dolby_profile, "level", hdr->dolby_level) : json_null());
  return all;
}

static json_t *color(const AVCodecParameters *c) {
  json_t *all = json_object();
  put_text(all, "range", c->color_range ? av_color_range_name(c->color_range) : NULL);
  put_text(all, "space", c->color_space != AVCOL_SPC_UNSPECIFIED ? av_color_space_name(c->color_space) : NULL);
  put_text(all, "primaries",
           c->color_primaries != AVCOL_PRI_UNSPECIFIED ? av_color_primaries_name(c->color_primaries) : NULL);
  put_text(all, "transfer", c->color_trc != AVCOL_TRC_UNSPECIFIED ? av_color_transfer_name(c->color_trc) : NULL);
  put_text(all, "chroma_location", c->chroma_location ? av_chroma_location_name(c->chroma_location) : NULL);
  return all;
}

static json_t *spacing(const struct findings *f, int index) {
  if (index != f->video || f->timing.spacing == SPACING_UNKNOWN) return json_null();
  return json_boolean(f->timing.spacing == SPACING_UNEVEN);
}

static void video_fields(const struct findings *f, int index, json_t *o) {
  AVStream *stream = f->source->format->streams[index];
  const AVCodecParameters *c = stream->codecpar;
  struct picture picture;
  AVRational shape;
  picture_of(f->source->format, stream, &picture);
  av_reduce(&shape.num, &shape.den, (int64_t)c->width * picture.sample_aspect.num,
            (int64_t)c->height * picture.sample_aspect.den, 1024 * 1024);
  put_int(o, "coded_width", c->width);
  put_int(o, "coded_height", c->height);
  put_int(o, "width", picture.width);
  put_int(o, "height", picture.height);
  put_ratio(o, "sample_aspect", picture.sample_aspect, ':');
  put_ratio(o, "display_aspect", shape, ':');
  put_int(o, "rotation", picture.rotation);
  put(o, "rotation_exact", json_real(picture.angle));
  put(o, "mirrored", json_boolean(picture.mirrored));
  put_text(o, "pixel_format", av_get_pix_fmt_name(c->format));
  put_ratio(o, "frame_rate_average", stream->avg_frame_rate, '/');
  put_ratio(o, "frame_rate_base", stream->r_frame_rate, '/');
  put(o, "is_vfr", spacing(f, index));
  put_text(o, "field_order", picture_field_order(stream));
  put(o, "interlaced", json_boolean(picture_is_interlaced(stream)));
  put(o, "color", color(c));
  put(o, "hdr", index == f->video ? hdr_object(&f->hdr) : json_null());
}

static void audio_fields(const AVCodecParameters *c, json_t *o) {
  char layout[128] = "";
  put_positive(o, "sample_rate", c->sample_rate);
  put_positive(o, "channels", c->ch_layout.nb_channels);
  bool named = av_channel_layout_describe(&c->ch_layout, layout, sizeof layout) > 0;
  put_text(o, "layout", named && c->ch_layout.nb_channels > 0 ? layout : NULL);
  put_text(o, "sample_format", av_get_sample_fmt_name(c->format));
  put_positive(o, "bits_per_sample", c->bits_per_raw_sample ? c->bits_per_raw_sample : c->bits_per_coded_sample);
}

static json_t *stream_object(const struct findings *f, int index) {
  AVStream *stream = f->source->format->streams[index];
  const AVCodecParameters *c = stream->codecpar;
  const AVCodecDescriptor *codec = avcodec_descriptor_get(c->codec_id);
  char fourcc[AV_FOURCC_MAX_STRING_SIZE] = "";
  json_t *o = json_object();
  const char *kind = av_get_media_type_string(c->codec_type);
  put_int(o, "index", index);
  put_text(o, "type", kind ? kind : "unknown");
  put_text(o, "codec", avcodec_get_name(c->codec_id));
  put_text(o, "codec_name", codec ? codec->long_name : NULL);
  put_text(o, "codec_tag", c->codec_tag ? av_fourcc_make_string(fourcc, c->codec_tag) : NULL);
  put_text(o, "profile", avcodec_profile_name(c->codec_id, c->profile));
  put(o, "level", c->level > 0 ? json_integer(c->level) : json_null());
  put(o, "level_text", level_text(c));
  put_ratio(o, "time_base", stream->time_base, '/');
  put_seconds(o, "start", stream->start_time, stream->time_base);
  put_seconds(o, "duration", stream->duration, stream->time_base);
  put_positive(o, "bitrate", c->bit_rate);
  put_positive(o, "frames", stream->nb_frames);
  put_text(o, "language", tag(stream->metadata, "language"));
  put_text(o, "title", tag(stream->metadata, "title"));
  put(o, "disposition", disposition(stream->disposition));
  put(o, "attached_pic", json_boolean(stream->disposition & AV_DISPOSITION_ATTACHED_PIC));
  if (c->codec_type == AVMEDIA_TYPE_VIDEO) video_fields(f, index, o);
  if (c->codec_type == AVMEDIA_TYPE_AUDIO) audio_fields(c, o);
  return o;
}

int64_t describe_bitrate(const struct findings *f) {
  const struct source *s = f->source;
  if (f->timing.duration_us > 0) return av_rescale(s->size_bytes * 8, AV_TIME_BASE, f->timing.duration_us);
  return -1;
}

static json_t *container(const struct findings *f) {
  const AVFormatContext *format = f->source->format;
  json_t *o = json_object();
  put_text(o, "name", format->iformat->name);
  put_text(o, "long_name", format->iformat->long_name);
  put(o, "duration", f->timing.duration_us > 0 ? json_real((double)f->timing.duration_us / 1e6) : json_null());
  put_text(o, "duration_method", duration_method_word(f->timing.method));
  put_seconds(o, "start", format->start_time, AV_TIME_BASE_Q);
  put_positive(o, "bitrate", describe_bitrate(f));
  put(o, "truncated", json_boolean(f->cut_short));
  put(o, "tags", tags(format->metadata));
  return o;
}

json_t *describe(const struct findings *f) {
  const AVFormatContext *format = f->source->format;
  json_t *root = json_object(), *file = json_object(), *streams = json_array();
  put_text(file, "name", f->source->name);
  put_int(file, "size_bytes", f->source->size_bytes);
  put(root, "file", file);
  put(root, "container", container(f));
  for (unsigned i = 0; i < format->nb_streams && i < STREAMS_MAX; i++)
    json_array_append_new(streams, stream_object(f, (int)i));
  put(root, "streams", streams);
  put_int(root, "streams_omitted", format->nb_streams > STREAMS_MAX ? format->nb_streams - STREAMS_MAX : 0);
  put_int(root, "timestamps_examined", f->timing.packets);
  return root;
}
