/* harness.c - the services of a host, for one run of one stage in the test's own process. */
#include "harness_private.h"

#include <stdarg.h>
#include <setjmp.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness_param.h"

static struct harness *of(sm_task *task) { return (struct harness *)task; }

static sm_status host_param(sm_task *task, const char *path, sm_value *value, uint32_t size) {
  sm_value v = harness_value(of(task), path);
  memcpy(value, &v, size < sizeof v ? size : sizeof v);
  return SM_OK;
}

static const struct harness_artifact *artifact(struct harness *h, const char *port, uint32_t index) {
  for (size_t i = 0; i < h->input_count; i++)
    if (strcmp(h->inputs[i].port, port) == 0 && index-- == 0) return &h->inputs[i];
  return NULL;
}

static int host_input_count(sm_task *task, const char *port) {
  int count = 0;
  while (artifact(of(task), port, (uint32_t)count)) count++;
  return count;
}

static sm_status host_input(sm_task *task, const char *port, uint32_t index, sm_input *input, uint32_t size) {
  const struct harness_artifact *a = artifact(of(task), port, index);
  struct stat st;
  if (!a) return SM_FAIL;
  const char *slash = strrchr(a->path, '/');
  sm_input full = {.size = sizeof full,
                   .is_source = 1,
                   .name = slash ? slash + 1 : a->path,
                   .media_type = a->type,
                   .size_bytes = stat(a->path, &st) == 0 ? st.st_size : -1};
  memcpy(input, &full, size < sizeof full ? size : sizeof full);
  return SM_OK;
}

static int host_input_open(sm_task *task, const char *port, uint32_t index) {
  const struct harness_artifact *a = artifact(of(task), port, index);
  return a ? open(a->path, O_RDONLY | O_CLOEXEC) : (errno = ENOENT, -1);
}

static const char *host_input_path(sm_task *task, const char *port, uint32_t index) {
  const struct harness_artifact *a = artifact(of(task), port, index);
  return a ? a->path : NULL;
}

static bool bad_name(const char *name) {
  return !name || !*name || *name == '/' || strstr(name, "..") || strlen(name) > 300;
}

static const char *host_output_path(sm_task *task, const char *port, const char *name) {
  struct harness *h = of(task);
  char *path = h->paths[h->path_turn++ % 8];
  (void)port;
  if (bad_name(name)) return errno = EINVAL, NULL;
  snprintf(path, sizeof h->paths[0], "%s/%s", h->folder, name);
  for (char *slash = strchr(path + strlen(h->folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(path, 0755);
    *slash = '/';
  }
  return path;
}

static bool has_port(const sm_port *ports, const char *name) {
  for (; ports && ports->name; ports++)
    if (strcmp(ports->name, name) == 0) return true;
  return false;
}

static sm_status host_output(sm_task *task, const char *port, const char *name, const char *type, const char *meta) {
  struct harness *h = of(task);
  char path[512];
  struct stat st;
  if (!has_port(h->stage.outputs, port))
    fail_msg("the stage declared '%s' at port '%s', which it does not have", name, port);
  if (bad_name(name)) fail_msg("the stage declared the bad name '%s'", name ? name : "(null)");
  snprintf(path, sizeof path, "%s/%s", h->folder, name);
  if (stat(path, &st) != 0) fail_msg("the stage declared '%s', which is not there", name);
  assert_true(h->output_count < HARNESS_OUTPUTS);
  h->outputs[h->output_count++] = (struct harness_output){strdup(port), strdup(name), type ? strdup(type) : NULL,
                                                          meta ? strdup(meta) : NULL, strdup(path)};
  return SM_OK;
}

static const sm_result *result_row(const struct harness *h, const char *key) {
  for (const sm_result *row = h->stage.results; row && row->key; row++)
    if (strcmp(row->key, key) == 0) return row;
  fail_msg("the stage set the result '%s', which its table does not have", key);
  return NULL;
}

static struct harness_result *result_slot(struct harness *h, const char *key) {
  for (size_t i = 0; i < h->result_count; i++)
    if (strcmp(h->results[i].key, key) == 0) return &h->results[i];
  assert_true(h->result_count < HARNESS_ROWS);
  h->results[h->result_count].key = strdup(key);
  return &h->results[h->result_count++];
}

static void check_result(const sm_result *row, const sm_value *v) {
  static const uint32_t kinds[] = {0, SM_IS_TEXT, SM_IS_INT, SM_IS_NUMBER, SM_IS_BOOL, SM_IS_DURATION, SM_IS_LIST};
  if (v->kind == SM_IS_ABSENT) {
    if (!(row->flags & SM_RESULT_NULLABLE)) fail_msg("result '%s' is null, but not declared nullable", row->key);
  } else if (v->kind != kinds[row->type] && !(row->type == SM_RESULT_TYPE_NUMBER && v->kind == SM_IS_INT)) {
    fail_msg("result '%s' has kind %u, its table says type %u", row->key, v->kind, row->type);
  }
}

static sm_status host_result(sm_task *task, const char *key, const sm_value *value, uint32_t size) {
  struct harness *h = of(task);
  sm_value v = {0};
  memcpy(&v, value, size < sizeof v ? size : sizeof v);
  check_result(result_row(h, key), &v);
  struct harness_result *slot = result_slot(h, key);
  free((char *)slot->value.text);
  slot->value = v;
  slot->value.text = v.text ? strdup(v.text) : NULL;
  return SM_OK;
}

static sm_status host_result_item(sm_task *task, const char *key, const char *text) {
  struct harness *h = of(task);
  if (result_row(h, key)->type != SM_RESULT_TYPE_LIST) fail_msg("result '%s' is no list", key);
  struct harness_result *slot = result_slot(h, key);
  char *items = NULL;
  if (asprintf(&items, "%s%s\n", slot->items ? slot->items : "", text) < 0) return SM_FAIL;
  free(slot->items);
  slot->items = items;
  slot->value.kind = SM_IS_LIST;
  slot->value.count++;
  return SM_OK;
}

static sm_status host_progress(sm_task *task, double fraction, uint64_t item, uint64_t items, const char *message) {
  (void)item, (void)items, (void)message;
  if (!isnan(fraction)) of(task)->fraction = fraction;
  return SM_OK;
}

static void host_log(sm_task *task, int level, const char *text) {
  (void)task;
  if (getenv("HARNESS_VERBOSE")) fprintf(stderr, "[log %d] %s\n", level, text);
}

static int host_cancelled(sm_task *task) {
  struct harness *h = of(task);
  return h->cancel_after >= 0 && h->cancel_after-- <= 0 ? (h->cancel_after = 0, 1) : 0;
}

static sm_status host_fail(sm_task *task, sm_status verdict, const char *sentence, const char *debug) {
  struct harness *h = of(task);
  snprintf(h->message, sizeof h->message, "%s", sentence);
  snprintf(h->debug, sizeof h->debug, "%s", debug ? debug : "");
  host_log(task, 4, sentence);
  return verdict;
}

static const char *host_checkpoint_get(sm_task *task, const char *key) {
  struct harness *h = of(task);
  for (size_t i = 0; i < h->checkpoint_count; i++)
    if (strcmp(h->checkpoints[i].path, key) == 0) return h->checkpoints[i].value.text;
  return NULL;
}

static sm_status host_checkpoint(sm_task *task, const char *key, const char *value) {
  struct harness *h = of(task);
  assert_true(strlen(key) <= 63 && strlen(value) <= 4000 && h->checkpoint_count < 64);
  for (size_t i = 0; i < h->checkpoint_count; i++)
    if (strcmp(h->checkpoints[i].path, key) == 0) {
      free((char *)h->checkpoints[i].value.text);
      h->checkpoints[i].value.text = strdup(value);
      return SM_OK;
    }
  h->checkpoints[h->checkpoint_count++] =
    (struct harness_row){.path = strdup(key), .value = {.kind = SM_IS_TEXT, .text = strdup(value)}};
  return SM_OK;
}

static const char *host_scratch(sm_task *task) {
  return host_output_path(task, "", "scratch/x") ? of(task)->folder : NULL;
}

static const char *host_info(sm_task *task, const char *key) {
  (void)task;
  return strcmp(key, "stage") == 0 ? "under-test" : strcmp(key, "job") == 0 ? "job-1" : NULL;
}

static int64_t host_number(sm_task *task, const char *key) {
  (void)task;
  return strcmp(key, "attempt") == 0 ? 1 : 0;
}

static sm_status host_plan_note(sm_task *task, const char *what, const char *text, double amount) {
  (void)task, (void)what, (void)text, (void)amount;
  return SM_OK;
}

static const void *host_extension(sm_task *task, const char *name) {
  (void)task, (void)name;
  return NULL;
}

static const sm_host services = {
  sizeof(sm_host), SM_ABI_MAJOR,    SM_ABI_MINOR,     host_param,     host_input,      host_input_count,
  host_input_open, host_input_path, host_output_path, host_output,    host_result,     host_result_item,
  host_progress,   host_log,        host_cancelled,   host_fail,      host_checkpoint, host_checkpoint_get,
  host_scratch,    host_info,       host_number,      host_plan_note, host_extension};

static void find_stage(struct harness *h, const char *name) {
  const char *at = (const char *)h->plugin->stages;
  for (; ((const sm_stage *)at)->name; at += h->plugin->stage_size)
    if (strcmp(((const sm_stage *)at)->name, name) == 0) {
      size_t size = h->plugin->stage_size;
      memcpy(&h->stage, at, size < sizeof h->stage ? size : sizeof h->stage);
      return;
    }
  fail_msg("the plugin has no stage '%s'", name);
}

struct harness *harness_create(const char *file, const char *stage) {
  struct harness *h = calloc(1, sizeof *h);
  h->library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!h->library) fail_msg("%s", dlerror());
  h->plugin = dlsym(h->library, "stagemill_plugin");
  assert_non_null(h->plugin);
  find_stage(h, stage);
  h->host = services;
  h->task.host = &h->host;
  h->cancel_after = -1;
  strcpy(h->folder, "/tmp/stagemill-harness-XXXXXX");
  assert_non_null(mkdtemp(h->folder));
  if (h->stage.kind != SM_KIND_TASK) harness_media_prepare(h);
  return h;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
  (void)st, (void)kind, (void)ftw;
  return remove(path);
}

void harness_destroy(struct harness **handle) {
  struct harness *h = *handle;
  if (!h) return;
  harness_media_release(h);
  for (size_t i = 0; i < h->row_count; i++) free(h->rows[i].path), free(h->rows[i].text);
  for (size_t i = 0; i < h->input_count; i++) free(h->inputs[i].port), free(h->inputs[i].path), free(h->inputs[i].type);
  for (size_t i = 0; i < h->checkpoint_count; i++)
    free(h->checkpoints[i].path), free((char *)h->checkpoints[i].value.text);
  for (size_t i = 0; i < h->result_count; i++)
    free(h->results[i].key), free(h->results[i].items), free((char *)h->results[i].value.text);
  for (size_t i = 0; i < h->output_count; i++) {
    struct harness_output *o = &h->outputs[i];
    free(o->port), free(o->name), free(o->type), free(o->metadata), free(o->path);
  }
  nftw(h->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(h); /* the library stays loaded, as in a host */
  *handle = NULL;
}

void harness_input(struct harness *h, const char *port, const char *path, const char *media_type) {
  assert_true(h->input_count < 64);
  h->inputs[h->input_count++] =
    (struct harness_artifact){strdup(port), strdup(path), media_type ? strdup(media_type) : NULL};
}

void harness_checkpoint(struct harness *h, const char *key, const char *value) {
  host_checkpoint(&h->task, key, value);
}
void harness_shrink_host(struct harness *h, uint32_t bytes) { h->host.size = bytes; }
void harness_cancel_after(struct harness *h, int polls) { h->cancel_after = polls; }
sm_status harness_run(struct harness *h) { return h->stage.run(&h->task); }

const char *harness_message(const struct harness *h) { return h->message; }
const char *harness_debug(const struct harness *h) { return h->debug; }
const char *harness_folder(const struct harness *h) { return h->folder; }
size_t harness_output_count(const struct harness *h) { return h->output_count; }
double harness_progress(const struct harness *h) { return h->fraction; }

const struct harness_output *harness_output_at(const struct harness *h, size_t index) {
  assert_true(index < h->output_count);
  return &h->outputs[index];
}

const struct harness_result *harness_result(const struct harness *h, const char *key) {
  for (size_t i = 0; i < h->result_count; i++)
    if (strcmp(h->results[i].key, key) == 0) return &h->results[i];
  return NULL;
}

const char *harness_result_text(const struct harness *h, const char *key) {
  const struct harness_result *r = harness_result(h, key);
  return r && r->value.text ? r->value.text : "";
}

int64_t harness_result_int(const struct harness *h, const char *key) {
  const struct harness_result *r = harness_result(h, key);
  return r && r->value.kind != SM_IS_ABSENT ? r->value.integer : INT64_MIN;
}

const char *harness_checkpoint_value(const struct harness *h, const char *key) {
  return host_checkpoint_get((sm_task *)&h->task, key);
}
