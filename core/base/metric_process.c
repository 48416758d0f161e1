/* What Prometheus expects every process to tell of itself. Where /proc says nothing, nothing is told. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/metric.h"

static void refresh_cpu(void) {
  struct timespec used;
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) return;
  metric_set(metric_counter("process_cpu_seconds_total", "processor time spent, user and system", NULL),
             (double)used.tv_sec + (double)used.tv_nsec / 1e9);
}

static void refresh_memory(void) {
  long size, resident;
  FILE *f = fopen("/proc/self/statm", "re");
  bool read = f && fscanf(f, "%ld %ld", &size, &resident) == 2;
  if (f) fclose(f);
  if (read)
    metric_set(metric_gauge("process_resident_memory_bytes", "memory in use", NULL),
               (double)resident * (double)sysconf(_SC_PAGESIZE));
}

static void refresh_descriptors(void) {
  struct rlimit limit;
  double count = -1; /* the folder's own */
  DIR *dir = opendir("/proc/self/fd");
  for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) count += entry->d_name[0] != '.';
  if (dir) closedir(dir);
  if (count >= 0) metric_set(metric_gauge("process_open_fds", "open file descriptors", NULL), count);
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
    metric_set(metric_gauge("process_max_fds", "most file descriptors it may open", NULL), (double)limit.rlim_cur);
}

/* Wall time of the start: now less what has passed on the clock that counts since boot. */
static void refresh_start(void) {
  unsigned long long ticks = 0;
  struct timespec wall, boot;
  FILE *f = fopen("/proc/self/stat", "re");
  char line[1024] = "";
  if (f && fgets(line, sizeof(line), f)) {
    const char *at = strrchr(line, ')'); /* the name may hold anything */
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    if (at) sscanf(at, " %llu", &ticks);
  }
  if (f) fclose(f);
  if (!ticks || clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0) return;
  double age = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 - (double)ticks / (double)sysconf(_SC_CLK_TCK);
  metric_set(metric_gauge("process_start_time_seconds", "when it was started, in seconds since 1970", NULL),
             (double)(int64_t)((double)wall.tv_sec + (double)wall.tv_nsec / 1e9 - age));
}

void metric_refresh_process(void) {
  refresh_cpu();
  refresh_memory();
  refresh_descriptors();
  refresh_start();
}
