#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/job.h"
#include "events/envelope.h"

struct listener {
  struct listener *next;
  engine_listener *call; /* NULL: removed while being told */
  void *context;
};

/* ---- the store's completions come on its writer's thread; they run on the loop's ------------------------------- */

static void engine_dispatch(void *context) {
  struct engine *engine = context;
  store_dispatch(engine->store);
}

static void engine_notify(void *context) {
  struct engine *engine = context;
  loop_post(engine->loop, engine_dispatch, engine);
}

/* ---- identity of this process: who holds the leases ------------------------------------------------------------- */

static char *engine_read_line(const char *path, const char *otherwise) {
  struct buf text = {0};
  if (fs_read_file(path, 4096, &text, NULL)) return mem_text(otherwise);
  char *line = buf_take(&text);
  line[strcspn(line, "\n")] = '\0';
  return line;
}

static char *engine_node_name(void) {
  char host[128] = "localhost";
  gethostname(host, sizeof host - 1);
  return mem_text(host);
}

static enum err engine_start_crew(struct engine *engine, const struct engine_options *options, struct error *e) {
  if (!options->catalogue) return ERR_OK;
  struct crew_options crew = options->crew;
  crew.catalogue = options->catalogue;
  return crew_create(&engine->crew, engine->loop, &crew, e);
}

static enum err engine_open(struct engine *engine, const struct engine_options *options, struct error *e) {
  if (fs_make_folders(engine->state_folder, 0700, e)) return e->code;
  struct store_options store = {.folder = engine->state_folder, .notify = engine_notify, .context = engine};
  if (store_open(&engine->store, &store, e)) return e->code;
  if (pool_create(&engine->pool, engine->loop, 2, e)) return e->code;
  if (engine_start_crew(engine, options, e)) return e->code;
  return engine_recover(engine, e);
}

enum err engine_create(struct engine **engine, const struct engine_options *options, struct error *e) {
  struct engine *fresh = mem_alloc(sizeof *fresh);
  fresh->loop = options->loop;
  fresh->catalogue = options->catalogue;
  fresh->only_submitted = options->only_submitted;
  fresh->state_folder = mem_text(options->state_folder);
  fresh->node = engine_node_name();
  fresh->boot_id = engine_read_line("/proc/sys/kernel/random/boot_id", "unknown");
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  fresh->memory_limit_bytes = options->memory_limit_bytes;
  if (!fresh->memory_limit_bytes)
    fresh->memory_limit_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4 * 3;
  fresh->max_attempts = options->max_attempts ? options->max_attempts : (unsigned)(cores > 1 ? cores : 1);
  if (engine_open(fresh, options, e)) {
    engine_destroy(&fresh);
    return e->code;
  }
  *engine = fresh;
  return ERR_OK;
}

static void engine_free_jobs(struct engine *engine) {
  while (engine->jobs) {
    struct job *job = engine->jobs;
    while (job->trials) {
      struct trial *trial = job->trials;
      trial_free(&trial);
    }
    job->committing = 0;
    job->step_posted = false;
    job_drop(job);
  }
}

static void engine_free_listeners(struct engine *engine) {
  while (engine->listeners) {
    struct listener *gone = engine->listeners;
    engine->listeners = gone->next;
    free(gone);
  }
}

void engine_destroy(struct engine **at) {
  struct engine *engine = *at;
  if (!engine) return;
  engine->closing = true; /* from here on nothing begins: completions only free what they were for */
  for (struct job *job = engine->jobs; job; job = job->next)
    for (struct trial *trial = job->trials; trial; trial = trial->next) trial->attempt = NULL;
  crew_destroy(&engine->crew);
  pool_destroy(&engine->pool);
  if (engine->store) store_flush(engine->store, NULL);
  work_drop_all(engine);
  engine_free_jobs(engine);
  store_close(&engine->store);
  engine_free_listeners(engine);
  free(engine->state_folder);
  free(engine->node);
  free(engine->boot_id);
  free(engine);
  *at = NULL;
}

struct store *engine_store(struct engine *engine) { return engine->store; }

/* ---- listeners ---------------------------------------------------------------------------------------------------- */

struct listener *engine_listen(struct engine *engine, engine_listener *call, void *context) {
  struct listener *l = mem_alloc(sizeof *l);
  l->call = call;
  l->context = context;
  l->next = engine->listeners;
  engine->listeners = l;
  return l;
}

void engine_unlisten(struct engine *engine, struct listener **listener) {
  (void)engine;
  if (*listener) (*listener)->call = NULL; /* swept after the next telling, so that a listener may remove itself */
  *listener = NULL;
}

static void engine_sweep_listeners(struct engine *engine) {
  for (struct listener **at = &engine->listeners; *at;) {
    struct listener *l = *at;
    if (l->call) {
      at = &l->next;
      continue;
    }
    *at = l->next;
    free(l);
  }
}

void engine_tell(struct engine *engine, const struct job_record *job, uint64_t cursor, const struct value *event) {
  if (!engine->listeners || engine->closing) return;
  struct buf json = {0};
  value_json(&json, event, VALUE_JSON_COMPACT);
  const char *type = value_get_text(event, "type", "");
  struct news news = {.subject = job->id, .job = job->id, .batch = job->batch, .asset = job->asset, .owner = job->owner,
                      .pipeline = job->pipeline, .type = type, .stage = value_get_text(event, "stage", NULL),
                      .seq = (uint64_t)value_get_int(event, "seq", 0), .cursor = cursor, .stored = cursor != 0,
                      .terminal = cursor && event_is_terminal(type), .event = event, .json = buf_string(&json),
                      .json_size = json.size};
  engine->telling++;
  for (struct listener *l = engine->listeners; l; l = l->next)
    if (l->call) l->call(l->context, &news);
  buf_free(&json);
  if (--engine->telling == 0) engine_sweep_listeners(engine);
}

void engine_wake_all(struct engine *engine) {
  for (struct job *job = engine->jobs; job; job = job->next) job_wake(job);
}

/* ---- steering ------------------------------------------------------------------------------------------------------ */

enum err engine_resume(struct engine *engine, const char *id, struct error *e) {
  if (id) {
    struct job *job;
    if (job_open(engine, id, &job, e)) return e->code;
    job_recover(job);
    job_wake(job);
    return ERR_OK;
  }
  struct job_list open = {0};
  if (store_open_jobs(engine->store, &open, e)) return e->code;
  for (size_t i = 0; i < open.count; i++) {
    struct error why;
    if (engine_resume(engine, open.items[i].id, &why)) job_hold(engine, open.items[i].id, &why);
  }
  job_list_clear(&open);
  return ERR_OK;
}

bool engine_job_idle(struct engine *engine, const char *id) {
  struct job *job = job_find(engine, id);
  return !job || job_idle(job);
}

static void engine_check_idle(void *context) {
  struct engine *engine = context;
  bool quiet = work_is_quiet(engine);
  for (struct job *job = engine->jobs; job && quiet; job = job->next) quiet = job_quiet(job);
  if (!quiet)
    loop_after(engine->loop, 20 * 1000, engine_check_idle, engine);
  else if (engine->idle)
    engine->idle(engine->idle_context);
}

void engine_interrupt(struct engine *engine, bool now, loop_fn *idle, void *context) {
  bool first = !engine->interrupted;
  engine->interrupted = true;
  engine->interrupt_now |= now;
  engine->idle = idle;
  engine->idle_context = context;
  for (struct job *job = engine->jobs; job; job = job->next)
    for (struct trial *trial = job->trials; trial; trial = trial->next) {
      trial->interrupted = true;
      if (trial->attempt) attempt_cancel(trial->attempt, now);
    }
  if (first) loop_after(engine->loop, 0, engine_check_idle, engine);
}

struct asking {
  engine_done *done;
  void *context;
  struct engine *engine;
  char *job;
  bool holds; /* the job it asks about waits for the answer */
};

static void asking_answer(struct asking *asking, const struct error *e) {
  if (asking->done) asking->done(asking->context, e);
  free(asking->job);
  free(asking);
}

static struct asking *asking_new(struct engine *engine, const char *job, engine_done *done, void *context) {
  struct asking *asking = mem_alloc(sizeof *asking);
  *asking = (struct asking){done, context, engine, mem_text(job), false};
  return asking;
}

static struct value *cancelled_body(const struct job_record *job, const struct stage_list *stages) {
  struct value *body = value_map(), *published = value_list();
  for (size_t i = 0; i < stages->count; i++)
    if (stages->items[i].status == STAGE_FINISHED) value_list_add(published, value_text(stages->items[i].stage));
  value_set_int(body, "attempt", job->attempt);
  value_set_int(body, "maxAttempts", job->max_attempts);
  value_map_set(body, "published", published);
  return body;
}

/* Moves the stages that are still open to the front, cancelled; SIZE_MAX: one of them is being published. */
static size_t cancelled_stages(struct stage_list *stages, int64_t now_us) {
  size_t open = 0;
  for (size_t i = 0; i < stages->count; i++) {
    if (stages->items[i].status == STAGE_PUBLISHING) return SIZE_MAX;
    if (stage_status_is_terminal(stages->items[i].status)) continue;
    struct stage_record swap = stages->items[open];
    stages->items[open] = stages->items[i];
    stages->items[i] = swap;
    stages->items[open].status = STAGE_CANCELLED;
    stages->items[open].ended_us = now_us;
    stages->items[open++].fence = 0; /* keep */
  }
  return open;
}

/* Without a crew nothing of the job is alive and nothing can be started: it ends here, unless files are still on their way
 * to the output folder; then whoever runs it next finds the intent. */
static void engine_cancel_at_rest(struct engine *engine, const char *id) {
  struct stage_list stages = {0};
  struct job_record job = {0};
  if (store_job(engine->store, id, &job, NULL) || store_stages(engine->store, id, &stages, NULL)) {
    job_record_clear(&job);
    return;
  }
  value_auto struct value *body = cancelled_body(&job, &stages);
  struct buf json = {0};
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct job_record values = {.status = JOB_CANCELLED, .ended_us = clock_wall(loop_clock(engine->loop))};
  size_t open = cancelled_stages(&stages, values.ended_us);
  struct event_draft event = {"cancelled", buf_string(&json)};
  struct change change = {.job = id, .job_fields = JOB_SET_STATUS | JOB_SET_ENDED | JOB_SET_WAIT_REASON,
                          .job_values = &values, .stages = stages.items, .stage_count = open, .events = &event,
                          .event_count = 1};
  if (open != SIZE_MAX) store_change(engine->store, &change, NULL, NULL);
  buf_free(&json);
  stage_list_clear(&stages);
  job_record_clear(&job);
}

static void engine_cancel_trials(struct job *job, bool again) {
  for (struct trial *trial = job->trials, *next; trial; trial = next) {
    next = trial->next;
    if (again && trial->late_stages) continue; /* `always` stages of a cancelled job may finish */
    if (trial->attempt) attempt_cancel(trial->attempt, false);
    trial_settle(trial); /* those that were only waiting for this answer */
  }
}

static void engine_cancel_stored(void *context, const struct commit *commit) {
  struct asking *asking = context;
  struct engine *engine = asking->engine;
  struct job *job = job_find(engine, asking->job);
  struct error e = commit->error;
  e.code = commit->status;
  if (asking->holds && job && job->cancelling) job->cancelling--;
  if (!e.code && !engine->crew && !engine->closing) {
    engine_cancel_at_rest(engine, asking->job);
  } else if (!e.code && !engine->closing && !job_open(engine, asking->job, &job, &e)) {
    job->record.cancel_requested = true;
    job_recover(job);
    engine_cancel_trials(job, commit->existed);
  }
  if (job && !engine->closing) job_wake(job);
  asking_answer(asking, &e);
}

/* While the request is on its way to disk nothing of the job is finished: what is committed after it comes after it. */
void engine_cancel(struct engine *engine, const char *id, engine_done *done, void *context) {
  struct asking *asking = asking_new(engine, id, done, context);
  struct job *job = job_find(engine, id);
  asking->holds = job && !job->doomed;
  if (asking->holds) job->cancelling++;
  store_request_cancel(engine->store, id, NULL, 0, engine_cancel_stored, asking);
}

/* Nobody here runs it: the reason is stored. */
static void engine_note_rest(struct engine *engine, const char *id) {
  char reason[] = "queued again: the command that ran it goes on with it";
  struct job_record values = {.wait_reason = reason};
  struct change note = {.job = id, .job_fields = JOB_SET_WAIT_REASON, .job_values = &values};
  store_change(engine->store, &note, NULL, NULL);
}

static void engine_retry_stored(void *context, const struct commit *commit) {
  struct asking *asking = context;
  struct engine *engine = asking->engine;
  struct error e = commit->error;
  e.code = commit->status;
  struct job *old = job_find(engine, asking->job);
  if (!e.code && old) job_drop(old);
  bool runs = engine->crew && !engine->closing && (!engine->only_submitted || old);
  if (!e.code && !runs) engine_note_rest(engine, asking->job);
  if (!e.code && runs && engine_resume(engine, asking->job, &e)) job_hold(engine, asking->job, &e);
  asking_answer(asking, &e);
}

void engine_reopen(struct engine *engine, const struct job_record *job, const char *reason, bool whole, store_done *done,
                   void *context) {
  struct stage_list stages = {0};
  char at[32];
  if (!whole) store_stages(engine->store, job->id, &stages, NULL);
  const char **keep = mem_array(stages.count + 1, sizeof *keep);
  size_t count = 0;
  for (size_t i = 0; i < stages.count; i++)
    if (stages.items[i].status == STAGE_FINISHED) keep[count++] = stages.items[i].stage;
  value_auto struct value *body = value_map();
  struct buf json = {0};
  value_set_text(body, "reason", reason);
  value_set_int(body, "queuePosition", engine_queue_position(engine));
  value_set_text(body, "queuedAt", clock_format(clock_wall(loop_clock(engine->loop)), at));
  value_set_int(body, "round", (int64_t)job->round + 1);
  value_set_int(body, "attempt", 1);
  value_set_int(body, "maxAttempts", job->max_attempts);
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct event_draft queued = {"queued", buf_string(&json)};
  store_reopen(engine->store, job->id, keep, count, &queued, 1, done, context);
  buf_free(&json);
  free(keep);
  stage_list_clear(&stages);
}

void engine_retry(struct engine *engine, const char *id, bool whole, engine_done *done, void *context) {
  struct job_record job = {0};
  struct error e;
  struct asking *asking = asking_new(engine, id, done, context);
  if (store_job(engine->store, id, &job, &e))
    asking_answer(asking, &e);
  else
    engine_reopen(engine, &job, "retried by an operator", whole, engine_retry_stored, asking);
  job_record_clear(&job);
}

int64_t engine_queue_position(struct engine *engine) {
  struct store_counts counts = {0};
  if (store_counts(engine->store, &counts, NULL)) return 1;
  return (int64_t)counts.by_status[JOB_QUEUED] + 1;
}
