/* On civetweb's thread: who comes, with which credential, for what. The HTTP server has checked that it is a handshake
 * (version, key, method). A handshake is refused with a status only for what is wrong with the connection; what is
 * wrong with the client's request is said by a close code, which browsers let a page see. */
#include <civetweb.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/http.h"
#include "ws/detach.h"
#include "ws/parts.h"

static const char protocol[] = "stagemill.v1", token_protocol[] = "stagemill.token.", stream_path[] = "/api/v1/stream";
enum { ANSWERED = 1, CIVETWEB_GOES_ON = 0 };

static int refuse(struct ws_server *server, const struct mg_connection *connection, const char *status,
                  const char *code, const char *detail) {
  atomic_fetch_add(&server->refused, 1);
  struct mg_connection *c =
      (struct mg_connection *)(uintptr_t)connection; /* civetweb's handler gets it const, mg_printf not */
  struct buf buf_auto body = {0};
  buf_format(&body,
             "{\"type\":\"urn:stagemill:%s\",\"title\":\"%s\",\"status\":%.3s,\"detail\":\"%s\",\"code\":\"%s\"}", code,
             status + 4, status, detail, code);
  mg_printf(
      c,
      "HTTP/1.1 %s\r\nContent-Type: application/problem+json\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n%s",
      status, body.size, *status == '5' ? "Retry-After: 5\r\n" : "", buf_string(&body));
  mg_disable_connection_keep_alive(c);
  return ANSWERED;
}

/* ---- what the request says --------------------------------------------------------------------------------------- */

/* A query parameter, decoded and owned; NULL: absent. */
static char *query(const struct mg_connection *connection, const char *name) {
  const char *text = mg_get_request_info(connection)->query_string;
  size_t size = text ? strlen(text) : 0;
  char *value = mem_alloc(size + 1);
  if (!text || mg_get_var(text, size, name, value, size + 1) < 0) {
    free(value);
    return NULL;
  }
  return value;
}

/* One of the offered subprotocols that begins so; owned. */
static char *offered(const struct mg_connection *connection, const char *prefix) {
  const char *at = mg_get_header(connection, "Sec-WebSocket-Protocol");
  while (at && *at) {
    at += strspn(at, " \t,");
    size_t size = strcspn(at, " \t,");
    if (strncmp(at, prefix, strlen(prefix)) == 0) return mem_text_n(at, size);
    at += size;
  }
  return NULL;
}

static char *bearer(const struct mg_connection *connection) {
  const char *header = mg_get_header(connection, "Authorization");
  if (!header || strncasecmp(header, "Bearer ", 7) != 0) return NULL;
  header += 7 + strspn(header + 7, " ");
  return *header ? mem_text(header) : NULL;
}

static bool by_ticket(struct socket *s, const char *ticket, struct error *e) {
  if (ticket_redeem(s->server->options.keyring, ticket, &s->principal, e)) return false;
  s->authenticated = access_may_follow(&s->principal);
  if (!s->authenticated) error_set(e, ERR_DENIED, "the ticket's token lacks the scope read");
  return s->authenticated;
}

/* `given`: there was a credential. The first of header, subprotocol, token and ticket counts. */
static bool authenticate(struct socket *s, const struct mg_connection *connection, bool *given, struct error *e) {
  mem_auto char *token = bearer(connection), *ticket = NULL, *as_protocol = NULL;
  if (!token) as_protocol = offered(connection, token_protocol);
  if (as_protocol) token = mem_text(as_protocol + strlen(token_protocol));
  if (!token) token = query(connection, "token");
  if (!token) ticket = query(connection, "ticket");
  *given = (token && *token) || (ticket && *ticket);
  if (!*given) return false;
  return token ? session_authenticate(s, token, e) : by_ticket(s, ticket, e);
}

/* ---- what is answered -------------------------------------------------------------------------------------------- */

/* RFC 6455 section 4.2.2. */
static void write_answer(struct buf *out, const struct mg_connection *connection) {
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const char *key = mg_get_header(connection, "Sec-WebSocket-Key");
  mem_auto char *ours = offered(connection, protocol), *joined = mem_format("%s%s", key ? key : "", guid);
  unsigned char digest[EVP_MAX_MD_SIZE];
  char accept[64];
  EVP_Digest(joined, strlen(joined), digest, NULL, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)accept, digest, 20);
  buf_format(out,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n",
             accept);
  if (ours && strcmp(ours, protocol) == 0) buf_format(out, "Sec-WebSocket-Protocol: %s\r\n", protocol);
  buf_text(out, "\r\n");
}

static bool read_since(const char *text, uint64_t *since) {
  *since = strtoull(text, NULL, 10);
  return *text && strlen(text) < 20 && strspn(text, "0123456789") == strlen(text);
}

static void begin_follow(struct socket *s, const struct mg_connection *connection) {
  mem_auto char *job = query(connection, "jobId"), *batch = query(connection, "batchId"),
                *since = query(connection, "since");
  const char *id = job && *job ? job : batch && *batch ? batch : NULL;
  struct topic topic = {.kind = id == job ? TOPIC_JOB : TOPIC_BATCH, .id = id};
  uint64_t seq = 0;
  if (!id || strlen(id) > 255)
    socket_close(s, CLOSE_UNKNOWN_CLIENT, "jobId or batchId is missing");
  else if (since && !read_since(since, &seq))
    socket_close(s, CLOSE_POLICY, "since must be the seq of an event that came before");
  else
    follow_begin(s, &topic, since != NULL, seq);
}

/* Who it is and what it is for; whatever is wrong ends in a CLOSE behind the handshake. */
static void begin(struct socket *s, const struct mg_connection *connection) {
  struct error e = {0};
  bool given = false, known = authenticate(s, connection, &given, &e);
  if (given && !known) {
    log_debug("ws: refused: %s%s%s", e.message, *e.debug ? ": " : "", e.debug);
    socket_close(s, CLOSE_DENIED, e.code == ERR_DENIED || !e.code ? "the token is not valid" : e.message);
  } else if (!known && !s->is_session) {
    socket_close(s, CLOSE_UNKNOWN_CLIENT, "a token is missing");
  } else if (s->is_session) {
    session_begin(s);
  } else {
    begin_follow(s, connection);
  }
}

/* ---- civetweb's handlers ----------------------------------------------------------------------------------------- */

static void prepare(int fd) {
  int on = 1, bytes = SNDBUF_BYTES;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes); /* or the kernel keeps megabytes for who does not read */
}

static int go_detached(struct ws_server *server, struct socket *s, const struct mg_connection *connection, int fd,
                       struct buf *early) {
  s->fd = detach_take(connection, fd, server->dead);
  if (s->fd < 0) return -1;
  s->inbox = *early;
  *early = (struct buf){0};
  atomic_fetch_add(&server->detached, 1);
  write_answer(&s->out, connection);
  begin(s, connection);
  prepare(s->fd);
  server_adopt(s);
  return ANSWERED;
}

/* civetweb answers and reads; pooled.c. */
static int go_pooled(struct ws_server *server, struct socket *s, const struct mg_connection *connection, int fd) {
  if (atomic_load(&server->pooled) < server->pooled_max) s->fd = detach_share(connection, fd);
  if (s->fd < 0) return -1;
  begin(s, connection);
  prepare(s->fd);
  pooled_attach(server, s, connection);
  return CIVETWEB_GOES_ON;
}

static int connect_counted(struct ws_server *server, const struct mg_connection *connection) {
  const struct mg_request_info *info = mg_get_request_info(connection);
  bool is_session = strcmp(info->local_uri, stream_path) == 0;
  if (atomic_load(&server->draining))
    return refuse(server, connection, "503 Service Unavailable", "busy", "the service is about to stop");
  if (atomic_load(&server->count) >= server->options.followers_max)
    return refuse(server, connection, "503 Service Unavailable", "busy", "too many followers: try again later");
  if (!http_socket_origin_allowed(connection))
    return refuse(server, connection, "403 Forbidden", "denied",
                  "pages of this origin are not allowed: see cors.origins");
  bool test = selftest_is_it(server, mg_get_header(connection, "Stagemill-Self-Test")),
       detach = test || selftest_passed(server);
  int fd = http_socket_descriptor(connection);
  struct buf buf_auto early = {0};
  if (!detach_matches(connection, fd, server->any_address)) fd = -1;
  struct socket *s = socket_new(server, -1, is_session);
  int done = -1;
  if (fd >= 0 && detach && detach_early_bytes(connection, fd, &early))
    done = go_detached(server, s, connection, fd, &early);
  else if (fd >= 0 && !test)
    done = go_pooled(server, s, connection, fd);
  if (done >= 0) {
    if (!test) atomic_fetch_add(&server->accepted, 1);
    return done;
  }
  socket_free(&s);
  if (test)
    return refuse(server, connection, "500 Internal Server Error", "internal", "this socket cannot be taken over");
  return refuse(server, connection, "503 Service Unavailable", "busy", "too many connections at once: try again");
}

static int connect_handler(const struct mg_connection *connection, void *context) {
  struct ws_server *server = context;
  int done;
  if (atomic_fetch_add(&server->pending, 1) >= server->options.pending_max)
    done = refuse(server, connection, "503 Service Unavailable", "busy", "too many connections at once: try again");
  else
    done = connect_counted(server, connection);
  atomic_fetch_sub(&server->pending, 1);
  return done;
}

void handshake_attach(struct ws_server *server, struct mg_context *civetweb) {
  static const char *names[] = {protocol};
  static struct mg_websocket_subprotocols protocols = {1, names};
  const char *listen = mg_get_option(civetweb, "listening_ports"), *threads = mg_get_option(civetweb, "num_threads");
  server->civetweb = civetweb;
  server->any_address = !listen || !strchr(listen, ':') || strncmp(listen, "0.0.0.0:", 8) == 0;
  server->pooled_max = threads ? (unsigned)atoi(threads) / 2 : 0;
  for (const char *const *path = http_socket_paths; *path; path++)
    mg_set_websocket_handler_with_subprotocols(civetweb, *path, &protocols, connect_handler, pooled_ready, pooled_data,
                                               pooled_close, server);
}
