/* Reading a unit back: every field is checked for type and range, whoever wrote it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "wire/unit.h"

enum { ARTIFACTS_MAX = 65536, LINKS_MAX = 64 };

struct reader {
  char where[128];
  struct error *e;
};

static bool refuse(struct reader *r, const char *key, const char *what) {
  error_set(r->e, ERR_PROTOCOL, "an attempt's orders cannot be read: %s: '%s' %s", r->where, key, what);
  return false;
}

static bool get_text(struct reader *r, const struct value *v, const char *key, bool required, char **out) {
  const struct value *item = value_get(v, key);
  if (value_is_null(item)) return required ? refuse(r, key, "is missing") : true;
  if (item->type != VALUE_TEXT) return refuse(r, key, "is no text");
  *out = mem_text_n(item->text, item->text_size);
  return true;
}

static bool get_int(struct reader *r, const struct value *v, const char *key, int64_t low, int64_t high, int64_t *out) {
  const struct value *item = value_get(v, key);
  if (!item || item->type != VALUE_INT) return refuse(r, key, "is missing or no integer");
  if (item->integer < low || item->integer > high) return refuse(r, key, "is out of range");
  *out = item->integer;
  return true;
}

static bool get_bool(struct reader *r, const struct value *v, const char *key, bool *out) {
  const struct value *item = value_get(v, key);
  if (!item || item->type != VALUE_BOOL) return refuse(r, key, "is missing or no boolean");
  *out = item->integer != 0;
  return true;
}

static bool get_map(struct reader *r, const struct value *v, const char *key, struct value **out) {
  const struct value *item = value_get(v, key);
  if (value_is_null(item)) {
    *out = value_map();
    return true;
  }
  if (item->type != VALUE_MAP) return refuse(r, key, "is no map");
  *out = value_copy(item);
  return true;
}

static bool get_list(struct reader *r, const struct value *v, const char *key, size_t most, const struct value **out) {
  *out = value_get(v, key);
  if (!*out || (*out)->type != VALUE_LIST) return refuse(r, key, "is missing or no list");
  return (*out)->count <= most ? true : refuse(r, key, "has too many rows");
}

/* A path below a descriptor: relative and without a step upwards, whoever opens it checks again. */
static bool is_beneath(const char *path) {
  if (path[0] == '/') return false;
  for (const char *at = path; *at;) {
    size_t size = strcspn(at, "/");
    if (size == 2 && at[0] == '.' && at[1] == '.') return false;
    at += size;
    while (*at == '/') at++;
  }
  return true;
}

static bool get_artifact(struct reader *r, const struct value *v, struct unit_artifact *a) {
  int64_t slot = -1;
  if (!get_text(r, v, "port", false, &a->port) || !get_text(r, v, "name", false, &a->name)) return false;
  if (!get_text(r, v, "path", false, &a->path) || !get_text(r, v, "media_type", false, &a->media_type)) return false;
  if (!get_text(r, v, "from_stage", false, &a->from_stage)) return false;
  if (!get_text(r, v, "from_port", false, &a->from_port) || !get_text(r, v, "sha256", false, &a->sha256)) return false;
  if (!get_int(r, v, "size_bytes", -1, INT64_MAX, &a->size_bytes)) return false;
  if (!get_bool(r, v, "is_source", &a->is_source)) return false;
  if (!get_int(r, v, "root_slot", -1, UNIT_SLOTS_MAX - 1, &slot)) return false;
  a->root_slot = (int32_t)slot;
  if (!get_text(r, v, "beneath", false, &a->beneath)) return false;
  if (!a->beneath) a->beneath = mem_text("");
  return is_beneath(a->beneath) ? true : refuse(r, "beneath", "leads out of its folder");
}

static bool get_artifacts(struct reader *r, const struct value *v, struct unit_stage *s) {
  const struct value *list;
  if (!get_list(r, v, "artifacts", ARTIFACTS_MAX, &list)) return false;
  s->artifacts = mem_array(list->count, sizeof(*s->artifacts));
  for (size_t i = 0; i < list->count; i++) {
    s->artifact_count++; /* first, so that a half-read row is freed */
    if (!get_artifact(r, list->items[i], &s->artifacts[i])) return false;
  }
  return true;
}

static bool get_links(struct reader *r, const struct value *v, int64_t stages, struct unit_stage *s) {
  const struct value *list;
  if (!get_list(r, v, "links", LINKS_MAX, &list)) return false;
  s->links = mem_array(list->count, sizeof(*s->links));
  for (size_t i = 0; i < list->count; i++) {
    struct unit_link *link = &s->links[i];
    int64_t from = -1;
    s->link_count++;
    if (!get_text(r, list->items[i], "port", true, &link->port)) return false;
    if (!get_int(r, list->items[i], "from_stage", -1, stages - 1, &from)) return false;
    if (!get_text(r, list->items[i], "from_port", from >= 0, &link->from_port)) return false;
    link->from_stage = (int32_t)from;
  }
  return true;
}

static bool get_stage(struct reader *r, const struct value *v, int64_t stages, struct unit_stage *s) {
  int64_t attempt = 0;
  if (!get_text(r, v, "id", true, &s->id) || !get_text(r, v, "uses", true, &s->uses)) return false;
  if (!get_text(r, v, "plugin_path", true, &s->plugin_path)) return false;
  if (!get_text(r, v, "plugin_sha256", false, &s->plugin_sha256)) return false;
  if (!get_int(r, v, "attempt", 0, UINT32_MAX, &attempt)) return false;
  s->attempt = (uint32_t)attempt;
  if (!get_bool(r, v, "soft", &s->soft) || !get_bool(r, v, "done", &s->done)) return false;
  if (!get_int(r, v, "timeout_us", 0, INT64_MAX, &s->timeout_us)) return false;
  if (!get_map(r, v, "params", &s->params) || !get_map(r, v, "late", &s->late)) return false;
  if (!get_map(r, v, "checkpoints", &s->checkpoints)) return false;
  if (!get_artifacts(r, v, s) || !get_links(r, v, stages, s)) return false;
  if (!get_text(r, v, "output_path", false, &s->output_path)) return false;
  if (!get_text(r, v, "scratch_path", false, &s->scratch_path)) return false;
  if (!get_text(r, v, "keep_path", false, &s->keep_path)) return false;
  return get_int(r, v, "scratch_quota_bytes", 0, INT64_MAX, &s->scratch_quota_bytes);
}

static bool get_stages(struct reader *r, const struct value *v, struct unit *u) {
  const struct value *list;
  if (!get_list(r, v, "stages", UNIT_STAGES_MAX, &list)) return false;
  u->stages = mem_array(list->count, sizeof(*u->stages));
  for (size_t i = 0; i < list->count; i++) {
    snprintf(r->where, sizeof(r->where), "stage %zu", i + 1);
    u->stage_count++;
    if (!get_stage(r, list->items[i], (int64_t)list->count, &u->stages[i])) return false;
  }
  return true;
}

static bool get_unit(struct reader *r, const struct value *v, struct unit *u) {
  int64_t kind = 0, fence = 0, cores = 0;
  const struct value *source = value_get(v, "source");
  if (!get_int(r, v, "kind", UNIT_TASK, UNIT_PLAN, &kind)) return false;
  if (!get_text(r, v, "job", false, &u->job) || !get_text(r, v, "pipeline", false, &u->pipeline)) return false;
  if (!get_text(r, v, "input_name", false, &u->input_name)) return false;
  if (!get_int(r, v, "fence", INT64_MIN, INT64_MAX, &fence)) return false;
  if (!get_int(r, v, "deadline_boot_us", 0, INT64_MAX, &u->deadline_boot_us)) return false;
  if (!get_int(r, v, "stall_us", 0, INT64_MAX, &u->stall_us)) return false;
  if (!get_int(r, v, "cores", 0, 65536, &cores)) return false;
  if (!get_int(r, v, "memory_limit_bytes", 0, INT64_MAX, &u->memory_limit_bytes)) return false;
  u->kind = (enum unit_kind)kind;
  u->fence = (uint64_t)fence;
  u->cores = (uint32_t)cores;
  if (source) {
    u->source = mem_alloc(sizeof(*u->source));
    if (!get_artifact(r, source, u->source)) return false;
  }
  if (u->kind == UNIT_PASS && !u->source) return refuse(r, "source", "is missing in a pass");
  return get_stages(r, v, u);
}

enum err unit_unpack(const void *data, size_t size, struct unit **unit, struct error *e) {
  *unit = NULL;
  value_auto struct value *v = NULL;
  enum err status = value_unpack(data, size, &v, e);
  if (status) return status;
  struct reader r = {"unit", e};
  struct unit *u = mem_alloc(sizeof(*u));
  if (!get_unit(&r, v, u)) {
    unit_free(&u);
    return ERR_PROTOCOL;
  }
  *unit = u;
  return ERR_OK;
}
