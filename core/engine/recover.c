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
#include "engine/draft.h"

enum { RECOVER_PATIENCE_MS = 10000, RECOVER_STEP_MS = 20, RECOVER_AGE_US = 60 * 1000 * 1000 };

/* ---- no attempt of an earlier owner may be alive when a new one starts --------------------------------------------- */

/* When the process began, on the wall clock; 0: there is none, or it cannot be told. */
static int64_t recover_born_us(int pid, int64_t now_wall_us, int64_t now_boot_us) {
  char path[64];
  unsigned long long ticks;
  struct buf text = {0};
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  enum err err = fs_read_file(path, 4096, &text, NULL);
  const char *fields = err ? NULL : strrchr(buf_string(&text), ')'); /* a name may hold anything */
  bool read = fields && sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                               &ticks) == 1;
  buf_free(&text);
  return read ? now_wall_us - now_boot_us + (int64_t)(ticks * 1000000 / (unsigned long long)sysconf(_SC_CLK_TCK)) : 0;
}

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

/* Numbers of processes are used again: only one as old as the attempt is certainly it. */
static bool recover_fits(const struct engine *engine, const struct attempt_record *a) {
  const struct clock *clock = loop_clock(engine->loop);
  int64_t born_us = recover_born_us(a->pid, clock_wall(clock), clock_boot(clock));
  return llabs(born_us - a->started_us) < RECOVER_AGE_US;
}

/* Attempts die with their zygote, zygotes with their engine; this only waits for the kernel to be through. */
static enum err recover_wait(const struct engine *engine, const struct attempt_record *a, struct error *e) {
  for (int waited = 0; recover_is_attempt(engine, a); waited += RECOVER_STEP_MS) {
    if (waited == RECOVER_PATIENCE_MS / 2 && recover_fits(engine, a)) kill(a->pid, SIGKILL);
    if (waited >= RECOVER_PATIENCE_MS && !recover_fits(engine, a)) break;
    if (waited >= RECOVER_PATIENCE_MS)
      return error_set(e, ERR_BUSY, "process %d, an attempt of job %s, survives SIGKILL: it may hang in the kernel, on a "
                       "disk or a network file system; nothing is started beside it", (int)a->pid, a->job);
    usleep(RECOVER_STEP_MS * 1000);
  }
  return ERR_OK;
}

/* ---- leases --------------------------------------------------------------------------------------------------------- */

/* Losses beyond the bound cost attempts, as with a zygote that dies: a stage that takes the machine down must end. */
static void recover_stage(struct stage_record *s) {
  s->status = STAGE_WAITING;
  if (s->lost < LOST_MAX)
    s->lost++;
  else
    s->attempts++;
}

static void recover_attempt(struct engine *engine, const struct attempt_record *live, const char *job) {
  struct stage_list stages = {0};
  if (store_stages(engine->store, job, &stages, NULL)) return;
  size_t count = 0;
  for (size_t i = 0; i < stages.count; i++) {
    struct stage_record *s = &stages.items[i];
    if (s->status != STAGE_RUNNING || s->fence != live->fence) continue;
    recover_stage(s);
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
  /* One change: an attempt that is over while its stages still run would block them for ever. */
  struct change change = {.job = job, .fence = live->fence, .stages = stages.items, .stage_count = count,
                          .attempt = &over};
  store_change(engine->store, &change, NULL, NULL);
  stage_list_clear(&stages);
}

/* The store refused a lease because an attempt may be alive. Which ones are, this process knows best: it is the owner. */
void trial_drop_live(struct job *job) {
  struct attempt_list live = {0};
  if (store_live_attempts(job->engine->store, job->id, &live, NULL)) return;
  for (size_t i = 0; i < live.count; i++) {
    bool ours = false;
    for (const struct trial *trial = job->trials; trial; trial = trial->next) ours |= trial->fence == live.items[i].fence;
    if (!ours) recover_attempt(job->engine, &live.items[i], job->id);
  }
  attempt_list_clear(&live);
}

static void recover_status(struct engine *engine, const struct job_record *job) {
  char reason[] = "interrupted: its engine ended";
  struct buf json = {0};
  value_auto struct value *body = job_state_body(job, JOB_QUEUED, reason);
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct event_draft event = {"state", json.data};
  struct job_record values = {.status = JOB_QUEUED, .wait_reason = reason};
  struct change change = {.job = job->id, .job_fields = JOB_SET_STATUS | JOB_SET_WAIT_REASON, .job_values = &values,
                          .events = &event, .event_count = 1};
  store_change(engine->store, &change, NULL, NULL);
  buf_free(&json);
}

static enum err recover_attempts(struct engine *engine, struct error *e) {
  struct attempt_list live = {0};
  enum err err = store_live_attempts(engine->store, NULL, &live, e);
  for (size_t i = 0; i < live.count && !err; i++) {
    err = recover_wait(engine, &live.items[i], e);
    if (!err) recover_attempt(engine, &live.items[i], live.items[i].job);
  }
  attempt_list_clear(&live);
  return err;
}

/* Costs what was under way, however many wait. */
static enum err recover_jobs(struct engine *engine, struct error *e) {
  struct job_filter filter = {.statuses = 1u << JOB_PROCESSING, .limit = 1000};
  struct job_list page = {0};
  mem_auto char *last = NULL;
  do {
    job_list_clear(&page);
    filter.before_id = last;
    if (store_jobs(engine->store, &filter, &page, e)) return e->code;
    for (size_t i = 0; i < page.count; i++) recover_status(engine, &page.items[i]);
    free(last);
    last = page.count ? mem_text(page.items[page.count - 1].id) : NULL;
  } while (page.count == filter.limit);
  job_list_clear(&page);
  return ERR_OK;
}

enum err engine_recover(struct engine *engine, struct error *e) {
  if (recover_attempts(engine, e) || recover_jobs(engine, e)) return e->code;
  return store_flush(engine->store, e);
}

/* ---- what a job left in its output folder --------------------------------------------------------------------------- */

static bool recover_is_publishing(const struct job *job, uint64_t fence) {
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.status == STAGE_PUBLISHING && job->stages[i].record.fence == fence) return true;
  return false;
}

/* The intent to publish is stored but what was to be published is not known: the stage is done again. */
static void recover_unknown(struct job *job, size_t stage) {
  struct draft *d = draft_new(job, 0);
  draft_stage(d, stage)->status = STAGE_WAITING;
  draft_stage(d, stage)->manifest_sha256 = NULL;
  draft_commit(d, NULL, NULL);
}

static void recover_publishing(struct job *job) {
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    if (job->stages[i].record.status != STAGE_PUBLISHING) continue;
    if (job->stages[i].manifest)
      publish_move(job, i);
    else
      recover_unknown(job, i);
  }
}

void job_recover(struct job *job) {
  if (job->trials || job->committing) return; /* under way already */
  recover_publishing(job);
  mem_auto char *folder = attempt_folder(job, 0);
  DIR *entries = opendir(folder);
  if (!entries) return;
  for (struct dirent *entry; (entry = readdir(entries));) {
    char *end;
    uint64_t fence = strtoull(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0' && fence && !recover_is_publishing(job, fence)) publish_sweep(job, fence);
  }
  closedir(entries);
}
