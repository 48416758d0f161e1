/* idempotency.h - `Idempotency-Key`: a submission that is repeated within 24 h is not made twice, whether the first answer got
 * lost, the daemon died in between, or both arrive at once.
 *
 * The job's id is chosen and stored under the key before anything is submitted: whoever comes second submits under the same id,
 * which the store refuses to take twice. */
#pragma once
#include "http/http.h"
#include "service/service.h"

struct repeat {
  char *record;          /* id of the stored record; NULL: the request has no key */
  char fingerprint[65];  /* of what was asked for */
  char *answer;          /* JSON of the first answer; NULL: there is none yet */
  bool first;            /* nobody came before */
  uint64_t version;      /* of the record that was made then */
};
/* Takes the key for `job` (an id made for it), or finds what was taken before: then `job` is replaced by that id. ERR_CONFLICT:
 * the key was used for another request; ERR_USAGE: the key is malformed. */
enum err repeat_begin(struct exchange *x, const char *fingerprint, char job[STORE_ID_MAX], struct repeat *repeat,
                      struct error *e);
/* Keeps the answer, or (NULL: it was refused) lets go of the key. */
void repeat_end(struct exchange *x, struct repeat *repeat, const char *job, const char *answer);
void repeat_clear(struct repeat *repeat);
