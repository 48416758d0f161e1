/* The host's table and the services without a file of their own: progress, log, failure, checkpoints, context. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "runner/task.h"

enum { LOG_MAX = 4096, CHECKPOINT_KEY_MAX = 63, CHECKPOINT_VALUE_MAX = 4000, NOTE_MAX = 1024 };
enum { TITLE_PERIOD_US = 100 * 1000 };

const char *task_keep(struct task *t, const char *text) {
  size_t size = strlen(text) + 1;
  struct keep *k = mem_alloc(sizeof(*k) + size);
  memcpy(k->text, text, size);
  pthread_mutex_lock(&t->lock);
  k->next = t->kept;
  t->kept = k;
  pthread_mutex_unlock(&t->lock);
  return k->text;
}

static void copy_text(char *out, size_t room, const char *text) { snprintf(out, room, "%s", text ? text : ""); }

/* ---- failures and the verdict ---- */

sm_status task_broken(struct task *t, const char *format, ...) {
  va_list list;
  va_start(list, format);
  pthread_mutex_lock(&t->lock);
  if (!t->broken) { /* the first one is the cause, later ones follow from it */
    t->broken = true;
    vsnprintf(t->message, sizeof(t->message), format, list);
    t->debug[0] = '\0';
  }
  pthread_mutex_unlock(&t->lock);
  va_end(list);
  return SM_FAIL;
}

void task_blame(struct task *t, sm_status status, const char *message, const char *debug) {
  pthread_mutex_lock(&t->lock);
  if (t->failed == SM_OK && !t->broken) {
    t->failed = status;
    copy_text(t->message, sizeof(t->message), message);
    copy_text(t->debug, sizeof(t->debug), debug);
  }
  pthread_mutex_unlock(&t->lock);
}

static sm_status service_fail(sm_task *task, sm_status verdict, const char *sentence, const char *debug) {
  struct task *t = (struct task *)task;
  pthread_mutex_lock(&t->lock);
  if (!t->broken) { /* the stage's last word counts: it knows best */
    t->failed = verdict;
    copy_text(t->message, sizeof(t->message), sentence);
    copy_text(t->debug, sizeof(t->debug), debug);
  }
  pthread_mutex_unlock(&t->lock);
  return verdict;
}

/* What a stage returns is foreign: only the four verdicts get through. */
static sm_status settle(struct task *t, sm_status status) {
  if (t->broken) return status == SM_CANCELLED && attempt_cancelled(t->attempt) ? SM_CANCELLED : SM_FAIL;
  if (status == SM_OK) return task_is_complete(t) ? SM_OK : SM_FAIL;
  if (status == SM_RETRY || status == SM_FAIL || status == SM_CANCELLED) return status;
  if (status == SM_UNSUPPORTED) {
    if (!t->message[0]) copy_text(t->message, sizeof(t->message), "the stage needs a service this host does not have: "
                                  "upgrade stagemill");
    return SM_FAIL;
  }
  task_broken(t, "stage `%s` returned %d, which is no verdict: return SM_OK or sm_fail(...)", t->spec->id, status);
  return SM_FAIL;
}

static void send_title(struct task *t) { /* lock held */
  struct value *body = value_map();
  value_set_text(body, "text", t->title);
  memcpy(t->title_sent, t->title, sizeof(t->title));
  t->title_at_us = attempt_now_us();
  attempt_send(t->attempt, MESSAGE_TITLE, t->index, body);
}

void task_verdict(struct task *t, sm_status status, const struct value *stats) {
  bool plan = t->attempt->unit->kind == UNIT_PLAN;
  pthread_mutex_lock(&t->lock);
  bool again = t->ended;
  t->ended = true;
  if (!again && strcmp(t->title, t->title_sent) != 0) send_title(t);
  pthread_mutex_unlock(&t->lock);
  if (again) return;
  if (status == SM_OK && !plan) task_flush_lists(t, SM_AT_END);
  if (status == SM_OK && !plan && t->attempt->unit->kind == UNIT_TASK) task_flush_lists(t, SM_AT_OPEN);
  sm_status settled = plan && status == SM_UNSUPPORTED ? SM_OK : plan && status == SM_OK ? SM_OK : settle(t, status);
  struct value *body = value_map();
  value_set_int(body, "status", settled);
  if (settled != SM_OK) {
    value_set_text(body, "message", t->message);
    value_set_text(body, "debug", t->debug);
  }
  value_map_set(body, "stats", stats ? value_copy(stats) : value_map());
  attempt_send(t->attempt, MESSAGE_VERDICT, t->index, body);
}

/* ---- signs of life ---- */

static uint32_t at_most_u32(uint64_t n) { return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n; }

static void offer_title(struct task *t, const char *message) {
  pthread_mutex_lock(&t->lock);
  if (message) copy_text(t->title, sizeof(t->title), message);
  if (strcmp(t->title, t->title_sent) != 0 && attempt_now_us() - t->title_at_us >= TITLE_PERIOD_US && !t->ended)
    send_title(t);
  pthread_mutex_unlock(&t->lock);
}

static sm_status service_progress(sm_task *task, double fraction, uint64_t item, uint64_t items, const char *message) {
  struct task *t = (struct task *)task;
  struct page_stage *stage = &t->attempt->page->stages[t->index];
  uint32_t ppm = isnan(fraction) ? UINT32_MAX : fraction <= 0 ? 0 : fraction >= 1 ? 1000000 : (uint32_t)(fraction * 1e6);
  atomic_store_explicit(&stage->fraction_ppm, ppm, memory_order_relaxed);
  atomic_store_explicit(&stage->item, at_most_u32(item), memory_order_relaxed);
  atomic_store_explicit(&stage->items, at_most_u32(items), memory_order_relaxed);
  atomic_fetch_add_explicit(&t->attempt->page->heartbeat, 1, memory_order_relaxed);
  if (message || t->title[0]) offer_title(t, message);
  return attempt_cancelled(t->attempt) ? SM_CANCELLED : SM_OK;
}

static void service_log(sm_task *task, int level, const char *text) {
  struct task *t = (struct task *)task;
  if (!text) return;
  struct value *body = value_map();
  value_set_int(body, "level", level < SM_LOG_DEBUG ? SM_LOG_DEBUG : level > SM_LOG_ERROR ? SM_LOG_ERROR : level);
  value_map_set(body, "text", value_text_n(text, strnlen(text, LOG_MAX)));
  attempt_send(t->attempt, MESSAGE_LOG, t->index, body);
}

static int service_cancelled(sm_task *task) { return attempt_cancelled(((struct task *)task)->attempt); }

/* ---- checkpoints and context ---- */

static sm_status service_checkpoint(sm_task *task, const char *key, const char *value) {
  struct task *t = (struct task *)task;
  if (t->attempt->unit->kind == UNIT_PLAN) return SM_UNSUPPORTED;
  if (!key || !*key || strnlen(key, CHECKPOINT_KEY_MAX + 1) > CHECKPOINT_KEY_MAX || !value ||
      strnlen(value, CHECKPOINT_VALUE_MAX + 1) > CHECKPOINT_VALUE_MAX)
    return task_broken(t, "stage `%s` stores a checkpoint `%.64s` beyond the bounds (key 63 bytes, value 4000)",
                       t->spec->id, key ? key : "(none)");
  pthread_mutex_lock(&t->lock);
  if (!t->spec->checkpoints) t->spec->checkpoints = value_map();
  value_set_text(t->spec->checkpoints, key, value);
  pthread_mutex_unlock(&t->lock);
  struct value *body = value_map();
  value_set_text(body, "key", key);
  value_set_text(body, "value", value);
  attempt_send(t->attempt, MESSAGE_CHECKPOINT, t->index, body);
  return SM_OK;
}

static const char *service_checkpoint_get(sm_task *task, const char *key) {
  struct task *t = (struct task *)task;
  pthread_mutex_lock(&t->lock);
  const char *value = key ? value_get_text(t->spec->checkpoints, key, NULL) : NULL;
  mem_auto char *copy = mem_text(value); /* a later checkpoint of that key frees what is in the map */
  pthread_mutex_unlock(&t->lock);
  return copy ? task_keep(t, copy) : NULL;
}

static const char *service_scratch_path(sm_task *task) { return ((struct task *)task)->spec->scratch_path; }

static const char *service_info(sm_task *task, const char *key) {
  const struct task *t = (const struct task *)task;
  const struct unit *unit = t->attempt->unit;
  if (!key) return NULL;
  if (strcmp(key, "job") == 0) return unit->job;
  if (strcmp(key, "pipeline") == 0) return unit->pipeline;
  if (strcmp(key, "stage") == 0) return t->spec->id;
  if (strcmp(key, "input") == 0) return unit->input_name;
  if (strcmp(key, "keep") == 0) return t->spec->keep_path;
  return NULL;
}

static int64_t service_number(sm_task *task, const char *key) {
  const struct task *t = (const struct task *)task;
  const struct unit *unit = t->attempt->unit;
  if (!key) return 0;
  if (strcmp(key, "attempt") == 0) return t->spec->attempt;
  if (strcmp(key, "deadline_us") == 0) return unit->deadline_boot_us;
  if (strcmp(key, "cores") == 0) return unit->cores ? unit->cores : 1;
  if (strcmp(key, "memory_limit") == 0) return unit->memory_limit_bytes;
  if (strcmp(key, "scratch_quota") == 0) return t->spec->scratch_quota_bytes;
  return 0;
}

static sm_status service_plan_note(sm_task *task, const char *what, const char *text, double amount) {
  struct task *t = (struct task *)task;
  if (t->attempt->unit->kind == UNIT_TASK) return SM_UNSUPPORTED;
  if (!what || strnlen(what, 33) > 32) return SM_FAIL;
  struct value *body = value_map();
  value_set_text(body, "what", what);
  value_map_set(body, "text", text ? value_text_n(text, strnlen(text, NOTE_MAX)) : value_null());
  value_set_number(body, "amount", isfinite(amount) ? amount : 0);
  attempt_send(t->attempt, MESSAGE_NOTE, t->index, body);
  return SM_OK;
}

static const void *service_extension(sm_task *task, const char *name) {
  (void)task;
  (void)name;
  return NULL; /* none exists yet */
}

static const sm_host host = {
  .size = sizeof(sm_host),
  .abi_major = SM_ABI_MAJOR,
  .abi_minor = SM_ABI_MINOR,
  .param = task_param,
  .input = task_input,
  .input_count = task_input_count,
  .input_open = task_input_open,
  .input_path = task_input_path,
  .output_path = task_output_path,
  .output = task_output,
  .result = task_result,
  .result_item = task_result_item,
  .progress = service_progress,
  .log = service_log,
  .cancelled = service_cancelled,
  .fail = service_fail,
  .checkpoint = service_checkpoint,
  .checkpoint_get = service_checkpoint_get,
  .scratch_path = service_scratch_path,
  .info = service_info,
  .number = service_number,
  .plan_note = service_plan_note,
  .extension = service_extension,
};

void task_init(struct task *t, struct attempt *a, int32_t index, const sm_stage *stage) {
  t->api.host = &host;
  t->attempt = a;
  t->index = index;
  t->spec = &a->unit->stages[index];
  t->stage = stage;
  t->results = value_map();
  t->outputs = value_map();
  pthread_mutex_init(&t->lock, NULL);
}
