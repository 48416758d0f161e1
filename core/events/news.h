/* news.h - one thing that happened, on its way from the engine to whoever listens: the public envelope as text, and what
 * the fan-out needs to know about it without reading it. Borrowed for the duration of the call. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/value.h"

struct news {
  const char *subject; /* id of the job, batch or asset whose `seq` this is */
  const char *job;     /* NULL: not about one job (a batch's own events) */
  const char *batch, *asset, *owner, *pipeline; /* NULL: none */
  const char *type;    /* "queued", "progress", ... */
  const char *stage;   /* of progress; NULL: the whole job's */
  uint64_t seq;        /* of the event; of the last stored one for what is not stored */
  uint64_t cursor;     /* of the event; 0: not stored */
  bool stored;         /* a lifecycle event: never dropped, never merged */
  bool terminal;       /* nothing of this round follows */
  const struct value *event;
  const char *json; /* `event` as compact JSON */
  size_t json_size;
};
