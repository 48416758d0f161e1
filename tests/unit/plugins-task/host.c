#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct harness *of(sm_task *task) { return (struct harness *)(void *)task; }

static sm_status host_param(sm_task *task, const char *path, sm_value *value, uint32_t size) {
  sm_value v = setting_value(of(task), path);
  memcpy(value, &v, size < sizeof v ? size : sizeof v);
  return SM_OK;
}

static struct harness_input *input_at(struct harness *h, const char *port, uint32_t index) {
  for (size_t i = 0; i < h->input_count; i++)
    if (strcmp(h->inputs[i].port, port) == 0 && index-- == 0) return &h->inputs[i];
  return NULL;
}

static int host_input_count(sm_task *task, const char *port) {
  struct harness *h = of(task);
  int n = 0;
  for (size_t i = 0; i < h->input_count; i++) n += strcmp(h->inputs[i].port, port) == 0;
  return n;
}

static sm_status host_input(sm_task *task, const char *port, uint32_t index, sm_input *input, uint32_t size) {
  struct harness_input *in = input_at(of(task), port, index);
  struct stat st;
  if (!in) return SM_FAIL;
  sm_input full = {.size = sizeof full, .is_source = in->source, .name = in->name, .media_type = in->type,
                   .stage = in->source ? NULL : in->stage, .port = in->port, .sha256 = NULL, .size_bytes = -1};
  if (stat(in->path, &st) == 0) full.size_bytes = st.st_size;
  memcpy(input, &full, size < sizeof full ? size : sizeof full);
  return SM_OK;
}

static int host_input_open(sm_task *task, const char *port, uint32_t index) {
  struct harness_input *in = input_at(of(task), port, index);
  if (!in) return errno = ENOENT, -1;
  return open(in->path, O_RDONLY | O_CLOEXEC);
}

static const char *host_input_path(sm_task *task, const char *port, uint32_t index) {
  struct harness_input *in = input_at(of(task), port, index);
  return in ? in->path : NULL;
}

static const char *host_output_path(sm_task *task, const char *port, const char *name) {
  struct harness *h = of(task);
  (void)port;
  if (!name[0] || name[0] == '/' || strstr(name, "..")) return errno = EINVAL, NULL;
  free(h->path_buffer);
  if (asprintf(&h->path_buffer, "%s/%s", h->out, name) < 0) abort();
  for (char *slash = strchr(h->path_buffer + strlen(h->out) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(h->path_buffer, 0755);
    *slash = '/';
  }
  return h->path_buffer;
}

static sm_status host_output(sm_task *task, const char *port, const char *name, const char *type, const char *metadata) {
  struct harness *h = of(task);
  json_t *meta = metadata ? json_loads(metadata, 0, NULL) : json_null();
  if (!meta) h->table_broken = true;
  json_array_append_new(h->outputs, json_pack("{s:s, s:s, s:s?, s:o}", "port", port, "name", name, "type", type, "meta",
                                              meta ? meta : json_null()));
  return SM_OK;
}

static const sm_result *result_row(struct harness *h, const char *key) {
  for (const sm_result *row = h->stage->results; row && row->key; row++)
    if (strcmp(row->key, key) == 0) return row;
  fprintf(stderr, "result %s is not in the stage's table\n", key);
  h->table_broken = true;
  return NULL;
}

static sm_status host_result(sm_task *task, const char *key, const sm_value *v, uint32_t size) {
  struct harness *h = of(task);
  const sm_result *row = result_row(h, key);
  json_t *value = NULL;
  if (!row || size < sizeof *v) return SM_FAIL;
  if (v->kind == SM_IS_ABSENT && (row->flags & SM_RESULT_NULLABLE)) value = json_null();
  if (v->kind == SM_IS_TEXT && row->type == SM_RESULT_TYPE_TEXT) value = json_string(v->text);
  if (v->kind == SM_IS_INT && row->type == SM_RESULT_TYPE_INT) value = json_integer(v->integer);
  if (v->kind == SM_IS_BOOL && row->type == SM_RESULT_TYPE_BOOL) value = json_boolean(v->integer);
  if (!value) {
    fprintf(stderr, "result %s has a value of another type than its table says, or bad UTF-8\n", key);
    h->table_broken = true;
    return SM_FAIL;
  }
  json_object_set_new(h->results, key, value);
  return SM_OK;
}

static sm_status host_result_item(sm_task *task, const char *key, const char *text) {
  struct harness *h = of(task);
  if (!result_row(h, key)) return SM_FAIL;
  if (!json_object_get(h->results, key)) json_object_set_new(h->results, key, json_array());
  json_array_append_new(json_object_get(h->results, key), json_string(text));
  return SM_OK;
}

static sm_status host_progress(sm_task *task, double fraction, uint64_t item, uint64_t items, const char *message) {
  struct harness *h = of(task);
  pthread_mutex_lock(&h->lock);
  h->calls++;
  if (!isnan(fraction)) {
    fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    if (fraction < h->fraction - 1e-9) h->backwards++;
    h->fraction = fraction;
    if (fraction > h->highest) h->highest = fraction;
  }
  if (items) h->item = item, h->items = items;
  if (message) snprintf(h->progress_message, sizeof h->progress_message, "%s", message);
  if (h->cancel_at >= 0 && h->highest >= h->cancel_at) h->cancelled = true;
  if (h->kill_at >= 0 && h->highest >= h->kill_at) raise(SIGKILL);
  pthread_mutex_unlock(&h->lock);
  return SM_OK;
}

static void host_log(sm_task *task, int level, const char *text) {
  struct harness *h = of(task);
  pthread_mutex_lock(&h->lock);
  json_array_append_new(h->log, json_pack("{s:i, s:s}", "level", level, "text", text));
  pthread_mutex_unlock(&h->lock);
}

static int host_cancelled(sm_task *task) {
  struct harness *h = of(task);
  pthread_mutex_lock(&h->lock);
  if (h->cancel_after_ms >= 0 && harness_ms(h) >= h->cancel_after_ms) h->cancelled = true;
  int answer = h->cancelled;
  pthread_mutex_unlock(&h->lock);
  return answer;
}

static sm_status host_fail(sm_task *task, sm_status verdict, const char *message, const char *debug) {
  struct harness *h = of(task);
  snprintf(h->message, sizeof h->message, "%s", message ? message : "");
  snprintf(h->debug, sizeof h->debug, "%s", debug ? debug : "");
  return verdict;
}

static sm_status host_checkpoint(sm_task *task, const char *key, const char *value) {
  struct harness *h = of(task);
  if (strlen(key) > 63 || strlen(value) > 4000) {
    fprintf(stderr, "checkpoint %s is larger than the host takes\n", key);
    h->table_broken = true;
    return SM_FAIL;
  }
  json_object_set_new(h->checkpoints, key, json_string(value));
  if (h->checkpoint_file && json_dump_file(h->checkpoints, h->checkpoint_file, 0) != 0) return SM_RETRY;
  return SM_OK;
}

static const char *host_checkpoint_get(sm_task *task, const char *key) {
  return json_string_value(json_object_get(of(task)->checkpoints, key));
}

static const char *host_scratch(sm_task *task) { return of(task)->out; }

static const char *host_info(sm_task *task, const char *key) {
  struct harness *h = of(task);
  if (strcmp(key, "job") == 0) return "job-1";
  if (strcmp(key, "pipeline") == 0) return "harness";
  if (strcmp(key, "stage") == 0) return h->stage->name;
  if (strcmp(key, "keep") == 0) return h->keep;
  return NULL;
}

static int64_t host_number(sm_task *task, const char *key) {
  return strcmp(key, "attempt") == 0 ? of(task)->attempt : 0;
}

const sm_host harness_host = {
  .size = sizeof(sm_host), .abi_major = SM_ABI_MAJOR, .abi_minor = SM_ABI_MINOR, .param = host_param,
  .input = host_input, .input_count = host_input_count, .input_open = host_input_open, .input_path = host_input_path,
  .output_path = host_output_path, .output = host_output, .result = host_result, .result_item = host_result_item,
  .progress = host_progress, .log = host_log, .cancelled = host_cancelled, .fail = host_fail,
  .checkpoint = host_checkpoint, .checkpoint_get = host_checkpoint_get, .scratch_path = host_scratch,
  .info = host_info, .number = host_number,
};
