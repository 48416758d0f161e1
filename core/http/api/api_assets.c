/* api_assets.c - what jobs are about: listed, shown, described. */
#include <string.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/mem.h"
#include "service/asset.h"

static bool asset_seen(struct exchange *x, bool change, struct side_record *record) {
  struct error e = {0};
  if (!asset_get(api_service(x), http_principal(x), http_param(x, "id"), change, record, &e)) return true;
  http_error(x, &e);
  return false;
}

static void asset_show(struct exchange *x, const struct side_record *record) {
  value_auto struct value *v = asset_view(api_service(x), record);
  http_json(x, 200, v);
}

static void assets_get(struct exchange *x) {
  struct side_record record;
  if (!asset_seen(x, false, &record)) return;
  asset_show(x, &record);
  side_record_clear(&record);
}

static void assets_page(struct exchange *x, const struct side_list *list, size_t limit) {
  value_auto struct value *v = value_map();
  struct value *assets = value_list();
  value_map_set(v, "assets", assets);
  for (size_t i = 0; i < list->count; i++) value_list_add(assets, asset_view(api_service(x), &list->items[i]));
  mem_auto char *next = list->count == limit ? api_cursor_make(list->items[limit - 1].id) : NULL;
  value_set_text(v, "next", next);
  http_json(x, 200, v);
}

/* Scope admin sees everybody's, or those of ?owner. */
static void assets_list(struct exchange *x) {
  struct side_list list = {0};
  struct error e = {0};
  const char *cursor = http_query(x, "cursor"), *owner = http_query(x, "owner");
  size_t limit;
  if (!api_limit(x, &limit)) return;
  mem_auto char *after = cursor && *cursor ? api_cursor_read(cursor) : NULL;
  if (cursor && *cursor && !after) {
    http_problem(x, 400, "invalid", "'cursor' is not one that a page ended with");
    return;
  }
  struct side_filter filter = {.kind = SIDE_ASSET,
                               .owner = api_is_admin(x) ? owner : api_subject(x),
                               .after_id = after,
                               .newest_first = true,
                               .limit = limit};
  if (store_sides(api_service(x)->store, &filter, &list, &e))
    http_error(x, &e);
  else
    assets_page(x, &list, limit);
  side_list_clear(&list);
}

/* A text, or null to forget it. */
static bool word_read(struct exchange *x, const struct value *body, const char *key, const char **text) {
  const struct value *v = value_get(body, key);
  if (v && v->type == VALUE_NULL) {
    *text = "";
    return true;
  }
  return api_text(x, body, key, 1000, text);
}

static bool words_read(struct exchange *x, struct asset_words *words) {
  const struct value *body = api_body(x);
  int64_t recorded;
  if (!body || !api_keys(x, body, asset_word_keys) || !word_read(x, body, "originalName", &words->original_name) ||
      !word_read(x, body, "title", &words->title) || !word_read(x, body, "author", &words->author) ||
      !word_read(x, body, "recordedAt", &words->recorded_at))
    return false;
  if (!words->recorded_at || !*words->recorded_at || clock_parse(words->recorded_at, &recorded)) return true;
  http_problem(x, 400, "invalid", "'recordedAt' has to be a time: 2026-01-31T12:00:00Z");
  return false;
}

static void assets_patch(struct exchange *x) {
  struct side_record record;
  struct asset_words words = {0};
  struct error e = {0};
  if (!words_read(x, &words) || !asset_seen(x, true, &record)) return;
  enum err err = asset_write(api_service(x), record.id, record.owner, &words, &e);
  side_record_clear(&record);
  if (!err) err = asset_get(api_service(x), http_principal(x), http_param(x, "id"), false, &record, &e);
  if (err) {
    http_error(x, &e);
    return;
  }
  asset_show(x, &record);
  side_record_clear(&record);
}

/* ---- its jobs --------------------------------------------------------------------------------------------------- */

struct listing {
  struct exchange *x;
  struct value *jobs;
};

static bool listing_add(void *context, const struct job_record *job) {
  struct listing *listing = context;
  value_list_add(listing->jobs, api_job_value(listing->x, job));
  return true;
}

static void jobs_page(struct exchange *x, const struct side_record *record, struct job_query *query, size_t limit) {
  struct error e = {0};
  value_auto struct value *v = value_map();
  struct listing listing = {x, value_list()};
  value_map_set(v, "jobs", listing.jobs);
  query->filter.asset = record->id;
  if (job_query_run(api_service(x)->store, query, limit, false, listing_add, &listing, &e)) {
    http_error(x, &e);
    return;
  }
  mem_auto char *next = query->done ? NULL : api_cursor_make(query->before);
  value_set_text(v, "next", next);
  http_json(x, 200, v);
}

static void assets_jobs(struct exchange *x) {
  struct side_record record;
  struct job_query query;
  size_t limit;
  if (!api_limit(x, &limit) || !asset_seen(x, false, &record)) return;
  if (job_query_parse(x, NULL, &query)) {
    jobs_page(x, &record, &query, limit);
    job_query_clear(&query);
  }
  side_record_clear(&record);
}

static const struct route routes[] = {
    {"GET", "/api/v1/assets", SCOPE_READ, 0, assets_list, "listAssets"},
    {"GET", "/api/v1/assets/{id}", SCOPE_READ | SCOPE_FOLLOW, 0, assets_get, "getAsset"},
    {"PATCH", "/api/v1/assets/{id}", SCOPE_SUBMIT, 0, assets_patch, "updateAsset"},
    {"GET", "/api/v1/assets/{id}/jobs", SCOPE_READ | SCOPE_FOLLOW, 0, assets_jobs, "listAssetJobs"},
};
const struct api_table api_assets = API_TABLE(routes);
