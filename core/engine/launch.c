/* launch.c - begins an attempt: resolves what its stages are told, takes the lease, lays out folders and descriptors,
 * hands the unit to the crew. */
#include <errno.h>
#include <fcntl.h>
#include <stagemill/abi.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/draft.h"

enum { DROP_SPARE_US = 30 * 1000 * 1000 };

struct slots { /* descriptors of a unit while it is being put together */
  int fds[UNIT_SLOTS_MAX];
  char *paths[UNIT_SLOTS_MAX];
  uint32_t count;
};

static void slots_close(struct slots *slots) {
  for (uint32_t i = 0; i < slots->count; i++) {
    close(slots->fds[i]);
    free(slots->paths[i]);
  }
  slots->count = 0;
}

static int32_t slots_open(struct slots *slots, const char *path, int flags, struct error *e) {
  for (uint32_t i = 0; i < slots->count; i++)
    if (strcmp(slots->paths[i], path) == 0) return (int32_t)i;
  if (slots->count == UNIT_SLOTS_MAX) {
    error_set(e, ERR_TOO_LARGE, "a stage reads from more than %d places", UNIT_SLOTS_MAX);
    return -1;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags); /* a FIFO put in its place must not stop the loop */
  if (fd < 0) {
    error_errno(e, errno, "cannot open %s", path);
    return -1;
  }
  slots->fds[slots->count] = fd;
  slots->paths[slots->count] = mem_text(path);
  return (int32_t)slots->count++;
}

/* ---- what a stage is told --------------------------------------------------------------------------------------- */

static char *trial_asset(void *context, const char *path) {
  struct job *job = context;
  const char *digest = value_get_text(value_get(job->extra, "assets"), path, NULL);
  if (!digest) digest = value_get_text(value_get(job->spec, "assets"), path, NULL);
  if (!digest) return NULL;
  const char *dot = strrchr(fs_base_name(path), '.');
  return mem_format("%s/assets/%s%s", job->engine->state_folder, digest, dot ? dot : "");
}

struct value *trial_settings(struct job *job, size_t stage, struct error *e) {
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  struct scope scope = plan_scope(&state);
  struct value *params = NULL;
  pipeline_settings(job->pipeline, stage, &scope, trial_asset, job, &params, e);
  free(steps);
  return params;
}

/* ---- artifacts ----------------------------------------------------------------------------------------------------- */

static struct unit_artifact *unit_stage_add(struct unit_stage *stage) {
  stage->artifacts = mem_grow(stage->artifacts, stage->artifact_count + 1, sizeof *stage->artifacts);
  struct unit_artifact *a = &stage->artifacts[stage->artifact_count++];
  memset(a, 0, sizeof *a);
  a->size_bytes = -1;
  return a;
}

/* Every attempt reads what the job was submitted with, or one result would be made of two sources. */
static enum err launch_same_input(const struct job *job, int fd, struct stat *st, struct error *e) {
  const struct value *then = value_get(job->spec, "input");
  if (fstat(fd, st) != 0) return error_errno(e, errno, "cannot read the input %s", job->input);
  if (!S_ISREG(st->st_mode)) return error_set(e, ERR_INVALID, "the input %s is not a regular file any more", job->input);
  int64_t mtime_us = (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
  bool same = value_get_int(then, "inode", 0) == (int64_t)st->st_ino && value_get_int(then, "bytes", 0) == st->st_size &&
              value_get_int(then, "mtimeUs", 0) == mtime_us;
  return same ? ERR_OK
              : error_set(e, ERR_INVALID, "the input %s has changed since the job began with it: run it again with --fresh",
                          job->input);
}

static enum err launch_source(struct job *job, struct slots *slots, const char *port, struct unit_artifact *a,
                              struct error *e) {
  struct stat st;
  int32_t slot = slots_open(slots, job->input, 0, e);
  if (slot < 0 || launch_same_input(job, slots->fds[slot], &st, e)) return e->code;
  a->size_bytes = st.st_size;
  a->port = mem_text(port);
  a->name = mem_text(fs_base_name(job->input));
  a->path = mem_text(job->input);
  a->beneath = mem_text("");
  a->is_source = true;
  a->root_slot = slot;
  return ERR_OK;
}

static enum err launch_made(struct job *job, struct slots *slots, const char *port, size_t producer,
                            const struct artifact *made, struct unit_artifact *a, struct error *e) {
  const char *id = job->pipeline->stages[producer].id;
  mem_auto char *folder = mem_format("%s/%s", job->output_folder, id);
  int32_t slot = slots_open(slots, folder, O_DIRECTORY | O_NOFOLLOW, e);
  if (slot < 0) return e->code;
  a->port = mem_text(port);
  a->name = mem_text(made->name);
  a->path = mem_format("%s/%s", folder, made->name);
  a->media_type = mem_text(made->media_type);
  a->from_stage = mem_text(id);
  a->from_port = mem_text(made->port);
  a->sha256 = mem_text(made->sha256);
  a->size_bytes = made->size_bytes;
  a->root_slot = slot;
  a->beneath = mem_text(made->name);
  return ERR_OK;
}

static enum err launch_binding(struct job *job, struct slots *slots, const struct binding *b, struct unit_stage *stage,
                               struct error *e) {
  if (b->kind == PRODUCER_SOURCE) /* an optional port stays open when there is no input, or none that is a file */
    return value_get_text(value_get(job->spec, "input"), "path", NULL) 
               ? launch_source(job, slots, b->port->name, unit_stage_add(stage), e)
               : ERR_OK;
  const struct manifest *manifest = job->stages[b->stage].manifest;
  for (size_t i = 0; manifest && i < manifest->count; i++) {
    const struct artifact *made = &manifest->items[i];
    if (b->output && strcmp(b->output->name, made->port) != 0) continue;
    if (launch_made(job, slots, b->port->name, b->stage, made, unit_stage_add(stage), e)) return e->code;
  }
  return ERR_OK;
}

static bool port_is_frames(const struct port_type *port) { return port->kind != SM_PORT_ARTIFACT; }

/* Frames come from a filter of this unit or from the unit's source; a bypassed filter is stepped over. */
static void launch_link(const struct trial *trial, const struct binding *b, struct unit_stage *stage) {
  struct job *job = trial->job;
  struct step *steps = mem_array(job->pipeline->stage_count + 1, sizeof *steps);
  struct plan_state state = job_plan_state(job, steps);
  const struct port_type *output = NULL;
  size_t feeder = plan_feed(&state, b, NULL, &output);
  free(steps);
  stage->links = mem_grow(stage->links, stage->link_count + 1, sizeof *stage->links);
  struct unit_link *link = &stage->links[stage->link_count++];
  *link = (struct unit_link){mem_text(b->port->name), -1, NULL};
  for (size_t i = 0; i < trial->stage_count; i++)
    if (trial->stages[i].index == feeder) {
      link->from_stage = (int32_t)i;
      link->from_port = mem_text(output ? output->name : NULL);
    }
}

static enum err launch_unit_source(struct job *job, const struct plan_unit *plan, struct slots *slots,
                                   struct unit *unit, struct error *e) {
  if (!plan->is_pass) return ERR_OK;
  unit->source = mem_alloc(sizeof *unit->source);
  unit->source->size_bytes = -1;
  if (plan->source_kind == PRODUCER_SOURCE) return launch_source(job, slots, "source", unit->source, e);
  const struct manifest *manifest = job->stages[plan->source_stage].manifest;
  for (size_t i = 0; manifest && i < manifest->count; i++)
    if (!plan->source_port || strcmp(plan->source_port->name, manifest->items[i].port) == 0)
      return launch_made(job, slots, "source", plan->source_stage, &manifest->items[i], unit->source, e);
  return error_set(e, ERR_NOT_FOUND, "stage '%s' made no file that could be decoded",
                   job->pipeline->stages[plan->source_stage].id);
}

/* ---- the unit ------------------------------------------------------------------------------------------------------ */

static void launch_checkpoints(struct job *job, struct unit_stage *stage) {
  char *json = NULL;
  if (store_checkpoints(job->engine->store, job->id, stage->id, &json, NULL) == ERR_OK)
    value_from_json(json, strlen(json), &stage->checkpoints, NULL);
  free(json);
  if (!stage->checkpoints) stage->checkpoints = value_map();
}

/* A stage may use nine tenths of what is free, so that no single one fills the disk for everybody else. */
static int64_t launch_quota_bytes(const struct job *job) {
  int64_t free_bytes = fs_free_bytes(job->output_folder);
  if (free_bytes < 0) return 0;
  return free_bytes > 10 << 20 ? free_bytes / 10 * 9 : 9 << 20; /* 0 would mean: no bound */
}

/* A pass goes on without a softly failing sink whose time is up: that one is the pass executor's to drop. */
static bool launch_may_drop(const struct trial *trial, size_t i) {
  return trial_stage_is_sink(trial, &trial->stages[i]) &&
         trial->job->pipeline->stages[trial->stages[i].index].continue_on_error;
}

static enum err launch_stage(struct trial *trial, size_t i, struct slots *slots, struct unit_stage *stage,
                             struct error *e) {
  struct job *job = trial->job;
  size_t index = trial->unit.stages[i];
  const struct pipeline_stage *s = &job->pipeline->stages[index];
  mem_auto char *folder = attempt_folder(job, trial->fence);
  stage->id = mem_text(s->id);
  stage->uses = mem_text(s->uses);
  stage->plugin_path = mem_text(s->type->plugin_path);
  stage->plugin_sha256 = mem_text(s->type->plugin_sha256);
  stage->attempt = job->stages[index].record.attempts + 1;
  stage->soft = s->continue_on_error;
  stage->timeout_us = launch_may_drop(trial, i) ? s->timeout_us : 0;
  stage->output_path = mem_format("%s/%s", folder, s->id);
  stage->scratch_path = mem_format("%s/.scratch/%s", folder, s->id);
  if (!trial->unit.is_pass) stage->keep_path = keep_folder(job, index);
  stage->scratch_quota_bytes = launch_quota_bytes(job);
  launch_checkpoints(job, stage);
  if (trial->unit.late && trial->unit.late[i]) {
    stage->params = value_map();
    stage->late = value_map();
  } else {
    stage->params = trial_settings(job, index, e);
    if (!stage->params) return e->code;
  }
  for (size_t b = 0; b < s->binding_count; b++) {
    const struct binding *binding = &s->bindings[b];
    if (port_is_frames(binding->port))
      launch_link(trial, binding, stage);
    else if (launch_binding(job, slots, binding, stage, e))
      return e->code;
  }
  if (stage->keep_path && fs_make_folders(stage->keep_path, 0700, e)) return e->code;
  if (fs_make_folders(stage->output_path, 0755, e) || fs_make_folders(stage->scratch_path, 0700, e)) return e->code;
  return ERR_OK;
}

/* Of the attempt as a whole. Where every stage can be dropped there is a bound all the same, for a pass that is deaf. */
static int64_t launch_timeout_us(const struct trial *trial) {
  int64_t least_us = 0, most_us = 0;
  for (size_t i = 0; i < trial->stage_count; i++) {
    int64_t timeout_us = trial->job->pipeline->stages[trial->stages[i].index].timeout_us;
    if (timeout_us > most_us) most_us = timeout_us;
    if (launch_may_drop(trial, i)) continue;
    if (timeout_us && (!least_us || timeout_us < least_us)) least_us = timeout_us;
  }
  return least_us ? least_us : most_us ? most_us + DROP_SPARE_US : 0;
}

static int64_t launch_stall_us(const struct trial *trial) {
  int64_t most_us = 0;
  for (size_t i = 0; i < trial->stage_count; i++) {
    int64_t stall_us = trial->job->pipeline->stages[trial->stages[i].index].stall_us;
    if (stall_us > most_us) most_us = stall_us;
  }
  return most_us;
}

static enum err launch_unit(struct trial *trial, struct slots *slots, struct unit *unit, struct error *e) {
  struct job *job = trial->job;
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  unit->kind = trial->unit.is_pass ? UNIT_PASS : UNIT_TASK;
  unit->job = mem_text(job->id);
  unit->pipeline = mem_text(job->pipeline->name);
  unit->input_name = mem_text(job->input ? fs_base_name(job->input) : NULL);
  unit->fence = trial->fence;
  unit->cores = (uint32_t)(cores > 1 ? cores : 1);
  unit->stall_us = launch_stall_us(trial);
  unit->memory_limit_bytes = job->engine->memory_limit_bytes;
  int64_t timeout_us = launch_timeout_us(trial);
  if (timeout_us) unit->deadline_boot_us = clock_boot(loop_clock(job->engine->loop)) + timeout_us;
  unit->stages = mem_array(trial->stage_count, sizeof *unit->stages);
  unit->stage_count = (uint32_t)trial->stage_count;
  if (launch_unit_source(job, &trial->unit, slots, unit, e)) return e->code;
  for (size_t i = 0; i < trial->stage_count; i++)
    if (launch_stage(trial, i, slots, &unit->stages[i], e)) return e->code;
  return ERR_OK;
}

static enum err launch_crew(struct trial *trial, const struct unit *unit, const struct slots *slots, const char *log_path,
                            struct error *e) {
  struct engine *engine = trial->job->engine;
  struct attempt_start start = {.unit = unit, .slots = slots->fds, .slot_count = slots->count, .log_path = log_path,
                                .timeout_us = launch_timeout_us(trial), .stall_us = launch_stall_us(trial),
                                .memory_limit_bytes = engine->memory_limit_bytes};
  return crew_start(engine->crew, &start, &trial_callbacks, trial, &trial->attempt, e);
}

/* A state folder without space costs an attempt its log, not its chance: the tail is kept in memory in any case. */
static enum err launch_start(struct trial *trial, struct error *e) {
  struct slots slots = {.count = 0};
  struct unit *unit = mem_alloc(sizeof *unit);
  mem_auto char *log_folder = job_folder(trial->job, "logs");
  mem_auto char *log_path = mem_format("%s/%llu.log", log_folder, (unsigned long long)trial->fence);
  bool logs = fs_make_folders(log_folder, 0700, NULL) == ERR_OK;
  enum err err = launch_unit(trial, &slots, unit, e);
  if (!err) err = launch_crew(trial, unit, &slots, logs ? log_path : NULL, e);
  if (err == ERR_NO_SPACE && logs) err = launch_crew(trial, unit, &slots, NULL, e);
  slots_close(&slots);
  unit_free(&unit);
  return err;
}

/* ---- the lease ------------------------------------------------------------------------------------------------------ */

static void trial_unlink(struct trial *trial) {
  for (struct trial **at = &trial->job->trials; *at; at = &(*at)->next)
    if (*at == trial) {
      *at = trial->next;
      return;
    }
}

void trial_free(struct trial **at) {
  struct trial *trial = *at;
  if (!trial) return;
  trial_unlink(trial);
  for (size_t i = 0; i < trial->stage_count; i++) {
    value_free(&trial->stages[i].results);
    value_free(&trial->stages[i].outputs);
    manifest_free(&trial->stages[i].manifest);
  }
  free(trial->stages);
  free(trial->unit.stages);
  free(trial->unit.late);
  free(trial->outcome.log_tail);
  attempt_record_clear(&trial->record);
  value_free(&trial->go);
  value_free(&trial->opened);
  value_free(&trial->stats);
  free(trial);
  *at = NULL;
}

static void trial_leased(struct job *job, const struct commit *commit, void *context) {
  struct trial *trial = context;
  struct error e;
  if (commit->status) {
    job->engine->alive--;
    trial_free(&trial);
    if (!job->record.started_us) job->announced = false;
    if (commit->status == ERR_CONFLICT && !job->record.cancel_requested) trial_drop_live(job);
    engine_wake_all(job->engine);
    return;
  }
  trial->fence = commit->fence;
  trial->record.fence = commit->fence;
  if (trial_is_cancelled(trial) || job->engine->interrupted) {
    trial->interrupted = true;
    error_set(&e, ERR_CANCELLED, "stopped before it was started");
    trial->outcome.end = ATTEMPT_CANCELLED;
  } else if (launch_start(trial, &e) == ERR_OK) {
    return;
  } else {
    trial->outcome.end = ATTEMPT_REFUSED;
  }
  trial->over = true;
  trial->outcome.error = e;
  trial->outcome.suspect = -1;
  trial_settle(trial);
}

bool trial_stage_is_sink(const struct trial *trial, const struct trial_stage *stage) {
  return trial->unit.is_pass && trial->job->pipeline->stages[stage->index].type->kind == SM_KIND_SINK;
}

static struct trial *trial_new(struct job *job, const struct plan_unit *unit) {
  struct trial *trial = mem_alloc(sizeof *trial);
  trial->job = job;
  trial->unit = *unit;
  trial->stage_count = unit->stage_count;
  trial->unit.stages = mem_array(unit->stage_count, sizeof *unit->stages);
  memcpy(trial->unit.stages, unit->stages, unit->stage_count * sizeof *unit->stages);
  trial->unit.late = mem_array(unit->stage_count, sizeof(bool));
  if (unit->late) memcpy(trial->unit.late, unit->late, unit->stage_count * sizeof(bool));
  trial->stages = mem_array(unit->stage_count, sizeof *trial->stages);
  for (size_t i = 0; i < unit->stage_count; i++) {
    trial->stages[i].trial = trial;
    trial->stages[i].index = unit->stages[i];
    trial->stages[i].leaving = LEAVING_NOT;
    trial->stages[i].results = value_map();
    trial->stages[i].outputs = value_list();
  }
  trial->next = job->trials;
  job->trials = trial;
  return trial;
}

static void trial_record(struct trial *trial) {
  struct buf stages = {0};
  for (size_t i = 0; i < trial->stage_count; i++)
    buf_format(&stages, "%s%s", i ? "," : "", trial->job->pipeline->stages[trial->stages[i].index].id);
  struct attempt_record *r = &trial->record;
  r->stages = buf_take(&stages);
  r->state = ATTEMPT_LIVE;
  r->node = mem_text(trial->job->engine->node);
  r->boot_id = mem_text(trial->job->engine->boot_id);
  r->started_us = clock_wall(loop_clock(trial->job->engine->loop));
}

/* The job's first stage is its start. */
void job_announce(struct job *job, struct draft *d, int64_t now_us) {
  if (job->record.started_us || job->announced) return;
  char queued[32], started[32];
  job->announced = true;
  draft_job(d, JOB_SET_STARTED)->started_us = now_us;
  struct value *body = value_map();
  value_set_text(body, "queuedAt", clock_format(job->record.created_us, queued));
  value_set_text(body, "startedAt", clock_format(now_us, started));
  draft_event(d, "started", body);
}

/* Each stage of the unit starts with it. */
static void trial_announce(struct trial *trial, struct draft *d) {
  struct job *job = trial->job;
  uint32_t attempt = 1;
  for (size_t i = 0; i < trial->stage_count; i++) {
    size_t index = trial->stages[i].index;
    struct stage_record *record = draft_stage(d, index);
    record->tries++;
    record->started_us = trial->record.started_us;
    record->reason = NULL;
    if (record->attempts + 1 > attempt) attempt = record->attempts + 1;
  }
  struct job_record *values = draft_job(d, JOB_SET_STATUS | JOB_SET_ATTEMPT | JOB_SET_WAIT_REASON);
  values->status = job->told = JOB_PROCESSING;
  values->wait_reason = NULL;
  values->attempt = attempt;
  job_announce(job, d, trial->record.started_us);
  for (size_t i = 0; i < trial->stage_count; i++) {
    size_t index = trial->stages[i].index;
    struct job_stage *stage = &job->stages[index];
    stage->fraction = -1;
    stage->item = stage->items = 0;
    stage->frames = 0;
    stage->message[0] = '\0';
    draft_event(d, "stage", draft_stage_event(job, index, "started"));
  }
}

void trial_begin(struct job *job, const struct plan_unit *unit) {
  struct trial *trial = trial_new(job, unit);
  struct draft *d = draft_new(job, 0);
  job->engine->alive++;
  job->hungry = false;
  if (!job->begun_boot_us) {
    job->begun_boot_us = clock_boot(loop_clock(job->engine->loop));
    job->begun_pct = progress_pct(job);
  }
  trial->late_stages = job->record.cancel_requested; /* the planner lets only `always` stages start then */
  trial_record(trial);
  trial_announce(trial, d);
  draft_attempt(d, &trial->record);
  draft_begin(d, trial->late_stages, trial_leased, trial);
}
