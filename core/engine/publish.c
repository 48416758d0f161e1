/* publish.c - from "the stage says it is done" to "its folder stands in the output folder": check and hash (pool), commit
 * {results, manifest, publishing} under the fence, move, commit {finished}. Recovery enters at publish_move. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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
};

static void check_work(void *context) {
  struct check *c = context;
  if (manifest_make(c->folder, c->outputs, 0, &c->manifest, &c->e)) return;
  if (fs_make_folders(c->manifest_folder, 0700, &c->e)) return;
  manifest_write(c->manifest, c->manifest_path, c->sha256, &c->e);
}

static void check_early(struct job *job, const struct commit *commit, void *context) {
  struct check *c = context;
  (void)job;
  c->trial->pending--;
  if (commit->status)
    c->stage->leaving = LEAVING_GONE; /* the fence has moved on: this attempt's word no longer counts */
  else
    publish_begun(c->trial, c->stage);
  trial_settle(c->trial);
  free(c);
}

static void check_done(void *context) {
  struct check *c = context;
  struct trial *trial = c->trial;
  trial->pending--;
  if (c->e.code) {
    c->stage->fault = c->e;
    c->stage->leaving = LEAVING_NOT;
    manifest_free(&c->manifest);
  } else {
    c->stage->leaving = LEAVING_CHECKED;
    c->stage->manifest = c->manifest;
    memcpy(c->stage->manifest_sha256, c->sha256, sizeof c->sha256);
  }
  free(c->folder);
  free(c->manifest_folder);
  free(c->manifest_path);
  value_free(&c->outputs);
  if (c->e.code || trial->over) {
    free(c);
    trial_settle(trial);
    return;
  }
  /* The attempt goes on without this stage: commit it now. */
  struct draft *d = draft_new(trial->job, trial->fence);
  publish_draft(trial, c->stage, d);
  c->stage->leaving = LEAVING_MOVING;
  trial->pending++;
  draft_commit(d, check_early, c);
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
  c->outputs = value_copy(stage->outputs);
  stage->leaving = LEAVING_CHECKING;
  trial->pending++;
  pool_submit(job->engine->pool, check_work, check_done, c);
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
  if (access(m->from, F_OK) != 0) {
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
  if (rename(m->to, old) != 0 && errno != ENOENT) return error_errno(&m->e, errno, "cannot replace %s", m->to);
  if (rename(m->from, m->to) != 0) return error_errno(&m->e, errno, "cannot publish %s", m->to);
  return ERR_OK;
}

static void move_work(void *context) {
  struct move *m = context;
  if (!m->manifest || m->manifest->count == 0) return;
  if (move_folder(m) == ERR_OK) fs_sync_folder(m->parent, &m->e);
}

static void move_again(void *context) {
  struct move *m = context;
  struct job *job = m->job;
  size_t stage = m->stage;
  free(m);
  job->committing--;
  publish_move(job, stage);
}

static void move_finished(struct job *job, const struct commit *commit, void *context) {
  uint64_t fence = *(uint64_t *)context;
  free(context);
  if (commit->status == ERR_OK) publish_sweep(job, fence);
}

static void move_commit(struct job *job, size_t index) {
  struct draft *d = draft_new(job, 0);
  struct stage_record *record = draft_stage(d, index);
  const struct job_stage *stage = &job->stages[index];
  record->status = STAGE_FINISHED;
  record->ended_us = clock_wall(loop_clock(job->engine->loop));
  record->suspect = false;
  struct value *body = draft_stage_event(job, index, "finished");
  if (stage->results) value_map_set(body, "results", value_copy(stage->results));
  if (stage->manifest && stage->manifest->count) value_set_int(body, "artifacts", (int64_t)stage->manifest->count);
  value_set_int(body, "durationMs", (record->ended_us - record->started_us) / 1000);
  draft_event(d, "stage", body);
  uint64_t *fence = mem_alloc(sizeof *fence);
  *fence = record->fence;
  draft_commit(d, move_finished, fence);
}

static void move_done(void *context) {
  struct move *m = context;
  struct job *job = m->job;
  free(m->from);
  free(m->to);
  free(m->parent);
  if (m->e.code == ERR_CORRUPT) { /* nothing to publish any more: the stage has to be done again */
    log_error("job %s: %s", job->id, m->e.message);
    struct draft *d = draft_new(job, 0);
    draft_stage(d, m->stage)->status = STAGE_WAITING;
    job->committing--;
    draft_commit(d, NULL, NULL);
    free(m);
    return;
  }
  if (m->e.code) {
    log_warning("job %s: %s; trying again in 2 s", job->id, m->e.message);
    loop_after(job->engine->loop, 2 * 1000 * 1000, move_again, m);
    return;
  }
  move_commit(job, m->stage);
  job->committing--;
  free(m);
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
  pool_submit(job->engine->pool, move_work, move_done, m);
}

/* ---- sweep -------------------------------------------------------------------------------------------------------- */

struct sweep {
  char *folder;
};

static void sweep_work(void *context) {
  struct sweep *s = context;
  struct error e;
  if (fs_remove_path(s->folder, &e)) log_warning("cannot remove %s: %s", s->folder, e.message);
}

static void sweep_done(void *context) {
  struct sweep *s = context;
  free(s->folder);
  free(s);
}

void publish_sweep(struct job *job, uint64_t fence) {
  for (const struct trial *trial = job->trials; trial; trial = trial->next)
    if (trial->fence == fence) return;
  for (size_t i = 0; i < job->pipeline->stage_count; i++)
    if (job->stages[i].record.fence == fence && job->stages[i].record.status == STAGE_PUBLISHING) return;
  struct sweep *s = mem_alloc(sizeof *s);
  s->folder = attempt_folder(job, fence);
  pool_submit(job->engine->pool, sweep_work, sweep_done, s);
}
