/* serve_health.c - what the daemon says about itself: alive, ready. Open to everybody, so they tell no secrets. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/serve.h"

static const int64_t PROBE_EVERY_US = 2 * 1000000;
static pthread_mutex_t probe_lock = PTHREAD_MUTEX_INITIALIZER; /* guards probe and probed_us of struct serve */

static void healthz(struct exchange *x) {
  value_auto struct value *body = value_map();
  value_set_text(body, "status", "ok");
  http_json(x, 200, body);
}

/* A file that is written and removed: what the store would run into. */
static enum err probe_state(const char *folder, struct error *e) {
  mem_auto char *path = mem_format("%s/.ready", folder);
  enum err err = fs_write_durably(path, "ok\n", 3, 0600, e);
  if (!err) unlink(path);
  return err;
}

static enum err probe(struct serve *serve, struct error *e) {
  pthread_mutex_lock(&probe_lock);
  int64_t now_us = clock_boot(&clock_system);
  if (!serve->probed_us || now_us - serve->probed_us > PROBE_EVERY_US) {
    serve->probe = (struct error){0};
    probe_state(serve->state_folder, &serve->probe);
    serve->probed_us = now_us;
  }
  *e = serve->probe;
  pthread_mutex_unlock(&probe_lock);
  return e->code;
}

static void readyz(struct exchange *x) {
  struct serve *serve = http_context(x);
  struct error e = {0};
  if (atomic_load(&serve->draining))
    http_problem(x, 503, "stopping", "the daemon is stopping");
  else if (access(serve->site.paths.runner, X_OK))
    http_problem(x, 503, "no-runner", "there is no runner: install stagemill-runner");
  else if (probe(serve, &e))
    http_problem(x, 503, err_word(e.code), "the state folder cannot be written to");
  else
    healthz(x);
}

static const struct route routes[] = {
    {"GET", "/healthz", 0, ROUTE_OPEN, healthz, "getHealth"},
    {"GET", "/readyz", 0, ROUTE_OPEN, readyz, "getReadiness"},
};

void serve_health_routes(struct http_server *server) {
  http_server_routes(server, routes, sizeof routes / sizeof *routes);
}
