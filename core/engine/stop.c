/* stop.c - the engine comes to rest: what runs is interrupted, or given time to finish first. */
#include "engine/job.h"

bool engine_job_idle(struct engine *engine, const char *id) {
  struct job *job = job_find(engine, id);
  return !job || job_idle(job);
}

static void engine_check_idle(void *context) {
  struct engine *engine = context;
  bool quiet = work_is_quiet(engine);
  for (struct job *job = engine->jobs; job && quiet; job = job->next) quiet = job_quiet(job);
  if (!quiet) {
    loop_after(engine->loop, 20 * 1000, engine_check_idle, engine);
    return;
  }
  engine->awaiting_idle = false;
  loop_cancel(engine->loop, &engine->drain_alarm);
  if (engine->idle) engine->idle(engine->idle_context);
}

static void engine_await_idle(struct engine *engine, loop_fn *idle, void *context) {
  engine->idle = idle;
  engine->idle_context = context;
  if (engine->awaiting_idle) return;
  engine->awaiting_idle = true;
  loop_after(engine->loop, 0, engine_check_idle, engine);
}

static void drain_is_over(void *context) {
  struct engine *engine = context;
  engine->drain_alarm = NULL;
  engine_interrupt(engine, false, engine->idle, engine->idle_context);
}

void engine_drain(struct engine *engine, int64_t limit_us, loop_fn *idle, void *context) {
  if (!engine->draining && !engine->interrupted)
    engine->drain_alarm = loop_after(engine->loop, limit_us > 0 ? limit_us : 0, drain_is_over, engine);
  engine->draining = true;
  engine_wake_all(engine); /* those that only wait say so */
  engine_await_idle(engine, idle, context);
}

void engine_interrupt(struct engine *engine, bool now, loop_fn *idle, void *context) {
  engine->interrupted = true;
  engine->interrupt_now |= now;
  for (struct job *job = engine->jobs; job; job = job->next)
    for (struct trial *trial = job->trials; trial; trial = trial->next) {
      trial->interrupted = true;
      if (trial->attempt) attempt_cancel(trial->attempt, now);
    }
  engine_await_idle(engine, idle, context);
}
