/* loop.h - one thread's event loop: descriptors (epoll), timers (CLOCK_BOOTTIME), calls posted from other threads.
 *
 * Everything but loop_post is for the loop's own thread. Callbacks may add and remove anything, themselves included;
 * a removed watch or timer never fires afterwards. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

struct loop;
struct loop_watch;
struct loop_timer;

enum err loop_create(struct loop **loop, const struct clock *clock, struct error *e);
void loop_destroy(struct loop **loop); /* frees what is still registered; closes no descriptor of the caller's */
const struct clock *loop_clock(const struct loop *loop);

/* events: EPOLLIN, EPOLLOUT, ... (level-triggered). The caller keeps fd open until loop_unwatch. NULL with errno for a
 * descriptor that cannot be polled (a regular file) or is watched already. */
typedef void loop_fd_fn(void *context, int fd, uint32_t events);
struct loop_watch *loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn *call, void *context);
void loop_watch_events(struct loop_watch *watch, uint32_t events);
void loop_unwatch(struct loop *loop, struct loop_watch **watch); /* takes the address, accepts NULL, leaves NULL */

/* Fires once at `at_us` (boot clock; the past fires at the next turn); the handle is dead when the callback runs. */
typedef void loop_fn(void *context);
struct loop_timer *loop_at(struct loop *loop, int64_t at_us, loop_fn *call, void *context);
struct loop_timer *loop_after(struct loop *loop, int64_t delay_us, loop_fn *call, void *context);
void loop_cancel(struct loop *loop, struct loop_timer **timer); /* takes the address, accepts NULL, leaves NULL */

/* [any thread] Runs call(context) on the loop's thread, in order. */
void loop_post(struct loop *loop, loop_fn *call, void *context);

void loop_run(struct loop *loop);  /* until loop_stop */
void loop_stop(struct loop *loop); /* [any thread] */
/* One turn: waits at most wait_us (-1: until something happens), runs what is due. For tests with a fake clock. */
void loop_turn(struct loop *loop, int64_t wait_us);
