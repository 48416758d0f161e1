#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/errand.h"
#include "engine/pause.h"
#include "engine/serve.h"

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
  if (engine_recover(engine, e)) return e->code;
  return pauses_load(engine, e);
}

enum err engine_create(struct engine **engine, const struct engine_options *options, struct error *e) {
  struct engine *fresh = mem_alloc(sizeof *fresh);
  fresh->loop = options->loop;
  fresh->catalogue = options->catalogue;
  fresh->only_submitted = options->only_submitted;
  fresh->secret = options->secret;
  fresh->secret_context = options->secret_context;
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
  errands_free(engine);
  engine_free_jobs(engine);
  serve_free(engine);
  pauses_free(engine);
  store_close(&engine->store);
  listeners_free(engine);
  free(engine->state_folder);
  free(engine->node);
  free(engine->boot_id);
  free(engine);
  *at = NULL;
}

struct store *engine_store(struct engine *engine) { return engine->store; }

void engine_wake_all(struct engine *engine) {
  for (struct job *job = engine->jobs; job; job = job->next) job_wake(job);
  serve_claim_soon(engine);
}

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

int64_t engine_queue_position(struct engine *engine, const struct job_record *job) {
  struct store_counts counts = {0};
  if (engine->serving) {
    size_t at = line_position(engine->line, job->id, job->priority);
    return (int64_t)(at ? at : line_before(engine->line, job->priority) + 1);
  }
  if (store_counts(engine->store, &counts, NULL)) return 1;
  return (int64_t)counts.by_status[JOB_QUEUED] + 1;
}

void engine_status(struct engine *engine, struct engine_status *status) {
  *status = (struct engine_status){.attempts = engine->alive, .max_attempts = engine->max_attempts,
                                   .waiting = engine->serving ? line_count(engine->line) : 0,
                                   .draining = engine->draining || engine->interrupted};
  for (const struct job *job = engine->jobs; job; job = job->next) status->loaded++;
}
