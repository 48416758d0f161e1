/* describe.h - everything known about a source, as the JSON of probe.json. */
#pragma once
#include <jansson.h>

#include "hdr.h"
#include "source.h"
#include "timing.h"

struct findings {
  struct source *source;
  int video, audio; /* best stream of each kind, -1: none; cover art is no video */
  struct timing timing;
  struct hdr hdr;
  bool cut_short;   /* the file ends before its own boxes say */
};

json_t *describe(const struct findings *f);
/* Bits per second of the whole file: stated, else size by duration; -1: unknown. */
int64_t describe_bitrate(const struct findings *f);
