#include "scene.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

const char *const two_stages[2] = {"one", "two"};
static const int64_t BEGINNING_US = 1769860800000000; /* 2026-01-31T12:00:00Z */

static void open_store(struct scene *s) {
  struct error e = {0};
  struct store_options options = {.folder = s->folder, .clock = &s->clock.clock};
  if (opener_open(&s->store, &options, &e)) fail_msg("%s", e.message);
}

int scene_begin(void **state) {
  struct scene *s = mem_alloc(sizeof(*s));
  snprintf(s->folder, sizeof(s->folder), "/tmp/stagemill-store-XXXXXX");
  if (!mkdtemp(s->folder)) return -1;
  clock_fake_init(&s->clock, 0, BEGINNING_US);
  open_store(s);
  *state = s;
  return 0;
}

static void print_line(void *context, const char *line) {
  (void)context;
  print_error("store: %s\n", line);
}

int scene_end(void **state) {
  struct scene *s = *state;
  struct error e = {0};
  int wrong = s->store ? store_check(s->store, print_line, NULL, &e) : 0;
  if (wrong) print_error("%s\n", e.message);
  store_close(&s->store);
  int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fs_remove_tree(tmp, s->folder + 5, NULL);
  close(tmp);
  free(s);
  return wrong;
}

void scene_reopen(struct scene *s) {
  store_close(&s->store);
  open_store(s);
}

void answer_keep(void *context, const struct commit *c) {
  struct answer *a = context;
  a->calls++;
  a->status = c->status;
  snprintf(a->message, sizeof(a->message), "%s", c->error.message);
  snprintf(a->job, sizeof(a->job), "%s", c->job ? c->job : "");
  a->existed = c->existed;
  a->fence = c->fence;
  a->first_seq = c->first_seq;
  a->last_seq = c->last_seq;
  a->last_cursor = c->last_cursor;
}

static struct answer flushed(struct scene *s, struct answer *a) {
  store_flush(s->store, NULL);
  assert_int_equal(a->calls, 1);
  return *a;
}

struct answer submit_job(struct scene *s, const struct job_record *job) {
  struct answer a = {0};
  struct event_draft queued = {"queued", "{\"status\":\"queued\"}"};
  store_submit(s->store, job, two_stages, 2, &queued, 1, answer_keep, &a);
  return flushed(s, &a);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
struct answer submit(struct scene *s, const char *identity) {
  struct job_record job = {.identity = (char *)identity,
                           .pipeline = (char *)"vod",
                           .spec_json = (char *)"{\"a\":1}",
                           .priority = 50,
                           .attempt = 1,
                           .max_attempts = 4};
  return submit_job(s, &job);
}

struct answer change(struct scene *s, const struct change *c) {
  struct answer a = {0};
  store_change(s->store, c, answer_keep, &a);
  return flushed(s, &a);
}

struct answer begin(struct scene *s, const char *job, const char *stage) {
  struct answer a = {0};
  struct stage_record row = {.stage = (char *)stage, .status = STAGE_RUNNING, .attempts = 1, .tries = 1};
  struct attempt_record attempt = {.state = ATTEMPT_LIVE, .node = (char *)"n", .boot_id = (char *)"b", .generation = 1};
  struct event_draft started = {"stage", "{\"state\":\"started\"}"};
  struct change c = {
      .job = job, .stages = &row, .stage_count = 1, .attempt = &attempt, .events = &started, .event_count = 1};
  store_begin_attempt(s->store, &c, answer_keep, &a);
  return flushed(s, &a);
}

struct answer set_status(struct scene *s, const char *job, enum job_status status) {
  struct job_record values = {.status = status, .ended_us = s->clock.wall_us};
  struct event_draft said = {job_status_word(status), NULL};
  uint32_t fields = JOB_SET_STATUS | (job_status_is_terminal(status) ? JOB_SET_ENDED : 0u);
  struct change c = {.job = job, .job_fields = fields, .job_values = &values, .events = &said, .event_count = 1};
  return change(s, &c);
}

struct answer finish(struct scene *s, const char *job, const char *stage, uint64_t fence, enum stage_status status) {
  struct stage_record row = {.stage = (char *)stage, .status = status, .attempts = 1, .tries = 1, .fence = fence};
  struct attempt_record attempt = {.state = ATTEMPT_OVER, .node = (char *)"n", .outcome = (char *)"ok"};
  struct event_draft said = {"stage", "{\"state\":\"finished\"}"};
  struct change c = {.job = job,
                     .fence = fence,
                     .stages = &row,
                     .stage_count = 1,
                     .attempt = &attempt,
                     .events = &said,
                     .event_count = 1};
  return change(s, &c);
}
#pragma GCC diagnostic pop

struct answer cancel(struct scene *s, const char *job) {
  struct answer a = {0};
  struct event_draft said = {"cancelling", NULL};
  store_request_cancel(s->store, job, &said, 1, answer_keep, &a);
  return flushed(s, &a);
}

struct answer reopen(struct scene *s, const char *job, const char *keep) {
  struct answer a = {0};
  struct event_draft said = {"queued", NULL};
  store_reopen(s->store, job, &keep, keep ? 1 : 0, &said, 1, answer_keep, &a);
  return flushed(s, &a);
}

struct answer delete (struct scene *s, const char *job) {
  struct answer a = {0};
  store_delete(s->store, job, answer_keep, &a);
  return flushed(s, &a);
}

struct stage_record stage_now(struct scene *s, const char *job, const char *stage) {
  struct stage_list stages;
  struct stage_record found = {0};
  assert_int_equal(store_stages(s->store, job, &stages, NULL), ERR_OK);
  for (size_t i = 0; i < stages.count; i++)
    if (strcmp(stages.items[i].stage, stage) == 0) stage_record_copy(&found, &stages.items[i]);
  stage_list_clear(&stages);
  assert_non_null(found.stage);
  return found;
}

struct job_record job_now(struct scene *s, const char *id) {
  struct job_record job;
  struct error e = {0};
  if (store_job(s->store, id, &job, &e)) fail_msg("%s", e.message);
  return job;
}

uint64_t event_count(struct scene *s, const char *job) {
  uint64_t seen = 0;
  for (;;) {
    struct event_list events;
    assert_int_equal(store_events(s->store, job, seen, 7, &events, NULL), ERR_OK);
    size_t count = events.count;
    for (size_t i = 0; i < count; i++) assert_int_equal(events.items[i].seq, ++seen);
    event_list_clear(&events);
    if (count == 0) return seen;
  }
}
