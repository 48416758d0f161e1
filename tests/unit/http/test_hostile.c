/* Requests that proxies and servers read differently, broken ones, and peers that only occupy a thread. */
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rig.h"

static int set_up(void **state) {
  struct rig *rig = mem_alloc(sizeof(*rig));
  rig_prepare(rig);
  rig_start(rig);
  *state = rig;
  return 0;
}

static int tear_down(void **state) {
  rig_end(*state);
  free(*state);
  return 0;
}

struct hostile {
  const char *name, *request;
  size_t size; /* 0: strlen */
  int status;  /* -1: any refusal, or the connection just ends */
};
#define GET_OPEN "GET /open/1 HTTP/1.1\r\nHost: h\r\n"
#define POST_OPEN "POST /open/1 HTTP/1.1\r\nHost: h\r\n"
#define SMUGGLED "GET /open/literal HTTP/1.1\r\nHost: h\r\n\r\n"

static const struct hostile refused[] = {
    {"both lengths", POST_OPEN "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 400},
    {"both lengths, coding first",
     POST_OPEN "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 400},
    {"two lengths", POST_OPEN "Content-Length: 0\r\nContent-Length: 38\r\n\r\n" SMUGGLED, 0, 400},
    {"the same length twice", POST_OPEN "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" SMUGGLED, 0, 400},
    {"a list of lengths", POST_OPEN "Content-Length: 0, 0\r\n\r\n" SMUGGLED, 0, 400},
    {"a signed length", POST_OPEN "Content-Length: +0\r\n\r\n" SMUGGLED, 0, 400},
    {"a negative length", POST_OPEN "Content-Length: -1\r\n\r\n" SMUGGLED, 0, -1},
    {"a hexadecimal length", POST_OPEN "Content-Length: 0x0\r\n\r\n" SMUGGLED, 0, 400},
    {"a giant length", POST_OPEN "Content-Length: 99999999999999999999\r\n\r\n" SMUGGLED, 0, -1},
    {"a large length", POST_OPEN "Content-Length: 999999999999999999\r\n\r\n" SMUGGLED, 0, 413},
    {"an unknown coding", POST_OPEN "Transfer-Encoding: gzip\r\n\r\n" SMUGGLED, 0, -1},
    {"codings in a row", POST_OPEN "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, -1},
    {"two codings", POST_OPEN "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" SMUGGLED, 0,
     -1},
    {"identity hides a length", POST_OPEN "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" SMUGGLED, 0, 400},
    {"a coding with a tab", POST_OPEN "Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED, 0,
     400},
    {"a coding with a vertical tab",
     POST_OPEN "Transfer-Encoding: \x0b"
               "chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
     0, -1},
    {"a name with a space", POST_OPEN "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, -1},
    {"a folded line", POST_OPEN "X: a\r\n b\r\nContent-Length: 0\r\n\r\n" SMUGGLED, 0, 400},
    {"a folded coding", POST_OPEN "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, -1},
    {"a header without a name", POST_OPEN ": x\r\nContent-Length: 0\r\n\r\n" SMUGGLED, 0, 400},
    {"a line without a colon", POST_OPEN "garbage\r\n\r\n" SMUGGLED, 0, -1},
    {"a lone carriage return", POST_OPEN "X: a\rTransfer-Encoding: chunked\r\n\r\n" SMUGGLED, 0, -1},
    {"no host", "GET /open/1 HTTP/1.1\r\n\r\n", 0, 400},
    {"two hosts", "GET /open/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 0, 400},
    {"a malformed host", "GET /open/1 HTTP/1.1\r\nHost: a b\r\n\r\n", 0, 400},
    {"a host with a path", "GET /open/1 HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, 400},
    {"NUL in the path", "GET /open/a\0b HTTP/1.1\r\nHost: h\r\n\r\n", 36, -1},
    {"NUL in a header", "GET /open/1 HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 41, -1},
    {"an escaped NUL", "GET /open/a%00b HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"an escaped line feed", "GET /open/a%0ab HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"half an escape", "GET /open/a%2 HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"a wrong escape", "GET /open/a%zz HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"an overlong slash", "GET /open/%c0%af HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"a surrogate", "GET /open/%ed%a0%80 HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"a way up", "GET /open/../read HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"an escaped way up", "GET /open/%2e%2E/read HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"a way up behind an escaped slash", "GET /open/1/rest/a%2f..%2fb HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"a fragment", "GET /open/1#x HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
    {"an unknown method", "BREW /open/1 HTTP/1.1\r\nHost: h\r\n\r\n", 0, -1},
    {"no method", " /open/1 HTTP/1.1\r\nHost: h\r\n\r\n", 0, -1},
    {"a lower-case method", "get /open/1 HTTP/1.1\r\nHost: h\r\n\r\n", 0, -1},
    {"CONNECT", "CONNECT example.org:443 HTTP/1.1\r\nHost: h\r\n\r\n", 0, -1},
    {"TRACE", "TRACE /open/1 HTTP/1.1\r\nHost: h\r\n\r\n", 0, -1},
    {"HTTP/0.9", "GET /open/1\r\n\r\n", 0, -1},
    {"HTTP/2.0", "GET /open/1 HTTP/2.0\r\nHost: h\r\n\r\n", 0, -1},
    {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, -1},
    {"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15, -1},
    {"another server's absolute target", "GET http://example.org/open/1 HTTP/1.1\r\nHost: example.org\r\n\r\n", 0, -1},
};

/* However a request is malformed: it is refused, its handler is not called, and what follows it is not taken for
 * another. */
static void broken_requests_are_refused_and_end_the_connection(void **state) {
  struct rig *rig = *state;
  for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
    const struct hostile *h = &refused[i];
    rig->handled = 0;
    const char *a = rig_ask_bytes(rig, h->request, h->size ? h->size : strlen(h->request));
    int status = rig_status(a);
    if (h->status > 0 ? status != h->status : status != 0 && (status < 400 || status > 505))
      fail_msg("%s: answered %d\n%s", h->name, status, a);
    if (rig->handled) fail_msg("%s: a handler was called\n%s", h->name, a);
    if (*a && strstr(a + 1, "HTTP/1.1 ")) fail_msg("%s: more than one answer\n%s", h->name, a);
    if (*a && strcmp(rig_header(a, "Connection"), "close") != 0)
      fail_msg("%s: the connection stays open\n%s", h->name, a);
  }
}

static void chunks_are_read_strictly(void **state) {
  static const char *const wrong[] = {
      "zz\r\nabc\r\n0\r\n\r\n",
      "3\r\nabcd\r\n0\r\n\r\n",
      "-3\r\nabc\r\n0\r\n\r\n",
      "ffffffffffffffff\r\nabc\r\n",
      "0x3\r\nabc\r\n0\r\n\r\n",
      "3;ext=\"\nabc\r\n0\r\n\r\n",
      "8000000000000000\r\nabc\r\n",
      "3\nabc\n0\n\n",
      "\r\n\r\n",
      "00000000000000000000000000000000000000000000000000000000000000000000000003\r\nabc\r\n0\r\n\r\n"};
  struct rig *rig = *state;
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
    rig->handled = 0;
    const char *a = rig_ask(rig, POST_OPEN "Transfer-Encoding: chunked\r\n\r\n%s" SMUGGLED, wrong[i]);
    if (rig->handled || rig_status(a) == 200) fail_msg("%s\n%s", wrong[i], a);
    if (*a && strstr(a + 1, "HTTP/1.1 ")) fail_msg("more than one answer to %s\n%s", wrong[i], a);
  }
  /* What is right is read, and nothing is taken for a request behind it. */
  rig->handled = 0;
  const char *a =
      rig_ask(rig, POST_OPEN "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n" SMUGGLED);
  assert_int_equal(rig_status(a), 200);
  assert_int_equal(rig->handled, 1);
}

static void headers_have_bounds(void **state) {
  struct rig *rig = *state;
  struct buf buf_auto request = {0};
  buf_text(&request, GET_OPEN);
  for (int i = 0; i < 62; i++) buf_format(&request, "X-%d: y\r\n", i);
  buf_text(&request, "Connection: close\r\n\r\n");
  rig->handled = 0;
  const char *a = rig_ask_bytes(rig, request.data, request.size);
  assert_int_equal(rig_status(a), 431);
  buf_reset(&request);
  buf_text(&request, GET_OPEN);
  for (int i = 0; i < 3000; i++) buf_text(&request, "X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n");
  buf_text(&request, "\r\n");
  a = rig_ask_bytes(rig, request.data, request.size);
  assert_true(rig_status(a) == 0 || rig_status(a) >= 400);
  buf_reset(&request);
  buf_text(&request, "GET /open/");
  for (int i = 0; i < 40000; i++) buf_char(&request, 'a');
  buf_text(&request, " HTTP/1.1\r\nHost: h\r\n\r\n");
  a = rig_ask_bytes(rig, request.data, request.size);
  assert_true(rig_status(a) == 0 || rig_status(a) >= 400);
  assert_int_equal(rig->handled, 0);
}

static int count(const char *text, const char *what) {
  int n = 0;
  for (const char *at = strstr(text, what); at; at = strstr(at + 1, what)) n++;
  return n;
}

static void requests_in_a_row_are_answered_in_order(void **state) {
  const char *a = rig_ask(*state, GET_OPEN "\r\n" POST_OPEN "Content-Length: 3\r\n\r\nabc"
                                           "GET /open/literal HTTP/1.1\r\nHost: h\r\n"
                                           "Connection: close\r\n\r\n");
  assert_int_equal(count(a, "HTTP/1.1 200 OK"), 3);
  assert_true(strstr(a, "\"body\":0") < strstr(a, "\"body\":3") && strstr(a, "\"body\":3") < strstr(a, "literal\0"));
}

static void old_clients_get_one_answer_and_the_end(void **state) {
  const char *a = rig_ask(*state, "GET /open/literal HTTP/1.0\r\n\r\n");
  assert_int_equal(rig_status(a), 200);
  assert_string_equal(rig_header(a, "Connection"), "close");
  a = rig_ask(*state, "GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  assert_string_equal(rig_header(a, "Transfer-Encoding"), "");
  assert_string_equal(rig_body(a), "onetwo");
  a = rig_ask(*state, "GET /pieces HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert_string_equal(rig_body(a), "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
}

static void absolute_targets_of_this_server_are_served(void **state) {
  struct rig *rig = *state;
  unsigned port = http_server_port(rig->server);
  const char *a = rig_ask(
      rig, "GET http://127.0.0.1:%u/open/literal?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n", port,
      port);
  assert_int_equal(rig_status(a), 200);
  assert_string_equal(rig_body(a), "literal");
}

static void bodies_that_end_early_are_told(void **state) {
  struct rig *rig = *state;
  int fd = rig_connect(rig);
  static const char half[] = "PUT /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf";
  struct buf buf_auto answer = {0};
  rig_send(fd, half, sizeof(half) - 1);
  shutdown(fd, SHUT_WR);
  rig_receive(fd, &answer);
  close(fd);
  assert_int_equal(rig_status(buf_string(&answer)), 400);
  assert_non_null(strstr(buf_string(&answer), "4 of 100 bytes"));
}

/* ---- who only occupies a thread
 * ----------------------------------------------------------------------------------------- */

enum { CROWD = 60 };

static void crowd_open(struct rig *rig, int *crowd, const char *words) {
  for (int i = 0; i < CROWD; i++) {
    crowd[i] = rig_connect(rig);
    rig_send(crowd[i], words, strlen(words));
  }
}

static void crowd_close(int *crowd) {
  for (int i = 0; i < CROWD; i++) close(crowd[i]);
}

/* Eight threads, sixty peers that never finish what they began: whoever asks properly is still answered soon. */
static void others_are_served_despite(void **state, const char *words, int64_t within_us) {
  struct rig *rig = *state;
  int crowd[CROWD];
  crowd_open(rig, crowd, words);
  usleep(50000);
  for (int i = 0; i < 3; i++) {
    int64_t begun = clock_boot(&clock_system);
    int fd = rig_connect(rig);
    struct pollfd ask = {.fd = fd, .events = POLLIN};
    static const char good[] = "GET /open/literal HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    rig_send(fd, good, sizeof(good) - 1);
    int ready = poll(&ask, 1, (int)(within_us / 1000));
    char answer[16] = "";
    if (ready != 1 || recv(fd, answer, 15, 0) != 15 || strncmp(answer, "HTTP/1.1 200", 12) != 0)
      fail_msg("no answer after %lld ms: '%s'", (long long)(clock_boot(&clock_system) - begun) / 1000, answer);
    close(fd);
  }
  crowd_close(crowd);
}

static void silent_peers_starve_nobody(void **state) { others_are_served_despite(state, "", 2000000); }
static void half_requests_starve_nobody(void **state) { others_are_served_despite(state, GET_OPEN "X: ", 10000000); }
static void idle_connections_starve_nobody(void **state) {
  others_are_served_despite(state, GET_OPEN "\r\n", 10000000);
}

static void missing_bodies_starve_nobody(void **state) {
  struct rig *rig = *state;
  int crowd[8];
  static const char words[] = "PUT /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n";
  for (int i = 0; i < 8; i++) rig_send(crowd[i] = rig_connect(rig), words, sizeof(words) - 1);
  usleep(50000);
  assert_int_equal(rig_status(rig_ask(rig, "GET /open/literal HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), 200);
  for (int i = 0; i < 8; i++) close(crowd[i]);
}

/* Each takes a thread and asks for more than sockets buffer, and then reads none of it. */
static void peers_that_do_not_read_starve_nobody(void **state) {
  struct rig *rig = *state;
  int crowd[8];
  char path[200];
  static const char words[] = "GET /file HTTP/1.1\r\nHost: h\r\n\r\n";
  snprintf(path, sizeof(path), "%s/file", rig->folder);
  assert_int_equal(truncate(path, 64 << 20), 0);
  for (int i = 0; i < 8; i++) rig_send(crowd[i] = rig_connect(rig), words, sizeof(words) - 1);
  usleep(300000);
  int64_t begun = clock_boot(&clock_system);
  int fd = rig_connect(rig);
  struct pollfd ask = {.fd = fd, .events = POLLIN};
  static const char good[] = "GET /open/literal HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  rig_send(fd, good, sizeof(good) - 1);
  assert_int_equal(poll(&ask, 1, 8000), 1);
  assert_in_range(clock_boot(&clock_system) - begun, 500000, 8000000); /* they did occupy all threads */
  close(fd);
  for (int i = 0; i < 8; i++) close(crowd[i]);
}

/* Five kilobytes a second in all threads: slow, and alive. */
static void slow_uploads_are_not_cut(void **state) {
  struct rig *rig = *state;
  enum { TURNS = 24, PIECE = 512 };
  int crowd[8];
  char piece[PIECE] = "", head[200];
  snprintf(head, sizeof(head), "PUT /upload HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
           TURNS * PIECE);
  for (int i = 0; i < 8; i++) rig_send(crowd[i] = rig_connect(rig), head, strlen(head));
  for (int turn = 0; turn < TURNS; turn++) {
    for (int i = 0; i < 8; i++) rig_send(crowd[i], piece, sizeof(piece));
    usleep(100000);
  }
  for (int i = 0; i < 8; i++) {
    struct buf buf_auto answer = {0};
    rig_receive(crowd[i], &answer);
    assert_int_equal(rig_status(buf_string(&answer)), 204);
    close(crowd[i]);
  }
}

static void those_who_wait_for_long_leave_half_of_the_threads(void **state) {
  struct rig *rig = *state;
  int crowd[8];
  static const char words[] = "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n";
  int served = 0, refused_n = 0;
  for (int i = 0; i < 7; i++) {
    rig_send(crowd[i] = rig_connect(rig), words, sizeof(words) - 1);
    char answer[13] = "";
    assert_int_equal(recv(crowd[i], answer, 12, MSG_WAITALL), 12);
    served += strcmp(answer, "HTTP/1.1 200") == 0;
    refused_n += strcmp(answer, "HTTP/1.1 503") == 0;
  }
  assert_int_equal(served, 4);
  assert_int_equal(refused_n, 3);
  assert_int_equal(rig_status(rig_ask(rig, "GET /open/literal HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), 200);
  /* Their peers hang up: the handlers notice and end. */
  rig->handled = 0;
  for (int i = 0; i < 7; i++) close(crowd[i]);
  for (int i = 0; i < 200 && rig->handled < 400; i++) usleep(10000);
  assert_int_equal(rig->handled, 400);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(broken_requests_are_refused_and_end_the_connection),
      cmocka_unit_test(chunks_are_read_strictly),
      cmocka_unit_test(headers_have_bounds),
      cmocka_unit_test(requests_in_a_row_are_answered_in_order),
      cmocka_unit_test(old_clients_get_one_answer_and_the_end),
      cmocka_unit_test(absolute_targets_of_this_server_are_served),
      cmocka_unit_test(bodies_that_end_early_are_told),
      cmocka_unit_test(silent_peers_starve_nobody),
      cmocka_unit_test(half_requests_starve_nobody),
      cmocka_unit_test(idle_connections_starve_nobody),
      cmocka_unit_test(missing_bodies_starve_nobody),
      cmocka_unit_test(peers_that_do_not_read_starve_nobody),
      cmocka_unit_test(slow_uploads_are_not_cut),
      cmocka_unit_test(those_who_wait_for_long_leave_half_of_the_threads),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
