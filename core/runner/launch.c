#include "runner/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "runner/attempt.h"
#include "runner/fault.h"
#include "runner/limits.h"
#include "runner/passhost.h"

/* Where an attempt finds its descriptors; 0-2 are /dev/null and the log pipes. */
enum { AT_SOCKET = 3, AT_PAGE, AT_UNIT, AT_SLOTS, UNIT_SIZE_MAX = 64 << 20 };

static void complain(const struct error *e) { fprintf(stderr, "stagemill-runner: %s\n", e->message); }

/* ---- both ways of starting end here ---- */

static struct page *map_page(void) {
  void *page = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, AT_PAGE, 0);
  return page == MAP_FAILED ? NULL : page;
}

static int enter(uint32_t slot_count, struct plugin *const *plugins, const struct pass_module *pass) {
  struct attempt a = {.socket = AT_SOCKET, .page = map_page(), .slot_count = slot_count};
  static int slots[UNIT_SLOTS_MAX];
  struct error e = {0};
  buf_auto struct buf packed = {0};
  for (uint32_t i = 0; i < slot_count; i++) slots[i] = AT_SLOTS + (int)i;
  a.slots = slots;
  pthread_mutex_init(&a.send_lock, NULL);
  lseek(AT_UNIT, 0, SEEK_SET);
  if (!a.page) error_errno(&e, errno, "cannot map the attempt's page");
  else if (!fs_read_fd(AT_UNIT, UNIT_SIZE_MAX, &packed, &e)) unit_unpack(packed.data, packed.size, &a.unit, &e);
  if (!a.unit) {
    complain(&e);
    return 2;
  }
  memset(packed.data, 0, packed.size); /* may hold secrets */
  close(AT_PAGE);
  close(AT_UNIT);
  fcntl(AT_SOCKET, F_SETFD, FD_CLOEXEC); /* inputs stay open over exec: a tool that a stage starts may read them */
  fault_init(AT_SOCKET);
  return attempt_run(&a, plugins, pass);
}

/* ---- warm: in a child of the zygote ---- */

static void own_signals(void) {
  sigset_t none;
  for (int s = 1; s < NSIG; s++)
    if (s != SIGKILL && s != SIGSTOP) signal(s, SIG_DFL);
  signal(SIGPIPE, SIG_IGN); /* a stage that writes to a peer gone sees EPIPE */
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static enum err own_streams(struct control *start, struct error *e) {
  int null = open("/dev/null", O_RDONLY);
  if (null < 0 || dup2(null, 0) < 0 || dup2(start->fds[START_STDOUT], 1) < 0 || dup2(start->fds[START_STDERR], 2) < 0)
    return error_errno(e, errno, "cannot give the attempt its streams");
  return ERR_OK;
}

/* Leaves exactly 0-2, socket, page, unit and the slots. */
static enum err own_descriptors(struct control *start, size_t first_slot, struct error *e) {
  int fds[CONTROL_FDS_MAX] = {start->fds[START_SOCKET], start->fds[START_PAGE], start->fds[START_UNIT]};
  size_t count = 3;
  for (size_t i = first_slot; i < start->fd_count; i++) fds[count++] = start->fds[i];
  return limits_keep_only(fds, count, AT_SOCKET, e);
}

static enum err prepare(struct control *start, size_t first_slot, pid_t keeper, struct error *e) {
  bool has_cgroup = value_get_bool(start->body, "cgroup", false);
  struct limits limits = {
    .memory_bytes = value_get_int(start->body, "memory", 0),
    .file_bytes = value_get_int(start->body, "fileBytes", 0),
    .uid = (int)value_get_int(start->body, "uid", -1),
    .gid = (int)value_get_int(start->body, "gid", -1),
    .cgroup_procs = has_cgroup ? start->fds[START_FIXED] : -1,
  };
  own_signals();
  setsid(); /* a terminal's Ctrl-C reaches the engine alone */
  enum err err = own_streams(start, e);
  if (!err) err = limits_apply(&limits, e);
  if (!err) err = own_descriptors(start, first_slot, e);
  /* After the change of user, which clears it. */
  if (!err && !limits_die_with_parent(SIGKILL, keeper)) err = error_set(e, ERR_LOST, "the keeper is gone");
  return err;
}

static void exec_fresh(uint32_t slots, const char *pass_path) {
  char count[16];
  snprintf(count, sizeof(count), "%u", slots);
  execl("/proc/self/exe", "stagemill-runner", "--attempt", count, pass_path ? pass_path : "", (char *)NULL);
  fprintf(stderr, "stagemill-runner: cannot start afresh: %s\n", strerror(errno));
}

void launch_attempt(struct control *start, const struct launch_host *host, pid_t keeper) {
  size_t first_slot = START_FIXED + (value_get_bool(start->body, "cgroup", false) ? 1 : 0);
  struct error e = {0};
  uint32_t slots = start->fd_count > first_slot ? (uint32_t)(start->fd_count - first_slot) : 0;
  if (slots > UNIT_SLOTS_MAX || start->fd_count < first_slot) _exit(2);
  if (prepare(start, first_slot, keeper, &e)) {
    complain(&e);
    _exit(2);
  }
  if (value_get_bool(start->body, "fresh", false)) {
    exec_fresh(slots, host->pass_path);
    _exit(2);
  }
  int code = enter(slots, host->plugins, host->pass);
  fflush(NULL);
  _exit(code); /* destructors of foreign code do not get to change the outcome */
}

int launch_fresh(uint32_t slots, const char *pass_path) {
  const struct pass_module *pass = NULL;
  struct error e = {0};
  signal(SIGPIPE, SIG_IGN);
  plugin_prepare();
  if (slots > UNIT_SLOTS_MAX) return 2;
  if (*pass_path && !(pass = passhost_load(pass_path, &e))) complain(&e);
  int code = enter(slots, NULL, pass);
  fflush(NULL);
  _exit(code);
}
