/* Memory cgroups, v2 or v1, where this process may make one below its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/parts.h"

struct cgroup {
  char *path;
  bool v2;
};

static bool write_text(const char *folder, const char *file, const char *text) {
  mem_auto char *path = mem_format("%s/%s", folder, file);
  fd_auto int fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* The number behind `key` in a file of "key number" lines; 0 when it is not there. */
static long long read_field(const char *folder, const char *file, const char *key) {
  mem_auto char *path = mem_format("%s/%s", folder, file);
  FILE *f = fopen(path, "re");
  char name[64];
  long long n, found = 0;
  while (f && fscanf(f, "%63s %lld", name, &n) == 2)
    if (strcmp(name, key) == 0) found = n;
  if (f) fclose(f);
  return found;
}

static bool has_controller(const char *controllers, const char *wanted) {
  size_t size = strlen(wanted);
  for (const char *at = controllers; (at = strstr(at, wanted)); at += size)
    if ((at == controllers || at[-1] == ',' || at[-1] == ' ') && strchr(", \n", at[size])) return true;
  return false;
}

/* v2: are the children of our place allowed to limit memory? */
static bool lists_memory(const char *place) {
  mem_auto char *path = mem_format("/sys/fs/cgroup%s/cgroup.subtree_control", place);
  char text[256] = "";
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && has_controller(text, "memory");
}

/* Our own place from /proc/self/cgroup: "4:memory:/some/where" (v1) or "0::/some/where" (v2). */
static char *own_folder(bool *v2) {
  FILE *f = fopen("/proc/self/cgroup", "re");
  char line[1024];
  char *folder = NULL;
  while (f && !folder && fgets(line, sizeof(line), f)) {
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) continue;
    *controllers++ = *path++ = '\0';
    if (has_controller(controllers, "memory")) folder = mem_format("/sys/fs/cgroup/memory%s", path);
    *v2 = !*controllers;
    if (*v2 && lists_memory(path)) folder = mem_format("/sys/fs/cgroup%s", path);
  }
  if (f) fclose(f);
  return folder;
}

static bool set_limit(const struct cgroup *g, int64_t bytes) {
  char text[32];
  snprintf(text, sizeof(text), "%lld", (long long)bytes);
  if (!g->v2) return write_text(g->path, "memory.limit_in_bytes", text);
  write_text(g->path, "memory.swap.max", "0");
  write_text(g->path, "memory.oom.group", "1");
  return write_text(g->path, "memory.max", text);
}

struct cgroup *cgroup_new(int64_t memory_bytes, int64_t serial, int *procs_fd) {
  bool v2 = false;
  mem_auto char *own = own_folder(&v2);
  *procs_fd = -1;
  if (!own) return NULL;
  struct cgroup *g = mem_alloc(sizeof(*g));
  g->v2 = v2;
  g->path = mem_format("%s/stagemill-%d-%lld", own, (int)getpid(), (long long)serial);
  mem_auto char *procs = mem_format("%s/cgroup.procs", g->path);
  if (mkdir(g->path, 0755) == 0 && set_limit(g, memory_bytes)) *procs_fd = open(procs, O_WRONLY | O_CLOEXEC);
  if (*procs_fd < 0) cgroup_free(&g);
  return g;
}

bool cgroup_was_full(const struct cgroup *g) {
  return read_field(g->path, g->v2 ? "memory.events" : "memory.oom_control", "oom_kill") > 0;
}

void cgroup_free(struct cgroup **g) {
  if (!*g) return;
  rmdir((*g)->path);
  free((*g)->path);
  free(*g);
  *g = NULL;
}
