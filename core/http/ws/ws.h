/* ws.h - WebSocket followers (RFC 6455): one epoll thread owns every socket, the hub feeds it. civetweb does the
 * handshake's HTTP; then the socket is taken away from it (detach.h), so that a follower costs a kilobyte and no
 * thread. */
#pragma once
#include "auth/auth.h"
#include "base/error.h"
#include "events/hub.h"

struct mg_context;
struct ws_server;
struct ws_options {
  struct hub *hub;
  struct store *store;
  struct keyring *keyring;
  unsigned followers_max; /* 0: 12,000 */
  unsigned pending_max;   /* sockets between accept and detach; 0: 256 */
  int64_t ping_us;        /* 0: 30 s */
  bool no_detach;         /* use civetweb's own reader (what a failed self-test brings) */
  /* `state` envelope of a job or batch with the `seq` it holds; [any-thread], may block. ERR_NOT_FOUND. The texts of
   * `matter` lie in *state. */
  enum err (*state)(void *context, const char *job, const char *batch, struct value **state, struct matter *matter,
                    struct error *e);
  void *context;
};
enum err ws_server_create(struct ws_server **server, const struct ws_options *options, struct error *e);
/* Takes over /ws and /api/v1/stream of a civetweb context before it serves. */
void ws_server_attach(struct ws_server *server, struct mg_context *context);
void ws_server_revoked(struct ws_server *server);  /* [any] revocations changed: sockets check their tokens again */
void ws_server_drain(struct ws_server *server);    /* 1001 to everybody, no new ones */
void ws_server_destroy(struct ws_server **server); /* after the HTTP server, before the hub */
struct ws_statistics {
  uint64_t sockets, accepted, refused, evicted, detached, pooled;
};
void ws_statistics(struct ws_server *server, struct ws_statistics *statistics);
