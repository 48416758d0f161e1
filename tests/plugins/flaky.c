/* flaky - fails until its n-th attempt. Counts by the attempt number, or by its own checkpoint. */
#include <stdio.h>
#include <stdlib.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_INT("failures", "2", 0, 1000, NULL, "how many attempts fail before one succeeds"),
  SM_CHOICE("verdict", "retry", "retry|fail|cancelled|unsupported|nonsense", "what a failing attempt returns"),
  SM_CHOICE("count-by", "attempt", "attempt|checkpoint", "what tells how often it was tried"),
  SM_TEXT("say", "the moon is in the wrong phase: wait a little", "the sentence of a failing attempt"),
  SM_PARAMS_END,
};
static const sm_port ports[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_INT("attempts", SM_AT_END, NULL, "the attempt that succeeded"),
  SM_RESULTS_END,
};

static int tries(sm_task *task) {
  const char *by = sm_param_text(task, "count-by");
  if (!by || by[0] != 'c') return sm_attempt(task);
  const char *before = sm_checkpoint_get(task, "tries");
  char text[16];
  int now = (before ? atoi(before) : 0) + 1;
  snprintf(text, sizeof(text), "%d", now);
  sm_checkpoint(task, "tries", text);
  return now;
}

static sm_status flaky_run(sm_task *task) {
  int now = tries(task);
  const char *verdict = sm_param_text(task, "verdict");
  sm_progress(task, 0.3, "trying");
  if (now > sm_param_int(task, "failures")) {
    sm_result_int(task, "attempts", now);
    return SM_OK;
  }
  switch (verdict ? verdict[0] : 'r') {
  case 'f': return sm_fail(task, SM_FAIL, "flaky was told to", "%s", sm_param_text(task, "say"));
  case 'c': return SM_CANCELLED;
  case 'u': return SM_UNSUPPORTED;
  case 'n': return 4711;
  default: return sm_fail(task, SM_RETRY, "flaky was told to", "%s", sm_param_text(task, "say"));
  }
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("flaky", "fails at first", params, ports, ports, results, flaky_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.flaky", "1.0.0", "MIT", stages);
