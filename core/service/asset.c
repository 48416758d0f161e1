#include "service/asset.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "common/url.h"
#include "events/news.h"
#include "service/keep.h"

enum { TRIES_MAX = 10, JOBS_LOOKED_AT = 10 };

const char *const asset_word_keys[] = {"originalName", "title", "author", "recordedAt", NULL};

/* What results are called that say something of the asset: measured ones of any stage, and what the pipeline yields. */
static const char *const measured_keys[] = {"duration", "width", "height"};
static const char *const yielded_keys[] = {"poster", "playlist"};
enum {
  MEASURED = sizeof(measured_keys) / sizeof(measured_keys[0]),
  YIELDED = sizeof(yielded_keys) / sizeof(yielded_keys[0])
};

static struct value *parsed(const char *json) {
  struct value *v = NULL;
  if (json && !value_from_json(json, strlen(json), &v, NULL) && v->type == VALUE_MAP) return v;
  value_free(&v);
  return value_map();
}

/* ---- what jobs say ---------------------------------------------------------------------------------------------- */

static bool is_number(const struct value *v) { return v && (v->type == VALUE_INT || v->type == VALUE_NUMBER); }

/* Of the first stage that measured a duration: a picture has width and height too. */
static void take_measured(struct service *service, const char *job, struct value *found) {
  struct stage_list stages = {0};
  if (store_stages(service->store, job, &stages, NULL)) return;
  for (size_t i = 0; i < stages.count && !value_get(found, measured_keys[0]); i++) {
    value_auto struct value *result = parsed(stages.items[i].result_json);
    if (!is_number(value_get(result, measured_keys[0]))) continue;
    for (size_t k = 0; k < MEASURED; k++) {
      const struct value *v = value_get(result, measured_keys[k]);
      if (is_number(v)) value_map_set(found, measured_keys[k], value_copy(v));
    }
  }
  stage_list_clear(&stages);
}

/* A file of the job's outputs as an address of the API; anything else (a URL) as it stands. */
static struct value *as_address(struct service *service, const char *job, const char *text) {
  mem_auto char *folder = mem_format("%s/%s/", service->outputs_folder, job);
  const char *below = strncmp(text, folder, strlen(folder)) == 0 ? text + strlen(folder) : text;
  mem_auto char *path = mem_format("%s%s", folder, below);
  if (*below == '/' || strstr(below, "://") || strstr(below, "..") || access(path, F_OK) != 0) return value_text(text);
  struct text encoded = {0};
  url_encode(&encoded, below, strlen(below), URL_KEEP_SLASHES);
  mem_auto char *address = mem_format("/api/v1/jobs/%s/artifacts/%s", job, text_string(&encoded));
  text_free(&encoded);
  return value_text(address);
}

static void take_yielded(struct service *service, const struct job_record *job, struct value *found) {
  value_auto struct value *result = parsed(job->result_json);
  for (size_t k = 0; k < YIELDED; k++) {
    const char *text = value_get_text(result, yielded_keys[k], NULL);
    if (text && !value_get(found, yielded_keys[k]))
      value_map_set(found, yielded_keys[k], as_address(service, job->id, text));
  }
}

/* The newest job says how it stands; of what was made, the newest that made it. */
static struct value *ask_jobs(struct service *service, const char *id, const char *owner) {
  struct value *found = value_map();
  struct job_list jobs = {0};
  struct job_filter filter = {.asset = id, .owner = owner, .limit = JOBS_LOOKED_AT};
  if (store_jobs(service->store, &filter, &jobs, NULL)) return found;
  for (size_t i = 0; i < jobs.count; i++) {
    if (i == 0) value_set_text(found, "status", job_status_word(jobs.items[i].status));
    if (i == 0) value_set_text(found, "jobId", jobs.items[i].id);
    if (!value_get(found, measured_keys[0])) take_measured(service, jobs.items[i].id, found);
    if (jobs.items[i].status == JOB_COMPLETED) take_yielded(service, &jobs.items[i], found);
  }
  job_list_clear(&jobs);
  return found;
}

/* ---- the record ------------------------------------------------------------------------------------------------- */

static enum err get_from_jobs(struct service *service, const struct principal *who, const char *id, bool change,
                              struct side_record *record) {
  struct job_list jobs = {0};
  struct job_filter filter = {.asset = id, .limit = JOBS_LOOKED_AT};
  if (store_jobs(service->store, &filter, &jobs, NULL)) return ERR_NOT_FOUND;
  for (size_t i = 0; i < jobs.count && !record->id; i++) {
    const struct job_record *job = &jobs.items[i];
    struct matter matter = {.owner = job->owner, .asset = id};
    if (!(change ? principal_may_change : principal_may_see)(who, &matter)) continue;
    *record = (struct side_record){.kind = SIDE_ASSET,
                                   .id = mem_text(id),
                                   .owner = mem_text(job->owner),
                                   .created_us = job->created_us,
                                   .updated_us = job->created_us,
                                   .body_json = mem_text("{}")};
  }
  job_list_clear(&jobs);
  return record->id ? ERR_OK : ERR_NOT_FOUND;
}

enum err asset_get(struct service *service, const struct principal *who, const char *id, bool change,
                   struct side_record *record, struct error *e) {
  *record = (struct side_record){0};
  enum err status = store_side_get(service->store, SIDE_ASSET, id, record, e);
  if (!status) {
    struct matter matter = {.owner = record->owner, .asset = id};
    if ((change ? principal_may_change : principal_may_see)(who, &matter)) return ERR_OK;
    side_record_clear(record);
    *record = (struct side_record){0};
    status = ERR_NOT_FOUND;
  } else if (status == ERR_NOT_FOUND) {
    status = get_from_jobs(service, who, id, change, record);
  }
  return status == ERR_NOT_FOUND ? error_set(e, status, "there is no asset %.255s", id) : status;
}

/* Written behind the reader's back, and only while nobody else writes: it comes again with the next reader. */
static void remember(struct service *service, const struct side_record *record, const struct value *body,
                     const struct value *jobs) {
  value_auto struct value *more = value_copy(body);
  buf_auto struct buf json = {0};
  bool news = false;
  for (size_t k = 0; k < MEASURED; k++) {
    const struct value *v = value_get(jobs, measured_keys[k]);
    if (!v || value_equal(v, value_get(body, measured_keys[k]))) continue;
    value_map_set(more, measured_keys[k], value_copy(v));
    news = true;
  }
  if (!news || !record->version) return;
  value_json(&json, more, VALUE_JSON_COMPACT);
  struct side_record changed = *record;
  changed.body_json = json.data;
  struct side_change change = {.record = &changed, .expected_version = record->version};
  store_side(service->store, &change, 1, NULL, NULL);
}

static void set_or_null(struct value *v, const char *key, const struct value *first, const struct value *second) {
  const struct value *found = value_get(first, key);
  if (value_is_null(found)) found = value_get(second, key);
  value_map_set(v, key, value_copy(found));
}

static void set_time(struct value *v, const char *key, int64_t wall_us) {
  char text[32];
  value_set_text(v, key, wall_us ? clock_format(wall_us, text) : NULL);
}

struct value *asset_view(struct service *service, const struct side_record *record) {
  value_auto struct value *body = parsed(record->body_json), *jobs = ask_jobs(service, record->id, record->owner);
  struct value *v = value_map();
  value_set_text(v, "id", record->id);
  value_set_text(v, "owner", record->owner);
  for (const char *const *key = asset_word_keys; *key; key++) set_or_null(v, *key, body, NULL);
  set_or_null(v, "bytes", body, NULL);
  for (size_t k = 0; k < MEASURED; k++) set_or_null(v, measured_keys[k], jobs, body);
  set_or_null(v, "status", jobs, NULL);
  for (size_t k = 0; k < YIELDED; k++) set_or_null(v, yielded_keys[k], jobs, NULL);
  set_or_null(v, "jobId", jobs, body);
  set_or_null(v, "fileKey", body, NULL);
  set_time(v, "createdAt", record->created_us);
  set_time(v, "updatedAt", record->updated_us);
  remember(service, record, body, jobs);
  return v;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void set_words(struct value *body, const struct asset_words *words) {
  const char *texts[] = {words->original_name, words->title, words->author, words->recorded_at};
  for (size_t i = 0; asset_word_keys[i]; i++)
    if (texts[i]) value_set_text(body, asset_word_keys[i], *texts[i] ? texts[i] : NULL);
}

/* What is stored now, or an empty one of this owner. Somebody else's is ERR_CONFLICT. */
static enum err read_body(struct service *service, const char *id, const char *owner, struct value **body,
                          uint64_t *version, struct error *e) {
  struct side_record record = {0};
  *version = SIDE_NEW;
  *body = NULL;
  enum err status = store_side_get(service->store, SIDE_ASSET, id, &record, e);
  if (status && status != ERR_NOT_FOUND) return status;
  if (!status && owner && (!record.owner || strcmp(record.owner, owner) != 0))
    status = error_set(e, ERR_CONFLICT, "the asset %.255s belongs to somebody else: choose another id", id);
  else
    status = ERR_OK;
  if (!status) *body = parsed(record.body_json);
  if (record.version) *version = record.version;
  side_record_clear(&record);
  return status;
}

static enum err write_once(struct service *service, const char *id, const char *owner, const struct asset_words *words,
                           struct error *e) {
  value_auto struct value *body = NULL;
  buf_auto struct buf json = {0};
  uint64_t version;
  enum err status = read_body(service, id, owner, &body, &version, e);
  if (status) return status;
  set_words(body, words);
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct side_record record = {
      .kind = SIDE_ASSET, .id = (char *)(uintptr_t)id, .owner = (char *)(uintptr_t)owner, .body_json = json.data};
  struct side_change change = {.record = &record, .expected_version = version};
  return keep_sides(service, &change, 1, NULL, e);
}

enum err asset_write(struct service *service, const char *id, const char *owner, const struct asset_words *words,
                     struct error *e) {
  enum err status = ERR_CONFLICT;
  for (int i = 0; i < TRIES_MAX && status == ERR_CONFLICT; i++) status = write_once(service, id, owner, words, e);
  return status;
}

enum err asset_may_add(struct service *service, const struct principal *who, const char *id, struct error *e) {
  struct side_record record = {0};
  enum err status = store_side_get(service->store, SIDE_ASSET, id, &record, e);
  if (status) return status == ERR_NOT_FOUND ? ERR_OK : status;
  bool theirs = who && who->subject && record.owner && strcmp(who->subject, record.owner) == 0;
  side_record_clear(&record);
  return theirs ? ERR_OK
                : error_set(e, ERR_CONFLICT, "the asset %.255s belongs to somebody else: choose another id", id);
}

/* ---- confirmed -------------------------------------------------------------------------------------------------- */

static void event_body(const struct upload *u, struct buf *json) {
  value_auto struct value *body = value_map();
  value_set_text(body, "asset", u->asset_id);
  value_set_text(body, "owner", u->owner);
  if (u->pipeline) value_set_text(body, "pipeline", u->pipeline);
  value_set_text(body, "jobId", u->job_id);
  value_set_text(body, "fileKey", u->key);
  value_set_text(body, "originalName", u->original_name);
  value_set_int(body, "bytes", u->bytes);
  value_json(json, body, VALUE_JSON_COMPACT);
}

static void asset_body(struct value *body, const struct upload *u, const struct asset_words *words) {
  set_words(body, words);
  value_set_text(body, "originalName", u->original_name);
  value_set_int(body, "bytes", u->bytes);
  value_set_text(body, "fileKey", u->key);
  value_set_text(body, "jobId", u->job_id);
}

static enum err confirm_once(struct service *service, struct upload *u, const struct asset_words *words,
                             struct error *e) {
  value_auto struct value *body = NULL;
  buf_auto struct buf asset_json = {0}, upload_json = {0}, event_json = {0};
  struct side_record upload_side;
  uint64_t version;
  enum err status = read_body(service, u->asset_id, u->owner, &body, &version, e);
  if (status) return status;
  asset_body(body, u, words);
  event_body(u, &event_json);
  value_json(&asset_json, body, VALUE_JSON_COMPACT);
  upload_record(u, &upload_side, &upload_json);
  struct side_record asset_side = {
      .kind = SIDE_ASSET, .id = u->asset_id, .owner = u->owner, .body_json = asset_json.data};
  struct event_draft event = {"upload-confirmed", event_json.data};
  struct side_change changes[] = {
      {.record = &upload_side, .expected_version = u->version},
      {.record = &asset_side, .expected_version = version, .events = &event, .event_count = 1}};
  struct news told = {.asset = u->asset_id, .owner = u->owner, .pipeline = u->pipeline};
  status = keep_sides(service, changes, 2, &told, e);
  if (!status) u->version++;
  return status;
}

/* The upload is under its lock: a conflict is the asset's, which others write too. */
enum err asset_confirm(struct service *service, struct upload *u, const struct asset_words *words, struct error *e) {
  enum err status = ERR_CONFLICT;
  for (int i = 0; i < TRIES_MAX && status == ERR_CONFLICT; i++) status = confirm_once(service, u, words, e);
  return status;
}

/* ---- jobs that name one ----------------------------------------------------------------------------------------- */

static void heard(void *context, const struct news *news) {
  struct service *service = context;
  if (!news->stored || !news->asset || !news->owner || strcmp(news->type, "queued") != 0 || news->seq != 1) return;
  struct side_record record = {.kind = SIDE_ASSET,
                               .id = (char *)(uintptr_t)news->asset,
                               .owner = (char *)(uintptr_t)news->owner,
                               .body_json = (char *)(uintptr_t) "{}"};
  struct side_change change = {.record = &record, .expected_version = SIDE_NEW};
  store_side(service->store, &change, 1, NULL, NULL); /* there already: as well */
}

struct listener *assets_listen(struct service *service) {
  return engine_listen(service->engine, heard, service);
}
