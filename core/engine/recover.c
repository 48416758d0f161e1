/* recover.c - takes over after an earlier owner of the state folder ended, however it ended. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/job.h"

enum { RECOVER_PATIENCE_MS = 10000, RECOVER_STEP_MS = 20 };

/* ---- no attempt of an earlier owner may be alive when a new one starts --------------------------------------------- */

static bool recover_is_attempt(const struct engine *engine, const struct attempt_record *a) {
  char path[64], exe[4096];
  if (a->pid <= 0 || !a->boot_id || strcmp(a->boot_id, engine->boot_id) != 0) return false;
  if (!a->node || strcmp(a->node, engine->node) != 0) return false;
  snprintf(path, sizeof path, "/proc/%d/exe", (int)a->pid);
  ssize_t n = readlink(path, exe, sizeof exe - 1);
  if (n <= 0) return false;
  exe[n] = '\0';
  return strstr(exe, "stagemill-runner") != NULL;
}

/* Attempts die with their zygote, zygotes with their engine; this only waits for the kernel to be through. */
static void recover_wait(const struct engine *engine, const struct attempt_record *a) {
  for (int waited = 0; recover_is_attempt(engine, a) && waited < RECOVER_PATIENCE_MS; waited += RECOVER_STEP_MS) {
    if (waited == RECOVER_PATIENCE_MS / 2) kill(a->pid, SIGKILL);
    usleep(RECOVER_STEP_MS * 1000);
  }
}

/* ---- leases --------------------------------------------------------------------------------------------------------- */

static void recover_attempt(struct engine *engine, const struct attempt_record *live, const char *job) {
  struct stage_list stages = {0};
  if (store_stages(engine->store, job, &stages, NULL)) return;
  size_t count = 0;
  for (size_t i = 0; i < stages.count; i++) {
    struct stage_record *s = &stages.items[i];
    if (s->status != STAGE_RUNNING || s->fence != live->fence) continue;
    s->status = STAGE_WAITING;
    s->fence = 0; /* keep */
    struct stage_record swap = stages.items[count];
    stages.items[count++] = *s;
    stages.items[i] = swap;
  }
  struct attempt_record over = *live;
  char outcome[] = "interrupted", error[] = "{\"message\":\"the engine ended while this attempt ran\",\"code\":\"lost\"}";
  over.state = ATTEMPT_OVER;
  over.outcome = outcome;
  over.error_json = error;
  over.ended_us = clock_wall(loop_clock(engine->loop));
  struct change change = {.job = job, .fence = 0, .stages = stages.items, .stage_count = count};
  store_change(engine->store, &change, NULL, NULL);
  struct change attempt = {.job = job, .fence = live->fence, .attempt = &over};
  store_change(engine->store, &attempt, NULL, NULL);
  stage_list_clear(&stages);
}

static void recover_status(struct engine *engine, const struct job_record *job) {
  char reason[] = "interrupted: its engine ended";
  struct job_record values = {.status = JOB_QUEUED, .wait_reason = reason};
  struct change change = {.job = job->id, .job_fields = JOB_SET_STATUS | JOB_SET_WAIT_REASON, .job_values = &values};
  store_change(engine->store, &change, NULL, NULL);
}

enum err engine_recover(struct engine *engine, struct error *e) {
  struct job_list open = {0};
  if (store_open_jobs(engine->store, &open, e)) return e->code;
  for (size_t i = 0; i < open.count; i++) {
    struct attempt_list live = {0};
    const char *job = open.items[i].id;
    if (store_live_attempts(engine->store, job, &live, e)) break;
    for (size_t a = 0; a < live.count; a++) {
      recover_wait(engine, &live.items[a]);
      recover_attempt(engine, &live.items[a], job);
    }
    if (open.items[i].status == JOB_PROCESSING) recover_status(engine, &open.items[i]);
    attempt_list_clear(&live);
  }
  job_list_clear(&open);
  return store_flush(engine->store, e);
}

/* ---- what a job left in its output folder --------------------------------------------------------------------------- */

static bool recover_is_publishing(const struct job *job, uint64_t fence) {
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.status == STAGE_PUBLISHING && job->stages[i].record.fence == fence) return true;
  return false;
}

void job_recover(struct job *job) {
  if (job->trials || job->committing) return; /* under way already */
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.status == STAGE_PUBLISHING) publish_move(job, i);
  mem_auto char *folder = attempt_folder(job, 0);
  DIR *entries = opendir(folder);
  if (!entries) return;
  for (struct dirent *entry; (entry = readdir(entries));) {
    char *end;
    uint64_t fence = strtoull(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0' && !recover_is_publishing(job, fence)) publish_sweep(job, fence);
  }
  closedir(entries);
}
