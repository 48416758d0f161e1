/* batch.h - many inputs in one request, a job a file. One bad file never stops the others.
 *
 *   listing    a sandboxed stage finds out what there is (bucket, archive, Drive folder); a list in the request needs none
 *   running    files become jobs, so many at a time that other owners still have their turn
 *   completed | failed (the listing did) | cancelled
 *
 * The list is a file, one JSON object a line (plugins/list/list.h); where the batch stands in it is stored with every step, and a
 * file's job id before its job, so that a restart goes on without doing anything twice. A file whose pipeline, parameters
 * and source identity were done before is skipped unless `force`.
 *
 * Events have the batch's id as subject: batch-started, batch-progress, batch-completed, batch-failed, batch-cancelled. */
#pragma once
#include "service/service.h"

struct batches;
/* [loop thread] Takes up the batches that an earlier daemon left. `service` is complete, its engine listens. */
enum err batches_open(struct batches **batches, struct service *service, struct error *e);
void batches_close(struct batches **batches); /* before the engine is destroyed */

enum batch_kind { BATCH_LIST = 1, BATCH_BUCKET, BATCH_ARCHIVE, BATCH_DRIVE };
struct batch_request {
  char id[STORE_ID_MAX]; /* engine_new_id */
  const char *owner, *title, *pipeline; /* name on the shelf */
  const struct value *params;           /* map of text, as guarded */
  enum batch_kind kind;
  const struct value *list;    /* LIST: of maps {input, name, title, asset, params, source}: inputs as guarded */
  const char *input;           /* ARCHIVE: as guarded */
  const struct value *listing; /* params of the listing pipeline: BUCKET {bucket, prefix}, DRIVE {folder} */
  const char *token;           /* DRIVE: the caller's own; sealed, never logged, wiped at the end */
  int64_t max_file_bytes;      /* 0: none */
  bool force;
};
/* [loop thread] Durable when `done` is called. */
void batch_submit(struct batches *batches, const struct batch_request *request, engine_done *done, void *context);
/* Running jobs of it are cancelled, no further ones are made. ERR_CONFLICT: it has ended. */
void batch_cancel(struct batches *batches, const char *id, engine_done *done, void *context);
/* Its failed files once more. ERR_CONFLICT: it runs, or nothing of it failed. */
void batch_retry(struct batches *batches, const char *id, engine_done *done, void *context);
/* The secret that stages of a batch's jobs know as BATCH_TOKEN; owned, NULL: none. */
char *batch_token(struct service *service, const char *batch);

/* Public forms, from the store. [any-thread] */
struct value *batch_view(const struct side_record *record);      /* Batch */
struct value *batch_file_view(const struct side_record *record); /* {name, status, jobId, bytes, errorReason, message} */
