/* slow - takes its time, with progress; stops when cancelled unless told not to. */
#include <signal.h>
#include <time.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_DURATION("for", "2s", 0, 86400, "how long"),
  SM_BOOL("deaf", "false", "ignore cancellation"),
  SM_BOOL("stubborn", "false", "ignore SIGTERM too"),
  SM_BOOL("mute", "false", "report no progress"),
  SM_PARAMS_END,
};
static const sm_port inputs[] = {
  SM_PORT("in", SM_PORT_ARTIFACT, SM_PORT_MANY | SM_PORT_OPTIONAL, "*/*", "anything; not looked at"),
  SM_PORTS_END,
};
static const sm_port outputs[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_DURATION("took", SM_AT_END, "how long it really was"),
  SM_RESULTS_END,
};

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static sm_status slow_run(sm_task *task) {
  int64_t whole = sm_param_int(task, "for"), begin = now_us(), done;
  bool deaf = sm_param_bool(task, "deaf"), mute = sm_param_bool(task, "mute");
  if (sm_param_bool(task, "stubborn")) signal(SIGTERM, SIG_IGN);
  while ((done = now_us() - begin) < whole) {
    struct timespec nap = {0, 20 * 1000 * 1000};
    if (!deaf && sm_cancelled(task)) return SM_CANCELLED;
    if (!mute) sm_progress_items(task, (double)done / (double)whole, (uint64_t)(done * 100 / whole) + 1, 100, "taking time");
    nanosleep(&nap, NULL);
  }
  sm_result_duration(task, "took", now_us() - begin);
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("slow", "takes its time", params, inputs, outputs, results, slow_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.slow", "1.0.0", "MIT", stages);
