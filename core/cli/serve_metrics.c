/* serve_metrics.c - /metrics: what the parts count by themselves, what the events tell, and gauges that are read when
 * asked. */
#include <pthread.h>
#include <string.h>

#include "base/metric.h"
#include "cli/serve.h"
#include "ws/ws.h"

static struct metric *ended, *queue_wait, *job_seconds, *stage_seconds, *stages, *retries, *events;
static struct metric *jobs, *attempts, *attempts_max, *line, *pipelines, *problems;
static struct metric *followers, *published, *delivered, *merged, *overrun, *build, *ready;
static struct metric *sockets, *handshakes;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make(void) {
  ended = metric_counter("stagemill_jobs_ended_total", "jobs that ended, by how", "pipeline,status");
  queue_wait = metric_histogram("stagemill_queue_wait_seconds", "from submission to the start", "pipeline", NULL, 0);
  job_seconds = metric_histogram("stagemill_job_seconds", "from the start to completion", "pipeline", NULL, 0);
  stage_seconds = metric_histogram("stagemill_stage_seconds", "stages that finished, from their first attempt",
                                   "pipeline,stage", NULL, 0);
  stages = metric_counter("stagemill_stage_attempts_total", "attempts of stages, by what came of them",
                          "pipeline,stage,outcome");
  retries = metric_counter("stagemill_retries_total", "attempts that are made again, by the error of the last",
                           "pipeline,code");
  events = metric_counter("stagemill_events_total", "events told, by type", "type");
  jobs = metric_gauge("stagemill_jobs", "jobs in the store, by status", "status");
  attempts = metric_gauge("stagemill_attempts", "attempts that are alive", NULL);
  attempts_max = metric_gauge("stagemill_attempts_max", "attempts that may be alive at once", NULL);
  line = metric_gauge("stagemill_queue_length", "jobs in line", NULL);
  pipelines = metric_gauge("stagemill_pipelines", "pipelines that can be submitted", NULL);
  problems = metric_gauge("stagemill_pipeline_problems", "errors in files of pipelines", NULL);
  followers = metric_gauge("stagemill_followers", "mailboxes of followers, of sockets and of others", NULL);
  published = metric_counter("stagemill_hub_published_total", "events given to the fan-out", NULL);
  delivered = metric_counter("stagemill_hub_delivered_total", "messages taken out of mailboxes", NULL);
  merged = metric_counter("stagemill_hub_merged_total", "progress replaced by newer before it was taken", NULL);
  overrun = metric_counter("stagemill_hub_overrun_total", "followers that were too slow", NULL);
  build = metric_gauge("stagemill_build_info", "1, with the version", "version");
  ready = metric_gauge("stagemill_ready", "1 while new work is taken", NULL);
  sockets = metric_gauge("stagemill_sockets", "WebSockets that are open", NULL);
  handshakes = metric_counter("stagemill_sockets_total", "WebSockets, by what became of them", "outcome");
}

/* ---- from events, on the loop's thread --------------------------------------------------------------------------- */

static double seconds_between(const struct value *event, const char *from, const char *to) {
  int64_t begin_us = 0, end_us = 0;
  const char *first = value_get_text(event, from, ""), *last = value_get_text(event, to, "");
  if (!clock_parse(first, &begin_us) || !clock_parse(last, &end_us) || end_us < begin_us) return -1;
  return (double)(end_us - begin_us) / 1e6;
}

static double duration_seconds(const struct value *event) {
  int64_t ms = value_get_int(event, "durationMs", -1);
  return ms < 0 ? -1 : (double)ms / 1e3;
}

static void heard_stage(const struct news *news, const char *pipeline) {
  const char *stage = value_get_text(news->event, "stage", "?"), *status = value_get_text(news->event, "status", "?");
  double took = duration_seconds(news->event);
  if (!strcmp(status, "finished") && took >= 0) metric_observe(stage_seconds, took, pipeline, stage);
  if (strcmp(status, "started")) metric_add(stages, 1, pipeline, stage, status);
}

static void heard_retry(const struct news *news, const char *pipeline) {
  const struct value *error = value_get(news->event, "error");
  metric_add(retries, 1, pipeline, value_get_text(error, "code", "?"));
  metric_add(stages, 1, pipeline, value_get_text(error, "stage", value_get_text(news->event, "stage", "?")), "retried");
}

void serve_metrics_hear(const struct news *news) {
  const char *pipeline = news->pipeline ? news->pipeline : "?", *type = news->type;
  pthread_once(&made, make);
  metric_add(events, 1, type);
  if (!news->job || !news->stored) return;
  if (!strcmp(type, "stage")) heard_stage(news, pipeline);
  if (!strcmp(type, "retrying")) heard_retry(news, pipeline);
  if (!strcmp(type, "started")) {
    double waited = seconds_between(news->event, "queuedAt", "startedAt");
    if (waited >= 0) metric_observe(queue_wait, waited, pipeline);
  }
  if (news->terminal) metric_add(ended, 1, pipeline, type);
  if (news->terminal && !strcmp(type, "completed") && duration_seconds(news->event) >= 0)
    metric_observe(job_seconds, duration_seconds(news->event), pipeline);
}

/* ---- when asked -------------------------------------------------------------------------------------------------- */

static void refresh_jobs(struct serve *serve) {
  struct store_counts counts;
  if (store_counts(serve->service.store, &counts, NULL)) return;
  for (int status = JOB_QUEUED; status <= JOB_CANCELLED; status++)
    metric_set(jobs, (double)counts.by_status[status], job_status_word((enum job_status)status));
}

static void refresh_hub(struct serve *serve) {
  struct hub_statistics hub;
  hub_statistics(serve->service.hub, &hub);
  metric_set(followers, (double)hub.followers);
  metric_set(published, (double)hub.published);
  metric_set(delivered, (double)hub.delivered);
  metric_set(merged, (double)hub.merged);
  metric_set(overrun, (double)hub.overrun);
}

static void refresh_sockets(struct serve *serve) {
  struct ws_statistics ws;
  ws_statistics(serve->sockets, &ws);
  metric_set(sockets, (double)ws.sockets);
  metric_set(handshakes, (double)ws.accepted, "accepted");
  metric_set(handshakes, (double)ws.refused, "refused");
  metric_set(handshakes, (double)ws.evicted, "evicted");
}

static void refresh_shelf(struct serve *serve) {
  const struct shelf_set *set = shelf_hold(serve->service.shelf);
  size_t usable = 0;
  for (size_t i = 0; i < shelf_count(set); i++) usable += shelf_at(set, i)->pipeline != NULL;
  metric_set(pipelines, (double)usable);
  metric_set(problems, (double)shelf_problems(set));
  shelf_release(serve->service.shelf, &set);
}

/* The engine belongs to the loop. */
static void ask_engine(void *context, struct ask *ask) {
  struct serve *serve = context;
  struct engine_status status;
  engine_status(serve->service.engine, &status);
  metric_set(attempts, status.attempts);
  metric_set(attempts_max, status.max_attempts);
  metric_set(line, (double)status.waiting);
  service_answer(ask, NULL, NULL);
}

/* Open to this machine unless the request came through somebody, for others with the scope `read`. */
static bool may_read(struct exchange *x) {
  const struct principal *who = http_principal(x);
  if (who) return who->scopes & (SCOPE_READ | SCOPE_ADMIN);
  bool through = http_header(x, "X-Forwarded-For") || http_header(x, "Forwarded") || http_header(x, "X-Real-IP");
  return !through && !strncmp(http_peer(x), "127.", 4);
}

static void metrics(struct exchange *x) {
  struct serve *serve = http_context(x);
  if (!may_read(x)) {
    http_set_header(x, "WWW-Authenticate", "Bearer");
    http_problem(x, 401, "unauthorized", "metrics are for this machine, or for a token with the scope `read`");
    return;
  }
  buf_auto struct buf out = {0};
  pthread_once(&made, make);
  metric_set(build, 1, STAGEMILL_VERSION);
  metric_set(ready, atomic_load(&serve->draining) ? 0 : 1);
  refresh_jobs(serve);
  refresh_hub(serve);
  refresh_sockets(serve);
  refresh_shelf(serve);
  service_ask(&serve->service, ask_engine, serve, NULL, NULL); /* while it stops: the last values */
  metric_refresh_process();
  metric_render(&out);
  http_text(x, 200, METRIC_CONTENT_TYPE, buf_string(&out), out.size);
}

static const struct route routes[] = {{"GET", "/metrics", 0, ROUTE_OPEN, metrics, "getMetrics"}};

void serve_metrics_routes(struct http_server *server) { http_server_routes(server, routes, 1); }
