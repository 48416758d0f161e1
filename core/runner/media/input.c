/* input.c - AVIO over pread, and the copy of a pipe. */
#include "media/input.h"

#include <errno.h>
#include <fcntl.h>
#include <libavformat/avformat.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { BUFFER_BYTES = 64 * 1024, POLL_MS = 100 };

struct place { /* of one reader */
  struct input *in;
  int64_t at;
};

static int scratch_file(const char *folder) {
  int fd = folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
  if (fd >= 0 || !folder) return fd;
  char *path = mem_format("%s/source-XXXXXX", folder);
  fd = mkostemp(path, O_CLOEXEC);
  if (fd >= 0) unlink(path);
  free(path);
  return fd;
}

void input_init(struct input *in, int fd, const char *scratch, bool (*stop)(void *), void *context) {
  struct stat st;
  memset(in, 0, sizeof *in);
  in->fd = fd;
  in->spill = -1;
  in->size = -1;
  in->stop = stop;
  in->context = context;
  pthread_mutex_init(&in->lock, NULL);
  in->seekable = lseek(fd, 0, SEEK_CUR) >= 0;
  if (in->seekable && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) in->size = st.st_size;
  if (!in->seekable) in->spill = scratch_file(scratch);
}

void input_close(struct input *in) {
  if (in->fd >= 0) close(in->fd);
  if (in->spill >= 0) close(in->spill);
  in->fd = in->spill = -1;
  pthread_mutex_destroy(&in->lock);
}

/* ---- pipes ---- */

/* Reads what comes next from the pipe; 0 at its end. Looks up from waiting now and then. */
static ssize_t pipe_read(struct input *in, void *data, size_t size) {
  for (;;) {
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    if (in->stop(in->context)) {
      errno = ECANCELED;
      return -1;
    }
    int ready = poll(&p, 1, POLL_MS);
    if (ready < 0 && errno != EINTR) return -1;
    if (ready <= 0) continue;
    ssize_t n = read(in->fd, data, size);
    if (n >= 0 || (errno != EINTR && errno != EAGAIN)) return n;
  }
}

static bool spill_write(struct input *in, const char *data, size_t size) {
  while (size) {
    ssize_t n = pwrite(in->spill, data, size, in->spilled);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    in->spilled += n;
    data += n;
    size -= (size_t)n;
  }
  return true;
}

/* Copies the pipe until `upto` bytes are in the scratch file, or it ends. */
static bool spill_until(struct input *in, int64_t upto) {
  char data[32 * 1024];
  while (!in->drained && in->spilled < upto) {
    ssize_t n = pipe_read(in, data, sizeof data);
    if (n < 0 || (n > 0 && !spill_write(in, data, (size_t)n))) return false;
    if (n == 0) {
      in->drained = true;
      in->size = in->spilled;
    }
  }
  return true;
}

static ssize_t spilled_read(struct input *in, void *data, size_t size, int64_t at) {
  pthread_mutex_lock(&in->lock);
  bool ok = spill_until(in, at + (int64_t)size);
  pthread_mutex_unlock(&in->lock);
  return ok ? pread(in->spill, data, size, at) : -1;
}

/* A pipe without scratch: forwards only, for the single reader there is. */
static ssize_t stream_read(struct input *in, void *data, size_t size, int64_t at) {
  if (at != in->spilled) {
    errno = ESPIPE;
    return -1;
  }
  ssize_t n = pipe_read(in, data, size);
  if (n > 0) in->spilled += n;
  return n;
}

/* ---- AVIO ---- */

static int place_read(void *opaque, uint8_t *data, int size) {
  struct place *p = opaque;
  struct input *in = p->in;
  ssize_t n;
  if (in->stop(in->context)) return AVERROR_EXIT;
  do {
    if (in->seekable)
      n = pread(in->fd, data, (size_t)size, p->at);
    else if (in->spill >= 0)
      n = spilled_read(in, data, (size_t)size, p->at);
    else
      n = stream_read(in, data, (size_t)size, p->at);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    int error = errno, none = 0;
    if (error == ECANCELED) return AVERROR_EXIT;
    atomic_compare_exchange_strong(&in->error, &none, error);
    return AVERROR(error);
  }
  p->at += n;
  return n ? (int)n : AVERROR_EOF;
}

static int64_t place_seek(void *opaque, int64_t offset, int whence) {
  struct place *p = opaque;
  whence &= ~AVSEEK_FORCE;
  if (whence == AVSEEK_SIZE) return p->in->size >= 0 ? p->in->size : AVERROR(ENOSYS);
  if (whence == SEEK_CUR)
    offset += p->at;
  else if (whence == SEEK_END) {
    if (p->in->size < 0) return AVERROR(ENOSYS);
    offset += p->in->size;
  } else if (whence != SEEK_SET)
    return AVERROR(EINVAL);
  if (offset < 0) return AVERROR(EINVAL);
  p->at = offset;
  return offset;
}

static int interrupted(void *context) {
  struct input *in = context;
  return in->stop(in->context);
}

static int open_nothing(AVFormatContext *ic, AVIOContext **pb, const char *url, int flags, AVDictionary **options) {
  (void)ic;
  (void)pb;
  (void)url;
  (void)flags;
  (void)options;
  return AVERROR(EPERM);
}

AVFormatContext *input_attach(struct input *in) {
  AVFormatContext *ic = avformat_alloc_context();
  struct place *place = mem_alloc(sizeof *place);
  uint8_t *buffer = av_malloc(BUFFER_BYTES);
  place->in = in;
  bool seeks = in->seekable || in->spill >= 0;
  if (ic && buffer)
    ic->pb = avio_alloc_context(buffer, BUFFER_BYTES, 0, place, place_read, NULL, seeks ? place_seek : NULL);
  if (!ic || !ic->pb) {
    av_free(buffer);
    free(place);
    avformat_free_context(ic);
    return NULL;
  }
  if (in->size < 0) ic->pb->seekable = 0; /* a pipe: read again from the scratch copy, but never jump to its end */
  ic->flags |= AVFMT_FLAG_CUSTOM_IO;
  ic->io_open = open_nothing;
  ic->protocol_whitelist = av_strdup("none");
  ic->interrupt_callback = (AVIOInterruptCB){interrupted, in};
  return ic;
}

void input_detach(AVFormatContext **address) {
  AVFormatContext *ic = *address;
  if (!ic) return;
  AVIOContext *pb = ic->pb;
  avformat_close_input(&ic);
  if (pb) {
    free(pb->opaque);
    av_freep(&pb->buffer);
    avio_context_free(&pb);
  }
  *address = NULL;
}
