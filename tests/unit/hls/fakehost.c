#include "fakehost.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake_host *fake(sm_task *task) { return (struct fake_host *)task; }

/* ---- parameters ----------------------------------------------------------------------------------------------- */

static const char *setting(const struct fake_host *h, const char *path) {
  for (unsigned i = 0; i < h->setting_count; i++)
    if (!strcmp(h->settings[i].path, path)) return h->settings[i].text;
  return NULL;
}

void fake_set(struct fake_host *h, const char *path, const char *text) {
  if (h->setting_count == FAKE_SETTINGS) exit(2);
  snprintf(h->settings[h->setting_count].path, sizeof h->settings[0].path, "%s", path);
  snprintf(h->settings[h->setting_count++].text, sizeof h->settings[0].text, "%s", text);
}

static const sm_param *row_of(const sm_param *rows, const char *name, size_t length) {
  for (; rows && rows->name; rows++)
    if (strlen(rows->name) == length && !strncmp(rows->name, name, length)) return rows;
  return NULL;
}

static sm_value convert(const sm_param *row, const char *text) {
  sm_value v = {SM_IS_ABSENT, 0, 0, 0, NULL};
  if (!text) return v;
  char *end;
  double x = strtod(text, &end);
  bool number = end != text;
  double unit = !strcmp(end, "k") ? 1e3 : !strcmp(end, "M") ? 1e6 : !strcmp(end, "ms") ? 1e-3 : 1;
  bool time = !strcmp(end, "s") || !strcmp(end, "ms");
  v.text = text;
  if ((row->takes & SM_TAKES_DURATION) && number && time) {
    v = (sm_value){SM_IS_DURATION, 0, (int64_t)(x * unit * 1e6 + 0.5), x * unit, NULL};
  } else if ((row->takes & SM_TAKES_BITRATE) && number) {
    v = (sm_value){SM_IS_BITRATE, 0, (int64_t)(x * unit), x * unit, NULL};
  } else if ((row->takes & SM_TAKES_BOOL)) {
    v = (sm_value){SM_IS_BOOL, 0, !strcmp(text, "true"), !strcmp(text, "true"), NULL};
  } else if ((row->takes & SM_TAKES_NUMBER) && number && !*end) {
    v = (sm_value){SM_IS_NUMBER, 0, (int64_t)x, x, NULL};
  } else if ((row->takes & SM_TAKES_INT) && number && !*end) {
    v = (sm_value){SM_IS_INT, 0, (int64_t)x, x, NULL};
  } else {
    v.kind = SM_IS_TEXT;
  }
  return v;
}

static unsigned items_of(const struct fake_host *h, const char *name, const char *text) {
  if (text) {
    unsigned count = 1;
    for (const char *c = text; *c; c++) count += *c == ',';
    return count;
  }
  unsigned count = 0;
  size_t length = strlen(name);
  for (unsigned i = 0; i < h->setting_count; i++)
    if (!strncmp(h->settings[i].path, name, length) && h->settings[i].path[length] == '.') {
      unsigned index = (unsigned)atoi(h->settings[i].path + length + 1);
      if (index + 1 > count) count = index + 1;
    }
  return count;
}

static const char *item_text(struct fake_host *h, const char *list, unsigned index) {
  const char *at = list;
  for (; at && index; index--) at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL;
  if (!at) return NULL;
  static _Thread_local char text[128];
  (void)h;
  snprintf(text, sizeof text, "%.*s", (int)strcspn(at, ","), at);
  return text;
}

static sm_value list_value(struct fake_host *h, const sm_param *row, const char *path, size_t length) {
  const char *text = setting(h, row->name);
  unsigned maps = items_of(h, row->name, NULL);
  if (!text && !maps) text = row->fallback;
  if (!path[length]) return (sm_value){SM_IS_LIST, text ? items_of(h, row->name, text) : maps, 0, 0, NULL};
  const char *dot = strchr(path + length + 1, '.');
  if (!dot && !text) return (sm_value){SM_IS_RECORD, 1, 0, 0, NULL};
  if (!dot) return convert(row, item_text(h, text, (unsigned)atoi(path + length + 1)));
  const sm_param *field = row_of(row->fields, dot + 1, strlen(dot + 1));
  return field ? convert(field, setting(h, path)) : (sm_value){0};
}

static sm_status get_param(sm_task *task, const char *path, sm_value *value, uint32_t size) {
  struct fake_host *h = fake(task);
  size_t length = strcspn(path, ".");
  const sm_param *row = row_of(h->stage->params, path, length);
  sm_value v = {0};
  if (row && (row->flags & SM_REPEATED))
    v = list_value(h, row, path, length);
  else if (row)
    v = convert(row, setting(h, path) ? setting(h, path) : row->fallback);
  memcpy(value, &v, size < sizeof v ? size : sizeof v);
  return row ? SM_OK : SM_FAIL;
}

/* ---- inputs and outputs --------------------------------------------------------------------------------------- */

static int input_open(sm_task *task, const char *port, uint32_t index) {
  struct fake_host *h = fake(task);
  return h->source_path[0] && !strcmp(port, "source") && !index ? open(h->source_path, O_RDONLY | O_CLOEXEC) : -1;
}

static const char *output_path(sm_task *task, const char *port, const char *name) {
  struct fake_host *h = fake(task);
  (void)port;
  snprintf(h->path, sizeof h->path, "%s/%s", h->folder, name);
  for (char *slash = h->path + strlen(h->folder) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
    *slash = '\0';
    mkdir(h->path, 0755);
  }
  return h->path;
}

static sm_status output(sm_task *task, const char *port, const char *name, const char *type, const char *about) {
  struct fake_host *h = fake(task);
  if (h->output_count == FAKE_OUTPUTS) return SM_FAIL;
  struct fake_output *o = &h->outputs[h->output_count++];
  snprintf(o->port, sizeof o->port, "%s", port);
  snprintf(o->name, sizeof o->name, "%s", name);
  snprintf(o->type, sizeof o->type, "%s", type ? type : "");
  snprintf(o->about, sizeof o->about, "%s", about ? about : "");
  return access(output_path(task, port, name), R_OK) ? SM_FAIL : SM_OK;
}

unsigned fake_count(const struct fake_host *h, const char *port) {
  unsigned count = 0;
  for (unsigned i = 0; i < h->output_count; i++) count += !strcmp(h->outputs[i].port, port);
  return count;
}

/* ---- results -------------------------------------------------------------------------------------------------- */

const struct fake_result *fake_result(const struct fake_host *h, const char *key) {
  for (unsigned i = 0; i < h->result_count; i++)
    if (!strcmp(h->results[i].key, key)) return &h->results[i];
  return NULL;
}

static struct fake_result *result_of(struct fake_host *h, const char *key) {
  const sm_result *row = h->stage->results;
  while (row->key && strcmp(row->key, key)) row++;
  struct fake_result *found = (struct fake_result *)fake_result(h, key);
  if (!row->key || (!found && h->result_count == 32)) return NULL;
  if (!found) found = &h->results[h->result_count++];
  snprintf(found->key, sizeof found->key, "%s", key);
  return found;
}

static sm_status result(sm_task *task, const char *key, const sm_value *value, uint32_t size) {
  (void)size;
  struct fake_result *r = result_of(fake(task), key);
  if (!r) return SM_FAIL;
  r->value = *value;
  if (value->text) snprintf(r->text, sizeof r->text, "%s", value->text);
  return SM_OK;
}

static sm_status result_item(sm_task *task, const char *key, const char *text) {
  struct fake_result *r = result_of(fake(task), key);
  if (!r) return SM_FAIL;
  r->items++;
  size_t used = strlen(r->text);
  snprintf(r->text + used, sizeof r->text - used, "%s%s", used ? "," : "", text);
  return SM_OK;
}

/* ---- the rest ------------------------------------------------------------------------------------------------- */

static sm_status progress(sm_task *task, double fraction, uint64_t item, uint64_t items, const char *message) {
  (void)item, (void)items, (void)message;
  pthread_mutex_lock(&fake(task)->lock);
  fake(task)->progress = fraction;
  pthread_mutex_unlock(&fake(task)->lock);
  return SM_OK;
}

static void log_line(sm_task *task, int level, const char *text) {
  (void)task, (void)level;
  if (getenv("FAKEHOST_LOG")) fprintf(stderr, "log: %s\n", text);
}

static int cancelled(sm_task *task) {
  pthread_mutex_lock(&fake(task)->lock);
  int yes = fake(task)->cancelled;
  pthread_mutex_unlock(&fake(task)->lock);
  return yes;
}

static sm_status failed(sm_task *task, sm_status verdict, const char *sentence, const char *debug) {
  struct fake_host *h = fake(task);
  h->failed = verdict;
  snprintf(h->message, sizeof h->message, "%s", sentence);
  snprintf(h->debug, sizeof h->debug, "%s", debug ? debug : "");
  return verdict;
}

static const char *info(sm_task *task, const char *key) {
  return !strcmp(key, "input") ? fake(task)->source_name : NULL;
}

static sm_status plan_note(sm_task *task, const char *what, const char *text, double amount) {
  struct fake_host *h = fake(task);
  if (!strcmp(what, "rung") && h->rungs < 16) snprintf(h->rung[h->rungs++], sizeof h->rung[0], "%s", text);
  if (!strcmp(what, "memory")) h->memory = amount;
  if (!strcmp(what, "cost")) h->cost = amount;
  return SM_OK;
}

static sm_status source(sm_task *task, sm_source *out, uint32_t size) {
  struct fake_host *h = fake(task);
  sm_source s = {.size = sizeof s,
                 .duration_method = SM_DURATION_HEADER,
                 .duration_us = h->duration_us,
                 .container = "fake",
                 .name = h->source_name,
                 .seekable = 1,
                 .cores = h->cores};
  memcpy(out, &s, size < sizeof s ? size : sizeof s);
  return SM_OK;
}

static const sm_host table = {.size = sizeof(sm_host),
                              .abi_major = SM_ABI_MAJOR,
                              .abi_minor = SM_ABI_MINOR,
                              .param = get_param,
                              .input_open = input_open,
                              .output_path = output_path,
                              .output = output,
                              .result = result,
                              .result_item = result_item,
                              .progress = progress,
                              .log = log_line,
                              .cancelled = cancelled,
                              .fail = failed,
                              .info = info,
                              .plan_note = plan_note};

struct fake_host *fake_create(const char *plugin, const char *stage, const char *folder) {
  void *file = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
  const sm_plugin *p = file ? dlsym(file, "stagemill_plugin") : NULL;
  if (!p) {
    fprintf(stderr, "cannot load %s: %s\n", plugin, dlerror());
    exit(2);
  }
  struct fake_host *h = calloc(1, sizeof *h);
  for (const sm_stage *s = p->stages; h && s->name; s++)
    if (!strcmp(s->name, stage)) h->stage = s;
  if (!h || !h->stage) exit(2);
  h->media = (sm_media_host){.size = sizeof(sm_media_host), .source = source};
  h->task.host = &table;
  h->task.media_host = &h->media;
  h->cores = 2;
  snprintf(h->folder, sizeof h->folder, "%s", folder);
  snprintf(h->source_name, sizeof h->source_name, "clip.mp4");
  pthread_mutex_init(&h->lock, NULL);
  return h;
}

void fake_destroy(struct fake_host **host) {
  pthread_mutex_destroy(&(*host)->lock);
  free(*host);
  *host = NULL;
}

sm_status fake_open(struct fake_host *h, sm_stream *in, uint32_t count) {
  uint32_t none = 0;
  return h->stage->media->open(&h->task, in, count, NULL, &none, &h->self);
}
sm_status fake_frame(struct fake_host *h, uint32_t stream, AVFrame *frame) {
  return h->stage->media->frame(&h->task, h->self, stream, frame);
}
sm_status fake_nothing_before(struct fake_host *h, uint32_t stream, int64_t pts) {
  return h->stage->media->nothing_before(&h->task, h->self, stream, pts);
}
sm_status fake_flush(struct fake_host *h, uint32_t stream) { return h->stage->media->flush(&h->task, h->self, stream); }
sm_status fake_close(struct fake_host *h, sm_status why) { return h->stage->media->close(&h->task, h->self, why); }
