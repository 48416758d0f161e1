/* hdr.h - high dynamic range: which kind, and the metadata of the display it was graded on. */
#pragma once
#include <stdbool.h>

#include <libavutil/mastering_display_metadata.h>

#include "source.h"

struct hdr {
  const char *format; /* "hdr10", "hlg", "pq", "dolby-vision"; NULL: standard range */
  bool has_display, has_light, has_dolby;
  AVMasteringDisplayMetadata display;
  AVContentLightMetadata light;
  int dolby_profile, dolby_level;
};

/* From the stream's headers; where an HDR stream keeps its metadata in the bitstream only (SEI), the first frame is
 * decoded to find it (at most 64 packets, 3 s). Moves the demuxer. */
void hdr_inspect(struct source *s, int video, struct hdr *hdr);
