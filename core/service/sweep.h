/* sweep.h - what has to be tidied up now and then: ended jobs beyond their retention, what jobs that are no more
 * published, side records whose time is over. Looks every minute, in a thread of its own; nothing waits for it. */
#pragma once
#include "service/service.h"

struct sweep;
struct sweep_options {
  struct service *service; /* borrowed for life */
  int64_t every_us;        /* 0: a minute */
};
enum err sweep_create(struct sweep **sweep, const struct sweep_options *options, struct error *e);
void sweep_soon(struct sweep *sweep);     /* [loop thread] not only when it is due: settings have changed */
void sweep_stop(struct sweep *sweep);     /* waits for what it is doing; before the engine is destroyed */
void sweep_destroy(struct sweep **sweep); /* after the engine, which may still have an answer for it */

/* What one kind of record needs besides being removed when it is over (a file to be unlinked): called on the sweep's
 * thread before the record goes; an error keeps it until the next time. */
typedef enum err sweep_hook(struct service *service, const struct side_record *record, struct error *e);
void sweep_expire(struct sweep *sweep, enum side_kind kind, sweep_hook *hook); /* hook NULL: nothing besides */
