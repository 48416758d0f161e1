/* watch.h - follows a daemon's job on the screen until it ends. */
#pragma once
#include "cli/remote.h"
#include "cli/screen.h"

/* An exit code: that of the job's end, or of what went wrong. */
int watch_job(struct remote *remote, const char *id, enum screen_mode mode);
/* The same for a batch: 0 when no file of it failed. */
int watch_batch(struct remote *remote, const char *id, enum screen_mode mode);
/* --json, --quiet, or what the terminal can do. */
enum screen_mode watch_mode(const struct options *options);
