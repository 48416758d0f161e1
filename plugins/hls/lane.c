#include "lane.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PICTURES_MAX 3 /* decoded pictures are large: 3 MB at 1080p */
#define ITEMS_MAX 256
#define ASK_MS 100

enum item_kind { ITEM_PICTURE = 1, ITEM_SOUND = 2, ITEM_END = 3 };

struct item {
  enum item_kind kind;
  bool key;
  AVFrame *frame;
  AVPacket *packet;
  int64_t at; /* pts, or the end */
};

struct lane {
  struct rendition **renditions;
  size_t count;
  lane_stop_fn stop;
  void *opaque;
  pthread_t thread;
  pthread_mutex_t lock; /* everything below */
  pthread_cond_t changed;
  struct item ring[ITEMS_MAX];
  size_t first, items, pictures;
  bool quit, finished;
  struct fault fault;
};

static void item_free(struct item *i) {
  av_frame_free(&i->frame);
  av_packet_free(&i->packet);
}

/* ---- the lane's own thread -------------------------------------------------------------------------------------- */

static sm_status work(struct lane *l, struct item *i, struct fault *f) {
  const AVFrame *best = i->frame;
  sm_status status = SM_OK;
  for (size_t k = 0; k < l->count && status == SM_OK; k++) {
    struct rendition *r = l->renditions[k];
    if (i->kind == ITEM_PICTURE)
      status = rendition_picture(r, i->frame, &best, i->at, i->key, f);
    else if (i->kind == ITEM_SOUND)
      status = rendition_sound(r, i->packet, f);
    else
      status = rendition_end(r, i->at, f);
  }
  return status;
}

static bool take(struct lane *l, struct item *out) {
  pthread_mutex_lock(&l->lock);
  while (!l->items && !l->quit) pthread_cond_wait(&l->changed, &l->lock);
  bool got = !l->quit;
  if (got) {
    *out = l->ring[l->first];
    l->first = (l->first + 1) % ITEMS_MAX;
    l->items--;
    if (out->kind == ITEM_PICTURE) l->pictures--;
    pthread_cond_broadcast(&l->changed);
  }
  pthread_mutex_unlock(&l->lock);
  return got;
}

static void *run(void *opaque) {
  struct lane *l = opaque;
  struct item i;
  bool go = true;
  while (go && take(l, &i)) {
    struct fault f = {0};
    sm_status status = work(l, &i, &f);
    go = status == SM_OK && i.kind != ITEM_END;
    item_free(&i);
    if (go) continue;
    pthread_mutex_lock(&l->lock);
    l->finished = true;
    if (status != SM_OK) l->fault = f;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
  }
  return NULL;
}

/* ---- the stage's thread ----------------------------------------------------------------------------------------- */

struct lane *lane_start(struct rendition **renditions, size_t count, lane_stop_fn stop, void *opaque) {
  struct lane *l = calloc(1, sizeof *l);
  if (!l) return NULL;
  l->renditions = calloc(count, sizeof *l->renditions);
  if (!l->renditions) {
    free(l);
    return NULL;
  }
  memcpy(l->renditions, renditions, count * sizeof *renditions);
  l->count = count;
  l->stop = stop;
  l->opaque = opaque;
  pthread_mutex_init(&l->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&l->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  if (pthread_create(&l->thread, NULL, run, l)) {
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l->renditions);
    free(l);
    return NULL;
  }
  return l;
}

void lane_stop(struct lane **lane) {
  struct lane *l = *lane;
  if (!l) return;
  pthread_mutex_lock(&l->lock);
  l->quit = true;
  pthread_cond_broadcast(&l->changed);
  pthread_mutex_unlock(&l->lock);
  pthread_join(l->thread, NULL);
  for (; l->items; l->items--, l->first = (l->first + 1) % ITEMS_MAX) item_free(&l->ring[l->first]);
  pthread_cond_destroy(&l->changed);
  pthread_mutex_destroy(&l->lock);
  free(l->renditions);
  free(l);
  *lane = NULL;
}

/* Waits a little for the lane to move on. False: it should not be waited for any longer. Called with the lock. */
static bool wait_a_little(struct lane *l) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += ASK_MS * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000L;
  until.tv_nsec %= 1000000000L;
  if (pthread_cond_timedwait(&l->changed, &l->lock, &until) != ETIMEDOUT) return true;
  pthread_mutex_unlock(&l->lock);
  bool stop = l->stop(l->opaque);
  pthread_mutex_lock(&l->lock);
  return !stop;
}

static bool put(struct lane *l, struct item *i) {
  pthread_mutex_lock(&l->lock);
  bool go = true;
  while (go && !l->finished && (l->items == ITEMS_MAX || (i->kind == ITEM_PICTURE && l->pictures == PICTURES_MAX)))
    go = wait_a_little(l);
  go = go && !l->finished;
  if (go) {
    l->ring[(l->first + l->items++) % ITEMS_MAX] = *i;
    if (i->kind == ITEM_PICTURE) l->pictures++;
    pthread_cond_broadcast(&l->changed);
  }
  pthread_mutex_unlock(&l->lock);
  if (!go) item_free(i);
  return go;
}

static bool out_of_memory(struct lane *l) {
  pthread_mutex_lock(&l->lock);
  fault_set(&l->fault, SM_RETRY, AVERROR(ENOMEM), "out of memory");
  pthread_mutex_unlock(&l->lock);
  return false;
}

bool lane_picture(struct lane *l, const AVFrame *frame, int64_t pts, bool key) {
  struct item i = {.kind = ITEM_PICTURE, .key = key, .at = pts, .frame = av_frame_clone(frame)};
  return i.frame ? put(l, &i) : out_of_memory(l);
}

bool lane_sound(struct lane *l, const AVPacket *packet) {
  struct item i = {.kind = ITEM_SOUND, .packet = av_packet_clone(packet)};
  return i.packet ? put(l, &i) : out_of_memory(l);
}

bool lane_end(struct lane *l, int64_t end) {
  struct item i = {.kind = ITEM_END, .at = end};
  return put(l, &i);
}

bool lane_wait(struct lane *l) {
  pthread_mutex_lock(&l->lock);
  bool go = true;
  while (go && !l->finished) go = wait_a_little(l);
  go = l->finished && l->fault.status == SM_OK;
  pthread_mutex_unlock(&l->lock);
  return go;
}

struct fault lane_fault(struct lane *l) {
  pthread_mutex_lock(&l->lock);
  struct fault f = l->fault;
  pthread_mutex_unlock(&l->lock);
  return f;
}
