#include "runner/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "runner/keeper.h"
#include "runner/limits.h"
#include "runner/passhost.h"

enum { CHILDREN_AT_ONCE = 512 };

struct kept { /* a keeper that is alive */
  struct kept *next;
  pid_t pid;
  int64_t serial;
};

struct zygote {
  int control, own_pidfd, signals;
  int pid_namespace; /* descriptor of our own, to come back to; -1: none can be made */
  struct launch_host host;
  size_t plugin_count;
  struct kept *kept;
};

/* ---- loading ---- */

static void say(const struct zygote *z, enum control_type type, struct value *moved) {
  control_send(z->control, type, moved, NULL, 0, NULL);
  value_free(&moved);
}

static struct value *about(const char *path, enum err err, const struct error *e) {
  struct value *body = value_map();
  value_set_text(body, "path", path);
  value_set_bool(body, "ok", err == ERR_OK);
  if (err) value_set_text(body, "error", e->message);
  return body;
}

/* Whoever leaves a thread behind spoils the zygote: no child may be forked from it any more. The engine reads the last
 * LOADING, keeps that plugin out and starts another. */
static bool load_one(struct zygote *z, const char *path) {
  struct error e = {0};
  struct plugin *p = NULL;
  say(z, CONTROL_LOADING, about(path, ERR_OK, NULL));
  enum err err = plugin_load(path, &p, &e);
  if (!err && p->new_threads) return false;
  say(z, CONTROL_LOADED, about(path, err, &e));
  if (err) return true;
  z->host.plugins = mem_grow(z->host.plugins, z->plugin_count + 2, sizeof(*z->host.plugins));
  z->host.plugins[z->plugin_count++] = p;
  z->host.plugins[z->plugin_count] = NULL;
  return true;
}

static bool load_pass(struct zygote *z, const char *path) {
  struct error e = {0};
  z->host.pass_path = mem_text(path);
  unsigned before = plugin_thread_count();
  z->host.pass = passhost_load(path, &e);
  say(z, CONTROL_LOADED, about(path, z->host.pass ? ERR_OK : ERR_NOT_FOUND, &e));
  return plugin_thread_count() <= before;
}

static bool load(struct zygote *z, const struct value *body) {
  const char *pass = value_get_text(body, "pass", NULL);
  if (pass && !load_pass(z, pass)) return false;
  const struct value *paths = value_get(body, "plugins");
  for (size_t i = 0; paths && i < paths->count; i++)
    if (paths->items[i]->type == VALUE_TEXT && !load_one(z, paths->items[i]->text)) return false;
  if (value_get_bool(body, "last", false)) say(z, CONTROL_READY, value_map());
  return true;
}

/* ---- attempts ---- */

static void say_gone(const struct zygote *z, int64_t serial, const char *error) {
  struct value *body = value_map();
  value_set_int(body, "serial", serial);
  if (error) value_set_text(body, "error", error);
  say(z, CONTROL_GONE, body);
}

/* The next child shall be init of a new PID namespace. It is always made from our own, which we return to afterwards:
 * a process whose children live elsewhere cannot make another. */
static bool enter_new_pids(const struct zygote *z) { return z->pid_namespace >= 0 && unshare(CLONE_NEWPID) == 0; }

static void leave_new_pids(const struct zygote *z) {
  if (setns(z->pid_namespace, CLONE_NEWPID) != 0) _exit(3); /* no further attempt could be told apart: start over */
}

static void start(struct zygote *z, struct control *c) {
  int64_t serial = value_get_int(c->body, "serial", -1);
  struct keeper_place place = {z->control, z->own_pidfd, enter_new_pids(z)};
  pid_t pid = c->fd_count >= START_FIXED ? fork() : -1;
  if (pid == 0) {
    close(z->signals);
    keeper_run(&place, c, &z->host);
  }
  int failed = c->fd_count >= START_FIXED ? errno : EPROTO;
  if (place.own_pids) leave_new_pids(z);
  if (pid < 0) {
    mem_auto char *why = mem_format("the attempt could not be forked: %s", strerror(failed));
    say_gone(z, serial, why);
    return;
  }
  struct kept *k = mem_alloc(sizeof(*k));
  *k = (struct kept){z->kept, pid, serial};
  z->kept = k;
}

static void forget(struct zygote *z, pid_t pid) {
  for (struct kept **k = &z->kept; *k; k = &(*k)->next) {
    if ((*k)->pid != pid) continue;
    struct kept *gone = *k;
    say_gone(z, gone->serial, NULL);
    *k = gone->next;
    free(gone);
    return;
  }
}

static bool is_kept(const struct zygote *z, pid_t pid) {
  for (const struct kept *k = z->kept; k; k = k->next)
    if (k->pid == pid) return true;
  return false;
}

/* Children that are no keepers were those of a keeper that was killed: they go before it is said to be gone. */
static void sweep(const struct zygote *z) {
  pid_t children[CHILDREN_AT_ONCE];
  for (bool again = true; again;) {
    size_t count = limits_children(children, CHILDREN_AT_ONCE);
    again = false;
    for (size_t i = 0; i < count; i++) {
      if (is_kept(z, children[i])) continue;
      kill(children[i], SIGKILL);
      waitpid(children[i], NULL, 0);
      again = true;
    }
  }
}

static void reap(struct zygote *z) {
  struct signalfd_siginfo info;
  while (read(z->signals, &info, sizeof(info)) > 0) {}
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (!is_kept(z, pid)) continue;
    if (WIFSIGNALED(status)) sweep(z);
    forget(z, pid);
  }
}

/* ---- the loop ---- */

static bool serve(struct zygote *z) { /* one message; false at the end */
  struct control c = {0};
  struct error e;
  enum err err = control_receive(z->control, &c, &e);
  bool on = err == ERR_OK || err == ERR_BUSY;
  if (!err && c.type == CONTROL_LOAD) on = load(z, c.body);
  else if (!err && c.type == CONTROL_START) start(z, &c);
  control_clear(&c);
  return on;
}

static void prepare(struct zygote *z) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  z->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  z->own_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  z->pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  /* One try tells whether namespaces are allowed here; nothing has been forked into it. */
  if (z->pid_namespace >= 0 && (unshare(CLONE_NEWPID) != 0 || setns(z->pid_namespace, CLONE_NEWPID) != 0)) {
    close(z->pid_namespace);
    z->pid_namespace = -1;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1); /* what a killed keeper leaves comes to us */
  prctl(PR_SET_NAME, "stagemill-zygot");
  signal(SIGPIPE, SIG_IGN);
  plugin_prepare();
}

int zygote_run(int control, pid_t engine) {
  struct zygote z = {.control = control};
  if (!limits_die_with_parent(SIGKILL, engine)) return 1;
  fcntl(control, F_SETFD, FD_CLOEXEC);
  prepare(&z);
  if (z.signals < 0 || z.own_pidfd < 0) {
    fprintf(stderr, "stagemill-runner: this kernel lacks pidfd or signalfd: use Linux 5.3 or newer\n");
    return 3;
  }
  struct pollfd p[2] = {{control, POLLIN, 0}, {z.signals, POLLIN, 0}};
  for (bool on = true; on;) {
    if (poll(p, 2, -1) < 0 && errno != EINTR) return 3;
    if (p[1].revents) reap(&z);
    if (p[0].revents) on = serve(&z);
  }
  return 0;
}
