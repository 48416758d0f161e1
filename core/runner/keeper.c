#include "runner/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/limits.h"

enum { CHILDREN_AT_ONCE = 512 };

struct keeper {
  const struct keeper_place *place;
  int64_t serial;
  pid_t attempt;
  bool reaped;
  int status;
  struct rusage usage; /* of the attempt and what it waited for */
};

static void kill_children(void) {
  pid_t children[CHILDREN_AT_ONCE];
  size_t count = limits_children(children, CHILDREN_AT_ONCE);
  for (size_t i = 0; i < count; i++) kill(children[i], SIGKILL);
}

static void kill_all(const struct keeper *k) {
  if (k->place->own_pids) {
    kill(-1, SIGKILL); /* everybody in the namespace but its init, which we are */
    return;
  }
  if (!k->reaped) {
    kill(-k->attempt, SIGKILL);
    kill(k->attempt, SIGKILL); /* before its setsid there is no group of that number */
  }
  kill_children();
}

static void terminate(const struct keeper *k) {
  if (k->reaped) return;
  if (kill(-k->attempt, SIGTERM) != 0) kill(k->attempt, SIGTERM);
}

/* Reaps whoever has ended. Group members are killed while the attempt's pid is still taken, so that the number cannot
 * have passed to somebody else. False when no child is left. */
static bool reap(struct keeper *k) {
  for (;;) {
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return errno != ECHILD;
    if (info.si_pid == 0) return true;
    int status;
    struct rusage usage;
    if (info.si_pid == k->attempt) kill(-k->attempt, SIGKILL);
    if (wait4(info.si_pid, &status, 0, &usage) != info.si_pid) continue;
    if (info.si_pid != k->attempt) continue;
    k->reaped = true;
    k->status = status;
    k->usage = usage;
  }
}

static void watch(struct keeper *k, const sigset_t *signals) {
  static const struct timespec sweep = {0, 10 * 1000 * 1000};
  while (reap(k)) {
    /* After the attempt itself, children of children surface here one generation at a time. */
    if (k->reaped) kill_all(k);
    int got = sigtimedwait(signals, NULL, k->reaped ? &sweep : NULL);
    if (got == KEEPER_KILL) kill_all(k);
    else if (got == KEEPER_TERMINATE) terminate(k);
  }
}

static int64_t cpu_us(const struct rusage *u) {
  return ((int64_t)u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000 + u->ru_utime.tv_usec + u->ru_stime.tv_usec;
}

static void say_started(const struct keeper *k) {
  value_auto struct value *body = value_map();
  value_set_int(body, "serial", k->serial);
  int fds[2] = {(int)syscall(SYS_pidfd_open, k->attempt, 0), (int)syscall(SYS_pidfd_open, getpid(), 0)};
  if (fds[0] >= 0 && fds[1] >= 0) control_send(k->place->control, CONTROL_STARTED, body, fds, 2, NULL);
  if (fds[0] >= 0) close(fds[0]);
  if (fds[1] >= 0) close(fds[1]);
}

static void say_ended(const struct keeper *k) {
  value_auto struct value *body = value_map();
  value_set_int(body, "serial", k->serial);
  value_set_int(body, "status", k->status);
  value_set_int(body, "cpuUs", cpu_us(&k->usage));
  value_set_int(body, "maxRss", (int64_t)k->usage.ru_maxrss * 1024);
  control_send(k->place->control, CONTROL_ENDED, body, NULL, 0, NULL);
}

static bool zygote_is_dead(const struct keeper_place *place) {
  struct pollfd p = {place->zygote_pidfd, POLLIN, 0};
  return poll(&p, 1, 0) != 0;
}

void keeper_run(const struct keeper_place *place, struct control *start, const struct launch_host *host) {
  struct keeper k = {.place = place, .serial = value_get_int(start->body, "serial", -1)};
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigaddset(&signals, KEEPER_KILL);
  sigaddset(&signals, KEEPER_TERMINATE);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  /* Without a namespace a keeper that is simply killed would leave grandchildren: it gets the chance to sweep. */
  limits_die_with_parent(place->own_pids ? SIGKILL : KEEPER_KILL, 0);
  if (zygote_is_dead(place)) _exit(1);
  setsid(); /* whoever kills the zygote's group gives us the time to sweep */
  if (!place->own_pids) prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_DUMPABLE, 0); /* the attempt runs as the same user: it must not read or trace its keeper */
  pid_t self = getpid();
  k.attempt = fork();
  if (k.attempt == 0) {
    prctl(PR_SET_DUMPABLE, 1);
    launch_attempt(start, host, self);
  }
  control_clear(start); /* the attempt's socket and pipes are its alone: their end is how the engine sees it go */
  if (k.attempt < 0) _exit(1);
  say_started(&k);
  watch(&k, &signals);
  say_ended(&k);
  _exit(0);
}
