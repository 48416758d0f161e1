/* http.h - the HTTP server: civetweb's threads parse requests, a table of routes says who answers.
 *
 * A handler runs on a thread of the pool and may block (on the store, on the engine through service_ask, on the peer).
 * Everything it gets is borrowed for the call. Exactly one answer per exchange; a handler that returns without one is a
 * bug answered with 500. Errors are application/problem+json (RFC 9457). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "auth/auth.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/value.h"

struct exchange;
struct mg_context;
struct mg_connection;
typedef void http_handler(struct exchange *x);

enum route_flags {
  ROUTE_OPEN = 1u << 0,   /* no credential needed (health, dashboard, signed links check themselves) */
  ROUTE_STREAM = 1u << 1, /* the handler reads the body itself (uploads); else it is read up to the limit first */
  ROUTE_TICKET = 1u << 2, /* a one-time ticket or ?token= will do (sockets, server-sent events, downloads) */
};
struct route {
  const char *method; /* "GET" serves HEAD too */
  const char *path;   /* "/api/v1/jobs/{id}/artifacts/{path...}": the last may take the rest */
  /* Any one of these is enough (SCOPE_ADMIN always is); 0: any credential. A narrow token (SCOPE_FOLLOW alone) gets in
   * only where SCOPE_FOLLOW is named: such a handler asks principal_may_see about everything it shows. */
  unsigned scopes;
  unsigned flags;
  http_handler *handler;
  const char *operation; /* operationId in openapi.json; NULL: not documented there */
};

/* ---- the request ---------------------------------------------------------------------------------------------------
 */

void *http_context(struct exchange *x); /* what the server was made with: struct service */
const char *http_method(const struct exchange *x);
const char *http_path(const struct exchange *x);                    /* decoded, without the query */
const char *http_param(const struct exchange *x, const char *name); /* {name} of the route, decoded */
const char *http_query(struct exchange *x, const char *name);       /* decoded; NULL: absent; "" when empty */
/* Integer in a range, or an error that names the parameter. absent: `otherwise`. */
enum err http_query_int(struct exchange *x, const char *name, int64_t least, int64_t most, int64_t otherwise,
                        int64_t *n, struct error *e);
const char *http_header(const struct exchange *x, const char *name); /* NULL: absent */
const char *http_peer(const struct exchange *x); /* address of the client, through trusted proxies */
/* scheme://host[:port] as clients see us: public-url, else trusted proxy headers, else Host. Owned by the exchange. */
const char *http_origin(struct exchange *x);
const struct principal *http_principal(const struct exchange *x); /* NULL on an open route without credential */
const struct buf *http_body(struct exchange *x);                  /* whole, unless ROUTE_STREAM */
/* The body as JSON object; answers 400 or 415 itself and returns NULL when it is none. */
const struct value *http_body_json(struct exchange *x);
/* ROUTE_STREAM: next bytes, 0 at the end, -1: the peer is gone or broke the protocol (ERR_LOST, ERR_TOO_LARGE beyond
 * `limit`). */
ssize_t http_read(struct exchange *x, void *into, size_t room, struct error *e);
int64_t http_content_length(const struct exchange *x); /* -1: chunked or unknown */

/* ---- the answer
 * ------------------------------------------------------------------------------------------------------ */

void http_set_header(struct exchange *x, const char *name,
                     const char *value); /* before the answer; CR, LF are refused */
void http_json(struct exchange *x, int status, const struct value *body);
void http_text(struct exchange *x, int status, const char *type, const void *body, size_t size);
void http_empty(struct exchange *x, int status);
/* problem+json: type "about:blank" or urn:stagemill:CODE, title, status, detail, and code. */
void http_problem(struct exchange *x, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The status that belongs to the code of an error: INVALID, USAGE 400; DENIED 403; NOT_FOUND 404; CONFLICT 409;
 * TOO_LARGE 413; BUSY 429 with Retry-After; NO_SPACE 507; TIMEOUT 504; else 500. */
void http_error(struct exchange *x, const struct error *e);
/* An answer in pieces (chunked): begin, write, ..., end. http_write: false when the peer is gone or the server drains.
 */
void http_begin(struct exchange *x, int status, const char *type);
bool http_write(struct exchange *x, const void *data, size_t size);
void http_end(struct exchange *x);
/* A handler that is about to wait for long (long poll, server-sent events, a log's tail) says so first: at most half of
 * the threads may do that. false: there are too many, 503 with Retry-After has been answered. http_begin asks by itself
 * for server-sent events. */
bool http_linger(struct exchange *x);
/* false: the peer has hung up, its token has expired or was revoked meanwhile, or the server drains */
bool http_is_alive(struct exchange *x);
/* A file with ranges (RFC 9110), ETag, Last-Modified, conditional requests. fd is closed by this. etag NULL: from
 * inode, size and mtime. attachment NULL: inline. */
void http_file(struct exchange *x, int fd, const char *type, const char *etag, const char *attachment);
bool http_is_draining(const struct exchange *x);

/* ---- the server
 * ------------------------------------------------------------------------------------------------------ */

struct http_server;
struct http_options {
  const char *listen;         /* "127.0.0.1:8060"; a TLS port ("...s") is refused with the cure */
  unsigned threads;           /* 0: 64 */
  unsigned connections;       /* that may wait for a thread; 0: 1024 */
  size_t body_bytes_max;      /* 0: 1 MiB, of routes that do not stream */
  const char *const *origins; /* CORS, NULL-terminated: "https://app.example.org" or "*" */
  const char *const *proxies; /* trusted, addresses or CIDR */
  const char *public_url;     /* NULL: from the request */
  const char *web_folder;     /* share/stagemill/web: dashboard and friends under "/" */
  struct keyring *keyring;
  void *context;
  /* Called once, before the first request is served: ws_server_attach in a wrapper. NULL: no sockets. Afterwards a GET
   * of a socket path that is a proper WebSocket handshake goes to civetweb, which calls what was attached; any other
   * gets 426. */
  void (*attach)(void *sockets, struct mg_context *civetweb);
  void *sockets;
};
/* Paths of sockets, NULL-terminated: "/ws", "/api/v1/stream". */
extern const char *const http_socket_paths[];
enum err http_server_create(struct http_server **server, const struct http_options *options, struct error *e);
/* Tables are borrowed for life; all of them before http_server_start. */
void http_server_routes(struct http_server *server, const struct route *routes, size_t count);
enum err http_server_start(struct http_server *server, struct error *e); /* ERR_BUSY: the port is taken */
unsigned http_server_port(const struct http_server *server);
/* New origins, proxies and public URL, all or nothing. */
enum err http_server_reload(struct http_server *server, const struct http_options *options, struct error *e);
void http_server_drain(struct http_server *server); /* streams end, new requests get 503 */
void http_server_destroy(struct http_server **server);
struct mg_context *http_server_civetweb(struct http_server *server); /* NULL before the start */

/* ---- for the socket module: what HTTP knows about a handshake
 * ------------------------------------------------------------- */

/* Whether the page that opens this socket may: no Origin (not a browser), our own origin, or one of the list. */
bool http_socket_origin_allowed(const struct mg_connection *connection);
/* Address of the client, through trusted proxies. */
void http_socket_peer(const struct mg_connection *connection, char peer[48]);
/* Calls run(context) on this thread with a stack of 1 MiB: civetweb's own have 100 KB, little for checking tokens. */
void http_socket_run(const struct mg_connection *connection, void (*run)(void *context), void *context);
/* The connection's descriptor, still owned by civetweb; -1: unknown. Found once per connection, by its address pair. */
int http_socket_descriptor(const struct mg_connection *connection);
