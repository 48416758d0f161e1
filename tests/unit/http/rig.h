/* rig.h - a real server on a port of its own, and raw sockets to talk to it. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/auth.h"
#include "base/buf.h"
#include "http/http.h"

struct rig {
  char folder[64];
  struct keyring *keyring;
  struct http_server *server;
  struct http_options options;
  const char *origins[4], *proxies[4];
  _Atomic int handled;             /* calls of handlers */
  _Atomic int64_t received;        /* bytes that the upload handler read */
  char *reader, *admin, *follower; /* tokens */
};

void rig_prepare(struct rig *rig); /* folder, keys, options; change the options before rig_start */
void rig_start(struct rig *rig);
void rig_end(struct rig *rig);

int rig_connect(const struct rig *rig);
void rig_send(int fd, const void *data, size_t size);
/* Everything until the peer closes, or nothing has come for two seconds; NUL-terminated. */
void rig_receive(int fd, struct buf *answer);
/* One connection: sends the text, answers what came back (owned by the rig until the next ask). */
const char *rig_ask(struct rig *rig, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *rig_ask_bytes(struct rig *rig, const void *data, size_t size);
int rig_status(const char *answer);
/* The value of a header in an answer, "" when absent; valid until the next call. */
const char *rig_header(const char *answer, const char *name);
const char *rig_body(const char *answer);
void rig_file(const struct rig *rig, const char *name, const char *text);
