/* care.c - looking after a state folder while it is in use: backup, check, export, retention. All of it is reading and
 * copying in the pool; jobs go on meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/door_parts.h"
#include "engine/job.h"

enum { CARE_LINES_MAX = 1000, CARE_FILES_MAX = 10 * 1000 * 1000, CARE_DEPTH_MAX = 8, CARE_PAGE = 200 };

struct care {
  struct engine *engine;
  enum err (*work)(struct care *care, struct error *e);
  door_answered *done;
  void *context;
  char *path; /* backup: folder; export: file */
  struct store_retention retention;
  struct value *answer;
  struct value *lines; /* check: borrowed, part of the answer */
  uint64_t problems, files;
  int64_t bytes;
  struct error e;
};

/* ---- backup --------------------------------------------------------------------------------------------------------- */

static enum err copy_content(int from, int to, struct error *e) {
  for (;;) {
    ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)64 << 20, 0);
    if (n == 0) return ERR_OK;
    if (n > 0 || errno == EINTR) continue;
    break;
  }
  char block[65536]; /* not between these file systems: by hand, from where it stopped */
  for (ssize_t n; (n = read(from, block, sizeof block)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_errno(e, errno, "cannot read a file to back up");
    for (ssize_t done = 0, w; done < n; done += w)
      if ((w = write(to, block + done, (size_t)(n - done))) < 0) return error_errno(e, errno, "cannot write the backup");
  }
  return ERR_OK;
}

struct copying {
  struct care *care;
  const char *to; /* folder that `relative` paths begin in */
};

/* What a job needs to go on elsewhere: not its logs, and no links or devices whoever put them there. */
static enum err copy_entry(void *context, const struct fs_entry *entry, struct error *e) {
  struct copying *copying = context;
  mem_auto char *to = mem_format("%s/%s", copying->to, entry->path);
  if (strstr(entry->path, "/logs/") || strstr(entry->path, ".tmp-")) return ERR_OK;
  if (S_ISDIR(entry->stat.st_mode)) return fs_make_folders(to, 0700, e);
  if (!S_ISREG(entry->stat.st_mode)) return ERR_OK;
  fd_auto int from = openat(entry->folder, entry->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (from < 0 && errno == ENOENT) return ERR_OK; /* a job was removed meanwhile */
  if (from < 0) return error_errno(e, errno, "cannot read %s to back it up", entry->path);
  fd_auto int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (out < 0) return error_errno(e, errno, "cannot write %s", to);
  copying->care->files++;
  copying->care->bytes += entry->stat.st_size;
  return copy_content(from, out, e);
}

static enum err copy_tree(struct care *care, const char *name, struct error *e) {
  mem_auto char *from = mem_format("%s/%s", care->engine->state_folder, name), *to = mem_format("%s/%s", care->path, name);
  fd_auto int root = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return errno == ENOENT ? ERR_OK : error_errno(e, errno, "cannot open %s", from);
  if (fs_make_folders(to, 0700, e)) return e->code;
  struct copying copying = {care, to};
  return fs_walk(root, "", CARE_FILES_MAX, CARE_DEPTH_MAX, copy_entry, &copying, e);
}

/* The store first: whatever it names was on disk before it named it. */
static enum err care_backup(struct care *care, struct error *e) {
  static const char *const trees[] = {"pinned", "assets", "jobs"};
  enum err err = store_backup(care->engine->store, care->path, e);
  for (size_t i = 0; i < sizeof trees / sizeof *trees && !err; i++) err = copy_tree(care, trees[i], e);
  fd_auto int folder = err ? -1 : open(care->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0 && syncfs(folder) != 0) err = error_errno(e, errno, "cannot make the backup durable");
  value_set_int(care->answer, "files", (int64_t)care->files + 1);
  value_set_int(care->answer, "bytes", care->bytes);
  return err;
}

/* ---- check ---------------------------------------------------------------------------------------------------------- */

static void check_line(void *context, const char *line) {
  struct care *care = context;
  care->problems++;
  if (care->lines->count < CARE_LINES_MAX) value_list_add(care->lines, value_text(line));
}

static void check_note(struct care *care, const char *job, const char *what) {
  mem_auto char *line = mem_format("job %s: %s", job, what);
  check_line(care, line);
}

static void check_manifests(struct care *care, const char *job) {
  struct stage_list stages = {0};
  struct error e;
  if (store_stages(care->engine->store, job, &stages, NULL)) return; /* removed meanwhile */
  for (size_t i = 0; i < stages.count; i++) {
    const struct stage_record *s = &stages.items[i];
    if (!s->manifest_sha256 || (s->status != STAGE_FINISHED && s->status != STAGE_PUBLISHING)) continue;
    mem_auto char *path = mem_format("%s/jobs/%s/manifests/%s.json", care->engine->state_folder, job, s->stage);
    struct manifest *manifest = NULL;
    if (manifest_read(path, s->manifest_sha256, &manifest, &e)) check_note(care, job, e.message);
    manifest_free(&manifest);
  }
  stage_list_clear(&stages);
}

static void check_pinned(struct care *care, const struct job_record *job) {
  value_auto struct value *spec = finish_json(job->spec_json);
  const char *digest = value_get_text(spec, "pinned", NULL);
  if (!digest) return;
  mem_auto char *path = mem_format("%s/pinned/%s.yaml", care->engine->state_folder, digest);
  struct buf text = {0};
  struct error e;
  char actual[65] = "";
  if (fs_read_file(path, (size_t)16 << 20, &text, &e))
    check_note(care, job->id, e.message);
  else
    digest_of(buf_string(&text), text.size, actual);
  if (*actual && strcmp(actual, digest) != 0) check_note(care, job->id, "its pinned pipeline was changed");
  buf_free(&text);
}

static enum err check_files(struct care *care, struct error *e) {
  char before[STORE_ID_MAX] = "";
  for (size_t count = CARE_PAGE; count == CARE_PAGE;) {
    struct job_filter filter = {.limit = CARE_PAGE, .before_id = *before ? before : NULL};
    struct job_list jobs = {0};
    if (store_jobs(care->engine->store, &filter, &jobs, e)) return e->code;
    for (size_t i = 0; i < jobs.count; i++) {
      struct job_record whole = {0};
      if (!store_job(care->engine->store, jobs.items[i].id, &whole, NULL)) check_pinned(care, &whole);
      job_record_clear(&whole);
      check_manifests(care, jobs.items[i].id);
      snprintf(before, sizeof before, "%s", jobs.items[i].id);
    }
    count = jobs.count;
    job_list_clear(&jobs);
  }
  return ERR_OK;
}

static enum err care_check(struct care *care, struct error *e) {
  care->lines = value_list();
  value_map_set(care->answer, "lines", care->lines);
  enum err err = store_check(care->engine->store, check_line, care, e);
  if (err == ERR_CORRUPT && care->problems) err = ERR_OK; /* they are the answer */
  if (!err) err = check_files(care, e);
  value_set_int(care->answer, "problems", (int64_t)care->problems);
  return err;
}

/* ---- export --------------------------------------------------------------------------------------------------------- */

static enum err care_export(struct care *care, struct error *e) {
  fd_auto int fd = open(care->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
  if (fd < 0) return error_errno(e, errno, "cannot write %s", care->path);
  enum err err = store_export(care->engine->store, fd, e);
  if (!err && fsync(fd) != 0 && errno != EINVAL) err = error_errno(e, errno, "cannot write %s", care->path);
  return err;
}

/* ---- retention ------------------------------------------------------------------------------------------------------ */

/* Folders of jobs that are no more. A job's folder is made when the job is in the store already. */
static void prune_folders(struct care *care) {
  mem_auto char *folder = mem_format("%s/jobs", care->engine->state_folder);
  DIR *entries = opendir(folder);
  for (struct dirent *entry; entries && (entry = readdir(entries));) {
    struct job_record job = {0};
    if (entry->d_name[0] == '.') continue;
    if (store_job(care->engine->store, entry->d_name, &job, NULL) == ERR_NOT_FOUND) {
      mem_auto char *path = mem_format("%s/%s", folder, entry->d_name);
      fs_remove_path(path, NULL);
    }
    job_record_clear(&job);
  }
  if (entries) closedir(entries);
}

static enum err care_prune(struct care *care, struct error *e) {
  uint64_t removed = 0;
  enum err err = store_prune(care->engine->store, &care->retention, &removed, e);
  if (!err) prune_folders(care);
  value_set_int(care->answer, "removed", (int64_t)removed);
  return err;
}

/* ---- in the pool ---------------------------------------------------------------------------------------------------- */

static void care_work(void *context) {
  struct care *care = context;
  struct error e = {0};
  if (care->work(care, &e)) care->e = e;
}

static void care_drop(void *context) {
  struct care *care = context;
  value_free(&care->answer);
  free(care->path);
  free(care);
}

static void care_done(void *context) {
  struct care *care = context;
  value_auto struct value *refusal = care->e.code ? answer_error(&care->e) : NULL;
  care->done(care->context, refusal ? refusal : care->answer);
  care_drop(care);
}

/* The engine ends: whoever asked hears so, for what waits for the answer has to be freed by them. */
static void care_ended(void *context) {
  struct care *care = context;
  error_set(&care->e, ERR_CANCELLED, "the owner of the state folder ends: ask again");
  care_done(care);
}

static enum err care_begin(struct care *care, const char *op, const struct value *request, struct error *e) {
  static const struct {
    const char *op, *path;
    enum err (*work)(struct care *care, struct error *e);
  } rows[] = {{"backup", "folder", care_backup}, {"check", NULL, care_check}, {"export", "file", care_export},
              {"prune", NULL, care_prune}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(op, rows[i].op) != 0) continue;
    care->work = rows[i].work;
    if (!rows[i].path) return ERR_OK;
    const char *path = value_get_text(request, rows[i].path, "");
    if (*path != '/') return error_set(e, ERR_USAGE, "'%s' needs an absolute path as `%s`", op, rows[i].path);
    care->path = mem_text(path);
  }
  return ERR_OK;
}

static void care_retention(struct care *care, const struct value *request) {
  int64_t completed = value_get_int(request, "completedCount", 0), failed = value_get_int(request, "failedCount", 0);
  care->retention = (struct store_retention){.completed_age_us = value_get_int(request, "completedAgeUs", 0),
                                             .failed_age_us = value_get_int(request, "failedAgeUs", 0),
                                             .completed_count = completed > 0 ? (uint64_t)completed : 0,
                                             .failed_count = failed > 0 ? (uint64_t)failed : 0};
}

bool care_answer(struct engine *engine, const char *op, const struct value *request, door_answered *done, void *context) {
  struct error e = {0};
  struct care *care = mem_alloc(sizeof *care);
  *care = (struct care){.engine = engine, .done = done, .context = context, .answer = answer_ok()};
  if (care_begin(care, op, request, &e) == ERR_OK && !care->work) {
    care_drop(care);
    return false;
  }
  care_retention(care, request);
  care->e = e;
  if (e.code)
    care_done(care);
  else
    work_submit(engine, care_work, care_done, care_ended, care);
  return true;
}
