/* Parameters: a dotted path over the typed tree the engine resolved. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runner/table.h"
#include "runner/task.h"

struct found {
  const struct value *value;
  const sm_param *fields; /* rows of the record at hand */
  bool wrapped;           /* one value where a list may stand: seen as a list of one */
};

static bool index_of(const char *part, size_t size, size_t *index) {
  if (size == 0 || size > 6) return false;
  *index = 0;
  for (size_t i = 0; i < size; i++) {
    if (part[i] < '0' || part[i] > '9') return false;
    *index = *index * 10 + (size_t)(part[i] - '0');
  }
  return true;
}

static bool step_into(struct found *f, const char *part, size_t size) {
  size_t index;
  if (f->wrapped) {
    f->wrapped = false;
    return index_of(part, size, &index) && index == 0;
  }
  if (f->value->type == VALUE_LIST) {
    if (!index_of(part, size, &index) || index >= f->value->count) return false;
    f->value = f->value->items[index];
    return true;
  }
  char name[128];
  if (f->value->type != VALUE_MAP || size >= sizeof(name)) return false;
  memcpy(name, part, size);
  name[size] = '\0';
  const sm_param *row = table_param(f->fields, name);
  f->value = value_get(f->value, name);
  if (value_is_null(f->value)) return false;
  f->fields = row ? row->fields : NULL;
  f->wrapped = row && (row->flags & SM_REPEATED) && f->value->type != VALUE_LIST;
  return true;
}

static bool find(const struct task *t, const char *path, struct found *f) {
  *f = (struct found){t->spec->params, t->stage->params, false};
  if (!path || !f->value) return false;
  for (const char *part = path;;) {
    size_t size = strcspn(part, ".");
    if (!step_into(f, part, size)) return false;
    if (!part[size]) return !value_is_null(f->value);
    part += size + 1;
  }
}

static int64_t whole(double x) { return x >= 9.2e18 ? INT64_MAX : x <= -9.2e18 ? INT64_MIN : isnan(x) ? 0 : (int64_t)x; }

static void fill_integer(sm_value *out, uint32_t kind, int64_t integer, double number) {
  out->kind = kind;
  out->integer = integer;
  out->number = number;
}

/* Value kinds of the core to kinds of the ABI. A number is filled in for whatever counts something. */
static void fill(sm_value *out, const struct found *f) {
  const struct value *v = f->value;
  double number = (double)v->integer;
  if (f->wrapped) {
    out->kind = SM_IS_LIST;
    out->count = 1;
    return;
  }
  switch (v->type) {
  case VALUE_NULL: break;
  case VALUE_BOOL: fill_integer(out, SM_IS_BOOL, v->integer != 0, number); break;
  case VALUE_INT: fill_integer(out, SM_IS_INT, v->integer, number); break;
  case VALUE_NUMBER: fill_integer(out, SM_IS_NUMBER, whole(v->number), v->number); break;
  case VALUE_DURATION: fill_integer(out, SM_IS_DURATION, v->integer, number / 1e6); break;
  case VALUE_SIZE: fill_integer(out, SM_IS_SIZE, v->integer, number); break;
  case VALUE_BITRATE: fill_integer(out, SM_IS_BITRATE, v->integer, number); break;
  case VALUE_PERCENT: fill_integer(out, SM_IS_PERCENT, whole(v->number), v->number); break;
  case VALUE_TEXT:
    out->kind = SM_IS_TEXT;
    out->text = v->text;
    break;
  case VALUE_LIST:
  case VALUE_MAP:
    out->kind = v->type == VALUE_LIST ? SM_IS_LIST : SM_IS_RECORD;
    out->count = (uint32_t)v->count;
    break;
  }
}

sm_status task_param(sm_task *task, const char *path, sm_value *value, uint32_t value_size) {
  const struct task *t = (const struct task *)task;
  sm_value full = {SM_IS_ABSENT, 0, 0, 0, NULL};
  struct found f;
  if (find(t, path, &f)) fill(&full, &f);
  /* The plugin's struct may be older (shorter) or newer (longer) than ours. */
  memset(value, 0, value_size);
  memcpy(value, &full, value_size < sizeof(full) ? value_size : sizeof(full));
  return SM_OK;
}
