#include "mill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

enum { PATIENCE_US = 20 * 1000 * 1000 };

static struct error last_answer;
static bool answered;

static void heard(void *context, const struct news *news) {
  struct mill *m = context;
  if (!news->stored) return;
  if (news->cursor <= m->last_cursor) m->out_of_order = true;
  m->last_cursor = news->cursor;
  buf_format(&m->told, "%s %s %s\n", news->job, news->type, value_get_text(news->event, "status", ""));
}

static void open_engine(struct mill *m) {
  struct error e = {0};
  if (loop_create(&m->b.loop, &clock_system, &e)) fail_msg("%s", e.message);
  struct engine_options options = {.state_folder = bench_path(&m->b, "state"), .loop = m->b.loop,
                                   .catalogue = m->catalogue, .max_attempts = m->places,
                                   .crew = {.runner_path = RUNNER, .attempt_uid = -1, .attempt_gid = -1}};
  if (engine_create(&m->b.engine, &options, &e)) fail_msg("%s", e.message);
  m->listener = engine_listen(m->b.engine, heard, m);
}

void mill_open(struct mill *m, unsigned places) {
  struct error e = {0};
  const char *folders[] = {TEST_PLUGINS, HOLD_PLUGIN};
  memset(m, 0, sizeof *m);
  m->places = places;
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR, false);
  snprintf(m->b.folder, sizeof m->b.folder, "/tmp/stagemill-engine-XXXXXX");
  assert_non_null(mkdtemp(m->b.folder));
  struct catalogue_options catalogue = {.runner_path = RUNNER, .folders = folders, .folder_count = 2,
                                        .cache_path = CACHE};
  if (catalogue_open(&m->catalogue, &catalogue, &e)) fail_msg("%s", e.message);
  open_engine(m);
}

static void close_engine(struct mill *m) {
  if (m->b.engine) engine_unlisten(m->b.engine, &m->listener);
  engine_destroy(&m->b.engine);
  loop_destroy(&m->b.loop);
}

/* What a follower makes of the events, as the client library does. */
static enum job_status followed(const struct event_record *event, enum job_status before) {
  value_auto struct value *body = bench_json(event->body_json);
  const char *word = value_get_text(body, "status", "");
  enum job_status status;
  if (!strcmp(event->type, "stage")) return !strcmp(word, "started") ? JOB_PROCESSING : before;
  if (!strcmp(event->type, "started")) return JOB_PROCESSING;
  if (!strcmp(event->type, "state") && job_status_from_word(word, &status)) return status;
  return job_status_from_word(event->type, &status) ? status : before;
}

static void check_status(struct mill *m, const struct job_record *job) {
  struct event_list events = {0};
  enum job_status status = 0;
  assert_int_equal(store_events(m->b.engine->store, job->id, 0, 1000, &events, NULL), ERR_OK);
  for (size_t i = 0; i < events.count; i++) status = followed(&events.items[i], status);
  if (status != job->status) fail_msg("job is %s, its events say %s", job_status_word(job->status), job_status_word(status));
  event_list_clear(&events);
}

void mill_check(struct mill *m) {
  struct job_filter filter = {.limit = 50};
  struct job_list jobs = {0};
  assert_false(m->out_of_order);
  assert_int_equal(store_jobs(m->b.engine->store, &filter, &jobs, NULL), ERR_OK);
  for (size_t i = 0; i < jobs.count; i++) check_status(m, &jobs.items[i]);
  job_list_clear(&jobs);
}

void mill_close(struct mill *m) {
  close_engine(m);
  catalogue_close(&m->catalogue);
  buf_free(&m->told);
  fs_remove_path(m->b.folder, NULL);
}

void mill_begin(struct mill *m) {
  struct error e;
  if (engine_serve(m->b.engine, &e)) fail_msg("%s", e.message);
}

void mill_restart(struct mill *m) {
  close_engine(m);
  open_engine(m);
  mill_begin(m);
}

/* ---- submitting ------------------------------------------------------------------------------------------------------- */

static char submitted_ids[4][STORE_ID_MAX];
static unsigned submitted_turn;
static struct error submitted_error;
static bool submitted;

static void on_submitted(void *context, const char *job, enum submit_outcome outcome, const struct error *e) {
  (void)context;
  (void)outcome;
  submitted = true;
  submitted_error = *e;
  if (job) snprintf(submitted_ids[submitted_turn % 4], STORE_ID_MAX, "%s", job);
}

static void submit(struct mill *m, const char *yaml, const struct submission *more) {
  struct report *report = report_new();
  struct pipeline *pipeline = NULL;
  struct error e = {0};
  static unsigned folder;
  if (pipeline_parse(yaml, strlen(yaml), "test.yaml", NULL, catalogue_stages(m->catalogue), report, &pipeline, &e))
    fail_msg("%s: %s", e.message, report_errors(report) ? report_at(report, 0)->message : "");
  report_free(&report);
  struct submission s = more ? *more : (struct submission){.priority = -1};
  char below[32];
  snprintf(below, sizeof below, "out/%u", folder++);
  s.pipeline = pipeline;
  if (!s.output_folder) s.output_folder = bench_path(&m->b, below);
  submitted = false;
  submitted_turn++;
  if (engine_submit(m->b.engine, &s, on_submitted, m, &submitted_error)) submitted = true;
  pipeline_free(&pipeline); /* at once: a submission on its way needs nothing of its caller */
  for (int i = 0; i < 1000 && !submitted; i++) loop_turn(m->b.loop, 10 * 1000);
  assert_true(submitted);
}

const char *mill_submit(struct mill *m, const char *yaml, const struct submission *more) {
  submit(m, yaml, more);
  if (submitted_error.code) fail_msg("%s", submitted_error.message);
  return submitted_ids[submitted_turn % 4];
}

void mill_refused(struct mill *m, const char *yaml, const struct submission *more, struct error *e) {
  submit(m, yaml, more);
  *e = submitted_error;
  assert_int_not_equal(e->code, ERR_OK);
}

/* ---- waiting and asking ---------------------------------------------------------------------------------------------- */

static void turn_once(struct mill *m) {
  struct engine_status status;
  loop_turn(m->b.loop, 20 * 1000);
  engine_status(m->b.engine, &status);
  if (status.loaded > m->loaded_most) m->loaded_most = status.loaded;
}

void mill_turn(struct mill *m, int64_t us) {
  int64_t end = clock_boot(&clock_system) + us;
  while (clock_boot(&clock_system) < end) turn_once(m);
}

enum job_status mill_status(struct mill *m, const char *job) {
  struct job_record record = {0};
  struct error e;
  if (store_job(m->b.engine->store, job, &record, &e)) return 0;
  enum job_status status = record.status;
  job_record_clear(&record);
  return status;
}

char *mill_reason(struct mill *m, const char *job) {
  struct job_record record = {0};
  struct error e;
  if (store_job(m->b.engine->store, job, &record, &e)) fail_msg("%s", e.message);
  char *reason = mem_text(record.wait_reason ? record.wait_reason : "");
  job_record_clear(&record);
  return reason;
}

void mill_await(struct mill *m, const char *job, enum job_status status) {
  int64_t end = clock_boot(&clock_system) + PATIENCE_US;
  while (mill_status(m, job) != status && clock_boot(&clock_system) < end) turn_once(m);
  enum job_status now = mill_status(m, job);
  mem_auto char *reason = now == status ? NULL : mill_reason(m, job);
  if (now != status) fail_msg("job is %s (%s), not %s:\n%s", job_status_word(now), reason, job_status_word(status), buf_string(&m->told));
  mill_turn(m, 50 * 1000);
}

static bool stage_of(struct mill *m, const char *job, const char *stage, struct stage_record *record) {
  struct stage_list list = {0};
  bool found = false;
  if (store_stages(m->b.engine->store, job, &list, NULL)) return false;
  for (size_t i = 0; i < list.count && !found; i++) {
    if (strcmp(list.items[i].stage, stage) != 0) continue;
    stage_record_copy(record, &list.items[i]);
    found = true;
  }
  stage_list_clear(&list);
  return found;
}

void mill_await_stage(struct mill *m, const char *job, const char *stage, enum stage_status status) {
  int64_t end = clock_boot(&clock_system) + PATIENCE_US;
  for (;;) {
    struct stage_record record = {0};
    bool is = stage_of(m, job, stage, &record) && record.status == status;
    stage_record_clear(&record);
    if (is) return;
    if (clock_boot(&clock_system) > end) fail_msg("stage %s never was %s:\n%s", stage, stage_status_word(status), buf_string(&m->told));
    turn_once(m);
  }
}

unsigned mill_tries(struct mill *m, const char *job, const char *stage) {
  struct stage_record record = {0};
  assert_true(stage_of(m, job, stage, &record));
  unsigned tries = record.tries;
  stage_record_clear(&record);
  return tries;
}

struct value *mill_results(struct mill *m, const char *job, const char *stage) {
  struct stage_record record = {0};
  assert_true(stage_of(m, job, stage, &record));
  struct value *v = record.result_json ? bench_json(record.result_json) : value_map();
  stage_record_clear(&record);
  return v;
}

bool mill_heard(const struct mill *m, const char *job, const char *words) {
  char line[256];
  snprintf(line, sizeof line, "%s %s\n", job, words);
  return m->told.size && strstr(buf_string(&m->told), line) != NULL;
}

void mill_done(void *context, const struct error *e) {
  (void)context;
  last_answer = *e;
  answered = true;
}

enum err mill_answered(struct mill *m, struct error *e) {
  for (int i = 0; i < 1000 && !answered; i++) turn_once(m);
  assert_true(answered);
  answered = false;
  if (e) *e = last_answer;
  return last_answer.code;
}
