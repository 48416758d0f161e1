/* hang - shows one sign of life, then none. */
#include <signal.h>
#include <unistd.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_CHOICE("how", "sleep", "sleep|spin", "waits for nothing, or burns a core"),
  SM_INT("until-attempt", "1000", 1, 1000, NULL, "from this attempt on it succeeds at once"),
  SM_PARAMS_END,
};
static const sm_port ports[] = {SM_PORTS_END};
static const sm_result results[] = {SM_RESULTS_END};

static sm_status hang_run(sm_task *task) {
  const char *how = sm_param_text(task, "how");
  if (sm_attempt(task) >= sm_param_int(task, "until-attempt")) return SM_OK;
  sm_progress(task, 0.1, "about to hang");
  for (volatile int spin = 0;; spin++)
    if (!how || how[1] == 'l') pause();
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("hang", "never ends", params, ports, ports, results, hang_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.hang", "1.0.0", "MIT", stages);
