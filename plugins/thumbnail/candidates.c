#include "candidates.h"

#include <stdlib.h>

enum { BUDGET_BYTES = 64 << 20, CAPACITY_MIN = 4 };

void candidates_open(struct candidates *c, const struct picture_style *style) {
  int64_t fits = BUDGET_BYTES / ((int64_t)style->width * style->height * 3);
  *c = (struct candidates){.distance_us = 1};
  c->capacity = fits > CANDIDATES_MAX ? CANDIDATES_MAX : fits < CAPACITY_MIN ? CAPACITY_MIN : (int)fits;
}

void candidates_close(struct candidates *c) {
  for (int i = 0; i < c->count; i++) av_frame_free(&c->list[i]);
  c->count = 0;
}

bool candidates_wants(const struct candidates *c, int64_t at_us, bool is_key) {
  if (c->count == 0) return true;
  int64_t since = at_us - c->at_us[c->count - 1];
  return since >= (is_key ? c->distance_us : 2 * c->distance_us + 1000000);
}

static void thin_out(struct candidates *c) {
  int kept = 0;
  for (int i = 0; i < c->count; i++) {
    if (i % 2) {
      av_frame_free(&c->list[i]);
      continue;
    }
    c->list[kept] = c->list[i];
    c->at_us[kept++] = c->at_us[i];
  }
  c->count = kept;
  c->distance_us = kept > 1 ? (c->at_us[kept - 1] - c->at_us[0]) / (kept - 1) : 2 * c->distance_us;
}

void candidates_add(struct candidates *c, AVFrame *rgb, int64_t at_us) {
  if (c->count == c->capacity) thin_out(c);
  c->list[c->count] = rgb;
  c->at_us[c->count++] = at_us;
}

int candidates_nearest(const struct candidates *c, int64_t at_us) {
  int best = -1;
  for (int i = 0; i < c->count; i++)
    if (best < 0 || llabs(c->at_us[i] - at_us) < llabs(c->at_us[best] - at_us)) best = i;
  return best;
}
