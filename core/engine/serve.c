#include "engine/serve.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/hold.h"
#include "engine/pause.h"

enum { SERVE_PAGE = 1000, SERVE_LOADED_SPARE = 16, SLEEP_WALL_MAX_US = 60 * 1000 * 1000 };

struct sleeper { /* a job that nothing can be done for before a time; on disk, not in memory */
  char id[32];
  int64_t boot_us, wall_us; /* one of them; 0: not by that clock */
};

struct turn {
  char id[32];
  uint64_t group;
};

/* ---- turns ---------------------------------------------------------------------------------------------------------- */

const char *turn_holder(const struct engine *engine, uint64_t group) {
  for (size_t i = 0; group && i < engine->turn_count; i++)
    if (engine->turns[i].group == group) return engine->turns[i].id;
  return NULL;
}

static void turn_give(struct engine *engine, const char *id, uint64_t group) {
  if (!group || turn_holder(engine, group)) return;
  engine->turns = mem_grow(engine->turns, engine->turn_count + 1, sizeof *engine->turns);
  struct turn *turn = &engine->turns[engine->turn_count++];
  turn->group = group;
  snprintf(turn->id, sizeof turn->id, "%.31s", id);
}

bool turn_take(struct job *job) {
  turn_give(job->engine, job->id, job->group_digest);
  const char *holder = turn_holder(job->engine, job->group_digest);
  return !holder || strcmp(holder, job->id) == 0;
}

void turn_return(struct engine *engine, const char *id) {
  for (size_t i = 0; i < engine->turn_count; i++) {
    if (strcmp(engine->turns[i].id, id) != 0) continue;
    engine->turns[i] = engine->turns[--engine->turn_count];
    serve_claim_soon(engine);
    return;
  }
}

/* ---- sleepers ------------------------------------------------------------------------------------------------------- */

static void sleep_over(void *context);

static int64_t sleeper_alarm_us(const struct engine *engine, const struct sleeper *s) {
  const struct clock *clock = loop_clock(engine->loop);
  if (!s->wall_us) return s->boot_us;
  int64_t left_us = s->wall_us - clock_wall(clock);
  if (left_us > SLEEP_WALL_MAX_US) left_us = SLEEP_WALL_MAX_US; /* somebody may set the clock */
  int64_t at_us = clock_boot(clock) + (left_us > 0 ? left_us : 0);
  return s->boot_us && s->boot_us < at_us ? s->boot_us : at_us;
}

static void sleep_alarm(struct engine *engine, int64_t at_us) {
  if (engine->alarm && engine->alarm_us <= at_us) return;
  loop_cancel(engine->loop, &engine->alarm);
  engine->alarm_us = at_us;
  engine->alarm = loop_at(engine->loop, at_us, sleep_over, engine);
}

static void sleep_wake(struct engine *engine, const char *id) {
  struct job_record job = {0};
  if (!store_job(engine->store, id, &job, NULL) && !job_status_is_terminal(job.status)) {
    if (job.status == JOB_PAUSED && !pause_of_job(engine, &job))
      engine_unpause(engine, id, NULL, NULL);
    else
      serve_line_up(engine, &job);
  }
  job_record_clear(&job);
}

static bool sleeper_is_due(const struct engine *engine, const struct sleeper *s) {
  const struct clock *clock = loop_clock(engine->loop);
  return (s->boot_us && s->boot_us <= clock_boot(clock)) || (s->wall_us && s->wall_us <= clock_wall(clock));
}

static void sleep_over(void *context) {
  struct engine *engine = context;
  engine->alarm = NULL;
  for (size_t i = 0; i < engine->sleeper_count;) {
    struct sleeper s = engine->sleepers[i];
    if (!sleeper_is_due(engine, &s)) {
      i++;
      continue;
    }
    engine->sleepers[i] = engine->sleepers[--engine->sleeper_count];
    sleep_wake(engine, s.id);
  }
  for (size_t i = 0; i < engine->sleeper_count; i++) sleep_alarm(engine, sleeper_alarm_us(engine, &engine->sleepers[i]));
  serve_claim_soon(engine);
}

static void sleep_add(struct engine *engine, const char *id, int64_t boot_us, int64_t wall_us) {
  if ((engine->sleeper_count & (engine->sleeper_count - 1)) == 0)
    engine->sleepers = mem_grow(engine->sleepers, engine->sleeper_count ? engine->sleeper_count * 2 : 1,
                                sizeof *engine->sleepers);
  struct sleeper *s = &engine->sleepers[engine->sleeper_count++];
  *s = (struct sleeper){.boot_us = boot_us, .wall_us = wall_us};
  snprintf(s->id, sizeof s->id, "%.31s", id);
  sleep_alarm(engine, sleeper_alarm_us(engine, s));
}

static void sleep_remove(struct engine *engine, const char *id) {
  for (size_t i = 0; i < engine->sleeper_count; i++) {
    if (strcmp(engine->sleepers[i].id, id) != 0) continue;
    engine->sleepers[i] = engine->sleepers[--engine->sleeper_count];
    return;
  }
}

/* ---- where a job belongs ---------------------------------------------------------------------------------------------- */

static uint64_t record_group(const struct job_record *job) {
  if (!job->extra_json) return 0;
  value_auto struct value *extra = finish_json(job->extra_json);
  return line_digest(value_get_text(extra, "group", NULL));
}

void serve_line_up(struct engine *engine, const struct job_record *job) {
  struct line_entry entry = {.owner = line_digest(job->owner), .pipeline = line_digest(job->pipeline),
                             .group = record_group(job)};
  snprintf(entry.id, sizeof entry.id, "%.31s", job->id);
  line_add(engine->line, &entry, job->priority);
  serve_claim_soon(engine);
}

/* When the first of its delayed stages is due, on the boot clock; 0: now. */
static int64_t record_due_us(struct engine *engine, const struct job_record *job) {
  const struct clock *clock = loop_clock(engine->loop);
  struct stage_list stages = {0};
  int64_t least_us = INT64_MAX;
  if (store_stages(engine->store, job->id, &stages, NULL)) return 0;
  for (size_t i = 0; i < stages.count; i++) {
    const struct stage_record *s = &stages.items[i];
    if (s->status != STAGE_DELAYED) continue;
    int64_t left_us = s->not_before_us - clock_wall(clock);
    if (left_us > s->delay_us) left_us = s->delay_us;
    if (left_us < least_us) least_us = left_us;
  }
  stage_list_clear(&stages);
  return least_us == INT64_MAX || least_us <= 0 ? 0 : clock_boot(clock) + least_us;
}

void serve_place(struct engine *engine, const struct job_record *job) {
  struct job *loaded = job_find(engine, job->id);
  if (!engine->serving || engine->closing || (loaded && !loaded->doomed)) return;
  serve_leave(engine, job->id);
  if (job_status_is_terminal(job->status)) {
    turn_return(engine, job->id);
    return;
  }
  if (job->started_us) turn_give(engine, job->id, record_group(job));
  if (job->status == JOB_PAUSED && pause_of_job(engine, job)) {
    int64_t until_us = pause_until_us(job);
    if (until_us) sleep_add(engine, job->id, 0, until_us);
    return;
  }
  if (job->status == JOB_HELD && hold_is_open(job)) {
    int64_t until_us = hold_until_us(job);
    if (until_us) sleep_add(engine, job->id, 0, until_us);
    return;
  }
  int64_t due_us = job->status == JOB_RETRYING ? record_due_us(engine, job) : 0;
  if (due_us)
    sleep_add(engine, job->id, due_us, 0);
  else
    serve_line_up(engine, job);
}

void serve_place_id(struct engine *engine, const char *id) {
  struct job_record job = {0};
  if (!engine->serving || engine->closing) return;
  if (!store_job(engine->store, id, &job, NULL)) serve_place(engine, &job);
  job_record_clear(&job);
}

void serve_leave(struct engine *engine, const char *id) {
  if (!engine->serving) return;
  if (!line_remove(engine->line, id)) sleep_remove(engine, id);
}

/* ---- claiming --------------------------------------------------------------------------------------------------------- */

static bool serve_lets_pass(void *context, const struct line_entry *entry) {
  const struct engine *engine = context;
  const char *holder = turn_holder(engine, entry->group);
  return (!holder || !strcmp(holder, entry->id)) && !pause_of_pipeline(engine, entry->pipeline);
}

static bool serve_has_room(const struct engine *engine) {
  unsigned hungry = 0, loaded = 0;
  for (const struct job *job = engine->jobs; job; job = job->next) {
    hungry += job->hungry && !job->doomed;
    loaded++;
  }
  return engine->alive + hungry < engine->max_attempts && loaded < 4 * engine->max_attempts + SERVE_LOADED_SPARE;
}

static void serve_begin(struct engine *engine, const char *id) {
  struct job *job;
  struct error e;
  if (job_open(engine, id, &job, &e)) {
    if (e.code != ERR_NOT_FOUND) job_hold(engine, id, &e);
    return;
  }
  if (job_status_is_terminal(job->record.status)) {
    job_drop(job);
    return;
  }
  turn_take(job); /* at once: the next one in line may be of the same group */
  job->hungry = true;
  job_recover(job);
  job_wake(job);
}

static void serve_claim(void *context) {
  struct engine *engine = context;
  char id[32];
  engine->claim_posted = false;
  if (engine->closing || engine->interrupted || engine->draining || !engine->crew || pause_of_queue(engine)) return;
  while (serve_has_room(engine) && line_next(engine->line, serve_lets_pass, engine, id)) serve_begin(engine, id);
}

void serve_claim_soon(struct engine *engine) {
  if (!engine->serving || engine->claim_posted || engine->closing) return;
  engine->claim_posted = true;
  loop_post(engine->loop, serve_claim, engine);
}

/* ---- leaving memory ------------------------------------------------------------------------------------------------- */

static bool rest_fits(const struct job *job) {
  const struct engine *engine = job->engine;
  if (!engine->serving || job->doomed || job->trouble[0] || job->cancelling || job->step_posted || !job_idle(job))
    return false;
  switch (job->record.status) {
  case JOB_RETRYING:
  case JOB_HELD:
  case JOB_PAUSED: return true;
  case JOB_QUEUED: {
    const char *holder = turn_holder(engine, job->group_digest);
    return pause_of_queue(engine) || pause_of_pipeline(engine, line_digest(job->record.pipeline)) ||
           (holder && strcmp(holder, job->id) != 0);
  }
  default: return false;
  }
}

bool serve_rest(struct job *job) {
  struct engine *engine = job->engine;
  struct job_record record = {0};
  if (!rest_fits(job)) return false;
  job_record_copy(&record, &job->record);
  if (!record.started_us) turn_return(engine, job->id);
  job_drop(job);
  serve_place(engine, &record);
  job_record_clear(&record);
  serve_claim_soon(engine);
  return true;
}

/* ---- from the store --------------------------------------------------------------------------------------------------- */

static enum err serve_waiting(struct engine *engine, struct error *e) {
  struct job_list page = {0};
  for (size_t skip = 0;; skip += page.count) {
    job_list_clear(&page);
    if (store_waiting_jobs(engine->store, skip, SERVE_PAGE, &page, e)) return e->code;
    for (size_t i = 0; i < page.count; i++) serve_place(engine, &page.items[i]);
    if (page.count < SERVE_PAGE) break;
  }
  job_list_clear(&page);
  return ERR_OK;
}

static enum err serve_sleeping(struct engine *engine, struct error *e) {
  struct job_filter filter = {.statuses = 1u << JOB_HELD | 1u << JOB_PAUSED, .limit = SERVE_PAGE};
  struct job_list page = {0};
  mem_auto char *last = NULL;
  do {
    job_list_clear(&page);
    filter.before_id = last;
    if (store_jobs(engine->store, &filter, &page, e)) return e->code;
    for (size_t i = 0; i < page.count; i++) serve_place(engine, &page.items[i]);
    free(last);
    last = page.count ? mem_text(page.items[page.count - 1].id) : NULL;
  } while (page.count == SERVE_PAGE);
  job_list_clear(&page);
  return ERR_OK;
}

enum err engine_serve(struct engine *engine, struct error *e) {
  if (engine->serving) return ERR_OK;
  engine->line = line_new();
  engine->serving = true;
  if (serve_waiting(engine, e) || serve_sleeping(engine, e)) return e->code;
  serve_claim_soon(engine);
  return ERR_OK;
}

void serve_free(struct engine *engine) {
  line_free(&engine->line);
  free(engine->sleepers);
  free(engine->turns);
}

/* Takes up a job that has just been stored or reopened. */
enum err engine_take_up(struct engine *engine, const char *id, struct error *e) {
  if (!engine->serving) return engine_resume(engine, id, e);
  struct job *job = job_find(engine, id);
  if (job && !job->doomed) {
    job_wake(job);
    return ERR_OK;
  }
  serve_place_id(engine, id);
  return ERR_OK;
}
