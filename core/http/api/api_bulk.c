/* api_bulk.c - one action for every job of a filter. The ids are collected first, then handed to the engine some at a time, so
 * that it serves everybody else in between. What cannot be done to one job is told of that one and stops no other. */
#include <string.h>

#include "api/parts.h"
#include "api/steer.h"
#include "base/mem.h"

enum { MATCHED_MAX = 100 * 1000, AT_ONCE = 100, FAILED_SHOWN = 1000 };

struct bulk {
  struct exchange *x;
  struct steer steer;
  bool dry_run;
  char (*ids)[STORE_ID_MAX];
  size_t count, done, failed;
  struct value *failures;
  bool cut; /* more match than one request takes */
};

/* ---- some at a time -------------------------------------------------------------------------------------------------------- */

struct batch_item {
  struct batch *batch;
  char id[STORE_ID_MAX];
};

/* Lives until the last of its jobs was heard of, whether or not anybody still waits for the answer. */
struct batch {
  struct ask *ask;
  struct value *answer; /* {done, failed: [{id, code, detail}]} */
  size_t pending, done;
  struct batch_item items[AT_ONCE];
};

static void batch_settle(struct batch *batch) {
  if (--batch->pending) return;
  value_set_int(batch->answer, "done", (int64_t)batch->done);
  service_answer(batch->ask, NULL, batch->answer);
  free(batch);
}

static void item_done(void *context, const struct error *e) {
  struct batch_item *item = context;
  if (!e || !e->code) {
    item->batch->done++;
  } else {
    struct value *failure = value_map();
    value_set_text(failure, "id", item->id);
    value_set_text(failure, "code", err_word(e->code));
    value_set_text(failure, "detail", e->message);
    value_list_add((struct value *)(uintptr_t)value_get(item->batch->answer, "failed"), failure);
  }
  batch_settle(item->batch);
}

struct batch_call {
  const struct bulk *bulk;
  size_t first, count;
};

static void batch_begin(void *context, struct ask *ask) {
  const struct batch_call *call = context;
  struct batch *batch = mem_alloc(sizeof *batch);
  batch->ask = ask;
  batch->answer = value_map();
  value_map_set(batch->answer, "failed", value_list());
  batch->pending = call->count + 1; /* one for this function: nothing ends before all were begun */
  for (size_t i = 0; i < call->count; i++) {
    struct batch_item *item = &batch->items[i];
    item->batch = batch;
    memcpy(item->id, call->bulk->ids[call->first + i], STORE_ID_MAX);
    steer_job(&call->bulk->steer, item->id, item_done, item);
  }
  batch_settle(batch);
}

static void bulk_heard(struct bulk *bulk, const struct value *answer) {
  const struct value *failed = value_get(answer, "failed");
  bulk->done += (size_t)value_get_int(answer, "done", 0);
  for (size_t i = 0; failed && i < failed->count; i++)
    if (bulk->failed++ < FAILED_SHOWN) value_list_add(bulk->failures, value_copy(failed->items[i]));
}

static enum err bulk_run(struct bulk *bulk, struct error *e) {
  for (size_t first = 0; first < bulk->count; first += AT_ONCE) {
    struct batch_call call = {bulk, first, bulk->count - first < AT_ONCE ? bulk->count - first : AT_ONCE};
    value_auto struct value *answer = NULL;
    if (service_ask(bulk->steer.service, batch_begin, &call, &answer, e)) return e->code;
    bulk_heard(bulk, answer);
  }
  return ERR_OK;
}

/* ---- the request ------------------------------------------------------------------------------------------------------------ */

static bool bulk_add(void *context, const struct job_record *job) {
  struct bulk *bulk = context;
  if (bulk->count == MATCHED_MAX) return bulk->cut = true, false;
  if (bulk->count % 1024 == 0) bulk->ids = mem_grow(bulk->ids, bulk->count + 1024, STORE_ID_MAX);
  strncpy(bulk->ids[bulk->count], job->id, STORE_ID_MAX - 1);
  bulk->ids[bulk->count++][STORE_ID_MAX - 1] = '\0';
  return true;
}

static bool bulk_read(struct bulk *bulk, const struct value *body) {
  static const char *const valid[] = {"action", "filter", "priority", "until", "dryRun", NULL};
  struct exchange *x = bulk->x;
  const struct value *priority = value_get(body, "priority"), *dry = value_get(body, "dryRun");
  const char *word;
  if (!api_keys(x, body, valid) || !api_text(x, body, "action", 20, &word)) return false;
  if (!word || !steer_from_word(word, &bulk->steer.action)) {
    http_problem(x, 400, "invalid", "'action' has to be cancel, retry, delete, pause, resume or priority");
    return false;
  }
  bool wants = bulk->steer.action == STEER_PRIORITY;
  if (wants ? !api_priority(priority, &bulk->steer.priority) : !value_is_null(priority)) {
    http_problem(x, 400, "invalid", wants ? "'priority' has to be high, normal, low or a number from 0 to 100"
                                          : "'priority' belongs to the action priority alone");
    return false;
  }
  if (dry && dry->type != VALUE_BOOL && dry->type != VALUE_NULL) {
    http_problem(x, 400, "invalid", "'dryRun' has to be true or false");
    return false;
  }
  bulk->dry_run = value_get_bool(body, "dryRun", false);
  return api_until(x, body, &bulk->steer.until_us);
}

static void bulk_answer(const struct bulk *bulk) {
  value_auto struct value *v = value_map();
  value_set_int(v, "matched", (int64_t)bulk->count);
  value_set_int(v, "done", (int64_t)bulk->done);
  value_set_int(v, "failedCount", (int64_t)bulk->failed);
  value_map_set(v, "failed", value_copy(bulk->failures));
  value_set_bool(v, "more", bulk->cut);
  value_set_bool(v, "dryRun", bulk->dry_run);
  http_json(bulk->x, 200, v);
}

static void jobs_bulk(struct exchange *x) {
  struct bulk bulk = {.x = x, .steer = {.service = api_service(x), .by = api_subject(x)}};
  struct job_query query;
  struct error e = {0};
  const struct value *body = http_body_json(x);
  if (!body || !bulk_read(&bulk, body)) return;
  const struct value *filter = value_get(body, "filter");
  if (value_is_null(filter)) {
    http_problem(x, 400, "invalid", "'filter' is missing: an empty one, {}, means every job of yours");
    return;
  }
  if (!job_query_parse(x, filter, &query)) return;
  bulk.failures = value_list();
  enum err err = job_query_run(bulk.steer.service->store, &query, SIZE_MAX, true, bulk_add, &bulk, &e);
  if (!query.done) bulk.cut = true;
  if (!err && !bulk.dry_run) err = bulk_run(&bulk, &e);
  if (err)
    http_error(x, &e);
  else
    bulk_answer(&bulk);
  job_query_clear(&query);
  value_free(&bulk.failures);
  free(bulk.ids);
}

static const struct route routes[] = {
    {"POST", "/api/v1/jobs/bulk", SCOPE_SUBMIT, 0, jobs_bulk, "bulkJobs"},
};
const struct api_table api_bulk = API_TABLE(routes);
