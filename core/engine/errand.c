#include "engine/errand.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "engine/serve.h"

static void errands_go_on(struct engine *engine, const char *id) {
  for (struct errand *n = engine->errands; n; n = n->next) {
    if (strcmp(n->id, id) != 0) continue;
    if (n->begun) return;
    n->begun = true;
    n->begin(n);
    return;
  }
}

void errand_start(struct engine *engine, const char *id, struct value *moved_args, errand_begin *begin, engine_done *done,
                  void *context) {
  struct errand *n = mem_alloc(sizeof *n), **at = &engine->errands;
  *n = (struct errand){NULL, engine, mem_text(id), moved_args, begin, done, context, false};
  while (*at) at = &(*at)->next;
  *at = n;
  errands_go_on(engine, id);
}

static void errand_free(struct errand *n) {
  value_free(&n->args);
  free(n->id);
  free(n);
}

void errand_end(struct errand *n, const struct error *e) {
  struct engine *engine = n->engine;
  mem_auto char *id = mem_text(n->id);
  for (struct errand **at = &engine->errands; *at; at = &(*at)->next)
    if (*at == n) {
      *at = n->next;
      break;
    }
  if (n->done) n->done(n->context, e);
  errand_free(n);
  if (!engine->closing) errands_go_on(engine, id);
}

void errand_refuse(struct errand *n, enum err code, const char *format, ...) {
  struct error e;
  char text[sizeof e.message];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  error_set(&e, code, "%s", text);
  errand_end(n, &e);
}

static void errand_answer(struct errand *n, const struct commit *commit) {
  struct error e = commit->error;
  e.code = commit->status;
  errand_end(n, &e);
}

void errand_stored(void *context, const struct commit *commit) {
  struct errand *n = context;
  struct engine *engine = n->engine;
  if (!commit->status) engine_tell_commit(engine, commit);
  struct job *job = job_find(engine, n->id);
  if (job && !job->doomed && !commit->status) /* loaded meanwhile, by somebody who cancels it, say */
    job_reread(job);
  else
    serve_place_id(engine, n->id);
  errand_answer(n, commit);
}

void errand_drafted(struct job *job, const struct commit *commit, void *context) {
  (void)job;
  errand_answer(context, commit);
}

bool errand_target(struct errand *n, struct job **job, struct job_record *record) {
  struct error e;
  *job = job_find(n->engine, n->id);
  if (*job && (*job)->doomed) *job = NULL;
  if (*job && !job_status_is_terminal((*job)->record.status)) return true;
  *job = NULL;
  if (store_job(n->engine->store, n->id, record, &e)) {
    errand_end(n, &e);
    return false;
  }
  if (!job_status_is_terminal(record->status)) return true;
  errand_refuse(n, ERR_CONFLICT, "job %s is already %s", n->id, job_status_word(record->status));
  job_record_clear(record);
  return false;
}

void errands_free(struct engine *engine) {
  struct error e;
  error_set(&e, ERR_CANCELLED, "the owner of the state folder ends: ask again");
  while (engine->errands) {
    struct errand *n = engine->errands;
    engine->errands = n->next;
    if (n->done) n->done(n->context, &e);
    errand_free(n);
  }
}
