/* list.h - `--list FD PATH...`: loads plugins in a throw-away process and says what is in them. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

/* Writes frames (u32 size, packed value) to `out`: {path, phase: "loading"} before and {path, phase: "loaded", ok, ...}
 * after each; last {phase: "end", libraries}. engine: pid of who started us. */
int list_run(int out, pid_t engine, char *const *paths, size_t count);
