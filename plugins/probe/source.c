/* source.c - opens untrusted media. Two locks keep a playlist or reference movie from reaching out: io_open refuses
 * everything, and the protocol list is empty for demuxers that open on their own (concat, for one). */
#include "source.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/stat.h>

#include "boxes.h"

enum {
  BUFFER_BYTES = 64 * 1024,
  OPEN_LIMIT_US = 20 * 1000 * 1000,
  PROBE_BYTES = 16 << 20,
  ANALYZE_US = 10 * 1000 * 1000
};
#define PIXELS_MAX "268435456" /* 16384 x 16384: nothing larger is decoded to learn about a stream */

/* One probe runs at a time in its process; libav's log callback has no context of ours. */
static struct source *logging;

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

__attribute__((format(printf, 3, 0))) static void on_log(void *context, int level, const char *format, va_list list) {
  (void)context;
  if (level > AV_LOG_ERROR || !logging) return;
  vsnprintf(logging->complaint, sizeof logging->complaint, format, list);
  logging->complaint[strcspn(logging->complaint, "\r\n")] = 0;
}

void source_allow(struct source *s, int64_t microseconds) {
  s->deadline_us = now_us() + microseconds;
  s->timed_out = false;
}

bool source_stopped(const struct source *s) { return s->cancelled || s->timed_out; }

static int check(void *opaque) {
  struct source *s = opaque;
  if (!s->cancelled) s->cancelled = sm_cancelled(s->task);
  if (!s->timed_out) s->timed_out = now_us() > s->deadline_us;
  return source_stopped(s);
}

static int read_some(void *opaque, uint8_t *buffer, int size) {
  struct source *s = opaque;
  ssize_t n;
  if (check(s)) return AVERROR_EXIT;
  do n = pread(s->descriptor, buffer, (size_t)size, s->position);
  while (n < 0 && errno == EINTR);
  if (n < 0) return AVERROR(errno);
  s->position += n;
  return n ? (int)n : AVERROR_EOF;
}

static int64_t seek_to(void *opaque, int64_t offset, int whence) {
  struct source *s = opaque;
  switch (whence & ~AVSEEK_FORCE) {
  case AVSEEK_SIZE: return s->size_bytes;
  case SEEK_SET: break;
  case SEEK_CUR: offset += s->position; break;
  case SEEK_END: offset += s->size_bytes; break;
  default: return AVERROR(EINVAL);
  }
  if (offset < 0) return AVERROR(EINVAL);
  return s->position = offset;
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags, AVDictionary **options) {
  struct source *s = format->opaque;
  (void)io, (void)url, (void)flags, (void)options;
  s->reached_out = true;
  return AVERROR(EPERM);
}

static bool looks_like_text(const struct source *s) {
  unsigned char head[2048];
  ssize_t n = pread(s->descriptor, head, sizeof head, 0);
  for (ssize_t i = 0; i < n; i++)
    if (head[i] == 0 || (head[i] < 0x20 && !strchr("\t\r\n\f\x1b", head[i]))) return false;
  return n > 0;
}

static bool is_playlist(const struct source *s) {
  char head[64] = "";
  ssize_t n = pread(s->descriptor, head, sizeof head - 1, 0);
  return n > 0 && (strncmp(head, "#EXTM3U", 7) == 0 || strncmp(head, "ffconcat", 8) == 0);
}

/* The sentence for a file that libavformat does not take. */
static sm_status not_media(struct source *s, const char *debug) {
  struct boxes boxes;
  if (s->cancelled) return SM_CANCELLED;
  if (s->timed_out)
    return sm_fail(s->task, SM_FAIL, debug, "'%s' took more than %d s to open: it is damaged or made to waste time",
                   s->name, OPEN_LIMIT_US / 1000000);
  if (s->reached_out || is_playlist(s))
    return sm_fail(s->task, SM_FAIL, debug, "'%s' is a playlist that refers to other files: give the media file itself",
                   s->name);
  boxes_scan(s->descriptor, s->size_bytes, &boxes);
  if (boxes.is_iso && !boxes.has_moov)
    return sm_fail(s->task, SM_FAIL, debug,
                   "'%s' is an MP4 or MOV without its index (moov): the file was cut short after %lld bytes; bring the "
                   "whole file again",
                   s->name, (long long)s->size_bytes);
  if (looks_like_text(s))
    return sm_fail(s->task, SM_FAIL, debug, "'%s' is text, not media: check that the right file was given", s->name);
  return sm_fail(s->task, SM_FAIL, debug,
                 "'%s' is no media file that can be read: it is damaged or of a kind that libavformat does not know",
                 s->name);
}

static sm_status descriptor_open(struct source *s, const char *port) {
  sm_input input = {0};
  struct stat st;
  if (sm_input_count(s->task, port) < 1)
    return sm_fail(s->task, SM_FAIL, NULL, "there is nothing to probe: give the job an input");
  sm_input_info(s->task, port, 0, &input);
  snprintf(s->name, sizeof s->name, "%s", input.name ? input.name : "the input");
  s->descriptor = sm_input_open(s->task, port, 0);
  if (s->descriptor < 0 || fstat(s->descriptor, &st) != 0)
    return sm_fail(s->task, SM_FAIL, strerror(errno), "'%s' cannot be opened: %s", s->name, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return sm_fail(s->task, SM_FAIL, NULL, "'%s' is not a regular file: give a media file", s->name);
  s->size_bytes = st.st_size;
  if (s->size_bytes == 0)
    return sm_fail(s->task, SM_FAIL, NULL, "'%s' is empty (0 bytes): the copy or upload that made it did not finish",
                   s->name);
  return SM_OK;
}

/* Decoders opened while analysing: one thread, no giant pictures. */
static int analyse(AVFormatContext *format) {
  unsigned count = format->nb_streams;
  AVDictionary **options = av_calloc(count ? count : 1, sizeof *options);
  if (!options) return AVERROR(ENOMEM);
  for (unsigned i = 0; i < count; i++) {
    av_dict_set(&options[i], "threads", "1", 0);
    av_dict_set(&options[i], "max_pixels", PIXELS_MAX, 0);
  }
  int rc = avformat_find_stream_info(format, options);
  for (unsigned i = 0; i < count; i++) av_dict_free(&options[i]);
  av_free(options);
  return rc;
}

static int format_open(struct source *s) {
  AVDictionary *options = NULL;
  uint8_t *buffer = av_malloc(BUFFER_BYTES);
  if (!buffer || !(s->io = avio_alloc_context(buffer, BUFFER_BYTES, 0, s, read_some, NULL, seek_to))) {
    av_free(buffer);
    return AVERROR(ENOMEM);
  }
  if (!(s->format = avformat_alloc_context())) return AVERROR(ENOMEM);
  s->format->pb = s->io;
  s->format->opaque = s;
  s->format->io_open = refuse_open;
  s->format->interrupt_callback = (AVIOInterruptCB){check, s};
  s->format->probesize = PROBE_BYTES;
  s->format->max_analyze_duration = ANALYZE_US;
  av_dict_set(&options, "protocol_whitelist", "none", 0);
  int rc = avformat_open_input(&s->format, NULL, NULL, &options); /* frees the context when it fails */
  av_dict_free(&options);
  return rc < 0 ? rc : analyse(s->format);
}

sm_status source_open(struct source *s, sm_task *task, const char *port) {
  *s = (struct source){.task = task, .descriptor = -1};
  sm_status status = descriptor_open(s, port);
  if (status != SM_OK) return status;
  logging = s;
  av_log_set_callback(on_log);
  source_allow(s, OPEN_LIMIT_US);
  int rc = format_open(s);
  if (rc >= 0) return SM_OK;
  char debug[384], text[AV_ERROR_MAX_STRING_SIZE] = "";
  av_strerror(rc, text, sizeof text);
  snprintf(debug, sizeof debug, "%s%s%s", text, *s->complaint ? "; " : "", s->complaint);
  if (rc == AVERROR(ENOMEM)) return sm_fail(task, SM_RETRY, debug, "no memory was left to open '%s'", s->name);
  return not_media(s, debug);
}

void source_close(struct source *s) {
  avformat_close_input(&s->format);
  if (s->io) av_freep(&s->io->buffer);
  avio_context_free(&s->io);
  if (s->descriptor >= 0) close(s->descriptor);
  logging = NULL;
  av_log_set_callback(av_log_default_callback);
}
