/* overdue.c - soft sinks whose time-out passes: they are dropped from the pass, which goes on for the others. */
#include <stdio.h>

#include "base/clock.h"
#include "media/stage_node.h"

enum { OVERDUE_GRACE_US = 10 * 1000 * 1000 }; /* for the call it is in; the same as for a cancelled attempt */

bool stage_is_overdue(struct stage *stage) {
  pthread_mutex_lock(&stage->pass->lock);
  bool overdue = stage->overdue_us != 0;
  pthread_mutex_unlock(&stage->pass->lock);
  return overdue;
}

void stage_blame_overdue(struct stage *stage) {
  char text[192], limit[32];
  snprintf(text, sizeof text, "stage '%s' took longer than its time-out of %s: the others go on without it", stage->spec->id,
           clock_human(stage->spec->timeout_us, limit));
  stage->pass->c->blame(stage->pass->c, stage->index, SM_RETRY, text, NULL);
}

static bool stage_is_late(struct stage *stage, int64_t now_us) {
  struct pass *pass = stage->pass;
  int64_t limit_us = stage->spec->timeout_us;
  if (!stage->released || !stage->node || !stage->spec->soft || limit_us <= 0 || stage_is_filter(stage)) return false;
  if (now_us - pass->begun_us < limit_us) return false;
  pthread_mutex_lock(&pass->lock);
  bool late = stage->phase == STAGE_RUNNING && !stage->overdue_us && !pass->stopping;
  if (late) stage->overdue_us = now_us;
  pthread_mutex_unlock(&pass->lock);
  return late;
}

/* Its queues refuse from here on, so that nobody waits for it; its own thread notices between two calls. */
void stages_check_time(struct pass *pass) {
  int64_t now_us = clock_boot(&clock_system);
  for (uint32_t i = 0; i < pass->stage_count; i++)
    if (stage_is_late(&pass->stages[i], now_us)) flow_leave(pass->stages[i].node);
}

bool stage_abandon(struct stage *stage) {
  struct pass *pass = stage->pass;
  int64_t now_us = clock_boot(&clock_system);
  pthread_mutex_lock(&pass->lock);
  bool hangs = stage->phase == STAGE_RUNNING && stage->overdue_us && now_us - stage->overdue_us >= OVERDUE_GRACE_US;
  pthread_mutex_unlock(&pass->lock);
  if (!hangs) return false;
  pass->origin->abandoned = stage->abandoned = true;
  pthread_detach(stage->thread);
  stage_blame_overdue(stage);
  pass->c->verdict(pass->c, stage->index, SM_RETRY, NULL); /* past the stage's own bookkeeping: its thread may wake up */
  return true;
}
