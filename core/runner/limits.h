/* limits.h - what an attempt may not do, set before any stage runs. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct limits {
  int64_t memory_bytes; /* backstop behind cgroup and RSS watch; 0: none */
  int64_t file_bytes;   /* largest file; 0: none */
  int uid, gid;         /* -1: keep */
  int cgroup_procs;     /* descriptor to join through; -1: none */
};

/* No core dumps, no new privileges, out-of-memory first, own user. PDEATHSIG is set last, since a change of user clears it. */
enum err limits_apply(const struct limits *limits, struct error *e);
/* This process gets `signal` when its parent dies; false when it is dead already. parent: its pid, 0: unknown here. */
int limits_die_with_parent(int signal, pid_t parent);
/* Pids of this process's children, at most `room` of them. */
size_t limits_children(pid_t *pids, size_t room);
/* Moves fds to first, first+1, ... and closes everything else from 3 on. Descriptors 0-2 are left alone. */
enum err limits_keep_only(int *fds, size_t count, int first, struct error *e);
