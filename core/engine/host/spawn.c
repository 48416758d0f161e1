#include "host/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

/* What foreign code gets to see of our environment: where things are and how to speak, no secrets. */
static const char *const passed[] = {
  "PATH", "HOME", "USER", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "FONTCONFIG_*",
  "SSL_CERT_*", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "ASAN_*", "UBSAN_*", "TSAN_*",
  "LSAN_*", "MALLOC_*", "GLIBC_TUNABLES", "XDG_CACHE_HOME", "STAGEMILL_PASS_*",
};

static bool is_passed(const char *variable) {
  for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++) {
    size_t size = strlen(passed[i]);
    if (passed[i][size - 1] == '*' ? strncmp(variable, passed[i], size - 1) == 0
                                   : strncmp(variable, passed[i], size) == 0 && variable[size] == '=')
      return true;
  }
  return false;
}

static char **environment(void) {
  size_t count = 0, kept = 0;
  while (environ[count]) count++;
  char **out = mem_array(count + 1, sizeof(*out));
  for (size_t i = 0; i < count; i++)
    if (is_passed(environ[i])) out[kept++] = environ[i];
  return out;
}

/* Duplicates above all targets first, so that placing one never overwrites another. */
static int add_files(posix_spawn_file_actions_t *files, int output, const int *fds, size_t count, int *high) {
  int err = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
  if (!err) err = posix_spawn_file_actions_adddup2(files, output, 1);
  if (!err) err = posix_spawn_file_actions_adddup2(files, output, 2);
  for (size_t i = 0; i < count && !err; i++) {
    high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
    err = high[i] < 0 ? errno : posix_spawn_file_actions_adddup2(files, high[i], 3 + (int)i);
  }
  if (!err) err = posix_spawn_file_actions_addclosefrom_np(files, 3 + (int)count);
  return err;
}

static int set_attributes(posix_spawnattr_t *attributes) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(attributes, &none);
  posix_spawnattr_setsigdefault(attributes, &all);
  return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

enum err spawn_runner(char *const argv[], int output, const int *fds, size_t fd_count, pid_t *pid, int *pidfd,
                      struct error *e) {
  enum { FDS_MAX = 8 };
  int high[FDS_MAX];
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  mem_auto char **env = environment();
  memset(high, -1, sizeof(high));
  if (fd_count > FDS_MAX) return error_set(e, ERR_INTERNAL, "too many descriptors for %s", argv[0]);
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  int err = add_files(&files, output, fds, fd_count, high);
  if (!err) err = set_attributes(&attributes);
  if (!err) err = posix_spawn(pid, argv[0], &files, &attributes, argv, env);
  for (size_t i = 0; i < fd_count; i++)
    if (high[i] >= 0) close(high[i]);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (err) return error_errno(e, err, "cannot start %s: is stagemill installed completely?", argv[0]);
  *pidfd = (int)syscall(SYS_pidfd_open, *pid, 0); /* not reaped yet, so the number is still its own */
  if (*pidfd >= 0) return ERR_OK;
  err = errno;
  spawn_kill(*pid, pidfd);
  return error_errno(e, err, "cannot watch the process of %s", argv[0]);
}

void spawn_kill(pid_t pid, int *pidfd) {
  if (pid <= 0) return;
  kill(-pid, SIGKILL);
  kill(pid, SIGKILL);
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
  fd_close_at(pidfd);
  *pidfd = -1;
}
