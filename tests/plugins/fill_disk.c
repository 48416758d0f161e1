/* fill-disk - writes until the quota, the file limit or the disk ends it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <stagemill/stage.h>

static const sm_param params[] = {
  SM_CHOICE("where", "scratch", "scratch|output", "which folder to fill"),
  SM_CHOICE("how", "files", "files|one-file|empty-files", "many files, one big one, or many without content"),
  SM_SIZE("step", "1Mi", 1, 1073741824, "bytes a write"),
  SM_SIZE("most", "1Gi", 0, 0, "give up there"),
  SM_DURATION("pause", "2ms", 0, 60, "between two writes"),
  SM_PARAMS_END,
};
static const sm_port inputs[] = {SM_PORTS_END};
static const sm_port outputs[] = {
  SM_PORT("out", SM_PORT_ARTIFACT, SM_PORT_MANY | SM_PORT_OPTIONAL, "application/octet-stream", "what was written"),
  SM_PORTS_END,
};
static const sm_result results[] = {
  SM_RESULT_INT("bytes", SM_AT_END, "bytes", "how much fitted"),
  SM_RESULTS_END,
};

static int open_file(sm_task *task, bool in_output, int64_t number) {
  char name[64], path[4096];
  snprintf(name, sizeof(name), "fill-%lld.bin", (long long)number);
  if (in_output) {
    const char *full = sm_output_path(task, "out", name);
    return full ? open(full, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
  }
  snprintf(path, sizeof(path), "%s/%s", sm_scratch_path(task), name);
  return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static sm_status fill_run(sm_task *task) {
  const char *how = sm_param_text(task, "how"), *where = sm_param_text(task, "where");
  int64_t step = sm_param_int(task, "step"), most = sm_param_int(task, "most"), pause_us = sm_param_int(task, "pause");
  bool one = how && how[0] == 'o', empty = how && how[0] == 'e', in_output = where && where[0] == 'o';
  char *data = calloc(1, (size_t)step);
  int64_t done = 0;
  memset(data, 'x', (size_t)step);
  for (int64_t i = 0; done < most && !sm_cancelled(task); i++) {
    struct timespec nap = {pause_us / 1000000, pause_us % 1000000 * 1000};
    int fd = open_file(task, in_output, one ? 0 : i);
    ssize_t n = fd >= 0 ? write(fd, data, empty ? 0 : (size_t)step) : -1;
    int saved = errno;
    if (fd >= 0) close(fd);
    if (n < 0)
      return sm_fail(task, saved == ENOSPC || saved == EDQUOT ? SM_RETRY : SM_FAIL, strerror(saved),
                     "no room after %lld bytes (%s): free some space", (long long)done, strerror(saved));
    done += empty ? 1 : n;
    sm_progress(task, 0, NULL);
    nanosleep(&nap, NULL);
  }
  if (sm_cancelled(task)) return SM_CANCELLED;
  sm_result_int(task, "bytes", done);
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("fill-disk", "writes until there is no room", params, inputs, outputs, results, fill_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.fill-disk", "1.0.0", "MIT", stages);
