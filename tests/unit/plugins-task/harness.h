/* harness.h - a host for one task stage, in this very process. A tool for tests: what it cannot do it says and exits.
 *
 *   task-harness PLUGIN.so STAGE [options]
 *     --param NAME=VALUE      as in YAML; again for a list parameter: one more item
 *     --input PORT=FILE[,name=N][,stage=S][,type=T][,source]
 *     --tree PORT=FOLDER[,stage=S]   every file below FOLDER, named relative to it
 *     --out FOLDER            where outputs go (made)
 *     --keep FOLDER           what sm_info("keep") answers
 *     --checkpoints FILE      JSON, read at start and written at every sm_checkpoint
 *     --attempt N
 *     --cancel-after MS, --cancel-at FRACTION, --kill-at FRACTION (SIGKILL to itself)
 *
 * Prints one JSON object: verdict, message, debug, results, outputs, progress, log, checkpoints, ms. Exits 0 whatever the
 * verdict; 2 when called wrongly or when the stage broke its own tables. */
#pragma once
#include <pthread.h>

#include <jansson.h>
#include <stagemill/stage.h>

enum { HARNESS_INPUTS_MAX = 20000 };

struct harness_input {
  char *port, *path, *name, *stage, *type;
  bool source;
};

struct harness {
  struct sm_task task; /* first: a stage's task is the harness */
  const sm_plugin *plugin;
  const sm_stage *stage;
  json_t *settings; /* name -> array of text */
  struct harness_input *inputs;
  size_t input_count;
  char *out, *keep, *checkpoint_file, *path_buffer;
  json_t *checkpoints, *results, *outputs, *log;
  int attempt;
  double cancel_after_ms, cancel_at, kill_at;
  struct timespec begun;
  pthread_mutex_t lock; /* progress, log and cancelled come from any thread */
  double fraction, highest;
  unsigned long calls, backwards;
  uint64_t item, items;
  char progress_message[512], message[2048], debug[2048];
  bool cancelled, table_broken;
};

extern const sm_host harness_host;
double harness_ms(const struct harness *h);
__attribute__((format(printf, 1, 2), noreturn)) void harness_usage(const char *format, ...);

/* setting.c: the value at `path` by the stage's table. */
sm_value setting_value(struct harness *h, const char *path);
void setting_check(struct harness *h); /* every setting has a row, every required row a setting */
