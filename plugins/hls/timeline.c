#include "timeline.h"

#include <math.h>
#include <string.h>

#define LONGEST_PICTURE (10 * (int64_t)TICKS)

void timeline_init(struct timeline *t, int64_t gop, double frame_rate) {
  memset(t, 0, sizeof *t);
  t->gop = gop > 0 ? gop : 2 * TICKS;
  t->frame = frame_rate > 0.1 && frame_rate < 1000 ? (int64_t)llround(TICKS / frame_rate) : TICKS / 25;
}

int64_t timeline_tolerance(int64_t gop) {
  int64_t two_ms = TICKS / 500;
  return gop / 4 < two_ms ? gop / 4 : two_ms;
}

static void start(struct timeline *t, int64_t at) {
  if (t->started) return;
  t->started = true;
  t->first = t->end = at;
  t->next_key = at - at % t->gop;
  t->last = INT64_MIN;
}

void timeline_from_zero(struct timeline *t) { start(t, 0); }

static void count_rate(struct timeline *t, int64_t pts) {
  t->ring[t->shown++ % TIMELINE_RING] = pts;
  uint32_t within = 0;
  uint64_t known = t->shown < TIMELINE_RING ? t->shown : TIMELINE_RING;
  /* half a picture of slack: timestamps rounded by the container must not make 24 pictures a second 25 */
  while (within < known && t->ring[(t->shown - 1 - within) % TIMELINE_RING] > pts - TICKS + t->frame / 2) within++;
  if (within > t->most_per_second) t->most_per_second = within;
}

bool timeline_picture(struct timeline *t, int64_t pts, int64_t duration, bool *key) {
  start(t, pts);
  if (pts <= t->last) return false;
  int64_t near = timeline_tolerance(t->gop);
  *key = pts >= t->next_key - near;
  if (*key) t->next_key += ((pts + near - t->next_key) / t->gop + 1) * t->gop;
  t->last = pts;
  if (duration <= 0 || duration > LONGEST_PICTURE) duration = t->frame;
  if (pts + duration > t->end) t->end = pts + duration;
  count_rate(t, pts);
  return true;
}

/* A second, or half a GOP when that is longer: a slow but steady source is not touched. */
bool timeline_gap(struct timeline *t, int64_t until, int64_t *pts) {
  int64_t slack = t->gop / 2 > TICKS ? t->gop / 2 : TICKS;
  if (!t->started || until - t->next_key < slack) return false;
  if (t->next_key <= t->last) return false;
  *pts = t->next_key;
  return true;
}

double timeline_rate(const struct timeline *t, double nominal, bool vfr) {
  double span = (double)(t->end - t->first) / TICKS;
  double mean = span > 0 ? (double)t->shown / span : 0;
  if (!vfr && nominal > 0 && (t->shown < 3 || fabs(mean / nominal - 1) < 0.03)) return nominal;
  /* under a second the window says nothing: the mean is what was seen */
  double most = span >= 1 ? t->most_per_second : 0;
  return most > mean ? most : mean;
}
