/* Fuzz target: any bytes as what a follower sends. Wherever they are cut, the same is heard and the same is wrong with
 * it; nothing above the limit is kept, and every text is UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "ws/frame.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct heard {
  struct buf log;
  bool stopped;
};

static bool keep(void *context, enum opcode opcode, const char *data, size_t size) {
  struct utf8 utf8 = {0};
  if (size > MESSAGE_MAX || (opcode & 8 && size > CONTROL_MAX)) abort();
  if (opcode == OPCODE_TEXT && (!utf8_feed(&utf8, (const uint8_t *)data, size) || utf8.missing)) abort();
  struct heard *heard = context;
  enum close_code wrong;
  heard->stopped = opcode == OPCODE_CLOSE;
  if (heard->stopped) frame_close_code(data, size, &wrong);
  buf_format(&heard->log, "%x:%zu:", opcode, size);
  buf_add(&heard->log, data, size);
  return !heard->stopped;
}

static enum close_code read_in_pieces(struct heard *heard, const unsigned char *data, size_t size, size_t piece) {
  struct frame_reader reader = {0};
  enum close_code wrong = 0;
  uint8_t copy[256];
  for (size_t at = 0; at < size && !wrong && !heard->stopped; at += piece) {
    size_t n = size - at < piece ? size - at : piece;
    memcpy(copy, data + at, n);
    wrong = frame_read(&reader, copy, n, keep, heard);
  }
  frame_reader_clear(&reader);
  return wrong;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  struct heard one = {0}, many = {0};
  if (size < 2) return 0;
  enum close_code by_one = read_in_pieces(&one, data + 1, size - 1, 1);
  enum close_code by_many = read_in_pieces(&many, data + 1, size - 1, data[0] ? data[0] : 256);
  if (by_one != by_many || one.log.size != many.log.size) abort();
  if (one.log.size && memcmp(one.log.data, many.log.data, one.log.size)) abort();
  buf_free(&one.log);
  buf_free(&many.log);
  return 0;
}
