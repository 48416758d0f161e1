/* pipeline.h - a checked pipeline: what the YAML says after the one strict front door let it in.
 *
 * Immutable once loaded; every name in it is resolved against the stage set it was checked with. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/stagetype.h"
#include "base/value.h"
#include "config/report.h"
#include "pipeline/expr.h"

enum backoff_jitter { JITTER_NONE = 1, JITTER_FULL };

struct retry_policy {
  uint32_t attempts; /* total, from 1; default 4 */
  int64_t backoff_us, max_us; /* default 2 s, 5 min */
  double factor;     /* default 2 */
  enum backoff_jitter jitter;
};
/* Delay before attempt number `next` (from 2). random01 is used for jitter only. */
int64_t retry_delay_us(const struct retry_policy *policy, uint32_t next, double random01);

struct pipeline_param {
  char *name;
  struct param_type *type; /* takes, choices, range, summary: declared in YAML */
  struct value *fallback;  /* typed; NULL: required */
};

struct setting { /* one key under `with:` */
  char *name;
  const struct param_type *type;
  struct node_text *at; /* where it stands, for messages */
  struct setting_value *value; /* literal or templates, lists and records of them */
};

enum producer_kind { PRODUCER_SOURCE = 1 /* the job's input */, PRODUCER_STAGE };

struct binding { /* one connection of an input port */
  const struct port_type *port;
  enum producer_kind kind;
  size_t stage;                   /* PRODUCER_STAGE: index of the producing stage */
  const struct port_type *output; /* its port; NULL with a many-port bound to all artifacts of that stage */
};

enum run_when { RUN_ON_SUCCESS = 1, RUN_ALWAYS, RUN_ON_FAILURE };

struct pipeline_stage {
  char *id, *uses, *title; /* title: NULL unless written */
  const struct stage_type *type;
  struct setting *settings;
  size_t setting_count;
  struct expr *condition; /* `if`; NULL: none */
  enum run_when when;     /* always: / on-failure: */
  struct retry_policy retry;
  int64_t timeout_us, stall_us; /* defaults 6 h, 5 min */
  bool continue_on_error, isolate;
  double weight;          /* 0: not written */
  struct value *fallback; /* result map for a soft failure; NULL: nulls */
  struct binding *bindings;
  size_t binding_count;
  size_t *needs;          /* indices written under `needs:`, ascending, unique; a part of after */
  size_t needs_count;
  size_t *after;          /* indices of all stages it waits for: needs, bindings, references; ascending, unique */
  size_t after_count;
};

struct pipeline_result {
  char *key;
  struct template *value;
};

struct pipeline {
  char *name, *title, *file; /* file: as given, for messages */
  struct pipeline_param *params;
  size_t param_count;
  struct pipeline_stage *stages; /* in file order */
  size_t stage_count;
  struct pipeline_result *results;
  size_t result_count;
  int64_t timeout_us; /* 0: none; over all attempts */
  int32_t priority;
  struct template *concurrency_group; /* NULL: none */
  bool cancel_in_progress;
  struct value *notify; /* {webhooks: [{url, on: [...], secret: NAME}], mail: [{to: [...], on: [...]}]}; NULL: none */
  char *pinned;       /* canonical text after include and anchors, parses to the same pipeline: what submission stores */
  char digest[65];    /* sha256 of pinned */
  struct stage_set *stage_set; /* referenced */
};

/* Loads, includes, checks; all problems of the file land in the report (an error code comes back when there is at
 * least one error). Relative paths of `file` defaults resolve against the file that writes them. */
enum err pipeline_load(const char *path, struct stage_set *stages, struct report *report, struct pipeline **pipeline,
                       struct error *e);
/* The same from text; `name` stands for the file in messages, `folder` anchors relative paths. For pinned text and
 * for text that a client sent: folder NULL, so that no `include` reads files of this machine. */
enum err pipeline_parse(const char *text, size_t size, const char *name, const char *folder, struct stage_set *stages,
                        struct report *report, struct pipeline **pipeline, struct error *e);
/* The same pipeline with the params and stages of a file in front, as if it included that file first: a stage there whose
 * output stands in for the job's input (SM_PORT_SOURCE) brings it for all the others. ERR_INVALID: names clash. */
enum err pipeline_fronted(const struct pipeline *p, const char *front, struct report *report, struct pipeline **fronted,
                          struct error *e);
/* Some stage needs the job's input as a file of this machine: nothing in the pipeline brings it. */
bool pipeline_reads_input(const struct pipeline *p);
void pipeline_free(struct pipeline **pipeline);
const struct pipeline_stage *pipeline_find(const struct pipeline *p, const char *id);
size_t pipeline_index(const struct pipeline *p, const char *id); /* SIZE_MAX when absent */

/* Turns -p name=value pairs into the typed params map (defaults filled in, unknown names and bad values are problems
 * naming the parameter and the nearest one). Relative `file` and folder targets resolve against `folder`. */
enum err pipeline_params(const struct pipeline *p, const struct value *given_texts, const char *folder,
                         struct value **params, struct error *e);

/* Every file a submission has to pin: `file` parameters in `params` and literal assets under `with:`. */
typedef enum err asset_visit(void *context, const char *path, struct error *e);
enum err pipeline_assets(const struct pipeline *p, const struct value *params, asset_visit *visit, void *context,
                         struct error *e);

/* The typed `with:` map of a stage, defaults included, in the given scope. `asset(context, path)` maps a file
 * parameter's path to its pinned copy (NULL: unchanged); answers an owned text. A parameter of type secret, which
 * `params` holds as "secrets.NAME", is looked up in the scope like a written reference. */
typedef char *asset_map(void *context, const char *path);
enum err pipeline_settings(const struct pipeline *p, size_t stage, const struct scope *scope, asset_map *asset,
                           void *asset_context, struct value **params, struct error *e);
/* The same without the settings whose entry in `skip` (setting_count of them, NULL: none) is true: they are left out
 * altogether, for they can only be settled in the prologue. */
enum err pipeline_settings_except(const struct pipeline *p, size_t stage, const struct scope *scope, asset_map *asset,
                                  void *asset_context, const bool *skip, struct value **params, struct error *e);
/* What parameters alone decide under `with:` of stages that will run for certain: does it fit? Asked at submission,
 * so that a value given with -p is refused before anything has run. */
enum err pipeline_settings_fit(const struct pipeline *p, const struct value *params, struct error *e);
/* Evaluates `result:` into a map. */
enum err pipeline_result(const struct pipeline *p, const struct scope *scope, struct value **result, struct error *e);
/* Which settings and condition of a stage read an `open` result of a stage (for the prologue), or an `end` result;
 * `stages.ID.status` counts as an `end` result. */
bool pipeline_reads(const struct pipeline *p, size_t reader, size_t of_stage, uint32_t available /* SM_AT_... */);
/* The same of one setting (index into settings) of the reader. */
bool pipeline_setting_reads(const struct pipeline *p, size_t reader, size_t setting, size_t of_stage,
                            uint32_t available);
/* JSON Schema (draft 2020-12) of pipeline files for editors, with the parameters of every stage in the set. */
void pipeline_schema_json(const struct stage_set *stages, struct buf *out);
