/* slot.c - what each worker is occupied with, and the watch that frees workers from peers that only occupy them.
 *
 * civetweb gives a connection a thread from its first byte to its end. A peer that sends half a request, reads an
 * answer a byte at a time or leaves a connection open therefore costs a thread. While threads are free that is allowed
 * for as long as the time-outs say; when none is free, whoever only occupies one is cut after a moment, so that those
 * who wait are served. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/parts.h"

enum {
  TICK_MS = 50,
  HEAD_US = 10 * 1000000,       /* for the head of a request, without pressure */
  HEAD_PRESSED_US = 150 * 1000, /* with it; TCP_DEFER_ACCEPT means that the first bytes are there already */
  STALL_US = 20 * 1000000,      /* no byte moved in a body or an answer */
  STALL_PRESSED_US = 2 * 1000000,
  SLOW_PRESSED_US = 5 * 1000000, /* after this long, under pressure, this many bytes a second are expected */
  SLOW_BYTES = 4096,
};

static bool must_go(const struct slot *slot, int64_t now, bool pressed) {
  int64_t age = now - slot->since_us, still = now - slot->moved_us;
  if (atomic_load(&slot->cut) || slot->fd < 0) return false;
  if (slot->state == SLOT_READING) return age > (pressed ? HEAD_PRESSED_US : HEAD_US);
  if (slot->state != SLOT_BODY && slot->state != SLOT_WRITING) return false;
  if (still > (pressed ? STALL_PRESSED_US : STALL_US)) return true;
  return pressed && age > SLOW_PRESSED_US && slot->moved * 1000000u / (uint64_t)age < SLOW_BYTES;
}

/* The worker wakes from its read or write and closes the connection itself: the descriptor stays civetweb's. */
static void cut(struct slot *slot) {
  measure_cut(slot->state == SLOT_READING ? "reading" : slot->state == SLOT_BODY ? "body" : "writing");
  atomic_store(&slot->cut, true);
  shutdown(slot->fd, SHUT_RDWR);
}

static void look(struct watch *watch) {
  int64_t now = clock_boot(&clock_system);
  bool pressed = watch->used >= watch->count;
  measure_watch(watch->used, watch->lingering);
  for (size_t i = 0; i < watch->count; i++)
    if (watch->slots[i].state != SLOT_FREE && must_go(&watch->slots[i], now, pressed)) cut(&watch->slots[i]);
}

static void *run(void *context) {
  struct watch *watch = context;
  pthread_mutex_lock(&watch->lock);
  while (!watch->stop) {
    if (watch->used == 0) {
      measure_watch(0, 0);
      pthread_cond_wait(&watch->wake, &watch->lock);
      continue;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
    pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
    look(watch);
  }
  pthread_mutex_unlock(&watch->lock);
  return NULL;
}

enum err watch_start(struct http_server *server, struct error *e) {
  struct watch *watch = &server->watch;
  watch->count = server->threads;
  watch->slots = mem_array(watch->count, sizeof(*watch->slots));
  for (size_t i = 0; i < watch->count; i++)
    watch->slots[i].server = server, watch->slots[i].state = SLOT_FREE, watch->slots[i].fd = -1;
  int failed = pthread_create(&watch->thread, NULL, run, watch);
  if (failed) return error_errno(e, failed, "cannot start the thread that watches connections");
  watch->running = true;
  return ERR_OK;
}

void watch_stop(struct http_server *server) {
  struct watch *watch = &server->watch;
  if (watch->running) {
    pthread_mutex_lock(&watch->lock);
    watch->stop = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    watch->running = false;
  }
  for (size_t i = 0; watch->slots && i < watch->count; i++) stack_free(&watch->slots[i].stack);
  free(watch->slots);
  watch->slots = NULL;
}

void watch_cut_readers(struct http_server *server) {
  struct watch *watch = &server->watch;
  pthread_mutex_lock(&watch->lock);
  for (size_t i = 0; watch->slots && i < watch->count; i++)
    if (watch->slots[i].state != SLOT_FREE && watch->slots[i].state != SLOT_BUSY && watch->slots[i].fd >= 0)
      cut(&watch->slots[i]);
  pthread_mutex_unlock(&watch->lock);
}

/* ---- workers
 * ------------------------------------------------------------------------------------------------------------------ */

struct slot *slot_take(struct http_server *server) {
  struct watch *watch = &server->watch;
  struct slot *found = NULL;
  pthread_mutex_lock(&watch->lock);
  for (size_t i = 0; i < watch->count && !found; i++)
    if (!watch->slots[i].taken) found = &watch->slots[i];
  if (found) found->taken = true;
  pthread_mutex_unlock(&watch->lock);
  if (found && !found->stack) stack_make(&found->stack);
  return found;
}

void slot_give(struct slot *slot) {
  if (!slot) return;
  pthread_mutex_lock(&slot->server->watch.lock);
  slot->taken = false;
  pthread_mutex_unlock(&slot->server->watch.lock);
}

/* ---- connections
 * ------------------------------------------------------------------------------------------------------------------ */

/* One address may not have more than three quarters of the threads. */
static bool is_greedy(const struct watch *watch, const struct slot *one) {
  size_t same = 0;
  if (one->exempt) return false;
  for (size_t i = 0; i < watch->count; i++)
    same += watch->slots[i].state != SLOT_FREE && strcmp(watch->slots[i].peer, one->peer) == 0;
  return same > watch->count * 3 / 4 + 1;
}

void slot_connect(struct slot *slot, const struct mg_connection *connection) {
  if (!slot) return;
  struct watch *watch = &slot->server->watch;
  char peer[PEER_MAX] = "";
  int fd = descriptor_early(slot->server, connection, peer);
  struct policy *policy = policy_hold(slot->server);
  bool exempt = !*peer || strncmp(peer, "127.", 4) == 0 || policy_trusts(policy, peer);
  policy_release(&policy);
  pthread_mutex_lock(&watch->lock);
  slot->fd = fd;
  slot->state = SLOT_READING;
  slot->since_us = slot->moved_us = clock_boot(&clock_system);
  slot->moved = 0;
  slot->exempt = exempt;
  atomic_store(&slot->cut, false);
  memcpy(slot->peer, peer, sizeof(slot->peer));
  if (++watch->used == 1) pthread_cond_signal(&watch->wake);
  bool greedy = fd >= 0 && is_greedy(watch, slot);
  if (greedy) cut(slot);
  pthread_mutex_unlock(&watch->lock);
  if (greedy) log_warning("http: %s has too many connections at once: one was closed", peer);
}

/* A request has come, so civetweb tells whose it is: for connections that could not be told by then. */
void slot_know(struct slot *slot, const struct mg_request_info *info) {
  if (!slot || slot->fd >= 0) return;
  int fd = descriptor_of(info);
  pthread_mutex_lock(&slot->server->watch.lock);
  slot->fd = fd;
  snprintf(slot->peer, sizeof(slot->peer), "%.*s", PEER_MAX - 1, info->remote_addr);
  pthread_mutex_unlock(&slot->server->watch.lock);
}

void slot_disconnect(struct slot *slot) {
  if (!slot || slot->state == SLOT_FREE) return;
  struct watch *watch = &slot->server->watch;
  pthread_mutex_lock(&watch->lock);
  if (slot->state == SLOT_LINGER) watch->lingering--;
  slot->state = SLOT_FREE;
  slot->fd = -1;
  watch->used--;
  pthread_mutex_unlock(&watch->lock);
}

void slot_turn(struct slot *slot, enum slot_state state) {
  if (!slot || slot->state == state) return;
  struct watch *watch = &slot->server->watch;
  pthread_mutex_lock(&watch->lock);
  if (slot->state == SLOT_LINGER) watch->lingering--;
  if (state == SLOT_LINGER) watch->lingering++;
  slot->state = state;
  slot->since_us = slot->moved_us = clock_boot(&clock_system);
  slot->moved = 0;
  pthread_mutex_unlock(&watch->lock);
}

void slot_moved(struct slot *slot, size_t bytes) {
  if (!slot) return;
  pthread_mutex_lock(&slot->server->watch.lock);
  slot->moved_us = clock_boot(&clock_system);
  slot->moved += bytes;
  pthread_mutex_unlock(&slot->server->watch.lock);
}

bool slot_linger(struct slot *slot) {
  struct watch *watch = &slot->server->watch;
  if (slot->state == SLOT_LINGER) return true;
  pthread_mutex_lock(&watch->lock);
  bool room = watch->lingering < (watch->count + 1) / 2;
  if (room) {
    watch->lingering++;
    slot->state = SLOT_LINGER;
  }
  pthread_mutex_unlock(&watch->lock);
  return room;
}
