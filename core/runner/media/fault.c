/* fault.c - how a pass ends before its time: the first fault counts, everything else stops because of it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "media/parts.h"

static void stop_locked(struct pass *pass) {
  pass->stopping = true;
  pthread_cond_broadcast(&pass->changed);
}

void pass_fault(struct pass *pass, int32_t culprit, sm_status status, const char *debug, const char *message, ...) {
  va_list list;
  pthread_mutex_lock(&pass->lock);
  if (!pass->stopping) {
    pass->culprit = culprit;
    pass->fault = status;
    va_start(list, message);
    if (message) vsnprintf(pass->message, sizeof pass->message, message, list);
    va_end(list);
    if (debug) snprintf(pass->debug, sizeof pass->debug, "%s", debug);
  }
  stop_locked(pass);
  pthread_mutex_unlock(&pass->lock);
  flow_close(&pass->flow);
}

void pass_explain_wedge(struct pass *pass) {
  char wedge[sizeof pass->flow.wedge];
  pthread_mutex_lock(&pass->flow.lock);
  bool wedged = pass->flow.wedged;
  memcpy(wedge, pass->flow.wedge, sizeof wedge);
  pthread_mutex_unlock(&pass->flow.lock);
  if (wedged)
    pass_fault(pass, FAULT_SOURCE, SM_FAIL, wedge,
               "the streams of '%s' lie too far apart to be read side by side, and it cannot be read in two places at "
               "once: remux it (for example into MP4) first",
               pass->origin->info.name ? pass->origin->info.name : "the source");
}

void pass_cancel(struct pass *pass) {
  pthread_mutex_lock(&pass->lock);
  if (!pass->stopping) pass->fault = SM_CANCELLED;
  stop_locked(pass);
  pthread_mutex_unlock(&pass->lock);
  flow_close(&pass->flow);
}

bool pass_stopping(struct pass *pass) {
  pthread_mutex_lock(&pass->lock);
  bool stopping = pass->stopping;
  pthread_mutex_unlock(&pass->lock);
  return stopping;
}

void pass_log(struct pass *pass, int32_t stage, int level, const char *format, ...) {
  char text[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  pass->c->log(pass->c, stage, level, text);
}

void pass_heartbeat(struct pass *pass) {
  atomic_fetch_add_explicit(&pass->c->page->heartbeat, 1, memory_order_relaxed);
}

sm_status pass_refuse(struct pass_context *c, sm_status status, const char *message, const char *debug) {
  for (uint32_t i = 0; i < c->unit->stage_count; i++) {
    if (c->unit->stages[i].done) continue;
    if (message) c->blame(c, (int32_t)i, status, message, debug);
    c->verdict(c, (int32_t)i, status, NULL);
  }
  return status;
}
