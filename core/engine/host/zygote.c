/* The engine's end of a zygote: start it, hand it plugins, send it attempts, notice when it dies. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/parts.h"
#include "host/spawn.h"

enum { LOAD_BYTES = 32 * 1024, RETRY_US = 20 * 1000 };

static const char *kind_of(const struct zygote *z) { return z->with_libav ? "with libav" : "without libav"; }

/* ---- what it loads ---- */

static enum err send_load(struct zygote *z, struct value **paths, const char *pass, bool last, struct error *e) {
  value_auto struct value *body = value_map();
  value_map_set(body, "plugins", *paths);
  *paths = value_list();
  if (pass) value_set_text(body, "pass", pass);
  value_set_bool(body, "last", last);
  return control_send(z->control, CONTROL_LOAD, body, NULL, 0, e);
}

static bool belongs(const struct zygote *z, const struct plugin_record *record) {
  return record->state == PLUGIN_LOADED && record->uses_libav == z->with_libav && record->threads <= 1 &&
         !crew_keeps_out(z->crew, record->path);
}

static enum err send_plugins(struct zygote *z, struct error *e) {
  struct crew *crew = z->crew;
  value_auto struct value *paths = value_list();
  size_t bytes = 0;
  enum err err = ERR_OK;
  const char *pass = crew->pass_module_path && !crew_keeps_out(crew, crew->pass_module_path) ? crew->pass_module_path : NULL;
  if (z->with_libav && pass) err = send_load(z, &paths, pass, false, e);
  for (size_t i = 0; !err && i < catalogue_count(crew->catalogue); i++) {
    const struct plugin_record *record = catalogue_at(crew->catalogue, i);
    if (!belongs(z, record)) continue;
    value_list_add(paths, value_text(record->path));
    bytes += strlen(record->path) + 8;
    if (bytes < LOAD_BYTES) continue;
    err = send_load(z, &paths, NULL, false, e);
    bytes = 0;
  }
  return err ? err : send_load(z, &paths, NULL, true, e);
}

/* ---- its life ---- */

static void close_zygote(struct zygote *z) {
  struct loop *loop = z->crew->loop;
  loop_unwatch(loop, &z->control_watch);
  loop_unwatch(loop, &z->death_watch);
  loop_unwatch(loop, &z->said_watch);
  loop_cancel(loop, &z->retry);
  fd_close_at(&z->control);
  fd_close_at(&z->said);
  z->control = z->said = -1;
  free(z->loading);
  z->loading = NULL;
  z->ready = false;
}

void zygote_end(struct zygote *z) {
  if (z->pid > 0) spawn_kill(z->pid, &z->pidfd);
  z->pid = 0;
  close_zygote(z);
}

static void refuse_queued(struct zygote *z, const struct error *why) {
  for (struct attempt *a = z->crew->attempts, *next; a; a = next) {
    next = a->next;
    if (a->zygote == z && a->phase == PHASE_QUEUED) attempt_refuse(a, why);
  }
}

static bool has_queued(const struct zygote *z) {
  for (const struct attempt *a = z->crew->attempts; a; a = a->next)
    if (a->zygote == z && a->phase == PHASE_QUEUED) return true;
  return false;
}

static void mourn_attempts(struct zygote *z) {
  for (struct attempt *a = z->crew->attempts, *next; a; a = next) {
    next = a->next;
    if (a->zygote == z && a->phase != PHASE_QUEUED) attempt_on_zygote_death(a);
  }
}

static void restart(struct zygote *z) {
  struct error e = {0};
  if (!has_queued(z)) return; /* the next attempt starts one */
  if (z->crew->failures > ZYGOTE_FAILURES_MAX)
    error_set(&e, ERR_LOST, "the process that forks attempts (%s) dies again and again while it loads plugins: run "
              "`stagemill doctor`", kind_of(z));
  else if (zygote_want(z, &e) == ERR_OK) return;
  refuse_queued(z, &e);
}

static void hear(struct zygote *z, struct control *c);

/* What it and its keepers said before: a pidfd in there is how the end of an attempt is seen. */
static void hear_rest(struct zygote *z) {
  struct control c = {0};
  while (control_receive(z->control, &c, NULL) == ERR_OK) hear(z, &c);
  control_clear(&c);
}

static void on_death(struct zygote *z) {
  if (z->pid <= 0) return;
  hear_rest(z);
  if (!z->ready) {
    z->crew->failures++;
    if (z->loading) {
      log_warning("the plugin %s ended the zygote %s while loading: it runs by fresh exec from now on", z->loading, kind_of(z));
      crew_keep_out(z->crew, z->loading);
    }
  } else {
    log_warning("the zygote %s died (pid %d): its attempts are lost, not failed", kind_of(z), (int)z->pid);
  }
  zygote_end(z);
  mourn_attempts(z);
  restart(z);
}

static void on_death_event(void *context, int fd, uint32_t events) {
  (void)fd;
  (void)events;
  on_death(context);
}

/* ---- what it says ---- */

static void hear_attempt(struct zygote *z, struct control *c) {
  struct attempt *a = crew_find(z->crew, value_get_int(c->body, "serial", -1));
  if (!a || a->zygote != z) return;
  if (c->type == CONTROL_STARTED) attempt_on_started(a, c);
  else if (c->type == CONTROL_ENDED) attempt_on_ended(a, c->body);
  else attempt_on_gone(a, value_get_text(c->body, "error", NULL));
}

static void hear(struct zygote *z, struct control *c) {
  const char *path = value_get_text(c->body, "path", "");
  switch (c->type) {
  case CONTROL_LOADING:
    free(z->loading);
    z->loading = mem_text(path);
    break;
  case CONTROL_LOADED:
    free(z->loading);
    z->loading = NULL;
    if (value_get_bool(c->body, "ok", false)) break;
    log_warning("%s", value_get_text(c->body, "error", "a plugin could not be loaded"));
    crew_keep_out(z->crew, path);
    break;
  case CONTROL_READY:
    z->ready = true;
    z->crew->failures = 0;
    zygote_pump(z);
    break;
  case CONTROL_STARTED:
  case CONTROL_ENDED:
  case CONTROL_GONE: hear_attempt(z, c); break;
  default: log_warning("the zygote %s sent a message of unknown type %d", kind_of(z), (int)c->type);
  }
}

static void on_control(void *context, int fd, uint32_t events) {
  struct zygote *z = context;
  struct error e = {0};
  (void)events;
  for (unsigned i = 0; i < MESSAGES_PER_TURN && z->control == fd; i++) {
    struct control c = {0};
    enum err err = control_receive(fd, &c, &e);
    if (!err) hear(z, &c);
    control_clear(&c);
    if (err == ERR_BUSY) return;
    if (!err) continue;
    /* The end of it, or nonsense: nothing it forks can be believed any more. */
    if (err != ERR_LOST) log_warning("the zygote %s is ended: %s", kind_of(z), e.message);
    on_death(z);
    return;
  }
}

/* What plugins print while they load. */
static void on_said(void *context, int fd, uint32_t events) {
  struct zygote *z = context;
  char text[2048];
  (void)events;
  ssize_t size = read(fd, text, sizeof(text) - 1);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    loop_unwatch(z->crew->loop, &z->said_watch);
    return;
  }
  text[size] = '\0';
  char *rest = text;
  for (char *line; (line = strsep(&rest, "\n"));)
    if (*line) log_warning("zygote %s: %s", kind_of(z), line);
}

/* ---- starting ---- */

static enum err spawn(struct zygote *z, struct error *e) {
  int pair[2] = {-1, -1}, pipe_ends[2] = {-1, -1};
  char mode[] = "--zygote", control[] = "3", engine[16];
  enum err err = ERR_OK;
  snprintf(engine, sizeof(engine), "%d", (int)getpid());
  char *argv[] = {z->crew->runner_path, mode, control, engine, NULL};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 || pipe2(pipe_ends, O_CLOEXEC) != 0)
    err = error_errno(e, errno, "cannot make the sockets of a zygote");
  else err = spawn_runner(argv, pipe_ends[1], &pair[1], 1, &z->pid, &z->pidfd, e);
  fd_close_at(&pair[1]);
  fd_close_at(&pipe_ends[1]);
  z->control = pair[0];
  z->said = pipe_ends[0];
  if (err) {
    z->pid = 0;
    close_zygote(z);
    return err;
  }
  fcntl(z->control, F_SETFL, O_NONBLOCK);
  fcntl(z->said, F_SETFL, O_NONBLOCK);
  return ERR_OK;
}

enum err zygote_want(struct zygote *z, struct error *e) {
  if (z->pid > 0) return ERR_OK;
  enum err err = spawn(z, e);
  if (err) return err;
  struct loop *loop = z->crew->loop;
  z->control_watch = loop_watch(loop, z->control, EPOLLIN, on_control, z);
  z->death_watch = loop_watch(loop, z->pidfd, EPOLLIN, on_death_event, z);
  z->said_watch = loop_watch(loop, z->said, EPOLLIN, on_said, z);
  if (!z->control_watch || !z->death_watch) err = error_errno(e, errno, "cannot watch the zygote %s", kind_of(z));
  else err = send_plugins(z, e);
  if (err) zygote_end(z);
  return err;
}

static void on_retry(void *context) {
  struct zygote *z = context;
  z->retry = NULL;
  zygote_pump(z);
}

void zygote_pump_soon(struct zygote *z) {
  if (!z->retry) z->retry = loop_after(z->crew->loop, 0, on_retry, z);
}

void zygote_pump(struct zygote *z) {
  if (!z->ready) return;
  for (struct attempt *a = z->crew->attempts, *next; a; a = next) {
    struct error e = {0};
    next = a->next;
    if (a->zygote != z || a->phase != PHASE_QUEUED) continue;
    enum err err = attempt_send_start(a, &e);
    if (err == ERR_BUSY) {
      if (!z->retry) z->retry = loop_after(z->crew->loop, RETRY_US, on_retry, z);
      return;
    }
    if (err == ERR_LOST) return; /* its death is about to be heard */
    if (err) attempt_refuse(a, &e);
  }
}
