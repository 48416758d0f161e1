/* client.c - many followers in one thread: connects them, reads their frames, counts, and says how late messages were
 * against the time they carry. It knows just enough of the protocol to follow any of the servers compared.
 *
 *   client PORT PATH COUNT STALLED HELLO       HELLO: sent as a text frame after the handshake ("": nothing)
 *   stdout: {"connected": N, "seconds": S}
 *   stdin:  measure EXPECTED SECONDS           until that many messages came to the healthy ones, or nothing for
 * SECONDS stdout: {"delivered": N, "seconds": S, "p50_us": ..., "p99_us": ..., "max_us": ..., "closed": N} STALLED of
 * them stop to read after the handshake and are not counted. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_ROOM = 64 * 1024, BUCKETS = 64 * 64 };

struct follower {
  int fd;
  bool stalled, open;
  char *rest; /* an unfinished frame */
  size_t rest_size;
};
static struct follower *followers;
static unsigned count, closed;
static int epoll;
static uint64_t delivered, histogram[BUCKETS], worst_us;
static int64_t first_us, last_us;

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void fail(const char *what) {
  fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* ---- latencies: 32 buckets to each power of two, within 3 % ------------------------------------------------------ */

static unsigned bucket_of(uint64_t us) {
  if (us < 64) return (unsigned)us;
  unsigned power = 63 - (unsigned)__builtin_clzll(us);
  return 64 + (power - 6) * 32 + (unsigned)(us >> (power - 5) & 31);
}

static uint64_t bucket_start(unsigned bucket) {
  if (bucket < 64) return bucket;
  unsigned power = (bucket - 64) / 32 + 6;
  return (1ull << power) + ((uint64_t)(bucket - 64) % 32 << (power - 5));
}

static uint64_t percentile(double share) {
  uint64_t below = 0, wanted = (uint64_t)((double)delivered * share);
  for (unsigned i = 0; i < BUCKETS; i++)
    if ((below += histogram[i]) > wanted) return bucket_start(i);
  return worst_us;
}

static void heard(const char *text, size_t size, int64_t at_us) {
  const char *stamp = memmem(text, size, "\"t\":", 4);
  if (!stamp) return;
  int64_t due_us = strtoll(stamp + 4, NULL, 10), late_us = at_us > due_us ? at_us - due_us : 0;
  if (!delivered || due_us < first_us) first_us = due_us;
  last_us = at_us;
  delivered++;
  histogram[bucket_of((uint64_t)late_us)]++;
  if ((uint64_t)late_us > worst_us) worst_us = (uint64_t)late_us;
}

/* ---- frames
 * ----------------------------------------------------------------------------------------------------------------------
 */

static void send_frame(int fd, int opcode, const char *data, size_t size) {
  char frame[6 + 125] = {(char)(0x80 | opcode), (char)(0x80 | size)};
  if (size > 125) return;
  memcpy(frame + 6, data, size);
  if (send(fd, frame, 6 + size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EPIPE &&
      errno != ECONNRESET)
    fail("send");
}

static void lose(struct follower *f) {
  if (!f->open) return;
  f->open = false;
  closed++;
  close(f->fd);
}

static void frame(struct follower *f, int opcode, const char *data, size_t size, int64_t at_us) {
  if (opcode == 1 && size == 1 && *data == '2')
    send_frame(f->fd, 1, "3", 1); /* engine.io's own ping */
  else if (opcode == 1)
    heard(data, size, at_us);
  else if (opcode == 9)
    send_frame(f->fd, 10, data, size);
  else if (opcode == 8)
    lose(f);
}

static size_t take_frames(struct follower *f, const char *data, size_t size, int64_t at_us) {
  size_t taken = 0;
  while (f->open) {
    const unsigned char *b = (const unsigned char *)data + taken;
    size_t left = size - taken, head = 2;
    if (left < 2) break;
    uint64_t length = b[1] & 0x7f;
    if (length >= 126) head += length == 126 ? 2 : 8;
    if (left < head) break;
    if (head > 2) length = 0;
    for (size_t i = 2; i < head; i++) length = length << 8 | b[i];
    if (left < head + length) break;
    frame(f, b[0] & 0x0f, (const char *)b + head, length, at_us);
    taken += head + length;
  }
  return taken;
}

static void hear(struct follower *f) {
  static char data[1024 * 1024];
  memcpy(data, f->rest, f->rest_size);
  ssize_t n = recv(f->fd, data + f->rest_size, sizeof data - f->rest_size, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    lose(f);
    return;
  }
  size_t size = f->rest_size + (size_t)n, taken = take_frames(f, data, size, now_us());
  free(f->rest);
  f->rest_size = size - taken;
  f->rest = NULL;
  if (f->rest_size && !(f->rest = malloc(f->rest_size))) fail("memory");
  if (f->rest) memcpy(f->rest, data + taken, f->rest_size);
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

static void connect_one(struct follower *f, int port, const char *path, const char *hello) {
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char request[8192], answer[HEAD_ROOM];
  size_t got = 0;
  char *end = NULL;
  f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int small = 4096;
  if (f->stalled) setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  if (f->fd < 0 || connect(f->fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
  int size = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                      path);
  if (send(f->fd, request, (size_t)size, 0) != size) fail("send");
  while (!end) {
    ssize_t n = recv(f->fd, answer + got, sizeof answer - got - 1, 0);
    if (n <= 0) fail("handshake");
    answer[got += (size_t)n] = '\0';
    end = strstr(answer, "\r\n\r\n");
  }
  if (strncmp(answer, "HTTP/1.1 101", 12)) fail(answer);
  f->open = true;
  end += 4;
  f->rest_size = got - (size_t)(end - answer);
  if (f->rest_size && !(f->rest = malloc(f->rest_size))) fail("memory");
  if (f->rest_size) memcpy(f->rest, end, f->rest_size);
  if (*hello) send_frame(f->fd, 1, hello, strlen(hello));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = f};
  if (!f->stalled && epoll_ctl(epoll, EPOLL_CTL_ADD, f->fd, &event)) fail("epoll");
}

static void turn(int wait_ms) {
  struct epoll_event events[512];
  int n = epoll_wait(epoll, events, 512, wait_ms);
  for (int i = 0; i < n; i++)
    if (((struct follower *)events[i].data.ptr)->open) hear(events[i].data.ptr);
}

static void measure(uint64_t expected, double quiet_s) {
  int64_t heard_us = now_us(), begun = 0;
  memset(histogram, 0, sizeof histogram);
  delivered = worst_us = 0;
  while (delivered < expected && (double)(now_us() - heard_us) < quiet_s * 1e6) {
    turn(50);
    if ((int64_t)delivered == begun) continue;
    begun = (int64_t)delivered;
    heard_us = now_us();
  }
  printf("{\"delivered\": %llu, \"seconds\": %.4f, \"p50_us\": %llu, \"p99_us\": %llu, \"max_us\": %llu, \"closed\": "
         "%u}\n",
         (unsigned long long)delivered, delivered ? (double)(last_us - first_us) / 1e6 : 0,
         (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99), (unsigned long long)worst_us,
         closed);
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  count = (unsigned)atoi(argv[3]);
  unsigned stalled = (unsigned)atoi(argv[4]);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  setvbuf(stdout, NULL, _IOLBF, 0);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  followers = calloc(count, sizeof *followers);
  int64_t begun = now_us();
  for (unsigned i = 0; i < count; i++) {
    followers[i].stalled = stalled && i % (count / stalled) == 0 && i / (count / stalled) < stalled;
    connect_one(&followers[i], atoi(argv[1]), argv[2], argv[5]);
  }
  for (int64_t until = now_us() + 300000; now_us() < until;) turn(20); /* what each server says first */
  printf("{\"connected\": %u, \"seconds\": %.3f}\n", count - closed, (double)(now_us() - begun) / 1e6);
  char line[128];
  unsigned long long expected;
  double quiet_s;
  while (fgets(line, sizeof line, stdin))
    if (sscanf(line, "measure %llu %lf", &expected, &quiet_s) == 2) measure(expected, quiet_s);
  return 0;
}
