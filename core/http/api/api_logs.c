/* api_logs.c - what the attempts of a job wrote: a file for each (STATE/jobs/ID/logs/FENCE.log), read while it grows. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"

enum { BLOCK = 64 * 1024 };
static const int64_t LOOK_US = 200 * 1000, OVER_US = 1000 * 1000;

static char *log_path(struct service *service, const char *job, uint64_t fence) {
  return mem_format("%s/jobs/%s/logs/%" PRIu64 ".log", service->state_folder, job, fence);
}

static struct value *log_value(struct service *service, const char *job, const struct attempt_record *attempt) {
  mem_auto char *path = log_path(service, job, attempt->fence);
  mem_auto char *href = mem_format("/api/v1/jobs/%s/logs/%" PRIu64, job, attempt->fence);
  struct value *v = value_map();
  struct stat st;
  value_set_int(v, "fence", (int64_t)attempt->fence);
  value_set_text(v, "stages", attempt->stages);
  value_set_int(v, "bytes", stat(path, &st) == 0 ? st.st_size : 0);
  value_set_bool(v, "live", attempt->state == ATTEMPT_LIVE);
  value_set_text(v, "href", href);
  return v;
}

static void logs_list(struct exchange *x) {
  struct job_record job = {0};
  struct attempt_list attempts = {0};
  struct error e = {0};
  if (!api_job_seen(x, &job)) return;
  value_auto struct value *v = value_map();
  struct value *list = value_list();
  value_map_set(v, "logs", list);
  if (store_attempts(api_service(x)->store, job.id, &attempts, &e)) {
    http_error(x, &e);
  } else {
    for (size_t i = 0; i < attempts.count; i++)
      value_list_add(list, log_value(api_service(x), job.id, &attempts.items[i]));
    http_json(x, 200, v);
  }
  attempt_list_clear(&attempts);
  job_record_clear(&job);
}

/* ---- one log --------------------------------------------------------------------------------------------------------------- */

enum attempt_is { ATTEMPT_IS_NONE = 1, ATTEMPT_IS_LIVE, ATTEMPT_IS_OVER };

static enum attempt_is attempt_state(struct service *service, const char *job, uint64_t fence) {
  struct attempt_list attempts = {0};
  enum attempt_is is = ATTEMPT_IS_NONE;
  if (store_attempts(service->store, job, &attempts, NULL)) return is;
  for (size_t i = 0; i < attempts.count; i++)
    if (attempts.items[i].fence == fence)
      is = attempts.items[i].state == ATTEMPT_LIVE ? ATTEMPT_IS_LIVE : ATTEMPT_IS_OVER;
  attempt_list_clear(&attempts);
  return is;
}

struct tail {
  struct exchange *x;
  struct service *service;
  const char *job, *path;
  uint64_t fence;
  int fd;
  int64_t at;
  bool follow;
};

/* What is there now. False: the peer is gone. */
static bool tail_send(struct tail *t) {
  mem_auto char *block = mem_alloc(BLOCK);
  if (t->fd < 0) t->fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  for (;;) {
    ssize_t n = t->fd < 0 ? 0 : pread(t->fd, block, BLOCK, t->at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return true;
    if (!http_write(t->x, block, (size_t)n)) return false;
    t->at += n;
  }
}

/* Asked for its state before the last look at the file: what was written until then is sent. */
static void tail_run(struct tail *t) {
  int64_t asked_us = 0;
  bool live = true;
  while (tail_send(t) && t->follow && live && http_is_alive(t->x)) {
    struct timespec pause = {0, LOOK_US * 1000};
    nanosleep(&pause, NULL);
    int64_t now_us = clock_boot(&clock_system);
    if (now_us - asked_us < OVER_US) continue;
    asked_us = now_us;
    live = attempt_state(t->service, t->job, t->fence) == ATTEMPT_IS_LIVE;
  }
  if (!live) tail_send(t);
}

static bool fence_read(const char *text, uint64_t *fence) {
  char *end;
  errno = 0;
  *fence = strtoull(text, &end, 10);
  return *text >= '0' && *text <= '9' && !*end && !errno;
}

static void log_send(struct exchange *x, const struct job_record *job, int64_t from, bool follow) {
  struct tail tail = {.x = x, .service = api_service(x), .job = job->id, .fd = -1, .at = from};
  bool good = fence_read(http_param(x, "fence"), &tail.fence);
  enum attempt_is is = good ? attempt_state(tail.service, job->id, tail.fence) : ATTEMPT_IS_NONE;
  if (is == ATTEMPT_IS_NONE) {
    http_problem(x, 404, "not-found", "job %s has no attempt %.40s: GET /api/v1/jobs/%s/logs lists them", job->id,
                 http_param(x, "fence"), job->id);
    return;
  }
  mem_auto char *path = log_path(tail.service, job->id, tail.fence);
  tail.path = path;
  tail.follow = follow && is == ATTEMPT_IS_LIVE;
  if (tail.follow && !http_linger(x)) return;
  http_set_header(x, "X-Content-Type-Options", "nosniff");
  http_set_header(x, "Cache-Control", "no-store");
  http_begin(x, 200, "text/plain; charset=utf-8");
  if (strcmp(http_method(x), "HEAD") != 0) tail_run(&tail);
  http_end(x);
  if (tail.fd >= 0) close(tail.fd);
}

static void log_get(struct exchange *x) {
  struct job_record job = {0};
  struct error e = {0};
  int64_t from;
  const char *follow = http_query(x, "follow");
  if (http_query_int(x, "from", 0, INT64_MAX, 0, &from, &e)) {
    http_error(x, &e);
    return;
  }
  if (!api_job_seen(x, &job)) return;
  log_send(x, &job, from, follow && strcmp(follow, "true") == 0);
  job_record_clear(&job);
}

static const struct route routes[] = {
    {"GET", "/api/v1/jobs/{id}/logs", SCOPE_READ, 0, logs_list, "listLogs"},
    {"GET", "/api/v1/jobs/{id}/logs/{fence}", SCOPE_READ, ROUTE_TICKET, log_get, "getLog"},
};
const struct api_table api_logs = API_TABLE(routes);
