#include "ladder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Short edges of the automatic ladder. Neighbours differ by 1.33 to 1.5: closer ones cost an encode nobody can see. */
static const int standard_edges[] = {4320, 2160, 1440, 1080, 720, 480, 360};
#define STANDARD_COUNT (sizeof standard_edges / sizeof *standard_edges)

static int even(double x) {
  int n = (int)lround(x / 2) * 2;
  return n < 2 ? 2 : n;
}

static int even_below(int n) { return n < 2 ? 2 : n & ~1; }

static int short_edge(const struct ladder_source *s) { return s->width < s->height ? s->width : s->height; }

/* A film clip at 1080p24, preset fast, crf 23 needs 3-5 Mb/s; the cap stands above that and shrinks a little slower
 * than the area, as small pictures carry more detail per pixel. */
int64_t ladder_default_maxrate(int width, int height, double frame_rate) {
  double share = (double)width * height / (1920.0 * 1080.0);
  double rate = 6.5e6 * pow(share, 0.75) * (frame_rate > 35 ? 1.4 : 1.0);
  if (rate < 100e3) rate = 100e3;
  return (int64_t)(round(rate / 10e3) * 10e3);
}

/* The largest even size of the source's shape within the box; a side of 0 is free. */
static void fit(const struct ladder_source *s, double box_w, double box_h, int *width, int *height) {
  double by_width = box_w > 0 ? box_w / s->width : INFINITY;
  double by_height = box_h > 0 ? box_h / s->height : INFINITY;
  double scale = fmin(by_width, by_height);
  if (!isfinite(scale)) scale = 1;
  if (scale == 1) {
    *width = even_below(s->width);
    *height = even_below(s->height);
    return;
  }
  *width = even(s->width * scale);
  *height = even(s->height * scale);
  if (box_w > 0 && *width > box_w) *width = even_below((int)box_w);
  if (box_h > 0 && *height > box_h) *height = even_below((int)box_h);
}

static void finish(struct rung *r, const struct rung_wish *wish, double crf, double frame_rate) {
  r->crf = wish && wish->crf >= 0 ? wish->crf : crf;
  r->bitrate = wish ? wish->bitrate : 0;
  r->maxrate = wish ? wish->maxrate : 0;
  r->bufsize = wish ? wish->bufsize : 0;
  if (!r->maxrate)
    r->maxrate = r->bitrate ? r->bitrate + r->bitrate / 10 : ladder_default_maxrate(r->width, r->height, frame_rate);
  if (!r->bufsize) r->bufsize = r->maxrate + r->maxrate / 2;
}

static void name_by_size(struct rung *r) {
  int edge = r->width < r->height ? r->width : r->height;
  snprintf(r->name, sizeof r->name, "%dp", edge);
}

static void add(struct rung *rungs, size_t *count, const struct ladder_choice *choice,
                const struct ladder_source *source, double edge) {
  struct rung *r = &rungs[*count];
  memset(r, 0, sizeof *r);
  bool portrait = source->height > source->width;
  fit(source, portrait ? edge : 0, portrait ? 0 : edge, &r->width, &r->height);
  name_by_size(r);
  finish(r, NULL, choice->crf, source->frame_rate);
  (*count)++;
}

/* The source's own size on top, unless a standard edge lies within 2 % of it; a standard edge that the top exceeds by
 * less than a quarter would be the same picture twice. */
static size_t build_automatic(const struct ladder_choice *choice, const struct ladder_source *source,
                              struct rung *rungs) {
  size_t count = 0;
  int edge = short_edge(source);
  add(rungs, &count, choice, source, edge);
  for (size_t i = 0; i < STANDARD_COUNT; i++) {
    int standard = standard_edges[i];
    if (standard <= edge && edge <= standard * 1.02) snprintf(rungs[0].name, LADDER_NAME, "%dp", standard);
    if (edge >= standard * 1.25) add(rungs, &count, choice, source, standard);
  }
  return count;
}

/* The wish's box, a landscape one turned for a portrait source. */
static void box_of(const struct rung_wish *wish, const struct ladder_source *source, double *box_w, double *box_h) {
  bool portrait = source->height > source->width;
  *box_w = wish->width;
  *box_h = wish->height;
  bool landscape_box = wish->by_short_edge || !wish->width || !wish->height || wish->width >= wish->height;
  if (portrait && landscape_box) {
    *box_w = wish->height;
    *box_h = wish->width;
  }
}

static bool same_size_and_rate(const struct rung *a, const struct rung *b) {
  return a->width == b->width && a->height == b->height && a->bitrate == b->bitrate && a->crf == b->crf &&
         a->maxrate == b->maxrate;
}

static bool name_taken(const struct rung *rungs, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (!strcmp(rungs[i].name, name)) return true;
  return false;
}

static void name_rung(struct rung *rungs, size_t count, struct rung *r, const struct rung_wish *wish, bool clamped) {
  int edge = r->width < r->height ? r->width : r->height;
  bool untrue = clamped && wish->by_short_edge && wish->height > edge * 1.02; /* "1080p" on what is 720 high */
  if (wish->name[0] && !untrue)
    snprintf(r->name, sizeof r->name, "%s", wish->name);
  else
    name_by_size(r);
  char base[LADDER_NAME];
  snprintf(base, sizeof base, "%.24s", r->name);
  for (int n = 2; n < 100 && name_taken(rungs, count, r->name); n++)
    snprintf(r->name, sizeof r->name, "%.24s-%d", base, n);
}

/* Index of the smallest wish above the source, the only one of those that is made; -1: none. */
static int smallest_above(const struct ladder_choice *choice, const struct ladder_source *source, const bool *above) {
  int best = -1;
  double best_area = 0;
  for (size_t i = 0; i < choice->wish_count; i++) {
    if (!above[i]) continue;
    int w, h;
    double box_w, box_h;
    box_of(&choice->wishes[i], source, &box_w, &box_h);
    fit(source, box_w, box_h, &w, &h);
    if (best < 0 || (double)w * h < best_area) {
      best = (int)i;
      best_area = (double)w * h;
    }
  }
  return best;
}

static size_t build_wished(const struct ladder_choice *choice, const struct ladder_source *source, struct rung *rungs) {
  bool above[LADDER_MAX] = {false};
  bool whole = false; /* a wish meets the source's own size */
  for (size_t i = 0; i < choice->wish_count; i++) {
    int w, h;
    double box_w, box_h;
    box_of(&choice->wishes[i], source, &box_w, &box_h);
    fit(source, box_w, box_h, &w, &h);
    above[i] = !choice->upscale && (w > source->width || h > source->height);
    whole |= !above[i] && w == even_below(source->width) && h == even_below(source->height);
  }
  int kept = whole ? -1 : smallest_above(choice, source, above);
  size_t count = 0;
  for (size_t i = 0; i < choice->wish_count; i++) {
    if (above[i] && (int)i != kept) continue;
    struct rung *r = &rungs[count];
    memset(r, 0, sizeof *r);
    double box_w, box_h;
    box_of(&choice->wishes[i], source, &box_w, &box_h);
    if (above[i]) box_w = box_h = 0;
    fit(source, box_w, box_h, &r->width, &r->height);
    finish(r, &choice->wishes[i], choice->crf, source->frame_rate);
    bool twin = false;
    for (size_t k = 0; k < count; k++) twin |= same_size_and_rate(&rungs[k], r);
    if (twin) continue;
    name_rung(rungs, count, r, &choice->wishes[i], above[i]);
    count++;
  }
  return count;
}

size_t ladder_build(const struct ladder_choice *choice, const struct ladder_source *source,
                    struct rung rungs[LADDER_MAX]) {
  if (choice->automatic || choice->wish_count == 0) return build_automatic(choice, source, rungs);
  return build_wished(choice, source, rungs);
}
