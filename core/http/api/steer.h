/* steer.h - what can be done to a job, by one request for one job or for many. */
#pragma once
#include "service/service.h"

enum steer_action {
  STEER_CANCEL = 1,
  STEER_RETRY,
  STEER_DELETE,
  STEER_PAUSE,
  STEER_RESUME,
  STEER_PRIORITY,
};
bool steer_from_word(const char *word, enum steer_action *action);

struct steer {
  struct service *service;
  enum steer_action action;
  int32_t priority;                    /* PRIORITY */
  int64_t until_us;                    /* PAUSE; 0: until it is resumed */
  const char *by;                      /* PAUSE: who asked */
  const struct retry_options *options; /* RETRY; NULL: what is not finished */
};
/* [loop thread] */
void steer_job(const struct steer *steer, const char *job, engine_done *done, void *context);
