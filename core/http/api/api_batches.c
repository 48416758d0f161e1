/* api_batches.c - many inputs in one request. What a caller may name as one input it may name as many. */
#include <stdlib.h>
#include <string.h>

#include "api/stream.h"
#include "base/fs.h"
#include "base/mem.h"
#include "service/batch.h"
#include "service/shelf.h"
#include "service/upload.h"

enum { NAME_BYTES = 255, TOKEN_BYTES = 8192 };

struct submitting {
  struct exchange *x;
  struct service *service;
  struct batch_request request;
  struct value *params, *list, *listing;
  char *input;
};

static void submitting_clear(struct submitting *s) {
  value_free(&s->params);
  value_free(&s->list);
  value_free(&s->listing);
  free(s->input);
}

/* ---- sources ------------------------------------------------------------------------------------------------------------ */

/* What makes an input the same tomorrow: the caller's own word for its version, or a key of ours, which never changes. */
static void item_source(struct value *row, const struct value *item, const char *named) {
  const char *mark = value_get_text(item, "version", NULL);
  mem_auto char *source = mark ? mem_format("%s@%s", named, mark) : upload_key_is(named) ? mem_text(named) : NULL;
  if (source) value_set_text(row, "source", source);
}

static const char *item_name(const struct value *item, const char *named) {
  return value_get_text(item, "title", fs_base_name(named));
}

static bool list_item(struct submitting *s, const struct value *item) {
  static const char *const valid[] = {"input", "title", "asset", "params", "version", NULL};
  const char *named, *title, *asset, *version;
  struct error e = {0};
  char *input = NULL;
  if (item->type != VALUE_MAP) {
    http_problem(s->x, 400, "invalid", "every item of 'source.list' is an object with 'input'");
    return false;
  }
  if (!api_keys(s->x, item, valid) || !api_text(s->x, item, "input", 8192, &named) || !api_text(s->x, item, "title", NAME_BYTES, &title) ||
      !api_text(s->x, item, "asset", NAME_BYTES, &asset) || !api_text(s->x, item, "version", NAME_BYTES, &version))
    return false;
  if (!named) {
    http_problem(s->x, 400, "invalid", "every item of 'source.list' needs an 'input'");
    return false;
  }
  struct value *row = value_map();
  value_list_add(s->list, row);
  value_set_text(row, "name", item_name(item, named));
  if (title) value_set_text(row, "title", title);
  if (asset) value_set_text(row, "asset", asset);
  item_source(row, item, named);
  /* One bad file never stops the others: what may not be named is that file's problem. */
  if (guard_input(s->service, http_principal(s->x), named, &input, &e)) {
    value_set_text(row, "problem", "unreadable");
    value_set_text(row, "message", e.message);
  } else {
    value_set_text(row, "input", input);
  }
  const struct value *params = value_get(item, "params");
  if (!value_is_null(params)) value_map_set(row, "params", value_copy(params));
  free(input);
  return true;
}

static bool source_list(struct submitting *s, const struct value *list) {
  const struct settings *settings = settings_hold(s->service->settings);
  int64_t most = settings->batches.max_files;
  settings_release(s->service->settings, &settings);
  if (list->type != VALUE_LIST || !list->count || (most > 0 && (int64_t)list->count > most)) {
    http_problem(s->x, 400, "invalid", "'source.list' has to be a list of 1 to %lld inputs", (long long)most);
    return false;
  }
  s->list = value_list();
  for (size_t i = 0; i < list->count; i++)
    if (!list_item(s, list->items[i])) return false;
  s->request.kind = BATCH_LIST;
  s->request.list = s->list;
  return true;
}

/* The operator's credentials open the operator's bucket: everybody but scope admin lists what is theirs in it. */
static bool bucket_allowed(struct submitting *s, const char *bucket, const char *prefix) {
  if (api_is_admin(s->x)) return true;
  const struct settings *settings = settings_hold(s->service->settings);
  const char *ours = settings->uploads.s3.bucket, *base = settings->uploads.s3.prefix ? settings->uploads.s3.prefix : "";
  mem_auto char *word = upload_owner_word(api_subject(s->x)), *own = mem_format("%suploads/%s/", base, word);
  bool allowed = ours && !strcmp(ours, bucket) && !strncmp(prefix, own, strlen(own));
  if (!allowed)
    http_problem(s->x, 403, "denied", "a batch over a bucket takes a token with scope admin, or a prefix below %s in the bucket "
                 "for uploads", own);
  settings_release(s->service->settings, &settings);
  return allowed;
}

static bool source_bucket(struct submitting *s, const struct value *source) {
  static const char *const valid[] = {"bucket", "prefix", NULL};
  const char *bucket, *prefix;
  if (source->type != VALUE_MAP) {
    http_problem(s->x, 400, "invalid", "'source.s3' has to be an object with bucket and prefix");
    return false;
  }
  if (!api_keys(s->x, source, valid) || !api_text(s->x, source, "bucket", NAME_BYTES, &bucket) ||
      !api_text(s->x, source, "prefix", 1024, &prefix))
    return false;
  if (!bucket) {
    http_problem(s->x, 400, "invalid", "'source.s3' needs a 'bucket'");
    return false;
  }
  if (!bucket_allowed(s, bucket, prefix ? prefix : "")) return false;
  s->request.kind = BATCH_BUCKET;
  s->listing = value_map();
  value_set_text(s->listing, "bucket", bucket);
  if (prefix) value_set_text(s->listing, "prefix", prefix);
  return true;
}

static bool source_archive(struct submitting *s, const struct value *source) {
  struct error e = {0};
  s->request.kind = BATCH_ARCHIVE;
  if (source->type != VALUE_TEXT)
    error_set(&e, ERR_INVALID, "'source.archive' has to be an upload's key, a URL or a file");
  else
    guard_input(s->service, http_principal(s->x), source->text, &s->input, &e);
  if (e.code) http_error(s->x, &e);
  s->request.input = s->input;
  return !e.code;
}

static bool source_drive(struct submitting *s, const struct value *source) {
  static const char *const valid[] = {"folderId", NULL};
  const char *folder, *token = http_header(s->x, "X-Drive-Token");
  if (source->type != VALUE_MAP) {
    http_problem(s->x, 400, "invalid", "'source.drive' has to be an object with folderId");
    return false;
  }
  if (!api_keys(s->x, source, valid) || !api_text(s->x, source, "folderId", NAME_BYTES, &folder)) return false;
  if (!folder || !token || !*token || strlen(token) > TOKEN_BYTES) {
    http_problem(s->x, 400, "invalid", folder ? "send your token for the drive in the header X-Drive-Token"
                                              : "'source.drive' needs a 'folderId'");
    return false;
  }
  s->request.kind = BATCH_DRIVE;
  s->request.token = token;
  s->listing = value_map();
  value_set_text(s->listing, "folder", folder);
  return true;
}

static bool submit_source(struct submitting *s, const struct value *source) {
  static const struct { const char *name; bool (*read)(struct submitting *, const struct value *); } kinds[] = {
      {"list", source_list}, {"s3", source_bucket}, {"archive", source_archive}, {"drive", source_drive}};
  static const char *const valid[] = {"list", "s3", "archive", "drive", NULL};
  if (!source || source->type != VALUE_MAP || source->count != 1) {
    http_problem(s->x, 400, "invalid", "'source' has to be an object with one of list, s3, archive, drive");
    return false;
  }
  if (!api_keys(s->x, source, valid)) return false;
  bool good = false;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(source->keys[0], kinds[i].name)) good = kinds[i].read(s, source->items[0]);
  s->request.listing = s->listing;
  return good;
}

/* ---- the request ---------------------------------------------------------------------------------------------------------- */

static bool submit_pipeline(struct submitting *s, const struct value *params) {
  struct error e = {0};
  const struct shelf_set *set = shelf_hold(s->service->shelf);
  const struct shelved *found = s->request.pipeline ? shelf_find(set, s->request.pipeline) : NULL;
  bool good = found && found->pipeline;
  if (!s->request.pipeline)
    http_problem(s->x, 400, "invalid", "name the 'pipeline' that every file goes through");
  else if (!good)
    http_problem(s->x, 400, "not-found", "there is no pipeline %.80s that can be used: GET /api/v1/pipelines lists them",
                 s->request.pipeline);
  else if (guard_params(s->service, http_principal(s->x), found->pipeline, params, &s->params, &e))
    http_error(s->x, &e);
  shelf_release(s->service->shelf, &set);
  s->request.params = s->params;
  return good && !e.code;
}

static bool submit_limits(struct submitting *s, const struct value *body) {
  const struct value *most = value_get(body, "maxFileSize"), *force = value_get(body, "force");
  const struct settings *settings = settings_hold(s->service->settings);
  int64_t configured = settings->batches.max_file_bytes;
  settings_release(s->service->settings, &settings);
  bool bad = !value_is_null(most) && (most->type != VALUE_INT || most->integer < 1);
  if (bad) http_problem(s->x, 400, "invalid", "'maxFileSize' has to be a number of bytes");
  if (!bad && !value_is_null(force) && force->type != VALUE_BOOL) {
    http_problem(s->x, 400, "invalid", "'force' has to be true or false");
    bad = true;
  }
  if (bad) return false;
  s->request.max_file_bytes = value_is_null(most) ? configured : most->integer;
  if (configured > 0 && s->request.max_file_bytes > configured) s->request.max_file_bytes = configured;
  s->request.force = value_get_bool(body, "force", false);
  return true;
}

static bool submit_read(struct submitting *s) {
  static const char *const valid[] = {"pipeline", "params", "source", "maxFileSize", "force", "title", NULL};
  const struct value *body = http_body_json(s->x);
  if (!body || !api_keys(s->x, body, valid)) return false;
  if (!api_text(s->x, body, "pipeline", NAME_BYTES, &s->request.pipeline) || !api_text(s->x, body, "title", NAME_BYTES, &s->request.title))
    return false;
  return submit_limits(s, body) && submit_pipeline(s, value_get(body, "params")) && submit_source(s, value_get(body, "source"));
}

static void submit_begin(void *context, struct ask *ask) {
  struct submitting *s = context;
  batch_submit(s->service->batches, &s->request, service_answer_done, ask);
}

static void show(struct exchange *x, int status, const struct side_record *record) {
  value_auto struct value *v = batch_view(record);
  mem_auto char *socket = api_socket_url(x, "batchId", record->id);
  value_set_text(v, "websocketUrl", socket);
  http_json(x, status, v);
}

static void show_id(struct exchange *x, int status, const char *id) {
  struct side_record record = {0};
  struct error e = {0};
  if (store_side_get(api_service(x)->store, SIDE_BATCH, id, &record, &e))
    http_error(x, &e);
  else
    show(x, status, &record);
  side_record_clear(&record);
}

static void batch_post(struct exchange *x) {
  struct submitting s = {.x = x, .service = api_service(x)};
  engine_new_id(s.request.id);
  s.request.owner = api_subject(x);
  if (submit_read(&s) && api_ask(x, submit_begin, &s, NULL)) {
    mem_auto char *path = mem_format("/api/v1/batches/%s", s.request.id);
    http_set_header(x, "Location", path);
    show_id(x, 202, s.request.id);
  }
  submitting_clear(&s);
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

static bool batch_known(struct exchange *x, bool change, struct side_record *record) {
  const char *id = http_param(x, "id");
  *record = (struct side_record){0};
  bool known = !store_side_get(api_service(x)->store, SIDE_BATCH, id, record, NULL);
  struct matter matter = {.owner = record->owner, .batch = id};
  const struct principal *who = http_principal(x);
  if (known && (change ? principal_may_change(who, &matter) : principal_may_see(who, &matter))) return true;
  side_record_clear(record);
  api_not_found(x, "batch", id);
  return false;
}

static void batch_get(struct exchange *x) {
  struct side_record record;
  if (!batch_known(x, false, &record)) return;
  show(x, 200, &record);
  side_record_clear(&record);
}

typedef struct value *view_fn(const struct side_record *record);

static void list_answer(struct exchange *x, struct side_filter *filter, const char *name, view_fn *view) {
  struct side_list list = {0};
  struct error e = {0};
  const char *cursor = http_query(x, "cursor");
  if (!api_limit(x, &filter->limit)) return;
  mem_auto char *after = cursor && *cursor ? api_cursor_read(cursor) : NULL;
  if (cursor && *cursor && !after) {
    http_problem(x, 400, "invalid", "'cursor' is not one that a page ended with");
    return;
  }
  filter->after_id = after;
  if (store_sides(api_service(x)->store, filter, &list, &e)) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *v = value_map();
  struct value *items = value_list();
  value_map_set(v, name, items);
  for (size_t i = 0; i < list.count; i++) value_list_add(items, view(&list.items[i]));
  mem_auto char *next = list.count == filter->limit ? api_cursor_make(list.items[list.count - 1].id) : NULL;
  value_set_text(v, "next", next);
  http_json(x, 200, v);
  side_list_clear(&list);
}

static void batch_list(struct exchange *x) {
  struct side_filter filter = {.kind = SIDE_BATCH, .owner = api_is_admin(x) ? http_query(x, "owner") : api_subject(x), .newest_first = true};
  list_answer(x, &filter, "batches", batch_view);
}

static void batch_files(struct exchange *x) {
  struct side_record record;
  if (!batch_known(x, false, &record)) return;
  struct side_filter filter = {.kind = SIDE_BATCH_FILE, .group = record.id};
  list_answer(x, &filter, "files", batch_file_view);
  side_record_clear(&record);
}

static void batch_events(struct exchange *x) {
  struct side_record record;
  struct stream stream = {.x = x};
  struct value *events = value_list();
  value_auto struct value *v = value_map();
  uint64_t last = 0;
  int64_t wait_us;
  bool given;
  value_map_set(v, "events", events);
  if (!stream_since(x, &stream.subscription.since_seq, &given) || !stream_rates(x, &stream.subscription)) return;
  if (!stream_wait(x, &wait_us) || !batch_known(x, false, &record)) return;
  stream.subscription.topic = (struct topic){TOPIC_BATCH, record.id};
  stream.subscription.replay = true;
  if (stream_is_sse(x)) {
    stream_sse(&stream);
  } else if (stream_poll(&stream, wait_us, events, &last)) {
    value_set_int(v, "lastSeq", (int64_t)last);
    http_json(x, 200, v);
  }
  side_record_clear(&record);
}

/* ---- steering ----------------------------------------------------------------------------------------------------------------- */

struct steering {
  struct service *service;
  const char *id;
  void (*steer)(struct batches *batches, const char *id, engine_done *done, void *context);
};

static void steer_begin(void *context, struct ask *ask) {
  struct steering *s = context;
  s->steer(s->service->batches, s->id, service_answer_done, ask);
}

static void steer(struct exchange *x, void (*how)(struct batches *, const char *, engine_done *, void *)) {
  static const char *const none[] = {NULL};
  struct side_record record;
  const struct value *body = api_body(x);
  if (!body || !api_keys(x, body, none) || !batch_known(x, true, &record)) return;
  struct steering steering = {api_service(x), record.id, how};
  if (api_ask(x, steer_begin, &steering, NULL)) show_id(x, 202, record.id);
  side_record_clear(&record);
}

static void batch_cancel_post(struct exchange *x) { steer(x, batch_cancel); }
static void batch_retry_post(struct exchange *x) { steer(x, batch_retry); }

static const struct route routes[] = {
    {"POST", "/api/v1/batches", SCOPE_SUBMIT, 0, batch_post, "submitBatch"},
    {"GET", "/api/v1/batches", SCOPE_READ, 0, batch_list, "listBatches"},
    {"GET", "/api/v1/batches/{id}", SCOPE_READ | SCOPE_FOLLOW, 0, batch_get, "getBatch"},
    {"GET", "/api/v1/batches/{id}/files", SCOPE_READ, 0, batch_files, "listBatchFiles"},
    {"GET", "/api/v1/batches/{id}/events", SCOPE_READ | SCOPE_FOLLOW, ROUTE_TICKET, batch_events, "followBatch"},
    {"POST", "/api/v1/batches/{id}/cancel", SCOPE_SUBMIT, 0, batch_cancel_post, "cancelBatch"},
    {"POST", "/api/v1/batches/{id}/retry", SCOPE_SUBMIT, 0, batch_retry_post, "retryBatch"},
};
const struct api_table api_batches = API_TABLE(routes);
