/* boxes.h - the top level of an ISO base media file (ISO/IEC 14496-12, 4.2): is the index there, is the data whole. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct boxes {
  bool is_iso;    /* starts like an MP4 or MOV */
  bool has_moov;
  bool cut_short; /* a box says that it ends after the end of the file */
};
void boxes_scan(int descriptor, int64_t size_bytes, struct boxes *boxes);
