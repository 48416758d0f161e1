#include "engine/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

void manifest_free(struct manifest **manifest) {
  struct manifest *m = *manifest;
  if (!m) return;
  for (size_t i = 0; i < m->count; i++) {
    free(m->items[i].port);
    free(m->items[i].name);
    free(m->items[i].media_type);
    free(m->items[i].metadata_json);
  }
  free(m->items);
  free(m);
  *manifest = NULL;
}

struct declared { /* by name, so that a hundred thousand segments are found in no time */
  const char *name;
  size_t index;
};

struct making {
  const struct value *outputs;
  struct declared *declared;
  struct manifest *manifest;
  bool *seen; /* one per output */
  int64_t max_bytes, bytes;
};

static int declared_order(const void *a, const void *b) {
  return strcmp(((const struct declared *)a)->name, ((const struct declared *)b)->name);
}

static struct declared *declared_sorted(const struct value *outputs) {
  struct declared *all = mem_array(outputs->count + 1, sizeof *all);
  for (size_t i = 0; i < outputs->count; i++)
    all[i] = (struct declared){value_get_text(outputs->items[i], "name", ""), i};
  qsort(all, outputs->count, sizeof *all, declared_order);
  return all;
}

static const struct value *making_declared(struct making *making, const char *name, size_t *index) {
  struct declared wanted = {name, 0};
  const struct declared *found =
      bsearch(&wanted, making->declared, making->outputs->count, sizeof wanted, declared_order);
  if (!found) return NULL;
  *index = found->index;
  return making->outputs->items[found->index];
}

/* The crew has checked metadata and hands it on as a map. */
static char *metadata_text(const struct value *output) {
  const struct value *meta = value_get(output, "meta");
  struct buf text = {0};
  if (value_is_null(meta)) return NULL;
  value_json(&text, meta, VALUE_JSON_COMPACT);
  return buf_take(&text);
}

/* Somebody still writes to it, or it is another file by now: its digest says nothing about what would be published. */
static enum err making_unchanged(int fd, const struct fs_entry *entry, struct error *e) {
  struct stat now;
  if (fstat(fd, &now) != 0) return error_errno(e, errno, "cannot read the output '%s'", entry->path);
  const struct stat *then = &entry->stat;
  bool same = now.st_ino == then->st_ino && now.st_dev == then->st_dev && now.st_size == then->st_size &&
              now.st_nlink == then->st_nlink && now.st_mtim.tv_sec == then->st_mtim.tv_sec &&
              now.st_mtim.tv_nsec == then->st_mtim.tv_nsec;
  if (same) return ERR_OK;
  return error_set(e, ERR_INVALID, "the output '%s' was changed while it was being checked: a stage must have closed its "
                   "outputs when it ends", entry->path);
}

static enum err making_add(struct making *making, const struct value *output, const struct fs_entry *entry,
                           struct error *e) {
  fd_auto int fd = openat(entry->folder, entry->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return error_errno(e, errno, "cannot read the output '%s'", entry->path);
  struct manifest *m = making->manifest;
  m->items = mem_grow(m->items, m->count + 1, sizeof *m->items);
  struct artifact *a = &m->items[m->count];
  memset(a, 0, sizeof *a);
  if (digest_of_fd(fd, a->sha256, &a->size_bytes, e) || making_unchanged(fd, entry, e)) return e->code;
  making->bytes += a->size_bytes;
  if (making->max_bytes && making->bytes > making->max_bytes)
    return error_set(e, ERR_TOO_LARGE, "the stage's outputs exceed %lld bytes", (long long)making->max_bytes);
  a->port = mem_text(value_get_text(output, "port", ""));
  a->name = mem_text(entry->path);
  a->media_type = mem_text(value_get_text(output, "type", "application/octet-stream"));
  a->metadata_json = metadata_text(output);
  m->count++;
  return ERR_OK;
}

/* What a stage did not declare (a temporary file, a forgotten one) is not published. */
static enum err making_discard(const struct fs_entry *entry, struct error *e) {
  log_warning("the file '%s' was left behind without being declared as an output: removed", entry->path);
  if (unlinkat(entry->folder, entry->name, 0) == 0) return ERR_OK;
  return error_errno(e, errno, "cannot remove the undeclared file '%s'", entry->path);
}

static enum err making_visit(void *context, const struct fs_entry *entry, struct error *e) {
  struct making *making = context;
  if (S_ISDIR(entry->stat.st_mode)) return ERR_OK;
  if (S_ISLNK(entry->stat.st_mode))
    return error_set(e, ERR_INVALID, "the output '%s' is a symbolic link: outputs must be regular files", entry->path);
  if (!S_ISREG(entry->stat.st_mode))
    return error_set(e, ERR_INVALID, "the output '%s' is not a regular file", entry->path);
  if (entry->stat.st_nlink > 1)
    return error_set(e, ERR_INVALID, "the output '%s' has %lu hard links: outputs must be files of their own",
                     entry->path, (unsigned long)entry->stat.st_nlink);
  size_t index;
  const struct value *output = making_declared(making, entry->path, &index);
  if (!output) return making_discard(entry, e);
  making->seen[index] = true;
  return making_add(making, output, entry, e);
}

/* One syncfs is half the price of an fsync per file once there are hundreds of segments. */
static enum err making_sync(int root, struct error *e) {
  if (syncfs(root) == 0) return ERR_OK;
  return error_errno(e, errno, "cannot make the stage's outputs durable");
}

static enum err making_complete(const struct making *making, struct error *e) {
  for (size_t i = 0; i < making->outputs->count; i++)
    if (!making->seen[i])
      return error_set(e, ERR_INVALID, "the stage declared the output '%s' but did not write it",
                       value_get_text(making->outputs->items[i], "name", ""));
  return ERR_OK;
}

enum err manifest_make(const char *folder, const struct value *outputs, int64_t max_bytes, struct manifest **manifest,
                       struct error *e) {
  *manifest = mem_alloc(sizeof **manifest);
  fd_auto int root = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (root < 0 && errno == ENOENT && outputs->count == 0) return ERR_OK;
  if (root < 0) {
    manifest_free(manifest);
    return error_errno(e, errno, "cannot open the stage's outputs");
  }
  struct making making = {outputs, declared_sorted(outputs), *manifest, mem_array(outputs->count + 1, sizeof(bool)),
                          max_bytes, 0};
  enum err err = fs_walk(root, "", MANIFEST_FILES_MAX, MANIFEST_DEPTH_MAX, making_visit, &making, e);
  if (!err) err = making_complete(&making, e);
  if (!err && making.manifest->count) err = making_sync(root, e);
  free(making.declared);
  free(making.seen);
  if (err) manifest_free(manifest);
  return err;
}

enum err manifest_write(const struct manifest *manifest, const char *path, char sha256[65], struct error *e) {
  value_auto struct value *list = value_list();
  for (size_t i = 0; i < manifest->count; i++) {
    const struct artifact *a = &manifest->items[i];
    struct value *item = value_map();
    value_set_text(item, "port", a->port);
    value_set_text(item, "name", a->name);
    value_set_text(item, "type", a->media_type);
    value_set_text(item, "sha256", a->sha256);
    value_set_int(item, "bytes", a->size_bytes);
    if (a->metadata_json) value_set_text(item, "meta", a->metadata_json);
    value_list_add(list, item);
  }
  struct buf text = {0};
  value_json(&text, list, VALUE_JSON_COMPACT);
  digest_of(buf_string(&text), text.size, sha256);
  enum err err = fs_write_durably(path, buf_string(&text), text.size, 0600, e);
  buf_free(&text);
  return err;
}

static void manifest_load(struct manifest *m, const struct value *list) {
  m->items = mem_array(list->count + 1, sizeof *m->items);
  for (size_t i = 0; i < list->count; i++) {
    const struct value *item = list->items[i];
    struct artifact *a = &m->items[m->count++];
    a->port = mem_text(value_get_text(item, "port", ""));
    a->name = mem_text(value_get_text(item, "name", ""));
    a->media_type = mem_text(value_get_text(item, "type", ""));
    a->metadata_json = mem_text(value_get_text(item, "meta", NULL));
    a->size_bytes = value_get_int(item, "bytes", -1);
    strncpy(a->sha256, value_get_text(item, "sha256", ""), sizeof a->sha256 - 1);
  }
}

enum err manifest_read(const char *path, const char *sha256, struct manifest **manifest, struct error *e) {
  struct buf text = {0};
  if (fs_read_file(path, (size_t)64 << 20, &text, e)) return e->code;
  char actual[65];
  digest_of(buf_string(&text), text.size, actual);
  value_auto struct value *list = NULL;
  enum err err = ERR_OK;
  if (sha256 && strcmp(sha256, actual) != 0)
    err = error_set(e, ERR_CORRUPT, "the manifest %s was changed: its digest is not the stored one", path);
  if (!err) err = value_from_json(buf_string(&text), text.size, &list, e);
  if (!err && list->type != VALUE_LIST) err = error_set(e, ERR_CORRUPT, "the manifest %s is not a list", path);
  buf_free(&text);
  if (err) return err;
  *manifest = mem_alloc(sizeof **manifest);
  manifest_load(*manifest, list);
  return ERR_OK;
}
