/* crash-load - dies while it is being loaded. */
#include <stagemill/stage.h>

static int *volatile nowhere;
__attribute__((constructor)) static void crash(void) { *nowhere = 1; }

static const sm_param params[] = {SM_PARAMS_END};
static const sm_port ports[] = {SM_PORTS_END};
static const sm_result results[] = {SM_RESULTS_END};
static sm_status run(sm_task *task) {
  (void)task;
  return SM_OK;
}
static const sm_stage stages[] = {SM_TASK_STAGE("crash-load", "dies when loaded", params, ports, ports, results, run), SM_STAGES_END};
SM_PLUGIN("test.crash-load", "1.0.0", "MIT", stages);
