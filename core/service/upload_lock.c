/* Who is at which upload: a request that changes one holds its key. The list is short, as long as requests run at once.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "service/upload.h"

enum { WAITERS_MAX = 16 }; /* threads that do nothing but wait */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t freed;
  struct held {
    struct held *next;
    char *key;
    bool reads;
  } * first;
  unsigned readers, waiters;
} held = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0};

static struct held **find(const char *key) {
  struct held **at = &held.first;
  while (*at && strcmp((*at)->key, key) != 0) at = &(*at)->next;
  return at;
}

static struct timespec after(int64_t wait_us) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  int64_t ns = t.tv_nsec + wait_us % 1000000 * 1000;
  t.tv_sec += wait_us / 1000000 + ns / 1000000000;
  t.tv_nsec = ns % 1000000000;
  return t;
}

/* [lock held] */
static bool wait_for(const char *key, int64_t wait_us) {
  struct timespec until = after(wait_us);
  int ended = wait_us == 0 || held.waiters >= WAITERS_MAX ? ETIMEDOUT : 0;
  held.waiters++;
  while (*find(key) && !ended) ended = pthread_cond_timedwait(&held.freed, &held.lock, &until);
  held.waiters--;
  return !*find(key);
}

static void take(const char *key, bool reads) {
  struct held *h = mem_alloc(sizeof(*h));
  *h = (struct held){held.first, mem_text(key), reads};
  held.first = h;
  held.readers += reads;
}

static enum err lock(const char *key, int64_t wait_us, bool reads, unsigned limit, struct error *e) {
  pthread_mutex_lock(&held.lock);
  bool free = wait_for(key, wait_us), room = !reads || held.readers < limit;
  if (free && room) take(key, reads);
  pthread_mutex_unlock(&held.lock);
  if (!free) return error_set(e, ERR_BUSY, "another request is at this upload: try again when it is over");
  return room ? ERR_OK
              : error_set(e, ERR_BUSY, "%u uploads arrive at this moment, as many as may: try again soon", limit);
}

enum err upload_lock(const char *key, int64_t wait_us, struct error *e) { return lock(key, wait_us, false, 0, e); }

enum err upload_lock_to_read(const char *key, unsigned limit, struct error *e) {
  return lock(key, UPLOAD_SETTLE_US, true, limit, e);
}

void upload_unlock(const char *key) {
  pthread_mutex_lock(&held.lock);
  struct held **at = find(key), *gone = *at;
  if (gone) {
    *at = gone->next;
    held.readers -= gone->reads;
    free(gone->key);
    free(gone);
  }
  pthread_cond_broadcast(&held.freed);
  pthread_mutex_unlock(&held.lock);
}
