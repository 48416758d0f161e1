/* fork - leaves processes behind: in its group, in sessions of their own, orphaned twice over. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_CHOICE("how", "daemon", "plain|daemon|chain", "children, daemons with a session of their own, or a running chain of forks"),
  SM_INT("count", "3", 1, 50, NULL, "how many"),
  SM_TEXT("name", "sm-left-behind", "name of the processes (15 letters)"),
  SM_CHOICE("then", "ok", "ok|crash|hang", "what the stage itself does next"),
  SM_PARAMS_END,
};
static const sm_port ports[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_INT("left", SM_AT_END, NULL, "how many processes it left behind"),
  SM_RESULTS_END,
};

static void linger(const char *name) {
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_PDEATHSIG, 0);
  for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
  for (int i = 0; i < 600; i++) sleep(1);
  _exit(0);
}

/* A process that keeps forking itself and dying: its number is never the one just looked up. */
static void chain(const char *name) {
  prctl(PR_SET_NAME, name);
  for (int i = 0; i < 5000; i++) {
    struct timespec nap = {0, 3 * 1000 * 1000};
    nanosleep(&nap, NULL);
    if (fork() != 0) _exit(0);
  }
  _exit(0);
}

static void leave(const char *how, const char *name) {
  if (fork() != 0) return;
  if (how[0] == 'd' && (setsid() < 0 || fork() != 0)) _exit(0);
  if (how[0] == 'c') chain(name);
  linger(name);
}

static sm_status fork_run(sm_task *task) {
  const char *how = sm_param_text(task, "how"), *name = sm_param_text(task, "name"), *then = sm_param_text(task, "then");
  struct timespec nap = {0, 50 * 1000 * 1000};
  for (int64_t i = 0; i < sm_param_int(task, "count"); i++) leave(how, name);
  nanosleep(&nap, NULL);
  sm_progress(task, 0.5, "left some behind");
  if (then[0] == 'c') abort();
  while (then[0] == 'h') pause();
  sm_result_int(task, "left", sm_param_int(task, "count"));
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("fork", "leaves processes behind", params, ports, ports, results, fork_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.fork", "1.0.0", "MIT", stages);
