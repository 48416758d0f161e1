/* plan.c - what a run would make of this source, from its headers alone. */
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "session.h"

#define READ_BUFFER 32768
#define PROBE_BYTES (4 << 20)

struct look {
  int fd;
  struct ladder_source picture; /* 0x0: no picture */
  bool sound;
  double seconds;
};

static int read_some(void *opaque, uint8_t *data, int size) {
  ssize_t n = read(((struct look *)opaque)->fd, data, (size_t)size);
  return n > 0 ? (int)n : n == 0 ? AVERROR_EOF : AVERROR(EIO);
}

static int64_t seek_to(void *opaque, int64_t offset, int whence) {
  int fd = ((struct look *)opaque)->fd;
  if (whence == AVSEEK_SIZE) {
    off_t here = lseek(fd, 0, SEEK_CUR), end = lseek(fd, 0, SEEK_END);
    lseek(fd, here, SEEK_SET);
    return end;
  }
  return lseek(fd, offset, whence & ~AVSEEK_FORCE);
}

/* As the pass will show it: turned by the display matrix, with square pixels. */
static void take_picture(struct look *look, AVFormatContext *source, AVStream *stream) {
  AVRational sar = av_guess_sample_aspect_ratio(source, stream, NULL);
  double width = stream->codecpar->width, height = stream->codecpar->height;
  if (sar.num > 0 && sar.den > 0) width *= av_q2d(sar);
  const int32_t *matrix = (const int32_t *)av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, NULL);
  double angle = matrix ? av_display_rotation_get(matrix) : 0;
  bool turned = isfinite(angle) && labs(lround(angle / 90)) % 2 == 1;
  look->picture.width = (int)lround(turned ? height : width);
  look->picture.height = (int)lround(turned ? width : height);
  look->picture.frame_rate = av_q2d(stream->avg_frame_rate.den ? stream->avg_frame_rate : (AVRational){0, 1});
}

static void take_streams(struct look *look, AVFormatContext *source) {
  for (unsigned i = 0; i < source->nb_streams; i++) {
    AVStream *stream = source->streams[i];
    bool video =
        stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !(stream->disposition & AV_DISPOSITION_ATTACHED_PIC);
    if (video && !look->picture.width) take_picture(look, source, stream);
    look->sound |= stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
  }
  if (source->duration > 0) look->seconds = (double)source->duration / AV_TIME_BASE;
}

static bool look_at(struct look *look) {
  AVFormatContext *source = avformat_alloc_context();
  uint8_t *buffer = av_malloc(READ_BUFFER);
  AVIOContext *io = buffer ? avio_alloc_context(buffer, READ_BUFFER, 0, look, read_some, NULL, seek_to) : NULL;
  bool good = false;
  if (source && io) {
    source->pb = io;
    source->probesize = PROBE_BYTES;
    good = avformat_open_input(&source, NULL, NULL, NULL) >= 0 && avformat_find_stream_info(source, NULL) >= 0;
    if (good) take_streams(look, source);
  }
  avformat_close_input(&source);
  if (io) av_freep(&io->buffer);
  avio_context_free(&io);
  return good;
}

double plan_memory(int width, int height, int threads) {
  return 8e6 + (double)width * height * 1.5 * (55.0 + 6.0 * threads);
}

static void note_rungs(sm_task *task, const struct settings *s, const struct look *look, const char *stem) {
  struct rung rungs[LADDER_MAX];
  size_t count = ladder_build(&s->ladder, &look->picture, rungs);
  double pixels = (double)look->picture.width * look->picture.height, made = 0, memory = 40e6;
  char line[160], name[NAMES_MAX];
  for (size_t i = 0; i < count; i++) {
    const struct rung *r = &rungs[i];
    if (r->bitrate)
      snprintf(line, sizeof line, "%.31s %dx%d %lldk", r->name, r->width, r->height, (long long)r->bitrate / 1000);
    else
      snprintf(line, sizeof line, "%.31s %dx%d crf %g, at most %lldk", r->name, r->width, r->height, r->crf,
               (long long)r->maxrate / 1000);
    sm_plan_note(task, "rung", line, 0);
    if (names_expand(s->playlist, stem, r->name, 0, name)) sm_plan_note(task, "output", name, 0);
    made += (double)r->width * r->height;
    memory += plan_memory(r->width, r->height, 3);
  }
  sm_plan_note(task, "memory", NULL, memory);
  sm_plan_note(task, "cost", NULL, pixels > 0 ? made / pixels : 0);
}

sm_status hls_plan(sm_task *task) {
  struct settings s;
  struct look look = {.fd = -1};
  char stem[NAMES_MAX];
  sm_status status = settings_read(task, &s);
  if (status != SM_OK) return status;
  names_stem(sm_info(task, "input"), stem);
  static const char *const ports[] = {"source", "video", "audio"}; /* the file stands behind whichever is connected */
  for (size_t i = 0; i < sizeof ports / sizeof *ports && look.fd < 0; i++) look.fd = sm_input_open(task, ports[i], 0);
  bool known = look.fd >= 0 && look_at(&look);
  if (look.fd >= 0) close(look.fd);
  if (known && look.picture.width > 0)
    note_rungs(task, &s, &look, stem);
  else if (known && look.sound)
    sm_plan_note(task, "rung", "audio", 0);
  sm_plan_note(task, "output", s.master, 0);
  if (known && s.segment && look.seconds > 0)
    sm_plan_note(task, "segments", NULL, ceil(look.seconds * TICKS / (double)s.segment));
  return SM_OK;
}
