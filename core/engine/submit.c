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
#include "engine/job.h"

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

/* ---- input --------------------------------------------------------------------------------------------------------- */

static bool stage_reads_source(const struct pipeline_stage *stage) {
  for (size_t b = 0; b < stage->binding_count; b++) {
    const struct binding *binding = &stage->bindings[b];
    if (binding->kind == PRODUCER_SOURCE && !(binding->port->flags & SM_PORT_OPTIONAL)) return true;
    if (binding->kind == PRODUCER_SOURCE && binding->port->kind != SM_PORT_ARTIFACT) return true;
  }
  return false;
}

static bool pipeline_reads_source(const struct pipeline *p) {
  for (size_t i = 0; i < p->stage_count; i++)
    if (stage_reads_source(&p->stages[i])) return true;
  return false;
}

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

static enum err pin_input(const struct submission *s, struct pinned *pinned, struct error *e) {
  bool needed = pipeline_reads_source(s->pipeline);
  if (!s->input) {
    if (needed)
      return error_set(e, ERR_USAGE, "pipeline '%s' reads an input: name a file behind the pipeline",
                       s->pipeline->name);
    return ERR_OK;
  }
  pinned->input = value_map();
  if (!strstr(s->input, "://")) return input_file(s->input, pinned->input, e);
  if (needed)
    return error_set(e, ERR_USAGE,
                     "the input is a URL, but stages of pipeline '%s' read the input as a file: begin the pipeline with "
                     "a stage that downloads ${{ job.input }}",
                     s->pipeline->name);
  value_set_text(pinned->input, "url", s->input);
  return ERR_OK;
}

/* ---- assets -------------------------------------------------------------------------------------------------------- */

struct asset_walk {
  struct value *assets;
  const char *copy_to; /* NULL: only hash */
};

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

static enum err asset_visited(void *context, const char *path, struct error *e) {
  struct asset_walk *walk = context;
  char digest[65];
  int64_t size;
  if (value_get(walk->assets, path)) return ERR_OK;
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error_errno(e, errno, "cannot open the file %s that the pipeline names", path);
  if (digest_of_fd(fd, digest, &size, e)) return e->code;
  if (walk->copy_to && asset_store(path, fd, digest, walk->copy_to, e)) return e->code;
  value_set_text(walk->assets, path, digest);
  return ERR_OK;
}

/* ---- identity ------------------------------------------------------------------------------------------------------- */

static void pin_identity(const struct submission *s, struct pinned *pinned) {
  value_auto struct value *all = value_map();
  struct buf text = {0};
  value_set_text(all, "pipeline", s->pipeline->digest);
  value_set_text(all, "input", value_get_text(pinned->input, "path", value_get_text(pinned->input, "url", NULL)));
  value_map_set(all, "params", value_copy(pinned->params));
  value_map_set(all, "assets", value_copy(pinned->assets));
  value_set_text(all, "output", s->output_folder);
  value_json(&text, all, VALUE_JSON_COMPACT | VALUE_JSON_REVEAL);
  digest_of(buf_string(&text), text.size, pinned->identity);
  buf_free(&text);
}

static enum err pin(const struct submission *s, const char *assets_folder, struct pinned *pinned, struct error *e) {
  mem_auto char *folder = fs_absolute(NULL, s->given_folder ? s->given_folder : ".");
  pinned->assets = value_map();
  struct asset_walk walk = {pinned->assets, assets_folder};
  if (pin_input(s, pinned, e)) return e->code;
  if (pipeline_params(s->pipeline, s->given, folder, &pinned->params, e)) return e->code;
  if (pipeline_assets(s->pipeline, pinned->params, asset_visited, &walk, e)) return e->code;
  pin_identity(s, pinned);
  return ERR_OK;
}

enum err submission_identity(const struct submission *s, char identity[65], struct error *e) {
  struct pinned pinned = {0};
  enum err err = pin(s, NULL, &pinned, e);
  memcpy(identity, pinned.identity, sizeof pinned.identity);
  pinned_clear(&pinned);
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

static struct value *submit_spec(const struct submission *s, const struct pinned *pinned) {
  struct value *spec = value_map();
  mem_auto char *folder = fs_absolute(NULL, s->given_folder ? s->given_folder : ".");
  value_set_text(spec, "pinned", s->pipeline->digest);
  value_set_text(spec, "file", s->pipeline->file);
  value_set_text(spec, "output", s->output_folder);
  value_set_text(spec, "folder", folder);
  value_map_set(spec, "input", pinned->input ? value_copy(pinned->input) : value_null());
  value_map_set(spec, "params", s->given ? value_copy(s->given) : value_map());
  value_map_set(spec, "assets", value_copy(pinned->assets));
  return spec;
}

static enum err submit_pin_pipeline(struct engine *engine, const struct pipeline *p, struct error *e) {
  mem_auto char *folder = mem_format("%s/pinned", engine->state_folder);
  mem_auto char *path = mem_format("%s/%s.yaml", folder, p->digest);
  if (access(path, F_OK) == 0) return ERR_OK;
  if (fs_make_folders(folder, 0700, e)) return e->code;
  return fs_write_durably(path, p->pinned, strlen(p->pinned), 0600, e);
}

static uint32_t submit_max_attempts(const struct pipeline *p) {
  uint32_t most = 1;
  for (size_t i = 0; i < p->stage_count; i++)
    if (p->stages[i].retry.attempts > most) most = p->stages[i].retry.attempts;
  return most;
}

struct submitting {
  struct engine *engine;
  engine_submitted *done;
  void *context;
  enum submit_outcome outcome;
  char *job; /* reopened */
};

static void submit_answer(struct submitting *s, const char *job, const struct error *e) {
  if (s->done) s->done(s->context, e->code ? NULL : job, s->outcome, e);
  free(s->job);
  free(s);
}

/* Another submission of the same job came first. */
static void submit_joined(struct submitting *s, const char *id) {
  struct job_record job = {0};
  s->outcome = SUBMIT_RESUMED;
  if (!store_job(s->engine->store, id, &job, NULL) && job.status == JOB_COMPLETED) s->outcome = SUBMIT_FINISHED;
  job_record_clear(&job);
}

static void submit_stored(void *context, const struct commit *commit) {
  struct submitting *s = context;
  struct error e = commit->error;
  e.code = commit->status;
  mem_auto char *id = mem_text(s->job ? s->job : commit->job);
  s->engine->submitting--;
  if (s->engine->closing && !e.code) error_set(&e, ERR_CANCELLED, "interrupted");
  if (!e.code && commit->existed) submit_joined(s, id);
  struct job *old = id ? job_find(s->engine, id) : NULL;
  if (!e.code && old && s->outcome == SUBMIT_REOPENED) job_drop(old); /* its stages have just changed on disk */
  if (!e.code && s->outcome != SUBMIT_FINISHED && engine_resume(s->engine, id, &e)) job_hold(s->engine, id, &e);
  submit_answer(s, id, &e);
}

static void submit_new(struct engine *engine, const struct submission *s, struct pinned *pinned,
                       struct submitting *answer) {
  value_auto struct value *spec = submit_spec(s, pinned);
  value_auto struct value *body = value_map();
  struct buf spec_json = {0}, body_json = {0};
  char at[32];
  value_json(&spec_json, spec, VALUE_JSON_COMPACT);
  value_set_int(body, "queuePosition", engine_queue_position(engine));
  value_set_text(body, "queuedAt", clock_format(clock_wall(loop_clock(engine->loop)), at));
  value_set_text(body, "pipeline", s->pipeline->name);
  value_set_int(body, "attempt", 1);
  value_set_int(body, "maxAttempts", submit_max_attempts(s->pipeline));
  value_json(&body_json, body, VALUE_JSON_COMPACT);
  mem_auto char *title = mem_text(s->input ? fs_base_name(s->input) : s->pipeline->name);
  char reason[] = "submitted a moment ago";
  struct job_record job = {.identity = pinned->identity, .wait_reason = reason, .pipeline = s->pipeline->name, .title = title,
                           .spec_json = spec_json.data, .status = JOB_QUEUED, .priority = s->pipeline->priority,
                           .attempt = 1, .max_attempts = submit_max_attempts(s->pipeline)};
  const char **stages = mem_array(s->pipeline->stage_count + 1, sizeof *stages);
  for (size_t i = 0; i < s->pipeline->stage_count; i++) stages[i] = s->pipeline->stages[i].id;
  struct event_draft queued = {"queued", body_json.data};
  answer->outcome = SUBMIT_NEW;
  engine->submitting++;
  store_submit(engine->store, &job, stages, s->pipeline->stage_count, &queued, 1, submit_stored, answer);
  free(stages);
  buf_free(&spec_json);
  buf_free(&body_json);
}

/* --fresh: the earlier job is ended and removed, then this one is new. */
static enum err submit_forget(struct engine *engine, const struct job_record *old, const char *output_folder,
                              struct error *e) {
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
  publish_remove(engine, mem_format("%s/.stagemill/%s", output_folder, old->id));
  store_delete(engine->store, old->id, NULL, NULL);
  return ERR_OK;
}

static enum err submit_existing(struct engine *engine, const struct job_record *old, const char *output_folder,
                                struct submitting *answer, struct error *e) {
  struct error fine = {.code = ERR_OK};
  if (job_status_is_terminal(old->status)) summary_settle(output_folder, old->id); /* an end that was cut short */
  switch (old->status) {
  case JOB_COMPLETED:
    answer->outcome = SUBMIT_FINISHED;
    submit_answer(answer, old->id, &fine);
    return ERR_OK;
  case JOB_FAILED:
  case JOB_CANCELLED:
    answer->outcome = SUBMIT_REOPENED;
    answer->job = mem_text(old->id);
    engine->submitting++;
    engine_reopen(engine, old, "submitted again", false, submit_stored, answer);
    return ERR_OK;
  default:
    if (engine_resume(engine, old->id, e)) {
      job_hold(engine, old->id, e);
      free(answer);
      return e->code;
    }
    answer->outcome = SUBMIT_RESUMED;
    submit_answer(answer, old->id, &fine);
    return ERR_OK;
  }
}

enum err engine_submit(struct engine *engine, const struct submission *s, engine_submitted *done, void *context,
                       struct error *e) {
  mem_auto char *assets = mem_format("%s/assets", engine->state_folder);
  struct pinned pinned = {0};
  struct job_record old = {0};
  struct submitting *answer = mem_alloc(sizeof *answer);
  *answer = (struct submitting){engine, done, context, SUBMIT_NEW, NULL};
  enum err err = pin(s, assets, &pinned, e);
  if (!err) err = submit_pin_pipeline(engine, s->pipeline, e);
  if (!err) err = fs_make_folders(s->output_folder, 0755, e);
  bool exists = !err && store_by_identity(engine->store, pinned.identity, &old, NULL) == ERR_OK;
  if (exists && s->fresh) {
    err = submit_forget(engine, &old, s->output_folder, e);
    exists = false;
  }
  if (exists && !err) err = input_unchanged(&old, &pinned, e);
  if (err)
    free(answer);
  else if (exists)
    err = submit_existing(engine, &old, s->output_folder, answer, e);
  else
    submit_new(engine, s, &pinned, answer);
  job_record_clear(&old);
  pinned_clear(&pinned);
  return err;
}
