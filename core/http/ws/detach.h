/* detach.h - takes a connection's socket away from civetweb. It has no public call for that, so this leans on what its
 * connection threads do, in one place: while a handler runs, nobody else touches the connection; a descriptor that was
 * replaced under its number by a dead one is closed like any that its peer has closed. Tried at every start
 * (selftest.c). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct mg_connection;

enum { DESCRIPTOR_LEAST = 4096 }; /* sockets taken move up here: the low numbers stay civetweb's, and few */

/* Whether this descriptor, still civetweb's, is the connection's. any_address: the server listens on every address. */
bool detach_matches(const struct mg_connection *connection, int fd, bool any_address);
/* Bytes of the request that civetweb holds beyond its end: frames that a client sent without waiting for the answer.
 * Appended to `early`. False: it cannot be known (an earlier request on this connection, an odd end of the head): do
 * not detach. */
bool detach_early_bytes(const struct mg_connection *connection, int fd, struct buf *early);
/* A descriptor of our own for the connection's socket, and civetweb's number made a dead end (`dead`, a socket whose
 * other end is closed). -1: not possible; nothing was changed. */
int detach_take(const struct mg_connection *connection, int fd, int dead);
/* A second descriptor of the same socket, which civetweb keeps reading. -1: not possible. */
int detach_share(const struct mg_connection *connection, int fd);
