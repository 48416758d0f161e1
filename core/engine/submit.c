/* submit.c - from a checked pipeline, an input and parameters to a durable job: identity, pinned copies, the record. */
#include <errno.h>
#include <fcntl.h>
#include <stagemill/abi.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/serve.h"

enum { ASSET_BYTES_MAX = 256 << 20 };

/* Everything a submission boils down to before it is stored. */
struct pinned {
  struct value *params; /* typed */
  struct value *assets; /* path -> digest */
  struct value *input;  /* map: path, inode, device, bytes, mtimeUs; or url; or NULL */
  char identity[65];
};

static void pinned_clear(struct pinned *p) {
  value_free(&p->params);
  value_free(&p->assets);
  value_free(&p->input);
}

/* A submission on its way: owns all it needs, for it goes through the pool and outlives the caller's. */
struct order {
  struct engine *engine;
  engine_submitted *done;
  void *context;
  enum submit_outcome outcome;
  char *pipeline, *digest, *pinned_text, *file; /* of the pipeline */
  char **stages;
  size_t stage_count;
  uint32_t max_attempts;
  int priority;
  bool reads_source, fresh;
  char *input, *output_folder, *given_folder, *owner, *asset, *batch, *title, *source, *salt, *assets_folder;
  char *id;  /* of the job: the new one's, or of the one that is reopened */
  bool cancels_group;
  struct value *given, *extra;
  struct value *files; /* assets to pin: map of path -> null */
  struct pinned pinned;
  struct error e;
};

/* ---- input --------------------------------------------------------------------------------------------------------- */

static enum err input_file(const char *given, struct value *input, struct error *e) {
  mem_auto char *path = fs_absolute(NULL, given);
  struct stat st;
  if (stat(path, &st) != 0) return error_errno(e, errno, "cannot open the input %s", path);
  if (!S_ISREG(st.st_mode)) return error_set(e, ERR_INVALID, "the input %s is not a regular file", path);
  if (access(path, R_OK) != 0) return error_errno(e, errno, "cannot read the input %s", path);
  value_set_text(input, "path", path);
  value_set_int(input, "device", (int64_t)st.st_dev);
  value_set_int(input, "inode", (int64_t)st.st_ino);
  value_set_int(input, "bytes", (int64_t)st.st_size);
  value_set_int(input, "mtimeUs", (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000);
  return ERR_OK;
}

static bool input_is_url(const char *input) { return strstr(input, "://") != NULL; }

static enum err pin_input(const struct order *o, struct pinned *pinned, struct error *e) {
  if (!o->input) {
    if (o->reads_source)
      return error_set(e, ERR_USAGE, "pipeline '%s' reads an input: name a file behind the pipeline", o->pipeline);
    return ERR_OK;
  }
  pinned->input = value_map();
  if (!input_is_url(o->input)) return input_file(o->input, pinned->input, e);
  if (o->reads_source)
    return error_set(e, ERR_USAGE,
                     "the input is a URL, but stages of pipeline '%s' read the input as a file: begin the pipeline with "
                     "a stage that downloads ${{ job.input }}",
                     o->pipeline);
  value_set_text(pinned->input, "url", o->input);
  return ERR_OK;
}

/* ---- assets -------------------------------------------------------------------------------------------------------- */

static enum err asset_store(const char *path, int fd, const char *digest, const char *folder, struct error *e) {
  const char *dot = strrchr(fs_base_name(path), '.');
  mem_auto char *copy = mem_format("%s/%s%s", folder, digest, dot ? dot : "");
  if (access(copy, F_OK) == 0) return ERR_OK;
  if (fs_make_folders(folder, 0755, e)) return e->code;
  struct buf content = {0};
  lseek(fd, 0, SEEK_SET);
  enum err err = fs_read_fd(fd, ASSET_BYTES_MAX, &content, e);
  char actual[65];
  if (!err) digest_of(content.data ? content.data : "", content.size, actual);
  if (!err && strcmp(actual, digest) != 0)
    err = error_set(e, ERR_CONFLICT, "the file %s was changed while the job was submitted: try again", path);
  if (!err) err = fs_write_durably(copy, content.data ? content.data : "", content.size, 0644, e);
  buf_free(&content);
  return err;
}

static enum err asset_found(void *context, const char *path, struct error *e) {
  (void)e;
  value_map_set(context, path, value_null());
  return ERR_OK;
}

/* copy_to NULL: only hashed */
static enum err asset_pin(const char *path, const char *copy_to, struct value *assets, struct error *e) {
  char digest[65];
  int64_t size;
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return error_errno(e, errno, "cannot open the file %s that the pipeline names", path);
  if (digest_of_fd(fd, digest, &size, e)) return e->code;
  if (copy_to && asset_store(path, fd, digest, copy_to, e)) return e->code;
  value_set_text(assets, path, digest);
  return ERR_OK;
}

enum err assets_pin(const struct value *files, const char *copy_to, struct value *assets, struct error *e) {
  for (size_t i = 0; i < files->count; i++)
    if (asset_pin(files->keys[i], copy_to, assets, e)) return e->code;
  return ERR_OK;
}

enum err assets_find(const struct pipeline *p, const struct value *params, struct value *files, struct error *e) {
  return pipeline_assets(p, params, asset_found, files, e);
}

/* ---- identity ------------------------------------------------------------------------------------------------------- */

static void pin_identity(const struct order *o, struct pinned *pinned) {
  value_auto struct value *all = value_map();
  struct buf text = {0};
  value_set_text(all, "pipeline", o->digest);
  if (o->source)
    value_set_text(all, "source", o->source);
  else
    value_set_text(all, "input", value_get_text(pinned->input, "path", value_get_text(pinned->input, "url", NULL)));
  value_map_set(all, "params", value_copy(pinned->params));
  value_map_set(all, "assets", value_copy(pinned->assets));
  if (!o->source) value_set_text(all, "output", o->output_folder);
  if (o->salt) value_set_text(all, "salt", o->salt);
  value_json(&text, all, VALUE_JSON_COMPACT | VALUE_JSON_REVEAL);
  digest_of(buf_string(&text), text.size, pinned->identity);
  buf_free(&text);
}

/* What needs no disk: on the loop. */
static enum err pin_words(const struct submission *s, struct order *o, struct error *e) {
  o->files = value_map();
  o->pinned.assets = value_map();
  if (pipeline_params(s->pipeline, s->given, o->given_folder, &o->pinned.params, e)) return e->code;
  return assets_find(s->pipeline, o->pinned.params, o->files, e);
}

/* Which jobs it may not run beside is known before it is in memory. */
static enum err pin_group(const struct submission *s, struct order *o, struct error *e) {
  const struct pipeline *p = s->pipeline;
  if (!p->concurrency_group) return ERR_OK;
  value_auto struct value *facts = value_map(), *group = NULL;
  mem_auto char *path = s->input && !input_is_url(s->input) ? fs_absolute(NULL, s->input) : mem_text(s->input);
  struct step *steps = mem_array(p->stage_count + 1, sizeof *steps);
  for (size_t i = 0; i < p->stage_count; i++) steps[i].state = STEP_WAITING;
  value_set_text(facts, "id", o->id);
  value_set_text(facts, "input", path);
  value_set_text(facts, "name", o->title);
  struct plan_state state = {.pipeline = p, .steps = steps, .params = o->pinned.params, .job = facts};
  struct scope scope = plan_scope(&state);
  enum err err = template_eval(p->concurrency_group, &scope, &group, e);
  if (!err && group->type == VALUE_TEXT) value_set_text(o->extra, "group", group->text);
  o->cancels_group = p->cancel_in_progress;
  free(steps);
  return err;
}

/* What does: in the pool. */
static enum err pin_files(struct order *o, struct error *e) {
  if (pin_input(o, &o->pinned, e) || assets_pin(o->files, o->assets_folder, o->pinned.assets, e)) return e->code;
  pin_identity(o, &o->pinned);
  return ERR_OK;
}

static uint32_t order_max_attempts(const struct pipeline *p) {
  uint32_t most = 1;
  for (size_t i = 0; i < p->stage_count; i++)
    if (p->stages[i].retry.attempts > most) most = p->stages[i].retry.attempts;
  return most;
}

static struct order *order_new(struct engine *engine, const struct submission *s) {
  const struct pipeline *p = s->pipeline;
  struct order *o = mem_alloc(sizeof *o);
  o->engine = engine;
  o->outcome = SUBMIT_NEW;
  o->pipeline = mem_text(p->name);
  o->digest = mem_text(p->digest);
  o->pinned_text = mem_text(p->pinned);
  o->file = mem_text(p->file);
  o->stages = mem_array(p->stage_count + 1, sizeof *o->stages);
  for (; o->stage_count < p->stage_count; o->stage_count++) o->stages[o->stage_count] = mem_text(p->stages[o->stage_count].id);
  o->max_attempts = order_max_attempts(p);
  o->priority = s->priority >= 0 && s->priority <= 100 ? s->priority : p->priority;
  o->reads_source = pipeline_reads_input(p);
  o->fresh = s->fresh;
  o->input = mem_text(s->input);
  o->output_folder = mem_text(s->output_folder);
  o->given_folder = fs_absolute(NULL, s->given_folder ? s->given_folder : ".");
  o->owner = mem_text(s->owner);
  o->asset = mem_text(s->asset);
  o->batch = mem_text(s->batch);
  o->title = mem_text(s->title ? s->title : s->input ? fs_base_name(s->input) : p->name);
  o->source = mem_text(s->source);
  o->salt = mem_text(s->salt);
  o->id = mem_text(s->id);
  o->given = s->given ? value_copy(s->given) : value_map();
  o->extra = s->extra && s->extra->type == VALUE_MAP ? value_copy(s->extra) : value_map();
  if (p->notify) value_map_set(o->extra, "pipelineNotify", value_copy(p->notify));
  return o;
}

static void order_free(struct order *o) {
  char *const texts[] = {o->pipeline, o->digest, o->pinned_text, o->file, o->input, o->output_folder, o->given_folder,
                         o->owner, o->asset, o->batch, o->title, o->source, o->salt, o->assets_folder, o->id};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
  for (size_t i = 0; i < o->stage_count; i++) free(o->stages[i]);
  free(o->stages);
  value_free(&o->given);
  value_free(&o->extra);
  value_free(&o->files);
  pinned_clear(&o->pinned);
  free(o);
}

enum err submission_identity(const struct submission *s, char identity[65], struct error *e) {
  struct order *o = order_new(NULL, s);
  enum err err = pin_words(s, o, e);
  if (!err) err = pin_files(o, e);
  memcpy(identity, o->pinned.identity, sizeof o->pinned.identity);
  order_free(o);
  return err;
}

/* The input is what it was when the job began, or resuming would mix two sources in one result. */
static enum err input_unchanged(const struct job_record *job, const struct pinned *pinned, struct error *e) {
  value_auto struct value *spec = NULL;
  const char *json = job->spec_json ? job->spec_json : "";
  if (value_from_json(json, strlen(json), &spec, e)) return e->code;
  static const char *const keys[] = {"inode", "bytes", "mtimeUs"};
  const struct value *then = value_get(spec, "input");
  for (size_t i = 0; then && i < sizeof keys / sizeof *keys; i++)
    if (value_get_int(then, keys[i], 0) != value_get_int(pinned->input, keys[i], 0))
      return error_set(e, ERR_CONFLICT,
                       "the input %s has changed since job %s began with it: use --fresh to begin again",
                       value_get_text(then, "path", "?"), job->id);
  return ERR_OK;
}

/* ---- the record ------------------------------------------------------------------------------------------------------ */

static struct value *order_spec(const struct order *o) {
  struct value *spec = value_map();
  value_set_text(spec, "pinned", o->digest);
  value_set_text(spec, "file", o->file);
  value_set_text(spec, "output", o->output_folder);
  value_set_text(spec, "folder", o->given_folder);
  value_map_set(spec, "input", o->pinned.input ? value_copy(o->pinned.input) : value_null());
  value_map_set(spec, "params", value_copy(o->given));
  value_map_set(spec, "assets", value_copy(o->pinned.assets));
  return spec;
}

static enum err order_pin_pipeline(const struct order *o, struct error *e) {
  mem_auto char *folder = mem_format("%s/pinned", o->engine->state_folder);
  mem_auto char *path = mem_format("%s/%s.yaml", folder, o->digest);
  if (access(path, F_OK) == 0) return ERR_OK;
  if (fs_make_folders(folder, 0700, e)) return e->code;
  return fs_write_durably(path, o->pinned_text, strlen(o->pinned_text), 0600, e);
}

static void order_answer(struct order *o, const char *job, const struct error *e) {
  o->engine->submitting--;
  if (o->done) o->done(o->context, e->code ? NULL : job, o->outcome, e);
  order_free(o);
}

static void order_refuse(struct order *o, const struct error *e) { order_answer(o, NULL, e); }

/* Another submission of the same job came first. */
static void order_joined(struct order *o, const char *id) {
  struct job_record job = {0};
  o->outcome = SUBMIT_RESUMED;
  if (!store_job(o->engine->store, id, &job, NULL) && job.status == JOB_COMPLETED) o->outcome = SUBMIT_FINISHED;
  job_record_clear(&job);
}

/* cancel-in-progress: the newcomer ends those of its group that came before, whether or not they have begun. */
static void order_cancel_group(struct order *o, const char *id) {
  struct engine *engine = o->engine;
  enum { MOST = 256 };
  char (*ids)[32] = mem_array(MOST, sizeof *ids);
  uint64_t group = line_digest(value_get_text(o->extra, "group", NULL));
  size_t count = line_group(engine->line, group, ids, MOST);
  const char *holder = turn_holder(engine, group);
  if (holder && strcmp(holder, id) != 0) engine_cancel(engine, holder, NULL, NULL);
  for (size_t i = 0; i < count; i++)
    if (strcmp(ids[i], id) < 0) engine_cancel(engine, ids[i], NULL, NULL);
  free(ids);
}

static void order_stored(void *context, const struct commit *commit) {
  struct order *o = context;
  struct engine *engine = o->engine;
  struct error e = commit->error;
  e.code = commit->status;
  mem_auto char *id = mem_text(commit->job ? commit->job : o->id);
  if (engine->closing && !e.code) error_set(&e, ERR_CANCELLED, "interrupted");
  if (!e.code && commit->existed) order_joined(o, id);
  struct job *old = id ? job_find(engine, id) : NULL;
  if (!e.code && old && o->outcome == SUBMIT_REOPENED) job_drop(old); /* its stages have just changed on disk */
  bool told = !e.code && !commit->existed;
  if (told && engine->serving && o->cancels_group && value_get(o->extra, "group")) order_cancel_group(o, id);
  if (!e.code && o->outcome != SUBMIT_FINISHED && engine_take_up(engine, id, &e)) job_hold(engine, id, &e);
  order_answer(o, id, &e);
  if (told) engine_tell_commit(engine, commit);
}

static void order_new_job(struct order *o) {
  struct engine *engine = o->engine;
  value_auto struct value *spec = order_spec(o);
  value_auto struct value *body = value_map();
  struct buf spec_json = {0}, body_json = {0}, extra_json = {0};
  char at[32];
  value_json(&spec_json, spec, VALUE_JSON_COMPACT);
  if (o->extra->count) value_json(&extra_json, o->extra, VALUE_JSON_COMPACT);
  char reason[] = "waits for its turn";
  struct job_record job = {.id = o->id, .identity = o->pinned.identity, .wait_reason = reason, .pipeline = o->pipeline,
                           .title = o->title, .owner = o->owner, .asset = o->asset, .batch = o->batch,
                           .spec_json = spec_json.data, .extra_json = extra_json.data, .status = JOB_QUEUED,
                           .priority = o->priority, .attempt = 1, .max_attempts = o->max_attempts,
                           .created_us = clock_wall(loop_clock(engine->loop))};
  value_set_int(body, "queuePosition", engine_queue_position(engine, &job));
  value_set_text(body, "queuedAt", clock_format(job.created_us, at));
  value_set_text(body, "title", o->title);
  value_set_int(body, "attempt", 1);
  value_set_int(body, "maxAttempts", o->max_attempts);
  job_tags(body, &job);
  value_json(&body_json, body, VALUE_JSON_COMPACT);
  struct event_draft queued = {"queued", body_json.data};
  store_submit(engine->store, &job, (const char *const *)o->stages, o->stage_count, &queued, 1, order_stored, o);
  buf_free(&spec_json);
  buf_free(&body_json);
  buf_free(&extra_json);
}

/* --fresh: the earlier job is ended and removed, then this one is new. */
static enum err order_forget(struct order *o, const struct job_record *old, struct error *e) {
  struct engine *engine = o->engine;
  struct job *loaded = job_find(engine, old->id);
  if (loaded && (loaded->trials || loaded->committing))
    return error_set(e, ERR_CONFLICT, "job %s does the same and is running: cancel it before it is begun afresh", old->id);
  if (loaded) job_drop(loaded);
  if (!job_status_is_terminal(old->status)) {
    struct job_record values = {.status = JOB_CANCELLED, .ended_us = clock_wall(loop_clock(engine->loop))};
    struct change change = {.job = old->id, .job_fields = JOB_SET_STATUS | JOB_SET_ENDED, .job_values = &values};
    store_change(engine->store, &change, NULL, NULL);
  }
  publish_remove(engine, mem_format("%s/jobs/%s", engine->state_folder, old->id));
  publish_remove(engine, mem_format("%s/.stagemill/%s", o->output_folder, old->id));
  store_delete(engine->store, old->id, NULL, NULL);
  return ERR_OK;
}

static void order_existing(struct order *o, const struct job_record *old) {
  struct error fine = {.code = ERR_OK};
  switch (old->status) {
  case JOB_COMPLETED:
    o->outcome = SUBMIT_FINISHED;
    order_answer(o, old->id, &fine);
    return;
  case JOB_FAILED:
  case JOB_CANCELLED:
    o->outcome = SUBMIT_REOPENED;
    free(o->id);
    o->id = mem_text(old->id);
    engine_reopen(o->engine, old, "submitted again", NULL, order_stored, o);
    return;
  default:
    o->outcome = SUBMIT_RESUMED;
    if (engine_take_up(o->engine, old->id, &fine)) job_hold(o->engine, old->id, &fine);
    order_answer(o, old->id, &fine);
  }
}

static void order_decide(struct order *o) {
  struct job_record old = {0};
  struct error *e = &o->e;
  bool exists = store_by_identity(o->engine->store, o->pinned.identity, &old, NULL) == ERR_OK;
  if (exists && o->fresh) {
    order_forget(o, &old, e);
    exists = false;
  }
  if (exists && !e->code && !o->source) input_unchanged(&old, &o->pinned, e);
  if (e->code)
    order_refuse(o, e);
  else if (exists)
    order_existing(o, &old);
  else
    order_new_job(o);
  job_record_clear(&old);
}

/* ---- through the pool -------------------------------------------------------------------------------------------- */

static void order_work(void *context) {
  struct order *o = context;
  struct job_record old = {0};
  struct error *e = &o->e;
  if (pin_files(o, e) || order_pin_pipeline(o, e) || fs_make_folders(o->output_folder, 0755, e)) return;
  bool ended = store_by_identity(o->engine->store, o->pinned.identity, &old, NULL) == ERR_OK &&
               job_status_is_terminal(old.status);
  if (ended) summary_settle(o->output_folder, old.id); /* an end that was cut short */
  job_record_clear(&old);
}

static void order_done(void *context) {
  struct order *o = context;
  if (o->e.code)
    order_refuse(o, &o->e);
  else
    order_decide(o);
}

static void order_ended(void *context) {
  struct error e;
  error_set(&e, ERR_CANCELLED, "interrupted before it was stored");
  order_refuse(context, &e);
}

enum err engine_submit(struct engine *engine, const struct submission *s, engine_submitted *done, void *context,
                       struct error *e) {
  struct order *o = order_new(engine, s);
  char id[STORE_ID_MAX];
  engine_new_id(id);
  if (!o->id) o->id = mem_text(id);
  if (pin_words(s, o, e) || pin_group(s, o, e)) {
    order_free(o);
    return e->code;
  }
  o->done = done;
  o->context = context;
  o->assets_folder = mem_format("%s/assets", engine->state_folder);
  engine->submitting++;
  work_submit(engine, order_work, order_done, order_ended, o);
  return ERR_OK;
}
