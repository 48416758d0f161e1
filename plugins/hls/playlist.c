#include "playlist.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "names.h"
#include "timeline.h"

/* EXTINF is written with six decimals; everything is computed from the rounded value that readers see. */
static double seconds(const struct segment *s) { return round((double)(s->end - s->start) / TICKS * 1e6) / 1e6; }

int playlist_target(const struct variant *v) {
  double longest = 0;
  for (size_t i = 0; i < v->count; i++) longest = fmax(longest, seconds(&v->segments[i]));
  int target = (int)lround(longest);
  return target < 1 ? 1 : target;
}

static int64_t rate_of(double bytes, double time) { return time > 0 ? (int64_t)ceil(bytes * 8 / time) : 0; }

struct rates playlist_rates(const struct variant *v) {
  double target = playlist_target(v), all_bytes = 0, all_time = 0;
  struct rates rates = {0, 0};
  for (size_t i = 0; i < v->count; i++) {
    all_bytes += (double)v->segments[i].bytes;
    all_time += seconds(&v->segments[i]);
    double bytes = 0, time = 0;
    for (size_t k = i; k < v->count && time < 1.5 * target; k++) {
      bytes += (double)v->segments[k].bytes;
      time += seconds(&v->segments[k]);
      if (time < 0.5 * target || time > 1.5 * target) continue;
      if (rate_of(bytes, time) > rates.peak) rates.peak = rate_of(bytes, time);
    }
  }
  rates.average = rate_of(all_bytes, all_time);
  if (rates.peak < rates.average) rates.peak = rates.average; /* all of it shorter than half a target duration */
  return rates;
}

char *playlist_media(const struct variant *v, bool fmp4, playlist_uri_fn uri, void *opaque) {
  char *text = NULL, name[NAMES_MAX * 3];
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  /* 4.3.2.5: EXT-X-MAP in a playlist of whole segments needs version 6; fMP4 is commonly announced as 7 */
  fprintf(out, "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:0\n", fmp4 ? 7 : 6,
          playlist_target(v));
  fprintf(out, "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n");
  bool good = true;
  if (fmp4 && (good = uri(opaque, -1, name, sizeof name))) fprintf(out, "#EXT-X-MAP:URI=\"%s\"\n", name);
  for (size_t i = 0; i < v->count && good; i++) {
    good = uri(opaque, (long)i, name, sizeof name);
    fprintf(out, "#EXTINF:%.6f,\n%s\n", seconds(&v->segments[i]), name);
  }
  fprintf(out, "#EXT-X-ENDLIST\n");
  if (fclose(out) || !good) {
    free(text);
    return NULL;
  }
  return text;
}

char *playlist_master(const struct variant *variants, size_t count, const char *path, bool fmp4) {
  char *text = NULL, name[NAMES_MAX * 3];
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  fprintf(out, "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-INDEPENDENT-SEGMENTS\n", fmp4 ? 7 : 6);
  bool good = true;
  for (size_t i = 0; i < count && good; i++) {
    const struct variant *v = &variants[i];
    struct rates rates = playlist_rates(v);
    fprintf(out, "#EXT-X-STREAM-INF:BANDWIDTH=%lld,AVERAGE-BANDWIDTH=%lld,CODECS=\"%s\"", (long long)rates.peak,
            (long long)rates.average, v->codecs);
    if (v->width) fprintf(out, ",RESOLUTION=%dx%d", v->width, v->height);
    if (v->width && v->frame_rate > 0) fprintf(out, ",FRAME-RATE=%.3f", v->frame_rate);
    good = names_reference(path, v->playlist, name, sizeof name);
    fprintf(out, "\n%s\n", name);
  }
  if (fclose(out) || !good) {
    free(text);
    return NULL;
  }
  return text;
}
