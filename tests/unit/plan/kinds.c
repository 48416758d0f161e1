#include "kinds.h"

#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"

static const sm_param text[] = {SM_TEXT("text", "", "anything"), SM_PARAMS_END};
static const sm_port none[] = {SM_PORTS_END};
static const sm_port any_file[] = {SM_PORT("file", SM_PORT_ARTIFACT, SM_PORT_SOURCE, "*/*", "the input"), SM_PORTS_END};
static const sm_port any_files[] = {SM_INPUTS("files", "*/*", "what to send"), SM_PORTS_END};
static const sm_port film[] = {SM_PORT("file", SM_PORT_ARTIFACT, SM_PORT_SOURCE, "video/*", "a film"), SM_PORTS_END};
static const sm_port png[] = {SM_OUTPUT("picture", "image/png", "a picture"), SM_PORTS_END};
static const sm_port jpegs[] = {SM_OUTPUTS("pictures", "image/jpeg", "pictures"), SM_PORTS_END};
static const sm_port parts[] = {SM_OUTPUTS("parts", "video/mp2t", "parts"), SM_PORTS_END};
static const sm_port video[] = {SM_VIDEO("video", 0, "frames"), SM_PORTS_END};
static const sm_port sound[] = {SM_AUDIO("audio", 0, "sound"), SM_PORTS_END};
static const sm_port both[] = {SM_VIDEO("video", 0, "frames"), SM_AUDIO("audio", SM_PORT_OPTIONAL, "sound"),
                               SM_PORTS_END};
static const sm_port stamped[] = {SM_VIDEO("video", 0, "frames"), SM_INPUT("image", "image/png", "what to put there"),
                                  SM_PORTS_END};
static const sm_result no_results[] = {SM_RESULTS_END};
static const sm_result look_results[] = {SM_RESULT_DURATION("seconds", SM_AT_OPEN, "length"),
                                         SM_RESULT_TEXT("codec", SM_AT_END, "codec"), SM_RESULTS_END};
static const sm_result send_results[] = {SM_RESULT_TEXT("url", SM_AT_END, "where"), SM_RESULTS_END};
static const sm_result snap_results[] = {SM_RESULT_INT("count", SM_AT_END, NULL, "pictures"), SM_RESULTS_END};
static const sm_result pack_results[] = {SM_RESULT_INT("rungs", SM_AT_OPEN, NULL, "renditions"),
                                         SM_RESULT_TEXT("master", SM_AT_END, "playlist"), SM_RESULTS_END};
static const sm_result gauge_results[] = {SM_RESULT_INT("height", SM_AT_OPEN, "px", "height"),
                                          SM_RESULT_NUMBER("level", SM_AT_END, "dB", "level"), SM_RESULTS_END};
static const sm_result scale_results[] = {SM_RESULT_NUMBER("factor", SM_AT_OPEN, NULL, "factor"), SM_RESULTS_END};

static const sm_stage kinds[] = {
    SM_TASK_STAGE("look", "looks", text, any_file, none, look_results, NULL),
    SM_TASK_STAGE("grab", "grabs", text, none, film, no_results, NULL),
    SM_TASK_STAGE("draw", "draws", text, none, png, no_results, NULL),
    SM_TASK_STAGE("send", "sends", text, any_files, none, send_results, NULL),
    SM_TASK_STAGE("tell", "tells", text, none, none, no_results, NULL),
    SM_TASK_STAGE_CAP("wait", "waits for a person", "person", text, none, none, no_results, NULL),
    SM_MEDIA_STAGE("snap", "snaps", SM_KIND_SINK, text, video, jpegs, snap_results, NULL, NULL),
    SM_MEDIA_STAGE("pack", "packs", SM_KIND_SINK, text, both, parts, pack_results, NULL, NULL),
    SM_MEDIA_STAGE("hear", "hears", SM_KIND_SINK, text, sound, none, no_results, NULL, NULL),
    SM_MEDIA_STAGE("gauge", "gauges", SM_KIND_SINK, text, video, none, gauge_results, NULL, NULL),
    SM_MEDIA_STAGE("paint", "paints", SM_KIND_FILTER, text, video, video, no_results, NULL, NULL),
    SM_MEDIA_STAGE("scale", "scales", SM_KIND_FILTER, text, video, video, scale_results, NULL, NULL),
    SM_MEDIA_STAGE("stamp", "stamps", SM_KIND_FILTER, text, stamped, video, no_results, NULL, NULL),
};

static void take_params(const sm_param *rows, struct stage_type *t) {
  for (; rows->name; rows++) {
    t->params = mem_grow(t->params, t->param_count + 1, sizeof *t->params);
    t->params[t->param_count++] = (struct param_type){.name = mem_text(rows->name),
                                                      .takes = rows->takes,
                                                      .flags = rows->flags,
                                                      .fallback = mem_text(rows->fallback),
                                                      .summary = mem_text(rows->summary)};
  }
}

static struct port_type *take_ports(const sm_port *rows, size_t *count) {
  struct port_type *ports = NULL;
  for (; rows->name; rows++) {
    ports = mem_grow(ports, *count + 1, sizeof *ports);
    struct port_type *p = &ports[(*count)++];
    *p = (struct port_type){
        .name = mem_text(rows->name), .kind = rows->kind, .flags = rows->flags, .summary = mem_text(rows->summary)};
    if (!rows->types) continue;
    p->types = mem_array(1, sizeof *p->types);
    p->types[p->type_count++] = mem_text(rows->types);
  }
  return ports;
}

static void take_results(const sm_result *rows, struct stage_type *t) {
  for (; rows->key; rows++) {
    t->results = mem_grow(t->results, t->result_count + 1, sizeof *t->results);
    t->results[t->result_count++] = (struct result_type){.key = mem_text(rows->key),
                                                         .type = rows->type,
                                                         .available = rows->available,
                                                         .flags = rows->flags,
                                                         .summary = mem_text(rows->summary)};
  }
}

static struct stage_type *take(const sm_stage *s) {
  struct stage_type *t = mem_alloc(sizeof *t);
  t->name = mem_text(s->name);
  t->summary = mem_text(s->summary);
  t->kind = s->kind;
  if (s->capabilities) { /* one at most */
    t->capabilities = mem_array(1, sizeof *t->capabilities);
    t->capabilities[t->capability_count++] = mem_text(s->capabilities);
  }
  t->has_bypass = !strcmp(s->name, "paint") || !strcmp(s->name, "stamp");
  take_params(s->params, t);
  t->inputs = take_ports(s->inputs, &t->input_count);
  t->outputs = take_ports(s->outputs, &t->output_count);
  take_results(s->results, t);
  t->plugin_id = mem_text("org.example.kinds");
  t->plugin_version = mem_text("1");
  t->plugin_path = mem_text("/nowhere/kinds.so");
  return t;
}

struct stage_set *kinds_new(void) {
  struct stage_set *set = stage_set_new();
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    struct error e = {0};
    stage_set_add(set, take(&kinds[i]), &e);
  }
  return set;
}
