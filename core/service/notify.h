/* notify.h - webhooks and mail: who wants to know what became of a job is told, however long it takes.
 *
 * A clerk thread reads the stored events in commit order. For each that somebody asked for (daemon settings, pipeline,
 * job) it stores a delivery; how far it has read is stored in the same transaction, so that each event gives each
 * target exactly one delivery, whatever is killed when. A courier sends webhooks, several at a time; a postman sends
 * mail. A delivery goes
 *
 *   waiting -> delivered                      2xx, or the mail server took it
 *           -> waiting ... -> dead            tries are used up, or trying again cannot help
 *   delivered, dead -> waiting                notify_replay
 *
 * Sending is at least once: a receiver that answered a process killed in that very moment is told again, under the same
 * Stagemill-Delivery. Deliveries go with their job. Nothing here runs on the loop's thread but notify_heard. */
#pragma once
#include "base/clock.h"
#include "events/news.h"
#include "service/settings.h"
#include "store/store.h"

struct notify;
struct notify_options {
  struct store *store;              /* borrowed for life */
  struct settings_holder *settings; /* likewise */
  /* Value of a named secret, owned text, NULL: unknown. Called on the threads of this module. NULL: as stages find
   * theirs. */
  char *(*secret)(void *context, const char *name);
  void *context;
  int64_t first_delay_us; /* before the second try; each further one is 3 times as long, at most 1 h. 0: 5 s */
};
/* Starts its threads; what was left waiting goes on. A store without a mark begins with what comes from now on. */
enum err notify_create(struct notify **notify, const struct notify_options *options, struct error *e);
/* Ends what is being sent, as if it had not been tried. Before the store goes. */
void notify_destroy(struct notify **notify);
/* [any-thread] Something may have been stored: look. Never blocks. */
void notify_wake(struct notify *notify);
void notify_heard(void *notify, const struct news *news); /* an engine_listener */

/* ---- for handlers: [any-thread], may block on the store
 * ------------------------------------------------------------------- */

struct notify_filter {
  const char *job;   /* or batch; NULL: any */
  const char *owner; /* NULL: whoever's */
  const char
      *state; /* "waiting", "delivered", "dead"; NULL: any. Only together with `job` it costs nothing to be rare */
  const char *after; /* page: behind this id; NULL: from the newest */
  size_t limit;      /* 0: 100; at most 1000 */
};
/* A list of deliveries, newest first: {id, kind, to, event, jobId | batchId, seq, owner, source, state, attempts,
 * maxAttempts, nextAt, lastAt, lastStatus, error, createdAt}. What is secret in a URL is hidden. *next (owned) is NULL
 * on the last page. */
enum err notify_list(struct store *store, const struct notify_filter *filter, struct value **list, char **next,
                     struct error *e);
enum err notify_get(struct store *store, const char *id, struct value **delivery, struct error *e); /* ERR_NOT_FOUND */
/* Sends it (again) from its first try on. */
enum err notify_replay(struct notify *notify, const char *id, struct value **delivery, struct error *e);
