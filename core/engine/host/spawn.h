/* spawn.h - starts the runner with an explicit list of descriptors and nothing else of ours. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* fds[i] becomes 3 + i; stdin is /dev/null; everything else is closed. output: its stdout and stderr. The process is a
 * session of its own and dies with the calling thread. argv[0] is the path. *pidfd: close-on-exec. */
enum err spawn_runner(char *const argv[], int output, const int *fds, size_t fd_count, pid_t *pid, int *pidfd,
                      struct error *e);
/* Kills it and reaps it. */
void spawn_kill(pid_t pid, int *pidfd);
