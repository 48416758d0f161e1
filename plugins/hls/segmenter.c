#include "segmenter.h"

#include <errno.h>
#include <fcntl.h>
#include <libavformat/avformat.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "packets.h"
#include "timeline.h"

#define WRITE_BUFFER (256 * 1024)
/* MPEG-TS: PES packets may carry several AAC frames only when the muxer may delay that long; without it every frame is
 * a PES of its own and the start offset differs from everyone else's. */
#define TS_MAX_DELAY_US 700000
#define PRIMING 2160 /* a little more than 1024 samples at 44.1 kHz */
#define TS_START (14 * (int64_t)TICKS / 10)
/* Far more than a pass's merge window: a stream that lets the other wait longer than this is taken to be silent. */
#define HELD_MAX_BYTES (96u << 20)

struct segmenter {
  AVFormatContext *muxer;
  int video, audio; /* stream indices, -1: none */
  AVRational audio_base;
  char folder[1024], pattern[NAMES_MAX], name[NAMES_MAX], rendition[64], file[NAMES_MAX];
  bool fmp4, ended, offset_known;
  int fd, write_error;
  uint64_t written; /* into the open file */
  struct packets pictures, sounds;
  int64_t segment, near, boundary, offset;
  int64_t end;
  bool open; /* a segment is being written */
  struct segment now;
  pthread_mutex_t lock; /* done, done_count, done_room */
  struct segment *done;
  size_t done_count, done_room;
};

/* ---- files ---------------------------------------------------------------------------------------------------- */

static int write_file(void *opaque, uint8_t *data, int size) {
  struct segmenter *s = opaque;
  for (int at = 0; at < size;) {
    if (s->fd < 0) return AVERROR(EBADF);
    ssize_t n = write(s->fd, data + at, (size_t)(size - at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return s->write_error = AVERROR(errno);
    at += (int)n;
    s->written += (uint64_t)n;
  }
  return size;
}

static sm_status failed(struct segmenter *s, int err, struct fault *f) {
  return fault_write(f, s->write_error ? s->write_error : err, s->file);
}

static sm_status file_open(struct segmenter *s, long index, struct fault *f) {
  char path[sizeof s->folder + NAMES_MAX];
  char expanded[NAMES_MAX];
  if (!names_expand(s->pattern, s->name, s->rendition, index, expanded))
    return fault_set(f, SM_FAIL, 0, "the name of segment %ld of %s is too long: shorten names", index, s->rendition);
  snprintf(s->file, sizeof s->file, "%s", expanded);
  snprintf(path, sizeof path, "%s%s", s->folder, expanded);
  s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  s->written = 0;
  return s->fd < 0 ? fault_write(f, AVERROR(errno), s->file) : SM_OK;
}

static sm_status file_close(struct segmenter *s, struct fault *f) {
  avio_flush(s->muxer->pb);
  int err = s->write_error ? s->write_error : s->muxer->pb->error;
  if (s->fd >= 0 && close(s->fd) && !err) err = AVERROR(errno);
  s->fd = -1;
  return err < 0 ? failed(s, err, f) : SM_OK;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static int add_stream(struct segmenter *s, const AVCodecContext *codec) {
  AVStream *stream = avformat_new_stream(s->muxer, NULL);
  if (!stream) return AVERROR(ENOMEM);
  int err = avcodec_parameters_from_context(stream->codecpar, codec);
  if (err < 0) return err;
  stream->time_base = codec->time_base;
  if (codec->codec_type == AVMEDIA_TYPE_VIDEO) stream->avg_frame_rate = codec->framerate;
  return stream->index;
}

static int open_muxer(struct segmenter *s, const struct segmenter_setup *setup) {
  int err = avformat_alloc_output_context2(&s->muxer, NULL, s->fmp4 ? "mp4" : "mpegts", NULL);
  if (err < 0) return err;
  s->muxer->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED; /* one constant offset of ours for all streams */
  s->muxer->max_delay = TS_MAX_DELAY_US;
  s->muxer->flags |= AVFMT_FLAG_BITEXACT | AVFMT_FLAG_CUSTOM_IO;
  s->video = setup->video ? add_stream(s, setup->video) : -1;
  s->audio = setup->audio ? add_stream(s, setup->audio) : -1;
  if ((setup->video && s->video < 0) || (setup->audio && s->audio < 0)) return AVERROR(ENOMEM);
  uint8_t *buffer = av_malloc(WRITE_BUFFER);
  if (!buffer) return AVERROR(ENOMEM);
  s->muxer->pb = avio_alloc_context(buffer, WRITE_BUFFER, 1, s, NULL, write_file, NULL);
  if (!s->muxer->pb) av_free(buffer);
  return s->muxer->pb ? 0 : AVERROR(ENOMEM);
}

static int write_header(struct segmenter *s) {
  AVDictionary *options = NULL;
  if (s->fmp4) {
    av_dict_set(&options, "movflags", "frag_custom+empty_moov+default_base_moof+frag_discont+skip_trailer", 0);
    av_dict_set(&options, "use_editlist", "0", 0);
  } else {
    av_dict_set(&options, "mpegts_copyts", "1", 0);
    av_dict_set(&options, "pes_payload_size", "2930", 0);
  }
  int err = avformat_write_header(s->muxer, &options);
  av_dict_free(&options);
  return err;
}

static sm_status open_all(struct segmenter *s, const struct segmenter_setup *setup, struct fault *f) {
  int err = open_muxer(s, setup);
  if (err < 0) return fault_set(f, SM_RETRY, err, "cannot set up the muxer of rendition %s", s->rendition);
  if (s->fmp4 && file_open(s, -1, f) != SM_OK) return f->status;
  err = write_header(s);
  if (err < 0 && !s->write_error)
    return fault_set(f, SM_FAIL, err, "the muxer of rendition %s refuses its streams", s->rendition);
  if (err < 0) return failed(s, err, f);
  return s->fmp4 ? file_close(s, f) : SM_OK;
}

struct segmenter *segmenter_open(const struct segmenter_setup *setup, struct fault *f) {
  struct segmenter *s = av_mallocz(sizeof *s);
  if (!s) {
    fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory");
    return NULL;
  }
  pthread_mutex_init(&s->lock, NULL);
  s->fd = -1;
  s->fmp4 = setup->fmp4;
  s->segment = setup->segment;
  s->near = setup->near;
  snprintf(s->folder, sizeof s->folder, "%s", setup->folder);
  snprintf(s->pattern, sizeof s->pattern, "%s", setup->pattern);
  snprintf(s->name, sizeof s->name, "%s", setup->name);
  snprintf(s->rendition, sizeof s->rendition, "%s", setup->rendition);
  if (setup->audio) s->audio_base = setup->audio->time_base;
  if (open_all(s, setup, f) != SM_OK) segmenter_close(&s);
  return s;
}

void segmenter_close(struct segmenter **address) {
  struct segmenter *s = *address;
  if (!s) return;
  if (s->muxer) {
    if (s->muxer->pb) av_freep(&s->muxer->pb->buffer);
    avio_context_free(&s->muxer->pb);
    avformat_free_context(s->muxer);
  }
  if (s->fd >= 0) close(s->fd);
  packets_clear(&s->pictures);
  packets_clear(&s->sounds);
  pthread_mutex_destroy(&s->lock);
  av_free(s->done);
  av_freep(address);
}

/* ---- cutting -------------------------------------------------------------------------------------------------- */

static sm_status remember(struct segmenter *s, struct fault *f) {
  pthread_mutex_lock(&s->lock);
  if (s->done_count == s->done_room) {
    size_t room = s->done_room ? s->done_room * 2 : 64;
    struct segment *more = av_realloc_array(s->done, room, sizeof *more);
    if (more) {
      s->done = more;
      s->done_room = room;
    }
  }
  bool fits = s->done_count < s->done_room;
  if (fits) s->done[s->done_count++] = s->now;
  pthread_mutex_unlock(&s->lock);
  return fits ? SM_OK : fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory while listing segments");
}

static sm_status segment_finish(struct segmenter *s, int64_t end, struct fault *f) {
  if (!s->open) return SM_OK;
  int err = av_write_frame(s->muxer, NULL); /* what the muxer holds back belongs to this segment */
  if (err < 0) return failed(s, err, f);
  if (file_close(s, f) != SM_OK) return f->status;
  s->open = false;
  s->now.end = end;
  s->now.bytes = s->written;
  return remember(s, f);
}

static sm_status segment_begin(struct segmenter *s, int64_t at, struct fault *f) {
  if (segment_finish(s, at, f) != SM_OK) return f->status;
  if (file_open(s, (long)s->done_count, f) != SM_OK) return f->status;
  if (!s->fmp4) av_opt_set(s->muxer->priv_data, "mpegts_flags", "+resend_headers", 0);
  s->open = true;
  s->now = (struct segment){.start = at};
  s->boundary = ((at + s->near) / s->segment + 1) * s->segment; /* the same multiples of GOPs in every rendition */
  return SM_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static int64_t audio_ticks(const struct segmenter *s, const AVPacket *p) {
  return av_rescale_q(p->pts, s->audio_base, (AVRational){1, TICKS});
}

/* All renditions see the same first timestamps, so all come to the same offset: the usual 1.4 s for TS, as little as
 * possible for fMP4, and more when reordering of very slow pictures would make the first decoding times negative. What
 * must stay below the first one: in TS the PCR, which runs ahead by the muxer's delay; in fMP4 the AAC encoder's
 * priming. */
static void choose_offset(struct segmenter *s, int64_t first) {
  if (s->offset_known) return;
  s->offset = s->fmp4 ? 0 : TS_START;
  int64_t spare = s->fmp4 ? PRIMING : TS_MAX_DELAY_US * (int64_t)TICKS / 1000000;
  if (first + s->offset < spare) s->offset = spare - first;
  s->offset_known = true;
}

static sm_status write_packet(struct segmenter *s, AVPacket *p, int index, AVRational base, struct fault *f) {
  AVRational ticks = {1, TICKS};
  choose_offset(s, av_rescale_q(p->dts, base, ticks));
  int64_t offset = av_rescale_q(s->offset, ticks, base);
  p->pts += offset;
  p->dts += offset;
  p->stream_index = index;
  av_packet_rescale_ts(p, base, s->muxer->streams[index]->time_base);
  int err = av_write_frame(s->muxer, p);
  av_packet_free(&p);
  if (err >= 0 && s->write_error) err = s->write_error;
  return err < 0 ? failed(s, err, f) : SM_OK;
}

static sm_status write_picture(struct segmenter *s, struct fault *f) {
  AVPacket *p = packets_take(&s->pictures);
  const AVPacket *next = packets_head(&s->pictures);
  p->duration = next ? next->dts - p->dts : 0;
  return write_packet(s, p, s->video, (AVRational){1, TICKS}, f);
}

static sm_status write_sound(struct segmenter *s, struct fault *f) {
  return write_packet(s, packets_take(&s->sounds), s->audio, s->audio_base, f);
}

static bool cuts(const struct segmenter *s, const AVPacket *p) {
  return !s->open || ((p->flags & AV_PKT_FLAG_KEY) && p->pts >= s->boundary - s->near);
}

/* Writes the packet whose turn it is. *more: another may follow. */
static sm_status step_both(struct segmenter *s, bool *more, struct fault *f) {
  const AVPacket *picture = packets_head(&s->pictures), *sound = packets_head(&s->sounds);
  bool rush = s->ended || packets_bytes(&s->pictures) + packets_bytes(&s->sounds) > HELD_MAX_BYTES;
  *more = false;
  if (!picture && !(sound && rush)) return SM_OK;
  if (picture && !sound && !rush) return SM_OK;
  if (picture && packets_count(&s->pictures) < 2 && !rush) return SM_OK; /* its duration is not known yet */
  *more = true;
  if (!picture) return s->open ? write_sound(s, f) : segment_begin(s, audio_ticks(s, sound), f);
  /* before a cut all sound that belongs to the old segment; within a segment by decoding time */
  bool cut = cuts(s, picture);
  int64_t turn = cut ? picture->pts : picture->dts;
  bool sound_first = sound && s->open && audio_ticks(s, sound) < turn;
  if (sound_first) return write_sound(s, f);
  int64_t at = picture->pts;
  /* sound a little before the first picture: the playlist's time begins with it */
  if (!s->done_count && !s->open && sound && audio_ticks(s, sound) < at)
    at = audio_ticks(s, sound) > 0 ? audio_ticks(s, sound) : 0;
  if (cut && segment_begin(s, at, f) != SM_OK) return f->status;
  return write_picture(s, f);
}

static sm_status step_picture(struct segmenter *s, bool *more, struct fault *f) {
  const AVPacket *p = packets_head(&s->pictures);
  *more = packets_count(&s->pictures) >= (s->ended ? 1u : 2u);
  if (!*more) return SM_OK;
  if (cuts(s, p) && segment_begin(s, p->pts, f) != SM_OK) return f->status;
  return write_picture(s, f);
}

static sm_status step_sound(struct segmenter *s, bool *more, struct fault *f) {
  const AVPacket *p = packets_head(&s->sounds);
  *more = p != NULL;
  if (!p) return SM_OK;
  int64_t at = audio_ticks(s, p);
  if (at < 0 && !s->open) at = 0; /* the encoder's priming comes before the first sample */
  if ((!s->open || at >= s->boundary) && segment_begin(s, at, f) != SM_OK) return f->status;
  return write_sound(s, f);
}

static sm_status run(struct segmenter *s, struct fault *f) {
  bool more = true;
  sm_status status = SM_OK;
  while (more && status == SM_OK) {
    if (s->video < 0)
      status = step_sound(s, &more, f);
    else if (s->audio < 0)
      status = step_picture(s, &more, f);
    else
      status = step_both(s, &more, f);
  }
  return status;
}

sm_status segmenter_video(struct segmenter *s, AVPacket *packet, struct fault *f) {
  if (packets_put(&s->pictures, packet) < 0) return fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory");
  return run(s, f);
}

sm_status segmenter_audio(struct segmenter *s, AVPacket *packet, struct fault *f) {
  if (packets_put(&s->sounds, packet) < 0) return fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory");
  return run(s, f);
}

sm_status segmenter_end(struct segmenter *s, int64_t end, struct fault *f) {
  s->ended = true;
  if (run(s, f) != SM_OK) return f->status;
  if (!s->open) return SM_OK;
  int err = av_write_frame(s->muxer, NULL);
  if (err >= 0) err = av_write_trailer(s->muxer);
  if (err < 0) return failed(s, err, f);
  if (file_close(s, f) != SM_OK) return f->status;
  s->open = false;
  s->now.end = end > s->now.start ? end : s->now.start + 1;
  s->now.bytes = s->written;
  return remember(s, f);
}

size_t segmenter_count(struct segmenter *s) {
  pthread_mutex_lock(&s->lock);
  size_t count = s->done_count;
  pthread_mutex_unlock(&s->lock);
  return count;
}

struct segment segmenter_get(struct segmenter *s, size_t index) {
  struct segment found = {0};
  pthread_mutex_lock(&s->lock);
  if (index < s->done_count) found = s->done[index];
  pthread_mutex_unlock(&s->lock);
  return found;
}
