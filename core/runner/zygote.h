/* zygote.h - `--zygote`: loads plugins once, stays single-threaded, forks a keeper for every attempt. */
#pragma once
#include <sys/types.h>

/* control: the inherited socket. engine: pid of who started us. Answers the exit code. */
int zygote_run(int control, pid_t engine);
