/* place.h - where the mark goes and how large it is, in pixels of the frame. */
#pragma once
#include <stagemill/stage.h>

struct rectangle {
  int x, y, width, height;
};

/* A length as written: px, or a percentage of `whole`. */
double place_length(const sm_value *value, double whole);
/* The mark's rectangle in a frame: `size`, `margin`, `position`, `x`, `y`. natural_: its own size in pixels. By
 * position it is made to fit between the margins; free x and y may push it over an edge, but not out of the frame. */
sm_status place_mark(sm_task *task, int frame_width, int frame_height, int natural_width, int natural_height,
                     bool is_text, struct rectangle *r);
/* Size of type in pixels for a frame. */
int place_type_size(sm_task *task, int frame_width, int frame_height);
