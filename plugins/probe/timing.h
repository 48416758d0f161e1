/* timing.h - what only the packets tell: whether frames are evenly spaced, and how long a file without a header is. */
#pragma once
#include "source.h"

enum spacing { SPACING_UNKNOWN = 1, SPACING_EVEN, SPACING_UNEVEN };

enum duration_method { DURATION_UNKNOWN = 1, DURATION_HEADER, DURATION_TIMESTAMPS, DURATION_SCAN };
const char *duration_method_word(enum duration_method method);

struct timing {
  enum spacing spacing; /* of the video stream that was asked for */
  int packets;          /* looked at */
  int64_t duration_us;  /* -1: unknown */
  enum duration_method method;
};

/* Reads the packets of stream `video` (-1: none) from where the demuxer stands (its beginning):
 *   at most 1200 of them, 64 MiB, 3 s. Their presentation times (decoding times when some lack one) are sorted; frames
 * are uneven when more than one in a hundred of the steps differs from the median step by more than 2 % and by more
 * than one and a half ticks of the time base and one millisecond (containers with millisecond times alternate between
 * 41 and 42 ms at 24 fps). Then, only when the duration is unknown or a mere guess from the bitrate, goes on to the
 * end: at most 10 s. */
void timing_measure(struct source *s, int video, struct timing *timing);
