/* stream.h - followers without a socket: server-sent events and long poll, over the same hub and the same numbers. */
#pragma once
#include "api/parts.h"

struct stream {
  struct exchange *x;
  struct subscription subscription;
  bool by_cursor;            /* events are numbered by commit (several jobs), not by `seq` */
  const struct value *state; /* told first; NULL: nothing is */
  /* Asked about every terminal letter: true ends the stream behind it. NULL: it never ends by itself. */
  bool (*ends)(void *context, const struct letter *letter);
  void *context;
};
/* The number a client has seen last: Last-Event-ID, else ?since. False: answered 400. *given tells whether it named one. */
bool stream_since(struct exchange *x, uint64_t *since, bool *given);
bool stream_is_sse(struct exchange *x); /* Accept: text/event-stream */
/* minStep (percent) and minInterval (seconds) of the query. False: answered 400. */
bool stream_rates(struct exchange *x, struct subscription *subscription);
/* ?wait of a long poll, in microseconds. False: answered 400. */
bool stream_wait(struct exchange *x, int64_t *wait_us);

void stream_sse(const struct stream *stream); /* answers */
/* Stored events behind `since`: at once when there are some, else as soon as the first comes, or after wait_us without any.
 * *last: the number of the last one, `since` when there is none. False: answered. */
bool stream_poll(const struct stream *stream, int64_t wait_us, struct value *events, uint64_t *last);
