/* parts.h - what the files of the API share: who may see what, the public form of records, small parsers.
 *
 * A foreign id and one that does not exist answer alike (404): ids cannot be probed. */
#pragma once
#include "http/http.h"
#include "service/service.h"

/* ---- tables: api_NAME.c ends with `const struct api_table api_NAME = API_TABLE(routes);` ----------------------------- */

struct api_table {
  const struct route *routes;
  size_t count;
};
#define API_TABLE(routes)                                                                                              \
  { routes, sizeof(routes) / sizeof *(routes) }
extern const struct api_table api_jobs, api_submit, api_steer, api_bulk, api_explain, api_events, api_artifacts, api_logs,
    api_pipelines, api_stages, api_stats, api_queue, api_tokens, api_meta, api_uploads, api_tus, api_assets, api_batches,
    api_deliveries, api_metrics;

/* ---- common.c: requests ---------------------------------------------------------------------------------------------- */

struct service *api_service(struct exchange *x);
bool api_is_admin(const struct exchange *x);
const char *api_subject(const struct exchange *x); /* "" on an open route */
/* Runs begin(context, ask) on the engine's thread (service_ask). False: it failed and was answered. answer may be NULL. */
bool api_ask(struct exchange *x, service_begin *begin, void *context, struct value **answer);
/* The body as a map: an empty body is an empty map (owned by the exchange or static). NULL: answered. */
const struct value *api_body(struct exchange *x);
/* Answers 400 (naming the key and the nearest valid one) and false when the map holds another key. NULL ends the list. */
bool api_keys(struct exchange *x, const struct value *map, const char *const *valid);
/* A text of the body, NULL when absent or null; 400 and false when it is of another type, empty or over `most` bytes. */
bool api_text(struct exchange *x, const struct value *body, const char *key, size_t most, const char **text);
/* "1h", "90s" of the body, or a number of seconds; 400 and false when it is none, or outside of the range. */
bool api_duration(struct exchange *x, const struct value *body, const char *key, int64_t least_us, int64_t most_us,
                  int64_t otherwise_us, int64_t *us);
/* "until" of a body: absent or null is 0; 400 and false when it is no time or one that has passed. */
bool api_until(struct exchange *x, const struct value *body, int64_t *until_us);
/* high, normal, low or 0-100. */
bool api_priority(const struct value *v, int32_t *priority);
/* Opaque page marks: base64url of `mark`. Owned; NULL: it is none of ours. */
char *api_cursor_make(const char *mark);
char *api_cursor_read(const char *cursor);
/* limit of a list, 1 to 1000, default 100; 400 and false. */
bool api_limit(struct exchange *x, size_t *limit);

void api_not_found(struct exchange *x, const char *what, const char *id); /* 404 "there is no job ID" */

/* ---- jobview.c: the public form of a job ------------------------------------------------------------------------------- */

struct matter api_matter(const struct job_record *job);
/* The job of {id} when the caller may see (or change) it; otherwise 404 was answered. Clear it afterwards. */
bool api_job_seen(struct exchange *x, struct job_record *job);
bool api_job_changed(struct exchange *x, struct job_record *job);
struct value *api_job_value(struct exchange *x, const struct job_record *job);
char *api_wait_reason(struct exchange *x, const struct job_record *job); /* owned; NULL: it does not wait */
struct value *api_job_detail(struct exchange *x, const struct job_record *job, struct error *e);
/* The pipeline as it was pinned at submission; NULL when it no longer checks. */
struct pipeline *api_job_pipeline(struct service *service, const struct job_record *job);
/* ---- mask.c ---- A parameter map as it may be shown: secrets are "***", credentials in URLs too. pipeline NULL: by name alone. */
struct value *api_masked(const struct pipeline *pipeline, const struct value *params);
char *api_masked_url(const char *url); /* owned */
/* A job's page for followers: ws(s)://host/ws?jobId=ID. Owned. */
char *api_socket_url(struct exchange *x, const char *parameter, const char *id);
void api_set_time(struct value *map, const char *key, int64_t wall_us); /* null when 0 */
void api_set_json(struct value *map, const char *key, const char *json); /* null when NULL or damaged */
struct value *api_parsed(const char *json);                             /* owned; null value when NULL or damaged */

/* ---- notice.c ---- Is `notify` of a submission well-formed? False: answered 400. */
bool api_notify_check(struct exchange *x, const struct value *notify);

/* ---- query.c: which jobs are meant -------------------------------------------------------------------------------------- */

struct job_query {
  struct job_filter filter; /* its texts belong to `texts` */
  struct value *texts;
  int64_t until_us;         /* created before; 0: any */
  char before[STORE_ID_MAX]; /* where the next page begins; "": at the newest */
  bool done;                /* nothing is left */
  bool picks;               /* not every row that the filter lets through is meant */
  const struct principal *principal;
};
/* From the query of a GET (`body` NULL) or from the `filter` of a body. False: answered 400. */
bool job_query_parse(struct exchange *x, const struct value *body, struct job_query *query);
void job_query_clear(struct job_query *query);
/* Visits what the caller may see (change: steer), newest first, until `visit` answers false or `limit` were visited or more
 * rows were read than one request may. */
typedef bool job_visit(void *context, const struct job_record *job);
enum err job_query_run(struct store *store, struct job_query *query, size_t limit, bool change, job_visit *visit, void *context,
                       struct error *e);

/* ---- guard.c: what a request may reach on this machine ---------------------------------------------------------------- */

/* The input a caller named (an upload's key, a URL, a path) as the engine takes it. Owned. ERR_DENIED, ERR_INVALID. */
enum err guard_input(struct service *service, const struct principal *who, const char *text, char **input, struct error *e);
/* Parameters as the caller gave them, files resolved: a new map. */
enum err guard_params(struct service *service, const struct principal *who, const struct pipeline *pipeline,
                      const struct value *given, struct value **params, struct error *e);
/* A pipeline that came in a request: its stages, files, targets and secrets. given: what guard_params made; `facts`: {id, input,
 * name}. Checks the parameters too. */
enum err guard_inline(struct service *service, const struct principal *who, const struct pipeline *pipeline,
                      const struct value *given, const struct value *facts, struct error *e);

/* ---- api_pipelines.c ------------------------------------------------------------------------------------------------------ */

#define API_INLINE "inline" /* what stands for the file of such a pipeline */
/* YAML text of a request as a pipeline; NULL: answered 422 with the problems. */
struct pipeline *api_inline_pipeline(struct exchange *x, const char *yaml);
