/* Whether taking sockets away from civetweb works with the library that is installed and the kernel that runs: tried
 * once at start, on the real server, by a client that sends its first frame together with its request. Real followers
 * wait for the result (milliseconds); when it is bad they stay with civetweb's reader. */
#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/http.h"
#include "ws/parts.h"

enum {
  NONCE = 32,
  ANSWER_S = 5, /* for one byte of its answers: a machine may be busy */
  WAIT_S = 15,  /* that real followers wait for the result */
  TRIES = 3,    /* that fail before it counts */
  READY_MS = 10,
  RETRY_MS = 200,
  AGAIN_MS = 60 * 1000, /* then it is tried again now and then: what failed may have been the moment */
};

struct selftest {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t change;
  struct ws_server *server;
  struct sockaddr_in address;
  char nonce[NONCE + 1];
  bool running, done, passed, stop;
};

/* ---- its client -------------------------------------------------------------------------------------------------- */

static int connect_to(const struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = {.tv_sec = ANSWER_S};
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) return fd;
  close(fd);
  return -1;
}

/* A masked PING (the mask is zeros) that says `word`. */
static void add_ping(struct buf *out, const char *word) {
  char head[6] = {(char)(0x80 | OPCODE_PING), (char)(0x80 | strlen(word))};
  buf_add(out, head, sizeof head);
  buf_text(out, word);
}

static bool send_all(int fd, struct buf *data) {
  bool sent = send(fd, data->data, data->size, MSG_NOSIGNAL) == (ssize_t)data->size;
  buf_reset(data);
  return sent;
}

/* Reads until the PONG that says `word` came. Bounded by the socket's own time-out and a kilobyte. */
static bool await_pong(int fd, struct buf *seen, const char *word) {
  char frame[16], data[512];
  int size = snprintf(frame, sizeof frame, "%c%c%s", 0x80 | OPCODE_PONG, (int)strlen(word), word);
  while (seen->size < 1024) {
    if (seen->size && memmem(seen->data, seen->size, frame, (size_t)size)) return true;
    ssize_t n = recv(fd, data, sizeof data, 0);
    if (n <= 0) return false;
    buf_add(seen, data, (size_t)n);
  }
  return false;
}

enum outcome { OUTCOME_PASSED = 1, OUTCOME_FAILED, OUTCOME_LATER };

static enum outcome try_once(struct selftest *t) {
  struct buf buf_auto out = {0}, seen = {0};
  fd_auto int fd = connect_to(&t->address);
  if (fd < 0) return OUTCOME_FAILED;
  buf_format(
      &out,
      "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2VsZnRlc3RzZWxmdGVzdA==\r\nStagemill-Self-Test: %s\r\n\r\n",
      http_socket_paths[1], t->nonce);
  add_ping(&out, "early");
  if (!send_all(fd, &out)) return OUTCOME_FAILED;
  bool early = await_pong(fd, &seen, "early");
  if (seen.size > 12 && strncmp(seen.data, "HTTP/1.1 503", 12) == 0)
    return OUTCOME_LATER;                                       /* the server is not ready yet */
  nanosleep(&(struct timespec){.tv_nsec = 20 * 1000000}, NULL); /* civetweb has closed its dead end by now */
  add_ping(&out, "later");
  return early && send_all(fd, &out) && await_pong(fd, &seen, "later") ? OUTCOME_PASSED : OUTCOME_FAILED;
}

/* False: it is time to end. */
static bool pause_ms(struct selftest *t, int64_t ms) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += ms % 1000 * 1000000;
  if (until.tv_nsec >= 1000000000) until = (struct timespec){until.tv_sec + 1, until.tv_nsec - 1000000000};
  pthread_mutex_lock(&t->lock);
  while (!t->stop && pthread_cond_timedwait(&t->change, &t->lock, &until) == 0) {
  }
  bool goes_on = !t->stop;
  pthread_mutex_unlock(&t->lock);
  return goes_on;
}

static void settle(struct selftest *t, bool passed) {
  pthread_mutex_lock(&t->lock);
  bool told = t->done;
  t->done = true;
  t->passed = passed;
  pthread_cond_broadcast(&t->change);
  pthread_mutex_unlock(&t->lock);
  if (passed && told) log_info("sockets of followers are taken over from the HTTP library now");
  if (!passed && !told)
    log_warning(
        "followers stay with the HTTP library's own threads, %u at most: taking their sockets over failed its test",
        t->server->pooled_max);
}

static void *selftest_run(void *context) {
  struct selftest *t = context;
  int64_t wait_ms = 0;
  for (int failures = 0; wait_ms == 0 || pause_ms(t, wait_ms);) {
    enum outcome outcome = try_once(t);
    if (outcome == OUTCOME_PASSED) {
      settle(t, true);
      break;
    }
    failures += outcome == OUTCOME_FAILED;
    if (failures >= TRIES) settle(t, false);
    wait_ms = outcome == OUTCOME_LATER ? READY_MS : failures < TRIES ? RETRY_MS : AGAIN_MS;
  }
  return NULL;
}

/* ---- for the server ---------------------------------------------------------------------------------------------- */

void selftest_start(struct ws_server *server) {
  struct selftest *t = server->selftest = mem_alloc(sizeof *t);
  unsigned char random[NONCE / 2];
  char host[64] = "127.0.0.1";
  const char *listen = mg_get_option(server->civetweb, "listening_ports");
  struct mg_server_port port = {0};
  t->server = server;
  pthread_mutex_init(&t->lock, NULL);
  pthread_cond_init(&t->change, NULL);
  if (!server->any_address) snprintf(host, sizeof host, "%.*s", (int)strcspn(listen, ":"), listen);
  bool known =
      mg_get_server_ports(server->civetweb, 1, &port) == 1 && inet_pton(AF_INET, host, &t->address.sin_addr) == 1;
  t->address.sin_family = AF_INET;
  t->address.sin_port = htons((uint16_t)port.port);
  t->done = server->options.no_detach || !known || RAND_bytes(random, sizeof random) != 1;
  if (t->done) return;
  for (size_t i = 0; i < sizeof random; i++) snprintf(t->nonce + 2 * i, 3, "%02x", random[i]);
  t->running = pthread_create(&t->thread, NULL, selftest_run, t) == 0;
  t->done = !t->running;
}

bool selftest_passed(struct ws_server *server) {
  struct selftest *t = server->selftest;
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += WAIT_S;
  pthread_mutex_lock(&t->lock);
  while (!t->done && pthread_cond_timedwait(&t->change, &t->lock, &until) == 0) {
  }
  bool passed = t->passed;
  pthread_mutex_unlock(&t->lock);
  return passed;
}

bool selftest_is_it(struct ws_server *server, const char *nonce) {
  struct selftest *t = server->selftest;
  if (!nonce || strlen(nonce) != NONCE) return false;
  pthread_mutex_lock(&t->lock);
  bool is = !t->passed && *t->nonce && strcmp(nonce, t->nonce) == 0;
  pthread_mutex_unlock(&t->lock);
  return is;
}

void selftest_end(struct ws_server *server) {
  struct selftest *t = server->selftest;
  if (!t) return;
  pthread_mutex_lock(&t->lock);
  t->stop = true;
  pthread_cond_broadcast(&t->change);
  pthread_mutex_unlock(&t->lock);
  if (t->running) pthread_join(t->thread, NULL);
  pthread_cond_destroy(&t->change);
  pthread_mutex_destroy(&t->lock);
  free(t);
  server->selftest = NULL;
}
