#include "host/testload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/spawn.h"

/* A plugin that shows no sign within this time hangs; a frame larger than this is no honest table. */
enum { QUIET_MS = 10 * 1000, FRAME_MAX = 8 << 20, PATHS_AT_ONCE = 200 };

struct child {
  pid_t pid;
  int pidfd, out;
  struct buf input;
  char *loading; /* path of the plugin it is at */
  bool at_end;   /* said everything */
};

struct load { /* the whole run */
  const char *runner;
  testload_fn *tell;
  void *context;
  struct value *libraries;
};

/* ---- one child ---- */

static enum err start(struct child *c, const char *runner, const char *const *paths, size_t count, struct error *e) {
  int ends[2];
  char mode[] = "--list", out[] = "3", engine[16];
  mem_auto char **argv = mem_array(count + 5, sizeof(*argv));
  snprintf(engine, sizeof(engine), "%d", (int)getpid());
  argv[0] = (char *)(uintptr_t)runner;
  argv[1] = mode;
  argv[2] = out;
  argv[3] = engine;
  for (size_t i = 0; i < count; i++) argv[4 + i] = (char *)(uintptr_t)paths[i];
  if (pipe2(ends, O_CLOEXEC) != 0) return error_errno(e, errno, "cannot make the pipe of a test load");
  fd_auto int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  enum err err = null < 0 ? error_errno(e, errno, "cannot open /dev/null")
                          : spawn_runner(argv, null, &ends[1], 1, &c->pid, &c->pidfd, e);
  close(ends[1]);
  if (err) close(ends[0]);
  else c->out = ends[0];
  return err;
}

static void take(struct load *l, struct child *c, const struct value *frame) {
  const char *phase = value_get_text(frame, "phase", ""), *path = value_get_text(frame, "path", "");
  if (strcmp(phase, "end") == 0) {
    const struct value *libraries = value_get(frame, "libraries");
    for (size_t i = 0; libraries && libraries->type == VALUE_LIST && i < libraries->count; i++)
      value_list_add(l->libraries, value_copy(libraries->items[i]));
    c->at_end = true;
    return;
  }
  free(c->loading);
  c->loading = NULL;
  if (strcmp(phase, "loading") == 0) c->loading = mem_text(path);
  else if (strcmp(phase, "loaded") == 0) l->tell(l->context, path, frame, NULL);
}

/* Takes whole frames off the front; false for nonsense. */
static bool take_frames(struct load *l, struct child *c) {
  size_t at = 0;
  uint32_t size;
  while (c->input.size - at >= sizeof(size)) {
    memcpy(&size, c->input.data + at, sizeof(size));
    if (size > FRAME_MAX) return false;
    if (c->input.size - at - sizeof(size) < size) break;
    struct value *frame = NULL;
    if (value_unpack(c->input.data + at + sizeof(size), size, &frame, NULL)) return false;
    take(l, c, frame);
    value_free(&frame);
    at += sizeof(size) + size;
  }
  memmove(c->input.data, c->input.data + at, c->input.size - at);
  c->input.size -= at;
  return true;
}

/* Reads to the end, or to 10 s of silence (*hung). */
static void listen_to(struct load *l, struct child *c, bool *hung) {
  char chunk[16 * 1024];
  for (;;) {
    struct pollfd p = {c->out, POLLIN, 0};
    int ready = poll(&p, 1, QUIET_MS);
    if (ready < 0 && errno == EINTR) continue;
    *hung = ready == 0;
    if (ready <= 0) return;
    ssize_t size = read(c->out, chunk, sizeof(chunk));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    buf_add(&c->input, chunk, (size_t)size);
    if (!take_frames(l, c)) return;
  }
}

/* Why the child is gone, as the end of a sentence; ends it if it is not. */
static void reap(struct child *c, bool hung, char *why, size_t room) {
  siginfo_t info = {0};
  /* The pipe ends a moment before the process does: give it that moment. */
  struct pollfd p = {c->pidfd, POLLIN, 0};
  if (!hung) poll(&p, 1, 1000);
  if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
    snprintf(why, room, hung ? "hung for %d s" : "closed its connection (%d s)", QUIET_MS / 1000);
  else if (info.si_code == CLD_EXITED) snprintf(why, room, "ended the process (exit code %d)", info.si_status);
  else snprintf(why, room, "crashed (SIG%s)", sigabbrev_np(info.si_status) ? sigabbrev_np(info.si_status) : "?");
  spawn_kill(c->pid, &c->pidfd); /* its group with it */
}

/* One throw-away process. *culprit: the plugin it was at when it ended early (owned), NULL when it said everything. */
static enum err run(struct load *l, const char *const *paths, size_t count, char **culprit, char *why, size_t room,
                    struct error *e) {
  struct child c = {.pidfd = -1, .out = -1};
  bool hung = false;
  *culprit = NULL;
  enum err err = start(&c, l->runner, paths, count, e);
  if (err) return err;
  listen_to(l, &c, &hung);
  reap(&c, hung, why, room);
  if (!c.at_end) *culprit = c.loading ? c.loading : mem_text("");
  else free(c.loading);
  close(c.out);
  buf_free(&c.input);
  return ERR_OK;
}

/* ---- all of them ---- */

struct told { /* remembers who has been told of, on the way through */
  testload_fn *tell;
  void *context;
  const char *const *paths;
  bool *done;
  size_t count;
};

static void tell_once(void *context, const char *path, const struct value *body, const char *crash) {
  struct told *t = context;
  for (size_t i = 0; i < t->count; i++) {
    if (t->done[i] || strcmp(t->paths[i], path) != 0) continue;
    t->done[i] = true;
    t->tell(t->context, path, body, crash);
    return;
  }
}

static enum err run_singly(struct load *l, struct told *t, struct error *e) {
  for (size_t i = 0; i < t->count; i++) {
    char why[128];
    mem_auto char *culprit = NULL;
    if (t->done[i]) continue;
    enum err err = run(l, &t->paths[i], 1, &culprit, why, sizeof(why), e);
    if (err) return err;
    if (!t->done[i]) tell_once(t, t->paths[i], NULL, why);
  }
  return ERR_OK;
}

static enum err run_some(struct load *l, const char *const *paths, size_t count, struct error *e) {
  char why[128];
  mem_auto char *culprit = NULL;
  mem_auto bool *done = mem_array(count, sizeof(*done));
  struct told t = {l->tell, l->context, paths, done, count};
  struct load inner = {l->runner, tell_once, &t, l->libraries};
  enum err err = run(&inner, paths, count, &culprit, why, sizeof(why), e);
  if (err || !culprit) return err;
  if (count > 1) return run_singly(&inner, &t, e);
  if (!done[0]) tell_once(&t, paths[0], NULL, why); /* it was alone already */
  return ERR_OK;
}

enum err testload_run(const char *runner, const char *const *paths, size_t count, testload_fn *tell, void *context,
                      struct value *libraries, struct error *e) {
  struct load l = {runner, tell, context, libraries};
  enum err err = ERR_OK;
  for (size_t at = 0; at < count && !err; at += PATHS_AT_ONCE)
    err = run_some(&l, paths + at, count - at < PATHS_AT_ONCE ? count - at : PATHS_AT_ONCE, e);
  return err;
}
