/* fds - reports what its process looks like from inside: open descriptors, environment, privileges, limits. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stagemill/stage.h>

static const sm_param params[] = {SM_PARAMS_END};
static const sm_port inputs[] = {
  SM_PORT("in", SM_PORT_ARTIFACT, SM_PORT_MANY | SM_PORT_OPTIONAL, "*/*", "inputs, to see their descriptors"),
  SM_PORTS_END,
};
static const sm_port outputs[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_LIST("fds", SM_AT_END, "number and target of every open descriptor"),
  SM_RESULT_LIST("environment", SM_AT_END, "names of the environment's variables"),
  SM_RESULT_INT("no_new_privs", SM_AT_END, NULL, "1 when privileges cannot be gained"),
  SM_RESULT_INT("session", SM_AT_END, NULL, "1 when this process leads a session of its own"),
  SM_RESULT_INT("core", SM_AT_END, "bytes", "largest core file"),
  SM_RESULT_INT("uid", SM_AT_END, NULL, "effective user"),
  SM_RESULT_INT("gid", SM_AT_END, NULL, "effective group"),
  SM_RESULT_INT("oom", SM_AT_END, NULL, "oom_score_adj"),
  SM_RESULTS_END,
};

static void list_fds(sm_task *task) {
  DIR *folder = opendir("/proc/self/fd");
  char path[64], target[512], item[640];
  if (!folder) return;
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(folder)) continue;
    snprintf(path, sizeof(path), "/proc/self/fd/%.20s", entry->d_name);
    ssize_t size = readlink(path, target, sizeof(target) - 1);
    target[size > 0 ? size : 0] = '\0';
    snprintf(item, sizeof(item), "%.20s %s", entry->d_name, target);
    sm_result_item(task, "fds", item);
  }
  closedir(folder);
}

static int64_t number_in(const char *path, const char *key) {
  char line[256];
  int64_t n = -1;
  FILE *f = fopen(path, "r");
  while (f && fgets(line, sizeof(line), f))
    if (strncmp(line, key, strlen(key)) == 0) n = atoll(line + strlen(key));
  if (f) fclose(f);
  return n;
}

static sm_status fds_run(sm_task *task) {
  struct rlimit core = {1, 1};
  list_fds(task);
  for (char **v = environ; *v; v++) {
    char name[128];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(*v, "="), *v);
    sm_result_item(task, "environment", name);
  }
  getrlimit(RLIMIT_CORE, &core);
  sm_result_int(task, "no_new_privs", number_in("/proc/self/status", "NoNewPrivs:"));
  sm_result_int(task, "session", getsid(0) == getpid());
  sm_result_int(task, "core", (int64_t)core.rlim_max);
  sm_result_int(task, "uid", geteuid());
  sm_result_int(task, "gid", getegid());
  sm_result_int(task, "oom", number_in("/proc/self/oom_score_adj", ""));
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("fds", "reports what its process looks like", params, inputs, outputs, results, fds_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.fds", "1.0.0", "MIT", stages);
