/* tell.c - who listens to the engine, and what they hear: exactly what is stored, once it is durable, and progress. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/job.h"
#include "events/envelope.h"

struct listener {
  struct listener *next;
  engine_listener *call; /* NULL: removed while being told */
  void *context;
};

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

void listeners_free(struct engine *engine) {
  while (engine->listeners) {
    struct listener *gone = engine->listeners;
    engine->listeners = gone->next;
    free(gone);
  }
}

/* ---- what is stored --------------------------------------------------------------------------------------------- */

void job_tags(struct value *body, const struct job_record *job) {
  const struct {
    const char *key, *text;
  } tags[] = {{"pipeline", job->pipeline}, {"asset", job->asset}, {"owner", job->owner}, {"batchId", job->batch}};
  for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
    if (tags[i].text) value_set_text(body, tags[i].key, tags[i].text);
}

struct value *job_state_body(const struct job_record *job, enum job_status status, const char *reason) {
  struct value *body = value_map();
  value_set_text(body, "status", job_status_word(status));
  value_set_number(body, "pct", job->pct_ppm / 1e4);
  if (reason && *reason) value_set_text(body, "waitReason", reason);
  value_set_int(body, "attempt", job->attempt);
  value_set_int(body, "maxAttempts", job->max_attempts);
  value_set_int(body, "priority", job->priority);
  job_tags(body, job);
  return body;
}

/* Read back: a live follower and one that replays see the same bytes. */
void engine_tell_stored(struct engine *engine, const struct job_record *job, const struct commit *commit) {
  if (!commit->first_seq || !engine->listeners || engine->closing) return;
  struct event_list events = {0};
  struct error e;
  size_t count = (size_t)(commit->last_seq - commit->first_seq + 1);
  if (store_events(engine->store, job->id, commit->first_seq - 1, count, &events, &e)) {
    log_error("job %s: events %llu and later cannot be read back: %s", job->id, (unsigned long long)commit->first_seq,
              e.message);
    return;
  }
  for (size_t i = 0; i < events.count; i++) {
    struct buf text = {0};
    value_auto struct value *event = NULL;
    event_envelope(&text, &events.items[i]);
    if (!value_from_json(buf_string(&text), text.size, &event, NULL))
      engine_tell(engine, job, events.items[i].cursor, event);
    buf_free(&text);
  }
  event_list_clear(&events);
}

void engine_tell_commit(struct engine *engine, const struct commit *commit) {
  struct job_record job = {0};
  if (!commit->first_seq || !commit->job || !engine->listeners || engine->closing) return;
  if (!store_job(engine->store, commit->job, &job, NULL)) engine_tell_stored(engine, &job, commit);
  job_record_clear(&job);
}
