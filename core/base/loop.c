#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

enum { BATCH = 64 };
/* epoll counts no suspended time while timers run on CLOCK_BOOTTIME: looking at the clock this often bounds how late a
 * timer can be after the machine woke up. */
static const int64_t LONGEST_WAIT_US = 10 * 1000000;

struct loop_watch {
  struct loop *loop;
  int fd;
  bool dead;
  loop_fd_fn *call;
  void *context;
  struct loop_watch *next, **link; /* in loop->watches, or in loop->graveyard when dead */
};

struct loop_timer {
  int64_t at_us;
  uint64_t serial; /* equal times fire in the order they were set */
  size_t index;    /* in the heap */
  loop_fn *call;
  void *context;
};

struct post {
  loop_fn *call;
  void *context;
};

struct loop {
  const struct clock *clock;
  int epoll, wake;
  int64_t turn_us; /* boot time at the last turn's look at the clock */
  uint64_t serial;
  struct loop_watch *watches, *graveyard; /* graveyard: freed when no event of this turn can name them any more */
  struct loop_timer **heap;
  size_t timers, heap_room;
  atomic_bool stopping;
  pthread_mutex_t lock; /* guards posts */
  struct post *posts;
  size_t post_count, post_room;
};

enum err loop_create(struct loop **out, const struct clock *clock, struct error *e) {
  struct loop *loop = mem_alloc(sizeof(*loop));
  loop->clock = clock;
  loop->turn_us = clock_boot(clock);
  pthread_mutex_init(&loop->lock, NULL);
  loop->epoll = epoll_create1(EPOLL_CLOEXEC);
  loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (loop->epoll < 0 || loop->wake < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) != 0) {
    enum err status = error_errno(e, errno, "cannot set up an event loop");
    loop_destroy(&loop);
    return status;
  }
  *out = loop;
  return ERR_OK;
}

static void bury(struct loop *loop) {
  while (loop->graveyard) {
    struct loop_watch *w = loop->graveyard;
    loop->graveyard = w->next;
    free(w);
  }
}

void loop_destroy(struct loop **address) {
  struct loop *loop = address ? *address : NULL;
  if (!loop) return;
  *address = NULL;
  while (loop->watches) {
    struct loop_watch *w = loop->watches;
    loop->watches = w->next;
    free(w);
  }
  bury(loop);
  for (size_t i = 0; i < loop->timers; i++) free(loop->heap[i]);
  free(loop->heap);
  free(loop->posts);
  if (loop->epoll >= 0) close(loop->epoll);
  if (loop->wake >= 0) close(loop->wake);
  pthread_mutex_destroy(&loop->lock);
  free(loop);
}

const struct clock *loop_clock(const struct loop *loop) { return loop->clock; }

/* ---- descriptors ---- */

struct loop_watch *loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn *call, void *context) {
  struct loop_watch *w = mem_alloc(sizeof(*w));
  *w = (struct loop_watch){.loop = loop, .fd = fd, .call = call, .context = context};
  struct epoll_event event = {.events = events, .data.ptr = w};
  if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    int saved = errno;
    free(w);
    errno = saved;
    return NULL;
  }
  w->next = loop->watches;
  w->link = &loop->watches;
  if (w->next) w->next->link = &w->next;
  loop->watches = w;
  return w;
}

void loop_watch_events(struct loop_watch *w, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = w};
  epoll_ctl(w->loop->epoll, EPOLL_CTL_MOD, w->fd, &event);
}

void loop_unwatch(struct loop *loop, struct loop_watch **watch) {
  struct loop_watch *w = watch ? *watch : NULL;
  if (!w) return;
  *watch = NULL;
  epoll_ctl(loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
  w->dead = true;
  *w->link = w->next;
  if (w->next) w->next->link = w->link;
  w->next = loop->graveyard;
  loop->graveyard = w;
}

/* ---- timers: a binary heap ordered by (at_us, serial) ---- */

static bool earlier(const struct loop_timer *a, const struct loop_timer *b) {
  return a->at_us != b->at_us ? a->at_us < b->at_us : a->serial < b->serial;
}

static void place(struct loop *loop, struct loop_timer *t, size_t index) {
  loop->heap[index] = t;
  t->index = index;
}

static void sift_up(struct loop *loop, struct loop_timer *t, size_t index) {
  while (index > 0 && earlier(t, loop->heap[(index - 1) / 2])) {
    place(loop, loop->heap[(index - 1) / 2], index);
    index = (index - 1) / 2;
  }
  place(loop, t, index);
}

static void sift_down(struct loop *loop, struct loop_timer *t, size_t index) {
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= loop->timers) break;
    if (child + 1 < loop->timers && earlier(loop->heap[child + 1], loop->heap[child])) child++;
    if (!earlier(loop->heap[child], t)) break;
    place(loop, loop->heap[child], index);
    index = child;
  }
  place(loop, t, index);
}

static void heap_remove(struct loop *loop, struct loop_timer *t) {
  struct loop_timer *last = loop->heap[--loop->timers];
  if (last == t) return;
  size_t index = t->index;
  if (index > 0 && earlier(last, loop->heap[(index - 1) / 2]))
    sift_up(loop, last, index);
  else
    sift_down(loop, last, index);
}

struct loop_timer *loop_at(struct loop *loop, int64_t at_us, loop_fn *call, void *context) {
  struct loop_timer *t = mem_alloc(sizeof(*t));
  /* The past counts as now, so that a timer that sets itself again cannot keep others that are due from their turn. */
  if (at_us < loop->turn_us) at_us = loop->turn_us;
  *t = (struct loop_timer){.at_us = at_us, .serial = ++loop->serial, .call = call, .context = context};
  if (loop->timers == loop->heap_room) {
    loop->heap_room = loop->heap_room ? loop->heap_room * 2 : 16;
    loop->heap = mem_grow(loop->heap, loop->heap_room, sizeof(*loop->heap));
  }
  sift_up(loop, t, loop->timers++);
  return t;
}

struct loop_timer *loop_after(struct loop *loop, int64_t delay_us, loop_fn *call, void *context) {
  int64_t at_us;
  if (__builtin_add_overflow(clock_boot(loop->clock), delay_us, &at_us)) at_us = delay_us < 0 ? 0 : INT64_MAX;
  return loop_at(loop, at_us, call, context);
}

void loop_cancel(struct loop *loop, struct loop_timer **timer) {
  struct loop_timer *t = timer ? *timer : NULL;
  if (!t) return;
  *timer = NULL;
  heap_remove(loop, t);
  free(t);
}

static void run_timers(struct loop *loop) {
  uint64_t newest = loop->serial;
  loop->turn_us = clock_boot(loop->clock);
  while (loop->timers && loop->heap[0]->at_us <= loop->turn_us && loop->heap[0]->serial <= newest) {
    struct loop_timer *t = loop->heap[0];
    heap_remove(loop, t);
    loop_fn *call = t->call;
    void *context = t->context;
    free(t);
    call(context);
  }
}

/* ---- calls from other threads ---- */

static void wake(struct loop *loop) {
  uint64_t one = 1;
  ssize_t ignored = write(loop->wake, &one, sizeof(one)); /* full counter: it is awake already */
  (void)ignored;
}

void loop_post(struct loop *loop, loop_fn *call, void *context) {
  pthread_mutex_lock(&loop->lock);
  if (loop->post_count == loop->post_room) {
    loop->post_room = loop->post_room ? loop->post_room * 2 : 16;
    loop->posts = mem_grow(loop->posts, loop->post_room, sizeof(*loop->posts));
  }
  loop->posts[loop->post_count++] = (struct post){call, context};
  bool first = loop->post_count == 1;
  /* Under the lock: once it is released the loop may run the call, and the call may destroy the loop. */
  if (first) wake(loop);
  pthread_mutex_unlock(&loop->lock);
}

static void run_posts(struct loop *loop) {
  uint64_t count;
  ssize_t ignored = read(loop->wake, &count, sizeof(count));
  (void)ignored;
  pthread_mutex_lock(&loop->lock);
  struct post *posts = loop->posts;
  size_t n = loop->post_count;
  loop->posts = NULL;
  loop->post_count = loop->post_room = 0;
  pthread_mutex_unlock(&loop->lock);
  for (size_t i = 0; i < n; i++) posts[i].call(posts[i].context);
  free(posts);
}

/* ---- turning ---- */

static int wait_ms(struct loop *loop, int64_t wait_us) {
  if (wait_us < 0 || wait_us > LONGEST_WAIT_US) wait_us = LONGEST_WAIT_US;
  if (loop->timers) {
    int64_t left = loop->heap[0]->at_us - clock_boot(loop->clock);
    if (left < wait_us) wait_us = left < 0 ? 0 : left;
  }
  return (int)((wait_us + 999) / 1000); /* rounded up: waking early would only spin */
}

void loop_turn(struct loop *loop, int64_t wait_us) {
  struct epoll_event events[BATCH];
  int n = epoll_wait(loop->epoll, events, BATCH, wait_ms(loop, wait_us));
  bool posted = false;
  for (int i = 0; i < n; i++) {
    struct loop_watch *w = events[i].data.ptr;
    if (!w)
      posted = true;
    else if (!w->dead)
      w->call(w->context, w->fd, events[i].events);
  }
  if (posted) run_posts(loop);
  run_timers(loop);
  bury(loop);
}

void loop_run(struct loop *loop) {
  while (!atomic_load(&loop->stopping)) loop_turn(loop, -1);
  atomic_store(&loop->stopping, false); /* so that it can be run again */
}

void loop_stop(struct loop *loop) {
  atomic_store(&loop->stopping, true);
  wake(loop);
}
