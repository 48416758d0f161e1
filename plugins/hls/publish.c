/* publish.c - artifacts, results and progress of a session. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "playlist.h"
#include "session.h"

#define HLS_TYPE "application/vnd.apple.mpegurl"

static const char *segment_type(const struct session *s) {
  if (!s->settings.fmp4) return "video/mp2t";
  return s->video < 0 ? "audio/mp4" : "video/mp4";
}

sm_status publish_opening(struct session *s) {
  sm_task *task = s->task;
  sm_result_int(task, "renditions", (int64_t)s->count);
  int64_t width = 0, height = 0;
  for (size_t i = 0; i < s->count; i++) {
    char line[96];
    const struct rung *r = &s->rungs[i];
    if (s->video >= 0)
      snprintf(line, sizeof line, "%s %dx%d", r->name, r->width, r->height);
    else
      snprintf(line, sizeof line, "%s", r->name);
    sm_result_item(task, "rungs", line);
    size_t used = strlen(s->title);
    snprintf(s->title + used, sizeof s->title - used, "%s%s", used ? ", " : "", r->name);
    if ((int64_t)r->width * r->height > width * height) width = r->width, height = r->height;
  }
  if (s->video < 0) {
    sm_result_null(task, "width");
    sm_result_null(task, "height");
    return SM_OK;
  }
  sm_result_int(task, "width", width);
  sm_result_int(task, "height", height);
  return SM_OK;
}

void publish_progress(struct session *s) {
  if (s->duration_us <= 0 || s->video < 0) {
    double fraction = s->duration_us > 0 && s->sound ? (double)sound_end_us(s->sound) / (double)s->duration_us : NAN;
    sm_progress(s->task, fraction, s->title);
    return;
  }
  double sum = 0;
  for (size_t i = 0; i < s->count; i++) sum += (double)rendition_reached(&s->renditions[i]) / TICKS;
  double fraction = sum / (double)s->count / ((double)s->duration_us / 1e6);
  sm_progress(s->task, fraction < 0.999 ? fraction : 0.999, s->title);
}

/* ---- segments ------------------------------------------------------------------------------------------------- */

static void describe(const struct session *s, const struct rendition *r, char *out, size_t size, double duration,
                     uint64_t bytes, long index) {
  int used = snprintf(out, size, "{\"rendition\":\"%s\"", r->rung.name);
  if (index >= 0) used += snprintf(out + used, size - (size_t)used, ",\"index\":%ld", index);
  if (duration > 0)
    used += snprintf(out + used, size - (size_t)used, ",\"duration\":%.6f,\"bitrate\":%.0f", duration,
                     (double)bytes * 8 / duration);
  if (s->video >= 0)
    used += snprintf(out + used, size - (size_t)used, ",\"width\":%d,\"height\":%d", r->rung.width, r->rung.height);
  snprintf(out + used, size - (size_t)used, "}");
}

static sm_status declare_segment(struct session *s, struct rendition *r, long index) {
  char name[NAMES_MAX], about[256];
  struct segment g = segmenter_get(r->segmenter, index < 0 ? 0 : (size_t)index);
  double duration = index < 0 ? 0 : (double)(g.end - g.start) / TICKS;
  names_expand(s->settings.pattern, s->stem, r->rung.name, index, name);
  describe(s, r, about, sizeof about, duration, g.bytes, index);
  return sm_output(s->task, "segments", name, segment_type(s), about);
}

sm_status publish_segments(struct session *s) {
  sm_status status = SM_OK;
  for (size_t i = 0; i < s->count; i++) {
    struct rendition *r = &s->renditions[i];
    size_t count = segmenter_count(r->segmenter);
    if (count && !r->declared && s->settings.fmp4) status = declare_segment(s, r, -1);
    for (; r->declared < count && status == SM_OK; r->declared++) status = declare_segment(s, r, (long)r->declared);
    if (status != SM_OK) return status;
  }
  return status;
}

/* ---- playlists ------------------------------------------------------------------------------------------------ */

struct naming {
  const struct session *s;
  const struct rendition *r;
  const char *playlist;
};

static bool segment_uri(void *opaque, long index, char *out, size_t size) {
  const struct naming *n = opaque;
  char name[NAMES_MAX];
  return names_expand(n->s->settings.pattern, n->s->stem, n->r->rung.name, index, name) &&
         names_reference(n->playlist, name, out, size);
}

static sm_status write_text(struct session *s, const char *port, const char *name, char *text, const char *about) {
  if (!text) return sm_fail(s->task, SM_RETRY, NULL, "out of memory while writing %s", name);
  const char *path = sm_output_path(s->task, port, name);
  FILE *file = path ? fopen(path, "we") : NULL;
  int err = file ? 0 : errno;
  if (file && fputs(text, file) < 0) err = errno;
  if (file && fclose(file) && !err) err = errno;
  free(text);
  if (!err) return sm_output(s->task, port, name, HLS_TYPE, about);
  fault_write(&s->fault, AVERROR(err), name);
  return sm_fail(s->task, s->fault.status, s->fault.debug, "%s", s->fault.message);
}

static struct segment *all_segments(struct rendition *r, size_t *count) {
  *count = segmenter_count(r->segmenter);
  struct segment *list = calloc(*count + 1, sizeof *list);
  for (size_t i = 0; list && i < *count; i++) list[i] = segmenter_get(r->segmenter, i);
  return list;
}

static uint64_t init_size(const struct session *s, const struct rendition *r) {
  char name[NAMES_MAX], path[sizeof s->base + NAMES_MAX];
  struct stat st;
  names_expand(s->settings.pattern, s->stem, r->rung.name, -1, name);
  snprintf(path, sizeof path, "%s%s", s->base, name);
  return s->settings.fmp4 && !stat(path, &st) ? (uint64_t)st.st_size : 0;
}

static sm_status describe_variant(struct session *s, struct rendition *r, struct variant *v) {
  v->width = r->rung.width;
  v->height = r->rung.height;
  v->init_bytes = init_size(s, r);
  if (s->video >= 0) v->frame_rate = timeline_rate(&s->timeline, s->frame_rate, s->vfr);
  char video[16] = "";
  if (r->encoder && !encoder_codec_name(r->encoder->extradata, (size_t)r->encoder->extradata_size, video))
    return sm_fail(s->task, SM_FAIL, NULL, "the H.264 encoder of rendition %s gave no sequence header", r->rung.name);
  snprintf(v->codecs, sizeof v->codecs, "%s%s%s", video, r->encoder && s->sound ? "," : "",
           s->sound ? "mp4a.40.2" : "");
  return SM_OK;
}

static sm_status publish_rendition(struct session *s, struct rendition *r, struct variant *v) {
  char about[256];
  sm_status status = describe_variant(s, r, v);
  if (status != SM_OK) return status;
  struct naming naming = {s, r, v->playlist};
  uint64_t bytes = 0;
  int64_t span = v->count ? v->segments[v->count - 1].end - v->segments[0].start : 0;
  for (size_t i = 0; i < v->count; i++) bytes += v->segments[i].bytes;
  describe(s, r, about, sizeof about, (double)span / TICKS, bytes, -1);
  return write_text(s, "playlists", v->playlist, playlist_media(v, s->settings.fmp4, segment_uri, &naming), about);
}

static void publish_results(struct session *s, const struct variant *variants) {
  struct rates best = {0, 0};
  int64_t segments = 0, span = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < s->count; i++) {
    const struct variant *v = &variants[i];
    struct rates r = playlist_rates(v);
    if (r.peak > best.peak) best = r;
    segments += (int64_t)v->count;
    for (size_t k = 0; k < v->count; k++) bytes += v->segments[k].bytes;
    bytes += v->init_bytes;
    if (v->count && v->segments[v->count - 1].end - v->segments[0].start > span)
      span = v->segments[v->count - 1].end - v->segments[0].start;
  }
  sm_result_file(s->task, "master", s->settings.master);
  sm_result_duration(s->task, "duration", span * 1000000 / TICKS);
  sm_result_int(s->task, "segments", segments);
  sm_result_int(s->task, "bytes", (int64_t)bytes);
  sm_result_int(s->task, "bandwidth", best.peak);
  sm_result_int(s->task, "average_bandwidth", best.average);
  if (s->video >= 0)
    sm_result_number(s->task, "frame_rate", variants[0].frame_rate);
  else
    sm_result_null(s->task, "frame_rate");
}

static sm_status publish_mp4(struct session *s) {
  char name[NAMES_MAX];
  if (!s->settings.mp4) return SM_OK;
  snprintf(name, sizeof name, "%.200s.mp4", s->stem);
  return sm_output(s->task, "mp4", name, s->video < 0 ? "audio/mp4" : "video/mp4", NULL);
}

sm_status publish_playlists(struct session *s) {
  struct variant variants[LADDER_MAX];
  struct segment *lists[LADDER_MAX] = {NULL};
  char names[LADDER_MAX][NAMES_MAX];
  sm_status status = SM_OK;
  memset(variants, 0, sizeof variants);
  for (size_t i = 0; i < s->count && status == SM_OK; i++) {
    struct rendition *r = &s->renditions[i];
    names_expand(s->settings.playlist, s->stem, r->rung.name, 0, names[i]);
    variants[i].playlist = names[i];
    variants[i].segments = lists[i] = all_segments(r, &variants[i].count);
    if (!lists[i]) status = sm_fail(s->task, SM_RETRY, NULL, "out of memory while writing playlists");
    if (status == SM_OK) status = publish_rendition(s, r, &variants[i]);
  }
  if (status == SM_OK) status = publish_mp4(s);
  if (status == SM_OK)
    status = write_text(s, "master", s->settings.master,
                        playlist_master(variants, s->count, s->settings.master, s->settings.fmp4), NULL);
  if (status == SM_OK) publish_results(s, variants);
  for (size_t i = 0; i < s->count; i++) free(lists[i]);
  return status;
}
