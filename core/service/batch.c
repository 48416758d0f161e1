#include "service/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "events/news.h"
#include "service/batch_parts.h"

enum { UNDER_WAY_MAX = 64, PAGE = 1000, ROWS_A_TURN = 200 };

static void batch_go_on(struct batch *b);

static struct batch *open_batch(struct batches *batches, const char *id) {
  for (struct batch *b = batches->open; b; b = b->next)
    if (!strcmp(b->id, id)) return b;
  return NULL;
}

static void batch_close(struct batch *b) {
  for (struct batch **at = &b->batches->open; *at; at = &(*at)->next)
    if (*at == b) {
      *at = b->next;
      break;
    }
  batch_free(&b);
}

/* ---- the end ---------------------------------------------------------------------------------------------------------- */

static void batch_end(struct batch *b, enum batch_status status, const char *why) {
  static const char *const types[] = {[BATCH_COMPLETED] = "batch-completed", [BATCH_FAILED] = "batch-failed",
                                      [BATCH_CANCELLED] = "batch-cancelled"};
  struct batch_step step = {.type = types[status], .body = batch_totals(b), .ends = true};
  b->status = status;
  if (why) {
    free(b->error);
    b->error = mem_text(why);
    value_set_text(step.body, "errorReason", why);
  }
  batch_step(b, &step, NULL, NULL);
  batch_close(b);
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static struct value *progress_body(const struct batch *b, const struct batch_file *file, const char *status, const char *reason,
                                   const char *message) {
  struct value *v = value_map();
  value_set_int(v, "currentFile", b->processed + b->failed + b->oversized + b->skipped);
  value_set_int(v, "totalFiles", b->total);
  value_set_text(v, "filename", value_get_text(file->row, "name", ""));
  if (file->job[0]) value_set_text(v, "jobId", file->job);
  value_set_text(v, "status", status);
  if (reason) value_set_text(v, "errorReason", reason);
  if (message) value_set_text(v, "message", message);
  return v;
}

static void file_told(struct batch *b, const struct batch_file *file, const char *status, const char *reason, const char *message,
                      store_done *done, void *context) {
  struct batch_step step = {.file = file, .file_status = status, .reason = reason, .message = message, .type = "batch-progress",
                            .body = progress_body(b, file, status, reason, message)};
  batch_step(b, &step, done, context);
}

static void file_free(struct batch_file *file) {
  value_free(&file->row);
  free(file);
}

static void file_drop(struct batch *b, struct batch_file *file) {
  for (struct batch_file **at = &b->files; *at; at = &(*at)->next)
    if (*at == file) {
      *at = file->next;
      b->under_way--;
      break;
    }
  file_free(file);
}

static void file_end(struct batch *b, struct batch_file *file, const char *status, const char *reason, const char *message) {
  if (!strcmp(status, "completed")) b->processed++;
  if (!strcmp(status, "failed")) b->failed++;
  if (!strcmp(status, "oversized")) b->oversized++;
  if (!strcmp(status, "skipped")) b->skipped++;
  file_told(b, file, status, reason, message, NULL, NULL);
  file_drop(b, file);
}

/* ---- to the engine ------------------------------------------------------------------------------------------------------ */

struct handing {
  struct batches *batches;
  char batch[STORE_ID_MAX];
  int64_t index;
};

static struct batch_file *handed_file(const struct handing *h, struct batch **b) {
  *b = open_batch(h->batches, h->batch);
  for (struct batch_file *file = *b ? (*b)->files : NULL; file; file = file->next)
    if (file->index == h->index) return file;
  return NULL;
}

static void file_submitted(void *context, const char *job, enum submit_outcome outcome, const struct error *e) {
  struct handing *h = context;
  struct batch *b;
  struct batch_file *file = handed_file(h, &b);
  free(h);
  if (!b) return;
  b->reading = false;
  if (file && e->code == ERR_CONFLICT) log_debug("batch %s: job %s is there already", b->id, file->job);
  else if (file && b->status == BATCH_CANCELLING && !e->code) engine_cancel(b->batches->service->engine, job, NULL, NULL);
  else if (file && e->code) file_end(b, file, "failed", "refused", e->message);
  else if (file && outcome == SUBMIT_FINISHED) {
    snprintf(file->job, sizeof file->job, "%s", job);
    file_end(b, file, "skipped", "done-already", "the same file was done before; use force to do it again");
  } else if (file && strcmp(file->job, job)) { /* somebody's live job of the same file: this one follows it */
    snprintf(file->job, sizeof file->job, "%s", job);
    file_told(b, file, "processing", NULL, NULL, NULL, NULL);
  }
  batch_go_on(b);
}

static struct value *file_params(const struct batch *b, const struct batch_file *file) {
  struct value *given = b->params && b->params->type == VALUE_MAP ? value_copy(b->params) : value_map();
  const struct value *own = value_get(file->row, "params");
  for (size_t i = 0; own && own->type == VALUE_MAP && i < own->count; i++)
    value_map_set(given, own->keys[i], value_copy(own->items[i]));
  return given;
}

/* Without anything that makes it the same file tomorrow it is always a new one. */
static char *file_source(const struct batch *b, const struct batch_file *file) {
  const char *source = value_get_text(file->row, "source", NULL);
  return source && !b->force ? mem_format("%s\n%s", b->owner ? b->owner : "", source) : NULL;
}

static enum err file_submit(struct batch *b, struct batch_file *file, struct error *e) {
  struct service *service = b->batches->service;
  struct batch_pipeline p = {0};
  const char *input = value_get_text(file->row, "input", "");
  value_auto struct value *given = file_params(b, file);
  mem_auto char *output = mem_format("%s/%s", service->outputs_folder, file->job), *source = file_source(b, file);
  enum err err = batch_pipeline_take(b, input, given, &p, e);
  struct submission submission = {.pipeline = p.pipeline, .input = input, .given = given, .given_folder = "/",
                                  .output_folder = output, .owner = b->owner, .batch = b->id, .id = file->job,
                                  .asset = value_get_text(file->row, "asset", NULL), .source = source,
                                  .title = value_get_text(file->row, "title", NULL), .salt = source ? NULL : file->job,
                                  .priority = -1};
  struct handing *h = mem_alloc(sizeof *h);
  *h = (struct handing){.batches = b->batches, .index = file->index};
  snprintf(h->batch, sizeof h->batch, "%s", b->id);
  if (!err) err = engine_submit(service->engine, &submission, file_submitted, h, e);
  if (err) free(h);
  batch_pipeline_drop(b, &p);
  return err;
}

/* Its job's id is on disk: now the job itself may be made. */
static void file_noted(void *context, const struct commit *commit) {
  struct handing *h = context;
  struct batch *b;
  struct error e = commit->error;
  struct batch_file *file = handed_file(h, &b);
  free(h);
  if (!b) return;
  if (file && !commit->status && !file_submit(b, file, &e)) return; /* goes on in file_submitted */
  b->reading = false;
  if (file) file_end(b, file, "failed", "refused", e.message);
  batch_go_on(b);
}

static void file_begin(struct batch *b, struct batch_file *file) {
  struct handing *h = mem_alloc(sizeof *h);
  *h = (struct handing){.batches = b->batches, .index = file->index};
  snprintf(h->batch, sizeof h->batch, "%s", b->id);
  engine_new_id(file->job);
  b->reading = true;
  file_told(b, file, "processing", NULL, NULL, file_noted, h);
}

/* What the list says is wrong with a file ends it before a byte of it is fetched. */
static void file_problem(struct batch *b, struct batch_file *file, const char *problem) {
  static const char *const skipped[] = {"folder", "no-content", "empty"};
  const char *status = strcmp(problem, "oversized") ? "failed" : "oversized";
  for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++)
    if (!strcmp(problem, skipped[i])) status = "skipped";
  mem_auto char *message = mem_text(value_get_text(file->row, "message", NULL));
  file_end(b, file, status, problem, message);
}

/* ---- going on ----------------------------------------------------------------------------------------------------------- */

static bool take_row(struct batch *b) {
  struct value *row = batch_read_row(b);
  if (!row) return false;
  struct batch_file *file = mem_alloc(sizeof *file);
  *file = (struct batch_file){.index = b->taken++, .row = row, .next = b->files};
  b->files = file;
  b->under_way++;
  const char *problem = value_get_text(row, "problem", NULL);
  if (problem)
    file_problem(b, file, problem);
  else
    file_begin(b, file);
  return true;
}

struct turn {
  struct batches *batches;
  char batch[STORE_ID_MAX];
};

static void turn_come(void *context) {
  struct turn *turn = context;
  struct batch *b = open_batch(turn->batches, turn->batch);
  free(turn);
  if (b) batch_go_on(b);
}

/* A list of nothing but problems must not hold the loop. */
static void turn_later(struct batch *b) {
  struct turn *turn = mem_alloc(sizeof *turn);
  *turn = (struct turn){.batches = b->batches};
  snprintf(turn->batch, sizeof turn->batch, "%s", b->id);
  loop_post(b->batches->service->loop, turn_come, turn);
}

static void batch_go_on(struct batch *b) {
  if (b->status == BATCH_LISTING || b->reading) return;
  for (int rows = 0; b->status == BATCH_RUNNING && !b->reading && b->under_way < UNDER_WAY_MAX; rows++) {
    if (rows == ROWS_A_TURN) {
      turn_later(b);
      return;
    }
    if (!take_row(b)) break;
  }
  if (b->under_way || b->reading) return;
  batch_end(b, b->status == BATCH_CANCELLING ? BATCH_CANCELLED : BATCH_COMPLETED, NULL);
}

static void batch_begin(struct batch *b) {
  struct error e = {0};
  if (batch_open_list(b, &e)) {
    batch_end(b, BATCH_FAILED, e.message);
    return;
  }
  struct batch_step step = {.type = "batch-started", .body = value_map()};
  value_set_int(step.body, "totalFiles", b->total);
  b->status = BATCH_RUNNING;
  batch_step(b, &step, NULL, NULL);
  batch_go_on(b);
}

/* ---- hearing -------------------------------------------------------------------------------------------------------------- */

static const char *error_text(const struct value *event) {
  const struct value *error = value_get(event, "error");
  return error && error->type == VALUE_MAP ? value_get_text(error, "message", "failed") : value_get_text(event, "error", "failed");
}

static void listing_heard(struct batch *b, const char *type, const struct value *event) {
  if (b->status == BATCH_CANCELLING)
    batch_end(b, BATCH_CANCELLED, NULL);
  else if (!strcmp(type, "completed"))
    batch_begin(b);
  else
    batch_end(b, BATCH_FAILED, strcmp(type, "failed") ? "the listing was cancelled" : error_text(event));
}

static void file_heard(struct batch *b, struct batch_file *file, const char *type, const struct value *event) {
  if (!strcmp(type, "completed"))
    file_end(b, file, "completed", NULL, NULL);
  else if (!strcmp(type, "failed"))
    file_end(b, file, "failed", "job-failed", error_text(event));
  else
    file_end(b, file, b->status == BATCH_CANCELLING ? "cancelled" : "failed", "cancelled", "its job was cancelled");
  batch_go_on(b);
}

static void heard(void *context, const struct news *news) {
  struct batches *batches = context;
  if (!news->terminal || !news->job) return;
  for (struct batch *b = batches->open, *next; b; b = next) {
    next = b->next;
    if ((b->status == BATCH_LISTING || b->status == BATCH_CANCELLING) && !strcmp(b->listing_job, news->job)) {
      listing_heard(b, news->type, news->event);
      continue;
    }
    for (struct batch_file *file = b->files; file; file = file->next)
      if (!strcmp(file->job, news->job)) {
        file_heard(b, file, news->type, news->event);
        break;
      }
  }
}

/* ---- submitting ----------------------------------------------------------------------------------------------------------- */

struct asking {
  struct batches *batches;
  struct batch *batch; /* until it is open */
  struct batch_request request; /* what a listing job needs later */
  struct value *listing;
  char *input;
  engine_done *done;
  void *context;
};

static void asking_end(struct asking *a, const struct error *e) {
  a->done(a->context, e);
  value_free(&a->listing);
  free(a->input);
  batch_free(&a->batch);
  free(a);
}

static void batch_stored(void *context, const struct commit *commit) {
  struct asking *a = context;
  struct error e = commit->error;
  e.code = commit->status;
  if (e.code) {
    asking_end(a, &e);
    return;
  }
  struct batch *b = a->batch;
  a->batch = NULL;
  b->next = b->batches->open;
  b->batches->open = b;
  a->request.listing = a->listing;
  a->request.input = a->input;
  if (b->kind == BATCH_LIST) {
    batch_begin(b);
  } else {
    struct error why = {0};
    if (batch_start_listing(b, &a->request, &why)) batch_end(b, BATCH_FAILED, why.message);
  }
  asking_end(a, &e);
}

/* The list of a request becomes a file like every other. */
static enum err write_list(struct batch *b, const struct value *list, struct error *e) {
  buf_auto struct buf lines = {0};
  mem_auto char *folder = batch_folder(b->batches->service);
  for (size_t i = 0; i < list->count; i++) {
    value_json(&lines, list->items[i], VALUE_JSON_COMPACT | VALUE_JSON_REVEAL);
    buf_char(&lines, '\n');
  }
  b->list_path = mem_format("%s/%s.ndjson", folder, b->id);
  if (fs_make_folders(folder, 0700, e)) return e->code;
  return fs_write_durably(b->list_path, buf_string(&lines), lines.size, 0600, e);
}

static struct batch *batch_new(struct batches *batches, const struct batch_request *request) {
  struct batch *b = mem_alloc(sizeof *b);
  b->batches = batches;
  snprintf(b->id, sizeof b->id, "%s", request->id);
  b->owner = mem_text(request->owner);
  b->title = mem_text(request->title);
  b->pipeline = mem_text(request->pipeline);
  b->params = request->params ? value_copy(request->params) : value_map();
  b->kind = request->kind;
  b->status = BATCH_LISTING;
  b->force = request->force;
  b->max_file_bytes = request->max_file_bytes;
  if (b->kind != BATCH_LIST) engine_new_id(b->listing_job);
  if (b->kind != BATCH_LIST)
    b->list_path = mem_format("%s/%s/list/files.ndjson", batches->service->outputs_folder, b->listing_job);
  return b;
}

static enum err keep_token(struct batch *b, const char *token, struct error *e) {
  char *sealed = NULL;
  struct service *service = b->batches->service;
  if (!token) return ERR_OK;
  if (seal(service->keyring, b->id, token, &sealed, e)) return e->code;
  value_auto struct value *v = value_map();
  buf_auto struct buf json = {0};
  value_set_text(v, "sealed", sealed);
  value_json(&json, v, VALUE_JSON_COMPACT);
  free(sealed);
  struct side_record record = {.kind = SIDE_CREDENTIAL, .id = b->id, .owner = b->owner, .group = b->id, .body_json = json.data};
  struct side_change change = {.record = &record, .expected_version = SIDE_NEW};
  store_side(service->store, &change, 1, NULL, NULL); /* commits are in order: it is there before the batch is */
  return ERR_OK;
}

void batch_submit(struct batches *batches, const struct batch_request *request, engine_done *done, void *context) {
  struct error e = {0};
  struct asking *a = mem_alloc(sizeof *a);
  *a = (struct asking){.batches = batches, .batch = batch_new(batches, request), .done = done, .context = context};
  a->listing = request->listing ? value_copy(request->listing) : NULL;
  a->input = mem_text(request->input);
  if ((request->kind == BATCH_LIST && write_list(a->batch, request->list, &e)) || keep_token(a->batch, request->token, &e)) {
    asking_end(a, &e);
    return;
  }
  struct batch_step step = {0};
  batch_step(a->batch, &step, batch_stored, a);
}

char *batch_token(struct service *service, const char *batch) {
  struct side_record record = {0};
  value_auto struct value *v = NULL;
  char *token = NULL;
  if (!batch || store_side_get(service->store, SIDE_CREDENTIAL, batch, &record, NULL)) return NULL;
  if (!value_from_json(record.body_json, strlen(record.body_json), &v, NULL))
    unseal(service->keyring, batch, value_get_text(v, "sealed", ""), &token, NULL);
  side_record_clear(&record);
  return token;
}

/* ---- steering ------------------------------------------------------------------------------------------------------------- */

static enum err known(struct batches *batches, const char *id, struct side_record *record, struct error *e) {
  return store_side_get(batches->service->store, SIDE_BATCH, id, record, e);
}

void batch_cancel(struct batches *batches, const char *id, engine_done *done, void *context) {
  struct error e = {0};
  struct side_record record = {0};
  struct batch *b = open_batch(batches, id);
  if (!b && !known(batches, id, &record, &e)) error_set(&e, ERR_CONFLICT, "the batch %s has ended already", id);
  side_record_clear(&record);
  if (b) {
    bool listing = b->status == BATCH_LISTING;
    struct batch_step step = {0};
    b->status = BATCH_CANCELLING;
    batch_step(b, &step, NULL, NULL);
    if (listing) engine_cancel(batches->service->engine, b->listing_job, NULL, NULL);
    for (struct batch_file *file = b->files; file; file = file->next)
      engine_cancel(batches->service->engine, file->job, NULL, NULL);
    if (!listing) batch_go_on(b);
  }
  done(context, &e);
}

/* ---- a restart, and files once more --------------------------------------------------------------------------------------- */

/* Puts the files of these statuses under way again, as their records say. */
static void files_restore(struct batch *b, const char *status) {
  struct store *store = b->batches->service->store;
  char after[STORE_ID_MAX + 32] = "";
  struct side_list list = {0};
  do {
    struct side_filter filter = {.kind = SIDE_BATCH_FILE, .group = b->id, .after_id = *after ? after : NULL, .limit = PAGE};
    side_list_clear(&list);
    if (store_sides(store, &filter, &list, NULL)) break;
    for (size_t i = 0; i < list.count; i++) {
      const struct side_record *record = &list.items[i];
      struct value *row = NULL;
      snprintf(after, sizeof after, "%s", record->id);
      if (value_from_json(record->body_json, strlen(record->body_json), &row, NULL)) continue;
      if (strcmp(value_get_text(row, "status", ""), status)) {
        value_free(&row);
        continue;
      }
      struct batch_file *file = mem_alloc(sizeof *file);
      *file = (struct batch_file){.next = b->files, .row = row, .index = atoll(strrchr(record->id, '/') + 1)};
      snprintf(file->job, sizeof file->job, "%s", value_get_text(row, "jobId", ""));
      b->files = file;
      b->under_way++;
    }
  } while (list.count == PAGE);
  side_list_clear(&list);
}

/* The daemon ended between two steps: a job that was promised is made, one that has ended meanwhile is heard now. */
static void file_resume(struct batch *b, struct batch_file *file) {
  struct job_record job = {0};
  struct error e = {0};
  enum err err = store_job(b->batches->service->store, file->job, &job, &e);
  if (err == ERR_NOT_FOUND) err = file_submit(b, file, &e);
  if (err)
    file_end(b, file, "failed", "refused", e.message);
  else if (job.status == JOB_COMPLETED)
    file_end(b, file, "completed", NULL, NULL);
  else if (job.status == JOB_FAILED || job.status == JOB_CANCELLED)
    file_end(b, file, job.status == JOB_FAILED ? "failed" : "cancelled", job_status_word(job.status), NULL);
  job_record_clear(&job);
}

static void listing_resume(struct batch *b) {
  struct job_record job = {0};
  struct error e = {0};
  if (b->kind == BATCH_LIST) {
    batch_begin(b);
    return;
  }
  if (store_job(b->batches->service->store, b->listing_job, &job, &e))
    batch_end(b, BATCH_FAILED, "the daemon ended before the listing began: submit the batch again");
  else if (job.status == JOB_COMPLETED)
    batch_begin(b);
  else if (job_status_is_terminal(job.status))
    batch_end(b, BATCH_FAILED, "the listing failed or was cancelled");
  job_record_clear(&job);
}

static void batch_resume(struct batch *b) {
  struct error e = {0};
  if (b->status == BATCH_LISTING) {
    listing_resume(b);
    return;
  }
  files_restore(b, "processing");
  if (batch_open_list(b, &e)) log_warning("batch %s: %s", b->id, e.message);
  for (struct batch_file *file = b->files, *next; file; file = next) {
    next = file->next;
    if (b->status == BATCH_CANCELLING) engine_cancel(b->batches->service->engine, file->job, NULL, NULL);
    file_resume(b, file);
  }
  batch_go_on(b);
}

static void file_retried(void *context, const struct error *e) {
  struct handing *h = context;
  struct batch *b;
  struct batch_file *file = handed_file(h, &b);
  free(h);
  if (!file || !e->code) return;
  file_end(b, file, "failed", "refused", e->message);
  batch_go_on(b);
}

static void files_retry(struct batch *b) {
  struct batch_step step = {.type = "batch-started", .body = value_map()};
  value_set_int(step.body, "totalFiles", b->total);
  b->failed -= (int64_t)b->under_way;
  b->status = BATCH_RUNNING;
  batch_step(b, &step, NULL, NULL);
  for (struct batch_file *file = b->files; file; file = file->next) {
    struct handing *h = mem_alloc(sizeof *h);
    *h = (struct handing){.batches = b->batches, .index = file->index};
    snprintf(h->batch, sizeof h->batch, "%s", b->id);
    file_told(b, file, "processing", NULL, NULL, NULL, NULL);
    engine_retry(b->batches->service->engine, file->job, false, file_retried, h);
  }
}

/* Those that never became a job have nothing to be tried again. */
static void drop_jobless(struct batch *b) {
  for (struct batch_file *file = b->files, *next; file; file = next) {
    next = file->next;
    if (!file->job[0]) file_drop(b, file);
  }
}

void batch_retry(struct batches *batches, const char *id, engine_done *done, void *context) {
  struct error e = {0};
  struct side_record record = {0};
  struct batch *b = NULL;
  if (open_batch(batches, id)) error_set(&e, ERR_CONFLICT, "the batch %s is under way: its failed files can be tried again when it has ended", id);
  else if (!known(batches, id, &record, &e)) b = batch_from_record(batches, &record);
  side_record_clear(&record);
  if (b) {
    files_restore(b, "failed");
    drop_jobless(b);
    if (!b->under_way) error_set(&e, ERR_CONFLICT, "no file of the batch %s failed with a job that could be tried again", id);
  }
  if (b && !e.code) {
    if (batch_open_list(b, &e)) e.code = ERR_OK; /* the list may be gone: all of it was taken */
    b->next = batches->open;
    batches->open = b;
    files_retry(b);
  } else if (b) {
    batch_free(&b);
  }
  done(context, &e);
}

enum err batches_open(struct batches **batches, struct service *service, struct error *e) {
  struct batches *fresh = mem_alloc(sizeof *fresh);
  struct side_list list = {0};
  fresh->service = service;
  struct side_filter filter = {.kind = SIDE_BATCH, .due_until_us = clock_wall(&clock_system), .limit = PAGE};
  if (store_sides(service->store, &filter, &list, e)) {
    free(fresh);
    return e->code;
  }
  fresh->listener = engine_listen(service->engine, heard, fresh);
  for (size_t i = 0; i < list.count; i++) {
    struct batch *b = batch_from_record(fresh, &list.items[i]);
    if (!b) continue;
    b->next = fresh->open;
    fresh->open = b;
  }
  side_list_clear(&list);
  for (struct batch *b = fresh->open, *next; b; b = next) {
    next = b->next;
    batch_resume(b);
  }
  *batches = fresh;
  return ERR_OK;
}

void batches_close(struct batches **at) {
  struct batches *batches = *at;
  if (!batches) return;
  engine_unlisten(batches->service->engine, &batches->listener);
  while (batches->open) {
    struct batch *b = batches->open;
    batches->open = b->next;
    batch_free(&b);
  }
  free(batches);
  *at = NULL;
}
