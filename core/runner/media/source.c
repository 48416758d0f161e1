/* source.c - opening a media file: which streams, what they look like after normalising, where the clock begins. */
#include "media/source.h"

#include <errno.h>
#include <libavutil/channel_layout.h>
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "media/decode.h"
#include "media/late.h"
#include "media/picture.h"

static const AVRational microseconds = {1, 1000000};

bool source_stopping(void *context) {
  struct source *s = context;
  return s->pass ? pass_stopping(s->pass) : s->c->cancelled(s->c);
}

int source_stream_of(const struct source *s, int av_index) {
  for (uint32_t i = 0; i < s->origin.count; i++)
    if (s->streams[i].av_index == av_index) return (int)i;
  return -1;
}

/* ---- choosing ---- */

static bool is_picture(const AVStream *st) {
  const AVCodecParameters *p = st->codecpar;
  return p->codec_type == AVMEDIA_TYPE_VIDEO && p->width > 0 && p->height > 0 && p->width <= PASS_SIDE_MAX &&
         p->height <= PASS_SIDE_MAX &&
         !(st->disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS)) &&
         avcodec_find_decoder(p->codec_id);
}

static bool is_sound(const AVStream *st) {
  const AVCodecParameters *p = st->codecpar;
  return p->codec_type == AVMEDIA_TYPE_AUDIO && p->sample_rate > 0 && p->ch_layout.nb_channels > 0 &&
         p->ch_layout.nb_channels <= 64 && avcodec_find_decoder(p->codec_id);
}

/* The default video stream, else the largest: a file with several is usually a recording and its previews. */
static int choose_video(const AVFormatContext *ic) {
  int best = -1;
  int64_t best_score = -1;
  for (unsigned i = 0; i < ic->nb_streams; i++) {
    const AVStream *st = ic->streams[i];
    if (!is_picture(st)) continue;
    int64_t score = (int64_t)st->codecpar->width * st->codecpar->height;
    if (st->disposition & AV_DISPOSITION_DEFAULT) score += INT64_C(1) << 40;
    if (score > best_score) {
      best = (int)i;
      best_score = score;
    }
  }
  return best;
}

static int64_t own_duration_us(const AVFormatContext *ic, const AVStream *st) {
  if (ic->duration_estimation_method != AVFMT_DURATION_FROM_STREAM || st->duration <= 0) return 0;
  return av_rescale_q(st->duration, st->time_base, microseconds);
}

/* A time base fine enough to repair timestamps in: AVI and raw streams count whole frames. */
static AVRational fine_base(AVRational base) {
  AVRational fine = base;
  for (int k = 2; fine.den / (fine.num ? fine.num : 1) < 10000 && k <= 90000 && (int64_t)base.den * k < INT32_MAX; k++)
    fine = (AVRational){base.num, base.den * k};
  return fine;
}

static void copy_text(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from ? from : ""); }

static void add_stream(struct source *s, AVFormatContext *ic, int av_index) {
  AVStream *st = ic->streams[av_index];
  struct source_stream *own = &s->streams[s->origin.count];
  const AVDictionaryEntry *language = av_dict_get(st->metadata, "language", NULL, 0);
  own->av_index = av_index;
  own->codec = avcodec_parameters_alloc();
  avcodec_parameters_copy(own->codec, st->codecpar);
  own->time_base = st->time_base;
  own->duration_us = own_duration_us(ic, st);
  own->start_time = st->start_time;
  own->frame_rate = st->avg_frame_rate.num ? st->avg_frame_rate : av_guess_frame_rate(ic, st, NULL);
  own->sample_aspect = av_guess_sample_aspect_ratio(ic, st, NULL);
  copy_text(own->language, sizeof own->language, language ? language->value : NULL);
  copy_text(own->codec_name, sizeof own->codec_name, avcodec_get_name(st->codecpar->codec_id));
  size_t size = 0;
  const uint8_t *matrix = av_stream_get_side_data(st, AV_PKT_DATA_DISPLAYMATRIX, &size);
  own->has_matrix = matrix && size >= sizeof own->matrix;
  if (own->has_matrix) memcpy(own->matrix, matrix, sizeof own->matrix);
  s->origin.count++;
}

static void choose(struct source *s, AVFormatContext *ic) {
  int video = choose_video(ic);
  uint32_t left_out = 0;
  if (video >= 0) add_stream(s, ic, video);
  for (unsigned i = 0; i < ic->nb_streams; i++) {
    if (!is_sound(ic->streams[i])) continue;
    if (s->origin.count < PASS_STREAMS_MAX)
      add_stream(s, ic, (int)i);
    else
      left_out++;
  }
  if (left_out) {
    char text[128];
    snprintf(text, sizeof text, "%u audio tracks beyond the first 16 are left out", left_out);
    s->c->log(s->c, -1, SM_LOG_WARNING, text);
  }
}

/* ---- describing ---- */

static void describe_video(AVFormatContext *ic, struct source_stream *own, sm_stream *d) {
  const AVCodecParameters *p = own->codec;
  const AVStream *st = ic->streams[own->av_index];
  struct picture_shape shape = picture_shape(own, p->width, p->height, own->sample_aspect);
  d->width = shape.width;
  d->height = shape.height;
  d->rotation = shape.rotation;
  d->pixel_format = p->format;
  d->frame_rate = own->frame_rate;
  double average = av_q2d(own->frame_rate), base = av_q2d(st->r_frame_rate);
  bool doubled = average > 0 && base / average > 1.98 && base / average < 2.02;
  d->is_vfr = average > 0 && base > 0 && !doubled && (base / average > 1.02 || base / average < 0.98);
  bool old_name =
      p->format == AV_PIX_FMT_YUVJ420P || p->format == AV_PIX_FMT_YUVJ422P || p->format == AV_PIX_FMT_YUVJ444P;
  const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(p->format);
  bool rgb = format && format->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL);
  /* RGB is full by nature; as YUV it will be made limited, which is what everybody expects */
  d->color_range = old_name ? AVCOL_RANGE_JPEG : rgb ? AVCOL_RANGE_UNSPECIFIED : p->color_range;
  d->color_primaries = p->color_primaries;
  d->color_transfer = p->color_trc;
  d->color_space = p->color_space;
  d->chroma_location = p->chroma_location;
  d->time_base = fine_base(own->time_base);
}

static void describe_audio(struct source_stream *own, sm_stream *d) {
  const AVCodecParameters *p = own->codec;
  d->sample_rate = p->sample_rate;
  d->sample_format = p->format;
  d->channels = p->ch_layout.nb_channels;
  d->channel_mask = p->ch_layout.order == AV_CHANNEL_ORDER_NATIVE ? p->ch_layout.u.mask : 0;
  d->time_base = (AVRational){1, p->sample_rate};
  d->frame_rate = (AVRational){0, 1};
}

static void describe(struct source *s, AVFormatContext *ic) {
  bool has_default = false;
  for (uint32_t i = 0; i < s->origin.count; i++) {
    struct source_stream *own = &s->streams[i];
    sm_stream *d = &s->origin.streams[i].desc;
    const AVStream *st = ic->streams[own->av_index];
    AVRational base = own->time_base;
    d->size = sizeof *d;
    d->kind = own->codec->codec_type == AVMEDIA_TYPE_VIDEO ? SM_STREAM_VIDEO : SM_STREAM_AUDIO;
    d->language = own->language[0] ? own->language : NULL;
    d->codec = own->codec_name;
    d->pixel_format = d->sample_format = -1;
    d->duration_us = own->duration_us;
    if (own->start_time != AV_NOPTS_VALUE)
      d->start_us =
          FFMAX(0, av_rescale_q(own->start_time - av_rescale_q(s->start, s->start_base, base), base, microseconds));
    if (d->kind == SM_STREAM_VIDEO)
      describe_video(ic, own, d);
    else
      describe_audio(own, d);
    d->is_default = d->kind == SM_STREAM_VIDEO || (!has_default && st->disposition & AV_DISPOSITION_DEFAULT);
    if (d->kind == SM_STREAM_AUDIO && d->is_default) has_default = true;
    s->origin.streams[i].out.time_base = d->time_base;
  }
  for (uint32_t i = 0; i < s->origin.count && !has_default; i++)
    if (s->origin.streams[i].desc.kind == SM_STREAM_AUDIO) {
      s->origin.streams[i].desc.is_default = 1;
      has_default = true;
    }
}

/* The common zero: where the earliest of the chosen streams begins. */
static void find_start(struct source *s) {
  bool found = false;
  s->start = 0;
  s->start_base = microseconds;
  for (uint32_t i = 0; i < s->origin.count; i++) {
    const struct source_stream *own = &s->streams[i];
    if (own->start_time == AV_NOPTS_VALUE) continue;
    if (found && av_compare_ts(own->start_time, own->time_base, s->start, s->start_base) >= 0) continue;
    found = true;
    s->start = own->start_time;
    s->start_base = own->time_base;
  }
}

/* ---- facts for the engine ---- */

static struct value *stream_facts(const struct source *s, uint32_t i) {
  const sm_stream *d = &s->origin.streams[i].desc;
  struct value *v = value_map();
  value_set_text(v, "kind", d->kind == SM_STREAM_VIDEO ? "video" : "audio");
  value_set_text(v, "codec", d->codec);
  if (d->language) value_set_text(v, "language", d->language);
  if (d->kind == SM_STREAM_VIDEO) {
    value_set_int(v, "width", d->width);
    value_set_int(v, "height", d->height);
    value_set_int(v, "rotation", d->rotation);
    value_set_number(v, "frameRate", d->frame_rate.den ? av_q2d(d->frame_rate) : 0);
    value_set_bool(v, "vfr", d->is_vfr);
  } else {
    value_set_int(v, "sampleRate", d->sample_rate);
    value_set_int(v, "channels", d->channels);
  }
  return v;
}

static void facts(struct origin *origin, struct value *out) {
  struct source *s = origin->self;
  struct value *streams = value_list();
  for (uint32_t i = 0; i < origin->count; i++) value_list_add(streams, stream_facts(s, i));
  value_map_set(out, "streams", streams);
}

static void stats(struct origin *origin, struct value *out) {
  static const char *const methods[] = {"unknown", "unknown", "header", "scan"};
  struct source *s = origin->self;
  struct page *page = s->c->page;
  value_set_int(out, "decodedVideoFrames", (int64_t)atomic_load(&page->decoded_video_frames));
  value_set_int(out, "decodedAudioFrames", (int64_t)atomic_load(&page->decoded_audio_frames));
  value_set_int(out, "corruptPackets", (int64_t)atomic_load(&s->corrupt_packets));
  value_set_int(out, "readErrors", (int64_t)atomic_load(&s->read_errors));
  value_set_int(out, "demuxedBytes", (int64_t)atomic_load(&s->demuxed_bytes));
  value_set_int(out, "cursors", s->demux ? demux_cursors(s->demux) : 0);
  value_set_int(out, "seeks", seek_count(s));
  value_set_text(out, "durationMethod", methods[origin->info.duration_method & 3]);
}

/* ---- threads ---- */

static bool join_graph(struct pass *pass, struct origin *origin) {
  struct source *s = origin->self;
  s->pass = pass;
  for (uint32_t i = 0; i < origin->count; i++)
    origin->streams[i].out.node =
        flow_node_add(&pass->flow, origin->streams[i].desc.kind == SM_STREAM_VIDEO ? "video decoder" : "audio decoder");
  return true;
}

static bool start(struct pass *pass, struct origin *origin) {
  struct source *s = origin->self;
  s->demux = demux_create(pass, &reader_ops, s, s->input.seekable || s->input.spill >= 0);
  for (uint32_t i = 0; i < origin->count; i++) {
    bool video = origin->streams[i].desc.kind == SM_STREAM_VIDEO;
    reader_want(s->first, i, origin->streams[i].wanted);
    if (!origin->streams[i].wanted) continue;
    demux_connect(s->demux, i, origin->streams[i].out.node, video ? "the video stream" : "an audio stream",
                  video ? &pass->tuning.video_packets : &pass->tuning.audio_packets);
    s->decoding++;
  }
  for (uint32_t i = 0; i < origin->count; i++)
    if (origin->streams[i].wanted && !decode_start(s, i)) return false;
  struct reader *first = s->first;
  s->first = NULL;
  return demux_start(s->demux, first);
}

static void wait_all(struct origin *origin) {
  struct source *s = origin->self;
  seek_wait(s);
  if (s->demux) demux_wait(s->demux);
  for (uint32_t i = 0; i < origin->count; i++) decode_wait(s, i);
}

/* ---- open ---- */

static void explain(struct source *s, int error, sm_status *status, char *message, size_t size) {
  int io = s->input.error;
  *status = SM_FAIL;
  if (error == AVERROR_EXIT) {
    *status = SM_CANCELLED;
    copy_text(message, size, "cancelled while the source was opened");
  } else if (io && io != ESPIPE) {
    bool for_good =
        io == ENOENT || io == EACCES || io == EPERM || io == EISDIR || io == ENOTDIR || io == ELOOP || io == EINVAL;
    *status = for_good ? SM_FAIL : SM_RETRY;
    snprintf(message, size, "reading '%s' failed (%s): check the file and the disk or share it lies on", s->name,
             strerror(io));
  } else if (s->input.size == 0) {
    snprintf(message, size, "'%s' is empty: give a media file", s->name);
  } else if (error == AVERROR_DEMUXER_NOT_FOUND) {
    snprintf(message, size,
             "'%s' is a list of other files, not media, and what it names is never opened: give the media "
             "file itself",
             s->name);
  } else {
    snprintf(message, size,
             "'%s' is not a media file that can be read: it is of an unknown format, cut off or damaged at "
             "its start or index",
             s->name);
  }
}

static void fill_info(struct source *s, AVFormatContext *ic) {
  copy_text(s->container, sizeof s->container, ic->iformat->name);
  s->origin.info = (sm_source){.size = sizeof(sm_source),
                               .duration_method = SM_DURATION_UNKNOWN,
                               .container = s->container,
                               .name = s->name,
                               .seekable = s->input.seekable,
                               .cores = s->c->unit->cores};
  if (!s->origin.info.cores) s->origin.info.cores = (uint32_t)FFMAX(1, sysconf(_SC_NPROCESSORS_ONLN));
}

static const char *scratch_of(const struct unit *unit) {
  for (uint32_t i = 0; i < unit->stage_count; i++)
    if (unit->stages[i].scratch_path && !unit->stages[i].done) return unit->stages[i].scratch_path;
  return NULL;
}

static void set_name(struct source *s) {
  const struct unit *u = s->c->unit;
  const char *name = u->source && u->source->name ? u->source->name : u->input_name ? u->input_name : "source";
  const char *slash = strrchr(name, '/');
  copy_text(s->name, sizeof s->name, slash ? slash + 1 : name);
}

bool source_open(struct source *s, struct pass_context *c, sm_status *status, char *message, size_t size, char *debug,
                 size_t debug_size) {
  int error = 0;
  memset(s, 0, sizeof *s);
  s->c = c;
  set_name(s);
  pthread_mutex_init(&s->lock, NULL);
  int fd = c->source_open(c);
  int saved = errno;
  input_init(&s->input, fd, scratch_of(c->unit), source_stopping, s);
  if (fd < 0) s->input.error = saved;
  s->origin.self = s;
  if (fd >= 0) s->first = reader_create(s, &error);
  if (!s->first) {
    av_strerror(error, debug, debug_size);
    explain(s, error, status, message, size);
    source_close(s);
    return false;
  }
  AVFormatContext *ic = reader_format(s->first);
  late_find(s, ic);
  choose(s, ic);
  find_start(s);
  fill_info(s, ic);
  describe(s, ic);
  if (!s->origin.count) {
    snprintf(message, size, "'%s' has neither video nor audio that can be decoded", s->name);
    *status = SM_FAIL;
    source_close(s);
    return false;
  }
  duration_find(s);
  s->origin.facts = facts;
  s->origin.join_graph = join_graph;
  s->origin.start = start;
  s->origin.wait = wait_all;
  s->origin.stats = stats;
  if (s->origin.streams[0].desc.kind == SM_STREAM_VIDEO && s->streams[0].start_time != AV_NOPTS_VALUE &&
      !s->clock_jumps)
    s->origin.start_seeking = seek_start;
  return true;
}

void source_close(struct source *s) {
  for (uint32_t i = 0; i < s->origin.count; i++) {
    decode_free(s, i);
    avcodec_parameters_free(&s->streams[i].codec);
  }
  seek_free(s);
  demux_destroy(&s->demux);
  reader_destroy(&s->first);
  input_close(&s->input);
  pthread_mutex_destroy(&s->lock);
}
