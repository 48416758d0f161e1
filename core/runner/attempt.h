/* attempt.h - what one attempt knows while it runs: its unit, its socket and page, one task a stage.
 *
 * Lock order: task.lock before attempt.send_lock. */
#pragma once
#include <pthread.h>
#include <stagemill/stage.h>

#include "base/value.h"
#include "runner/plugin.h"
#include "wire/message.h"
#include "wire/page.h"
#include "wire/unit.h"

struct attempt;

struct keep { /* strings handed out, alive until the process ends */
  struct keep *next;
  char text[];
};

struct task {
  sm_task api; /* first: the plugin's sm_task * is this */
  struct attempt *attempt;
  int32_t index;
  struct unit_stage *spec;
  const sm_stage *stage; /* NULL for a stage that is left out */
  pthread_mutex_t lock;  /* guards everything below */
  struct keep *kept;
  struct value *results; /* key -> value given so far; lists grow here and are sent at the end */
  struct value *outputs; /* port -> number of artifacts declared */
  sm_status failed;      /* verdict recorded by fail(); SM_OK: none */
  char message[1024], debug[1024];
  bool broken;           /* broke its own contract: fails whatever it returns; message says how */
  bool ended;            /* its verdict is sent */
  char title[256], title_sent[256];
  int64_t title_at_us;   /* boot clock of the last TITLE */
};

struct attempt {
  struct unit *unit;
  int socket;
  struct page *page;
  const int *slots;
  uint32_t slot_count;
  struct task *tasks; /* unit->stage_count */
  pthread_mutex_t send_lock;
  bool lost; /* the engine is gone: nothing can be sent any more */
};

/* [any thread] Sends a message; blocks while the engine is slow. Takes the body over. */
void attempt_send(struct attempt *a, enum message_type type, int32_t stage, struct value *moved);
/* [any thread] */
bool attempt_cancelled(const struct attempt *a);
int64_t attempt_now_us(void); /* boot clock */

/* Runs everything the unit says and answers the process's exit code. plugins: those already loaded here (a NULL ends
 * them); what is missing is loaded now. pass_module: NULL when this process has none. */
struct pass_module;
int attempt_run(struct attempt *a, struct plugin *const *plugins, const struct pass_module *pass);
