/* parts.h - what the files of the HTTP server share; not for other modules.
 *
 * A worker thread of civetweb owns one slot for life (slot.c) and one exchange for each request it serves (begin.c).
 * What a reload may change is in a policy that each exchange holds while it runs. Lock order: server->lock, then
 * nothing. */
#pragma once
#include <civetweb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "http/http.h"

enum {
  PEER_MAX = 48,
  PARAMS_MAX = 8,
  REQUEST_ID_MAX = 64,
  REQUEST_BYTES_MAX = 32 * 1024, /* request line and headers */
  BODY_BYTES_MAX = 1 << 20,
  THREADS_DEFAULT = 64,
  CONNECTIONS_DEFAULT = 1024,
  COPY_BYTES = 64 * 1024,
};

/* ---- policy.c: what a reload replaces
 * ---------------------------------------------------------------------------------- */

struct network {
  uint8_t address[16]; /* IPv4 as mapped IPv6 */
  unsigned bits;       /* of 128 */
};
struct policy {
  atomic_int holders;
  char **origins;
  size_t origin_count;
  bool any_origin;
  struct network *proxies;
  size_t proxy_count;
  char *public_url;    /* without a slash at its end; NULL: from the request */
  char *public_origin; /* scheme://host[:port] of it */
};
enum err policy_create(struct policy **policy, const struct http_options *options, struct error *e);
void policy_release(struct policy **policy);
struct policy *policy_hold(struct http_server *server);
bool policy_trusts(const struct policy *policy, const char *peer);
bool policy_lists(const struct policy *policy, const char *origin);
/* The client's address: the last one in X-Forwarded-For that is not a proxy of ours, when the peer is one. */
void policy_client(const struct policy *policy, const struct mg_request_info *info, char client[PEER_MAX]);
/* scheme://host[:port] as the client sees us; owned. */
char *policy_seen_origin(const struct policy *policy, const struct mg_request_info *info);

/* ---- slot.c: who occupies a worker, and for how long
 * --------------------------------------------------------------------- */

enum slot_state {
  SLOT_FREE = 1, /* no thread, or a thread without a connection */
  SLOT_READING,  /* waits for a request, or is in the middle of its head */
  SLOT_BUSY,     /* a handler runs */
  SLOT_BODY,     /* waits for bytes of a body */
  SLOT_WRITING,  /* the peer takes its time to read */
  SLOT_LINGER,   /* a handler that said it will wait for long */
};
struct slot {
  struct http_server *server;
  bool taken; /* a thread has it */
  enum slot_state state;
  int fd;           /* of the connection; civetweb closes it after slot_leave */
  int64_t since_us; /* when the state began, boot clock */
  int64_t moved_us; /* when bytes last moved in it */
  uint64_t moved;   /* bytes since it began */
  char peer[PEER_MAX];
  bool exempt; /* from the limit per peer: loopback, or a proxy of ours */
  atomic_bool cut;
  void *stack; /* stack.c; NULL: the worker's own must do */
  bool on_stack;
};
struct watch {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t thread;
  bool running, stop;
  struct slot *slots;
  size_t count, used, lingering;
};
enum err watch_start(struct http_server *server, struct error *e);
void watch_stop(struct http_server *server);
void watch_cut_readers(struct http_server *server); /* lets mg_stop be quick */
struct slot *slot_take(struct http_server *server); /* by a worker that begins; NULL: more threads than expected */
void slot_give(struct slot *slot);
void slot_connect(struct slot *slot, const struct mg_connection *connection);
void slot_know(struct slot *slot, const struct mg_request_info *info);
void slot_disconnect(struct slot *slot);
void slot_turn(struct slot *slot, enum slot_state state);
void slot_moved(struct slot *slot, size_t bytes);
bool slot_linger(struct slot *slot); /* false: half of the threads do already */

/* ---- stack.c: room for handlers
 * --------------------------------------------------------------------------------------------- */

bool stack_make(void **stack);
void stack_free(void **stack);
void stack_run(void *stack, void (*run)(void *context), void *context); /* on this thread, to its end */

/* ---- descriptor.c: which descriptor a connection has; -1: unknown
 * ---------------------------------------------------------- */

int descriptor_early(struct http_server *server, const struct mg_connection *connection, char peer[PEER_MAX]);
int descriptor_of(const struct mg_request_info *info);

/* ---- the server and an exchange
 * ------------------------------------------------------------------------------------------ */

struct route_table {
  const struct route *routes;
  size_t count;
};
struct http_server {
  char *listen, *address;
  atomic_uint port; /* workers may run before a port of 0 is known */
  unsigned threads, connections;
  size_t body_bytes_max;
  char *web_folder;
  int web_fd; /* -1: none */
  struct keyring *keyring;
  void *context;
  void (*attach)(void *sockets, struct mg_context *civetweb);
  void *sockets;
  struct mg_context *civetweb;
  int listen_fd;           /* civetweb's; -1: not found */
  char start_problem[256]; /* civetweb's own words while it starts */
  struct route_table *tables;
  size_t table_count;
  pthread_mutex_t lock; /* guards policy */
  struct policy *policy;
  struct watch watch;
  atomic_int descriptor_at; /* see descriptor.c; 0: not learned yet */
  atomic_bool ready, draining;
};

struct param {
  char *name, *value;
};
struct params {
  struct param *items;
  size_t count;
};
void params_add(struct params *params, const char *name, size_t name_size, char *moved_value);
const char *params_get(const struct params *params, const char *name);
void params_clear(struct params *params);

enum framing { FRAMING_NONE = 1, FRAMING_LENGTH, FRAMING_CHUNKED };
struct exchange {
  struct http_server *server;
  struct mg_connection *connection;
  const struct mg_request_info *info;
  struct slot *slot; /* NULL: none was left */
  struct policy *policy;
  const struct route *route;
  char *path; /* decoded */
  struct params params, query, answer_headers;
  bool query_parsed;
  char *origin;
  char peer[PEER_MAX], request_id[REQUEST_ID_MAX + 1];
  struct principal principal;
  bool has_principal;
  int64_t begun_us, vouched_us; /* boot clock; when the credential was last looked at */
  /* body */
  enum framing framing;
  int64_t length, taken; /* length -1: chunked */
  bool body_done, body_broken, expects_continue;
  struct buf body;
  struct value *json;
  /* answer */
  int status; /* 0: none yet */
  bool head, http10, close, chunked, open, broken;
  uint64_t sent;
};

/* ---- request.c
 * ------------------------------------------------------------------------------------------------------------ */

/* Refuses what proxies and servers read differently (RFC 9112 section 11.2), and anything malformed: answers and false.
 */
bool request_check(struct exchange *x);
/* Percent-decodes; NULL: malformed, NUL or control characters, or not UTF-8. plus: '+' is a space. */
char *request_decode(const char *text, size_t size, bool plus);
bool request_header_lists(const struct mg_request_info *info, const char *name, const char *token);
const char *request_header(const struct mg_request_info *info, const char *name);
bool request_is_handshake(struct exchange *x); /* of a socket path; answers 426 or 400 itself when it is a wrong one */
bool request_is_socket_path(const char *path);

/* ---- route.c
 * -------------------------------------------------------------------------------------------------------------- */

/* The route, its parameters in x->params; NULL: answered (404, 405, OPTIONS), or nothing for this path (*unknown). */
const struct route *route_find(struct exchange *x, bool *unknown);

/* ---- credential.c, cors.c, web.c, requestlog.c, measure.c
 * ------------------------------------------------------------------------------ */

bool credential_check(struct exchange *x); /* false: answered 401 or 403 */
bool credential_still_good(
    struct exchange *x); /* what was good at the beginning of a long answer; looks once a second */
void cors_decorate(struct exchange *x);
void cors_preflight(struct exchange *x, const char *methods);
bool cors_is_preflight(const struct exchange *x);
bool web_serve(struct exchange *x); /* false: there is no such file */
void requestlog_line(const struct exchange *x);
void measure_request(const struct exchange *x, bool lingered);
void measure_watch(size_t used, size_t lingering);
void measure_cut(const char *state);
/* Path and query as the log may hold them: no token, ticket, signature. */
void requestlog_target(struct buf *out, const struct exchange *x);

/* ---- body.c, answer.c
 * ------------------------------------------------------------------------------------------------------- */

bool body_read_whole(struct exchange *x); /* false: answered */
void body_drop_rest(struct exchange *x);  /* after the answer, before a close: so that the peer can read the answer */
void answer_head(struct exchange *x, struct buf *out, int status, const char *type, int64_t length); /* -1: chunked */
bool answer_send(struct exchange *x, const void *data, size_t size);
const char *answer_phrase(int status);
