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

/* ---- steering -------------------------------------------------------------------------------------------------------- */

struct steering { /* one request, its job found */
  struct engine *engine;
  const struct value *request;
  const char *id; /* whole; of pause and resume also "queue" or "pipeline:NAME" */
  struct answering *answering;
};

static enum err steer_cancel(struct steering *s, struct error *e) {
  (void)e;
  engine_cancel(s->engine, s->id, answer_steered, s->answering);
  return ERR_OK;
}

static enum err steer_retry(struct steering *s, struct error *e) {
  struct retry_options options = {.whole = value_get_bool(s->request, "whole", false),
                                  .from_stage = value_get_text(s->request, "from", NULL),
                                  .params = value_get(s->request, "params")};
  if (options.whole && options.from_stage)
    return error_set(e, ERR_USAGE, "`whole` and `from` exclude each other: a job is done again as a whole, or from a stage on");
  engine_retry_with(s->engine, s->id, &options, answer_steered, s->answering);
  return ERR_OK;
}

static enum err steer_pause(struct steering *s, struct error *e) {
  const char *until = value_get_text(s->request, "until", NULL);
  int64_t until_us = 0;
  if (until && !clock_parse(until, &until_us))
    return error_set(e, ERR_USAGE, "`until` is '%.40s': write a time such as 2026-01-31T08:00:00Z", until);
  if (until && until_us <= clock_wall(loop_clock(s->engine->loop)))
    return error_set(e, ERR_INVALID, "`until` lies in the past: %s", until);
  engine_pause(s->engine, s->id, until_us, value_get_text(s->request, "by", NULL), answer_steered, s->answering);
  return ERR_OK;
}

static enum err steer_resume(struct steering *s, struct error *e) {
  (void)e;
  engine_unpause(s->engine, s->id, answer_steered, s->answering);
  return ERR_OK;
}

static enum err steer_priority(struct steering *s, struct error *e) {
  static const struct {
    const char *word;
    int priority;
  } words[] = {{"high", 75}, {"normal", 50}, {"low", 25}};
  const char *word = value_get_text(s->request, "priority", "");
  int64_t priority = value_get_int(s->request, "priority", -1);
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (!strcmp(words[i].word, word)) priority = words[i].priority;
  if (priority < 0 || priority > 100)
    return error_set(e, ERR_USAGE, "a priority is high, normal, low or a number from 0 to 100");
  engine_prioritize(s->engine, s->id, (int32_t)priority, answer_steered, s->answering);
  return ERR_OK;
}

/* Of an operator at the door: what was published stays. */
static enum err steer_delete(struct steering *s, struct error *e) {
  (void)e;
  engine_delete(s->engine, s->id, NULL, answer_steered, s->answering);
  return ERR_OK;
}

static enum err steer_release(struct steering *s, struct error *e) {
  static const char *const same[] = {"values", "comment", "by"};
  value_auto struct value *decision = value_map();
  const char *stage = value_get_text(s->request, "stage", NULL);
  if (!stage) return error_set(e, ERR_USAGE, "`stage` is missing: which stage is it about?");
  value_set_text(decision, "verdict", value_get_text(s->request, "decision", "released"));
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    if (value_get(s->request, same[i])) value_map_set(decision, same[i], value_copy(value_get(s->request, same[i])));
  engine_release(s->engine, s->id, stage, decision, answer_steered, s->answering);
  return ERR_OK;
}

static const struct {
  const char *op;
  enum err (*steer)(struct steering *steering, struct error *e); /* ERR_OK: it will be answered */
} steers[] = {{"cancel", steer_cancel}, {"retry", steer_retry},   {"pause", steer_pause},    {"resume", steer_resume},
              {"priority", steer_priority}, {"delete", steer_delete}, {"release", steer_release}};

static enum err answer_steer(struct engine *engine, size_t which, const struct value *request, door_answered *done,
                             void *context, struct error *e) {
  char id[STORE_ID_MAX];
  const char *what = value_get_text(request, "what", NULL);
  bool wide = what && (!strcmp(what, "queue") || !strncmp(what, "pipeline:", 9)) &&
              (steers[which].steer == steer_pause || steers[which].steer == steer_resume);
  if (!wide && store_find(engine->store, value_get_text(request, "id", ""), id, e)) return e->code;
  struct steering s = {engine, request, wide ? what : id, answering_new(done, context, wide ? "" : id)};
  if (steers[which].steer(&s, e) == ERR_OK) return ERR_OK;
  free(s.answering);
  return e->code;
}

void door_answer(struct engine *engine, const struct value *request, door_answered *done, void *context) {
  const char *op = value_get_text(request, "op", "");
  struct error e;
  for (size_t i = 0; i < sizeof steers / sizeof *steers; i++) {
    if (strcmp(op, steers[i].op) != 0) continue;
    if (answer_steer(engine, i, request, done, context, &e)) {
      value_auto struct value *v = answer_error(&e);
      done(context, v);
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
