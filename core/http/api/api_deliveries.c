/* api_deliveries.c - webhooks and mail on their way: listed, shown, sent again. */
#include <string.h>

#include "api/parts.h"
#include "base/mem.h"
#include "service/notify.h"

static bool state_known(struct exchange *x, const char *state) {
  static const char *const states[] = {"waiting", "delivered", "dead"};
  if (!state || !*state) return true;
  for (size_t i = 0; i < sizeof states / sizeof *states; i++)
    if (strcmp(states[i], state) == 0) return true;
  http_problem(x, 400, "invalid", "'state' is waiting, delivered or dead");
  return false;
}

/* Of one job or batch: of those that may see it, which a grant may say as well. Of all: one's own, or everybody's for admin. */
static void filter_owner(struct exchange *x, struct notify_filter *filter) {
  struct job_record job;
  if (api_is_admin(x)) return;
  if (filter->job && store_job(api_service(x)->store, filter->job, &job, NULL) == ERR_OK) {
    struct matter matter = api_matter(&job);
    bool seen = principal_may_see(http_principal(x), &matter);
    job_record_clear(&job);
    if (seen) return;
  }
  filter->owner = api_subject(x);
}

static const char *written(struct exchange *x, const char *name) {
  const char *text = http_query(x, name);
  return text && *text ? text : NULL;
}

static void deliveries_list(struct exchange *x) {
  const char *cursor = written(x, "cursor");
  struct notify_filter filter = {.job = written(x, "job"), .state = written(x, "state")};
  struct value *list = NULL;
  char *next = NULL;
  struct error e = {0};
  if (!api_limit(x, &filter.limit) || !state_known(x, filter.state)) return;
  filter_owner(x, &filter);
  mem_auto char *after = cursor ? api_cursor_read(cursor) : NULL;
  if (cursor && !after) {
    http_problem(x, 400, "invalid", "'cursor' is not one that a page ended with");
    return;
  }
  filter.after = after;
  if (notify_list(api_service(x)->store, &filter, &list, &next, &e)) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *page = value_map();
  mem_auto char *last = next, *mark = last ? api_cursor_make(last) : NULL;
  value_map_set(page, "deliveries", list);
  value_set_text(page, "next", mark);
  http_json(x, 200, page);
}

/* The delivery of {id} when the caller may see (or change) it; otherwise 404 was answered. Owned. */
static struct value *delivery_seen(struct exchange *x, bool change) {
  const char *id = http_param(x, "id");
  struct value *delivery = NULL;
  if (notify_get(api_service(x)->store, id, &delivery, NULL) == ERR_OK) {
    struct matter matter = {.owner = value_get_text(delivery, "owner", NULL),
                            .job = value_get_text(delivery, "jobId", NULL),
                            .batch = value_get_text(delivery, "batchId", NULL)};
    const struct principal *who = http_principal(x);
    if (change ? principal_may_change(who, &matter) : principal_may_see(who, &matter)) return delivery;
    value_free(&delivery);
  }
  api_not_found(x, "delivery", id);
  return NULL;
}

static void deliveries_get(struct exchange *x) {
  value_auto struct value *delivery = delivery_seen(x, false);
  if (delivery) http_json(x, 200, delivery);
}

static void deliveries_replay(struct exchange *x) {
  static const char *const none[] = {NULL};
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, none)) return;
  value_auto struct value *delivery = delivery_seen(x, true), *again = NULL;
  struct error e = {0};
  if (!delivery) return;
  if (!api_service(x)->notify)
    http_problem(x, 503, "busy", "the daemon is stopping: ask again when it is back");
  else if (notify_replay(api_service(x)->notify, http_param(x, "id"), &again, &e))
    http_error(x, &e);
  else
    http_json(x, 202, again);
}

static const struct route routes[] = {
    {"GET", "/api/v1/deliveries", SCOPE_READ, 0, deliveries_list, "listDeliveries"},
    {"GET", "/api/v1/deliveries/{id}", SCOPE_READ, 0, deliveries_get, "getDelivery"},
    {"POST", "/api/v1/deliveries/{id}/replay", SCOPE_SUBMIT, 0, deliveries_replay, "replayDelivery"},
};
const struct api_table api_deliveries = API_TABLE(routes);
