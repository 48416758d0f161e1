/* moments.h - which frames are wanted: the times to look at, ascending, and which picture each is for.
 *
 * With skip-black a picture has several moments, the later ones for the case that the earlier ones are black. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include <stagemill/media.h>

struct moment {
  int64_t at_us;
  uint32_t picture;
};

struct wanted {       /* one picture */
  double percent;     /* of the duration; negative: at_us counts */
  int64_t at_us;      /* asked for */
  bool written, settled;
  double brightness;  /* of what is written */
  int64_t got_us;     /* time of the frame that is written */
};

struct moments {
  struct wanted *pictures;
  uint32_t picture_count, settled_count, picture_max;
  struct moment *list; /* ascending */
  uint32_t count, next;
  uint32_t open_percents; /* pictures at a percentage of an unknown duration: decided at the end */
  int64_t every_us;       /* > 0: pictures grow with time, no duration being known */
  bool skip_black;
  const char *method;     /* how the times were found, for the result */
};

/* Reads `at`, `every`, `max`, `skip-black`. */
sm_status moments_open(struct moments *m, sm_task *task, const sm_source *source);
void moments_close(struct moments *m);
/* Tells the host when nothing but these moments is needed. */
void moments_announce(const struct moments *m, sm_task *task, uint32_t stream);
/* With `every` and no duration: makes sure that there are moments up to now_us. False: no memory. */
bool moments_extend(struct moments *m, int64_t now_us);
/* Nothing more is wanted. */
bool moments_done(const struct moments *m);
