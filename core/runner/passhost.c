#include "runner/passhost.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "runner/fault.h"
#include "runner/task.h"

enum { WAIT_MS = 100 };

struct passhost { /* behind pass_context.runner */
  struct attempt *attempt;
  bool dropped[UNIT_STAGES_MAX];
};

const struct pass_module *passhost_load(const char *path, struct error *e) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const struct pass_module *module = library ? dlsym(library, PASS_MODULE_SYMBOL) : NULL;
  if (!module) {
    const char *why = dlerror();
    error_set(e, ERR_NOT_FOUND, "the pass executor %s cannot be loaded: %s: install stagemill again", path,
              why ? why : "unknown reason");
    return NULL;
  }
  if (module->size != sizeof(*module)) {
    error_set(e, ERR_VERSION, "the pass executor %s belongs to another build of stagemill: install both together", path);
    return NULL;
  }
  return module;
}

static struct passhost *host_of(struct pass_context *c) { return c->runner; }

static struct task *task_of(struct pass_context *c, int32_t stage) {
  struct attempt *a = host_of(c)->attempt;
  return stage >= 0 && (uint32_t)stage < a->unit->stage_count ? &a->tasks[stage] : NULL;
}

static int pass_source_open(struct pass_context *c) {
  const struct attempt *a = host_of(c)->attempt;
  if (a->unit->source) return artifact_open(a, a->unit->source);
  errno = ENOENT;
  return -1;
}

static bool index_of(const char *key, uint32_t count, uint32_t *index) {
  char *end;
  unsigned long n = strtoul(key, &end, 10);
  *index = (uint32_t)n;
  return *key >= '0' && *key <= '9' && !*end && n < count;
}

/* Late parameters join those that were known at the start. */
static void take_params(struct attempt *a, const struct value *params) {
  for (size_t i = 0; params && params->type == VALUE_MAP && i < params->count; i++) {
    uint32_t index;
    const struct value *given = params->items[i];
    if (!index_of(params->keys[i], a->unit->stage_count, &index) || given->type != VALUE_MAP) continue;
    struct unit_stage *spec = &a->unit->stages[index];
    if (!spec->params) spec->params = value_map();
    for (size_t k = 0; k < given->count; k++) value_map_set(spec->params, given->keys[k], value_copy(given->items[k]));
  }
}

static void take_drops(struct passhost *h, const struct value *drop) {
  for (size_t i = 0; drop && drop->type == VALUE_LIST && i < drop->count; i++) {
    int64_t index = drop->items[i]->type == VALUE_INT ? drop->items[i]->integer : -1;
    if (index >= 0 && index < (int64_t)h->attempt->unit->stage_count) h->dropped[index] = true;
  }
}

static enum err wait_go(struct attempt *a, struct value **go, struct error *e) {
  struct message m = {0};
  for (;;) {
    struct pollfd p = {a->socket, POLLIN, 0};
    if (attempt_cancelled(a)) return error_set(e, ERR_CANCELLED, "the attempt was cancelled");
    /* Waiting for the engine is no stall of the stages: the engine does not count it, yet the page stays alive. */
    atomic_fetch_add_explicit(&a->page->heartbeat, 1, memory_order_relaxed);
    if (poll(&p, 1, WAIT_MS) <= 0) continue;
    enum err err = message_receive(a->socket, &m, e);
    if (err) return err;
    if (m.type != MESSAGE_GO) {
      message_clear(&m);
      return error_set(e, ERR_PROTOCOL, "the engine answered OPENED with something else than GO");
    }
    *go = m.body;
    return ERR_OK;
  }
}

static enum err pass_opened(struct pass_context *c, const struct value *facts, struct value **go, struct error *e) {
  struct passhost *h = host_of(c);
  struct attempt *a = h->attempt;
  for (uint32_t i = 0; i < a->unit->stage_count; i++)
    if (a->tasks[i].stage) task_flush_lists(&a->tasks[i], SM_AT_OPEN);
  attempt_send(a, MESSAGE_OPENED, -1, value_copy(facts));
  *go = NULL;
  enum err err = wait_go(a, go, e);
  if (err) return err;
  take_params(a, value_get(*go, "params"));
  take_drops(h, value_get(*go, "drop"));
  return ERR_OK;
}

static void pass_thread_for(struct pass_context *c, int32_t stage) {
  struct task *t = task_of(c, stage);
  fault_thread(t ? stage : -1, t ? t->spec->id : NULL);
}

static void pass_blame(struct pass_context *c, int32_t stage, sm_status status, const char *message, const char *debug) {
  struct task *t = task_of(c, stage);
  if (t && t->stage) task_blame(t, status, message, debug);
}

static void pass_verdict(struct pass_context *c, int32_t stage, sm_status status, const struct value *stats) {
  struct task *t = task_of(c, stage);
  if (t && t->stage) task_verdict(t, status == SM_DONE ? SM_OK : status, stats);
}

static bool pass_cancelled(struct pass_context *c) { return attempt_cancelled(host_of(c)->attempt); }

static void pass_log(struct pass_context *c, int32_t stage, int level, const char *text) {
  struct task *t = task_of(c, stage);
  if (t) {
    t->api.host->log(&t->api, level, text);
    return;
  }
  struct value *body = value_map();
  value_set_int(body, "level", level < SM_LOG_DEBUG ? SM_LOG_DEBUG : level > SM_LOG_ERROR ? SM_LOG_ERROR : level);
  value_map_set(body, "text", value_text_n(text, strnlen(text, 4096)));
  attempt_send(host_of(c)->attempt, MESSAGE_LOG, -1, body);
}

/* Whoever has no verdict yet ends with the pass. */
static void settle_rest(struct passhost *h, sm_status status, const char *why) {
  struct attempt *a = h->attempt;
  for (uint32_t i = 0; i < a->unit->stage_count; i++) {
    struct task *t = &a->tasks[i];
    if (!t->stage || h->dropped[i]) continue;
    sm_status end = status == SM_OK ? SM_FAIL : status;
    task_blame(t, end, why, NULL);
    task_verdict(t, end, NULL);
  }
}

void passhost_run(struct attempt *a, const struct pass_module *module, struct value *stats) {
  struct passhost h = {.attempt = a};
  struct pass_stage *stages = mem_array(a->unit->stage_count, sizeof(*stages));
  for (uint32_t i = 0; i < a->unit->stage_count; i++) {
    stages[i].spec = &a->unit->stages[i];
    if (a->tasks[i].stage) stages[i].stage = *a->tasks[i].stage;
    stages[i].task = &a->tasks[i].api;
  }
  struct pass_context c = {a->unit, stages, a->page, &h, pass_source_open, pass_opened, pass_thread_for, pass_blame,
                           pass_verdict, pass_cancelled, pass_log};
  fault_thread(-1, NULL);
  if (module) settle_rest(&h, module->run(&c, stats), "the pass ended before this stage did");
  else settle_rest(&h, SM_FAIL, "no pass executor is installed: install stagemill with media support");
  free(stages);
}
