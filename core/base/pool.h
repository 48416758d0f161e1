/* pool.h - a few worker threads for blocking work (hashing, syncing) beside a loop. */
#pragma once
#include "base/error.h"
#include "base/loop.h"

struct pool;
enum err pool_create(struct pool **pool, struct loop *loop, unsigned threads, struct error *e);
/* Waits for running work, drops what has not begun (its done call is still made). Takes the address, leaves NULL. */
void pool_destroy(struct pool **pool);
/* work(context) runs on a worker, then done(context) on the loop's thread. */
void pool_submit(struct pool *pool, loop_fn *work, loop_fn *done, void *context);
