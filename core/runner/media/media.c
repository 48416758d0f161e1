/* media.c - a pass over a media file: open, run, account. */
#include <libavutil/log.h>

#include "base/mem.h"
#include "media/module.h"
#include "media/source.h"

sm_status media_run(struct pass_context *c, struct value *stats) {
  char message[512] = "", debug[256] = "";
  sm_status status = SM_FAIL;
  av_log_set_flags(AV_LOG_SKIP_REPEATED);
  if (av_log_get_level() == AV_LOG_INFO) av_log_set_level(AV_LOG_ERROR); /* hostile files talk a lot */
  struct source *s = mem_alloc(sizeof *s);
  if (source_open(s, c, &status, message, sizeof message, debug, sizeof debug)) {
    status = pass_run(c, &s->origin, stats);
    if (s->origin.abandoned) return status;
    source_close(s);
  } else {
    status = pass_refuse(c, status, message, debug);
  }
  free(s);
  return status;
}
