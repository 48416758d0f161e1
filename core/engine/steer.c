/* steer.c - another place in the line for a job, and its removal. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/errand.h"
#include "engine/serve.h"

/* ---- priority --------------------------------------------------------------------------------------------------------- */

static void priority_begin(struct errand *n) {
  struct job *job;
  struct job_record record = {0};
  int32_t priority = (int32_t)value_get_int(n->args, "priority", 50);
  if (!errand_target(n, &job, &record)) return;
  if (job) {
    struct draft *d = draft_new(job, 0);
    struct value *body = job_state_body(&job->record, job->record.status, job->record.wait_reason);
    value_set_int(body, "priority", priority);
    draft_job(d, JOB_SET_PRIORITY)->priority = priority;
    draft_event(d, "state", body);
    draft_commit(d, errand_drafted, n);
    return;
  }
  record.priority = priority;
  value_auto struct value *body = job_state_body(&record, record.status, record.wait_reason);
  struct buf json = {0};
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct event_draft event = {"state", json.data};
  struct change change = {.job = n->id, .job_fields = JOB_SET_PRIORITY, .job_values = &record, .events = &event,
                          .event_count = 1};
  serve_leave(n->engine, n->id);
  store_change(n->engine->store, &change, errand_stored, n);
  buf_free(&json);
  job_record_clear(&record);
}

void engine_prioritize(struct engine *engine, const char *job, int32_t priority, engine_done *done, void *context) {
  struct value *args = value_map();
  value_set_int(args, "priority", priority < 0 ? 0 : priority > 100 ? 100 : priority);
  errand_start(engine, job, args, priority_begin, done, context);
}

/* ---- removal ------------------------------------------------------------------------------------------------------------ */

/* The real path of what is removed with the job; NULL: its output folder lies elsewhere and stays. */
static char *delete_output(const char *output, const char *below) {
  char *real = output && *output ? realpath(output, NULL) : NULL, *root = below ? realpath(below, NULL) : NULL;
  size_t size = root ? strlen(root) : 0;
  bool inside = real && size > 1 && strncmp(real, root, size) == 0 && real[size] == '/';
  free(root);
  if (inside) return real;
  free(real);
  return NULL;
}

static void delete_stored(void *context, const struct commit *commit) {
  struct errand *n = context;
  struct engine *engine = n->engine;
  struct error e = commit->error;
  e.code = commit->status;
  if (!e.code && !engine->closing) {
    char *output = delete_output(value_get_text(n->args, "output", NULL), value_get_text(n->args, "below", NULL));
    publish_remove(engine, mem_format("%s/jobs/%s", engine->state_folder, n->id));
    if (output) publish_remove(engine, output);
    turn_return(engine, n->id);
  }
  errand_end(n, &e);
}

/* The record first: files without a record are swept later (`stagemill state prune`), a record without files would lie. */
static void delete_begin(struct errand *n) {
  struct job_record job = {0};
  struct error e;
  if (store_job(n->engine->store, n->id, &job, &e)) {
    errand_end(n, &e);
    return;
  }
  value_auto struct value *spec = finish_json(job.spec_json);
  value_set_text(n->args, "output", value_get_text(spec, "output", NULL));
  struct job *loaded = job_find(n->engine, n->id);
  if (loaded && !job_idle(loaded) && job_status_is_terminal(job.status))
    errand_refuse(n, ERR_CONFLICT, "job %s is just ending: try again in a moment", n->id);
  else
    store_delete(n->engine->store, n->id, delete_stored, n);
  job_record_clear(&job);
}

void engine_delete(struct engine *engine, const char *job, const char *outputs, engine_done *done, void *context) {
  struct value *args = value_map();
  if (outputs) value_set_text(args, "below", outputs);
  errand_start(engine, job, args, delete_begin, done, context);
}
