/* threads - its constructor starts a thread that holds a mutex most of the time. In a process forked from one that had
 * this loaded, the thread is gone and the mutex held for ever: such a plugin must be loaded by a fresh process. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <stagemill/stage.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile long turns;

static void *holder(void *unused) {
  for (;;) {
    struct timespec nap = {0, 2 * 1000 * 1000}, gap = {0, 50 * 1000};
    pthread_mutex_lock(&lock);
    turns++;
    nanosleep(&nap, NULL);
    pthread_mutex_unlock(&lock);
    nanosleep(&gap, NULL);
  }
  return unused;
}

__attribute__((constructor)) static void start_thread(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, holder, NULL);
  pthread_detach(thread);
}

static const sm_param params[] = {SM_PARAMS_END};
static const sm_port ports[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_BOOL("alive", SM_AT_END, "the constructor's thread still runs here"),
  SM_RESULTS_END,
};

static sm_status threads_run(sm_task *task) {
  struct timespec nap = {0, 20 * 1000 * 1000};
  pthread_mutex_lock(&lock);
  long before = turns;
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < 100 && turns == before; i++) nanosleep(&nap, NULL);
  sm_result_bool(task, "alive", turns != before);
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("threads", "has a thread of its own from the start", params, ports, ports, results, threads_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.threads", "1.0.0", "MIT", stages);
