/* parts.h - what the files of the socket server share. Private to core/http/ws.
 *
 *   civetweb's thread: handshake.c checks who comes, makes a socket, detaches its descriptor, hands it over
 *   the server's thread: server.c (epoll) -> socket.c (bytes, frames, closing) -> follow.c (/ws), session.c
 * (/api/v1/stream) any thread: the hub wakes a socket; server.c keeps a list of the woken
 *
 * A socket belongs to the server's thread from socket_hand_over on. server->lock covers the lists that other threads
 * put sockets into, and inboxes. Lock order: the hub's, then server->lock. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "auth/auth.h"
#include "base/buf.h"
#include "events/hub.h"
#include "store/store.h"
#include "ws/frame.h"
#include "ws/ws.h"

struct mg_connection;

enum {
  OUT_MAX = 256 * 1024,     /* what waits unsent for a peer that asks faster than it reads */
  BATCH_BYTES = 64 * 1024,  /* packed into one send */
  REPLAY_TURN_US = 3000,    /* of reading the store for one socket, likewise */
  READ_TURN = 32 * 1024,    /* of one socket before the others have theirs */
  SNDBUF_BYTES = 64 * 1024, /* the kernel doubles it */
  CLOSING_US = 5 * 1000000, /* for the peer to answer a CLOSE */
  FIRST_MESSAGE_US = 10 * 1000000,
  FIRST_MESSAGE_MAX = 16 * 1024, /* bytes: a token is less */
};

enum phase {
  PHASE_OPEN = 1,
  PHASE_CLOSING, /* CLOSE is written; what comes is read for its answer */
  PHASE_GONE,    /* to be freed */
};

struct socket {
  struct ws_server *server;
  struct socket *next, **previous; /* in server->sockets */
  struct socket *next_woken, **previous_woken;
  int fd;
  enum phase phase;
  bool is_session; /* /api/v1/stream; else /ws */
  /* What is to be done, of the server's thread. */
  bool ready; /* in the list of this turn */
  struct socket *next_ready;
  bool readable, writable, wants; /* wants: the mailbox may hold something */
  bool adopted, woken;            /* server->lock */
  struct frame_reader reader;
  struct buf out; /* unsent; freed when empty */
  size_t out_sent;
  bool peer_closed, drop_input; /* its CLOSE came; it broke the protocol */
  int64_t ping_at_us, blocked_us,
      deadline_us; /* monotonic; blocked 0: not; deadline of a first message or a closing, 0: none */
  bool pinged;     /* and not heard of since */
  struct follower *follower;
  bool authenticated, unknown; /* unknown: counted in server->unknown */
  struct principal principal;
  /* /ws */
  uint64_t last_seq; /* stored events up to here are told already */
  bool ended, succeeded;
  /* Bytes that did not come by the descriptor (server->lock): early ones, and frames that civetweb's reader passes on.
   */
  struct buf inbox;
  const struct mg_connection *pooled; /* civetweb reads it; NULL: we do */
  struct socket *next_pooled;         /* server->lock */
  bool pooled_end;                    /* its reader is done with it */
};

struct ws_server {
  struct ws_options options;
  pthread_t thread;
  int epoll, event, dead;
  bool started, any_address;
  pthread_mutex_t lock;
  struct socket *woken, *pooled_list; /* lock, like the next two */
  bool signalled, stop;
  struct mg_context *civetweb;
  unsigned pooled_max;
  atomic_uint pending, count, pooled, unknown; /* unknown: sessions that have not brought a token yet */
  atomic_bool draining, recheck;
  atomic_ullong accepted, refused, evicted, detached;
  struct socket *sockets; /* the server's thread */
  struct buf batch;
  struct selftest *selftest;
};

/* ---- server.c ---------------------------------------------------------------------------------------------------- */

int64_t ws_now_us(void);                        /* monotonic */
void server_adopt(struct socket *socket);       /* [any] hands a finished socket over */
void server_wake(void *socket);                 /* [any] the hub's `wake` */
void server_wake_locked(struct socket *socket); /* the same, server->lock held */

/* ---- socket.c: [the server's thread] ----------------------------------------------------------------------------- */

struct socket *socket_new(struct ws_server *server, int fd, bool is_session); /* [any] */
void socket_free(struct socket **socket);
void socket_read(struct socket *socket);
void socket_write(struct socket *socket);                               /* what waits, then what its follower has */
bool socket_has_more(const struct socket *socket);                      /* to do without being told of anything */
void socket_send(struct socket *socket, const char *text, size_t size); /* a text frame */
void socket_send_value(struct socket *socket, const struct value *value);
void socket_close(struct socket *socket, enum close_code code, const char *reason);
void socket_gone(struct socket *socket);
void socket_tick(struct socket *socket, int64_t now_us, int64_t wall_us);

/* ---- handshake.c, pooled.c, selftest.c --------------------------------------------------------------------------- */

void handshake_attach(struct ws_server *server, struct mg_context *civetweb);
void pooled_attach(struct ws_server *server, struct socket *socket, const struct mg_connection *connection);
void pooled_ready(struct mg_connection *connection, void *server); /* these three: civetweb's handlers */
int pooled_data(struct mg_connection *connection, int bits, char *data, size_t size, void *server);
void pooled_close(const struct mg_connection *connection, void *server);
void selftest_start(struct ws_server *server);
void selftest_end(struct ws_server *server);
/* Waits for the result, a moment. True: sockets may be detached. */
bool selftest_passed(struct ws_server *server);
bool selftest_is_it(struct ws_server *server, const char *nonce); /* the self-test's own connection */

/* ---- access.c: whose is what ------------------------------------------------------------------------------------- */

/* ERR_NOT_FOUND: no such job or batch, or not for this one to see. ERR_DENIED: not with this token. */
enum err access_check(struct ws_server *server, const struct principal *p, const struct topic *topic, struct error *e);
/* Whose events of a topic this one may see; NULL: everybody's. Borrowed from p. */
const char *access_owner(const struct principal *p, const struct topic *topic);
bool access_may_follow(const struct principal *p); /* a scope that reads */
bool access_by_cursor(enum topic_kind kind);
/* The last event there is of a topic: its seq (job, batch), or the cursor of everything. */
enum err access_last(struct ws_server *server, const struct topic *topic, uint64_t *last, struct error *e);

/* ---- follow.c, session.c ----------------------------------------------------------------------------------------- */

/* /ws, on civetweb's thread: attaches the follower, fetches `state`. */
void follow_begin(struct socket *socket, const struct topic *topic, bool replay, uint64_t since);
bool follow_wants(struct socket *socket, const struct letter *letter); /* false: `state` told it already */
void follow_told(struct socket *socket, const struct letter *letter);
void follow_quiet(struct socket *socket); /* nothing more to take */
void session_begin(struct socket *socket);
void session_known(struct socket *socket); /* or gone */
void session_message(struct socket *socket, const char *text, size_t size);
bool session_authenticate(struct socket *socket, const char *token, struct error *e);
