#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/job.h"

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

void engine_destroy(struct engine **at) {
  struct engine *engine = *at;
  if (!engine) return;
  engine->closing = true;
  crew_destroy(&engine->crew);
  pool_destroy(&engine->pool);
  if (engine->store) {
    store_flush(engine->store, NULL);
    store_close(&engine->store);
  }
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
  while (engine->listeners) {
    struct listener *gone = engine->listeners;
    engine->listeners = gone->next;
    free(gone);
  }
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

void engine_tell(struct engine *engine, const char *job, const struct value *event) {
  if (!engine->listeners) return;
  struct buf json = {0};
  value_json(&json, event, VALUE_JSON_COMPACT);
  for (struct listener *l = engine->listeners; l; l = l->next)
    if (l->call) l->call(l->context, job, event, buf_string(&json));
  buf_free(&json);
  engine_sweep_listeners(engine);
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
    if (engine_resume(engine, open.items[i].id, &why)) log_error("job %s is held: %s", open.items[i].id, why.message);
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
  for (struct job *job = engine->jobs; job; job = job->next)
    if (!job_idle(job)) {
      loop_after(engine->loop, 20 * 1000, engine_check_idle, engine);
      return;
    }
  if (engine->idle) engine->idle(engine->idle_context);
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
};

static void asking_answer(struct asking *asking, const struct error *e) {
  if (asking->done) asking->done(asking->context, e);
  free(asking->job);
  free(asking);
}

static struct asking *asking_new(struct engine *engine, const char *job, engine_done *done, void *context) {
  struct asking *asking = mem_alloc(sizeof *asking);
  *asking = (struct asking){done, context, engine, mem_text(job)};
  return asking;
}

/* Without a crew nothing of the job is alive and nothing can be started: it ends here, unless files are still on their way
 * to the output folder; then whoever runs it next finds the intent. */
static void engine_cancel_at_rest(struct engine *engine, const char *id) {
  struct stage_list stages = {0};
  if (store_stages(engine->store, id, &stages, NULL)) return;
  size_t open = 0;
  bool publishing = false;
  for (size_t i = 0; i < stages.count; i++) {
    publishing |= stages.items[i].status == STAGE_PUBLISHING;
    if (stage_status_is_terminal(stages.items[i].status)) continue;
    struct stage_record swap = stages.items[open];
    stages.items[open] = stages.items[i];
    stages.items[open].status = STAGE_CANCELLED;
    stages.items[open++].fence = 0; /* keep */
    if (open - 1 != i) stages.items[i] = swap;
  }
  struct job_record values = {.status = JOB_CANCELLED, .ended_us = clock_wall(loop_clock(engine->loop))};
  struct event_draft event = {"cancelled", "{}"};
  struct change change = {.job = id, .job_fields = JOB_SET_STATUS | JOB_SET_ENDED | JOB_SET_WAIT_REASON,
                          .job_values = &values, .stages = stages.items, .stage_count = open, .events = &event,
                          .event_count = 1};
  if (!publishing) store_change(engine->store, &change, NULL, NULL);
  stage_list_clear(&stages);
}

static void engine_cancel_stored(void *context, const struct commit *commit) {
  struct asking *asking = context;
  struct job *job;
  struct error e = commit->error;
  e.code = commit->status;
  if (!e.code && !asking->engine->crew) {
    engine_cancel_at_rest(asking->engine, asking->job);
  } else if (!e.code && !job_open(asking->engine, asking->job, &job, &e)) {
    job->record.cancel_requested = true;
    for (struct trial *trial = job->trials; trial; trial = trial->next)
      if (trial->attempt) attempt_cancel(trial->attempt, false);
    job_wake(job);
  }
  asking_answer(asking, &e);
}

void engine_cancel(struct engine *engine, const char *job, engine_done *done, void *context) {
  store_request_cancel(engine->store, job, NULL, 0, engine_cancel_stored, asking_new(engine, job, done, context));
}

static void engine_retry_stored(void *context, const struct commit *commit) {
  struct asking *asking = context;
  struct error e = commit->error;
  e.code = commit->status;
  struct job *old = job_find(asking->engine, asking->job);
  if (!e.code && old) job_drop(old);
  if (!e.code && asking->engine->crew) engine_resume(asking->engine, asking->job, &e);
  asking_answer(asking, &e);
}

void engine_retry(struct engine *engine, const char *job, bool whole, engine_done *done, void *context) {
  struct stage_list stages = {0};
  struct error e = {0};
  if (!whole) store_stages(engine->store, job, &stages, &e);
  const char **keep = mem_array(stages.count + 1, sizeof *keep);
  size_t count = 0;
  for (size_t i = 0; i < stages.count; i++)
    if (stages.items[i].status == STAGE_FINISHED) keep[count++] = stages.items[i].stage;
  struct event_draft queued = {"queued", "{\"reason\":\"retried by an operator\"}"};
  store_reopen(engine->store, job, keep, count, &queued, 1, engine_retry_stored,
               asking_new(engine, job, done, context));
  free(keep);
  stage_list_clear(&stages);
}
