/* folder.c - to a folder: each file is written beside its place, made durable, then renamed into it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "upload.h"

enum { BLOCK = 1 << 20 };

struct copy { /* one file on its way */
  struct upload *u;
  const struct item *item;
  char *path, *part; /* the place, and the name while it is written */
  int from, to;
  char *block; /* 2 * BLOCK */
};

static sm_status fail_by_errno(struct copy *c, const char *path, int why) {
  const char *name = c->item->name;
  if (why == ECANCELED) return SM_CANCELLED;
  if (why == ENOSPC || why == EDQUOT)
    return sm_fail(c->u->task, SM_RETRY, path, "the disk of %s is full: make room for %s", c->u->target.folder, name);
  bool hopeless = why == EACCES || why == EPERM || why == EROFS || why == ENOTDIR || why == EISDIR ||
                  why == ENAMETOOLONG || why == ELOOP || why == EINVAL || why == ENOTEMPTY;
  const char *cure = why == EACCES || why == EPERM ? ": let stagemill write there" : why == EROFS ? ": choose another folder" : "";
  return sm_fail(c->u->task, hopeless ? SM_FAIL : SM_RETRY, path, "cannot put %s into %s: %s%s", name,
                 c->u->target.folder, strerror(why), cure);
}

/* mkdir -p of everything before the last slash. */
static int make_parents(char *path) {
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    int failed = mkdir(path, 0777) != 0 && errno != EEXIST ? errno : 0;
    *slash = '/';
    if (failed) return failed;
  }
  return 0;
}

static int sync_parent(const char *path) {
  char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
  if (!slash) return free(folder), ENOMEM;
  *(slash == folder ? slash + 1 : slash) = '\0';
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int failed = fd < 0 || (fsync(fd) != 0 && errno != EINVAL) ? errno : 0;
  if (fd >= 0) close(fd);
  free(folder);
  return failed;
}

static ssize_t read_full(int fd, char *to, size_t size, off_t at) {
  size_t have = 0;
  while (have < size) {
    ssize_t got = pread(fd, to + have, size - have, at + (off_t)have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    have += (size_t)got;
  }
  return (ssize_t)have;
}

/* What stands there already has the same bytes. */
static bool same_as_there(struct copy *c) {
  struct stat st;
  int there = open(c->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (there < 0) return false;
  bool same = fstat(there, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == c->item->size;
  for (int64_t at = 0; same && at < c->item->size; at += BLOCK) {
    if (sm_cancelled(c->u->task)) same = false;
    ssize_t mine = same ? read_full(c->from, c->block, BLOCK, at) : -1;
    ssize_t theirs = mine >= 0 ? read_full(there, c->block + BLOCK, BLOCK, at) : -1;
    same = mine >= 0 && mine == theirs && memcmp(c->block, c->block + BLOCK, (size_t)mine) == 0;
    upload_progress(c->u, c->item);
  }
  close(there);
  return same;
}

static int write_all(int fd, const char *data, size_t size) {
  while (size) {
    ssize_t wrote = write(fd, data, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    data += wrote;
    size -= (size_t)wrote;
  }
  return 0;
}

static int copy_bytes(struct copy *c) {
  int64_t at = 0;
  for (;;) {
    if (sm_cancelled(c->u->task)) return ECANCELED;
    ssize_t got = read_full(c->from, c->block, BLOCK, at);
    if (got < 0) return errno;
    if (got == 0) break;
    int failed = write_all(c->to, c->block, (size_t)got);
    if (failed) return failed;
    at += got;
    c->u->bytes_ahead = at;
    upload_progress(c->u, c->item);
  }
  if (at != c->item->size) return EIO; /* it changed while it was read */
  return fsync(c->to) == 0 ? 0 : errno;
}

/* The name while writing is the same in every attempt: what a killed one left is overwritten, not piled up. */
static int put(struct copy *c) {
  int failed = make_parents(c->path);
  if (failed) return failed;
  if (same_as_there(c)) return upload_finished(c->u, c->item, false), 0;
  unlink(c->part);
  c->to = open(c->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (c->to < 0) return errno;
  failed = copy_bytes(c);
  c->u->bytes_ahead = 0;
  if (close(c->to) != 0 && !failed) failed = errno;
  if (!failed && rename(c->part, c->path) != 0) failed = errno;
  if (failed) {
    unlink(c->part);
    return failed;
  }
  upload_finished(c->u, c->item, true);
  return sync_parent(c->path);
}

static sm_status put_item(struct upload *u, const struct item *item, char *block) {
  struct copy c = {.u = u, .item = item, .block = block, .to = -1};
  const char *job = sm_info(u->task, "job");
  int slash;
  if (asprintf(&c.path, "%s/%s", strcmp(u->target.folder, "/") == 0 ? "" : u->target.folder, item->name) < 0)
    c.path = NULL;
  slash = c.path ? (int)(strrchr(c.path, '/') - c.path) : 0;
  if (!c.path || asprintf(&c.part, "%.*s/.stagemill-%s-%u.part", slash, c.path, job ? job : "0", item->index) < 0)
    c.part = NULL;
  c.from = sm_input_open(u->task, "files", item->index);
  int failed = !c.part ? ENOMEM : c.from < 0 ? errno : put(&c);
  sm_status status = failed ? fail_by_errno(&c, c.path, failed) : SM_OK;
  if (c.from >= 0) close(c.from);
  free(c.path);
  free(c.part);
  return status;
}

sm_status folder_upload(struct upload *u) {
  char *block = malloc(2 * BLOCK);
  if (!block) return sm_fail(u->task, SM_RETRY, NULL, "memory ran out: try again");
  sm_status status = SM_OK;
  for (uint32_t i = 0; i < u->count && status == SM_OK; i++) {
    upload_progress(u, &u->items[i]);
    status = sm_cancelled(u->task) ? SM_CANCELLED : put_item(u, &u->items[i], block);
  }
  free(block);
  return status;
}
