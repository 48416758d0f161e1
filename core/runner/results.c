/* Results: values against the stage's table, lists collected and sent when they are complete. */
#include <math.h>
#include <string.h>

#include "runner/table.h"
#include "runner/task.h"

enum { RESULT_TEXT_MAX = 16 * 1024, RESULT_LIST_MAX = 12 * 1024 };

/* The value for a row of this type; NULL when the kinds do not meet. */
static struct value *convert(uint32_t type, const sm_value *v) {
  switch (type) {
  case SM_RESULT_TYPE_TEXT: return v->kind == SM_IS_TEXT && v->text ? value_text(v->text) : NULL;
  case SM_RESULT_TYPE_INT: return v->kind == SM_IS_INT ? value_int(v->integer) : NULL;
  case SM_RESULT_TYPE_NUMBER:
    if (v->kind == SM_IS_INT) return value_number((double)v->integer);
    return v->kind == SM_IS_NUMBER && isfinite(v->number) ? value_number(v->number) : NULL;
  case SM_RESULT_TYPE_BOOL: return v->kind == SM_IS_BOOL ? value_bool(v->integer != 0) : NULL;
  case SM_RESULT_TYPE_DURATION:
    return v->kind == SM_IS_DURATION ? value_of(VALUE_DURATION, v->integer, 0) : NULL;
  default: return NULL;
  }
}

static const char *type_word(uint32_t type) {
  static const char *const words[] = {"a value", "text", "an integer", "a number", "a boolean", "a duration", "a list"};
  return words[type < sizeof(words) / sizeof(*words) ? type : 0];
}

static const sm_result *find_row(struct task *t, const char *key) {
  const sm_result *row = key ? table_result(t->stage->results, key) : NULL;
  if (!row) task_broken(t, "stage `%s` gives a result `%.64s` that is not in its table", t->spec->id, key ? key : "(none)");
  return row;
}

static void send_result(struct task *t, const char *key, struct value *moved) {
  struct value *body = value_map();
  value_set_text(body, "key", key);
  value_map_set(body, "value", moved);
  attempt_send(t->attempt, MESSAGE_RESULT, t->index, body);
}

sm_status task_result(sm_task *task, const char *key, const sm_value *value, uint32_t value_size) {
  struct task *t = (struct task *)task;
  if (t->attempt->unit->kind == UNIT_PLAN) return SM_UNSUPPORTED;
  sm_value full = {SM_IS_ABSENT, 0, 0, 0, NULL};
  memcpy(&full, value, value_size < sizeof(full) ? value_size : sizeof(full));
  const sm_result *row = find_row(t, key);
  if (!row) return SM_FAIL;
  if (full.kind == SM_IS_TEXT && full.text && strnlen(full.text, RESULT_TEXT_MAX + 1) > RESULT_TEXT_MAX)
    return task_broken(t, "stage `%s` gives a result `%s` of more than 16 KiB: write an artifact instead", t->spec->id,
                       key);
  bool is_null = full.kind == SM_IS_ABSENT && (row->flags & SM_RESULT_NULLABLE);
  struct value *v = is_null ? value_null() : convert(row->type, &full);
  if (!v)
    return task_broken(t, "stage `%s` gives its result `%s` a value of another kind than its table says (%s)",
                       t->spec->id, key, type_word(row->type));
  pthread_mutex_lock(&t->lock);
  value_map_set(t->results, key, value_copy(v));
  pthread_mutex_unlock(&t->lock);
  send_result(t, key, v);
  return SM_OK;
}

static size_t list_bytes(const struct value *list) {
  size_t bytes = 0;
  for (size_t i = 0; i < list->count; i++) bytes += list->items[i]->text_size + 6;
  return bytes;
}

sm_status task_result_item(sm_task *task, const char *key, const char *text) {
  struct task *t = (struct task *)task;
  if (t->attempt->unit->kind == UNIT_PLAN) return SM_UNSUPPORTED;
  const sm_result *row = find_row(t, key);
  if (!row) return SM_FAIL;
  if (row->type != SM_RESULT_TYPE_LIST || !text)
    return task_broken(t, "stage `%s` adds an item to its result `%s`, which is %s", t->spec->id, key,
                       text ? type_word(row->type) : "given no text");
  pthread_mutex_lock(&t->lock);
  if (!value_get(t->results, key)) value_map_set(t->results, key, value_list());
  struct value *list = (struct value *)value_get(t->results, key);
  bool fits = strnlen(text, RESULT_LIST_MAX) + list_bytes(list) + 6 <= RESULT_LIST_MAX;
  if (fits) value_list_add(list, value_text(text));
  pthread_mutex_unlock(&t->lock);
  if (!fits)
    return task_broken(t, "stage `%s` gives a list `%s` of more than 12 KiB: write an artifact instead", t->spec->id, key);
  return SM_OK;
}

void task_flush_lists(struct task *t, uint32_t available) {
  for (const sm_result *row = t->stage->results; row && row->key; row++) {
    if (row->type != SM_RESULT_TYPE_LIST || row->available != available) continue;
    pthread_mutex_lock(&t->lock);
    const struct value *list = value_get(t->results, row->key);
    struct value *copy = list ? value_copy(list) : value_list();
    pthread_mutex_unlock(&t->lock);
    send_result(t, row->key, copy);
  }
}

bool task_is_complete(struct task *t) {
  for (const sm_result *row = t->stage->results; row && row->key; row++) {
    if (row->type == SM_RESULT_TYPE_LIST || (row->flags & SM_RESULT_NULLABLE) || value_get(t->results, row->key)) continue;
    task_broken(t, "stage `%s` ended well without its result `%s`: give it, or mark it nullable", t->spec->id, row->key);
    return false;
  }
  for (const sm_port *row = t->stage->outputs; row && row->name; row++) {
    if (row->kind != SM_PORT_ARTIFACT || (row->flags & SM_PORT_OPTIONAL) || value_get(t->outputs, row->name)) continue;
    task_broken(t, "stage `%s` ended well without an artifact at its output `%s`: declare one, or mark the port optional",
                t->spec->id, row->name);
    return false;
  }
  return true;
}
