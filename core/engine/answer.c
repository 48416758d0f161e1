/* answer.c - what the owner of a state folder answers to one request, whoever asks: a client at its door, or the process
 * itself. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/door_parts.h"
#include "engine/job.h"

struct value *answer_error(const struct error *e) {
  struct value *v = value_map();
  value_set_bool(v, "ok", false);
  value_set_text(v, "code", err_word(e->code));
  value_set_text(v, "message", e->message);
  return v;
}

struct value *answer_ok(void) {
  struct value *v = value_map();
  value_set_bool(v, "ok", true);
  return v;
}

struct answering {
  door_answered *done;
  void *context;
  char id[STORE_ID_MAX];
};

static void answer_steered(void *context, const struct error *e) {
  struct answering *a = context;
  value_auto struct value *v = e->code ? answer_error(e) : answer_ok();
  value_set_text(v, "jobId", a->id);
  a->done(a->context, v);
  free(a);
}

static struct answering *answering_new(door_answered *done, void *context, const char *id) {
  struct answering *a = mem_alloc(sizeof *a);
  a->done = done;
  a->context = context;
  snprintf(a->id, sizeof a->id, "%s", id);
  return a;
}

static enum err answer_jobs(struct engine *engine, const struct value *request, struct value *v, struct error *e) {
  struct job_filter filter = {.limit = (size_t)value_get_int(request, "limit", 50)};
  const char *word = value_get_text(request, "status", NULL);
  enum job_status status;
  if (word && !job_status_from_word(word, &status))
    return error_set(e, ERR_USAGE,
                     "'%s' is no status: use queued, processing, retrying, held, paused, completed, failed or cancelled",
                     word);
  if (word) filter.statuses = 1u << status;
  const char *since = value_get_text(request, "since", NULL);
  if (since && !clock_parse(since, &filter.since_us))
    return error_set(e, ERR_USAGE, "'%s' is no time: write it like 2026-01-31T08:00:00Z", since);
  filter.pipeline = value_get_text(request, "pipeline", NULL);
  filter.asset = value_get_text(request, "asset", NULL);
  filter.owner = value_get_text(request, "owner", NULL);
  filter.batch = value_get_text(request, "batch", NULL);
  filter.before_id = value_get_text(request, "cursor", NULL);
  struct job_list jobs = {0};
  struct value *list = value_list();
  value_map_set(v, "jobs", list);
  if (store_jobs(engine->store, &filter, &jobs, e)) return e->code;
  for (size_t i = 0; i < jobs.count; i++) value_list_add(list, engine_describe_record(engine, &jobs.items[i]));
  job_list_clear(&jobs);
  return ERR_OK;
}

static enum err answer_now(struct engine *engine, const char *op, const struct value *request, struct value *v,
                           struct error *e) {
  char id[STORE_ID_MAX];
  struct value *described = NULL;
  if (!strcmp(op, "hello")) {
    value_set_int(v, "pid", getpid());
    value_set_text(v, "version", STAGEMILL_VERSION);
    return ERR_OK;
  }
  if (!strcmp(op, "jobs")) return answer_jobs(engine, request, v, e);
  if (strcmp(op, "job") != 0) return error_set(e, ERR_USAGE, "unknown request '%.64s'", op);
  if (store_find(engine->store, value_get_text(request, "id", ""), id, e)) return e->code;
  if (engine_describe(engine, id, &described, e)) return e->code;
  value_map_set(v, "job", described);
  return ERR_OK;
}

void door_answer(struct engine *engine, const struct value *request, door_answered *done, void *context) {
  const char *op = value_get_text(request, "op", "");
  struct error e;
  char id[STORE_ID_MAX];
  bool cancel = !strcmp(op, "cancel"), retry = !strcmp(op, "retry");
  if (cancel || retry) {
    if (store_find(engine->store, value_get_text(request, "id", ""), id, &e)) {
      value_auto struct value *v = answer_error(&e);
      done(context, v);
    } else if (cancel) {
      engine_cancel(engine, id, answer_steered, answering_new(done, context, id));
    } else {
      engine_retry(engine, id, value_get_bool(request, "whole", false), answer_steered,
                   answering_new(done, context, id));
    }
    return;
  }
  if (care_answer(engine, op, request, done, context)) return;
  struct value *v = answer_ok();
  if (answer_now(engine, op, request, v, &e)) {
    value_free(&v);
    v = answer_error(&e);
  }
  done(context, v);
  value_free(&v);
}
