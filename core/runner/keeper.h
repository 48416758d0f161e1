/* keeper.h - a small process between the zygote and each attempt: its parent, its only reaper, and the one that makes
 * sure nothing the attempt started outlives it.
 *
 * Where the kernel allows it the keeper is init of a PID namespace of its own, so that whatever the attempt left dies
 * with it; else it is the child subreaper of all of them and kills until nobody is left. */
#pragma once
#include <sys/types.h>

#include "runner/launch.h"

struct keeper_place {
  int control;      /* socket to the engine */
  int zygote_pidfd; /* readable once the zygote is dead */
  bool own_pids;    /* this process is init of a PID namespace */
};

/* In the freshly forked keeper; never returns. */
void keeper_run(const struct keeper_place *place, struct control *start, const struct launch_host *host)
  __attribute__((noreturn));
