/* pass.h - between the runner and its private pass module (runner/media, loaded RTLD_LOCAL, the only code of ours in
 * this process that links libav). Same build on both sides: no versioning. */
#pragma once
#include <stagemill/abi.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/value.h"
#include "wire/page.h"
#include "wire/unit.h"

struct pass_stage {
  const struct unit_stage *spec;
  sm_stage stage;  /* the plugin's row, widened to this build's layout (absent fields zero) */
  sm_task *task;   /* ready for use; the pass sets task->media_host */
};

struct pass_context {
  const struct unit *unit;
  struct pass_stage *stages; /* unit->stage_count of them, same order */
  struct page *page;         /* pass keeps frames counters and heartbeat; progress comes from the stages or the pass */
  void *runner;              /* the runner's own */
  /* A fresh descriptor of the unit's source at offset 0, or -1 with errno. */
  int (*source_open)(struct pass_context *c);
  /* Sends OPENED, waits for GO, hands late parameters to their tasks. *go: owned body (drop list). ERR_CANCELLED, ERR_LOST. */
  enum err (*opened)(struct pass_context *c, const struct value *facts, struct value **go, struct error *e);
  /* [any thread] The calling thread works for stage (-1: the host itself) from now on: names it, log prefix, crash suspect. */
  void (*thread_for)(struct pass_context *c, int32_t stage);
  /* [any thread] Records why a stage fails when the host finds the fault (the stage's own sm_fail goes its own way). */
  void (*blame)(struct pass_context *c, int32_t stage, sm_status status, const char *message, const char *debug);
  /* [any thread] The stage has ended: sends its VERDICT with the recorded sentences. Once per stage. */
  void (*verdict)(struct pass_context *c, int32_t stage, sm_status status, const struct value *stats);
  bool (*cancelled)(struct pass_context *c); /* [any thread] */
  void (*log)(struct pass_context *c, int32_t stage, int level, const char *text); /* [any thread] */
};

struct pass_module {
  uint32_t size; /* sizeof(struct pass_module): a stale file is noticed */
  /* Runs the pass to its end; every stage not dropped has had its verdict. Adds to stats ({decodedVideoFrames, ...}). */
  sm_status (*run)(struct pass_context *c, struct value *stats);
};
#define PASS_MODULE_SYMBOL "stagemill_pass_module"
