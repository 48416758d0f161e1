/* batch_parts.h - what the files of a batch share. */
#pragma once
#include <stdio.h>

#include "service/batch.h"
#include "service/bring.h"
#include "service/shelf.h"

enum batch_status { BATCH_LISTING = 1, BATCH_RUNNING, BATCH_CANCELLING, BATCH_COMPLETED, BATCH_FAILED, BATCH_CANCELLED };
const char *batch_status_word(enum batch_status status);
bool batch_has_ended(enum batch_status status);

struct batch_file { /* one whose job has not ended */
  struct batch_file *next;
  int64_t index;
  char job[STORE_ID_MAX];
  struct value *row; /* of the list */
};

struct batch {
  struct batch *next;
  struct batches *batches;
  char id[STORE_ID_MAX], listing_job[STORE_ID_MAX];
  char *owner, *title, *pipeline, *list_path, *error;
  struct value *params;
  enum batch_kind kind;
  enum batch_status status;
  bool force;
  int64_t max_file_bytes;
  int64_t total, taken; /* lines of the list; those that were looked at */
  int64_t processed, failed, oversized, skipped;
  struct batch_file *files; /* under way */
  size_t under_way;
  FILE *list;
  bool reading;             /* a file is on its way to the engine */
};

struct batches {
  struct service *service;
  struct listener *listener;
  struct batch *open;
};

/* batch_record.c */
void batch_free(struct batch **batch);
struct value *batch_body(const struct batch *b);
struct batch *batch_from_record(struct batches *batches, const struct side_record *record);
/* One step, durable and told: the batch as it is now, a file's record beside it (NULL: none), an event (type NULL: none; body
 * moved). done may be NULL. */
struct batch_step {
  const struct batch_file *file; /* with its row */
  const char *file_status, *reason, *message;
  const char *type;
  struct value *body; /* moved */
  bool ends;          /* credentials go with it */
};
void batch_step(struct batch *b, struct batch_step *step, store_done *done, void *context);
struct value *batch_totals(const struct batch *b);
char *batch_folder(const struct service *service); /* STATE/batches */

/* batch_source.c */
enum err batch_open_list(struct batch *b, struct error *e); /* counts it, goes to where the batch stands */
struct value *batch_read_row(struct batch *b);              /* owned; NULL: the end */
enum err batch_start_listing(struct batch *b, const struct batch_request *request, struct error *e);
/* The pipeline a file of it goes through, with what brings its bytes in front when it reads a file. Dropped in any case. */
struct batch_pipeline {
  const struct pipeline *pipeline;
  const struct shelf_set *set;
  struct pipeline *fronted;
};
enum err batch_pipeline_take(struct batch *b, const char *input, struct value *given, struct batch_pipeline *p, struct error *e);
void batch_pipeline_drop(struct batch *b, struct batch_pipeline *p);
