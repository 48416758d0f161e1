#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "list.h"

sm_status listing_open(struct listing *l, sm_task *task) {
  *l = (struct listing){.task = task, .max_files = sm_param_int(task, "max-files"),
                        .max_file_bytes = sm_param_int(task, "max-file-size")};
  const char *path = sm_output_path(task, "files", "files.ndjson");
  l->out = path ? fopen(path, "we") : NULL;
  if (l->out) return SM_OK;
  return sm_fail(task, SM_RETRY, NULL, "cannot write the list into the job's folder: %s", strerror(errno));
}

bool listing_is_oversized(const struct listing *l, int64_t bytes) { return l->max_file_bytes > 0 && bytes > l->max_file_bytes; }

/* Names come from strangers: what is no UTF-8 is left out, and the file with it. */
static void put(json_t *object, const char *key, const char *text) {
  if (text) json_object_set_new(object, key, json_string(text));
}

static json_t *listed_json(const struct listing *l, const struct listed *file) {
  json_t *object = json_object(), *name = json_string(file->name);
  const char *problem = file->problem, *message = file->message;
  char sentence[128];
  if (!name) problem = "unsafe-name", message = "its name is not valid UTF-8", name = json_string("?");
  if (!problem && listing_is_oversized(l, file->bytes)) {
    snprintf(sentence, sizeof sentence, "%lld bytes are more than the %lld that a file may have", (long long)file->bytes,
             (long long)l->max_file_bytes);
    problem = "oversized", message = sentence;
  }
  json_object_set_new(object, "name", name);
  if (file->bytes >= 0) json_object_set_new(object, "bytes", json_integer(file->bytes));
  put(object, "source", file->source);
  put(object, "problem", problem);
  put(object, "message", message);
  if (!problem) put(object, "input", file->input);
  return object;
}

sm_status listing_add(struct listing *l, const struct listed *file) {
  if (l->max_files > 0 && l->files >= l->max_files)
    return sm_fail(l->task, SM_FAIL, NULL, "there are more than %lld files: raise `max-files`, or name a smaller part",
                   (long long)l->max_files);
  json_t *object = listed_json(l, file);
  if (json_dumpf(object, l->out, JSON_COMPACT) || fputc('\n', l->out) == EOF) l->failed = true;
  if (json_object_get(object, "problem")) l->problems++;
  json_decref(object);
  l->files++;
  if (file->bytes > 0) l->bytes += file->bytes;
  sm_progress_items(l->task, NAN, (uint64_t)l->files, 0, NULL);
  return sm_cancelled(l->task) ? SM_CANCELLED : SM_OK;
}

sm_status listing_close(struct listing *l, sm_status status) {
  bool failed = l->failed;
  if (l->out && fclose(l->out)) failed = true;
  if (status != SM_OK) return status;
  if (failed) return sm_fail(l->task, SM_RETRY, NULL, "cannot write the list into the job's folder: is the disk full?");
  sm_result_int(l->task, "files", l->files);
  sm_result_int(l->task, "bytes", l->bytes);
  sm_result_int(l->task, "problems", l->problems);
  sm_progress(l->task, 1, NULL);
  return sm_output(l->task, "files", "files.ndjson", "application/x-ndjson", NULL);
}
