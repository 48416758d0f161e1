#include "runner/attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "runner/fault.h"
#include "runner/passhost.h"
#include "runner/task.h"

int64_t attempt_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

bool attempt_cancelled(const struct attempt *a) {
  return atomic_load_explicit(&a->page->cancel, memory_order_relaxed) != 0 ||
         __atomic_load_n(&a->lost, __ATOMIC_RELAXED);
}

void attempt_send(struct attempt *a, enum message_type type, int32_t stage, struct value *moved) {
  struct error e;
  pthread_mutex_lock(&a->send_lock);
  enum err err = __atomic_load_n(&a->lost, __ATOMIC_RELAXED) ? ERR_LOST : message_send(a->socket, type, stage, moved, &e);
  if (err == ERR_LOST) __atomic_store_n(&a->lost, true, __ATOMIC_RELAXED);
  else if (err) fprintf(stderr, "stagemill: a message was not sent: %s\n", e.message);
  pthread_mutex_unlock(&a->send_lock);
  value_free(&moved);
}

/* ---- stages to plugins ---- */

static const struct plugin *find_plugin(struct plugin *const *loaded, const char *path) {
  for (size_t i = 0; loaded && loaded[i]; i++)
    if (strcmp(loaded[i]->path, path) == 0) return loaded[i];
  return NULL;
}

/* Plugins that this process loads itself: those of a fresh start. Two stages of one plugin load it once. */
static const struct plugin *load_plugin(const char *path, struct error *e) {
  static struct plugin *own[UNIT_STAGES_MAX + 1];
  size_t count = 0;
  for (; own[count]; count++)
    if (strcmp(own[count]->path, path) == 0) return own[count];
  struct plugin *p = NULL;
  if (count >= UNIT_STAGES_MAX || plugin_load(path, &p, e)) return NULL;
  own[count] = p;
  return p;
}

static bool bind_stage(struct attempt *a, int32_t index, struct plugin *const *loaded) {
  struct unit_stage *spec = &a->unit->stages[index];
  struct task *t = &a->tasks[index];
  struct error e = {0};
  if (spec->done) {
    task_init(t, a, index, NULL);
    return true;
  }
  const struct plugin *p = find_plugin(loaded, spec->plugin_path);
  if (!p) p = load_plugin(spec->plugin_path, &e);
  const sm_stage *stage = p ? plugin_stage(p, spec->uses) : NULL;
  task_init(t, a, index, stage);
  if (stage) return true;
  if (p) task_blame(t, SM_FAIL, "the plugin no longer brings this stage: look at `stagemill plugins`", spec->plugin_path);
  else task_blame(t, SM_FAIL, e.message, e.debug);
  return false;
}

/* A stage without its code ends at once, with the sentence that says why. */
static void refuse(struct attempt *a, int32_t index) {
  struct task *t = &a->tasks[index];
  struct value *body = value_map();
  t->ended = true;
  value_set_int(body, "status", SM_FAIL);
  value_set_text(body, "message", t->message);
  value_set_text(body, "debug", t->debug);
  attempt_send(a, MESSAGE_VERDICT, index, body);
}

static bool bind_stages(struct attempt *a, struct plugin *const *loaded) {
  bool whole = true;
  for (uint32_t i = 0; i < a->unit->stage_count; i++) {
    if (bind_stage(a, (int32_t)i, loaded)) continue;
    refuse(a, (int32_t)i);
    whole = false;
  }
  return whole;
}

/* ---- what the unit asks for ---- */

static void run_task(struct task *t) {
  fault_thread(t->index, t->spec->id);
  sm_status status = SM_FAIL;
  if (t->stage->kind == SM_KIND_TASK && t->stage->run) status = t->stage->run(&t->api);
  else task_broken(t, "stage `%s` works on frames and cannot run as a task", t->spec->id);
  if (status == SM_CANCELLED && !attempt_cancelled(t->attempt))
    status = task_broken(t, "stage `%s` says that it was cancelled, but nobody cancelled it", t->spec->id);
  task_verdict(t, status, NULL);
}

static void run_plan(struct task *t) {
  fault_thread(t->index, t->spec->id);
  task_verdict(t, t->stage->plan ? t->stage->plan(&t->api) : SM_OK, NULL);
}

static void run_each(struct attempt *a, void (*run)(struct task *)) {
  for (uint32_t i = 0; i < a->unit->stage_count; i++)
    if (a->tasks[i].stage) run(&a->tasks[i]);
  fault_thread(-1, NULL);
}

int attempt_run(struct attempt *a, struct plugin *const *plugins, const struct pass_module *pass) {
  struct value *stats = value_map();
  struct value *hello = value_map();
  value_set_int(hello, "pid", getpid());
  attempt_send(a, MESSAGE_HELLO, -1, hello);
  a->tasks = mem_array(a->unit->stage_count, sizeof(struct task));
  if (bind_stages(a, plugins)) {
    if (a->unit->kind == UNIT_PASS) passhost_run(a, pass, stats);
    else run_each(a, a->unit->kind == UNIT_PLAN ? run_plan : run_task);
  }
  fflush(NULL);
  struct value *bye = value_map();
  value_map_set(bye, "stats", stats);
  attempt_send(a, MESSAGE_BYE, -1, bye);
  return 0;
}
