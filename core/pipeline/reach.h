/* reach.h - what a pipeline touches on the machine that runs it: for pipelines whose author is not its operator. */
#pragma once
#include "pipeline/pipeline.h"

enum reach_kind {
  REACH_FILE = 1, /* a file: a parameter's default, or a setting */
  REACH_TARGET,   /* a folder or URL that is read from or written to */
  REACH_UNKNOWN,  /* a file or target that only the run decides: its expression reads results or secrets */
  REACH_SECRET,   /* a secret by name, anywhere in the pipeline */
};
struct reach {
  enum reach_kind kind;
  const char *stage;   /* id; NULL: none (a parameter, the result) */
  const char *setting; /* its name, or the parameter's; NULL: none */
  const char *text;    /* path, URL, name of the secret; UNKNOWN: NULL */
};
/* Stops with what `visit` answers when that is not ERR_OK. */
typedef enum err reach_visit(void *context, const struct reach *reach, struct error *e);
/* params: typed, as a submission would have them; job: the map behind job.id, job.input, job.name. Empty texts are left
 * out: they mean "no file". */
enum err pipeline_reach(const struct pipeline *p, const struct value *params, const struct value *job, reach_visit *visit,
                        void *context, struct error *e);
