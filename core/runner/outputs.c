/* Outputs: names below the attempt's folder, and artifacts declared against the stage's table. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "runner/jsoncheck.h"
#include "runner/table.h"
#include "runner/task.h"
#include "wire/name.h"

enum { METADATA_MAX = 16 * 1024, TYPE_MAX = 127 };

static const sm_port *output_port(const struct task *t, const char *port) {
  const sm_port *row = port ? table_port(t->stage->outputs, port) : NULL;
  return row && (row->kind == SM_PORT_ARTIFACT || row->kind == SM_PORT_PACKETS) ? row : NULL;
}

/* Makes the folders above `path` that lie below `root_size` bytes of it. */
static bool make_parents(char *path, size_t root_size) {
  for (char *c = path + root_size + 1; *c; c++) {
    if (*c != '/') continue;
    *c = '\0';
    bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
    *c = '/';
    if (!made) return false;
  }
  return true;
}

const char *task_output_path(sm_task *task, const char *port, const char *name) {
  struct task *t = (struct task *)task;
  const char *problem = artifact_name_problem(name);
  if (t->attempt->unit->kind == UNIT_PLAN || !t->spec->output_path) {
    errno = EPERM;
    return NULL;
  }
  if (problem || !output_port(t, port)) {
    if (problem) task_broken(t, "stage `%s` wants to write an artifact whose name %s: use a clean relative name",
                             t->spec->id, problem);
    else task_broken(t, "stage `%s` wants to write to a port `%.64s` that is not among its outputs", t->spec->id,
                     port ? port : "(none)");
    errno = EINVAL;
    return NULL;
  }
  mem_auto char *path = mem_format("%s/%s", t->spec->output_path, name);
  if (!make_parents(path, strlen(t->spec->output_path))) return NULL;
  return task_keep(t, path);
}

/* Does `type` ("image/png") meet one of "image/jpeg|image/png|text/" + "*"? */
static bool type_allowed(const char *allowed, const char *type) {
  for (const char *at = allowed; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
    size_t size = strcspn(at, "|");
    if (size == 3 && strncmp(at, "*/*", 3) == 0) return true;
    if (size >= 2 && strncmp(at + size - 2, "/*", 2) == 0 && strncmp(at, type, size - 1) == 0) return true;
    if (size == strlen(type) && strncmp(at, type, size) == 0) return true;
  }
  return false;
}

static const char *choose_type(struct task *t, const sm_port *port, const char *name, const char *type) {
  const char *allowed = port->types ? port->types : "*/*";
  if (!type) {
    if (!strpbrk(allowed, "|*")) return allowed;
    task_broken(t, "stage `%s` declares `%s` at port `%s` without a media type, and the port takes several (%s): say "
                "which", t->spec->id, name, port->name, allowed);
    return NULL;
  }
  if (strnlen(type, TYPE_MAX + 1) <= TYPE_MAX && strchr(type, '/') && !strpbrk(type, "|*") && type_allowed(allowed, type))
    return type;
  task_broken(t, "stage `%s` declares `%s` as `%.64s`, which port `%s` does not take (%s)", t->spec->id, name, type,
              port->name, allowed);
  return NULL;
}

static bool check_file(struct task *t, const char *name) {
  struct stat st;
  mem_auto char *path = mem_format("%s/%s", t->spec->output_path, name);
  if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) return true;
  task_broken(t, "stage `%s` declares the artifact `%s`, but no regular file lies there: write it to the path "
              "sm_output_path gives, then declare it", t->spec->id, name);
  return false;
}

static bool check_metadata(struct task *t, const char *name, const char *metadata) {
  if (!metadata) return true;
  if (strnlen(metadata, METADATA_MAX + 1) <= METADATA_MAX && json_is_object(metadata)) return true;
  task_broken(t, "stage `%s` gives the artifact `%s` metadata that is not a JSON object of at most 16 KiB", t->spec->id,
              name);
  return false;
}

/* Counts the artifacts of a port; a port for one takes one (declaring the same again is no second one). */
static bool count_output(struct task *t, const sm_port *port, const char *name) {
  pthread_mutex_lock(&t->lock);
  const char *before = value_get_text(t->outputs, port->name, NULL);
  bool fits = (port->flags & SM_PORT_MANY) || !before || strcmp(before, name) == 0;
  value_set_text(t->outputs, port->name, name);
  pthread_mutex_unlock(&t->lock);
  if (!fits) task_broken(t, "stage `%s` declares a second artifact (`%s`) at port `%s`, which holds one", t->spec->id,
                         name, port->name);
  return fits;
}

sm_status task_output(sm_task *task, const char *port, const char *name, const char *media_type, const char *metadata) {
  struct task *t = (struct task *)task;
  if (t->attempt->unit->kind == UNIT_PLAN || !t->spec->output_path) return SM_UNSUPPORTED;
  const sm_port *row = output_port(t, port);
  if (!row)
    return task_broken(t, "stage `%s` declares an artifact at port `%.64s`, which is not among its outputs", t->spec->id,
                       port ? port : "(none)");
  const char *problem = artifact_name_problem(name);
  if (problem)
    return task_broken(t, "stage `%s` declares an artifact whose name %s: use a clean relative name", t->spec->id,
                       problem);
  const char *type = choose_type(t, row, name, media_type);
  if (!type || !check_file(t, name) || !check_metadata(t, name, metadata) || !count_output(t, row, name))
    return SM_FAIL;
  struct value *body = value_map();
  value_set_text(body, "port", port);
  value_set_text(body, "name", name);
  value_set_text(body, "type", type);
  if (metadata) value_set_text(body, "meta", metadata);
  attempt_send(t->attempt, MESSAGE_OUTPUT, t->index, body);
  return SM_OK;
}
