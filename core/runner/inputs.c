/* Inputs: artifacts that the engine connected, as descriptors (always) and as paths (where the attempt may open one). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "runner/task.h"

static const struct unit_artifact *find(const struct task *t, const char *port, uint32_t index) {
  for (uint32_t i = 0; port && i < t->spec->artifact_count; i++) {
    const struct unit_artifact *artifact = &t->spec->artifacts[i];
    if (strcmp(artifact->port, port) == 0 && index-- == 0) return artifact;
  }
  errno = ENOENT;
  return NULL;
}

int task_input_count(sm_task *task, const char *port) {
  const struct task *t = (const struct task *)task;
  int count = 0;
  for (uint32_t i = 0; port && i < t->spec->artifact_count; i++) count += strcmp(t->spec->artifacts[i].port, port) == 0;
  return count;
}

sm_status task_input(sm_task *task, const char *port, uint32_t index, sm_input *input, uint32_t input_size) {
  const struct task *t = (const struct task *)task;
  const struct unit_artifact *a = find(t, port, index);
  memset(input, 0, input_size);
  if (!a) return SM_FAIL;
  sm_input full = {.size = sizeof(full), .is_source = a->is_source, .name = a->name, .media_type = a->media_type,
                   .stage = a->from_stage, .port = a->from_port, .sha256 = a->sha256, .size_bytes = a->size_bytes};
  memcpy(input, &full, input_size < sizeof(full) ? input_size : sizeof(full));
  return SM_OK;
}

static int slot_of(const struct attempt *a, const struct unit_artifact *artifact) {
  if (artifact->root_slot < 0 || (uint32_t)artifact->root_slot >= a->slot_count) return -1;
  return a->slots[artifact->root_slot];
}

static bool same_file(int one, int other) {
  struct stat a, b;
  return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* The inherited descriptor is the file; a path is only a way to a second offset on the same file. */
static int reopen(int slot, const char *path) {
  char self[64];
  snprintf(self, sizeof(self), "/proc/self/fd/%d", slot);
  int fd = open(self, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) return fd;
  fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
  if (fd >= 0 && same_file(fd, slot)) {
    fcntl(fd, F_SETFL, 0);
    return fd;
  }
  if (fd >= 0) close(fd);
  /* After a change of user neither may be allowed: a duplicate still reads (its offset is shared with others). */
  fd = fcntl(slot, F_DUPFD_CLOEXEC, 3);
  if (fd >= 0) lseek(fd, 0, SEEK_SET);
  return fd;
}

int artifact_open(const struct attempt *a, const struct unit_artifact *artifact) {
  int slot = slot_of(a, artifact);
  const char *beneath = artifact->beneath;
  if (slot >= 0 && beneath && *beneath) {
    int saved;
    int fd = fs_open_beneath(slot, beneath, O_RDONLY | O_CLOEXEC, 0, NULL);
    saved = errno;
    if (fd >= 0) return fd;
    if (artifact->path && (fd = open(artifact->path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) >= 0) return fd;
    errno = saved;
    return -1;
  }
  if (slot >= 0) return reopen(slot, artifact->path);
  if (!artifact->path) {
    errno = ENOENT;
    return -1;
  }
  return open(artifact->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

int task_input_open(sm_task *task, const char *port, uint32_t index) {
  const struct task *t = (const struct task *)task;
  const struct unit_artifact *artifact = find(t, port, index);
  return artifact ? artifact_open(t->attempt, artifact) : -1;
}

static bool opens(const char *path, int slot, bool is_file) {
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  return fd >= 0 && (slot < 0 || !is_file || same_file(fd, slot));
}

const char *task_input_path(sm_task *task, const char *port, uint32_t index) {
  struct task *t = (struct task *)task;
  const struct unit_artifact *artifact = find(t, port, index);
  if (!artifact) return NULL;
  int slot = slot_of(t->attempt, artifact);
  bool is_file = !artifact->beneath || !*artifact->beneath;
  if (artifact->path && opens(artifact->path, slot, is_file)) return artifact->path;
  int saved = errno;
  if (slot < 0) return NULL;
  mem_auto char *path = is_file ? mem_format("/proc/self/fd/%d", slot)
                                : mem_format("/proc/self/fd/%d/%s", slot, artifact->beneath);
  if (opens(path, slot, is_file)) return task_keep(t, path);
  errno = saved;
  return NULL;
}
