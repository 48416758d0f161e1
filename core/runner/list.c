#include "runner/list.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stagemill/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/stagetype.h"
#include "runner/limits.h"
#include "runner/plugin.h"
#include "runner/table.h"

enum { CPU_SECONDS = 30 };

/* The beginning of sm_media_ops: media.h itself would bring libav's headers, which only runner/media may see. */
struct media_head {
  uint32_t size, flags;
};
enum { MEDIA_BYPASS = 1 /* SM_MEDIA_BYPASS */ };

static bool write_all(int fd, const void *data, size_t size) {
  for (const char *at = data; size;) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

static void say(int out, struct value *moved) {
  buf_auto struct buf frame = {0};
  uint32_t size = 0;
  buf_add(&frame, &size, sizeof(size));
  value_pack(&frame, moved);
  value_free(&moved);
  size = (uint32_t)(frame.size - sizeof(size));
  memcpy(frame.data, &size, sizeof(size));
  if (!write_all(out, frame.data, frame.size)) _exit(1);
}

/* ---- the tables as data ---- */

static char **split(const char *text, const char *separators, size_t *count) {
  *count = 0;
  if (!text) return NULL;
  char **parts = mem_array(strlen(text) + 2, sizeof(*parts));
  while (*(text += strspn(text, separators))) {
    size_t size = strcspn(text, separators);
    parts[(*count)++] = mem_text_n(text, size);
    text += size;
  }
  return parts;
}

static struct param_type *params_of(const sm_param *rows, size_t *count) {
  *count = table_param_count(rows);
  struct param_type *types = mem_array(*count + 1, sizeof(*types));
  for (size_t i = 0; i < *count; i++) {
    const sm_param *row = &rows[i];
    struct param_type *t = &types[i];
    *t = (struct param_type){.name = mem_text(row->name), .takes = row->takes, .flags = row->flags,
                             .fallback = mem_text(row->fallback), .min = row->min, .max = row->max,
                             .unit = mem_text(row->unit), .summary = mem_text(row->summary)};
    t->choices = split(row->choices, "|", &t->choice_count);
    if (row->fields) t->fields = params_of(row->fields, &t->field_count);
  }
  return types;
}

static struct port_type *ports_of(const sm_port *rows, size_t *count) {
  *count = table_port_count(rows);
  struct port_type *types = mem_array(*count + 1, sizeof(*types));
  for (size_t i = 0; i < *count; i++) {
    types[i] = (struct port_type){.name = mem_text(rows[i].name), .kind = rows[i].kind, .flags = rows[i].flags,
                                  .summary = mem_text(rows[i].summary)};
    types[i].types = split(rows[i].types, "|", &types[i].type_count);
  }
  return types;
}

static struct result_type *results_of(const sm_result *rows, size_t *count) {
  *count = table_result_count(rows);
  struct result_type *types = mem_array(*count + 1, sizeof(*types));
  for (size_t i = 0; i < *count; i++)
    types[i] = (struct result_type){mem_text(rows[i].key), rows[i].type, rows[i].available, rows[i].flags,
                                    mem_text(rows[i].unit), mem_text(rows[i].summary)};
  return types;
}

static struct value *stage_value(const struct plugin *p, const sm_stage *row) {
  struct stage_type *t = mem_alloc(sizeof(*t));
  t->name = mem_text(row->name);
  t->summary = mem_text(row->summary);
  t->kind = row->kind;
  t->capabilities = split(row->capabilities, " ", &t->capability_count);
  t->has_plan = row->plan != NULL;
  const struct media_head *media = (const void *)row->media;
  t->has_bypass = media && row->kind == SM_KIND_FILTER && (media->flags & MEDIA_BYPASS);
  t->params = params_of(row->params, &t->param_count);
  t->inputs = ports_of(row->inputs, &t->input_count);
  t->outputs = ports_of(row->outputs, &t->output_count);
  t->results = results_of(row->results, &t->result_count);
  t->plugin_id = mem_text(p->symbol->id);
  t->plugin_version = mem_text(p->symbol->version);
  t->plugin_path = mem_text(p->path);
  struct value *v = stage_type_to_value(t);
  stage_type_free(&t);
  return v;
}

/* ---- one plugin ---- */

static struct value *loaded(const char *path) {
  struct plugin *p = NULL;
  struct error e = {0};
  struct value *body = value_map();
  value_set_text(body, "path", path);
  value_set_text(body, "phase", "loaded");
  enum err err = plugin_load(path, &p, &e);
  value_set_bool(body, "ok", err == ERR_OK);
  if (err) {
    value_set_text(body, "error", e.message);
    return body;
  }
  value_set_text(body, "version", p->symbol->version);
  value_set_text(body, "license", p->symbol->license);
  value_set_bool(body, "usesLibav", p->uses_libav);
  value_set_int(body, "threads", 1 + (int64_t)p->new_threads);
  struct value *stages = value_list();
  for (size_t i = 0; i < p->stage_count; i++) value_list_add(stages, stage_value(p, &p->stages[i]));
  value_map_set(body, "stages", stages);
  return body;
}

/* The libav files in this process, so that a cache notices when the machine gets others. */
static struct value *libraries(void) {
  struct value *list = value_list();
  static const char *const names[] = {STAGEMILL_AVUTIL_SONAME, STAGEMILL_AVCODEC_SONAME};
  for (size_t i = 0; i < 2; i++) {
    void *library = dlopen(names[i], RTLD_NOW | RTLD_NOLOAD);
    void *symbol = library ? dlsym(library, i ? "avcodec_version" : "avutil_version") : NULL;
    Dl_info info;
    if (symbol && dladdr(symbol, &info) && info.dli_fname) value_list_add(list, value_text(info.dli_fname));
  }
  return list;
}

int list_run(int out, pid_t engine, char *const *paths, size_t count) {
  static const struct limits none = {.uid = -1, .gid = -1, .cgroup_procs = -1};
  struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS};
  if (!limits_die_with_parent(SIGKILL, engine) || limits_apply(&none, NULL)) return 1;
  setrlimit(RLIMIT_CPU, &cpu);
  plugin_prepare();
  for (size_t i = 0; i < count; i++) {
    struct value *body = value_map();
    value_set_text(body, "path", paths[i]);
    value_set_text(body, "phase", "loading");
    say(out, body);
    say(out, loaded(paths[i]));
  }
  struct value *end = value_map();
  value_set_text(end, "phase", "end");
  value_map_set(end, "libraries", libraries());
  say(out, end);
  _exit(0); /* without running anybody's destructors */
}
