/* publish.c - from "the stage says it is done" to "its folder stands in the output folder": check and hash (pool), commit
 * {results, manifest, publishing} under the fence, move, commit {finished}. Recovery enters at publish_move. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/draft.h"

/* ---- check -------------------------------------------------------------------------------------------------------- */

struct check {
  struct trial *trial;
  struct trial_stage *stage;
  char *folder, *manifest_folder, *manifest_path;
  struct value *outputs;
  struct manifest *manifest;
  char sha256[65];
  struct error e;
  bool checked, parked; /* checked: what is left is to write the manifest into the state folder */
};

static void check_work(void *context) {
  struct check *c = context;
  memset(&c->e, 0, sizeof c->e);
  if (!c->checked && manifest_make(c->folder, c->outputs, 0, &c->manifest, &c->e)) return;
  c->checked = true;
  if (fs_make_folders(c->manifest_folder, 0700, &c->e)) return;
  manifest_write(c->manifest, c->manifest_path, c->sha256, &c->e);
}

static void check_drop(void *context) {
  struct check *c = context;
  free(c->folder);
  free(c->manifest_folder);
  free(c->manifest_path);
  value_free(&c->outputs);
  manifest_free(&c->manifest);
  free(c);
}

static void check_early(struct job *job, const struct commit *commit, void *context) {
  struct trial_stage *stage = context;
  bool lapsed = commit->status == ERR_STALE || commit->status == ERR_CONFLICT || commit->status == ERR_NOT_FOUND;
  (void)job;
  stage->trial->pending--;
  if (!commit->status) {
    publish_begun(stage->trial, stage);
  } else if (lapsed) {
    stage->leaving = LEAVING_GONE; /* the fence has moved on: this attempt's word no longer counts */
  } else {
    stage->leaving = LEAVING_NOT;
    stage->fault = commit->error;
  }
  trial_settle(stage->trial);
}

static void check_take(struct check *c) {
  struct trial_stage *stage = c->stage;
  if (c->e.code) {
    stage->fault = c->e;
    stage->leaving = LEAVING_NOT;
    return;
  }
  stage->leaving = LEAVING_CHECKED;
  stage->manifest = c->manifest;
  c->manifest = NULL;
  memcpy(stage->manifest_sha256, c->sha256, sizeof c->sha256);
}

static void check_done(void *context);

/* The state folder's disk is full: no fault of the stage, whose work is done. */
static void check_park(struct check *c) {
  struct job *job = c->trial->job;
  mem_auto char *text = mem_format("the state folder cannot be written (%s): trying again", c->e.message);
  if (!c->parked) {
    job->committing++;
    job->parked++;
  }
  c->parked = true;
  job_trouble(job, text);
  work_later(job->engine, TROUBLE_RETRY_US, check_work, check_done, check_drop, c);
}

static void check_unpark(struct check *c) {
  struct job *job = c->trial->job;
  if (!c->parked) return;
  job->committing--;
  if (--job->parked == 0) job_trouble(job, NULL);
}

static void check_done(void *context) {
  struct check *c = context;
  struct trial *trial = c->trial;
  struct trial_stage *stage = c->stage;
  if (c->checked && (c->e.code == ERR_NO_SPACE || c->e.code == ERR_IO)) {
    check_park(c);
    return;
  }
  check_unpark(c);
  trial->pending--;
  check_take(c);
  check_drop(c);
  if (stage->leaving != LEAVING_CHECKED || trial->over || trial->job->cancelling || trial_is_cancelled(trial)) {
    trial_settle(trial);
    return;
  }
  /* The attempt goes on without this stage: commit it now. */
  struct draft *d = draft_new(trial->job, trial->fence);
  publish_draft(trial, stage, d);
  stage->leaving = LEAVING_MOVING;
  trial->pending++;
  draft_commit(d, check_early, stage);
}

/* Metadata comes from the stage: what it says goes to disk, secrets do not. Names and types are the files' own. */
static struct value *check_outputs(const struct trial_stage *stage) {
  struct value *outputs = value_copy(stage->outputs);
  for (size_t i = 0; i < outputs->count; i++)
    for (size_t k = 0; k < outputs->items[i]->count; k++)
      if (!strcmp(outputs->items[i]->keys[k], "meta")) secret_scrub(outputs->items[i]->items[k]);
  return outputs;
}

void publish_check(struct trial *trial, struct trial_stage *stage) {
  struct job *job = trial->job;
  const char *id = job->pipeline->stages[stage->index].id;
  struct check *c = mem_alloc(sizeof *c);
  mem_auto char *folder = attempt_folder(job, trial->fence);
  c->trial = trial;
  c->stage = stage;
  c->folder = mem_format("%s/%s", folder, id);
  c->manifest_folder = job_folder(job, "manifests");
  c->manifest_path = mem_format("%s/%s.json", c->manifest_folder, id);
  c->outputs = check_outputs(stage);
  stage->leaving = LEAVING_CHECKING;
  trial->pending++;
  work_submit(job->engine, check_work, check_done, check_drop, c);
}

/* ---- commit ------------------------------------------------------------------------------------------------------- */

void publish_draft(struct trial *trial, struct trial_stage *stage, struct draft *d) {
  struct stage_record *record = draft_stage(d, stage->index);
  record->status = STAGE_PUBLISHING;
  record->manifest_sha256 = draft_text(d, stage->manifest_sha256);
  record->error_json = NULL;
  draft_results(d, stage->index, value_copy(stage->results));
  (void)trial;
}

void publish_begun(struct trial *trial, struct trial_stage *stage) {
  struct job_stage *job_stage = &trial->job->stages[stage->index];
  stage->leaving = LEAVING_GONE;
  manifest_free(&job_stage->manifest);
  job_stage->manifest = stage->manifest;
  stage->manifest = NULL;
  publish_move(trial->job, stage->index);
}

/* ---- move --------------------------------------------------------------------------------------------------------- */

struct move {
  struct job *job;
  size_t stage;
  char *from, *to, *parent;
  struct manifest *manifest; /* borrowed: the job's, which is not replaced while publishing */
  struct error e;
  bool parked; /* it failed before: the job's trouble tells why */
};

static bool move_is_done(const struct move *m) {
  fd_auto int root = open(m->to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (root < 0) return false;
  for (size_t i = 0; i < m->manifest->count; i++) {
    const struct artifact *a = &m->manifest->items[i];
    char hex[65];
    int64_t size;
    fd_auto int fd = fs_open_beneath(root, a->name, O_RDONLY, 0, NULL);
    if (fd < 0 || digest_of_fd(fd, hex, &size, NULL) || size != a->size_bytes || strcmp(hex, a->sha256) != 0)
      return false;
  }
  return true;
}

/* An older folder of that name is swapped out in one step, so that readers never find the place empty; what was there
 * goes with the attempt's folder. A half-done move is recognised by its content. */
static enum err move_folder(struct move *m) {
  struct stat st;
  if (lstat(m->from, &st) != 0) {
    if (errno != ENOENT) return error_errno(&m->e, errno, "cannot publish %s", m->to);
    if (move_is_done(m)) return ERR_OK;
    return error_set(&m->e, ERR_CORRUPT, "the checked outputs of a stage vanished before they were published: %s", m->from);
  }
  if (renameat2(AT_FDCWD, m->from, AT_FDCWD, m->to, RENAME_NOREPLACE) == 0) return ERR_OK;
  if (errno != EEXIST && errno != EINVAL && errno != ENOTEMPTY)
    return error_errno(&m->e, errno, "cannot publish %s", m->to);
  if (move_is_done(m)) return ERR_OK;
  if (renameat2(AT_FDCWD, m->from, AT_FDCWD, m->to, RENAME_EXCHANGE) == 0) return ERR_OK;
  if (errno != EINVAL && errno != ENOSYS) return error_errno(&m->e, errno, "cannot publish %s", m->to);
  mem_auto char *old = mem_format("%s.replaced", m->from);
  if (fs_remove_path(old, &m->e)) return m->e.code; /* of a try that was cut short */
  if (rename(m->to, old) != 0 && errno != ENOENT) return error_errno(&m->e, errno, "cannot replace %s", m->to);
  if (rename(m->from, m->to) != 0) return error_errno(&m->e, errno, "cannot publish %s", m->to);
  return ERR_OK;
}

static void move_work(void *context) {
  struct move *m = context;
  memset(&m->e, 0, sizeof m->e);
  if (m->manifest->count == 0) return;
  if (move_folder(m) == ERR_OK) fs_sync_folder(m->parent, &m->e);
}

static void move_drop(void *context) {
  struct move *m = context;
  free(m->from);
  free(m->to);
  free(m->parent);
  free(m);
}

static void move_finished(struct job *job, const struct commit *commit, void *context) {
  size_t stage = (size_t)(uintptr_t)context;
  if (commit->status == ERR_OK) publish_sweep(job, job->stages[stage].record.fence);
}

static void move_commit(struct job *job, size_t index) {
  struct draft *d = draft_new(job, 0);
  struct stage_record *record = draft_stage(d, index);
  const struct job_stage *stage = &job->stages[index];
  record->status = STAGE_FINISHED;
  record->ended_us = clock_wall(loop_clock(job->engine->loop));
  record->suspect = false;
  int64_t took_us = record->ended_us > record->started_us ? record->ended_us - record->started_us : 0;
  struct value *body = draft_stage_event(job, index, "finished");
  if (stage->results) value_map_set(body, "results", value_copy(stage->results));
  if (stage->manifest && stage->manifest->count) value_set_int(body, "artifacts", (int64_t)stage->manifest->count);
  value_set_int(body, "durationMs", took_us / 1000);
  draft_event(d, "stage", body);
  draft_commit(d, move_finished, (void *)(uintptr_t)index);
}

/* Nothing to publish any more: the stage has to be done again. */
static void move_lost(struct job *job, size_t stage) {
  struct draft *d = draft_new(job, 0);
  draft_stage(d, stage)->status = STAGE_WAITING;
  draft_commit(d, NULL, NULL);
}

static void move_done(void *context);

/* The intent is on disk: it is carried out however long the output folder refuses, and everybody can see why it waits. */
static void move_park(struct move *m) {
  struct job *job = m->job;
  mem_auto char *text = mem_format("stage '%s' is done but cannot be published (%s): trying again",
                                   job->pipeline->stages[m->stage].id, m->e.message);
  if (!m->parked) job->parked++;
  m->parked = true;
  job_trouble(job, text);
  work_later(job->engine, TROUBLE_RETRY_US, move_work, move_done, move_drop, m);
}

static void move_done(void *context) {
  struct move *m = context;
  struct job *job = m->job;
  size_t stage = m->stage;
  if (m->e.code && m->e.code != ERR_CORRUPT) {
    move_park(m);
    return;
  }
  if (m->parked) job->parked--;
  if (m->parked && !job->parked) job_trouble(job, NULL);
  if (m->e.code) log_error("job %s: %s", job->id, m->e.message);
  if (m->e.code)
    move_lost(job, stage);
  else
    move_commit(job, stage);
  job->committing--;
  move_drop(m);
}

void publish_move(struct job *job, size_t stage) {
  const char *id = job->pipeline->stages[stage].id;
  struct move *m = mem_alloc(sizeof *m);
  mem_auto char *folder = attempt_folder(job, job->stages[stage].record.fence);
  m->job = job;
  m->stage = stage;
  m->from = mem_format("%s/%s", folder, id);
  m->to = mem_format("%s/%s", job->output_folder, id);
  m->parent = mem_text(job->output_folder);
  m->manifest = job->stages[stage].manifest;
  job->committing++; /* not idle until the files stand where they belong */
  work_submit(job->engine, move_work, move_done, move_drop, m);
}

/* ---- sweep -------------------------------------------------------------------------------------------------------- */

static void sweep_work(void *context) {
  struct error e;
  if (fs_remove_path(context, &e)) log_warning("cannot remove %s: %s", (const char *)context, e.message);
}

/* The engine ends before the pool came to it. Removing twice does no harm. */
static void sweep_drop(void *context) {
  sweep_work(context);
  free(context);
}

void publish_remove(struct engine *engine, char *moved_path) {
  work_submit(engine, sweep_work, free, sweep_drop, moved_path);
}

void publish_sweep(struct job *job, uint64_t fence) {
  for (const struct trial *trial = job->trials; trial; trial = trial->next)
    if (trial->fence == fence) return;
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.fence == fence && job->stages[i].record.status == STAGE_PUBLISHING) return;
  publish_remove(job->engine, attempt_folder(job, fence));
}
