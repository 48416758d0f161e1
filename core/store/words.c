#include <string.h>

#include "store/store.h"

const char *job_status_word(enum job_status status) {
  switch (status) {
  case JOB_QUEUED: return "queued";
  case JOB_PROCESSING: return "processing";
  case JOB_RETRYING: return "retrying";
  case JOB_HELD: return "held";
  case JOB_PAUSED: return "paused";
  case JOB_COMPLETED: return "completed";
  case JOB_FAILED: return "failed";
  case JOB_CANCELLED: return "cancelled";
  }
  return "unknown";
}

bool job_status_from_word(const char *word, enum job_status *status) {
  for (int s = JOB_QUEUED; s <= JOB_CANCELLED; s++) {
    if (strcmp(word, job_status_word((enum job_status)s)) != 0) continue;
    *status = (enum job_status)s;
    return true;
  }
  return false;
}

bool job_status_is_terminal(enum job_status status) {
  return status == JOB_COMPLETED || status == JOB_FAILED || status == JOB_CANCELLED;
}

const char *stage_status_word(enum stage_status status) {
  switch (status) {
  case STAGE_WAITING: return "waiting";
  case STAGE_RUNNING: return "running";
  case STAGE_DELAYED: return "delayed";
  case STAGE_PUBLISHING: return "publishing";
  case STAGE_FINISHED: return "finished";
  case STAGE_SKIPPED: return "skipped";
  case STAGE_FAILED: return "failed";
  case STAGE_SOFT_FAILED: return "soft-failed";
  case STAGE_CANCELLED: return "cancelled";
  case STAGE_HELD: return "held";
  }
  return "unknown";
}

bool stage_status_is_terminal(enum stage_status status) { return status >= STAGE_FINISHED && status != STAGE_HELD; }
