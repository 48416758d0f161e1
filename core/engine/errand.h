/* errand.h - one request to steer a job, on its way to disk. Those of one job go one after the other, so that each sees what
 * the one before it has changed. */
#pragma once
#include "engine/draft.h"

struct errand;
typedef void errand_begin(struct errand *errand);
struct errand {
  struct errand *next;
  struct engine *engine;
  char *id;
  struct value *args; /* map */
  errand_begin *begin;
  engine_done *done;
  void *context;
  bool begun;
};
void errand_start(struct engine *engine, const char *id, struct value *moved_args, errand_begin *begin, engine_done *done,
                  void *context);
void errand_end(struct errand *errand, const struct error *e); /* answers, frees, lets the next one begin */
void errand_refuse(struct errand *errand, enum err code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The two ways to disk: of a job that is not in memory by its record, of one that is by a draft. */
void errand_stored(void *errand, const struct commit *commit);                      /* store_done */
void errand_drafted(struct job *job, const struct commit *commit, void *errand); /* draft_then */
/* The job in memory, or NULL with its record read, which has not ended. false: refused, the errand is over. */
bool errand_target(struct errand *errand, struct job **job, struct job_record *record);
void errands_free(struct engine *engine);
