/* my_stage.c - copies its input, as the frame for a stage of your own. What to change is marked with an arrow. */
#include <stagemill/stage.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* -> What operators may write under `with:`. */
static const sm_param params[] = {SM_TEXT("name", "copy.bin", "file name of the result"), SM_PARAMS_END};
/* -> What it takes and what it makes, with media types. */
static const sm_port inputs[] = {SM_INPUT("file", "*/*", "what to work on"), SM_PORTS_END};
static const sm_port outputs[] = {SM_OUTPUT("result", "application/octet-stream", "what came out"), SM_PORTS_END};
/* -> What later stages can read as ${{ stages.ID.KEY }}. */
static const sm_result results[] = {SM_RESULT_INT("bytes", SM_AT_END, "bytes", "size of the result"), SM_RESULTS_END};

/* -> The work. Ask sm_cancelled() at least once a second, and report progress: both are cheap. */
static sm_status work(sm_task *task, int from, FILE *to, int64_t *bytes) {
  char block[65536];
  ssize_t n;
  while ((n = read(from, block, sizeof block)) > 0) {
    if (fwrite(block, 1, (size_t)n, to) != (size_t)n)
      return sm_fail(task, SM_RETRY, strerror(errno), "the result cannot be written");
    *bytes += n;
    sm_progress(task, 0, "working");
    if (sm_cancelled(task)) return SM_CANCELLED;
  }
  return n == 0 ? SM_OK : sm_fail(task, SM_RETRY, strerror(errno), "the input cannot be read to its end");
}

static sm_status my_stage_run(sm_task *task) {
  const char *name = sm_param_text(task, "name"), *path = sm_output_path(task, "result", name);
  int64_t bytes = 0;
  if (!path)
    return sm_fail(task, SM_FAIL, NULL, "name '%s' cannot be a file name: leave out slashes and dots at the front",
                   name);
  int from = sm_input_open(task, "file", 0);
  FILE *to = from >= 0 ? fopen(path, "wb") : NULL;
  sm_status status =
    to ? work(task, from, to, &bytes) : sm_fail(task, SM_FAIL, strerror(errno), "the input cannot be opened");
  if (to && fclose(to) != 0 && status == SM_OK)
    status = sm_fail(task, SM_RETRY, strerror(errno), "the result cannot be written");
  if (from >= 0) close(from);
  if (status != SM_OK) return status;
  sm_result_int(task, "bytes", bytes);
  return sm_output(task, "result", name, NULL, NULL);
}

static const sm_stage stages[] = {
  /* -> Stage names are lower case with dashes. */
  SM_TASK_STAGE("my-stage", "copies its input", params, inputs, outputs, results, my_stage_run), SM_STAGES_END};
/* -> Your own id (a domain you have, reversed), version, licence (SPDX). */
SM_PLUGIN("org.example.my-stage", "0.1.0", "MIT", stages);
