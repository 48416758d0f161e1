#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/begin.h"

_Thread_local struct http_server *http_server_starting;

/* ---- where it listens
 * ----------------------------------------------------------------------------------------------------------- */

/* ADDR:PORT. civetweb's own syntax (lists, "s" for TLS, "r" for redirects) does not get through. */
static enum err parse_listen(struct http_server *server, const char *listen, struct error *e) {
  const char *colon = strrchr(listen, ':');
  size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
  if (colon && digits > 0 && (colon[1 + digits] == 's' || colon[1 + digits] == 'r') && !colon[2 + digits])
    return error_set(e, ERR_USAGE,
                     "'%.60s' asks for TLS, which this daemon does not speak: put nginx in front, as "
                     "share/stagemill/nginx/stagemill.conf shows, and listen on %.*s",
                     listen, (int)(colon + 1 + digits - listen), listen);
  if (*listen == '[')
    return error_set(e, ERR_USAGE,
                     "'%.60s' is an IPv6 address, on which this daemon cannot listen: put nginx in front, or use "
                     "an IPv4 address as 127.0.0.1:8060",
                     listen);
  struct in_addr parsed;
  server->address = colon ? mem_text_n(listen, (size_t)(colon - listen)) : NULL;
  unsigned long port = digits > 0 && digits < 6 ? strtoul(colon + 1, NULL, 10) : 65536;
  if (!colon || colon[1 + digits] || port > 65535 || inet_pton(AF_INET, server->address, &parsed) != 1)
    return error_set(e, ERR_USAGE,
                     "'%.60s' is not where a server can listen: write an IPv4 address and a port, as 127.0.0.1:8060 "
                     "(this machine alone) or 0.0.0.0:8060 (every network)",
                     listen);
  atomic_store(&server->port, (unsigned)port);
  server->listen = mem_text(listen);
  return ERR_OK;
}

/* civetweb only says that it did not start; a socket of our own says why. */
static enum err probe_port(const struct http_server *server, struct error *e) {
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server->port)};
  inet_pton(AF_INET, server->address, &where.sin_addr);
  fd_auto int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  if (fd < 0) return error_errno(e, errno, "cannot make a socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&where, sizeof(where)) == 0 && (server->port == 0 || listen(fd, 1) == 0))
    return ERR_OK;
  if (errno == EADDRINUSE)
    return error_set(e, ERR_BUSY, "port %u of %s is taken by another program: stop it, or listen on another port",
                     server->port, server->address);
  return error_errno(e, errno, "cannot listen on %s", server->listen);
}

/* ---- making and ending
 * ---------------------------------------------------------------------------------------------------------- */

static enum err open_web(struct http_server *server, const char *folder, struct error *e) {
  server->web_fd = -1;
  if (!folder || !*folder) return ERR_OK;
  server->web_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (server->web_fd < 0) return error_errno(e, errno, "cannot open the folder of web pages %s", folder);
  server->web_folder = mem_text(folder);
  return ERR_OK;
}

enum err http_server_create(struct http_server **server, const struct http_options *options, struct error *e) {
  struct http_server *s = *server = mem_alloc(sizeof(*s));
  s->web_fd = s->listen_fd = -1;
  s->threads = options->threads ? options->threads : THREADS_DEFAULT;
  if (s->threads < 4) s->threads = 4;
  if (s->threads > 4096) s->threads = 4096;
  s->connections = options->connections ? options->connections : CONNECTIONS_DEFAULT;
  s->body_bytes_max = options->body_bytes_max ? options->body_bytes_max : BODY_BYTES_MAX;
  s->keyring = options->keyring;
  s->context = options->context;
  s->attach = options->attach;
  s->sockets = options->sockets;
  pthread_mutex_init(&s->lock, NULL);
  pthread_mutex_init(&s->watch.lock, NULL);
  pthread_cond_init(&s->watch.wake, NULL);
  enum err err = parse_listen(s, options->listen ? options->listen : "127.0.0.1:8060", e);
  if (err == ERR_OK) err = policy_create(&s->policy, options, e);
  if (err == ERR_OK) err = open_web(s, options->web_folder, e);
  if (err != ERR_OK) http_server_destroy(server);
  return err;
}

void http_server_routes(struct http_server *server, const struct route *routes, size_t count) {
  server->tables = mem_grow(server->tables, server->table_count + 1, sizeof(*server->tables));
  server->tables[server->table_count++] = (struct route_table){routes, count};
}

static const struct mg_callbacks callbacks = {
    .begin_request = begin_request,
    .end_request = begin_end_request,
    .log_message = begin_log_message,
    .log_access = begin_log_access,
    .http_error = begin_http_error,
    .init_thread = begin_thread,
    .exit_thread = begin_exit_thread,
    .init_connection = begin_connection,
    .connection_close = begin_close,
};

/* Connections that send nothing do not wake us: the kernel keeps them until their first bytes come. */
static void defer_silent(struct http_server *server) {
  enum { SCANNED = 1024, DEFER_S = 10 };
  for (int fd = 3; fd < SCANNED; fd++) {
    struct sockaddr_in own;
    socklen_t size = sizeof(own), flag_size = sizeof(int);
    int listens = 0, seconds = DEFER_S;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &flag_size) != 0 || !listens) continue;
    if (getsockname(fd, (struct sockaddr *)&own, &size) != 0 || own.sin_family != AF_INET) continue;
    if (ntohs(own.sin_port) != server->port) continue;
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
    server->listen_fd = fd;
    return;
  }
}

static enum err start_civetweb(struct http_server *server, struct error *e) {
  char threads[16], waiting[16], bytes[16];
  snprintf(threads, sizeof(threads), "%u", server->threads);
  snprintf(waiting, sizeof(waiting), "%u", server->connections);
  snprintf(bytes, sizeof(bytes), "%d", REQUEST_BYTES_MAX);
  const char *options[] = {"listening_ports",
                           server->listen,
                           "num_threads",
                           threads,
                           "max_request_size",
                           bytes,
                           "tcp_nodelay",
                           "1",
                           "connection_queue",
                           waiting,
                           "listen_backlog",
                           waiting,
                           "enable_keep_alive",
                           "yes",
                           "keep_alive_timeout_ms",
                           "5000",
                           "request_timeout_ms",
                           "20000",
                           "decode_url",
                           "no",
                           "enable_auth_domain_check",
                           "no",
                           "enable_directory_listing",
                           "no",
                           "index_files",
                           "",
                           "cgi_pattern",
                           "",
                           "ssi_pattern",
                           "",
                           "access_control_allow_origin",
                           "",
                           "access_control_allow_methods",
                           "",
                           "access_control_allow_headers",
                           "",
                           NULL};
  http_server_starting = server;
  server->civetweb = mg_start(&callbacks, server, options);
  http_server_starting = NULL;
  if (!server->civetweb)
    return error_set(e, ERR_IO, "cannot serve on %s: %s", server->listen,
                     *server->start_problem ? server->start_problem : "the HTTP library did not start");
  struct mg_server_port ports[4];
  if (mg_get_server_ports(server->civetweb, 4, ports) > 0) atomic_store(&server->port, (unsigned)ports[0].port);
  return ERR_OK;
}

enum err http_server_start(struct http_server *server, struct error *e) {
  enum err err = probe_port(server, e);
  if (err == ERR_OK) err = watch_start(server, e);
  if (err == ERR_OK) err = start_civetweb(server, e);
  if (err != ERR_OK) return err;
  defer_silent(server);
  if (server->attach) server->attach(server->sockets, server->civetweb);
  atomic_store(&server->ready, true);
  return ERR_OK;
}

unsigned http_server_port(const struct http_server *server) { return atomic_load(&server->port); }
struct mg_context *http_server_civetweb(struct http_server *server) {
  return server->civetweb;
}

enum err http_server_reload(struct http_server *server, const struct http_options *options, struct error *e) {
  struct policy *fresh;
  enum err err = policy_create(&fresh, options, e);
  if (err != ERR_OK) return err;
  pthread_mutex_lock(&server->lock);
  struct policy *old = server->policy;
  server->policy = fresh;
  pthread_mutex_unlock(&server->lock);
  policy_release(&old);
  return ERR_OK;
}

void http_server_drain(struct http_server *server) { atomic_store(&server->draining, true); }

void http_server_destroy(struct http_server **server) {
  struct http_server *s = *server;
  *server = NULL;
  if (!s) return;
  http_server_drain(s);
  if (s->civetweb) {
    /* civetweb looks for its end only when its poll returns, every two seconds: wake it. */
    if (s->listen_fd >= 0) shutdown(s->listen_fd, SHUT_RDWR);
    watch_cut_readers(s);
    mg_stop(s->civetweb);
  }
  watch_stop(s);
  pthread_mutex_destroy(&s->watch.lock);
  pthread_cond_destroy(&s->watch.wake);
  pthread_mutex_destroy(&s->lock);
  if (s->web_fd >= 0) close(s->web_fd);
  if (s->policy) policy_release(&s->policy);
  free(s->tables);
  free(s->listen);
  free(s->address);
  free(s->web_folder);
  free(s);
}
