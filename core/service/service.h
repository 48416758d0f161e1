/* service.h - what the daemon is made of beside the engine: everything a request handler needs, in one place.
 *
 * The engine belongs to the loop thread; handlers run on HTTP threads and ask it through service_ask. Reads of the store are
 * [any-thread]. */
#pragma once
#include "auth/auth.h"
#include "base/loop.h"
#include "base/stagetype.h"
#include "engine/engine.h"
#include "events/hub.h"
#include "service/settings.h"

struct shelf; /* shelf.h: the pipelines that can be submitted by name */
struct batches;
struct notify;
struct asks;  /* service.c: what handlers wait for */

struct service {
  struct loop *loop;
  struct engine *engine;
  struct store *store;
  struct catalogue *catalogue;
  struct stage_set *stages;
  struct hub *hub;
  struct keyring *keyring;
  struct shelf *shelf;
  struct settings_holder *settings; /* settings.h: the current ones, shared */
  const char *state_folder, *outputs_folder; /* OUTPUTS/JOB is the output folder of a job */
  const char *share_folder;                  /* share/stagemill */
  int64_t started_us;                        /* wall */
  struct crew_options crew;                  /* how attempts are started, for looks beside the engine's work */
  struct batches *batches;                   /* batch.h */
  struct notify *notify;                     /* notify.h: webhooks and mail; NULL while the daemon starts or stops */
  struct asks *asks;
  void (*revoked)(void *context); /* [any-thread] told whenever a token was revoked: open sockets look at theirs again; NULL: none */
  void *revoked_context;
};
/* Fills in what service_ask needs; `loop` is set already. */
void service_open(struct service *service);
/* [loop thread] From now on service_ask answers ERR_BUSY, what has not begun too; `quiet` comes once what had begun is
 * answered, at most limit_us later (what is left then is given up). Then nobody waits for the loop any more, and the HTTP
 * server can be destroyed on it. */
void service_stop(struct service *service, int64_t limit_us, loop_fn *quiet, void *context);
void service_close(struct service *service); /* the engine is destroyed already: late answers came before */

/* Runs `begin(context, ask)` on the loop thread and waits until somebody calls service_answer with the ask. Never on the
 * loop thread itself. The answer's value (may be NULL) is handed to the caller; `answer` may be NULL. ERR_BUSY: too many wait
 * already (256), or the daemon stops. What `context` points to is good until the answer is given: a completion that comes
 * later than that uses nothing but the ask. */
struct ask;
typedef void service_begin(void *context, struct ask *ask);
enum err service_ask(struct service *service, service_begin *begin, void *context, struct value **answer, struct error *e);
/* [loop thread] Exactly once for every ask that was begun. e NULL or ERR_OK: it went well. */
void service_answer(struct ask *ask, const struct error *e, struct value *moved);
void service_answer_done(void *ask, const struct error *e); /* an engine_done: its context is the ask */
