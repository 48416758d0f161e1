/* noop - takes anything, writes one small file, gives two results. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_TEXT("text", "nothing", "what to write"),
  SM_INT("n", "0", -1000000, 1000000, NULL, "a number to hand back"),
  SM_BOOL("quiet", "false", "write no log line"),
  SM_PARAMS_END,
};
static const sm_port inputs[] = {
  SM_PORT("in", SM_PORT_ARTIFACT, SM_PORT_MANY | SM_PORT_OPTIONAL, "*/*", "anything; counted and read"),
  SM_PORTS_END,
};
static const sm_port outputs[] = {SM_OUTPUT("out", "text/plain", "the text"), SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_TEXT("text", SM_AT_END, "the text again"),
  SM_RESULT_INT("n", SM_AT_END, NULL, "the number again"),
  SM_RESULT_INT("inputs", SM_AT_END, NULL, "how many inputs came"),
  SM_RESULT_INT("bytes", SM_AT_END, "bytes", "how much could be read from them"),
  SM_RESULT_INT("attempt", SM_AT_END, NULL, "which attempt this was"),
  SM_RESULTS_END,
};

static int64_t read_input(sm_task *task, uint32_t index) {
  char chunk[4096];
  int64_t bytes = 0;
  int fd = sm_input_open(task, "in", index);
  if (fd < 0) return -1;
  for (ssize_t n; (n = read(fd, chunk, sizeof(chunk))) > 0;) bytes += n;
  close(fd);
  return bytes;
}

static sm_status write_text(sm_task *task, const char *text) {
  const char *path = sm_output_path(task, "out", "text.txt");
  int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
  if (fd < 0) return sm_fail(task, SM_RETRY, NULL, "cannot write text.txt: is the disk full?");
  ssize_t n = write(fd, text, strlen(text));
  close(fd);
  if (n != (ssize_t)strlen(text)) return sm_fail(task, SM_RETRY, NULL, "cannot write text.txt: is the disk full?");
  return sm_output(task, "out", "text.txt", NULL, "{\"from\": \"noop\"}");
}

static sm_status noop_run(sm_task *task) {
  const char *text = sm_param_text(task, "text");
  int count = sm_input_count(task, "in");
  int64_t bytes = 0;
  if (!text) text = "";
  if (!sm_param_bool(task, "quiet")) sm_log(task, SM_LOG_INFO, "nothing to do for `%s`", sm_info(task, "stage"));
  for (int i = 0; i < count; i++) {
    int64_t n = read_input(task, (uint32_t)i);
    if (n < 0) return sm_fail(task, SM_FAIL, NULL, "input %d cannot be opened", i);
    bytes += n;
  }
  sm_progress(task, 0.5, "writing");
  sm_status status = write_text(task, text);
  if (status != SM_OK) return status;
  sm_result_text(task, "text", text);
  sm_result_int(task, "n", sm_param_int(task, "n"));
  sm_result_int(task, "inputs", count);
  sm_result_int(task, "bytes", bytes);
  sm_result_int(task, "attempt", sm_attempt(task));
  sm_progress(task, 1, NULL);
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("noop", "does nothing, well", params, inputs, outputs, results, noop_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.noop", "1.0.0", "MIT", stages);
