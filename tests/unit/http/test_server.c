/* Starting, draining, ending; what the log says; sockets' handshakes. */
#include <arpa/inet.h>
#include <civetweb.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "rig.h"

static int set_up(void **state) {
  struct rig *rig = mem_alloc(sizeof(*rig));
  rig_prepare(rig);
  *state = rig;
  return 0;
}

static int tear_down(void **state) {
  rig_end(*state);
  free(*state);
  return 0;
}

static void only_an_address_and_a_port_are_taken(void **state) {
  struct rig *rig = *state;
  static const char *const wrong[] = {"8060",
                                      "localhost:8060",
                                      ":8060",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:8060,8061",
                                      "127.0.0.1:8060s,127.0.0.1:8061",
                                      "[::1]:8060",
                                      "127.0.0.1:80 60",
                                      "+127.0.0.1:80",
                                      "x:1r",
                                      "256.0.0.1:80",
                                      "127.0.0.1:-1",
                                      ""};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
    struct error e = {0};
    rig->options.listen = wrong[i];
    if (http_server_create(&rig->server, &rig->options, &e) != ERR_USAGE) fail_msg("%s was taken", wrong[i]);
    assert_null(rig->server);
    assert_non_null(strstr(e.message, wrong[i]));
  }
  struct error e = {0};
  rig->options.listen = "0.0.0.0:443s";
  assert_int_equal(http_server_create(&rig->server, &rig->options, &e), ERR_USAGE);
  assert_non_null(strstr(e.message, "nginx"));
}

static void a_taken_port_is_named(void **state) {
  struct rig *rig = *state;
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof(where);
  fd_auto int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&where, sizeof(where)), 0);
  assert_int_equal(listen(fd, 1), 0);
  getsockname(fd, (struct sockaddr *)&where, &size);
  char address[40], port[10];
  snprintf(port, sizeof(port), "%u", ntohs(where.sin_port));
  snprintf(address, sizeof(address), "127.0.0.1:%s", port);
  rig->options.listen = address;
  struct error e = {0};
  assert_int_equal(http_server_create(&rig->server, &rig->options, &e), ERR_OK);
  assert_int_equal(http_server_start(rig->server, &e), ERR_BUSY);
  assert_non_null(strstr(e.message, port));
}

static void draining_ends_streams_and_refuses_what_is_new(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  int fd = rig_connect(rig);
  static const char ask[] = "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n";
  char some[100];
  struct buf buf_auto rest = {0};
  rig_send(fd, ask, sizeof(ask) - 1);
  assert_true(recv(fd, some, sizeof(some), MSG_WAITALL) == sizeof(some));
  http_server_drain(rig->server);
  rig_receive(fd, &rest);
  close(fd);
  assert_non_null(strstr(buf_string(&rest), "\r\n0\r\n\r\n"));
  const char *a = rig_ask(rig, "GET /open/1 HTTP/1.1\r\nHost: h\r\n\r\n");
  assert_int_equal(rig_status(a), 503);
  assert_string_equal(rig_header(a, "Connection"), "close");
  assert_string_not_equal(rig_header(a, "Retry-After"), "");
}

static void a_stream_ends_when_its_token_is_revoked(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  int fd = rig_connect(rig);
  struct buf buf_auto ask = {0}, answer = {0};
  buf_format(&ask, "GET /watch HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n",
             rig->reader);
  rig_send(fd, ask.data, ask.size);
  usleep(100000);
  int64_t now_us = clock_wall(&clock_system);
  keyring_revoke(rig->keyring, "sub:ann", now_us, now_us + 60000000);
  rig_receive(fd, &answer); /* until the server ends it */
  close(fd);
  assert_int_equal(rig_status(buf_string(&answer)), 200);
  assert_non_null(strstr(buf_string(&answer), "\r\n0\r\n\r\n"));
  assert_int_equal(rig_status(rig_ask_bytes(rig, ask.data, ask.size)), 401);
}

static void ending_is_quick_with_connections_open(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  int open_fds[6];
  static const char *const words[] = {"",
                                      "GET /op",
                                      "GET /open/1 HTTP/1.1\r\nHost: h\r\n\r\n",
                                      "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n",
                                      "PUT /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
                                      "\r\n"};
  for (int i = 0; i < 6; i++) rig_send(open_fds[i] = rig_connect(rig), words[i], strlen(words[i]));
  usleep(100000);
  int64_t begun = clock_boot(&clock_system);
  http_server_destroy(&rig->server);
  assert_in_range(clock_boot(&clock_system) - begun, 0, 6000000);
  for (int i = 0; i < 6; i++) close(open_fds[i]);
}

static void the_log_holds_a_line_for_each_request_and_no_credential(void **state) {
  struct rig *rig = *state;
  char path[200], text[4000];
  rig_start(rig);
  snprintf(path, sizeof(path), "%s/log", rig->folder);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  log_open(fd, LOG_LEVEL_DEBUG, false);
  rig_ask(rig, "GET /download?q=seen&token=%s&%%74oken=HIDDEN2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
          rig->reader);
  rig_ask(rig, "GET /download?ticket=HIDDEN1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  rig_ask(rig, "GET /shared/HIDDEN3/a/b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  rig_ask(rig, "GET /open/1?Signature=HIDDEN4&access_token=HIDDEN5 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  rig_ask(rig, "GET /read HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer HIDDEN6\r\n\r\n");
  rig_ask(rig, "GET /open/%%22%%5C%%C3%%A4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  usleep(100000);
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR, false);
  ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
  close(fd);
  assert_true(size > 0);
  text[size] = '\0';
  assert_null(strstr(text, "HIDDEN"));
  assert_null(strstr(text, rig->reader));
  assert_non_null(strstr(text, "http GET /download?q=seen&token=***&%74oken=*** 200"));
  assert_non_null(strstr(text, "http GET /download?ticket=*** 401"));
  assert_non_null(strstr(text, "sub=ann"));
  assert_non_null(strstr(text, "http GET /shared/***/a/b 200"));
  assert_non_null(strstr(text, "http GET /read 401"));
}

static void requests_are_counted_by_route(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_ask(rig, "GET /open/metric-id HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  usleep(50000);
  struct buf buf_auto text = {0};
  metric_render(&text);
  assert_non_null(strstr(buf_string(&text), "stagemill_http_requests_total{method=\"GET\",status=\"200\"}"));
  assert_non_null(strstr(buf_string(&text), "stagemill_http_request_seconds_count{route=\"/open/{id}\"}"));
  assert_null(strstr(buf_string(&text), "metric-id"));
}

/* ---- sockets
 * ------------------------------------------------------------------------------------------------------------ */

struct seen {
  int connected, fd;
  bool allowed;
  unsigned short port;
  char peer[48];
};
static struct seen seen;
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

static struct seen look(void) {
  pthread_mutex_lock(&seen_lock);
  struct seen copy = seen;
  pthread_mutex_unlock(&seen_lock);
  return copy;
}

static int connect_handler(const struct mg_connection *connection, void *context) {
  (void)context;
  struct sockaddr_in peer = {0};
  socklen_t size = sizeof(peer);
  pthread_mutex_lock(&seen_lock);
  seen.connected++;
  seen.allowed = http_socket_origin_allowed(connection);
  seen.fd = http_socket_descriptor(connection);
  http_socket_peer(connection, seen.peer);
  if (getpeername(seen.fd, (struct sockaddr *)&peer, &size) == 0) seen.port = ntohs(peer.sin_port);
  pthread_mutex_unlock(&seen_lock);
  return 1;
}

static void attach(void *sockets, struct mg_context *civetweb) {
  mg_set_websocket_handler(civetweb, "/ws", connect_handler, NULL, NULL, NULL, sockets);
}

#define SHAKE                                                                                                          \
  "GET /ws?jobId=1 HTTP/1.1\r\nHost: media.example.org:8060\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "           \
  "websocket\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void handshakes_of_sockets_are_passed_on_when_they_are_right(void **state) {
  struct rig *rig = *state;
  static const char *const list[] = {"https://app.example.org", NULL};
  rig->options.attach = attach;
  rig->options.origins = list;
  rig_start(rig);
  static const struct {
    const char *request;
    int status;
  } wrong[] = {
      {"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 426},
      {"GET /api/v1/stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 426},
      {SHAKE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426},
      {SHAKE KEY "\r\n", 426},
      {SHAKE VERSION "\r\n", 400},
      {SHAKE VERSION "Sec-WebSocket-Key: short\r\n\r\n", 400},
      {SHAKE VERSION KEY KEY "\r\n", 400},
      {"POST /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" VERSION KEY
       "Content-Length: 0\r\n\r\n",
       405},
  };
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
    const char *a = rig_ask(rig, "%s", wrong[i].request);
    if (rig_status(a) != wrong[i].status) fail_msg("%zu: %s", i, a);
    if (wrong[i].status == 426) assert_string_equal(rig_header(a, "Sec-WebSocket-Version"), "13");
  }
  assert_int_equal(look().connected, 0);
  static const struct {
    const char *origin;
    bool allowed;
  } origins[] = {
      {"", true},
      {"Origin: https://app.example.org\r\n", true},
      {"Origin: https://evil.example.org\r\n", false},
      {"Origin: https://media.example.org:8060\r\n", true},
      {"Origin: null\r\n", false},
      {"Origin: media.example.org:8060\r\n", false},
  };
  for (size_t i = 0; i < sizeof(origins) / sizeof(*origins); i++) {
    int fd = rig_connect(rig);
    struct sockaddr_in own;
    socklen_t size = sizeof(own);
    struct buf buf_auto request = {0}, answer = {0};
    buf_format(&request, "%s%s\r\n", SHAKE VERSION KEY, origins[i].origin);
    getsockname(fd, (struct sockaddr *)&own, &size);
    rig_send(fd, request.data, request.size);
    rig_receive(fd, &answer);
    close(fd);
    struct seen now = look();
    assert_int_equal(now.connected, i + 1);
    assert_int_equal(now.allowed, origins[i].allowed);
    assert_int_equal(now.port, ntohs(own.sin_port));
    assert_string_equal(now.peer, "127.0.0.1");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(only_an_address_and_a_port_are_taken, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_taken_port_is_named, set_up, tear_down),
      cmocka_unit_test_setup_teardown(draining_ends_streams_and_refuses_what_is_new, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_stream_ends_when_its_token_is_revoked, set_up, tear_down),
      cmocka_unit_test_setup_teardown(ending_is_quick_with_connections_open, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_log_holds_a_line_for_each_request_and_no_credential, set_up, tear_down),
      cmocka_unit_test_setup_teardown(requests_are_counted_by_route, set_up, tear_down),
      cmocka_unit_test_setup_teardown(handshakes_of_sockets_are_passed_on_when_they_are_right, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
