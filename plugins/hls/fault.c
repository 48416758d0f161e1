#include "fault.h"

#include <libavutil/error.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* The first fault is the cause; later ones are its echo. */
sm_status fault_set(struct fault *f, sm_status status, int libav_error, const char *format, ...) {
  if (f->status != SM_OK) return f->status;
  f->status = status;
  va_list list;
  va_start(list, format);
  vsnprintf(f->message, sizeof f->message, format, list);
  va_end(list);
  f->debug[0] = '\0';
  char text[96] = "";
  if (libav_error) {
    av_strerror(libav_error, text, sizeof text);
    snprintf(f->debug, sizeof f->debug, "libav: %s (%d)", text, libav_error);
  }
  return status;
}

sm_status fault_write(struct fault *f, int libav_error, const char *name) {
  if (libav_error == AVERROR(ENOSPC) || libav_error == AVERROR(EDQUOT))
    return fault_set(f, SM_RETRY, libav_error, "the disk is full while writing %s: free space in the output folder",
                     name);
  if (libav_error == AVERROR(EFBIG))
    return fault_set(f, SM_FAIL, libav_error,
                     "%s reached the size limit of this attempt: raise the limit or lower the bitrate", name);
  return fault_set(f, SM_RETRY, libav_error, "cannot write %s: check the output folder", name);
}
