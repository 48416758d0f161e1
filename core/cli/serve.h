/* serve.h - the daemon, put together. cmd_serve.c reads the words, serve_open.c builds the parts in their order and
 * takes them down in the reverse one, serve_signal.c reloads and drains, serve_health.c and serve_metrics.c answer for
 * the daemon itself. All of it runs on the loop's thread, handlers of requests aside. */
#pragma once
#include <stdatomic.h>

#include "cli/site.h"
#include "engine/door.h"
#include "http/http.h"
#include "service/readiness.h"
#include "service/service.h"
#include "service/shelf.h"
#include "service/sweep.h"

struct ws_server;

struct serve {
  struct service service; /* what handlers get as context: first, so that it leads back here */
  struct site site;
  char *config_file;       /* NULL: none */
  struct value *overrides; /* from flags: settings.h */
  char *state_folder, *outputs_folder, *key_file;
  struct http_server *http;
  struct ws_server *sockets;
  struct door *door;
  struct listener *listener, *assets, *notices;
  struct notifier *notifier;
  struct sweep *sweep;
  int signal_fd;
  struct loop_watch *signals;
  struct loop_timer *watchdog, *care;
  char status[128];     /* what the service manager was told last */
  unsigned stops;       /* signals that asked for the end */
  atomic_bool draining; /* read by /readyz */
  int64_t probed_us;    /* /readyz: when the state folder was last written to, boot clock; under probe_lock */
  struct error probe;
  int code;
};

/* serve_open.c: an exit code, the complaint is made. */
int serve_settings(struct serve *serve, struct settings **settings);
int serve_open(struct serve *serve, struct settings *moved);
void serve_close(struct serve *serve);
/* What the listening address demands of keys: ERR_USAGE with the cure. */
enum err serve_address_allowed(const struct settings *settings, struct error *e);
/* Reads the pipelines; needs the site alone. */
enum err serve_shelf(struct serve *serve, const struct settings *settings, struct error *e);
/* What the HTTP server takes from settings: borrowed from both. */
struct http_options serve_http_options(struct serve *serve, const struct settings *settings);

/* serve_signal.c: before any thread is made, so that all of them inherit the mask. */
int serve_signals(struct serve *serve);
void serve_watch(struct serve *serve); /* signals, watchdog, keys that change */

/* serve_health.c: /healthz, /readyz */
void serve_health_routes(struct http_server *server);

/* serve_metrics.c: /metrics */
void serve_metrics_routes(struct http_server *server);
void serve_metrics_hear(const struct news *news);
