/* timeline.h - when pictures come: which of them start a GOP, where the picture must be held because none comes, how
 * long the last one lasts, how fast they come at most. One timeline decides for all renditions, so that their IDR
 * frames stand at the same instants whatever the source's frame rate does. Pure arithmetic, in ticks of 1/90000 s. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define TICKS 90000
#define TIMELINE_RING 512

struct timeline {
  int64_t gop;   /* distance of two grid points */
  int64_t frame; /* nominal duration of a picture */
  bool started;
  int64_t first;    /* the first picture */
  int64_t next_key; /* grid points are whole multiples of gop on the pass's clock */
  int64_t last;
  int64_t end;                 /* where the last picture stops being shown */
  int64_t ring[TIMELINE_RING]; /* newest pictures, to find the highest rate within a second */
  uint64_t shown;
  uint32_t most_per_second;
};

/* frame_rate 0: unknown. */
void timeline_init(struct timeline *t, int64_t gop, double frame_rate);

/* A picture at pts (duration 0: unknown). False: it is not later than the one before and must be dropped. *key: it
 * starts a GOP. */
bool timeline_picture(struct timeline *t, int64_t pts, int64_t duration, bool *key);

/* True when no picture comes before `until` although a grid point lies well before it: the picture on screen is to be
 * repeated at *pts, as a picture that starts a GOP. Call until it says false. */
bool timeline_gap(struct timeline *t, int64_t until, int64_t *pts);

/* There was a picture of sorts from 0 on: a gap before the first one counts. Without this call it does not. */
void timeline_from_zero(struct timeline *t);

/* How close to a grid point or segment boundary counts as on it: containers round to a millisecond. */
int64_t timeline_tolerance(int64_t gop);

/* Pictures a second: the nominal rate when the pictures kept to it, else the most that came within one second. */
double timeline_rate(const struct timeline *t, double nominal, bool vfr);
