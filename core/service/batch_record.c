/* batch_record.c - a batch and its files as records, and the steps between them. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "events/news.h"
#include "service/batch_parts.h"
#include "service/keep.h"

enum { DUE_NOW_US = 1 }; /* open batches are due: that is how a restart finds them */

static const char *const status_words[] = {NULL, "listing", "running", "cancelling", "completed", "failed", "cancelled"};
enum { STATUS_COUNT = sizeof status_words / sizeof *status_words };
static const char *const kind_words[] = {NULL, "list", "s3", "archive", "drive"};
enum { KIND_COUNT = sizeof kind_words / sizeof *kind_words };

const char *batch_status_word(enum batch_status status) { return status_words[status]; }

bool batch_has_ended(enum batch_status status) { return status >= BATCH_COMPLETED; }

static int word_index(const char *word, const char *const *words, int count) {
  for (int i = 1; i < count; i++)
    if (!strcmp(word, words[i])) return i;
  return 0;
}

static void files_free(struct batch *b) {
  while (b->files) {
    struct batch_file *file = b->files;
    b->files = file->next;
    value_free(&file->row);
    free(file);
  }
}

void batch_free(struct batch **at) {
  struct batch *b = *at;
  if (!b) return;
  files_free(b);
  if (b->list) fclose(b->list);
  value_free(&b->params);
  free(b->owner);
  free(b->title);
  free(b->pipeline);
  free(b->list_path);
  free(b->error);
  free(b);
  *at = NULL;
}

/* ---- the record --------------------------------------------------------------------------------------------------- */

struct value *batch_totals(const struct batch *b) {
  struct value *v = value_map();
  value_set_int(v, "totalFiles", b->total);
  value_set_int(v, "processedFiles", b->processed);
  value_set_int(v, "failedFiles", b->failed);
  value_set_int(v, "oversizedFiles", b->oversized);
  value_set_int(v, "skippedFiles", b->skipped);
  return v;
}

static int64_t finished_files(const struct batch *b) { return b->processed + b->failed + b->oversized + b->skipped; }

struct value *batch_body(const struct batch *b) {
  struct value *v = batch_totals(b);
  value_set_text(v, "status", status_words[b->status]);
  value_set_text(v, "kind", kind_words[b->kind]);
  value_set_text(v, "pipeline", b->pipeline);
  if (b->title) value_set_text(v, "title", b->title);
  if (b->listing_job[0]) value_set_text(v, "listingJob", b->listing_job);
  if (b->list_path) value_set_text(v, "list", b->list_path);
  if (b->error) value_set_text(v, "error", b->error);
  value_map_set(v, "params", value_copy(b->params));
  value_set_bool(v, "force", b->force);
  value_set_int(v, "maxFileSize", b->max_file_bytes);
  value_set_int(v, "taken", b->taken);
  value_set_int(v, "currentFile", finished_files(b));
  return v;
}

struct batch *batch_from_record(struct batches *batches, const struct side_record *record) {
  value_auto struct value *v = NULL;
  const char *json = record->body_json ? record->body_json : "";
  if (value_from_json(json, strlen(json), &v, NULL)) return NULL;
  struct batch *b = mem_alloc(sizeof *b);
  b->batches = batches;
  snprintf(b->id, sizeof b->id, "%s", record->id);
  snprintf(b->listing_job, sizeof b->listing_job, "%s", value_get_text(v, "listingJob", ""));
  b->owner = mem_text(record->owner);
  b->title = mem_text(value_get_text(v, "title", NULL));
  b->pipeline = mem_text(value_get_text(v, "pipeline", ""));
  b->list_path = mem_text(value_get_text(v, "list", NULL));
  b->error = mem_text(value_get_text(v, "error", NULL));
  b->params = value_copy(value_get(v, "params"));
  b->kind = (enum batch_kind)word_index(value_get_text(v, "kind", "list"), kind_words, KIND_COUNT);
  b->status = (enum batch_status)word_index(value_get_text(v, "status", "failed"), status_words, STATUS_COUNT);
  b->force = value_get_bool(v, "force", false);
  b->max_file_bytes = value_get_int(v, "maxFileSize", 0);
  b->total = value_get_int(v, "totalFiles", 0);
  b->taken = value_get_int(v, "taken", 0);
  b->processed = value_get_int(v, "processedFiles", 0);
  b->failed = value_get_int(v, "failedFiles", 0);
  b->oversized = value_get_int(v, "oversizedFiles", 0);
  b->skipped = value_get_int(v, "skippedFiles", 0);
  return b;
}

/* ---- a step ------------------------------------------------------------------------------------------------------- */

static struct value *file_body(const struct batch_file *file, const struct batch_step *step) {
  struct value *v = value_copy(file->row);
  value_set_text(v, "status", step->file_status);
  if (file->job[0]) value_set_text(v, "jobId", file->job);
  if (step->reason) value_set_text(v, "errorReason", step->reason);
  if (step->message) value_set_text(v, "message", step->message);
  return v;
}

struct stepping {
  struct service *service;
  char id[STORE_ID_MAX];
  char *owner, *pipeline;
  store_done *done;
  void *context;
};

static void step_stored(void *context, const struct commit *commit) {
  struct stepping *s = context;
  struct news told = {.batch = s->id, .owner = s->owner, .pipeline = s->pipeline};
  if (!commit->status) keep_tell(s->service, s->id, commit, &told);
  if (commit->status) log_error("batch %s: %s", s->id, commit->error.message);
  if (s->done) s->done(s->context, commit);
  free(s->owner);
  free(s->pipeline);
  free(s);
}

static void record_json(struct side_record *record, struct value *moved, struct buf *json) {
  value_json(json, moved, VALUE_JSON_COMPACT | VALUE_JSON_REVEAL);
  value_free(&moved);
  record->body_json = json->data;
}

static void event_json(const struct batch *b, struct batch_step *step, struct buf *json) {
  if (!step->body) step->body = value_map();
  value_set_text(step->body, "batchId", b->id);
  if (b->owner) value_set_text(step->body, "owner", b->owner);
  value_set_text(step->body, "pipeline", b->pipeline);
  value_json(json, step->body, VALUE_JSON_COMPACT);
  value_free(&step->body);
}

void batch_step(struct batch *b, struct batch_step *step, store_done *done, void *context) {
  buf_auto struct buf batch_json = {0}, file_json = {0}, body_json = {0};
  mem_auto char *file_id = step->file ? mem_format("%s/%08lld", b->id, (long long)step->file->index) : NULL;
  struct side_record batch = {.kind = SIDE_BATCH, .id = b->id, .owner = b->owner}, file = {.kind = SIDE_BATCH_FILE, .id = file_id};
  struct side_record credential = {.kind = SIDE_CREDENTIAL, .id = b->id};
  struct side_change changes[3];
  struct event_draft event = {step->type, NULL};
  size_t count = 0;
  batch.due_us = batch_has_ended(b->status) ? 0 : DUE_NOW_US;
  file.owner = b->owner;
  file.group = b->id;
  record_json(&batch, batch_body(b), &batch_json);
  if (step->file) record_json(&file, file_body(step->file, step), &file_json);
  if (step->type) event_json(b, step, &body_json);
  event.body_json = buf_string(&body_json);
  if (step->file) changes[count++] = (struct side_change){.record = &file, .expected_version = SIDE_ANY};
  if (step->ends) changes[count++] = (struct side_change){.record = &credential, .expected_version = SIDE_ANY, .remove = true};
  changes[count++] = (struct side_change){.record = &batch, .expected_version = SIDE_ANY, .events = &event,
                                          .event_count = step->type ? 1 : 0};
  struct stepping *s = mem_alloc(sizeof *s);
  *s = (struct stepping){.service = b->batches->service, .owner = mem_text(b->owner), .pipeline = mem_text(b->pipeline),
                         .done = done, .context = context};
  snprintf(s->id, sizeof s->id, "%s", b->id);
  store_side(s->service->store, changes, count, step_stored, s);
}

/* ---- public forms --------------------------------------------------------------------------------------------------- */

static void copy_keys(struct value *to, const struct value *from, const char *const *keys) {
  for (; *keys; keys++)
    if (!value_is_null(value_get(from, *keys))) value_map_set(to, *keys, value_copy(value_get(from, *keys)));
}

static struct value *parsed(const struct side_record *record) {
  struct value *v = NULL;
  const char *json = record->body_json ? record->body_json : "";
  return value_from_json(json, strlen(json), &v, NULL) ? value_map() : v;
}

struct value *batch_view(const struct side_record *record) {
  static const char *const keys[] = {"status", "kind", "pipeline", "title", "listingJob", "error", "force", "maxFileSize", "currentFile",
                                     "totalFiles", "processedFiles", "failedFiles", "oversizedFiles", "skippedFiles", NULL};
  value_auto struct value *body = parsed(record);
  struct value *v = value_map();
  char at[32];
  value_set_text(v, "id", record->id);
  if (record->owner) value_set_text(v, "owner", record->owner);
  copy_keys(v, body, keys);
  value_set_text(v, "createdAt", clock_format(record->created_us, at));
  value_set_text(v, "updatedAt", clock_format(record->updated_us, at));
  return v;
}

struct value *batch_file_view(const struct side_record *record) {
  static const char *const keys[] = {"name", "bytes", "status", "jobId", "errorReason", "message", "asset", NULL};
  value_auto struct value *body = parsed(record);
  struct value *v = value_map();
  copy_keys(v, body, keys);
  return v;
}
