#include "wire/unit.h"

#include "base/mem.h"

static void artifacts_free(struct unit_artifact *items, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    struct unit_artifact *a = &items[i];
    free(a->port);
    free(a->name);
    free(a->path);
    free(a->media_type);
    free(a->from_stage);
    free(a->from_port);
    free(a->sha256);
    free(a->beneath);
  }
  free(items);
}

static void links_free(struct unit_link *items, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    free(items[i].port);
    free(items[i].from_port);
  }
  free(items);
}

static void stage_clear(struct unit_stage *s) {
  free(s->id);
  free(s->uses);
  free(s->plugin_path);
  free(s->plugin_sha256);
  value_free(&s->params);
  value_free(&s->late);
  value_free(&s->checkpoints);
  artifacts_free(s->artifacts, s->artifact_count);
  links_free(s->links, s->link_count);
  free(s->output_path);
  free(s->scratch_path);
  free(s->keep_path);
}

void unit_free(struct unit **address) {
  struct unit *u = address ? *address : NULL;
  if (!u) return;
  *address = NULL;
  free(u->job);
  free(u->pipeline);
  free(u->input_name);
  artifacts_free(u->source, u->source ? 1 : 0);
  for (uint32_t i = 0; i < u->stage_count; i++) stage_clear(&u->stages[i]);
  free(u->stages);
  free(u);
}

static struct value *artifact_value(const struct unit_artifact *a) {
  struct value *v = value_map();
  value_set_text(v, "port", a->port);
  value_set_text(v, "name", a->name);
  value_set_text(v, "path", a->path);
  value_set_text(v, "media_type", a->media_type);
  value_set_text(v, "from_stage", a->from_stage);
  value_set_text(v, "from_port", a->from_port);
  value_set_text(v, "sha256", a->sha256);
  value_set_int(v, "size_bytes", a->size_bytes);
  value_set_bool(v, "is_source", a->is_source);
  value_set_int(v, "root_slot", a->root_slot);
  value_set_text(v, "beneath", a->beneath);
  return v;
}

static struct value *links_value(const struct unit_stage *s) {
  struct value *list = value_list();
  for (uint32_t i = 0; i < s->link_count; i++) {
    struct value *v = value_map();
    value_set_text(v, "port", s->links[i].port);
    value_set_int(v, "from_stage", s->links[i].from_stage);
    value_set_text(v, "from_port", s->links[i].from_port);
    value_list_add(list, v);
  }
  return list;
}

static struct value *stage_value(const struct unit_stage *s) {
  struct value *v = value_map(), *artifacts = value_list();
  value_set_text(v, "id", s->id);
  value_set_text(v, "uses", s->uses);
  value_set_text(v, "plugin_path", s->plugin_path);
  value_set_text(v, "plugin_sha256", s->plugin_sha256);
  value_set_int(v, "attempt", s->attempt);
  value_set_bool(v, "soft", s->soft);
  value_set_bool(v, "done", s->done);
  value_set_int(v, "timeout_us", s->timeout_us);
  value_map_set(v, "params", value_copy(s->params));
  value_map_set(v, "late", value_copy(s->late));
  value_map_set(v, "checkpoints", value_copy(s->checkpoints));
  for (uint32_t i = 0; i < s->artifact_count; i++) value_list_add(artifacts, artifact_value(&s->artifacts[i]));
  value_map_set(v, "artifacts", artifacts);
  value_map_set(v, "links", links_value(s));
  value_set_text(v, "output_path", s->output_path);
  value_set_text(v, "scratch_path", s->scratch_path);
  value_set_text(v, "keep_path", s->keep_path);
  value_set_int(v, "scratch_quota_bytes", s->scratch_quota_bytes);
  return v;
}

void unit_pack(struct buf *out, const struct unit *u) {
  value_auto struct value *v = value_map();
  struct value *stages = value_list();
  value_set_int(v, "kind", u->kind);
  value_set_text(v, "job", u->job);
  value_set_text(v, "pipeline", u->pipeline);
  value_set_text(v, "input_name", u->input_name);
  value_set_int(v, "fence", (int64_t)u->fence);
  value_set_int(v, "deadline_boot_us", u->deadline_boot_us);
  value_set_int(v, "stall_us", u->stall_us);
  value_set_int(v, "cores", u->cores);
  value_set_int(v, "memory_limit_bytes", u->memory_limit_bytes);
  if (u->source) value_map_set(v, "source", artifact_value(u->source));
  for (uint32_t i = 0; i < u->stage_count; i++) value_list_add(stages, stage_value(&u->stages[i]));
  value_map_set(v, "stages", stages);
  value_pack(out, v);
}
