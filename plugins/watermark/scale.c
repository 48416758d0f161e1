/* scale.c - resampling with a triangle filter as wide as the reduction asks for. Colours are multiplied by alpha first,
 * so that the colour of transparent pixels does not bleed into the edges. Runs once a mark, not once a frame. */
#include "mark.h"

#include <math.h>
#include <stdlib.h>

struct taps { /* the source pixels one output pixel is made of */
  int first, count;
  float *weights;
};

static void taps_free(struct taps *taps, int count) {
  for (int i = 0; taps && i < count; i++) free(taps[i].weights);
  free(taps);
}

static bool taps_fill(struct taps *t, double center, double reach, int from) {
  double sum = 0;
  int first = (int)floor(center - reach), last = (int)ceil(center + reach);
  t->first = first < 0 ? 0 : first;
  t->count = (last >= from ? from - 1 : last) - t->first + 1;
  t->weights = malloc((size_t)t->count * sizeof *t->weights);
  if (!t->weights) return false;
  for (int i = 0; i < t->count; i++) {
    double distance = fabs(t->first + i + 0.5 - center) / reach;
    t->weights[i] = distance < 1 ? (float)(1 - distance) : 0;
    sum += t->weights[i];
  }
  for (int i = 0; i < t->count; i++) t->weights[i] = (float)(t->weights[i] / sum);
  return true;
}

static struct taps *taps_make(int from, int to) {
  struct taps *taps = calloc((size_t)to, sizeof *taps);
  double step = (double)from / to, reach = step > 1 ? step : 1;
  for (int i = 0; taps && i < to; i++)
    if (!taps_fill(&taps[i], (i + 0.5) * step, reach, from)) {
      taps_free(taps, to);
      return NULL;
    }
  return taps;
}

static void scale_row(const struct taps *taps, const uint8_t *from, float *to, int width) {
  for (int x = 0; x < width; x++) {
    float sum[4] = {0};
    for (int i = 0; i < taps[x].count; i++) {
      const uint8_t *p = from + 4 * (taps[x].first + i);
      float alpha = (float)p[3] / 255 * taps[x].weights[i];
      for (int k = 0; k < 3; k++) sum[k] += (float)p[k] / 255 * alpha;
      sum[3] += alpha;
    }
    for (int k = 0; k < 4; k++) to[4 * x + k] = sum[k];
  }
}

static void scale_columns(const struct taps *taps, const float *from, float *to, int row_floats, int height) {
  for (int y = 0; y < height; y++)
    for (int i = 0; i < taps[y].count; i++) {
      const float *row = from + (size_t)(taps[y].first + i) * (size_t)row_floats;
      float weight = taps[y].weights[i], *out = to + (size_t)y * (size_t)row_floats;
      for (int x = 0; x < row_floats; x++) out[x] += weight * row[x];
    }
}

void mark_free(struct mark *mark) {
  free(mark->rgba);
  *mark = (struct mark){0};
}

bool mark_scale(struct mark *mark, const uint8_t *rgba, int stride, int from_width, int from_height, int width,
                int height) {
  size_t row_floats = 4 * (size_t)width;
  struct taps *across = taps_make(from_width, width), *down = taps_make(from_height, height);
  float *narrow = malloc((size_t)from_height * row_floats * sizeof *narrow);
  *mark = (struct mark){width, height, calloc((size_t)height * row_floats, sizeof *mark->rgba)};
  bool good = across && down && narrow && mark->rgba;
  if (good) {
    for (int y = 0; y < from_height; y++)
      scale_row(across, rgba + (size_t)y * (size_t)stride, narrow + (size_t)y * row_floats, width);
    scale_columns(down, narrow, mark->rgba, (int)row_floats, height);
  } else {
    mark_free(mark);
  }
  taps_free(across, width);
  taps_free(down, height);
  free(narrow);
  return good;
}
