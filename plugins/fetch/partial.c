#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fetch.h"

enum { BLOCK = 1 << 20 };

bool partial_restart(struct partial *p) {
  checksum_stream_free(&p->hash);
  p->hash = checksum_stream_new();
  p->size = 0;
  p->kept = p->too_large = false;
  p->write_errno = 0;
  if (ftruncate(p->fd, 0) != 0 || lseek(p->fd, 0, SEEK_SET) != 0) p->write_errno = errno;
  return p->hash && !p->write_errno;
}

/* Hashes what an earlier attempt left; false when it was cancelled or could not be read. */
static bool take_up(struct fetch *f) {
  struct partial *p = &f->partial;
  char *block = malloc(BLOCK);
  ssize_t got = -1;
  while (block && !sm_cancelled(f->task) && (got = read(p->fd, block, BLOCK)) > 0) {
    if (!checksum_stream_add(p->hash, block, (size_t)got)) break;
    p->size += got;
    sm_progress(f->task, 0, "checking what an earlier attempt brought");
  }
  free(block);
  return got == 0;
}

sm_status partial_open(struct fetch *f, bool resume) {
  struct partial *p = &f->partial;
  const char *keep = sm_info(f->task, "keep"); /* a folder that outlives the attempt, where the host has one */
  if (keep && asprintf(&p->path, "%s/fetch.partial", keep) < 0) p->path = NULL;
  const char *here = keep ? NULL : sm_output_path(f->task, "file", "fetch.partial");
  if (here) p->path = strdup(here);
  if (!p->path) return sm_fail(f->task, SM_RETRY, NULL, "the job's folder cannot be used: %s", strerror(errno));
  p->kept = keep && resume;
  p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  p->hash = checksum_stream_new();
  if (p->fd < 0 || !p->hash)
    return sm_fail(f->task, SM_RETRY, p->path, "cannot write into the job's folder: %s", strerror(errno));
  if (p->kept && !take_up(f)) p->kept = false;
  if (p->size == 0) p->kept = false;
  if (!p->kept && !partial_restart(p)) return partial_verdict(f);
  return sm_cancelled(f->task) ? SM_CANCELLED : SM_OK;
}

bool partial_write(struct partial *p, const void *data, size_t size) {
  const char *from = data;
  if (p->limit && p->size + (int64_t)size > p->limit) return p->too_large = true, false;
  while (size) {
    ssize_t wrote = write(p->fd, from, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return p->write_errno = errno, false;
    if (!checksum_stream_add(p->hash, from, (size_t)wrote)) return p->write_errno = ENOMEM, false;
    p->size += wrote;
    from += wrote;
    size -= (size_t)wrote;
  }
  return true;
}

static int copy_over(struct partial *p, const char *path) {
  char *block = malloc(BLOCK);
  int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666), failed = to < 0 ? errno : 0;
  if (!block) failed = ENOMEM;
  for (int64_t at = 0; !failed && at < p->size;) {
    ssize_t got = pread(p->fd, block, BLOCK, at);
    if (got <= 0 || write(to, block, (size_t)got) != got) failed = errno ? errno : EIO;
    at += got;
  }
  if (to >= 0 && close(to) != 0 && !failed) failed = errno;
  free(block);
  if (!failed) unlink(p->path);
  return failed;
}

int partial_finish(struct partial *p, const char *path) {
  if (rename(p->path, path) == 0) return 0;
  return errno == EXDEV ? copy_over(p, path) : errno;
}

void partial_drop(struct partial *p) {
  if (p->path) unlink(p->path);
}

void partial_close(struct partial *p) {
  if (p->fd >= 0) close(p->fd);
  free(p->path);
  checksum_stream_free(&p->hash);
  *p = (struct partial){.fd = -1};
}

sm_status partial_verdict(struct fetch *f) {
  struct partial *p = &f->partial;
  if (p->too_large) {
    partial_drop(p);
    return sm_fail(f->task, SM_FAIL, NULL, "%s is larger than max-size (%lld bytes): raise max-size or refuse the file",
                   f->shown, (long long)p->limit);
  }
  if (p->write_errno == ENOSPC || p->write_errno == EDQUOT)
    return sm_fail(f->task, SM_RETRY, p->path, "the disk is full after %lld bytes of %s: make room", (long long)p->size,
                   f->shown);
  return sm_fail(f->task, SM_RETRY, p->path, "cannot write %s into the job's folder: %s", f->shown,
                 strerror(p->write_errno ? p->write_errno : ENOMEM));
}
