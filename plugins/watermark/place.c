#include "place.h"

#include <math.h>
#include <string.h>

#include "mark.h"

static int shorter(int a, int b) { return a < b ? a : b; }

double place_length(const sm_value *value, double whole) {
  return value->kind == SM_IS_PERCENT ? value->number * whole / 100 : value->number;
}

int place_type_size(sm_task *task, int frame_width, int frame_height) {
  sm_value size = sm_param_value(task, "size");
  double px = size.kind == SM_IS_ABSENT ? 0.05 * shorter(frame_width, frame_height)
                                        : place_length(&size, shorter(frame_width, frame_height));
  return px < 4 ? 4 : px > 2000 ? 2000 : (int)lround(px);
}

static void scale_to_fit(sm_task *task, struct rectangle *r, double width, double height) {
  double scale = fmin(width / r->width, height / r->height);
  if (scale >= 1) return;
  sm_log(task, SM_LOG_INFO, "the watermark of %dx%d does not fit and is made smaller", r->width, r->height);
  r->width = (int)fmax(1, floor(r->width * scale));
  r->height = (int)fmax(1, floor(r->height * scale));
}

static int side(const char *position, const char *low, const char *high, int margin, int free_space) {
  if (strstr(position, low)) return margin;
  if (strstr(position, high)) return free_space - margin;
  return free_space / 2;
}

static sm_status check(sm_task *task, const struct rectangle *r, int frame_width, int frame_height) {
  if (r->x < frame_width && r->y < frame_height && r->x + r->width > 0 && r->y + r->height > 0) return SM_OK;
  return sm_fail(task, SM_FAIL, NULL, "the watermark at x %d, y %d lies outside of the %dx%d picture: move it inside",
                 r->x, r->y, frame_width, frame_height);
}

sm_status place_mark(sm_task *task, int frame_width, int frame_height, int natural_width, int natural_height,
                     bool is_text, struct rectangle *r) {
  sm_value size = sm_param_value(task, "size"), gap = sm_param_value(task, "margin");
  sm_value x = sm_param_value(task, "x"), y = sm_param_value(task, "y");
  const char *position = sm_param_text(task, "position");
  bool sized = !is_text && size.kind != SM_IS_ABSENT;
  double scale = sized ? place_length(&size, frame_width) / natural_width : 1;
  int margin = (int)lround(place_length(&gap, shorter(frame_width, frame_height)));
  if (scale * natural_width > MARK_SIDE_MAX || scale * natural_height > MARK_SIDE_MAX)
    return sm_fail(task, SM_FAIL, NULL, "the watermark would be larger than %d px: choose a smaller size",
                   MARK_SIDE_MAX);
  if (2 * margin >= shorter(frame_width, frame_height)) margin = (shorter(frame_width, frame_height) - 1) / 2;
  r->width = (int)fmax(1, lround(natural_width * scale));
  r->height = (int)fmax(1, lround(natural_height * scale));
  scale_to_fit(task, r, frame_width - (x.kind ? 0 : 2 * margin), frame_height - (y.kind ? 0 : 2 * margin));
  r->x = x.kind ? (int)lround(place_length(&x, frame_width))
                : side(position, "left", "right", margin, frame_width - r->width);
  r->y = y.kind ? (int)lround(place_length(&y, frame_height))
                : side(position, "top", "bottom", margin, frame_height - r->height);
  return check(task, r, frame_width, frame_height);
}
