/* leak - takes memory and touches it, until something stops it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_SIZE("step", "4Mi", 4096, 1073741824, "how much at a time"),
  SM_SIZE("most", "0", 0, 0, "stop there and succeed; 0: never"),
  SM_DURATION("pause", "5ms", 0, 60, "between two steps"),
  SM_PARAMS_END,
};
static const sm_port ports[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_INT("bytes", SM_AT_END, "bytes", "how much it took"),
  SM_RESULTS_END,
};

static sm_status leak_run(sm_task *task) {
  int64_t step = sm_param_int(task, "step"), most = sm_param_int(task, "most"), pause_us = sm_param_int(task, "pause");
  int64_t taken = 0;
  if (step <= 0) step = 4 << 20;
  while ((most == 0 || taken < most) && !sm_cancelled(task)) {
    struct timespec nap = {pause_us / 1000000, pause_us % 1000000 * 1000};
    volatile char *memory = malloc((size_t)step);
    if (!memory) return sm_fail(task, SM_RETRY, "malloc returned NULL", "no memory left after %lld bytes", (long long)taken);
    for (int64_t i = 0; i < step; i += 4096) memory[i] = 1;
    taken += step;
    sm_progress(task, 0, NULL);
    nanosleep(&nap, NULL);
  }
  if (sm_cancelled(task)) return SM_CANCELLED;
  sm_result_int(task, "bytes", taken);
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("leak", "takes memory", params, ports, ports, results, leak_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.leak", "1.0.0", "MIT", stages);
