#include "settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timeline.h"

#define EDGES "auto|4320p|2160p|1440p|1080p|900p|720p|576p|540p|480p|432p|360p|288p|270p|240p|180p|144p"

static const sm_param rung_fields[] = {
    SM_TEXT("name", NULL, "what the rendition is called in file names; its short edge (`720p`) when absent"),
    SM_INT("width", NULL, 16, 8192, "px", "width of the box the picture is fitted into, for a landscape picture"),
    SM_INT("height", NULL, 16, 8192, "px", "height of that box; a portrait picture gets the box turned"),
    SM_BITRATE("bitrate", NULL, 50e3, 200e6, "average bitrate instead of constant quality"),
    SM_BITRATE("maxrate", NULL, 50e3, 400e6, "highest bitrate; by size when absent, a tenth above `bitrate` with one"),
    SM_BITRATE("bufsize", NULL, 50e3, 800e6, "bits over which `maxrate` holds; one and a half times it when absent"),
    SM_NUMBER("crf", NULL, 0, 51, NULL, "constant quality of this rendition, instead of the stage's own"),
    SM_PARAMS_END};

const sm_param settings_params[] = {
    SM_PARAM("ladder", SM_TAKES_KEYWORD | SM_TAKES_RECORD, SM_REPEATED, "auto", EDGES, 0, 0, NULL, rung_fields,
             "renditions: `auto` (by the source's short edge, never above it), or a list of short edges and maps"),
    SM_NUMBER("crf", "23", 0, 51, NULL, "constant quality: lower is better and larger"),
    SM_CHOICE("preset", "fast", "ultrafast|superfast|veryfast|faster|fast|medium|slow|slower|veryslow",
              "x264 preset: slower makes smaller files of the same quality"),
    SM_CHOICE("tune", NULL, "film|animation|grain|stillimage|fastdecode|zerolatency", "x264 tuning"),
    SM_CHOICE("profile", "high", "baseline|main|high", "H.264 profile"),
    SM_PARAM("gop", SM_TAKES_DURATION | SM_TAKES_INT, 0, "2s", NULL, 0, 0, NULL, NULL,
             "distance of keyframes, as a duration or in frames"),
    SM_DURATION("segment", "6s", 0.5, 60, "length of segments, rounded to a whole number of GOPs"),
    SM_CHOICE("container", "ts", "ts|fmp4", "MPEG-TS, or fragmented MP4"),
    SM_TEXT("names", "{name}_{rendition}_{index}", "file names of segments, without or with their extension"),
    SM_TEXT("playlist", "{name}_{rendition}.m3u8", "file names of the renditions' playlists"),
    SM_TEXT("master", "master.m3u8", "file name of the master playlist"),
    SM_BITRATE("audio-bitrate", "128k", 16e3, 512e3, "bitrate of the AAC audio that all renditions share"),
    SM_BOOL("mp4", "false", "also write the largest rendition as one MP4 file, without another encode"),
    SM_BOOL("upscale", "false", "make renditions larger than the source when the ladder asks for them"),
    SM_PARAMS_END};

static void text_of(sm_task *task, const char *key, char *out, size_t size) {
  const char *text = sm_param_text(task, key);
  snprintf(out, size, "%s", text ? text : "");
}

/* ---- ladder --------------------------------------------------------------------------------------------------- */

static sm_value field(sm_task *task, unsigned index, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "ladder.%u.%s", index, name);
  return sm_param_value(task, path);
}

static bool good_name(const char *name) {
  size_t length = strlen(name);
  return length && length <= 24 &&
         strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == length;
}

static sm_status read_map(sm_task *task, unsigned index, struct rung_wish *wish) {
  sm_value name = field(task, index, "name"), crf = field(task, index, "crf");
  if (name.text && !good_name(name.text))
    return sm_fail(task, SM_FAIL, NULL, "ladder: the name '%.40s' must be 1 to 24 letters, digits, '-' or '_'",
                   name.text);
  if (name.text) snprintf(wish->name, sizeof wish->name, "%s", name.text);
  wish->width = (int)field(task, index, "width").integer;
  wish->height = (int)field(task, index, "height").integer;
  wish->bitrate = field(task, index, "bitrate").integer;
  wish->maxrate = field(task, index, "maxrate").integer;
  wish->bufsize = field(task, index, "bufsize").integer;
  wish->crf = crf.kind == SM_IS_ABSENT ? -1 : crf.number;
  if (!wish->width && !wish->height)
    return sm_fail(task, SM_FAIL, NULL, "ladder: rendition %u has neither width nor height: give one of them",
                   index + 1);
  if (wish->bitrate && wish->crf >= 0)
    return sm_fail(task, SM_FAIL, NULL,
                   "ladder: rendition %u has both bitrate and crf: keep one (crf with maxrate caps the bitrate)",
                   index + 1);
  if (wish->bitrate && wish->maxrate && wish->maxrate < wish->bitrate)
    return sm_fail(task, SM_FAIL, NULL, "ladder: rendition %u has a maxrate below its bitrate: raise maxrate",
                   index + 1);
  return SM_OK;
}

static sm_status read_edge(sm_task *task, const char *text, struct rung_wish *wish) {
  char *end = NULL;
  long edge = strtol(text, &end, 10);
  if (edge < 16 || edge > 8192 || !end || strcmp(end, "p"))
    return sm_fail(task, SM_FAIL, NULL, "ladder: '%.40s' is not a rendition: write a short edge like 720p", text);
  wish->height = (int)edge;
  wish->by_short_edge = true;
  wish->crf = -1;
  snprintf(wish->name, sizeof wish->name, "%ldp", edge);
  return SM_OK;
}

static sm_status read_ladder(sm_task *task, struct settings *s) {
  unsigned count = sm_param_count(task, "ladder");
  s->ladder = (struct ladder_choice){.upscale = sm_param_bool(task, "upscale"), .crf = s->crf, .wishes = s->wishes};
  if (count > LADDER_MAX)
    return sm_fail(task, SM_FAIL, NULL, "ladder: %u renditions are more than %d: shorten the list", count, LADDER_MAX);
  for (unsigned i = 0; i < count; i++) {
    char path[24];
    snprintf(path, sizeof path, "ladder.%u", i);
    sm_value item = sm_param_value(task, path);
    struct rung_wish *wish = &s->wishes[s->ladder.wish_count];
    memset(wish, 0, sizeof *wish);
    if (item.text && !strcmp(item.text, "auto")) {
      if (count > 1)
        return sm_fail(task, SM_FAIL, NULL, "ladder: 'auto' stands alone: remove it or the other renditions");
      break;
    }
    sm_status status =
        item.kind == SM_IS_RECORD ? read_map(task, i, wish) : read_edge(task, item.text ? item.text : "", wish);
    if (status != SM_OK) return status;
    s->ladder.wish_count++;
  }
  s->ladder.automatic = s->ladder.wish_count == 0;
  return SM_OK;
}

/* ---- the rest ------------------------------------------------------------------------------------------------- */

static sm_status read_grid(sm_task *task, struct settings *s) {
  sm_value gop = sm_param_value(task, "gop");
  bool frames = gop.kind == SM_IS_INT;
  s->segment = sm_param_int(task, "segment") * TICKS / 1000000;
  s->gop_frames = frames ? (int)gop.integer : 0;
  s->gop = frames ? 0 : gop.integer * TICKS / 1000000;
  if (frames && (gop.integer < 1 || gop.integer > 1000))
    return sm_fail(task, SM_FAIL, NULL, "gop: %lld frames are out of range: give 1 to 1000", (long long)gop.integer);
  if (!frames && (gop.integer < 100000 || gop.integer > 30000000))
    return sm_fail(task, SM_FAIL, NULL, "gop: %.3f s is out of range: give 100ms to 30s", (double)gop.integer / 1e6);
  return SM_OK;
}

static sm_status bad_name(sm_task *task, const char *key, const char *value, const char *problem) {
  return sm_fail(task, SM_FAIL, NULL, "%s: '%s' cannot be used: %s", key, value, problem);
}

/* Segments get the container's extension; one that contradicts it would lie to web servers. */
static sm_status read_names(sm_task *task, struct settings *s) {
  text_of(task, "names", s->pattern, sizeof s->pattern);
  text_of(task, "playlist", s->playlist, sizeof s->playlist);
  text_of(task, "master", s->master, sizeof s->master);
  bool many = !s->ladder.automatic && s->ladder.wish_count == 1 ? false : true;
  const char *problem = names_check(s->pattern, true, many);
  if (problem) return bad_name(task, "names", s->pattern, problem);
  if ((problem = names_check(s->playlist, false, many))) return bad_name(task, "playlist", s->playlist, problem);
  if ((problem = names_check(s->master, false, false)) || strchr(s->master, '{'))
    return bad_name(task, "master", s->master, problem ? problem : "it is a plain file name without placeholders");
  if (!names_has_extension(s->playlist, ".m3u8") || !names_has_extension(s->master, ".m3u8"))
    return sm_fail(task, SM_FAIL, NULL, "playlist and master must end in .m3u8");
  if (!strcmp(s->master, s->playlist)) return bad_name(task, "master", s->master, "the playlist has the same name");
  const char *right = s->fmp4 ? ".m4s" : ".ts", *wrong = s->fmp4 ? ".ts" : ".m4s";
  if (names_has_extension(s->pattern, wrong))
    return sm_fail(task, SM_FAIL, NULL,
                   "names: '%s' does not fit container %s: end it in %s or leave the extension out", s->pattern,
                   s->fmp4 ? "fmp4" : "ts", right);
  if (!names_has_extension(s->pattern, right)) strncat(s->pattern, right, sizeof s->pattern - strlen(s->pattern) - 1);
  return SM_OK;
}

sm_status settings_read(sm_task *task, struct settings *s) {
  memset(s, 0, sizeof *s);
  s->crf = sm_param_number(task, "crf");
  text_of(task, "preset", s->preset, sizeof s->preset);
  text_of(task, "tune", s->tune, sizeof s->tune);
  text_of(task, "profile", s->profile, sizeof s->profile);
  const char *container = sm_param_text(task, "container");
  s->fmp4 = container && !strcmp(container, "fmp4");
  s->mp4 = sm_param_bool(task, "mp4");
  s->audio_bitrate = sm_param_int(task, "audio-bitrate");
  sm_status status = read_ladder(task, s);
  if (status == SM_OK) status = read_grid(task, s);
  return status == SM_OK ? read_names(task, s) : status;
}

void settings_grid(const struct settings *s, double frame_rate, int64_t *gop, int64_t *segment) {
  double rate = frame_rate > 0.1 ? frame_rate : 25;
  *gop = s->gop ? s->gop : (int64_t)llround(s->gop_frames * TICKS / rate);
  if (*gop > s->segment) *gop = s->segment;
  if (*gop < 1) *gop = 1;
  *segment = (s->segment + *gop / 2) / *gop * *gop;
  if (*segment < *gop) *segment = *gop;
}
