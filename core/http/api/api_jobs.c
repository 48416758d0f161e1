/* api_jobs.c - list, detail, delete. Submitting is api_submit.c, steering api_steer.c. */
#include <string.h>

#include "api/parts.h"
#include "base/mem.h"

/* Of so many jobs of a page is told what stands before them: the engine's thread works it out. */
enum { WAITING_MAX = 200 };

struct listing {
  struct exchange *x;
  struct value *jobs;
  struct job_record waiting[WAITING_MAX]; /* those that wait for their turn */
  struct value *rows[WAITING_MAX];        /* theirs */
  size_t count;
};

static bool listing_add(void *context, const struct job_record *job) {
  struct listing *listing = context;
  struct value *row = api_job_value(listing->x, job);
  value_list_add(listing->jobs, row);
  if (job->status != JOB_QUEUED || listing->count == WAITING_MAX) return true;
  job_record_copy(&listing->waiting[listing->count], job);
  listing->rows[listing->count++] = row;
  return true;
}

static void listing_begin(void *context, struct ask *ask) {
  static const char *const keys[] = {"waitReason", "queuePosition"};
  struct listing *listing = context;
  struct engine *engine = api_service(listing->x)->engine;
  for (size_t i = 0; i < listing->count; i++) {
    value_auto struct value *now = engine_describe_record(engine, &listing->waiting[i]);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
      if (value_get(now, keys[k])) value_map_set(listing->rows[i], keys[k], value_copy(value_get(now, keys[k])));
  }
  service_answer(ask, NULL, NULL);
}

/* The list is good without it. */
static void listing_positions(struct listing *listing) {
  if (listing->count) service_ask(api_service(listing->x), listing_begin, listing, NULL, NULL);
  for (size_t i = 0; i < listing->count; i++) job_record_clear(&listing->waiting[i]);
}

static void jobs_list(struct exchange *x) {
  struct job_query query;
  struct error e = {0};
  size_t limit;
  if (!api_limit(x, &limit) || !job_query_parse(x, NULL, &query)) return;
  mem_auto struct listing *listing = mem_alloc(sizeof *listing);
  listing->x = x;
  listing->jobs = value_list();
  value_auto struct value *v = value_map();
  value_map_set(v, "jobs", listing->jobs);
  enum err err = job_query_run(api_service(x)->store, &query, limit, false, listing_add, listing, &e);
  listing_positions(listing);
  if (err) {
    http_error(x, &e);
  } else {
    mem_auto char *next = query.done ? NULL : api_cursor_make(query.before);
    value_set_text(v, "next", next);
    http_json(x, 200, v);
  }
  job_query_clear(&query);
}

static void job_get(struct exchange *x) {
  struct job_record job = {0};
  struct error e = {0};
  if (!api_job_seen(x, &job)) return;
  value_auto struct value *v = api_job_detail(x, &job, &e);
  job_record_clear(&job);
  if (v)
    http_json(x, 200, v);
  else
    http_error(x, &e);
}

struct deletion {
  struct service *service;
  const char *id;
};

static void delete_begin(void *context, struct ask *ask) {
  struct deletion *d = context;
  engine_delete(d->service->engine, d->id, d->service->outputs_folder, service_answer_done, ask);
}

static void job_delete(struct exchange *x) {
  struct job_record job = {0};
  if (!api_job_changed(x, &job)) return;
  struct deletion deletion = {api_service(x), job.id};
  if (!job_status_is_terminal(job.status))
    http_problem(x, 409, "conflict", "job %s is %s: cancel it before it is deleted", job.id, job_status_word(job.status));
  else if (api_ask(x, delete_begin, &deletion, NULL))
    http_empty(x, 204);
  job_record_clear(&job);
}

static const struct route routes[] = {
    {"GET", "/api/v1/jobs", SCOPE_READ, 0, jobs_list, "listJobs"},
    {"GET", "/api/v1/jobs/{id}", SCOPE_READ | SCOPE_FOLLOW, 0, job_get, "getJob"},
    {"DELETE", "/api/v1/jobs/{id}", SCOPE_SUBMIT, 0, job_delete, "deleteJob"},
};
const struct api_table api_jobs = API_TABLE(routes);
