/* site.h - what is installed here, opened for a command: paths, plugin catalogue, stages; and pipelines read with them.
 */
#pragma once
#include "base/stagetype.h"
#include "cli/paths.h"
#include "host/catalogue.h"
#include "pipeline/pipeline.h"

struct site {
  struct paths paths;
  struct catalogue *catalogue;
  struct stage_set *stages; /* the catalogue's */
};
/* refresh: ignore what is cached and lift quarantines. A runner that is missing leaves a site without stages. */
enum err site_open(struct site *site, bool refresh, struct error *e);
void site_close(struct site *site);

/* Loads the pipeline an operand names (paths_pipeline). Its problems land in the report; ERR_INVALID when there are
 * errors among them, another code when the file cannot be read. */
enum err site_load(struct site *site, const char *word, struct report *report, struct pipeline **pipeline,
                   struct error *e);
/* The same for commands that need the pipeline and nothing else: problems go to stderr. NULL: *code says how to end. */
struct pipeline *site_pipeline(struct site *site, const char *word, int *code);
/* -p name=value words to a map of text. */
enum err site_texts(const char *const *words, size_t count, struct value **texts, struct error *e);
/* -p name=value words to the typed parameters of the pipeline. Paths are relative to the working directory. */
enum err site_params(const struct pipeline *p, const char *const *words, size_t count, struct value **params,
                     struct error *e);
