#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fetch.h"

enum { BLOCK = 1 << 20 };

static sm_status copy_from(struct fetch *f, int from) {
  char *block = malloc(BLOCK);
  if (!block) return sm_fail(f->task, SM_RETRY, NULL, "memory ran out: try again");
  sm_status status = SM_OK;
  for (;;) {
    if (sm_cancelled(f->task)) {
      status = SM_CANCELLED;
      break;
    }
    ssize_t got = read(from, block, BLOCK);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      status = sm_fail(f->task, SM_RETRY, NULL, "%s cannot be read: %s", f->shown, strerror(errno));
      break;
    }
    if (!partial_write(&f->partial, block, (size_t)got)) {
      status = partial_verdict(f);
      break;
    }
    fetch_progress(f);
  }
  free(block);
  return status;
}

sm_status local_fetch(struct fetch *f, const char *path) {
  struct stat st;
  int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us up */
  if (from < 0 || fstat(from, &st) != 0) {
    const char *cure = errno == ENOENT ? "correct `url`" : "allow reading it";
    sm_status verdict = errno == EIO || errno == ENFILE || errno == EMFILE ? SM_RETRY : SM_FAIL;
    int why = errno;
    if (from >= 0) close(from);
    return sm_fail(f->task, verdict, NULL, "%s cannot be opened (%s): %s", f->shown, strerror(why), cure);
  }
  sm_status status = SM_OK;
  if (!S_ISREG(st.st_mode)) {
    status = sm_fail(f->task, SM_FAIL, NULL, "%s is not a regular file: correct `url`", f->shown);
  } else if (f->partial.limit && st.st_size > f->partial.limit) {
    f->partial.too_large = true;
    status = partial_verdict(f);
  } else {
    f->total = st.st_size;
    name_from_path(f, path);
    status = partial_open(f, false);
    if (status == SM_OK) status = copy_from(f, from);
  }
  close(from);
  return status;
}
