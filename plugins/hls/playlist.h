/* playlist.h - the text of media and master playlists (RFC 8216), from what was really written. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segmenter.h"

struct variant {
  const char *playlist; /* its path, relative to the stage's folder */
  const struct segment *segments;
  size_t count;
  uint64_t init_bytes; /* fMP4 */
  int width, height;   /* 0: audio alone */
  double frame_rate;   /* 0: audio alone or unknown */
  char codecs[48];
};

struct rates {
  int64_t peak, average; /* bit/s */
};

/* RFC 8216 4.1 and 4.3.4.2: the peak is the highest rate of any run of segments that lasts between half and one and a
 * half times the target duration; the average counts all of them. */
struct rates playlist_rates(const struct variant *v);

/* Seconds of the longest segment, rounded (RFC 8216 4.3.3.1), at least 1. */
int playlist_target(const struct variant *v);

/* URI of segment i as seen from the playlist; false: too long. */
typedef bool (*playlist_uri_fn)(void *opaque, long index, char *out, size_t size);

/* Text of a media playlist, to be freed with free(); NULL: out of memory. uri(-1) is the fMP4 initialisation section.
 */
char *playlist_media(const struct variant *v, bool fmp4, playlist_uri_fn uri, void *opaque);

/* Text of the master playlist that lies at `path`. */
char *playlist_master(const struct variant *variants, size_t count, const char *path, bool fmp4);
