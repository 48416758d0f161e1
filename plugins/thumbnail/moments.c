#include "moments.h"

#include <stdlib.h>

enum { PICTURES_MAX = 10000 };
static const int64_t black_offsets_us[] = {0, 500000, 1000000, 2000000, 4000000};
enum { OFFSETS = sizeof black_offsets_us / sizeof *black_offsets_us };

static bool add_picture(struct moments *m, double percent, int64_t at_us) {
  struct wanted *grown = realloc(m->pictures, (m->picture_count + 1) * sizeof *grown);
  if (!grown) return false;
  m->pictures = grown;
  m->pictures[m->picture_count++] = (struct wanted){.percent = percent, .at_us = at_us, .brightness = -1};
  return true;
}

static bool add_moments(struct moments *m, uint32_t picture, int64_t limit_us) {
  uint32_t tries = m->skip_black ? OFFSETS : 1;
  struct moment *grown = realloc(m->list, (m->count + tries) * sizeof *grown);
  if (!grown) return false;
  m->list = grown;
  for (uint32_t i = 0; i < tries; i++) {
    int64_t at = m->pictures[picture].at_us + black_offsets_us[i];
    if (i == 0 || at < limit_us) m->list[m->count++] = (struct moment){at, picture};
  }
  return true;
}

static int by_time(const void *a, const void *b) {
  const struct moment *x = a, *y = b;
  if (x->at_us != y->at_us) return x->at_us < y->at_us ? -1 : 1;
  return x->picture < y->picture ? -1 : x->picture > y->picture;
}

static sm_status no_memory(sm_task *task) { return sm_fail(task, SM_RETRY, NULL, "no memory was left for the times"); }

/* Times from 0 in steps; with a known duration all of them now, else as frames come. */
static sm_status from_every(struct moments *m, sm_task *task, int64_t duration_us) {
  m->every_us = sm_param_int(task, "every");
  m->picture_max = (uint32_t)sm_param_int(task, "max");
  m->method = duration_us > 0 ? "every" : "every, while playing";
  for (int64_t at = 0; duration_us > 0 && at < duration_us && m->picture_count < m->picture_max; at += m->every_us)
    if (!add_picture(m, -1, at)) return no_memory(task);
  if (duration_us > 0) m->every_us = 0;
  return SM_OK;
}

static sm_status add_written(struct moments *m, sm_task *task, const sm_value *value, int64_t duration_us) {
  double percent = value->kind == SM_IS_PERCENT ? value->number : -1;
  int64_t at = value->integer;
  if (percent >= 0 && duration_us > 0) {
    at = (int64_t)((double)duration_us * percent / 100);
    percent = -1;
  }
  /* The last frame stands for everything at or after the end. */
  if (duration_us > 0 && at >= duration_us) at = duration_us - 1;
  m->open_percents += percent >= 0;
  return add_picture(m, percent, at) ? SM_OK : no_memory(task);
}

static sm_status from_at(struct moments *m, sm_task *task, const sm_source *source) {
  uint32_t count = sm_param_count(task, "at");
  sm_status status = SM_OK;
  bool percents = count == 0;
  if (count > PICTURES_MAX)
    return sm_fail(task, SM_FAIL, NULL, "`at` has %u times: at most %d pictures can be made", count, PICTURES_MAX);
  for (uint32_t i = 0; i < count && status == SM_OK; i++) {
    char path[32];
    snprintf(path, sizeof path, "at.%u", i);
    sm_value value = sm_param_value(task, path);
    percents |= value.kind == SM_IS_PERCENT;
    status = add_written(m, task, &value, source->duration_us);
  }
  if (count == 0) {
    sm_value tenth = {.kind = SM_IS_PERCENT, .number = 10};
    status = add_written(m, task, &tenth, source->duration_us);
  }
  m->method = !percents                                            ? "time"
              : m->open_percents                                   ? "candidates"
              : source->duration_method == SM_DURATION_SCAN        ? "percentage of the scanned duration"
                                                                   : "percentage of the stated duration";
  return status;
}

static sm_status spread(struct moments *m, sm_task *task, int64_t duration_us) {
  int64_t limit = duration_us > 0 ? duration_us : INT64_MAX;
  for (uint32_t i = 0; i < m->picture_count; i++)
    if (m->pictures[i].percent < 0 && !add_moments(m, i, limit)) return no_memory(task);
  if (m->count) qsort(m->list, m->count, sizeof *m->list, by_time);
  return SM_OK;
}

sm_status moments_open(struct moments *m, sm_task *task, const sm_source *source) {
  bool every = sm_param_given(task, "every");
  *m = (struct moments){.skip_black = sm_param_bool(task, "skip-black")};
  if (every && sm_param_count(task, "at"))
    return sm_fail(task, SM_FAIL, NULL, "`at` and `every` contradict each other: write one of them");
  sm_status status = every ? from_every(m, task, source->duration_us) : from_at(m, task, source);
  return status == SM_OK ? spread(m, task, source->duration_us) : status;
}

void moments_close(struct moments *m) {
  free(m->pictures);
  free(m->list);
  m->pictures = NULL;
  m->list = NULL;
}

void moments_announce(const struct moments *m, sm_task *task, uint32_t stream) {
  int64_t *times;
  if (m->open_percents || m->every_us || !m->count || !(times = malloc(m->count * sizeof *times))) return;
  for (uint32_t i = 0; i < m->count; i++) times[i] = m->list[i].at_us;
  sm_only_at(task, stream, times, m->count, 0); /* an older host without it sends every frame: as good, slower */
  free(times);
}

bool moments_extend(struct moments *m, int64_t now_us) {
  if (!m->every_us) return true;
  for (;;) {
    int64_t at = (int64_t)m->picture_count * m->every_us;
    if (at > now_us || m->picture_count >= m->picture_max) return true;
    if (!add_picture(m, -1, at) || !add_moments(m, m->picture_count - 1, INT64_MAX)) return false;
    qsort(m->list + m->next, m->count - m->next, sizeof *m->list, by_time);
  }
}

bool moments_done(const struct moments *m) {
  bool growing = m->every_us && m->picture_count < m->picture_max;
  bool looked_everywhere = m->next == m->count && !m->open_percents; /* black ones are never settled */
  return !growing && (looked_everywhere || m->settled_count == m->picture_count);
}
