/* progress.c - from what attempts say to one percentage that never falls back within a round, and an ETA. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/job.h"
#include "events/envelope.h"

static double stage_share(const struct job_stage *stage) {
  switch (stage->record.status) {
  case STAGE_FINISHED:
  case STAGE_PUBLISHING:
  case STAGE_SKIPPED:
  case STAGE_SOFT_FAILED: return 1;
  case STAGE_RUNNING: return stage->fraction > 0 ? stage->fraction : 0;
  default: return 0;
  }
}

double progress_pct(const struct job *job) {
  double sum = 0;
  for (size_t i = 0; i < job->pipeline->stage_count; i++) sum += job->stages[i].weight * stage_share(&job->stages[i]);
  double pct = sum * 100, held = job->record.pct_ppm / 1e4;
  if (pct > 99.9) pct = 99.9; /* 100 is said by `completed` alone */
  return pct > held ? pct : held;
}

static int64_t progress_eta_s(const struct job *job, double pct) {
  double gained = pct - job->begun_pct;
  int64_t elapsed_us = clock_boot(loop_clock(job->engine->loop)) - job->begun_boot_us;
  if (!job->begun_boot_us || gained < 1 || elapsed_us < 1000 * 1000) return -1;
  return (int64_t)((double)elapsed_us / 1e6 * (100 - pct) / gained + 0.5);
}

static void progress_tell(struct trial *trial, size_t index, double speed) {
  struct job *job = trial->job;
  const struct job_stage *stage = &job->stages[index];
  const struct pipeline_stage *s = &job->pipeline->stages[index];
  double pct = progress_pct(job);
  int64_t eta_s = progress_eta_s(job, pct);
  value_auto struct value *v = value_map();
  value_set_number(v, "pct", (double)(int64_t)(pct * 10 + 0.5) / 10);
  value_set_text(v, "stage", s->id);
  if (stage->fraction >= 0) value_set_number(v, "stagePct", (double)(int64_t)(stage->fraction * 1000 + 0.5) / 10);
  value_set_text(v, "message", stage->message[0] ? stage->message : s->title ? s->title : s->type->summary);
  if (stage->items) {
    value_set_int(v, "item", stage->item);
    value_set_int(v, "items", stage->items);
  }
  if (speed > 0) value_set_number(v, "speed", (double)(int64_t)(speed * 100 + 0.5) / 100);
  if (eta_s >= 0) value_set_int(v, "etaSeconds", eta_s);
  value_set_int(v, "attempt", stage->record.attempts + 1);
  value_set_int(v, "maxAttempts", s->retry.attempts);
  job_tags(v, &job->record);
  int64_t now_us = clock_wall(loop_clock(job->engine->loop));
  value_auto struct value *event = event_unstored("progress", job->id, job->record.last_seq, now_us, v);
  engine_tell(job->engine, &job->record, 0, event);
  uint32_t ppm = (uint32_t)(pct * 1e4);
  if (ppm > job->record.pct_ppm) {
    job->record.pct_ppm = ppm;
    store_note_progress(job->engine->store, job->id, ppm);
  }
}

/* Media seconds done per second of wall time, when the pass knows how long its source is. */
static double progress_speed(const struct trial *trial, double fraction) {
  double duration_s = value_get_number(trial->opened, "duration", 0) / 1e6 /* microseconds */;
  int64_t now_us = clock_wall(loop_clock(trial->job->engine->loop));
  double elapsed_s = (double)(now_us - trial->record.started_us) / 1e6;
  return duration_s > 0 && elapsed_s > 0.5 ? fraction * duration_s / elapsed_s : 0;
}

void progress_heard(struct trial *trial, const struct attempt_progress *p) {
  for (uint32_t i = 0; i < p->stage_count && i < trial->stage_count; i++) {
    struct job_stage *stage = &trial->job->stages[trial->stages[i].index];
    if (trial->stages[i].leaving != LEAVING_NOT) continue;
    bool changed = stage->fraction != p->stages[i].fraction || stage->item != p->stages[i].item;
    stage->fraction = p->stages[i].fraction;
    stage->item = p->stages[i].item;
    stage->items = p->stages[i].items;
    stage->frames = p->stages[i].frames;
    if (changed) progress_tell(trial, trial->stages[i].index, progress_speed(trial, stage->fraction));
  }
}

void progress_message(struct trial *trial, size_t index, const char *text) {
  struct job_stage *stage = &trial->job->stages[index];
  snprintf(stage->message, sizeof stage->message, "%s", text);
  log_scrub(stage->message);
  progress_tell(trial, index, progress_speed(trial, stage->fraction));
}
