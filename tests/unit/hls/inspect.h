/* inspect.h - what a segment file really holds, read with libavformat and libavcodec. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct inspection {
  int pictures, keys, sounds;                                  /* packets */
  double first_picture, last_picture, first_sound, last_sound; /* pts in seconds; last_sound: where it ends */
  bool starts_with_key;
  int decoded_pictures;
  double loudness; /* root mean square of the decoded samples, 0 is silence */
  int width, height;
};

/* init: fMP4 initialisation section or NULL. False: it cannot be read or does not decode cleanly. */
bool inspect_segment(const char *init, const char *path, struct inspection *out);
