#include "boxes.h"

#include <string.h>
#include <unistd.h>

enum { BOXES_MAX = 4096 };

static uint64_t big_endian(const unsigned char *p, int bytes) {
  uint64_t n = 0;
  while (bytes--) n = n << 8 | *p++;
  return n;
}

static bool is_first_box(const unsigned char *type) {
  static const char *const known[] = {"ftyp", "moov", "mdat", "wide", "free", "skip", "styp"};
  for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
    if (memcmp(type, known[i], 4) == 0) return true;
  return false;
}

void boxes_scan(int descriptor, int64_t size_bytes, struct boxes *boxes) {
  unsigned char head[16];
  uint64_t offset = 0, end = (uint64_t)size_bytes;
  *boxes = (struct boxes){0};
  for (int i = 0; i < BOXES_MAX && offset + 8 <= end; i++) {
    ssize_t got = pread(descriptor, head, sizeof head, (off_t)offset);
    if (got < 8) return;
    uint64_t size = big_endian(head, 4);
    if (size == 1) size = got == 16 ? big_endian(head + 8, 8) : 0;
    else if (size == 0) size = end - offset; /* the rest of the file */
    if (i == 0 && !is_first_box(head + 4)) return;
    boxes->is_iso = true;
    if (memcmp(head + 4, "moov", 4) == 0) boxes->has_moov = true;
    if (size < 8) return;
    if (size > end - offset) {
      boxes->cut_short = true;
      return;
    }
    offset += size;
  }
}
