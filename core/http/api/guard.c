/* guard.c - what a request may reach on this machine. Scope admin may name any file; everybody else names uploads of their own,
 * URLs, and files below the folders that the operator opened (inputs.folders). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <stagemill/abi.h>

#include "api/parts.h"
#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/reach.h"
#include "service/upload.h"

static bool is_admin(const struct principal *who) { return who && (who->scopes & SCOPE_ADMIN); }

/* ---- files ------------------------------------------------------------------------------------------------------------- */

/* The path behind `folder` that `path` names, NULL when it lies elsewhere. Both are clean. */
static const char *below(const char *folder, const char *path) {
  size_t size = strlen(folder);
  while (size && folder[size - 1] == '/') size--;
  return strncmp(folder, path, size) == 0 && path[size] == '/' && path[size + 1] ? path + size + 1 : NULL;
}

/* Opened, not compared: what a name means is what the kernel finds beneath the folder, with no link followed. */
static bool file_opens(const char *folder, const char *relative) {
  fd_auto int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct stat st;
  if (root < 0) return false;
  fd_auto int fd = fs_open_beneath(root, relative, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, NULL);
  return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static char *file_found(const struct settings *settings, const char *text) {
  for (size_t i = 0; settings->input_folders && settings->input_folders[i]; i++) {
    mem_auto char *folder = fs_absolute(NULL, settings->input_folders[i]), *path = fs_absolute(folder, text);
    const char *relative = below(folder, path);
    if (relative && file_opens(folder, relative)) return mem_text(path);
  }
  return NULL;
}

static enum err guard_file(struct service *service, const struct principal *who, const char *text, char **path,
                           struct error *e) {
  if (strlen(text) > 4000) return error_set(e, ERR_INVALID, "a path of more than 4000 bytes names no file");
  const struct settings *settings = settings_hold(service->settings);
  *path = file_found(settings, text);
  settings_release(service->settings, &settings);
  if (*path) return ERR_OK;
  if (is_admin(who) && *text == '/') return *path = fs_absolute(NULL, text), ERR_OK;
  return error_set(e, ERR_DENIED,
                   "the file %.200s is not among those that may be named: upload it first, or ask the operator to list its "
                   "folder under inputs.folders", text);
}

static bool has_scheme(const char *text, const char *const *schemes) {
  for (; *schemes; schemes++) {
    size_t size = strlen(*schemes);
    if (strncasecmp(text, *schemes, size) == 0 && strncmp(text + size, "://", 3) == 0 && text[size + 3]) return true;
  }
  return false;
}

static const char *const remote_schemes[] = {"http", "https", "s3", NULL};

enum err guard_input(struct service *service, const struct principal *who, const char *text, char **input,
                     struct error *e) {
  *input = NULL;
  if (upload_key_is(text)) return uploads_resolve(service, text, who, input, e);
  if (!strstr(text, "://")) return guard_file(service, who, text, input, e);
  if (!has_scheme(text, remote_schemes))
    return error_set(e, ERR_INVALID, "an input is an upload's key, a URL (http, https, s3) or a file: %.100s is none", text);
  *input = mem_text(text);
  return ERR_OK;
}

/* ---- parameters ---------------------------------------------------------------------------------------------------------- */

struct guarding {
  struct service *service;
  const struct principal *who;
  const char *name; /* of the parameter */
  const char *input;
  const struct pipeline *pipeline;
  const struct value *given; /* parameters that guard_params let through */
};

static enum err guard_target(const struct guarding *g, const char *text, struct error *e) {
  if (is_admin(g->who) || !*text || has_scheme(text, remote_schemes)) return ERR_OK;
  return error_set(e, ERR_DENIED, "'%s' has to be a URL (http, https, s3): folders of this machine are for scope admin",
                   g->name);
}

static enum err guard_text(const struct guarding *g, uint32_t takes, const char *text, struct value **out, struct error *e) {
  mem_auto char *path = NULL;
  bool file = (takes & SM_TAKES_FILE) && (!(takes & SM_TAKES_TEXT) || *text == '/');
  bool readable = takes & (SM_TAKES_FILE | SM_TAKES_TARGET);
  bool secret = (takes & SM_TAKES_SECRET) && strstr(text, "secrets.");
  enum err err = ERR_OK;
  if (secret && !is_admin(g->who))
    err = error_set(e, ERR_DENIED, "'%s' names a secret: which secrets a pipeline uses is for its operator to say", g->name);
  else if (readable && upload_key_is(text))
    err = uploads_resolve(g->service, text, g->who, &path, e);
  else if (takes & SM_TAKES_TARGET)
    err = guard_target(g, text, e);
  else if (file && *text && !strstr(text, "://"))
    err = guard_file(g->service, g->who, text, &path, e);
  else if (file && *text)
    err = error_set(e, ERR_INVALID, "'%s' has to be a file, not a URL", g->name);
  if (!err) *out = value_text(path ? path : text);
  return err;
}

static enum err guard_value(const struct guarding *g, uint32_t takes, const struct value *v, struct value **out,
                            struct error *e) {
  if (v->type == VALUE_TEXT) return guard_text(g, takes, v->text, out, e);
  if (v->type != VALUE_LIST) return *out = value_copy(v), ERR_OK;
  value_auto struct value *list = value_list();
  for (size_t i = 0; i < v->count; i++) {
    struct value *item = NULL;
    if (guard_value(g, takes, v->items[i], &item, e)) return e->code;
    value_list_add(list, item);
  }
  *out = list;
  list = NULL;
  return ERR_OK;
}

/* A parameter that nobody declared is refused by the pipeline itself, with the nearest name. */
static const struct param_type *param_of(const struct pipeline *pipeline, const char *name) {
  for (size_t i = 0; i < pipeline->param_count; i++)
    if (strcmp(pipeline->params[i].name, name) == 0) return pipeline->params[i].type;
  return NULL;
}

enum err guard_params(struct service *service, const struct principal *who, const struct pipeline *pipeline,
                      const struct value *given, struct value **params, struct error *e) {
  struct guarding g = {.service = service, .who = who};
  value_auto struct value *out = value_map();
  for (size_t i = 0; given && i < given->count; i++) {
    const struct param_type *type = param_of(pipeline, given->keys[i]);
    struct value *v = NULL;
    g.name = given->keys[i];
    if (guard_value(&g, type ? type->takes : 0, given->items[i], &v, e)) return e->code;
    value_map_set(out, given->keys[i], v);
  }
  *params = out;
  out = NULL;
  return ERR_OK;
}

/* ---- pipelines that came in a request --------------------------------------------------------------------------------------- */

static enum err guard_stage(const struct settings *settings, const struct pipeline_stage *stage, struct error *e) {
  bool runs_programs = false, listed = false;
  for (size_t i = 0; i < stage->type->capability_count; i++)
    runs_programs |= strcmp(stage->type->capabilities[i], "exec") == 0;
  for (size_t i = 0; settings->inline_stages && settings->inline_stages[i]; i++)
    listed |= strcmp(settings->inline_stages[i], stage->uses) == 0;
  if (!runs_programs || listed) return ERR_OK;
  return error_set(e, ERR_DENIED,
                   "the stage '%s' uses %s, which runs programs: in a pipeline that comes with a request it is allowed only "
                   "when the operator lists it under inline.stages", stage->id, stage->uses);
}

/* Was looked at already: the job's input, or a file or URL that was given as a parameter. */
static bool guard_knows(const struct guarding *g, const char *text) {
  if (!text || (*text != '/' && !strstr(text, "://"))) return false;
  if (g->input && strcmp(text, g->input) == 0) return true;
  for (size_t i = 0; g->given && i < g->given->count; i++) {
    const struct param_type *type = param_of(g->pipeline, g->given->keys[i]);
    const struct value *v = g->given->items[i];
    if (!type || !(type->takes & (SM_TAKES_FILE | SM_TAKES_TARGET))) continue;
    if (v->type == VALUE_TEXT && strcmp(v->text, text) == 0) return true;
    for (size_t k = 0; v->type == VALUE_LIST && k < v->count; k++)
      if (v->items[k]->type == VALUE_TEXT && strcmp(v->items[k]->text, text) == 0) return true;
  }
  return false;
}

static enum err guard_reach(void *context, const struct reach *reach, struct error *e) {
  const struct guarding *g = context;
  mem_auto char *path = NULL;
  const char *where = reach->stage ? reach->stage : "params", *what = reach->setting ? reach->setting : "?";
  if (reach->kind != REACH_SECRET && guard_knows(g, reach->text)) return ERR_OK;
  switch (reach->kind) {
  case REACH_SECRET:
    return error_set(e, ERR_DENIED, "the pipeline uses secrets.%.60s: in one that comes with a request that takes scope admin",
                     reach->text);
  case REACH_UNKNOWN:
    return error_set(e, ERR_DENIED, "what '%s' of %s reaches is only known when it runs: in a pipeline that comes with a "
                     "request it may use parameters and the job's input, not results or secrets", what, where);
  case REACH_TARGET:
    if (has_scheme(reach->text, remote_schemes)) return ERR_OK;
    return error_set(e, ERR_DENIED, "'%s' of %s has to be a URL (http, https, s3), not %.100s", what, where, reach->text);
  case REACH_FILE: return guard_file(g->service, g->who, reach->text, &path, e);
  }
  return ERR_OK;
}

enum err guard_inline(struct service *service, const struct principal *who, const struct pipeline *pipeline,
                      const struct value *given, const struct value *facts, struct error *e) {
  const struct settings *settings = settings_hold(service->settings);
  struct guarding g = {.service = service, .who = who, .pipeline = pipeline, .given = given};
  value_auto struct value *params = NULL;
  enum err err = ERR_OK;
  g.input = value_get_text(facts, "input", NULL);
  for (size_t i = 0; i < pipeline->stage_count && !err; i++) err = guard_stage(settings, &pipeline->stages[i], e);
  settings_release(service->settings, &settings);
  if (!err) err = pipeline_params(pipeline, given, "/", &params, e);
  if (!err && !is_admin(who)) err = pipeline_reach(pipeline, params, facts, guard_reach, &g, e);
  return err;
}
