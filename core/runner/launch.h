/* launch.h - from what START says to a process that runs an attempt: sessions, descriptors, limits. */
#pragma once
#include <sys/types.h>

#include "runner/pass.h"
#include "runner/plugin.h"
#include "wire/control.h"

struct launch_host { /* what the zygote has to give */
  struct plugin **plugins; /* ended by NULL */
  const struct pass_module *pass;
  const char *pass_path;
};

/* In the freshly forked attempt; never returns. keeper: the parent's pid as seen from here. */
void launch_attempt(struct control *start, const struct launch_host *host, pid_t keeper) __attribute__((noreturn));
/* `--attempt SLOTS PASS-MODULE`: the descriptors lie where launch_attempt put them. Answers the exit code. */
int launch_fresh(uint32_t slots, const char *pass_path);
