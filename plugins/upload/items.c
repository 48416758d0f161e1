#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mime.h"
#include "upload.h"

enum { ITEMS_MAX = 1000000, PLAYLIST_LOOK = 256 * 1024 };

/* No way out of the target: relative, no empty, "." or ".." component, no control character. */
static bool name_is_sane(const char *name) {
  for (const char *s = name;; s++) {
    size_t size = strcspn(s, "/");
    if (size == 0 || (size == 1 && s[0] == '.') || (size == 2 && s[0] == '.' && s[1] == '.')) return false;
    for (size_t i = 0; i < size; i++)
      if ((unsigned char)s[i] < ' ' || s[i] == 127) return false;
    s += size;
    if (!*s) return true;
  }
}

/* A multivariant playlist names others (RFC 8216 4.3.4.2); DASH manifests stand alone and come as late. */
static enum rank rank_of(sm_task *task, uint32_t index, const char *type) {
  if (!mime_is_playlist(type)) return RANK_MEDIA;
  if (strcasecmp(type, "application/dash+xml") == 0) return RANK_MASTER;
  enum rank rank = RANK_PLAYLIST;
  char *text = malloc(PLAYLIST_LOOK);
  int fd = sm_input_open(task, "files", index);
  ssize_t size = text && fd >= 0 ? pread(fd, text, PLAYLIST_LOOK, 0) : -1;
  if (size > 0 && memmem(text, (size_t)size, "#EXT-X-STREAM-INF", 17)) rank = RANK_MASTER;
  if (fd >= 0) close(fd);
  free(text);
  return rank;
}

/* The operator's own types first, then the stage's, then what the name says. */
static char *type_of(sm_task *task, const char *name, const char *declared) {
  uint32_t count = sm_param_count(task, "content-types");
  for (uint32_t i = 0; i < count; i++) {
    char path[40];
    snprintf(path, sizeof path, "content-types.%u", i);
    const char *row = sm_param_text(task, path), *equals = row ? strchr(row, '=') : NULL;
    size_t extension = equals ? (size_t)(equals - row) : 0, size = strlen(name);
    if (extension && extension < size && strncasecmp(name + size - extension, row, extension) == 0)
      return strdup(equals + 1);
  }
  return strdup(declared && strchr(declared, '/') && !strchr(declared, '*') ? declared : mime_of_name(name));
}

static int64_t size_of(sm_task *task, uint32_t index) {
  struct stat st;
  int fd = sm_input_open(task, "files", index);
  if (fd < 0) return -1;
  int64_t size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
  close(fd);
  return size;
}

static sm_status take(struct upload *u, uint32_t index, bool in_folders) {
  sm_input input = {0};
  struct item *item = &u->items[index];
  if (sm_input_info(u->task, "files", index, &input) != SM_OK || !input.name)
    return sm_fail(u->task, SM_FAIL, NULL, "the host does not describe file %u", index + 1);
  const char *folder = in_folders && !input.is_source ? input.stage : NULL;
  if (!name_is_sane(input.name) || (folder && (!name_is_sane(folder) || strchr(folder, '/'))))
    return sm_fail(u->task, SM_FAIL, NULL, "file name %.200s cannot be uploaded: it leads elsewhere", input.name);
  item->index = index;
  if (asprintf(&item->name, "%s%s%s", folder ? folder : "", folder ? "/" : "", input.name) < 0) item->name = NULL;
  if (item->name) item->type = type_of(u->task, item->name, input.media_type);
  if (!item->name || !item->type) return sm_fail(u->task, SM_RETRY, NULL, "memory ran out: try again");
  if (input.sha256 && strlen(input.sha256) == 64) strcpy(item->sha256, input.sha256);
  item->size = size_of(u->task, index);
  if (item->size < 0)
    return sm_fail(u->task, SM_RETRY, NULL, "%s cannot be read: %s", item->name, strerror(errno));
  item->rank = rank_of(u->task, index, item->type);
  u->bytes += item->size;
  return SM_OK;
}

/* More than one stage among the inputs? The job's own input is nobody's. */
static bool several_stages(sm_task *task, uint32_t count) {
  char first[128] = "";
  for (uint32_t i = 0; i < count; i++) {
    sm_input input = {0};
    if (sm_input_info(task, "files", i, &input) != SM_OK || input.is_source || !input.stage) continue;
    if (!first[0])
      snprintf(first, sizeof first, "%s", input.stage);
    else if (strcmp(first, input.stage) != 0)
      return true;
  }
  return false;
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(const struct item *const *)a)->name, (*(const struct item *const *)b)->name);
}

static int by_rank(const void *a, const void *b) {
  const struct item *left = a, *right = b;
  if (left->rank != right->rank) return left->rank < right->rank ? -1 : 1;
  return left->index < right->index ? -1 : 1;
}

/* Two files of one name, or a file where another needs a folder. */
static sm_status check_collisions(struct upload *u) {
  const struct item **sorted = malloc(u->count * sizeof *sorted);
  if (!sorted) return sm_fail(u->task, SM_RETRY, NULL, "memory ran out: try again");
  for (uint32_t i = 0; i < u->count; i++) sorted[i] = &u->items[i];
  qsort(sorted, u->count, sizeof *sorted, by_name);
  sm_status status = SM_OK;
  for (uint32_t i = 1; i < u->count && status == SM_OK; i++) {
    const char *left = sorted[i - 1]->name, *right = sorted[i]->name;
    size_t size = strlen(left);
    if (strcmp(left, right) == 0)
      status = sm_fail(u->task, SM_FAIL, NULL, "two files want to be %s: use `layout: stages`, or other names", left);
    else if (!u->target.is_bucket && strncmp(left, right, size) == 0 && right[size] == '/')
      status = sm_fail(u->task, SM_FAIL, NULL, "%s would have to be a file and a folder: use `layout: stages`", left);
  }
  free(sorted);
  return status;
}

sm_status items_collect(struct upload *u) {
  int count = sm_input_count(u->task, "files");
  const char *layout = sm_param_text(u->task, "layout");
  if (count <= 0) return sm_fail(u->task, SM_FAIL, NULL, "there is nothing to upload: no earlier stage made a file");
  if (count > ITEMS_MAX) return sm_fail(u->task, SM_FAIL, NULL, "%d files are too many for one upload", count);
  u->count = (uint32_t)count;
  u->items = calloc(u->count, sizeof *u->items);
  if (!u->items) return sm_fail(u->task, SM_RETRY, NULL, "memory ran out: try again");
  bool in_folders = strcmp(layout, "stages") == 0 || (strcmp(layout, "auto") == 0 && several_stages(u->task, u->count));
  for (uint32_t i = 0; i < u->count; i++) {
    if (sm_cancelled(u->task)) return SM_CANCELLED;
    sm_status status = take(u, i, in_folders);
    if (status != SM_OK) return status;
  }
  qsort(u->items, u->count, sizeof *u->items, by_rank);
  return check_collisions(u);
}

void items_free(struct upload *u) {
  for (uint32_t i = 0; u->items && i < u->count; i++) {
    free(u->items[i].name);
    free(u->items[i].type);
  }
  free(u->items);
}

const struct item *items_entrance(const struct upload *u) {
  for (enum rank rank = RANK_MASTER; rank >= RANK_PLAYLIST; rank--)
    for (uint32_t i = 0; i < u->count; i++)
      if (u->items[i].rank == rank) return &u->items[i];
  return &u->items[0];
}
