#include "api/artifacts.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/parts.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/manifest.h"

enum { KEPT = 24 };

/* ---- manifests ------------------------------------------------------------------------------------------------------------ */

struct held { /* by those who look and by the cache */
  struct manifest *manifest; /* items sorted by name */
  char sha256[65];
  unsigned references; /* under the lock */
  uint64_t used;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct held *kept[KEPT];
static uint64_t turn;

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct artifact *)a)->name, ((const struct artifact *)b)->name);
}

static void held_drop(struct held *held) { /* under the lock */
  if (--held->references) return;
  manifest_free(&held->manifest);
  free(held);
}

static void held_release(struct held *held) {
  if (!held) return;
  pthread_mutex_lock(&lock);
  held_drop(held);
  pthread_mutex_unlock(&lock);
}

static struct held *held_find(const char *sha256) {
  struct held *found = NULL;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < KEPT && !found; i++)
    if (kept[i] && strcmp(kept[i]->sha256, sha256) == 0) found = kept[i];
  if (found) {
    found->references++;
    found->used = ++turn;
  }
  pthread_mutex_unlock(&lock);
  return found;
}

/* In the place of the one that was not asked for the longest. */
static void held_keep(struct held *held) {
  size_t oldest = 0;
  pthread_mutex_lock(&lock);
  for (size_t i = 1; i < KEPT; i++)
    if (kept[oldest] && (!kept[i] || kept[i]->used < kept[oldest]->used)) oldest = i;
  if (kept[oldest]) held_drop(kept[oldest]);
  kept[oldest] = held;
  held->references++;
  held->used = ++turn;
  pthread_mutex_unlock(&lock);
}

static enum err held_get(struct service *service, const char *job, const struct stage_record *stage, struct held **held,
                         struct error *e) {
  mem_auto char *path = mem_format("%s/jobs/%s/manifests/%s.json", service->state_folder, job, stage->stage);
  struct manifest *manifest = NULL;
  *held = held_find(stage->manifest_sha256);
  if (*held) return ERR_OK;
  if (manifest_read(path, stage->manifest_sha256, &manifest, e)) return e->code;
  qsort(manifest->items, manifest->count, sizeof *manifest->items, by_name);
  struct held *made = mem_alloc(sizeof *made);
  made->manifest = manifest;
  made->references = 1;
  strncpy(made->sha256, stage->manifest_sha256, sizeof made->sha256 - 1);
  held_keep(made);
  *held = made;
  return ERR_OK;
}

static bool has_manifest(const struct stage_record *stage) {
  return stage->status == STAGE_FINISHED && stage->manifest_sha256;
}

/* ---- the list --------------------------------------------------------------------------------------------------------------- */

static void list_stage(const char *stage, const struct manifest *manifest, struct value *list) {
  for (size_t i = 0; i < manifest->count; i++) {
    const struct artifact *a = &manifest->items[i];
    struct value *v = value_map();
    mem_auto char *path = mem_format("%s/%s", stage, a->name);
    value_set_text(v, "stage", stage);
    value_set_text(v, "port", a->port);
    value_set_text(v, "path", path);
    value_set_int(v, "bytes", a->size_bytes);
    value_set_text(v, "sha256", a->sha256);
    value_set_text(v, "mediaType", a->media_type);
    if (a->metadata_json) api_set_json(v, "metadata", a->metadata_json);
    value_list_add(list, v);
  }
}

enum err artifacts_list(struct service *service, const struct job_record *job, struct value *list, struct error *e) {
  struct stage_list stages = {0};
  enum err err = store_stages(service->store, job->id, &stages, e);
  for (size_t i = 0; i < stages.count && !err; i++) {
    struct held *held = NULL;
    if (!has_manifest(&stages.items[i])) continue;
    err = held_get(service, job->id, &stages.items[i], &held, e);
    if (!err) list_stage(stages.items[i].stage, held->manifest, list);
    held_release(held);
  }
  stage_list_clear(&stages);
  return err;
}

/* ---- one file ----------------------------------------------------------------------------------------------------------------- */

/* What players and pages need, by the end of the name; the declared type of a plugin is believed for sound, pictures and
 * films alone. HTML, SVG, scripts and whatever else a browser would run is sent as bytes to be saved. */
static const struct {
  const char *end, *type;
} types[] = {
    {".m3u8", "application/vnd.apple.mpegurl"}, {".mpd", "application/dash+xml"}, {".ts", "video/mp2t"},
    {".m4s", "video/iso.segment"},              {".mp4", "video/mp4"},            {".m4v", "video/mp4"},
    {".m4a", "audio/mp4"},                      {".webm", "video/webm"},          {".mkv", "video/x-matroska"},
    {".mov", "video/quicktime"},                {".aac", "audio/aac"},            {".mp3", "audio/mpeg"},
    {".ogg", "audio/ogg"},                      {".opus", "audio/ogg"},           {".flac", "audio/flac"},
    {".wav", "audio/wav"},                      {".jpg", "image/jpeg"},           {".jpeg", "image/jpeg"},
    {".png", "image/png"},                      {".webp", "image/webp"},          {".gif", "image/gif"},
    {".avif", "image/avif"},                    {".vtt", "text/vtt; charset=utf-8"}, {".srt", "text/plain; charset=utf-8"},
    {".json", "application/json"},              {".txt", "text/plain; charset=utf-8"},
    {".log", "text/plain; charset=utf-8"},      {".csv", "text/plain; charset=utf-8"},
};

static const char *type_of(const char *name, const char *declared, bool *attachment) {
  const char *dot = strrchr(fs_base_name(name), '.');
  *attachment = false;
  for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
    if (strcasecmp(dot, types[i].end) == 0) return types[i].type;
  static const char *const safe[] = {"video/mp4", "video/webm", "video/mp2t", "audio/mpeg", "audio/mp4",  "audio/ogg",
                                     "audio/wav", "image/jpeg", "image/png",  "image/webp", "image/gif"};
  for (size_t i = 0; declared && i < sizeof safe / sizeof *safe; i++)
    if (strcmp(declared, safe[i]) == 0) return safe[i];
  *attachment = true;
  return "application/octet-stream";
}

static enum err file_open(const struct job_record *job, const char *path, const struct artifact *a, struct artifact_file *file,
                          struct error *e) {
  value_auto struct value *spec = api_parsed(job->spec_json);
  const char *output = value_get_text(spec, "output", NULL);
  struct stat st;
  fd_auto int root = output ? open(output, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  file->fd = root < 0 ? -1 : fs_open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, NULL);
  bool good = file->fd >= 0 && fstat(file->fd, &st) == 0 && S_ISREG(st.st_mode);
  if (!good) {
    if (file->fd >= 0) close(file->fd);
    return error_set(e, ERR_NOT_FOUND, "the artifact %.200s of job %s is not there any more", path, job->id);
  }
  /* A file that somebody changed has not the digest that would vouch for it. */
  memcpy(file->sha256, st.st_size == a->size_bytes ? a->sha256 : "", st.st_size == a->size_bytes ? sizeof file->sha256 : 1);
  file->type = type_of(path, a->media_type, &file->attachment);
  return ERR_OK;
}

/* The stage a path begins with, when it has published anything. */
static bool stage_of(struct service *service, const struct job_record *job, const char *path, struct held **held) {
  size_t size = strcspn(path, "/");
  struct stage_list stages = {0};
  *held = NULL;
  if (store_stages(service->store, job->id, &stages, NULL)) return false;
  for (size_t i = 0; i < stages.count; i++) {
    const struct stage_record *stage = &stages.items[i];
    if (strlen(stage->stage) == size && strncmp(stage->stage, path, size) == 0 && has_manifest(stage))
      held_get(service, job->id, stage, held, &(struct error){0});
  }
  stage_list_clear(&stages);
  return *held != NULL;
}

enum err artifacts_open(struct service *service, const struct job_record *job, const char *path, struct artifact_file *file,
                        struct error *e) {
  const char *name = strchr(path, '/');
  struct held *held;
  enum err err = error_set(e, ERR_NOT_FOUND, "job %s has no artifact %.200s", job->id, path);
  if (!name || !stage_of(service, job, path, &held)) return err;
  struct artifact wanted = {.name = (char *)(uintptr_t)(name + 1)};
  const struct artifact *found =
      bsearch(&wanted, held->manifest->items, held->manifest->count, sizeof wanted, by_name);
  if (found) {
    error_clear(e);
    err = file_open(job, path, found, file, e);
  }
  held_release(held);
  return err;
}

bool artifacts_has(struct service *service, const struct job_record *job, const char *path) {
  const char *name = strchr(path, '/');
  struct held *held;
  bool has = false;
  if (!name || !stage_of(service, job, path, &held)) return false;
  size_t size = strlen(++name);
  bool folder = !size || name[size - 1] == '/';
  for (size_t i = 0; i < held->manifest->count && !has; i++)
    has = folder ? strncmp(held->manifest->items[i].name, name, size) == 0 : strcmp(held->manifest->items[i].name, name) == 0;
  held_release(held);
  return has;
}
