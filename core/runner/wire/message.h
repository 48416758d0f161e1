/* message.h - the attempt protocol: SOCK_SEQPACKET, one message a packet, at most 64 KiB, fixed binary header, packed
 * value as body. Descriptors from a child are refused. The engine trusts nothing: type, stage index and body are checked.
 *
 *   attempt -> engine                                   engine -> attempt
 *   HELLO     {pid}
 *   OPENED    (pass) after the source is open:          GO  {drop: [stage index], params: {index: {param: value}}}
 *             {source: {...}, durations, method}
 *   RESULT    stage {key, value}      (in OPENED's phase: `open` results; durable before GO)
 *   OUTPUT    stage {port, name, type, meta}
 *   CHECKPOINT stage {key, value}
 *   TITLE     stage {text}            progress message, at most 10 a second and stage
 *   LOG       stage {level, text}
 *   NOTE      stage {what, text, amount}   (plan)
 *   VERDICT   stage {status, message, debug, stats}    the stage has ended; once per stage; a finished sink sends it early
 *   FAULT     {stage, signal, backtrace}   best effort, from the crash reporter
 *   BYE       {stats}                      after the last VERDICT; then the process exits 0
 *
 * Progress, heartbeat and cancel are in the shared page (page.h). */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/value.h"

enum { MESSAGE_MAX = 64 * 1024, MESSAGE_MAGIC = 0x4d47534d /* "MSGM" */ };

enum message_type {
  MESSAGE_HELLO = 1,
  MESSAGE_OPENED,
  MESSAGE_RESULT,
  MESSAGE_OUTPUT,
  MESSAGE_CHECKPOINT,
  MESSAGE_TITLE,
  MESSAGE_LOG,
  MESSAGE_NOTE,
  MESSAGE_VERDICT,
  MESSAGE_FAULT,
  MESSAGE_BYE,
  MESSAGE_GO = 100,
};

struct message_header {
  uint32_t magic, type;
  int32_t stage; /* index into unit.stages, -1: none */
  uint32_t body_size;
};

struct message {
  enum message_type type;
  int32_t stage;
  struct value *body; /* owned */
};

void message_clear(struct message *m);
/* Sends one message (MSG_NOSIGNAL). ERR_TOO_LARGE, ERR_LOST (peer gone), ERR_BUSY (non-blocking socket is full). */
enum err message_send(int socket, enum message_type type, int32_t stage, const struct value *body, struct error *e);
/* Receives one; m is cleared first. ERR_LOST on end of file, ERR_BUSY when nothing waits, ERR_PROTOCOL otherwise. */
enum err message_receive(int socket, struct message *m, struct error *e);
