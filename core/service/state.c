#include "service/state.h"

#include <string.h>

#include "base/mem.h"

struct asked_state {
  struct engine *engine;
  const char *job;
};

static void state_begin(void *context, struct ask *ask) {
  struct asked_state *asked = context;
  struct value *state = NULL;
  struct error e = {0};
  engine_state(asked->engine, asked->job, &state, &e);
  service_answer(ask, &e, state);
}

/* What says whose it is stands in the envelope, so that it lives as long. */
static void state_identify(struct value *state, const struct job_record *job) {
  if (job->owner) value_set_text(state, "owner", job->owner);
  if (job->asset) value_set_text(state, "asset", job->asset);
  if (job->batch) value_set_text(state, "batchId", job->batch);
  if (job->pipeline) value_set_text(state, "pipeline", job->pipeline);
}

static enum err state_of_job(struct service *service, const char *id, struct value **state, struct error *e) {
  struct job_record job = {0};
  struct asked_state asked = {service->engine, id};
  enum err err = store_job(service->store, id, &job, e);
  if (!err) err = service_ask(service, state_begin, &asked, state, e);
  if (!err) state_identify(*state, &job);
  job_record_clear(&job);
  return err;
}

static enum err state_of_batch(struct service *service, const char *id, struct value **out, struct error *e) {
  struct side_record record = {0};
  struct value *state = NULL;
  if (store_side_get(service->store, SIDE_BATCH, id, &record, e)) return e->code;
  const char *json = record.body_json ? record.body_json : "{}";
  enum err err = value_from_json(json, strlen(json), &state, e);
  if (!err) {
    char at[32];
    value_set_text(state, "type", "state");
    value_set_text(state, "batchId", id);
    value_set_text(state, "at", clock_format(clock_wall(&clock_system), at));
    if (record.owner) value_set_text(state, "owner", record.owner);
    *out = state;
  }
  side_record_clear(&record);
  return err;
}

enum err service_state(void *context, const char *job, const char *batch, struct value **state, struct matter *matter,
                       struct error *e) {
  struct service *service = context;
  *state = NULL;
  enum err err = job ? state_of_job(service, job, state, e) : state_of_batch(service, batch, state, e);
  if (err) return err;
  *matter = (struct matter){.owner = value_get_text(*state, "owner", NULL),
                            .job = job ? value_get_text(*state, "jobId", NULL) : NULL,
                            .batch = value_get_text(*state, "batchId", NULL),
                            .asset = value_get_text(*state, "asset", NULL),
                            .pipeline = value_get_text(*state, "pipeline", NULL)};
  return ERR_OK;
}
