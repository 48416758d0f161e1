#include "engine/draft.h"
#include "engine/serve.h"
#include "events/envelope.h"

#include <math.h>
#include <stagemill/abi.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

struct job *job_find(struct engine *engine, const char *id) {
  for (struct job *job = engine->jobs; job; job = job->next)
    if (strcmp(job->id, id) == 0) return job;
  return NULL;
}

char *job_folder(const struct job *job, const char *below) {
  return mem_format("%s/jobs/%s/%s", job->engine->state_folder, job->id, below);
}

char *attempt_folder(const struct job *job, uint64_t fence) {
  if (!fence) return mem_format("%s/.stagemill/%s", job->output_folder, job->id);
  return mem_format("%s/.stagemill/%s/%llu", job->output_folder, job->id, (unsigned long long)fence);
}

char *keep_folder(const struct job *job, size_t stage) {
  return mem_format("%s/.stagemill/%s/keep/%s", job->output_folder, job->id, job->pipeline->stages[stage].id);
}

bool job_idle(const struct job *job) {
  if (job->trials || job->committing) return false;
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.status == STAGE_PUBLISHING) return false;
  return true;
}

/* What waits for space is safe to leave: the next owner finds the attempt in the store and takes it up from there. */
bool job_quiet(const struct job *job) {
  for (const struct trial *trial = job->trials; trial; trial = trial->next)
    if (trial->attempt) return false;
  return job->committing == job->parked && !job->step_posted;
}

/* ---- what keeps a job from going on -------------------------------------------------------------------------------- */

void job_trouble(struct job *job, const char *what) {
  struct engine *engine = job->engine;
  snprintf(job->trouble, sizeof job->trouble, "%s", what ? what : "");
  if (!what) return;
  log_warning("job %s: %s", job->id, what);
  value_auto struct value *v = value_map();
  value_set_number(v, "pct", job->record.pct_ppm / 1e4);
  value_set_text(v, "message", what);
  job_tags(v, &job->record);
  value_auto struct value *event =
      event_unstored("progress", job->id, job->record.last_seq, clock_wall(loop_clock(engine->loop)), v);
  engine_tell(engine, &job->record, 0, event);
}

static void job_held(void *context, const struct commit *commit) {
  if (!commit->status) engine_tell_commit(context, commit);
}

void job_hold(struct engine *engine, const char *id, const struct error *why) {
  char reason[512];
  snprintf(reason, sizeof reason, "%s", why->message);
  log_scrub(reason);
  struct job_record values = {.status = JOB_HELD, .wait_reason = reason}, job = {0};
  struct buf json = {0};
  log_error("job %s is held: %s", id, why->message);
  if (store_job(engine->store, id, &job, NULL) || job_status_is_terminal(job.status)) {
    job_record_clear(&job);
    return;
  }
  value_auto struct value *body = job_state_body(&job, JOB_HELD, reason);
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct event_draft event = {"state", json.data};
  struct change change = {.job = id, .job_fields = JOB_SET_STATUS | JOB_SET_WAIT_REASON, .job_values = &values,
                          .events = &event, .event_count = job.status != JOB_HELD};
  store_change(engine->store, &change, job_held, engine);
  buf_free(&json);
  job_record_clear(&job);
}

static void job_free(struct job *job) {
  draft_free_all(job);
  size_t count = job->pipeline ? job->pipeline->stage_count : 0;
  for (size_t i = 0; job->stages && i < count; i++) {
    stage_record_clear(&job->stages[i].record);
    value_free(&job->stages[i].results);
    manifest_free(&job->stages[i].manifest);
  }
  free(job->stages);
  loop_cancel(job->engine->loop, &job->wake);
  loop_cancel(job->engine->loop, &job->deadline);
  job_record_clear(&job->record);
  pipeline_free(&job->pipeline);
  value_free(&job->spec);
  value_free(&job->params);
  value_free(&job->facts);
  value_free(&job->extra);
  free(job->output_folder);
  free(job->input);
  free(job->group);
  free(job->id);
  free(job);
}

static void job_unlink(struct job *job);

void job_drop(struct job *job) {
  job->doomed = true;
  if (job->trials || job->committing || job->step_posted) return;
  struct engine *engine = job->engine;
  job_unlink(job);
  job_free(job);
  serve_claim_soon(engine); /* there may be room for another one */
}

/* The pipeline as it was submitted: later edits of the file do not reach a job that is under way. */
static enum err job_load_pipeline(struct job *job, struct error *e) {
  const char *digest = value_get_text(job->spec, "pinned", "");
  mem_auto char *path = mem_format("%s/pinned/%s.yaml", job->engine->state_folder, digest);
  struct buf text = {0};
  if (fs_read_file(path, (size_t)16 << 20, &text, e)) return e->code;
  struct report *report = report_new();
  struct stage_set *stages = job->engine->catalogue ? catalogue_stages(job->engine->catalogue) : NULL;
  enum err err = pipeline_parse(buf_string(&text), text.size, job->record.pipeline, NULL, stages, report,
                                &job->pipeline, e);
  if (err && report_errors(report))
    error_set(e, ERR_INVALID, "the pinned pipeline of job %s no longer checks: %s", job->id,
              report_at(report, 0)->message);
  report_free(&report);
  buf_free(&text);
  return err;
}

/* JSON knows seconds and numbers; expressions want what the stage's table promises. */
static void job_retype_results(const struct stage_type *type, struct value *results) {
  for (size_t i = 0; results->type == VALUE_MAP && i < type->result_count; i++) {
    const struct result_type *row = &type->results[i];
    const struct value *stored = value_get(results, row->key);
    if (value_is_null(stored)) continue;
    double number = value_get_number(results, row->key, 0);
    if (row->type == SM_RESULT_TYPE_DURATION)
      value_map_set(results, row->key, value_of(VALUE_DURATION, (int64_t)llround(number * 1e6), 0));
    else if (row->type == SM_RESULT_TYPE_NUMBER && stored->type == VALUE_INT)
      value_map_set(results, row->key, value_number(number));
  }
}

/* Without its manifest nobody knows what a stage made: what was published is refused, what was about to be is redone. */
static enum err job_load_manifest(struct job *job, struct job_stage *stage, struct error *e) {
  const struct stage_record *record = &stage->record;
  mem_auto char *below = mem_format("manifests/%s.json", record->stage);
  mem_auto char *path = job_folder(job, below);
  if (manifest_read(path, record->manifest_sha256, &stage->manifest, e) == ERR_OK) return ERR_OK;
  log_error("job %s: %s", job->id, e->message);
  if (record->status != STAGE_FINISHED) return ERR_OK;
  error_prefix(e, "what stage '%s' made is not known any more, `--fresh` does the job again", record->stage);
  return e->code;
}

static enum err job_load_stage(struct job *job, struct stage_record *record, struct error *e) {
  size_t index = pipeline_index(job->pipeline, record->stage);
  if (index == SIZE_MAX) return ERR_OK;
  struct job_stage *stage = &job->stages[index];
  stage->record = *record; /* moved */
  *record = (struct stage_record){0};
  record = &stage->record;
  if (record->result_json)
    value_from_json(record->result_json, strlen(record->result_json), &stage->results, NULL);
  if (stage->results) job_retype_results(job->pipeline->stages[index].type, stage->results);
  job_stage_due(job, stage);
  return record->manifest_sha256 ? job_load_manifest(job, stage, e) : ERR_OK;
}

static enum err job_load_stages(struct job *job, struct error *e) {
  size_t count = job->pipeline->stage_count;
  job->stages = mem_array(count + 1, sizeof *job->stages);
  double *weights = mem_array(count + 1, sizeof *weights);
  plan_weights(job->pipeline, weights);
  for (size_t i = 0; i < count; i++) {
    job->stages[i].weight = weights[i];
    job->stages[i].fraction = -1;
  }
  free(weights);
  struct stage_list list = {0};
  if (store_stages(job->engine->store, job->id, &list, e)) return e->code;
  enum err err = ERR_OK;
  for (size_t i = 0; i < list.count && !err; i++) err = job_load_stage(job, &list.items[i], e);
  stage_list_clear(&list);
  if (err) return err;
  for (size_t i = 0; i < count; i++)
    if (!job->stages[i].record.stage)
      return error_set(e, ERR_CORRUPT, "job %s has no record of its stage '%s'", job->id, job->pipeline->stages[i].id);
  return ERR_OK;
}

static struct value *extra_read(const char *json) {
  struct value *extra = finish_json(json);
  if (extra->type == VALUE_MAP) return extra;
  value_free(&extra);
  return value_map();
}

void extra_drop(struct value *extra, const char *key) {
  for (size_t i = 0; i < extra->count; i++) {
    if (strcmp(extra->keys[i], key) != 0) continue;
    free(extra->keys[i]);
    value_free(&extra->items[i]);
    extra->count--;
    memmove(&extra->keys[i], &extra->keys[i + 1], (extra->count - i) * sizeof *extra->keys);
    memmove(&extra->items[i], &extra->items[i + 1], (extra->count - i) * sizeof *extra->items);
    return;
  }
}

struct value *job_given(const struct value *spec, const struct value *extra) {
  const struct value *first = value_get(spec, "params"), *edits = value_get(extra, "params");
  struct value *given = first && first->type == VALUE_MAP ? value_copy(first) : value_map();
  for (size_t i = 0; edits && edits->type == VALUE_MAP && i < edits->count; i++)
    value_map_set(given, edits->keys[i], value_copy(edits->items[i]));
  return given;
}

static enum err job_load_spec(struct job *job, struct error *e) {
  const char *json = job->record.spec_json ? job->record.spec_json : "";
  if (value_from_json(json, strlen(json), &job->spec, e)) return e->code;
  job->output_folder = mem_text(value_get_text(job->spec, "output", "/nonexistent"));
  const struct value *input = value_get(job->spec, "input");
  job->input = mem_text(value_get_text(input, "path", value_get_text(input, "url", NULL)));
  job->extra = extra_read(job->record.extra_json);
  job->told = job->record.status;
  job->facts = value_map();
  value_set_text(job->facts, "id", job->id);
  value_set_text(job->facts, "input", job->input);
  value_set_text(job->facts, "name", job->record.title);
  return ERR_OK;
}

static enum err job_load_group(struct job *job, struct error *e);

static enum err job_load_all(struct job *job, struct error *e) {
  if (store_job(job->engine->store, job->id, &job->record, e)) return e->code;
  if (job_load_spec(job, e)) return e->code;
  if (job_load_pipeline(job, e)) return e->code;
  value_auto struct value *given = job_given(job->spec, job->extra);
  if (pipeline_params(job->pipeline, given, value_get_text(job->spec, "folder", "/"), &job->params, e)) return e->code;
  if (job_load_stages(job, e)) return e->code;
  return job_load_group(job, e);
}

/* Highest priority first, then oldest (ids sort by time): the order in which jobs are offered a free place. */
static void job_link(struct job *job) {
  struct job **at = &job->engine->jobs;
  while (*at && ((*at)->record.priority > job->record.priority ||
                 ((*at)->record.priority == job->record.priority && strcmp((*at)->id, job->id) < 0)))
    at = &(*at)->next;
  job->next = *at;
  *at = job;
}

static void job_unlink(struct job *job) {
  for (struct job **at = &job->engine->jobs; *at; at = &(*at)->next)
    if (*at == job) {
      *at = job->next;
      return;
    }
}

void job_relink(struct job *job) {
  job_unlink(job);
  job_link(job);
}

/* `concurrency: {group: ...}`: of the jobs of one group, one at a time. */
static enum err job_load_group(struct job *job, struct error *e) {
  if (!job->pipeline->concurrency_group) return ERR_OK;
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  struct scope scope = plan_scope(&state);
  struct value *group = NULL;
  enum err err = template_eval(job->pipeline->concurrency_group, &scope, &group, e);
  if (!err) job->group = mem_text(group->type == VALUE_TEXT ? group->text : NULL);
  job->group_digest = line_digest(job->group);
  value_free(&group);
  free(steps);
  return err;
}

enum err job_open(struct engine *engine, const char *id, struct job **job, struct error *e) {
  *job = job_find(engine, id);
  if (*job && !(*job)->doomed) return ERR_OK;
  if (job_look(engine, id, job, e)) return e->code;
  job_link(*job);
  serve_leave(engine, id);
  return ERR_OK;
}

enum err job_look(struct engine *engine, const char *id, struct job **job, struct error *e) {
  struct job *fresh = mem_alloc(sizeof *fresh);
  *job = NULL;
  fresh->engine = engine;
  fresh->id = mem_text(id);
  if (job_load_all(fresh, e)) {
    job_free(fresh);
    return e->code;
  }
  *job = fresh;
  return ERR_OK;
}

void job_put_down(struct job **job) {
  if (*job) job_free(*job);
  *job = NULL;
}

void job_reread(struct job *job) {
  struct job_record now = {0};
  if (store_job(job->engine->store, job->id, &now, NULL)) return;
  value_free(&job->extra);
  job->extra = extra_read(now.extra_json);
  job->record.status = job->told = now.status;
  job->record.priority = now.priority;
  if (now.last_seq > job->record.last_seq) job->record.last_seq = now.last_seq;
  job_record_clear(&now);
  job_relink(job);
  job_wake(job);
}

/* Delays run on the boot clock. Only over a restart the wall clock says what is left, never more than was configured. */
void job_stage_due(const struct job *job, struct job_stage *stage) {
  const struct clock *clock = loop_clock(job->engine->loop);
  if (stage->record.status != STAGE_DELAYED) return;
  int64_t left_us = stage->record.not_before_us - clock_wall(clock);
  if (left_us > stage->record.delay_us) left_us = stage->record.delay_us;
  stage->due_boot_us = clock_boot(clock) + (left_us > 0 ? left_us : 0);
}

static enum step_state job_step_state(const struct job_stage *stage, int64_t now_us) {
  switch (stage->record.status) {
  case STAGE_WAITING: return STEP_WAITING;
  case STAGE_RUNNING:
  case STAGE_PUBLISHING: return STEP_RUNNING;
  case STAGE_DELAYED: return stage->due_boot_us <= now_us ? STEP_WAITING : STEP_DELAYED;
  case STAGE_HELD: return STEP_DELAYED; /* due when somebody says so */
  case STAGE_FINISHED: return STEP_FINISHED;
  case STAGE_SKIPPED: return STEP_SKIPPED;
  case STAGE_FAILED: return STEP_FAILED;
  case STAGE_SOFT_FAILED: return STEP_SOFT_FAILED;
  case STAGE_CANCELLED: return STEP_CANCELLED;
  }
  return STEP_WAITING;
}

struct plan_state job_plan_state(const struct job *job, struct step *steps) {
  int64_t now_us = clock_boot(loop_clock(job->engine->loop));
  for (size_t i = 0; i < job->pipeline->stage_count; i++) {
    const struct job_stage *stage = &job->stages[i];
    steps[i] = (struct step){job_step_state(stage, now_us), stage->results, stage->record.suspect, stage->record.apart};
    if (stage->record.status == STAGE_SOFT_FAILED && job->pipeline->stages[i].fallback)
      steps[i].results = job->pipeline->stages[i].fallback;
  }
  return (struct plan_state){.pipeline = job->pipeline, .steps = steps, .params = job->params, .job = job->facts,
                             .secret = secret_lookup, .secret_context = (void *)(uintptr_t)job,
                             .cancelled = job->record.cancel_requested};
}
