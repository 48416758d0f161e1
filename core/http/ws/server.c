/* The one thread that owns every socket: waits, lets each socket that has something to do have a turn, looks at the
 * clock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ws/detach.h"
#include "ws/parts.h"

enum { FOLLOWERS_MAX = 12000, PENDING_MAX = 256, PING_US = 30 * 1000000, TICK_US = 1000000, SPARE_FDS = 1024 };

int64_t ws_now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- from other threads ------------------------------------------------------------------------------------------ */

static void signal_thread(struct ws_server *server) {
  if (server->signalled) return;
  server->signalled = true;
  uint64_t one = 1;
  ssize_t written = write(server->event, &one, sizeof one);
  (void)written; /* it fails only when it is signalled already */
}

void server_wake_locked(struct socket *s) {
  struct ws_server *server = s->server;
  if (s->woken) return;
  s->woken = true;
  if (!s->adopted) return;
  s->next_woken = server->woken;
  s->previous_woken = &server->woken;
  if (server->woken) server->woken->previous_woken = &s->next_woken;
  server->woken = s;
  signal_thread(server);
}

void server_wake(void *context) {
  struct socket *s = context;
  pthread_mutex_lock(&s->server->lock);
  server_wake_locked(s);
  pthread_mutex_unlock(&s->server->lock);
}

void server_adopt(struct socket *s) {
  pthread_mutex_lock(&s->server->lock);
  s->adopted = true;
  s->woken = false;
  server_wake_locked(s);
  pthread_mutex_unlock(&s->server->lock);
}

/* ---- its own ----------------------------------------------------------------------------------------------------- */

static void list_socket(struct ws_server *server, struct socket *s) {
  s->next = server->sockets;
  s->previous = &server->sockets;
  if (server->sockets) server->sockets->previous = &s->next;
  server->sockets = s;
  struct epoll_event event = {.events = EPOLLOUT | EPOLLET | (s->pooled ? 0 : EPOLLIN | EPOLLRDHUP), .data.ptr = s};
  if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, s->fd, &event)) socket_gone(s);
  s->writable = s->readable = true;
}

static void drop_socket(struct ws_server *server, struct socket *s) {
  follower_detach(server->options.hub, &s->follower); /* nobody wakes it after this, but for civetweb's reader: */
  pthread_mutex_lock(&server->lock);
  if (s->pooled &&
      !s->pooled_end) { /* which still has it, and is told by the end of its stream; pooled_close brings it back */
    pthread_mutex_unlock(&server->lock);
    shutdown(s->fd, SHUT_RDWR);
    return;
  }
  if (s->previous_woken) {
    *s->previous_woken = s->next_woken;
    if (s->next_woken) s->next_woken->previous_woken = s->previous_woken;
  }
  pthread_mutex_unlock(&server->lock);
  *s->previous = s->next;
  if (s->next) s->next->previous = s->previous;
  epoll_ctl(server->epoll, EPOLL_CTL_DEL, s->fd, NULL); /* closing is not enough while civetweb has it, too */
  socket_free(&s);
}

struct turn {
  struct socket *first, **last;
};

static void turn_add(struct turn *turn, struct socket *s) {
  if (s->ready) return;
  s->ready = true;
  s->next_ready = NULL;
  *turn->last = s;
  turn->last = &s->next_ready;
}

static void take_woken(struct ws_server *server, struct turn *turn) {
  pthread_mutex_lock(&server->lock);
  struct socket *s = server->woken;
  server->woken = NULL;
  server->signalled = false;
  for (struct socket *next; s; s = next) {
    next = s->next_woken;
    s->next_woken = NULL;
    s->previous_woken = NULL;
    s->woken = false;
    s->wants = true;
    turn_add(turn, s);
  }
  pthread_mutex_unlock(&server->lock);
}

/* Sockets that have more to do come again in the next turn. */
static void run_turn(struct ws_server *server, struct turn *turn) {
  struct socket *s = turn->first;
  *turn = (struct turn){0};
  turn->last = &turn->first;
  for (struct socket *next; s; s = next) {
    next = s->next_ready;
    s->ready = false;
    if (!s->previous) list_socket(server, s);
    if (s->phase != PHASE_GONE) socket_read(s);
    if (s->phase != PHASE_GONE) socket_write(s);
    if (s->phase == PHASE_GONE)
      drop_socket(server, s);
    else if (socket_has_more(s))
      turn_add(turn, s);
  }
}

static void hear_events(struct ws_server *server, struct turn *turn, int64_t wait_us) {
  struct epoll_event events[256];
  int count = epoll_wait(server->epoll, events, 256, wait_us > 0 ? (int)(wait_us / 1000) + 1 : 0);
  for (int i = 0; i < count; i++) {
    struct socket *s = events[i].data.ptr;
    if (!s) continue; /* the eventfd, edge-triggered: never read */
    if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) s->readable = true;
    if (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) s->writable = true;
    if (s->pooled && events[i].events & (EPOLLHUP | EPOLLERR)) socket_gone(s);
    turn_add(turn, s);
  }
}

static void look_at_clock(struct ws_server *server, struct turn *turn, int64_t now_us) {
  int64_t wall_us = clock_wall(&clock_system);
  bool recheck = atomic_exchange(&server->recheck, false), draining = atomic_load(&server->draining);
  for (struct socket *s = server->sockets; s; s = s->next) {
    if (recheck && s->authenticated && keyring_is_revoked(server->options.keyring, &s->principal))
      socket_close(s, CLOSE_DENIED, "the token is revoked");
    if (draining) socket_close(s, CLOSE_GOING_AWAY, "the service stops: come back in a moment");
    socket_tick(s, now_us, wall_us);
    if (s->phase != PHASE_OPEN) turn_add(turn, s);
  }
}

static void *server_run(void *context) {
  struct ws_server *server = context;
  struct turn turn = {.last = &turn.first};
  int64_t tick_us = server->options.ping_us / 4 < TICK_US ? server->options.ping_us / 4 : TICK_US,
          next_us = ws_now_us() + tick_us;
  for (bool stop = false; !stop;) {
    int64_t now_us = ws_now_us();
    hear_events(server, &turn, turn.first ? 0 : next_us - now_us);
    take_woken(server, &turn);
    run_turn(server, &turn);
    now_us = ws_now_us();
    if (now_us >= next_us || atomic_load(&server->recheck)) {
      look_at_clock(server, &turn, now_us);
      next_us = now_us + tick_us;
    }
    pthread_mutex_lock(&server->lock);
    stop = server->stop;
    pthread_mutex_unlock(&server->lock);
  }
  return NULL;
}

/* ---- life
 * -------------------------------------------------------------------------------------------------------------------
 */

/* A follower is a descriptor: as many as were asked for should fit, as far as the hard limit goes. */
static void raise_limit(const struct ws_server *server) {
  struct rlimit limit;
  rlim_t wanted = DESCRIPTOR_LEAST + server->options.followers_max + SPARE_FDS;
  if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
  if (limit.rlim_cur < wanted)
    log_warning("at most %llu descriptors may be open: raise LimitNOFILE to %llu for %u followers",
                (unsigned long long)limit.rlim_cur, (unsigned long long)wanted, server->options.followers_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

static enum err open_descriptors(struct ws_server *server, struct error *e) {
  int pair[2];
  server->epoll = epoll_create1(EPOLL_CLOEXEC);
  server->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (server->epoll < 0 || server->event < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
    return error_errno(e, errno, "cannot prepare the server of followers");
  close(pair[1]);
  server->dead = pair[0];
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->event, &event))
    return error_errno(e, errno, "cannot prepare the server of followers");
  return ERR_OK;
}

enum err ws_server_create(struct ws_server **at, const struct ws_options *options, struct error *e) {
  struct ws_server *server = *at = mem_alloc(sizeof *server);
  server->options = *options;
  server->epoll = server->event = server->dead = -1;
  if (!server->options.followers_max) server->options.followers_max = FOLLOWERS_MAX;
  if (!server->options.pending_max) server->options.pending_max = PENDING_MAX;
  if (!server->options.ping_us) server->options.ping_us = PING_US;
  pthread_mutex_init(&server->lock, NULL);
  raise_limit(server);
  int failed = 0;
  if (open_descriptors(server, e) || (failed = pthread_create(&server->thread, NULL, server_run, server))) {
    if (failed) error_errno(e, failed, "cannot start the thread of followers");
    ws_server_destroy(at);
    return e ? e->code : ERR_IO;
  }
  server->started = true;
  return ERR_OK;
}

void ws_server_attach(struct ws_server *server, struct mg_context *civetweb) {
  handshake_attach(server, civetweb);
  selftest_start(server);
}

static void poke(struct ws_server *server) {
  pthread_mutex_lock(&server->lock);
  signal_thread(server);
  pthread_mutex_unlock(&server->lock);
}

void ws_server_revoked(struct ws_server *server) {
  atomic_store(&server->recheck, true);
  poke(server);
}

void ws_server_drain(struct ws_server *server) {
  atomic_store(&server->draining, true);
  ws_server_revoked(server); /* looks at every socket now */
}

void ws_server_destroy(struct ws_server **at) {
  struct ws_server *server = *at;
  if (!server) return;
  selftest_end(server);
  pthread_mutex_lock(&server->lock);
  server->stop = true;
  signal_thread(server);
  pthread_mutex_unlock(&server->lock);
  if (server->started) pthread_join(server->thread, NULL);
  for (struct socket *s = server->woken, *next; s; s = next) { /* handed over, never seen */
    next = s->next_woken;
    if (!s->previous) socket_free(&s);
  }
  while (server->sockets) {
    struct socket *s = server->sockets;
    server->sockets = s->next;
    socket_free(&s);
  }
  int descriptors[] = {server->epoll, server->event, server->dead};
  for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
    if (descriptors[i] >= 0) close(descriptors[i]);
  buf_free(&server->batch);
  pthread_mutex_destroy(&server->lock);
  free(server);
  *at = NULL;
}

void ws_statistics(struct ws_server *server, struct ws_statistics *statistics) {
  *statistics = (struct ws_statistics){.sockets = atomic_load(&server->count),
                                       .accepted = atomic_load(&server->accepted),
                                       .refused = atomic_load(&server->refused),
                                       .evicted = atomic_load(&server->evicted),
                                       .detached = atomic_load(&server->detached),
                                       .pooled = atomic_load(&server->pooled)};
}
