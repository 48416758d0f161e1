#include "stages.h"

#include <stdlib.h>
#include <string.h>

#include <stagemill/stage.h>

#include "base/value.h"

static const sm_param none[] = {SM_PARAMS_END};
static const sm_port no_ports[] = {SM_PORTS_END};
static const sm_result no_results[] = {SM_RESULTS_END};

static const sm_port source_in[] = {SM_PORT("source", SM_PORT_ARTIFACT, SM_PORT_SOURCE, "video/*|audio/*", "the media"),
                                    SM_PORTS_END};
static const sm_port report_out[] = {SM_OUTPUT("report", "application/json", "the report"), SM_PORTS_END};
static const sm_result probe_results[] = {SM_RESULT_DURATION("duration", SM_AT_OPEN, "length"),
                                          SM_RESULT_INT("width", SM_AT_OPEN, "px", "width"),
                                          SM_RESULT_INT("height", SM_AT_OPEN, "px", "height"),
                                          SM_RESULT_INT("bitrate", SM_AT_END, "bit/s", "bitrate"),
                                          SM_RESULT_TEXT("codec", SM_AT_OPEN, "video codec"),
                                          SM_RESULT_BOOL("has_audio", SM_AT_OPEN, "sound"),
                                          SM_RESULT_NUMBER("rate", SM_AT_OPEN, "1/s", "frames a second"),
                                          SM_RESULT_LIST("languages", SM_AT_END, "of the audio"),
                                          SM_RESULTS_END};

static const sm_param thumbnail_params[] = {
    SM_PARAM("at", SM_TAKES_DURATION | SM_TAKES_PERCENT, SM_REPEATED, "10%", NULL, 0, 0, NULL, NULL, "when"),
    SM_INT("width", NULL, 16, 8192, "px", "width"), SM_DURATION("every", NULL, 0.1, 3600, "one picture so often"),
    SM_CHOICE("format", "jpeg", "jpeg|png", "kind of picture"), SM_PARAMS_END};
static const sm_port video_in[] = {SM_VIDEO("video", 0, "the video"), SM_PORTS_END};
static const sm_port video_out[] = {SM_VIDEO("video", 0, "the video"), SM_PORTS_END};
static const sm_port image_out[] = {SM_OUTPUTS("image", "image/jpeg|image/png", "the pictures"), SM_PORTS_END};

static const sm_param watermark_params[] = {
    SM_FILE("image", 0, "picture"),
    SM_TEXT("text", NULL, "text"),
    SM_CHOICE("position", "bottom-right", "top-left|top-right|bottom-left|bottom-right", "where"),
    SM_NUMBER("opacity", "1", 0, 1, NULL, "opacity"),
    SM_PARAM("margin", SM_TAKES_INT | SM_TAKES_PERCENT, 0, "2%", NULL, 0, 8192, "px", NULL, "distance"),
    SM_PARAMS_END};

static const sm_port audio_in[] = {SM_AUDIO("audio", 0, "sound"), SM_PORTS_END};
static const sm_port audio_out[] = {SM_AUDIO("audio", 0, "sound"), SM_PORTS_END};

static const sm_param rung_fields[] = {
    SM_TEXT("name", NULL, "name"), SM_INT("width", NULL, 16, 8192, "px", "width"),
    SM_PARAM("height", SM_TAKES_INT, SM_REQUIRED, NULL, NULL, 16, 8192, "px", NULL, "height"),
    SM_BITRATE("bitrate", "2M", 50e3, 200e6, "bitrate"), SM_PARAMS_END};
static const sm_param hls_params[] = {SM_PARAM("ladder", SM_TAKES_KEYWORD | SM_TAKES_RECORD, SM_REPEATED, "auto",
                                               "auto|1080p|720p|480p", 0, 0, NULL, rung_fields, "renditions"),
                                      SM_NUMBER("crf", "23", 0, 51, NULL, "quality"),
                                      SM_DURATION("segment", "6s", 0.5, 60, "length of segments"),
                                      SM_BOOL("mp4", "false", "also an MP4"),
                                      SM_BITRATE("audio-bitrate", "128k", 16e3, 512e3, "bitrate of the sound"),
                                      SM_TEXT("master", "master.m3u8", "name of the master playlist"),
                                      SM_PARAMS_END};
static const sm_port hls_in[] = {SM_VIDEO("video", SM_PORT_OPTIONAL, "pictures"),
                                 SM_AUDIO("audio", SM_PORT_OPTIONAL, "sound"), SM_PORTS_END};
static const sm_port hls_out[] = {SM_OUTPUT("master", "application/vnd.apple.mpegurl", "master playlist"),
                                  SM_OUTPUTS("segments", "video/mp2t", "segments"), SM_PORTS_END};
static const sm_result hls_results[] = {SM_RESULT_TEXT("master", SM_AT_END, "path"),
                                        SM_RESULT_LIST("renditions", SM_AT_END, "names"), SM_RESULTS_END};

static const sm_param upload_params[] = {SM_TARGET("to", SM_REQUIRED, "URL or folder"),
                                         SM_SECRET("key", 0, "secret key"),
                                         SM_SIZE("part", "8Mi", 5e6, 5e9, "size of parts"), SM_PARAMS_END};
static const sm_port files_in[] = {SM_INPUTS("files", "*/*", "what to upload"), SM_PORTS_END};
static const sm_result upload_results[] = {SM_RESULT_TEXT("url", SM_AT_END, "where"),
                                           SM_RESULT_INT("files", SM_AT_END, NULL, "how many"), SM_RESULTS_END};

static const sm_param fetch_params[] = {
    SM_PARAM("url", SM_TAKES_TARGET | SM_TAKES_TEXT, SM_REQUIRED, NULL, NULL, 0, 0, NULL, NULL, "where it is"),
    SM_PARAMS_END};
static const sm_port fetch_out[] = {SM_PORT("file", SM_PORT_ARTIFACT, SM_PORT_SOURCE, "*/*", "the file"), SM_PORTS_END};

static const sm_param burn_params[] = {SM_FILE("font", 0, "font"), SM_PARAMS_END};
static const sm_port burn_in[] = {SM_VIDEO("video", 0, "the video"), SM_INPUT("subtitles", "text/vtt", "subtitles"),
                                  SM_PORTS_END};
static const sm_port packets_in[] = {SM_PORT("packets", SM_PORT_PACKETS, 0, NULL, "packets"), SM_PORTS_END};
static const sm_port pair_out[] = {SM_OUTPUT("left", "text/vtt", "one"), SM_OUTPUT("right", "text/vtt", "other"),
                                   SM_PORTS_END};
static const sm_port vtt_in[] = {SM_INPUT("text", "text/vtt", "text"), SM_PORTS_END};
static const sm_port movie_out[] = {SM_OUTPUT("movie", "video/mp4", "a movie"), SM_PORTS_END};

static sm_status run(sm_task *task) { return task ? SM_OK : SM_FAIL; }

static const sm_stage stages[] = {
    SM_TASK_STAGE("probe", "looks", none, source_in, report_out, probe_results, run),
    SM_MEDIA_STAGE("thumbnail", "pictures", SM_KIND_SINK, thumbnail_params, video_in, image_out, no_results, NULL,
                   NULL),
    SM_MEDIA_STAGE("watermark", "a mark", SM_KIND_FILTER, watermark_params, video_in, video_out, no_results, NULL,
                   NULL),
    SM_MEDIA_STAGE("mono", "one channel", SM_KIND_FILTER, none, audio_in, audio_out, no_results, NULL, NULL),
    SM_MEDIA_STAGE("hls", "renditions", SM_KIND_SINK, hls_params, hls_in, hls_out, hls_results, NULL, NULL),
    SM_TASK_STAGE("upload", "uploads", upload_params, files_in, no_ports, upload_results, run),
    SM_TASK_STAGE("fetch", "fetches", fetch_params, no_ports, fetch_out, no_results, run),
    SM_MEDIA_STAGE("burn", "subtitles into the picture", SM_KIND_FILTER, burn_params, burn_in, video_out, no_results,
                   NULL, NULL),
    SM_MEDIA_STAGE("muxer", "packets", SM_KIND_SINK, none, packets_in, movie_out, no_results, NULL, NULL),
    SM_TASK_STAGE("pair", "two subtitles", none, source_in, pair_out, no_results, run),
    SM_TASK_STAGE("note", "reads one text", none, vtt_in, no_ports, no_results, run),
    SM_TASK_STAGE("movie", "makes a movie", none, no_ports, movie_out, no_results, run),
    SM_STAGES_END};

static struct value *texts(const char *joined) {
  struct value *list = value_list();
  while (joined && *joined) {
    size_t n = strcspn(joined, "|");
    value_list_add(list, value_text_n(joined, n));
    joined += n + (joined[n] == '|');
  }
  return list;
}

static struct value *params_value(const sm_param *p) {
  struct value *list = value_list();
  for (; p && p->name; p++) {
    struct value *row = value_map();
    value_set_text(row, "name", p->name);
    value_set_int(row, "takes", p->takes);
    value_set_int(row, "flags", p->flags);
    if (p->fallback) value_set_text(row, "fallback", p->fallback);
    value_map_set(row, "choices", texts(p->choices));
    value_set_number(row, "min", p->min);
    value_set_number(row, "max", p->max);
    if (p->unit) value_set_text(row, "unit", p->unit);
    value_map_set(row, "fields", params_value(p->fields));
    value_set_text(row, "summary", p->summary);
    value_list_add(list, row);
  }
  return list;
}

static struct value *ports_value(const sm_port *p) {
  struct value *list = value_list();
  for (; p->name; p++) {
    struct value *row = value_map();
    value_set_text(row, "name", p->name);
    value_set_int(row, "kind", p->kind);
    value_set_int(row, "flags", p->flags);
    value_map_set(row, "types", texts(p->types));
    value_set_text(row, "summary", p->summary);
    value_list_add(list, row);
  }
  return list;
}

static struct value *results_value(const sm_result *r) {
  struct value *list = value_list();
  for (; r->key; r++) {
    struct value *row = value_map();
    value_set_text(row, "key", r->key);
    value_set_int(row, "type", r->type);
    value_set_int(row, "available", r->available);
    value_set_int(row, "flags", r->flags);
    if (r->unit) value_set_text(row, "unit", r->unit);
    value_set_text(row, "summary", r->summary);
    value_list_add(list, row);
  }
  return list;
}

static void add(struct stage_set *set, const sm_stage *s) {
  value_auto struct value *v = value_map();
  struct stage_type *type = NULL;
  struct error e;
  value_set_text(v, "name", s->name);
  value_set_text(v, "summary", s->summary);
  value_set_int(v, "kind", s->kind);
  value_map_set(v, "capabilities", value_list());
  value_set_bool(v, "has_plan", false);
  value_set_bool(v, "has_bypass", false);
  value_map_set(v, "params", params_value(s->params));
  value_map_set(v, "inputs", ports_value(s->inputs));
  value_map_set(v, "outputs", ports_value(s->outputs));
  value_map_set(v, "results", results_value(s->results));
  value_set_text(v, "plugin_id", "org.example.test");
  if (stage_type_from_value(v, &type, &e) || stage_set_add(set, type, &e)) abort();
}

struct stage_set *test_stages(void) {
  struct stage_set *set = stage_set_new();
  for (const sm_stage *s = stages; s->name; s++) add(set, s);
  return set;
}
