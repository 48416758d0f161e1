/* begin.c - civetweb's callbacks: a request comes in, an exchange is made of it, answered and logged. */
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/begin.h"

static bool is_id(const char *text) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
  size_t size = text ? strlen(text) : 0;
  return size > 0 && size <= REQUEST_ID_MAX && strspn(text, allowed) == size;
}

static void name_request(struct exchange *x) {
  const char *given = http_header(x, "X-Request-Id");
  if (is_id(given)) {
    strcpy(x->request_id, given);
    return;
  }
  unsigned char random[8] = {0};
  RAND_bytes(random, sizeof(random));
  for (size_t i = 0; i < sizeof(random); i++) snprintf(x->request_id + 2 * i, 3, "%02x", random[i]);
}

static void exchange_open(struct exchange *x, struct mg_connection *connection) {
  *x = (struct exchange){.connection = connection,
                         .info = mg_get_request_info(connection),
                         .framing = FRAMING_NONE,
                         .body_done = true,
                         .begun_us = clock_boot(&clock_system)};
  x->server = mg_get_user_data(mg_get_context(connection));
  x->slot = mg_get_thread_pointer(connection);
  x->policy = policy_hold(x->server);
  policy_client(x->policy, x->info, x->peer);
  name_request(x);
}

static void exchange_close(struct exchange *x) {
  policy_release(&x->policy);
  free(x->path);
  free(x->origin);
  params_clear(&x->params);
  params_clear(&x->query);
  params_clear(&x->answer_headers);
  if (x->has_principal) principal_clear(&x->principal);
  buf_free(&x->body);
  value_free(&x->json);
}

static void run_route(struct exchange *x, const struct route *route) {
  x->route = route;
  if (!credential_check(x)) return;
  if (!(route->flags & ROUTE_STREAM) && !body_read_whole(x)) return;
  route->handler(x);
  http_end(x);
  if (x->status || x->broken) return;
  log_error("http: the handler of %s %s gave no answer", route->method, route->path);
  http_problem(x, 500, "internal", "this request was not answered: that is a bug of the server");
}

static void serve(struct exchange *x) {
  bool unknown = false;
  const struct route *route = route_find(x, &unknown);
  if (route) run_route(x, route);
  if (!unknown || x->status) return;
  if (web_serve(x)) return;
  http_problem(x, 404, "not-found", "there is nothing at this path");
}

static bool refuse_while_draining(struct exchange *x) {
  if (atomic_load(&x->server->ready) && !atomic_load(&x->server->draining)) return false;
  http_set_header(x, "Retry-After", "5");
  http_problem(x, 503, "busy", "the service is about to stop or has just begun: try again in a moment");
  return true;
}

/* What is answered to a body that is not read to its end cannot be followed by another request. */
static void finish(struct exchange *x) {
  if (x->broken || x->body_broken || !x->body_done) x->close = true;
  if (x->close) mg_disable_connection_keep_alive(x->connection);
  if (x->close) body_drop_rest(x);
  requestlog_line(x);
  measure_request(x, x->slot && x->slot->state == SLOT_LINGER);
}

enum { CIVETWEB_GOES_ON = 0, ANSWERED = 200 };
struct beginning {
  struct mg_connection *connection;
  int verdict;
};

static void begin(void *context) {
  struct beginning *b = context;
  struct exchange x;
  exchange_open(&x, b->connection);
  slot_know(x.slot, x.info);
  slot_turn(x.slot, SLOT_BUSY);
  bool socket = false;
  if (request_check(&x) && !refuse_while_draining(&x)) {
    socket = x.server->attach && request_is_socket_path(x.path) && request_is_handshake(&x);
    if (!socket && !x.status) serve(&x);
  }
  if (!socket) finish(&x);
  exchange_close(&x);
  b->verdict = socket ? CIVETWEB_GOES_ON : ANSWERED;
}

int begin_request(struct mg_connection *connection) {
  struct beginning b = {.connection = connection};
  http_socket_run(connection, begin, &b);
  return b.verdict;
}

/* Not called for "OPTIONS *", which civetweb neither passes on nor answers: that peer meets the time-out of READING. */
void begin_end_request(const struct mg_connection *connection, int status) {
  (void)status;
  slot_turn(mg_get_thread_pointer(connection), SLOT_READING);
}

/* What civetweb itself refuses: malformed requests, time-outs, versions. It closes the connection afterwards. */
int begin_http_error(struct mg_connection *connection, int status, const char *message) {
  (void)message;
  struct buf buf_auto body = {0}, out = {0};
  const char *phrase = answer_phrase(status);
  buf_format(&body,
             "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"the request could not be read\"}\n",
             phrase, status);
  buf_format(&out, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %zu\r\n", status,
             phrase, body.size);
  buf_format(&out, "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%s", buf_string(&body));
  mg_disable_connection_keep_alive(connection);
  mg_write(connection, out.data, out.size);
  const struct mg_request_info *info = mg_get_request_info(connection);
  log_info("http refused a request: %d peer=%s", status, info->remote_addr);
  return 0;
}

int begin_log_message(const struct mg_connection *connection, const char *message) {
  struct http_server *server = connection ? mg_get_user_context_data(connection) : NULL;
  if (!server) server = http_server_starting;
  if (server && !atomic_load(&server->ready))
    snprintf(server->start_problem, sizeof(server->start_problem), "%s", message);
  log_debug("civetweb: %s", message);
  return 1;
}

int begin_log_access(const struct mg_connection *connection, const char *message) {
  (void)connection, (void)message;
  return 1;
}

/* ---- threads and connections
 * -------------------------------------------------------------------------------------------------- */

void *begin_thread(const struct mg_context *civetweb, int type) {
  enum { WORKER = 1 };
  return type == WORKER ? slot_take(mg_get_user_data(civetweb)) : NULL;
}

void begin_exit_thread(const struct mg_context *civetweb, int type, void *slot) {
  (void)civetweb, (void)type;
  slot_give(slot);
}

int begin_connection(const struct mg_connection *connection, void **data) {
  (void)data;
  slot_connect(mg_get_thread_pointer(connection), connection);
  return 0;
}

void begin_close(const struct mg_connection *connection) { slot_disconnect(mg_get_thread_pointer(connection)); }

void http_socket_run(const struct mg_connection *connection, void (*run)(void *context), void *context) {
  struct slot *slot = mg_get_thread_pointer(connection);
  bool nested = !slot || slot->on_stack;
  if (!nested) slot->on_stack = true;
  stack_run(nested ? NULL : slot->stack, run, context);
  if (!nested) slot->on_stack = false;
}

/* ---- for the socket module
 * ------------------------------------------------------------------------------------------------------ */

static const char *without_scheme(const char *origin) {
  const char *at = origin ? strstr(origin, "://") : NULL;
  return at ? at + 3 : NULL;
}

/* A page of ours may come through a proxy that ends TLS, so its scheme is not compared when Host is all there is. */
bool http_socket_origin_allowed(const struct mg_connection *connection) {
  struct http_server *server = mg_get_user_data(mg_get_context(connection));
  const struct mg_request_info *info = mg_get_request_info(connection);
  const char *origin = request_header(info, "Origin"), *host = request_header(info, "Host");
  if (!origin) return true;
  struct policy *policy = policy_hold(server);
  bool allowed = policy->any_origin || policy_lists(policy, origin);
  allowed = allowed || (policy->public_origin && strcmp(policy->public_origin, origin) == 0);
  allowed = allowed || (without_scheme(origin) && host && strcmp(without_scheme(origin), host) == 0);
  char *seen = policy_seen_origin(policy, info);
  allowed = allowed || strcmp(seen, origin) == 0;
  free(seen);
  policy_release(&policy);
  return allowed;
}

void http_socket_peer(const struct mg_connection *connection, char peer[48]) {
  struct policy *policy = policy_hold(mg_get_user_data(mg_get_context(connection)));
  policy_client(policy, mg_get_request_info(connection), peer);
  policy_release(&policy);
}

int http_socket_descriptor(const struct mg_connection *connection) {
  const struct slot *slot = mg_get_thread_pointer(connection);
  return slot ? slot->fd : -1;
}
