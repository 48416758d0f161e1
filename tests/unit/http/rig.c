#include "rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* ---- handlers: each does one thing that the tests look at
 * ------------------------------------------------------------- */

static struct rig *rig_of(struct exchange *x) {
  struct rig *rig = http_context(x);
  rig->handled += 1;
  return rig;
}

static void tell(struct exchange *x) {
  rig_of(x);
  struct value *v = value_map();
  const struct principal *p = http_principal(x);
  value_set_text(v, "path", http_path(x));
  value_set_text(v, "id", http_param(x, "id"));
  value_set_text(v, "rest", http_param(x, "rest"));
  value_set_text(v, "q", http_query(x, "q"));
  value_set_text(v, "peer", http_peer(x));
  value_set_text(v, "origin", http_origin(x));
  value_set_text(v, "subject", p ? p->subject : NULL);
  value_set_int(v, "body", (int64_t)http_body(x)->size);
  http_json(x, 200, v);
  value_free(&v);
}

static void literal(struct exchange *x) {
  rig_of(x);
  http_text(x, 200, "text/plain", "literal", 7);
}

static void echo(struct exchange *x) {
  rig_of(x);
  const struct value *body = http_body_json(x);
  if (body) http_json(x, 200, body);
}

static void number(struct exchange *x) {
  int64_t n;
  struct error e = {0};
  if (http_query_int(x, "n", 1, 100, 7, &n, &e) != ERR_OK) {
    http_error(x, &e);
    return;
  }
  struct value *v = value_map();
  value_set_int(v, "n", n);
  http_json(x, 200, v);
  value_free(&v);
}

static void upload(struct exchange *x) {
  struct rig *rig = rig_of(x);
  char piece[5000];
  ssize_t got;
  struct error e = {0};
  rig->received = 0;
  while ((got = http_read(x, piece, sizeof(piece), &e)) > 0) rig->received += got;
  if (got < 0)
    http_error(x, &e);
  else
    http_empty(x, 204);
}

/* Answers without having looked at the body. */
static void hasty(struct exchange *x) {
  rig_of(x);
  http_problem(x, 409, "conflict", "not now");
}

static void file(struct exchange *x) {
  struct rig *rig = rig_of(x);
  char *path = mem_format("%s/file", rig->folder);
  http_file(x, open(path, O_RDONLY | O_CLOEXEC), "text/plain", http_query(x, "etag"), http_query(x, "as"));
  free(path);
}

/* Until the peer is gone or the server drains. */
static void stream(struct exchange *x) {
  struct rig *rig = rig_of(x);
  http_begin(x, 200, "text/event-stream");
  while (http_write(x, "data: x\n\n", 9)) usleep(20000);
  http_end(x);
  rig->handled += 100;
}

static void pieces(struct exchange *x) {
  http_begin(x, 200, "text/plain");
  http_write(x, "one", 3);
  http_write(x, "", 0);
  http_write(x, "two", 3);
  http_end(x);
}

static void silent(struct exchange *x) { (void)x; }

static void twice(struct exchange *x) {
  http_set_header(x, "X-Bad", "a\r\nInjected: yes");
  http_set_header(x, "X-Good", "fine");
  http_text(x, 200, "text/plain", "1", 1);
  http_text(x, 200, "text/plain", "2", 1);
}

/* A handler that needs much more stack than a worker of civetweb has. */
static void deep(struct exchange *x) {
  volatile char room[400 * 1024];
  for (size_t i = 0; i < sizeof(room); i += 4096) room[i] = (char)i;
  http_text(x, 200, "text/plain", room[4096] == 0 ? "ok" : "no", 2);
}

static const struct route routes[] = {
    {"GET", "/open/{id}", 0, ROUTE_OPEN, tell, NULL},
    {"POST", "/open/{id}", 0, ROUTE_OPEN, tell, NULL},
    {"GET", "/open/{id}/rest/{rest...}", 0, ROUTE_OPEN, tell, NULL},
    {"GET", "/open/literal", 0, ROUTE_OPEN, literal, NULL},
    {"DELETE", "/open/{id}", 0, ROUTE_OPEN, tell, NULL},
    {"POST", "/echo", 0, ROUTE_OPEN, echo, NULL},
    {"GET", "/number", 0, ROUTE_OPEN, number, NULL},
    {"PUT", "/upload", 0, ROUTE_OPEN | ROUTE_STREAM, upload, NULL},
    {"PUT", "/hasty", 0, ROUTE_OPEN | ROUTE_STREAM, hasty, NULL},
    {"GET", "/file", 0, ROUTE_OPEN, file, NULL},
    {"GET", "/stream", 0, ROUTE_OPEN, stream, NULL},
    {"GET", "/watch", SCOPE_READ, 0, stream, NULL},
    {"GET", "/pieces", 0, ROUTE_OPEN, pieces, NULL},
    {"GET", "/silent", 0, ROUTE_OPEN, silent, NULL},
    {"GET", "/twice", 0, ROUTE_OPEN, twice, NULL},
    {"GET", "/deep", 0, ROUTE_OPEN, deep, NULL},
    {"GET", "/read", SCOPE_READ, 0, tell, NULL},
    {"POST", "/submit", SCOPE_SUBMIT, 0, tell, NULL},
    {"GET", "/narrow", SCOPE_READ | SCOPE_FOLLOW, 0, tell, NULL},
    {"GET", "/download", SCOPE_READ, ROUTE_TICKET, tell, NULL},
    {"GET", "/shared/{signature}/{rest...}", 0, ROUTE_OPEN, tell, NULL},
};

/* ---- the server
 * --------------------------------------------------------------------------------------------------------- */

static char *mint(struct rig *rig, const char *subject, unsigned scopes) {
  struct principal p = {.subject = mem_text(subject), .scopes = scopes};
  char *token = NULL;
  assert_int_equal(keyring_mint(rig->keyring, &p, &token, NULL), ERR_OK);
  principal_clear(&p);
  return token;
}

void rig_file(const struct rig *rig, const char *name, const char *text) {
  char path[200];
  snprintf(path, sizeof(path), "%s/%s", rig->folder, name);
  FILE *f = fopen(path, "we");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

void rig_prepare(struct rig *rig) {
  *rig = (struct rig){.folder = "/tmp/stagemill-http-XXXXXX"};
  assert_non_null(mkdtemp(rig->folder));
  char path[200];
  snprintf(path, sizeof(path), "%s/key", rig->folder);
  struct keyring_options keys = {.own_file = path};
  struct error e = {0};
  if (keyring_open(&rig->keyring, &keys, &e) != ERR_OK) fail_msg("%s", e.message);
  rig->reader = mint(rig, "ann", SCOPE_READ);
  rig->admin = mint(rig, "root", SCOPE_ADMIN);
  rig->follower = mint(rig, "bob", SCOPE_FOLLOW);
  rig_file(rig, "file", "0123456789");
  rig->options = (struct http_options){.listen = "127.0.0.1:0",
                                       .threads = 8,
                                       .body_bytes_max = 1000,
                                       .keyring = rig->keyring,
                                       .context = rig,
                                       .origins = rig->origins,
                                       .proxies = rig->proxies};
}

void rig_start(struct rig *rig) {
  struct error e = {0};
  log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR, false);
  if (http_server_create(&rig->server, &rig->options, &e) != ERR_OK) fail_msg("%s", e.message);
  http_server_routes(rig->server, routes, sizeof(routes) / sizeof(*routes));
  if (http_server_start(rig->server, &e) != ERR_OK) fail_msg("%s", e.message);
  assert_int_not_equal(http_server_port(rig->server), 0);
}

static struct buf last;

void rig_end(struct rig *rig) {
  char command[100];
  http_server_destroy(&rig->server);
  keyring_close(&rig->keyring);
  free(rig->reader);
  free(rig->admin);
  free(rig->follower);
  buf_free(&last);
  snprintf(command, sizeof(command), "rm -rf '%s'", rig->folder);
  assert_int_equal(system(command), 0);
}

/* ---- the client
 * --------------------------------------------------------------------------------------------------------- */

int rig_connect(const struct rig *rig) {
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)http_server_port(rig->server)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
  return fd;
}

void rig_send(int fd, const void *data, size_t size) {
  for (const char *at = data; size > 0;) {
    ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
    if (sent <= 0) return; /* the server may have had enough */
    at += sent, size -= (size_t)sent;
  }
}

void rig_receive(int fd, struct buf *answer) {
  char piece[4096];
  struct pollfd ask = {.fd = fd, .events = POLLIN};
  while (poll(&ask, 1, 2000) > 0) {
    ssize_t got = recv(fd, piece, sizeof(piece), 0);
    if (got <= 0) return;
    buf_add(answer, piece, (size_t)got);
  }
}

const char *rig_ask_bytes(struct rig *rig, const void *data, size_t size) {
  int fd = rig_connect(rig);
  buf_reset(&last);
  rig_send(fd, data, size);
  rig_receive(fd, &last);
  close(fd);
  return buf_string(&last);
}

const char *rig_ask(struct rig *rig, const char *format, ...) {
  va_list args;
  char *text = NULL;
  va_start(args, format);
  int size = vasprintf(&text, format, args);
  va_end(args);
  assert_true(size >= 0);
  const char *answer = rig_ask_bytes(rig, text, (size_t)size);
  free(text);
  return answer;
}

int rig_status(const char *answer) { return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0; }

const char *rig_header(const char *answer, const char *name) {
  static char value[1024];
  size_t size = strlen(name);
  const char *end = strstr(answer, "\r\n\r\n");
  for (const char *at = strstr(answer, "\r\n"); at && at < end; at = strstr(at + 2, "\r\n"))
    if (strncasecmp(at + 2, name, size) == 0 && at[2 + size] == ':') {
      const char *from = at + 3 + size + strspn(at + 3 + size, " ");
      snprintf(value, sizeof(value), "%.*s", (int)strcspn(from, "\r"), from);
      return value;
    }
  return "";
}

const char *rig_body(const char *answer) {
  const char *end = strstr(answer, "\r\n\r\n");
  return end ? end + 4 : "";
}
