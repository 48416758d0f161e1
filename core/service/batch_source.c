/* batch_source.c - where the files of a batch come from: the list on disk, the job that makes it, and the pipelines in
 * share/stagemill/pipelines/sources that list (list-*.yaml) and bring (from-*.yaml). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "service/batch_parts.h"

enum { ROW_BYTES_MAX = 64 * 1024 };

char *batch_folder(const struct service *service) { return mem_format("%s/batches", service->state_folder); }

/* ---- the list ------------------------------------------------------------------------------------------------------- */

static bool row_text(struct batch *b, char **line, size_t *room) {
  ssize_t n = getline(line, room, b->list);
  if (n > 0 && (*line)[n - 1] == '\n') (*line)[--n] = '\0';
  return n >= 0 && n <= ROW_BYTES_MAX;
}

/* Entries of an archive are named below the folder where they were unpacked. */
static void row_anchor(const struct batch *b, struct value *row) {
  const char *input = value_get_text(row, "input", NULL);
  if (!input || b->kind != BATCH_ARCHIVE) return;
  mem_auto char *folder = mem_text_n(b->list_path, (size_t)(strrchr(b->list_path, '/') - b->list_path));
  mem_auto char *path = mem_format("%s/%s", folder, input);
  value_set_text(row, "input", path);
}

struct value *batch_read_row(struct batch *b) {
  char *line = NULL;
  size_t room = 0;
  struct value *row = NULL;
  bool more = b->list && row_text(b, &line, &room);
  if (more && (value_from_json(line, strlen(line), &row, NULL) || row->type != VALUE_MAP)) {
    value_free(&row);
    row = value_map();
    value_set_text(row, "name", "?");
    value_set_text(row, "problem", "unreadable");
    value_set_text(row, "message", "its line in the list is damaged");
  }
  free(line);
  if (row) row_anchor(b, row);
  return row;
}

enum err batch_open_list(struct batch *b, struct error *e) {
  char *line = NULL;
  size_t room = 0;
  b->list = fopen(b->list_path, "re");
  if (!b->list) return error_errno(e, errno, "cannot read the list %s", b->list_path);
  for (b->total = 0; row_text(b, &line, &room); b->total++) continue;
  rewind(b->list);
  for (int64_t i = 0; i < b->taken; i++)
    if (!row_text(b, &line, &room)) break;
  free(line);
  return ERR_OK;
}

/* ---- pipelines ------------------------------------------------------------------------------------------------------- */

static char *source_file(const struct service *service, const char *name) {
  return mem_format("%s/pipelines/sources/%s.yaml", service->share_folder, name);
}

void batch_pipeline_drop(struct batch *b, struct batch_pipeline *p) {
  pipeline_free(&p->fronted);
  if (p->set) shelf_release(b->batches->service->shelf, &p->set);
}

enum err batch_pipeline_take(struct batch *b, const char *input, struct value *given, struct batch_pipeline *p, struct error *e) {
  struct service *service = b->batches->service;
  p->set = shelf_hold(service->shelf);
  const struct shelved *found = shelf_find(p->set, b->pipeline);
  if (!found || !found->pipeline)
    return error_set(e, ERR_NOT_FOUND, "the pipeline %s is not there any more, or has errors", b->pipeline);
  enum err err = bring_input(service, found->pipeline, input, b->kind == BATCH_DRIVE ? BRING_DRIVE : BRING_URL, given, &p->fronted, e);
  p->pipeline = p->fronted ? p->fronted : found->pipeline;
  return err;
}

/* ---- the listing job --------------------------------------------------------------------------------------------------- */

static const char *lister(enum batch_kind kind) {
  return kind == BATCH_BUCKET ? "list-bucket" : kind == BATCH_ARCHIVE ? "list-archive" : "list-drive";
}

static struct value *listing_params(struct batch *b, const struct batch_request *request) {
  struct service *service = b->batches->service;
  struct value *given = request->listing ? value_copy(request->listing) : value_map();
  const struct settings *settings = settings_hold(service->settings);
  mem_auto char *files = mem_format("%lld", (long long)settings->batches.max_files);
  mem_auto char *bytes = mem_format("%lld", (long long)b->max_file_bytes);
  value_set_text(given, "max_files", files);
  if (b->max_file_bytes) value_set_text(given, "max_file_size", bytes);
  if (b->kind == BATCH_DRIVE && settings->batches.drive_url) value_set_text(given, "url", settings->batches.drive_url);
  settings_release(service->settings, &settings);
  if (b->kind == BATCH_BUCKET) bring_storage(service, given);
  return given;
}

static void listing_submitted(void *context, const char *job, enum submit_outcome outcome, const struct error *e) {
  (void)context, (void)job, (void)outcome, (void)e; /* how it went is heard from its events, or found at the next start */
}

enum err batch_start_listing(struct batch *b, const struct batch_request *request, struct error *e) {
  struct service *service = b->batches->service;
  struct report *report = report_new();
  struct pipeline *pipeline = NULL, *fronted = NULL;
  mem_auto char *path = source_file(service, lister(b->kind)), *output = mem_format("%s/%s", service->outputs_folder, b->listing_job);
  mem_auto char *list = mem_format("%s/list/files.ndjson", output);
  value_auto struct value *given = listing_params(b, request);
  enum err err = pipeline_load(path, service->stages, report, &pipeline, e);
  report_free(&report);
  if (!err) err = bring_input(service, pipeline, request->input, BRING_URL, given, &fronted, e);
  struct submission submission = {.pipeline = fronted ? fronted : pipeline, .input = request->input, .given = given, .given_folder = "/",
                                  .output_folder = output, .owner = b->owner, .batch = b->id, .id = b->listing_job,
                                  .salt = b->listing_job, .title = b->title, .priority = -1};
  if (!err) err = engine_submit(service->engine, &submission, listing_submitted, NULL, e);
  pipeline_free(&pipeline);
  pipeline_free(&fronted);
  free(b->list_path);
  b->list_path = mem_text(list);
  return err;
}
