#include "runner/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

enum { OPEN_FILES = 1024, OOM_FIRST = 800 };

/* A sanitizer's shadow memory alone is above any sensible limit. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Lowers a limit, never raises one. */
static void limit(int which, rlim_t to) {
  struct rlimit r;
  if (getrlimit(which, &r) != 0) return;
  if (r.rlim_max == RLIM_INFINITY || r.rlim_max > to) r.rlim_max = to;
  r.rlim_cur = r.rlim_max;
  setrlimit(which, &r);
}

static void prefer_as_victim(void) {
  fd_auto int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  static const char score[] = "800";
  _Static_assert(OOM_FIRST == 800, "the text says the same");
  if (fd >= 0 && write(fd, score, sizeof(score) - 1) < 0) return; /* only the order of dying suffers */
}

static enum err change_user(const struct limits *l, struct error *e) {
  if (l->gid >= 0 && (setgroups(0, NULL) != 0 || setresgid((gid_t)l->gid, (gid_t)l->gid, (gid_t)l->gid) != 0))
    return error_errno(e, errno, "cannot take group %d for the attempt", l->gid);
  if (l->uid >= 0 && setresuid((uid_t)l->uid, (uid_t)l->uid, (uid_t)l->uid) != 0)
    return error_errno(e, errno, "cannot take user %d for the attempt", l->uid);
  return ERR_OK;
}

enum err limits_apply(const struct limits *l, struct error *e) {
  /* Into the cgroup first: what is allocated from here on counts. */
  if (l->cgroup_procs >= 0 && write(l->cgroup_procs, "0", 1) != 1)
    return error_errno(e, errno, "cannot join the attempt's memory cgroup");
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, OPEN_FILES);
  /* RLIMIT_DATA counts thread stacks and reserve that is never touched: well above what may be resident. It only stops
   * a bomb that is faster than the watch. */
  if (l->memory_bytes > 0 && !SANITIZED) limit(RLIMIT_DATA, (rlim_t)l->memory_bytes * 2 + ((rlim_t)1 << 30));
  if (l->file_bytes > 0) {
    limit(RLIMIT_FSIZE, (rlim_t)l->file_bytes);
    signal(SIGXFSZ, SIG_IGN); /* the stage sees EFBIG and can say so */
  }
  prefer_as_victim();
  enum err err = change_user(l, e);
  if (err) return err;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return error_errno(e, errno, "cannot give up new privileges");
  return ERR_OK;
}

int limits_die_with_parent(int signal_number, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, signal_number);
  return !parent || getppid() == parent;
}

size_t limits_children(pid_t *pids, size_t room) {
  char path[64];
  size_t count = 0;
  snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)syscall(SYS_gettid));
  FILE *f = fopen(path, "re");
  int pid;
  while (f && count < room && fscanf(f, "%d", &pid) == 1) pids[count++] = pid;
  if (f) fclose(f);
  return count;
}

/* Two moves: first above everything in use, then down in order, so that no move lands on a descriptor still needed. */
enum err limits_keep_only(int *fds, size_t count, int first, struct error *e) {
  int above = first + (int)count;
  for (size_t i = 0; i < count; i++) {
    int moved = fcntl(fds[i], F_DUPFD, above);
    if (moved < 0) return error_errno(e, errno, "cannot duplicate a descriptor for the attempt");
    fds[i] = moved;
  }
  for (size_t i = 0; i < count; i++) {
    int at = first + (int)i;
    if (dup2(fds[i], at) < 0) return error_errno(e, errno, "cannot place a descriptor for the attempt");
    fds[i] = at;
  }
  if (first > 3 && close_range(3, (unsigned)first - 1, 0) != 0) return error_errno(e, errno, "cannot close descriptors");
  if (close_range((unsigned)above, ~0u, 0) != 0) return error_errno(e, errno, "cannot close descriptors");
  return ERR_OK;
}
