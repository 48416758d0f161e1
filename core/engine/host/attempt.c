/* One attempt from START to its outcome. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/parts.h"

/* ---- ending it ---- */

static void signal_keeper(struct attempt *a, int signal_number) {
  if (a->keeper_pidfd >= 0) syscall(SYS_pidfd_send_signal, a->keeper_pidfd, signal_number, NULL, 0);
}

static void on_ladder(void *context) {
  struct attempt *a = context;
  a->ladder = NULL;
  attempt_climb(a, a->rung + 1);
}

/* 1 the page, 2 SIGTERM to the group, 3 SIGKILL to everybody. */
void attempt_climb(struct attempt *a, int rung) {
  struct crew *crew = a->crew;
  if (rung <= a->rung) return;
  loop_cancel(crew->loop, &a->ladder);
  a->rung = rung;
  atomic_store_explicit(&a->page->cancel, 1, memory_order_relaxed);
  if (rung == 1) a->ladder = loop_after(crew->loop, crew->cancel_grace_us, on_ladder, a);
  if (rung == 2) {
    signal_keeper(a, KEEPER_TERMINATE);
    a->ladder = loop_after(crew->loop, crew->term_grace_us, on_ladder, a);
  }
  if (rung >= 3) signal_keeper(a, KEEPER_KILL);
}

static enum err code_of(enum attempt_end reason) {
  switch (reason) {
  case ATTEMPT_TIMED_OUT:
  case ATTEMPT_STALLED: return ERR_TIMEOUT;
  case ATTEMPT_MEMORY:
  case ATTEMPT_QUOTA: return ERR_NO_SPACE;
  case ATTEMPT_PROTOCOL: return ERR_PROTOCOL;
  default: return ERR_CANCELLED;
  }
}

void attempt_stop(struct attempt *a, enum attempt_end reason, int rung, const char *format, ...) {
  char text[sizeof(a->why.message)];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof(text), format, list);
  va_end(list);
  if (!a->reason || reason == ATTEMPT_CANCELLED) {
    a->reason = reason;
    error_set(&a->why, code_of(reason), "%s", text);
  }
  attempt_climb(a, rung);
}

static void on_unstarted(void *context) {
  struct attempt *a = context;
  a->ladder = NULL;
  struct error why = a->why;
  attempt_refuse(a, &why);
}

void attempt_cancel(struct attempt *a, bool kill_now) {
  if (a->gone) return;
  attempt_stop(a, ATTEMPT_CANCELLED, kill_now ? 3 : 1, "the attempt was cancelled");
  if (a->phase != PHASE_QUEUED) return;
  /* It has not begun and never will; `ended` still comes later, not from inside this call. */
  loop_cancel(a->crew->loop, &a->ladder);
  a->ladder = loop_after(a->crew->loop, 0, on_unstarted, a);
}

int attempt_pid(const struct attempt *a) { return a->pid; }

/* ---- hearing it ---- */

static void stop_hearing(struct attempt *a) {
  loop_unwatch(a->crew->loop, &a->socket_watch);
  a->unheard = true;
}

void attempt_hear(struct attempt *a, unsigned most) {
  for (unsigned i = 0; i < most && !a->unheard; i++) {
    struct message m = {0};
    struct error e = {0};
    bool deliver = false;
    enum err err = message_receive(a->socket, &m, &e);
    if (!err) err = check_message(a, &m, &deliver, &e);
    if (!err && deliver && a->callbacks.message) a->callbacks.message(a->context, a, &m);
    message_clear(&m);
    if (err == ERR_BUSY) return;
    if (err && err != ERR_LOST)
      attempt_stop(a, ATTEMPT_PROTOCOL, 3, "the attempt broke the protocol (%s): report it to the plugin's author", e.message);
    if (err) stop_hearing(a);
  }
}

enum err attempt_go(struct attempt *a, const struct value *body, struct error *e) {
  if (!a->opened || a->answered) return error_set(e, ERR_CONFLICT, "the attempt does not wait for an answer");
  a->answered = true;
  a->life_us = crew_now(a->crew);
  return message_send(a->socket, MESSAGE_GO, -1, body, e);
}

/* ---- what zygote and keeper say ---- */

static void on_death(void *context, int fd, uint32_t events) {
  struct attempt *a = context;
  (void)events;
  loop_unwatch(a->crew->loop, fd == a->keeper_pidfd ? &a->keeper_watch : &a->attempt_watch);
  attempt_settle(a);
}

/* The number a pidfd stands for, in the namespace of our /proc. */
static int pid_behind(int pidfd) {
  char path[64], text[512];
  snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
  FILE *f = fopen(path, "re");
  int pid = -1;
  while (f && fgets(text, sizeof(text), f))
    if (sscanf(text, "Pid: %d", &pid) == 1) break;
  if (f) fclose(f);
  return pid;
}

void attempt_on_started(struct attempt *a, struct control *c) {
  if (a->phase != PHASE_SENT || c->fd_count != 2) return;
  a->attempt_pidfd = c->fds[0];
  a->keeper_pidfd = c->fds[1];
  c->fds[0] = c->fds[1] = -1;
  a->phase = PHASE_STARTED;
  a->pid = pid_behind(a->attempt_pidfd);
  a->started_us = a->life_us = crew_now(a->crew);
  a->keeper_watch = loop_watch(a->crew->loop, a->keeper_pidfd, EPOLLIN, on_death, a);
  a->attempt_watch = loop_watch(a->crew->loop, a->attempt_pidfd, EPOLLIN, on_death, a);
  /* What was decided before there was anybody to signal. */
  if (a->rung == 2) signal_keeper(a, KEEPER_TERMINATE);
  if (a->rung >= 3) signal_keeper(a, KEEPER_KILL);
  if (a->callbacks.started) a->callbacks.started(a->context, a, a->pid);
}

void attempt_on_ended(struct attempt *a, const struct value *body) {
  a->reaped = true;
  a->status = (int)value_get_int(body, "status", 0);
  a->cpu_us = value_get_int(body, "cpuUs", 0);
  a->max_rss_bytes = value_get_int(body, "maxRss", 0);
}

void attempt_on_gone(struct attempt *a, const char *error) {
  a->gone = true;
  if (error && !a->reason) {
    a->reason = ATTEMPT_REFUSED;
    error_set(&a->why, ERR_IO, "%s", error);
  }
  attempt_settle(a);
}

void attempt_on_zygote_death(struct attempt *a) {
  a->zygote = NULL;
  attempt_settle(a);
}

/* ---- its end ---- */

static bool both_are_dead(const struct attempt *a) {
  return a->keeper_pidfd >= 0 && !a->keeper_watch && !a->attempt_watch;
}

/* Everything that could still be alive must be known to be dead: the zygote said so, or the zygote is dead and the keeper
 * too (or there never was one, which the end of the socket shows). */
static bool nothing_is_left(const struct attempt *a) {
  if (a->zygote) return a->gone;
  return a->gone || (a->keeper_pidfd >= 0 ? both_are_dead(a) : a->unheard);
}

static void unlink_attempt(struct attempt *a) {
  for (struct attempt **at = &a->crew->attempts; *at; at = &(*at)->next) {
    if (*at != a) continue;
    *at = a->next;
    return;
  }
}

void attempt_settle(struct attempt *a) {
  if (!nothing_is_left(a)) return;
  attempt_hear(a, 100000); /* what is still in the socket; nobody writes to it any more */
  loglines_drain(a->lines);
  struct attempt_outcome outcome;
  outcome_fill(a, &outcome);
  unlink_attempt(a);
  if (a->callbacks.ended) a->callbacks.ended(a->context, a, &outcome);
  free(outcome.log_tail);
  attempt_free(&a);
}

void attempt_refuse(struct attempt *a, const struct error *why) {
  if (!a->reason) {
    a->reason = ATTEMPT_REFUSED;
    a->why = *why;
  }
  a->gone = true;
  a->zygote = NULL;
  attempt_settle(a);
}

void attempt_free(struct attempt **attempt) {
  struct attempt *a = *attempt;
  if (!a) return;
  struct loop *loop = a->crew->loop;
  loop_unwatch(loop, &a->socket_watch);
  loop_unwatch(loop, &a->keeper_watch);
  loop_unwatch(loop, &a->attempt_watch);
  loop_cancel(loop, &a->ladder);
  loop_cancel(loop, &a->timeout);
  fd_close_at(&a->socket);
  fd_close_at(&a->attempt_pidfd);
  fd_close_at(&a->keeper_pidfd);
  for (size_t i = 0; i < a->gift_count; i++) fd_close_at(&a->gifts[i]);
  if (a->page) munmap(a->page, sizeof(*a->page));
  loglines_close(&a->lines);
  cgroup_free(&a->cgroup);
  for (uint32_t i = 0; a->unit && i < a->unit->stage_count; i++) value_free(&a->verdicts[i].stats);
  free(a->verdicts);
  free(a->stages);
  value_free(&a->stats);
  free(a->backtrace);
  stage_set_unref(&a->stage_set);
  unit_free(&a->unit);
  free(a);
  *attempt = NULL;
}
