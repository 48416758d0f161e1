/* server.c - our server of followers alone, for the benchmark: hub, keys, HTTP and sockets as in the daemon, and
 * instead of the engine a publisher that is told what to publish.
 *
 *   stdout, first line: {"port": N, "path": "/ws?jobId=...&token=..."}
 *   stdin:              publish RATE SECONDS BYTES     messages a second, each of so many bytes, stamped with the time
 * they were due (microseconds of CLOCK_MONOTONIC), however late they are stdout:             {"published": N,
 * "late_us": L, "evicted": E}   L: how late the last one was */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "events/envelope.h"
#include "http/http.h"
#include "ws/ws.h"

static const char job[] = "01bench0000000000000000000";

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static enum err state_of(void *context, const char *id, const char *batch, struct value **state, struct matter *matter,
                         struct error *e) {
  (void)context, (void)batch;
  if (!id || strcmp(id, job) != 0) return error_set(e, ERR_NOT_FOUND, "there is no such job");
  value_auto struct value *fields = value_map();
  value_set_text(fields, "status", "processing");
  value_set_number(fields, "pct", 0);
  *state = event_unstored("state", job, 0, 0, fields);
  *matter = (struct matter){.owner = "bench", .job = job};
  return ERR_OK;
}

static void attach(void *sockets, struct mg_context *civetweb) { ws_server_attach(sockets, civetweb); }

/* One lifecycle event: stored ones are never merged, so that every follower gets each. */
static void publish_one(struct hub *hub, uint64_t seq, int64_t due_us, size_t bytes) {
  char text[32 * 1024];
  int size = snprintf(text, sizeof text, "{\"type\":\"stage\",\"jobId\":\"%s\",\"seq\":%llu,\"t\":%lld,\"pad\":\"", job,
                      (unsigned long long)seq, (long long)due_us);
  while ((size_t)size + 2 < bytes && (size_t)size + 3 < sizeof text) text[size++] = 'x';
  size += snprintf(text + size, sizeof text - (size_t)size, "\"}");
  struct news news = {.subject = job,
                      .job = job,
                      .owner = "bench",
                      .type = "stage",
                      .seq = seq,
                      .cursor = seq,
                      .stored = true,
                      .json = text,
                      .json_size = (size_t)size};
  hub_publish(hub, &news);
}

static void publish(struct hub *hub, struct ws_server *ws, double rate, double seconds, size_t bytes) {
  static uint64_t seq;
  uint64_t total = (uint64_t)(rate * seconds);
  int64_t begun_us = now_us() + 1000, due_us = begun_us;
  for (uint64_t i = 0; i < total; i++) {
    due_us = begun_us + (int64_t)((double)i * 1e6 / rate);
    int64_t early_us = due_us - now_us();
    if (early_us > 0)
      nanosleep(&(struct timespec){.tv_sec = early_us / 1000000, .tv_nsec = early_us % 1000000 * 1000}, NULL);
    publish_one(hub, ++seq, due_us, bytes);
  }
  struct ws_statistics s;
  ws_statistics(ws, &s);
  printf("{\"published\": %llu, \"late_us\": %lld, \"evicted\": %llu}\n", (unsigned long long)total,
         (long long)(now_us() - due_us), (unsigned long long)s.evicted);
}

struct bench {
  struct store *store;
  struct hub *hub;
  struct keyring *keyring;
  struct ws_server *ws;
  struct http_server *http;
};

static enum err bench_open(struct bench *b, const char *folder, struct error *e) {
  mem_auto char *key = mem_format("%s/key", folder);
  if (store_open(&b->store, &(struct store_options){.folder = folder}, e)) return e->code;
  if (hub_create(&b->hub, b->store, e)) return e->code;
  if (keyring_open(&b->keyring, &(struct keyring_options){.own_file = key}, e)) return e->code;
  struct ws_options ws = {.hub = b->hub, .store = b->store, .keyring = b->keyring, .state = state_of};
  if (ws_server_create(&b->ws, &ws, e)) return e->code;
  struct http_options http = {.listen = "127.0.0.1:0", .keyring = b->keyring, .attach = attach, .sockets = b->ws};
  if (http_server_create(&b->http, &http, e)) return e->code;
  return http_server_start(b->http, e);
}

static void bench_close(struct bench *b, const char *folder) {
  http_server_destroy(&b->http);
  ws_server_destroy(&b->ws);
  hub_destroy(&b->hub);
  keyring_close(&b->keyring);
  store_close(&b->store);
  fd_auto int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fs_remove_tree(tmp, folder + 5, NULL);
}

int main(void) {
  char folder[] = "/tmp/stagemill-bench-XXXXXX", line[128], subject[] = "bench";
  struct bench b = {0};
  struct error e = {0};
  mem_auto char *token = NULL;
  struct principal p = {
      .subject = subject, .scopes = SCOPE_READ, .expires_us = clock_wall(&clock_system) + 3600 * 1000000LL};
  log_open(2, LOG_LEVEL_WARNING, false);
  if (!mkdtemp(folder) || bench_open(&b, folder, &e) || keyring_mint(b.keyring, &p, &token, &e)) {
    fprintf(stderr, "%s\n", e.message);
    return 1;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("{\"port\": %u, \"path\": \"/ws?jobId=%s&token=%s\"}\n", http_server_port(b.http), job, token);
  while (fgets(line, sizeof line, stdin)) {
    double rate, seconds;
    size_t bytes;
    if (sscanf(line, "publish %lf %lf %zu", &rate, &seconds, &bytes) == 3) publish(b.hub, b.ws, rate, seconds, bytes);
  }
  bench_close(&b, folder);
  return 0;
}
