/* api_stats.c - how many jobs there are in each state, and how they fared; the caller's own, or (scope admin) everybody's.
 *
 * `cursor` is the commit at which the counts are true: whoever follows /api/v1/events from there and counts on has at every
 * moment what this would say. */
#include <string.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/mem.h"

static void add(struct pipeline_totals *sum, const struct pipeline_totals *part) {
  for (size_t i = 0; i < sizeof sum->counts.by_status / sizeof *sum->counts.by_status; i++)
    sum->counts.by_status[i] += part->counts.by_status[i];
  sum->ended_completed += part->ended_completed;
  sum->ended_failed += part->ended_failed;
  sum->ended_cancelled += part->ended_cancelled;
  sum->completed_us += part->completed_us;
}

static void set_counts(struct value *v, const struct pipeline_totals *t) {
  static const struct {
    const char *key;
    enum job_status status;
  } rows[] = {{"waiting", JOB_QUEUED}, {"processing", JOB_PROCESSING}, {"retrying", JOB_RETRYING}, {"held", JOB_HELD},
              {"paused", JOB_PAUSED},  {"done", JOB_COMPLETED},        {"failed", JOB_FAILED},     {"cancelled", JOB_CANCELLED}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    value_set_int(v, rows[i].key, (int64_t)t->counts.by_status[rows[i].status]);
  uint64_t ended = t->ended_completed + t->ended_failed;
  value_map_set(v, "successRate", ended ? value_number((double)t->ended_completed / (double)ended) : value_null());
  value_map_set(v, "meanDurationMs",
                t->ended_completed ? value_int(t->completed_us / 1000 / (int64_t)t->ended_completed) : value_null());
}

static struct value *stats_value(struct service *service, const struct totals_list *totals) {
  struct value *v = value_map(), *pipelines = value_list();
  struct pipeline_totals sum = {0};
  struct hub_statistics hub = {0};
  for (size_t i = 0; i < totals->count; i++) {
    struct value *row = value_map();
    add(&sum, &totals->items[i]);
    value_set_text(row, "pipeline", totals->items[i].pipeline);
    set_counts(row, &totals->items[i]);
    value_list_add(pipelines, row);
  }
  set_counts(v, &sum);
  value_map_set(v, "pipelines", pipelines);
  hub_statistics(service->hub, &hub);
  value_set_int(v, "followers", (int64_t)hub.followers);
  value_set_int(v, "uptimeSeconds", (clock_wall(&clock_system) - service->started_us) / 1000000);
  api_set_time(v, "since", service->started_us);
  value_set_int(v, "cursor", (int64_t)totals->cursor);
  return v;
}

static void stats_get(struct exchange *x) {
  struct service *service = api_service(x);
  struct totals_list totals = {0};
  struct error e = {0};
  enum err err = api_is_admin(x) ? store_totals(service->store, &totals, &e)
                                 : store_totals_of(service->store, api_subject(x), &totals, &e);
  if (err) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *v = stats_value(service, &totals);
  totals_list_clear(&totals);
  http_json(x, 200, v);
}

static const struct route routes[] = {
    {"GET", "/api/v1/stats", SCOPE_READ, 0, stats_get, "getStats"},
};
const struct api_table api_stats = API_TABLE(routes);
