/* api_queue.c - the queue as a whole: how full it is, and holding it. */
#include <string.h>
#include <unistd.h>

#include "api/pause.h"
#include "base/clock.h"
#include "base/mem.h"

/* ---- pauses --------------------------------------------------------------------------------------------------------------- */

void pause_set(struct service *service, const char *what, struct value *v) {
  struct side_record record = {0};
  bool paused = !store_side_get(service->store, SIDE_PAUSE, what, &record, NULL);
  if (paused && record.due_us && record.due_us <= clock_wall(&clock_system)) paused = false;
  value_set_bool(v, "paused", paused);
  api_set_time(v, "pausedUntil", paused ? record.due_us : 0);
  side_record_clear(&record);
}

struct pausing {
  struct engine *engine;
  const char *what, *by;
  int64_t until_us;
};

static void pausing_begin(void *context, struct ask *ask) {
  struct pausing *p = context;
  engine_pause(p->engine, p->what, p->until_us, p->by, service_answer_done, ask);
}

static void resuming_begin(void *context, struct ask *ask) {
  struct pausing *p = context;
  engine_unpause(p->engine, p->what, service_answer_done, ask);
}

static void pause_answer(struct exchange *x, const char *what) {
  value_auto struct value *v = value_map();
  pause_set(api_service(x), what, v);
  http_json(x, 200, v);
}

void pause_begin(struct exchange *x, const char *what) {
  static const char *const valid[] = {"until", NULL};
  struct pausing p = {api_service(x)->engine, what, api_subject(x), 0};
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, valid) || !api_until(x, body, &p.until_us)) return;
  if (api_ask(x, pausing_begin, &p, NULL)) pause_answer(x, what);
}

void pause_end(struct exchange *x, const char *what) {
  static const char *const none[] = {NULL};
  struct pausing p = {api_service(x)->engine, what, api_subject(x), 0};
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, none)) return;
  if (api_ask(x, resuming_begin, &p, NULL)) pause_answer(x, what);
}

/* ---- the queue -------------------------------------------------------------------------------------------------------------- */

static int64_t attempts_max(struct service *service) {
  const struct settings *settings = settings_hold(service->settings);
  int64_t most = settings->limits.attempts;
  settings_release(service->settings, &settings);
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return most ? most : cores > 0 ? cores : 1;
}

static void queue_get(struct exchange *x) {
  struct service *service = api_service(x);
  struct store_counts counts = {0};
  struct attempt_list attempts = {0};
  struct error e = {0};
  if (store_counts(service->store, &counts, &e) || store_live_attempts(service->store, NULL, &attempts, &e)) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *v = value_map();
  pause_set(service, "queue", v);
  value_set_int(v, "waiting", (int64_t)counts.by_status[JOB_QUEUED]);
  value_set_int(v, "running", (int64_t)counts.by_status[JOB_PROCESSING]);
  value_set_int(v, "attempts", (int64_t)attempts.count);
  value_set_int(v, "maxAttempts", attempts_max(service));
  attempt_list_clear(&attempts);
  http_json(x, 200, v);
}

static void queue_pause(struct exchange *x) { pause_begin(x, "queue"); }
static void queue_resume(struct exchange *x) { pause_end(x, "queue"); }

static const struct route routes[] = {
    {"GET", "/api/v1/queue", SCOPE_READ, 0, queue_get, "getQueue"},
    {"POST", "/api/v1/queue/pause", SCOPE_ADMIN, 0, queue_pause, "pauseQueue"},
    {"POST", "/api/v1/queue/resume", SCOPE_ADMIN, 0, queue_resume, "resumeQueue"},
};
const struct api_table api_queue = API_TABLE(routes);
