/* frame.h - frames of RFC 6455, the server's side: a reader that is fed whatever bytes came, and a writer.
 *
 * The reader judges a frame by its head, before any byte of the payload is there: a declared length never makes it
 * allocate or wait. It keeps a message only while one is being received. These are the reasons for not using a library:
 * wslay 1.1.1 sees a head only together with its first payload byte, judges the reason of a CLOSE that came in pieces
 * by the wrong bytes, and holds 8 KiB for each follower. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum opcode { OPCODE_CONTINUATION, OPCODE_TEXT, OPCODE_BINARY, OPCODE_CLOSE = 8, OPCODE_PING, OPCODE_PONG };
enum close_code {
  CLOSE_NORMAL = 1000,
  CLOSE_GOING_AWAY = 1001,
  CLOSE_PROTOCOL = 1002,
  CLOSE_UNSUPPORTED = 1003,
  CLOSE_NO_CODE = 1005, /* never on the wire: a CLOSE without a code */
  CLOSE_NOT_UTF8 = 1007,
  CLOSE_POLICY = 1008,
  CLOSE_TOO_BIG = 1009,
  CLOSE_INTERNAL = 1011,
  CLOSE_TRY_LATER = 1013,
  CLOSE_UNKNOWN_CLIENT = 4001, /* no id or no credential */
  CLOSE_DENIED = 4003,         /* invalid, expired, foreign; unknown ids, too */
  CLOSE_NOT_FOUND = 4004,      /* who may see everything is told the truth */
  CLOSE_TOO_SLOW = 4008,
};
enum { MESSAGE_MAX = 64 * 1024, CONTROL_MAX = 125, FRAME_HEAD_MAX = 10 };

/* Incremental: state 0 is between characters. False: not UTF-8 (RFC 3629: no surrogates, nothing overlong, up to
 * U+10FFFF). */
struct utf8 {
  uint8_t missing, low, high; /* bytes to come, bounds of the next */
};
bool utf8_feed(struct utf8 *utf8, const uint8_t *data, size_t size);

/* What was received. Text and binary are whole messages. Returning false stops the reading. */
typedef bool frame_received(void *context, enum opcode opcode, const char *data, size_t size);

struct frame_reader {
  uint8_t head[14], have, need; /* of the head */
  bool in_payload, fin;
  uint32_t message_max; /* 0: MESSAGE_MAX */
  uint8_t opcode;       /* of the frame */
  uint8_t message_type; /* TEXT or BINARY while a message is unfinished; 0: none */
  uint8_t mask[4];
  uint32_t length, done; /* of the payload */
  struct utf8 utf8;
  struct buf message, control;
};
/* Takes bytes (and unmasks them in place). 0, or the close code that they deserve: nothing more is read then. */
enum close_code frame_read(struct frame_reader *reader, uint8_t *data, size_t size, frame_received *call,
                           void *context);
void frame_reader_clear(struct frame_reader *reader);

/* Appends one frame, unfragmented and unmasked. */
void frame_write(struct buf *out, enum opcode opcode, const void *data, size_t size);
/* code CLOSE_NO_CODE: an empty CLOSE. The reason is cut at 123 bytes, between characters. */
void frame_write_close(struct buf *out, enum close_code code, const char *reason);
/* What a CLOSE says: its code (CLOSE_NO_CODE: none), or CLOSE_PROTOCOL or CLOSE_NOT_UTF8 in `wrong`. */
enum close_code frame_close_code(const char *data, size_t size, enum close_code *wrong);
