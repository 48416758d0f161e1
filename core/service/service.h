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
};

/* Runs `begin(context, ticket)` on the loop thread and waits until somebody calls service_answer with the ticket. Never on the
 * loop thread itself. The answer's value (may be NULL) is handed to the caller. ERR_BUSY while the daemon stops. */
struct ask;
typedef void service_begin(void *context, struct ask *ask);
enum err service_ask(struct service *service, service_begin *begin, void *context, struct value **answer, struct error *e);
void service_answer(struct ask *ask, const struct error *e, struct value *moved); /* [loop thread], exactly once */
void service_answer_done(void *ask, const struct error *e); /* an engine_done: its context is the ask */
