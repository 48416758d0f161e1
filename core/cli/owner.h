/* owner.h - asks whoever owns a state folder, or owns it for a moment when nobody does. */
#pragma once
#include "base/error.h"
#include "base/value.h"
#include "cli/options.h"

/* The state folder that --state or -o names; else the user's state home, else /var/lib/stagemill, whichever exists first.
 * malloc'ed; NULL with e set when there is none. */
char *owner_folder(const struct options *options, struct error *e);
/* Sends one request of door.h and waits for its answer (owned). ERR_... only when nobody could be asked; a refusal is
 * an answer with ok false. */
enum err owner_ask(const char *state_folder, const struct value *request, struct value **answer, struct error *e);
/* Both, plus the complaint: the answer (owned) or NULL with *code set. */
struct value *owner_request(const struct options *options, const struct value *request, int *code);

#define OWNER_OPTIONS                                                                                                  \
  OPTION_VALUE("state", 0, "DIR", WORD_FOLDER, "state folder"),                                                       \
      OPTION_VALUE("output", 'o', "OUT", WORD_FOLDER, "output folder of a `run`: its state is in OUT/.stagemill")
