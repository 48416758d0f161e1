/* crash - ends its process in every way a process can end. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_CHOICE("how", "segv", "segv|abort|fpe|bus|exit|exit-zero|kill|thread|stack|none", "the way to go"),
  SM_INT("until-attempt", "1000", 1, 1000, NULL, "from this attempt on it succeeds"),
  SM_BOOL("leave-partial", "true", "write half an output first"),
  SM_PARAMS_END,
};
static const sm_port inputs[] = {
  SM_PORT("in", SM_PORT_ARTIFACT, SM_PORT_MANY | SM_PORT_OPTIONAL, "*/*", "anything; not looked at"),
  SM_PORTS_END,
};
static const sm_port outputs[] = {
  SM_PORT("out", SM_PORT_ARTIFACT, SM_PORT_OPTIONAL, "text/plain", "half written"),
  SM_PORTS_END,
};
static const sm_result results[] = {
  SM_RESULT_INT("attempt", SM_AT_END, NULL, "the attempt that did not crash"),
  SM_RESULTS_END,
};

static int *volatile nowhere;

static void *crash_thread(void *unused) {
  *nowhere = 1;
  return unused;
}

static void crash_in_thread(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, crash_thread, NULL);
  pthread_join(thread, NULL);
}

static volatile int deep_enough; /* never */
__attribute__((noinline)) static int dive(volatile char *above) {
  volatile char room[4096];
  room[0] = above ? above[0] : 1;
  return deep_enough ? 0 : dive(room) + room[0];
}

static void go(const char *how) {
  if (strcmp(how, "segv") == 0) *nowhere = 1;
  if (strcmp(how, "abort") == 0) abort();
  if (strcmp(how, "fpe") == 0) raise(SIGFPE);
  if (strcmp(how, "bus") == 0) raise(SIGBUS);
  if (strcmp(how, "exit") == 0) _exit(7);
  if (strcmp(how, "exit-zero") == 0) exit(0);
  if (strcmp(how, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(how, "thread") == 0) crash_in_thread();
  if (strcmp(how, "stack") == 0) dive(NULL);
}

static sm_status crash_run(sm_task *task) {
  const char *how = sm_param_text(task, "how");
  if (sm_param_bool(task, "leave-partial")) {
    const char *path = sm_output_path(task, "out", "partial.txt");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) fputs("half of it", f);
    if (f) fclose(f);
  }
  fprintf(stderr, "these are the last words of crash\n");
  sm_progress(task, 0.4, "about to crash");
  if (sm_attempt(task) < sm_param_int(task, "until-attempt")) go(how ? how : "segv");
  sm_result_int(task, "attempt", sm_attempt(task));
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("crash", "ends its process", params, inputs, outputs, results, crash_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.crash", "1.0.0", "MIT", stages);
