/* stagemill-runner: the process that foreign code lives in. Started by stagemill, not by people. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/launch.h"
#include "runner/list.h"
#include "runner/zygote.h"

static int usage(void) {
  fprintf(stderr, "stagemill-runner is started by stagemill; it has no use of its own.\n");
  return 2;
}

int main(int argc, char **argv) {
  if (argc < 4) return usage();
  if (strcmp(argv[1], "--zygote") == 0) return zygote_run(atoi(argv[2]), (pid_t)atoi(argv[3]));
  if (strcmp(argv[1], "--list") == 0)
    return list_run(atoi(argv[2]), (pid_t)atoi(argv[3]), argv + 4, (size_t)(argc - 4));
  if (strcmp(argv[1], "--attempt") == 0) return launch_fresh((uint32_t)atoi(argv[2]), argv[3]);
  return usage();
}
