/* serve_signal.c - what the daemon is told while it runs: SIGHUP reads everything again, all or nothing; SIGTERM and
 * SIGINT end it with the least loss, a second one hurries. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/serve.h"
#include "ws/ws.h"

enum { CARE_EVERY_US = 2 * 1000 * 1000, ANSWERS_WITHIN_US = 10 * 1000 * 1000 };

int serve_signals(struct serve *serve) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  serve->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return serve->signal_fd < 0 ? cli_complain(CLI_FAILED, "cannot watch signals: %s", strerror(errno)) : CLI_DONE;
}

/* ---- SIGHUP ------------------------------------------------------------------------------------------------------ */

static void reload_problems(const struct report *report) {
  for (size_t i = 0; i < report_count(report); i++) {
    const struct problem *p = report_at(report, i);
    log_error("%s:%zu:%zu: %s%s%s", p->file ? p->file : "configuration", p->line, p->column, p->message,
              p->hint ? "; " : "", p->hint ? p->hint : "");
  }
}

static enum err reload_settings(struct serve *serve, struct settings **fresh, struct error *e) {
  struct report *report = report_new();
  enum err err = settings_load(fresh, serve->config_file, serve->overrides, report, e);
  reload_problems(report);
  report_free(&report);
  return err;
}

/* The parts that can be given back come first: keys and addresses are replaced last, and addresses back when keys are
 * not right. */
static enum err reload_parts(struct serve *serve, const struct settings *before, const struct settings *fresh,
                             struct error *e) {
  struct shelf_set *prepared = NULL;
  enum err err = shelf_prepare(serve->service.shelf, &prepared, e);
  struct http_options now = serve_http_options(serve, fresh), old = serve_http_options(serve, before);
  if (!err) err = http_server_reload(serve->http, &now, e);
  if (!err && keyring_reload(serve->service.keyring, true, e)) {
    err = e->code;
    http_server_reload(serve->http, &old, NULL);
  }
  if (err)
    shelf_discard(&prepared);
  else
    shelf_install(serve->service.shelf, prepared);
  return err;
}

static void reload_say(const struct settings *before, const struct settings *after) {
  buf_auto struct buf changed = {0}, restart = {0};
  settings_changes(before, after, &changed, &restart);
  log_info("reloaded: %s%s", changed.size ? "changed settings: " : "no setting has changed", buf_string(&changed));
  if (restart.size)
    log_warning("these settings take effect when the daemon is started again: %s", buf_string(&restart));
}

static void reload(struct serve *serve) {
  struct error e = {0};
  struct settings *fresh = NULL;
  const struct settings *before = settings_hold(serve->service.settings);
  notify_reloading(serve->notifier);
  enum err err = reload_settings(serve, &fresh, &e);
  if (!err) err = reload_parts(serve, before, fresh, &e);
  if (err) {
    log_error("not reloaded, everything stays as it was: %s", e.message);
    notify_status(serve->notifier, "not reloaded: %s", e.message);
    settings_free(&fresh);
  } else {
    log_open(STDERR_FILENO, (enum log_level)fresh->log.level, fresh->log.json);
    reload_say(before, fresh);
    settings_replace(serve->service.settings, fresh);
    sweep_soon(serve->sweep);
  }
  settings_release(serve->service.settings, &before);
  serve->status[0] = '\0';
  notify_ready(serve->notifier);
}

/* ---- SIGTERM, SIGINT --------------------------------------------------------------------------------------------- */

static void stop_quiet(void *context) {
  struct serve *serve = context;
  loop_stop(serve->service.loop);
}

/* Nothing runs any more: whoever follows is told to come back, requests get their answers, then the loop ends. */
static void stop_idle(void *context) {
  struct serve *serve = context;
  log_info("nothing runs any more");
  ws_server_drain(serve->sockets);
  http_server_drain(serve->http);
  service_stop(&serve->service, ANSWERS_WITHIN_US, stop_quiet, serve);
}

static void stop_begin(struct serve *serve) {
  const struct settings *settings = settings_hold(serve->service.settings);
  int64_t limit_us = settings->limits.drain_us;
  char text[32];
  settings_release(serve->service.settings, &settings);
  atomic_store(&serve->draining, true);
  log_info("stopping: what runs may go on for %s, then it is handed back without costing an attempt",
           clock_human(limit_us, text));
  notify_stopping(serve->notifier);
  notify_status(serve->notifier, "stopping: waits for running attempts");
  notify_extend(serve->notifier, limit_us + 3 * ANSWERS_WITHIN_US);
  engine_drain(serve->service.engine, limit_us, stop_idle, serve);
}

static void stop(struct serve *serve) {
  serve->stops++;
  if (serve->stops == 1) stop_begin(serve);
  if (serve->stops == 2) log_warning("hurrying: what still runs is killed and handed back");
  if (serve->stops >= 2) engine_interrupt(serve->service.engine, true, stop_idle, serve);
}

static void signalled(void *context, int fd, uint32_t events) {
  struct serve *serve = context;
  struct signalfd_siginfo info;
  (void)events;
  if (read(fd, &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo != SIGHUP)
    stop(serve);
  else if (!serve->stops)
    reload(serve);
}

/* ---- now and then ------------------------------------------------------------------------------------------------ */

static void tell_status(struct serve *serve) {
  struct store_counts counts;
  char status[sizeof serve->status];
  if (serve->stops || store_counts(serve->service.store, &counts, NULL)) return;
  snprintf(status, sizeof status, "%llu processing, %llu waiting",
           (unsigned long long)(counts.by_status[JOB_PROCESSING] + counts.by_status[JOB_RETRYING]),
           (unsigned long long)counts.by_status[JOB_QUEUED]);
  if (!strcmp(status, serve->status)) return;
  snprintf(serve->status, sizeof serve->status, "%s", status);
  notify_status(serve->notifier, "%s", status);
}

static void care(void *context) {
  struct serve *serve = context;
  struct error e = {0};
  if (keyring_reload(serve->service.keyring, false, &e)) log_error("keys: %s; the old ones stay", e.message);
  const struct shelf_set *set = shelf_hold(serve->service.shelf); /* looks whether a pipeline has changed */
  shelf_release(serve->service.shelf, &set);
  tell_status(serve);
  serve->care = loop_after(serve->service.loop, CARE_EVERY_US, care, serve);
}

/* From the loop's thread: when that hangs, the manager hears nothing any more. */
static void watchdog(void *context) {
  struct serve *serve = context;
  notify_watchdog(serve->notifier);
  serve->watchdog = loop_after(serve->service.loop, notifier_watchdog_us(serve->notifier), watchdog, serve);
}

void serve_watch(struct serve *serve) {
  serve->signals = loop_watch(serve->service.loop, serve->signal_fd, EPOLLIN, signalled, serve);
  if (notifier_watchdog_us(serve->notifier)) watchdog(serve);
  care(serve);
}
