/* candidates.h - pictures kept while the duration is unknown, so that a percentage can be answered at the end.
 *
 * A bounded set, spread over what has been played: keyframes first, any frame where keyframes are rare. When it is
 * full every second one goes and the distance doubles. */
#pragma once
#include "picture.h"

enum { CANDIDATES_MAX = 64 };
struct candidates {
  AVFrame *list[CANDIDATES_MAX]; /* rendered, ascending */
  int64_t at_us[CANDIDATES_MAX];
  int count, capacity;
  int64_t distance_us;
};

void candidates_open(struct candidates *c, const struct picture_style *style);
void candidates_close(struct candidates *c);
bool candidates_wants(const struct candidates *c, int64_t at_us, bool is_key);
void candidates_add(struct candidates *c, AVFrame *rgb, int64_t at_us); /* moves rgb in */
/* Index of the nearest to at_us, -1: none. */
int candidates_nearest(const struct candidates *c, int64_t at_us);
