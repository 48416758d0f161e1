/* driver FOLDER - runs jobs of two no-op stages until it is killed, and prints every fact the store acknowledged:
 *
 *   S job              submitted              B job stage fence   attempt begun
 *   F job stage fence  stage finished         E job               job completed
 *
 * Begun anew, it does what an engine does: declares live attempts lost, goes on where each job stands, and submits the
 * last identities once more. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "store/store.h"

enum { JOBS_AT_ONCE = 12, SUBMITTED_AGAIN = 10 };

static char one[] = "one", two[] = "two";
static char *const stages[2] = {one, two};

struct driver {
  struct store *store;
  struct loop *loop;
  uint64_t next_identity;
  int running;
};

struct life {
  struct driver *driver;
  char job[STORE_ID_MAX];
  int stage; /* index of the one in hand */
  uint64_t fence;
};

static void go_on(struct life *l);

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
  char line[200];
  va_list args;
  va_start(args, format);
  int size = vsnprintf(line, sizeof(line), format, args);
  va_end(args);
  if (write(STDOUT_FILENO, line, (size_t)size) != size) _exit(2);
}

/* What must never be refused here; the harness takes the exit code for a failure. */
static void must(enum err status, const char *message) {
  if (status == ERR_OK) return;
  log_error("%s", message);
  exit(3);
}

static void completed(void *context, const struct commit *c) {
  struct life *l = context;
  must(c->status, c->error.message);
  say("E %s\n", l->job);
  l->driver->running--;
  free(l);
}

static void finished(void *context, const struct commit *c) {
  struct life *l = context;
  must(c->status, c->error.message);
  say("F %s %s %" PRIu64 "\n", l->job, stages[l->stage], l->fence);
  l->stage++;
  go_on(l);
}

static void begun(void *context, const struct commit *c) {
  struct life *l = context;
  must(c->status, c->error.message);
  l->fence = c->fence;
  say("B %s %s %" PRIu64 "\n", l->job, stages[l->stage], l->fence);
  char result[64], body[96];
  snprintf(result, sizeof(result), "{\"fence\":%" PRIu64 "}", l->fence);
  snprintf(body, sizeof(body), "{\"state\":\"finished\",\"stage\":\"%s\"}", stages[l->stage]);
  struct stage_record row = {.stage = stages[l->stage], .status = STAGE_FINISHED, .result_json = result};
  struct attempt_record over = {.state = ATTEMPT_OVER};
  struct event_draft said = {"stage", body};
  struct change change = {.job = l->job,
                          .fence = l->fence,
                          .stages = &row,
                          .stage_count = 1,
                          .attempt = &over,
                          .events = &said,
                          .event_count = 1};
  store_note_progress(l->driver->store, l->job, (uint32_t)(l->stage + 1) * 400000);
  store_change(l->driver->store, &change, finished, l);
}

static void end_job(struct life *l) {
  struct job_record values = {.status = JOB_COMPLETED, .ended_us = clock_wall(&clock_system)};
  struct event_draft said = {"completed", "{\"result\":null}"};
  struct change change = {.job = l->job,
                          .job_fields = JOB_SET_STATUS | JOB_SET_ENDED,
                          .job_values = &values,
                          .events = &said,
                          .event_count = 1};
  store_change(l->driver->store, &change, completed, l);
}

static void go_on(struct life *l) {
  if (l->stage == 2) {
    end_job(l);
    return;
  }
  struct stage_record row = {.stage = stages[l->stage], .status = STAGE_RUNNING};
  struct attempt_record attempt = {.state = ATTEMPT_LIVE};
  struct event_draft said = {"stage", "{\"state\":\"started\"}"};
  struct change change = {
      .job = l->job, .stages = &row, .stage_count = 1, .attempt = &attempt, .events = &said, .event_count = 1};
  store_begin_attempt(l->driver->store, &change, begun, l);
}

static void submitted(void *context, const struct commit *c) {
  struct life *l = context;
  must(c->status, c->error.message);
  snprintf(l->job, sizeof(l->job), "%s", c->job);
  say("S %s\n", l->job);
  if (!c->existed) {
    go_on(l);
    return;
  }
  l->driver->running--;
  free(l);
}

static struct life *life_new(struct driver *d) {
  struct life *l = mem_alloc(sizeof(*l));
  l->driver = d;
  d->running++;
  return l;
}

static void keep_busy(struct driver *d) {
  while (d->running < JOBS_AT_ONCE) {
    mem_auto char *identity = mem_format("job-%" PRIu64, d->next_identity++);
    struct job_record job = {.identity = identity};
    struct event_draft said = {"queued", "{}"};
    store_submit(d->store, &job, (const char *const *)stages, 2, &said, 1, submitted, life_new(d));
  }
}

/* ---- after a crash ---- */

static void declared_lost(void *context, const struct commit *c) {
  (void)context;
  must(c->status, c->error.message);
}

static void declare_lost(struct driver *d) {
  struct attempt_list live;
  struct error e = {0};
  char lost[] = "lost";
  must(store_live_attempts(d->store, NULL, &live, &e), e.message);
  for (size_t i = 0; i < live.count; i++) {
    struct attempt_record over = {.state = ATTEMPT_OVER, .outcome = lost};
    struct change change = {.job = live.items[i].job, .fence = live.items[i].fence, .attempt = &over};
    store_change(d->store, &change, declared_lost, NULL);
  }
  attempt_list_clear(&live);
  must(store_flush(d->store, &e), e.message);
}

static void take_up(struct driver *d, const char *job) {
  struct stage_list list;
  struct error e = {0};
  struct life *l = life_new(d);
  snprintf(l->job, sizeof(l->job), "%s", job);
  must(store_stages(d->store, job, &list, &e), e.message);
  while (l->stage < 2 && list.items[l->stage].status == STAGE_FINISHED) l->stage++;
  stage_list_clear(&list);
  go_on(l);
}

static void recover(struct driver *d) {
  struct job_list jobs;
  struct store_counts counts;
  struct error e = {0};
  declare_lost(d);
  must(store_open_jobs(d->store, &jobs, &e), e.message);
  for (size_t i = 0; i < jobs.count; i++) take_up(d, jobs.items[i].id);
  job_list_clear(&jobs);
  must(store_counts(d->store, &counts, &e), e.message);
  for (int i = 0; i < 16; i++) d->next_identity += counts.by_status[i];
  d->next_identity -= d->next_identity < SUBMITTED_AGAIN ? d->next_identity : SUBMITTED_AGAIN;
}

static void dispatch(void *context) {
  struct driver *d = context;
  store_dispatch(d->store);
  keep_busy(d);
}

static void wake(void *context) {
  struct driver *d = context;
  loop_post(d->loop, dispatch, d);
}

int main(int argc, char **argv) {
  struct driver d = {0};
  struct error e = {0};
  if (argc != 2) return 64;
  struct store_options options = {.folder = argv[1], .notify = wake, .context = &d};
  must(loop_create(&d.loop, &clock_system, &e), e.message);
  must(store_open(&d.store, &options, &e), e.message);
  recover(&d);
  keep_busy(&d);
  loop_run(d.loop);
  return 0;
}
