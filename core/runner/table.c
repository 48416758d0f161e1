#include "runner/table.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

struct source { /* whose tables, for the sentences */
  const sm_plugin *plugin;
  const char *path;
};

/* Copies the table at `rows` (first field of every row: its name) into an array of `size`-byte elements with an empty
 * one behind. Wild pointers crash the throw-away process this first runs in. */
static enum err widen(const struct source *s, const void *rows, uint32_t stride, size_t size, const char *what,
                      void **out, size_t *count, struct error *e) {
  size_t n = 0;
  const char *at = rows;
  while (at) {
    const char *name;
    memcpy(&name, at + n * stride, sizeof(name));
    if (!name) break;
    if (++n > TABLE_ROWS_MAX)
      return error_set(e, ERR_INVALID, "%s: a table of %s has no end within %d rows: end it with the row made for that",
                       s->path, what, TABLE_ROWS_MAX);
  }
  char *copy = mem_array(n + 1, size);
  for (size_t i = 0; i < n; i++) memcpy(copy + i * size, at + i * stride, stride < size ? stride : size);
  *out = copy;
  *count = n;
  return ERR_OK;
}

static enum err widen_params(const struct source *s, const sm_param **rows, unsigned depth, struct error *e) {
  void *copy = NULL;
  size_t count = 0;
  if (depth > TABLE_DEPTH_MAX)
    return error_set(e, ERR_INVALID, "%s: its records of parameters are nested deeper than %d", s->path,
                     TABLE_DEPTH_MAX);
  enum err err = widen(s, *rows, s->plugin->param_size, sizeof(sm_param), "parameters", &copy, &count, e);
  if (err) return err;
  sm_param *params = copy;
  for (size_t i = 0; i < count && !err; i++)
    if (params[i].fields) err = widen_params(s, &params[i].fields, depth + 1, e);
  *rows = params;
  return err;
}

static enum err widen_ports(const struct source *s, const sm_port **rows, struct error *e) {
  void *copy = NULL;
  size_t count;
  enum err err = widen(s, *rows, s->plugin->port_size, sizeof(sm_port), "ports", &copy, &count, e);
  *rows = copy;
  return err;
}

static enum err widen_results(const struct source *s, const sm_result **rows, struct error *e) {
  void *copy = NULL;
  size_t count;
  enum err err = widen(s, *rows, s->plugin->result_size, sizeof(sm_result), "results", &copy, &count, e);
  *rows = copy;
  return err;
}

static enum err check_stage(const struct source *s, const sm_stage *stage, struct error *e) {
  bool is_media = stage->kind == SM_KIND_FILTER || stage->kind == SM_KIND_SINK;
  if (stage->kind != SM_KIND_TASK && !is_media)
    return error_set(e, ERR_INVALID, "%s: stage `%.64s` is of an unknown kind (%u): rebuild the plugin with the SDK's "
                     "macros", s->path, stage->name, stage->kind);
  if (is_media ? !stage->media : !stage->run)
    return error_set(e, ERR_INVALID, "%s: stage `%.64s` has no %s: give its row one", s->path, stage->name,
                     is_media ? "media calls" : "run function");
  return ERR_OK;
}

enum err table_stages(const sm_plugin *plugin, const char *path, sm_stage **stages, size_t *count, struct error *e) {
  struct source s = {plugin, path};
  void *copy = NULL;
  enum err err = widen(&s, plugin->stages, plugin->stage_size, sizeof(sm_stage), "stages", &copy, count, e);
  *stages = copy;
  if (!err && *count == 0) err = error_set(e, ERR_INVALID, "%s: brings no stage: give its table a row", path);
  for (size_t i = 0; !err && i < *count; i++) {
    sm_stage *stage = &(*stages)[i];
    err = check_stage(&s, stage, e);
    if (!err) err = widen_params(&s, &stage->params, 0, e);
    if (!err) err = widen_ports(&s, &stage->inputs, e);
    if (!err) err = widen_ports(&s, &stage->outputs, e);
    if (!err) err = widen_results(&s, &stage->results, e);
  }
  return err;
}

#define TABLE_COUNT(function, row, key)                                                                                \
  size_t function(const row *rows) {                                                                                   \
    size_t n = 0;                                                                                                      \
    while (rows && rows[n].key) n++;                                                                                   \
    return n;                                                                                                          \
  }
TABLE_COUNT(table_param_count, sm_param, name)
TABLE_COUNT(table_port_count, sm_port, name)
TABLE_COUNT(table_result_count, sm_result, key)

#define TABLE_FIND(function, row, key)                                                                                 \
  const row *function(const row *rows, const char *wanted) {                                                           \
    for (size_t i = 0; rows && rows[i].key; i++)                                                                       \
      if (strcmp(rows[i].key, wanted) == 0) return &rows[i];                                                           \
    return NULL;                                                                                                       \
  }
TABLE_FIND(table_param, sm_param, name)
TABLE_FIND(table_port, sm_port, name)
TABLE_FIND(table_result, sm_result, key)
