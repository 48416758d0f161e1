/* measure.c - what HTTP counts for Prometheus. Routes are named by their patterns, so their number is bounded. */
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/metric.h"
#include "http/parts.h"

static struct metric *requests, *seconds, *connections, *waiting, *cuts;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make(void) {
  requests =
      metric_counter("stagemill_http_requests_total", "requests answered, by method and status", "method,status");
  seconds = metric_histogram("stagemill_http_request_seconds",
                             "from a request's head to the end of its answer, by route", "route", NULL, 0);
  connections = metric_gauge("stagemill_http_connections", "connections that have a thread", NULL);
  waiting = metric_gauge("stagemill_http_lingering", "requests that wait for something to happen", NULL);
  cuts = metric_counter("stagemill_http_cut_total",
                        "connections closed because they only occupied a thread, by what they did", "state");
}

void measure_request(const struct exchange *x, bool lingered) {
  char status[16];
  pthread_once(&made, make);
  snprintf(status, sizeof(status), "%d", x->status);
  metric_add(requests, 1, x->info->request_method, status);
  if (!lingered) /* how long somebody followed says nothing about speed */
    metric_observe(seconds, (double)(clock_boot(&clock_system) - x->begun_us) / 1e6,
                   x->route ? x->route->path : "none");
}

void measure_watch(size_t used, size_t lingering) {
  pthread_once(&made, make);
  metric_set(connections, (double)used);
  metric_set(waiting, (double)lingering);
}

void measure_cut(const char *state) {
  pthread_once(&made, make);
  metric_add(cuts, 1, state);
}
