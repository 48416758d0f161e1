/* control.h - between the engine and a zygote: SOCK_SEQPACKET, one message a packet, a packed value as body,
 * descriptors beside it (SCM_RIGHTS). The keepers of single attempts answer over the same socket.
 *
 *   engine -> zygote                                 zygote or keeper -> engine
 *   LOAD   {plugins: [path], pass, last}             LOADING {path}   before each dlopen: who killed the zygote, if it dies
 *                                                    LOADED {path, ok, error}
 *                                                    READY  {}
 *   START  {serial, slots, fresh, uid, gid, ...}     STARTED {serial} + pidfds of the attempt and of its keeper
 *          + socket, page, unit, stdout, stderr,     ENDED {serial, status, cpuUs, maxRss}   the attempt is reaped
 *            [cgroup.procs], slots...                GONE {serial, error}      so is its keeper: nothing is left
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/value.h"

enum { CONTROL_MAGIC = 0x4353474d, CONTROL_MAX = 64 * 1024, CONTROL_FDS_MAX = 80 };

enum control_type {
  CONTROL_LOAD = 1,
  CONTROL_START,
  CONTROL_LOADING = 100,
  CONTROL_LOADED,
  CONTROL_READY,
  CONTROL_STARTED,
  CONTROL_ENDED,
  CONTROL_GONE,
};

/* Order of the descriptors of START; the slots follow (behind cgroup.procs when there is one). */
enum { START_SOCKET = 0, START_PAGE, START_UNIT, START_STDOUT, START_STDERR, START_FIXED };

/* Signals the engine sends to a keeper: end the attempt's group politely; end everything now. */
#define KEEPER_TERMINATE SIGUSR1
#define KEEPER_KILL SIGTERM

struct control {
  enum control_type type;
  struct value *body; /* owned */
  int fds[CONTROL_FDS_MAX]; /* owned, close-on-exec */
  size_t fd_count;
};

void control_clear(struct control *c); /* frees the body, closes the descriptors that are left (>= 0) */
/* MSG_NOSIGNAL. ERR_LOST (peer gone), ERR_BUSY (non-blocking and full), ERR_TOO_LARGE. */
enum err control_send(int socket, enum control_type type, const struct value *body, const int *fds, size_t fd_count,
                      struct error *e);
/* ERR_LOST at the end, ERR_BUSY when nothing waits, ERR_PROTOCOL for anything malformed. */
enum err control_receive(int socket, struct control *c, struct error *e);
