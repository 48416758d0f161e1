/* retry.c - another round of a failed or cancelled job: what is not finished, or from one stage on, or with other parameters.
 * What was submitted never changes; edits stand in the job's extra_json, over it. */
#include <stdio.h>
#include <string.h>

#include <stagemill/abi.h>

#include "base/mem.h"
#include "engine/errand.h"
#include "engine/serve.h"

/* ---- the new round -------------------------------------------------------------------------------------------------- */

static const char **reopen_keep(struct engine *engine, const char *job, const struct value *keep,
                                struct stage_list *stages, size_t *count) {
  *count = 0;
  if (!keep) store_stages(engine->store, job, stages, NULL);
  const char **names = mem_array((keep ? keep->count : stages->count) + 1, sizeof *names);
  for (size_t i = 0; keep && i < keep->count; i++) names[(*count)++] = keep->items[i]->text;
  for (size_t i = 0; i < stages->count; i++)
    if (stages->items[i].status == STAGE_FINISHED) names[(*count)++] = stages->items[i].stage;
  return names;
}

void engine_reopen(struct engine *engine, const struct job_record *job, const char *reason, const struct value *keep,
                   store_done *done, void *context) {
  struct stage_list stages = {0};
  char at[32];
  size_t count;
  const char **names = reopen_keep(engine, job->id, keep, &stages, &count);
  value_auto struct value *body = value_map();
  struct buf json = {0};
  value_set_text(body, "reason", reason);
  value_set_int(body, "queuePosition", engine_queue_position(engine, job));
  value_set_text(body, "queuedAt", clock_format(clock_wall(loop_clock(engine->loop)), at));
  value_set_int(body, "round", (int64_t)job->round + 1);
  value_set_int(body, "attempt", 1);
  value_set_int(body, "maxAttempts", job->max_attempts);
  job_tags(body, job);
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct event_draft queued = {"queued", buf_string(&json)};
  store_reopen(engine->store, job->id, names, count, &queued, 1, done, context);
  buf_free(&json);
  free(names);
  stage_list_clear(&stages);
}

/* Nobody here runs it: the reason is stored. */
static void retry_note_rest(struct engine *engine, const char *id) {
  char reason[] = "queued again: the command that ran it goes on with it";
  struct job_record values = {.wait_reason = reason};
  struct change note = {.job = id, .job_fields = JOB_SET_WAIT_REASON, .job_values = &values};
  store_change(engine->store, &note, NULL, NULL);
}

static void retry_stored(void *context, const struct commit *commit) {
  struct errand *n = context;
  struct engine *engine = n->engine;
  struct error e = commit->error;
  e.code = commit->status;
  if (!e.code) engine_tell_commit(engine, commit);
  struct job *old = job_find(engine, n->id);
  if (!e.code && old) job_drop(old);
  bool runs = engine->crew && !engine->closing && (!engine->only_submitted || old);
  if (!e.code && !runs) retry_note_rest(engine, n->id);
  if (!e.code && runs && engine_take_up(engine, n->id, &e)) job_hold(engine, n->id, &e);
  errand_end(n, &e);
}

static void retry_reopen(struct errand *n) {
  struct job_record job = {0};
  struct error e;
  if (store_job(n->engine->store, n->id, &job, &e))
    errand_end(n, &e);
  else
    engine_reopen(n->engine, &job, "retried by an operator", value_get(n->args, "keep"), retry_stored, n);
  job_record_clear(&job);
}

/* ---- from a stage on ------------------------------------------------------------------------------------------------ */

static bool stage_waits_for(const struct pipeline *p, size_t stage, const bool *again) {
  for (size_t i = 0; i < p->stages[stage].after_count; i++)
    if (again[p->stages[stage].after[i]]) return true;
  return false;
}

/* A filter has no end of its own: whoever takes its frames again needs it again. */
static bool filter_feeds(const struct pipeline *p, size_t filter, const bool *again) {
  if (p->stages[filter].type->kind != SM_KIND_FILTER) return false;
  for (size_t i = 0; i < p->stage_count; i++)
    for (size_t b = 0; again[i] && b < p->stages[i].binding_count; b++) {
      const struct binding *binding = &p->stages[i].bindings[b];
      if (binding->kind == PRODUCER_STAGE && binding->stage == filter) return true;
    }
  return false;
}

/* The stage, whatever reads from it or waits for it, and the filters that feed those. */
static void retry_again(const struct pipeline *p, size_t from, bool *again) {
  again[from] = true;
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < p->stage_count; i++) {
      if (again[i] || !(stage_waits_for(p, i, again) || filter_feeds(p, i, again))) continue;
      again[i] = changed = true;
    }
  }
}

static enum err retry_keep(struct errand *n, const struct job *job, struct error *e) {
  const struct pipeline *p = job->pipeline;
  const char *from = value_get_text(n->args, "from", NULL);
  if (!from) return ERR_OK;
  size_t index = pipeline_index(p, from);
  if (index == SIZE_MAX) return error_set(e, ERR_INVALID, "pipeline '%s' has no stage '%.60s'", p->name, from);
  bool *again = mem_array(p->stage_count + 1, sizeof *again);
  struct value *keep = value_list();
  retry_again(p, index, again);
  for (size_t i = 0; i < p->stage_count; i++)
    if (!again[i] && job->stages[i].record.status == STAGE_FINISHED) value_list_add(keep, value_text(p->stages[i].id));
  value_map_set(n->args, "keep", keep);
  free(again);
  return ERR_OK;
}

/* ---- with other parameters --------------------------------------------------------------------------------------------- */

struct repin { /* files that edited parameters name, hashed and copied in the pool */
  struct errand *errand;
  struct value *files, *assets, *extra;
  char *folder;
  struct error e;
};

static void repin_free(struct repin *r) {
  value_free(&r->files);
  value_free(&r->assets);
  value_free(&r->extra);
  free(r->folder);
  free(r);
}

static void repin_drop(void *context) { repin_free(context); } /* the errand is answered when the engine ends */

static void repin_work(void *context) {
  struct repin *r = context;
  assets_pin(r->files, r->folder, r->assets, &r->e);
}

static void retry_edited(void *context, const struct commit *commit) {
  struct errand *n = context;
  struct error e = commit->error;
  e.code = commit->status;
  if (e.code)
    errand_end(n, &e);
  else
    retry_reopen(n);
}

/* The edits first: a round that began without them would do the wrong work. */
static void repin_done(void *context) {
  struct repin *r = context;
  struct errand *n = r->errand;
  struct buf json = {0};
  if (r->e.code) {
    errand_end(n, &r->e);
    repin_free(r);
    return;
  }
  value_map_set(r->extra, "assets", value_copy(r->assets));
  value_json(&json, r->extra, VALUE_JSON_COMPACT);
  struct job_record values = {.extra_json = json.data};
  struct change change = {.job = n->id, .job_fields = JOB_SET_EXTRA, .job_values = &values};
  store_change(n->engine->store, &change, retry_edited, n);
  buf_free(&json);
  repin_free(r);
}

static void repin_forget_known(struct repin *r, const struct job *job) {
  const struct value *known = value_get(job->spec, "assets");
  for (size_t i = 0; known && i < known->count; i++) extra_drop(r->files, known->keys[i]);
}

static enum err retry_edit(struct errand *n, struct job *job, struct repin *r, struct error *e) {
  const struct value *edits = value_get(n->args, "params");
  value_auto struct value *params = NULL;
  value_auto struct value *first = value_map();
  value_map_set(first, "params", job_given(job->spec, job->extra));
  value_auto struct value *over = value_map();
  value_map_set(over, "params", value_copy(edits));
  value_auto struct value *given = job_given(first, over), *all_edits = job_given(job->extra, over);
  if (pipeline_params(job->pipeline, given, value_get_text(job->spec, "folder", "/"), &params, e) ||
      pipeline_settings_fit(job->pipeline, params, e) || assets_find(job->pipeline, params, r->files, e))
    return e->code == ERR_USAGE ? e->code = ERR_INVALID : e->code;
  repin_forget_known(r, job);
  r->extra = value_copy(job->extra);
  value_map_set(r->extra, "params", value_copy(all_edits));
  return ERR_OK;
}

static void retry_begin_edit(struct errand *n, struct job *job) {
  struct repin *r = mem_alloc(sizeof *r);
  struct error e = {0};
  r->errand = n;
  r->files = value_map();
  r->assets = value_map();
  r->folder = mem_format("%s/assets", n->engine->state_folder);
  if (retry_edit(n, job, r, &e)) {
    repin_free(r);
    errand_end(n, &e);
  } else {
    work_submit(n->engine, repin_work, repin_done, repin_drop, r);
  }
}

/* ---- the verb ------------------------------------------------------------------------------------------------------------ */

static bool retry_may(struct errand *n, const struct job_record *job) {
  if (job->status == JOB_FAILED || job->status == JOB_CANCELLED) return true;
  errand_refuse(n, ERR_CONFLICT, "job %s is %s: only a failed or cancelled one can be tried again", n->id,
                job_status_word(job->status));
  return false;
}

static void retry_begin_planned(struct errand *n) {
  struct job *job = NULL;
  struct error e = {0};
  if (!n->engine->catalogue) {
    errand_refuse(n, ERR_UNSUPPORTED, "a stage or parameters can be named while the owner of the state folder runs: start "
                                      "`stagemill serve`, or retry job %s as it is", n->id);
    return;
  }
  if (job_look(n->engine, n->id, &job, &e)) {
    errand_end(n, &e);
    return;
  }
  if (!retry_may(n, &job->record)) {
    job_put_down(&job);
    return;
  }
  if (retry_keep(n, job, &e))
    errand_end(n, &e);
  else if (value_get(n->args, "params"))
    retry_begin_edit(n, job);
  else
    retry_reopen(n);
  job_put_down(&job);
}

static void retry_begin(struct errand *n) {
  if (value_get(n->args, "from") || value_get(n->args, "params"))
    retry_begin_planned(n);
  else
    retry_reopen(n);
}

void engine_retry_with(struct engine *engine, const char *job, const struct retry_options *options, engine_done *done,
                       void *context) {
  struct value *args = value_map();
  const struct value *params = options->params;
  if (options->whole)
    value_map_set(args, "keep", value_list());
  else if (options->from_stage)
    value_set_text(args, "from", options->from_stage);
  if (params && params->type == VALUE_MAP && params->count) value_map_set(args, "params", value_copy(params));
  errand_start(engine, job, args, retry_begin, done, context);
}

void engine_retry(struct engine *engine, const char *job, bool whole, engine_done *done, void *context) {
  engine_retry_with(engine, job, &(struct retry_options){.whole = whole}, done, context);
}
