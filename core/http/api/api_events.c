/* api_events.c - events of one job, and of everything a caller owns: long poll, or server-sent events when asked for them. */
#include <string.h>

#include "api/stream.h"
#include "base/mem.h"
#include "service/state.h"

/* ---- one job ------------------------------------------------------------------------------------------------------------- */

struct job_stream {
  struct service *service;
  const char *id;
};

/* A terminal event ends a stream unless a retry has opened another round behind it. */
static bool job_ends(void *context, const struct letter *letter) {
  struct job_stream *js = context;
  struct job_record job = {0};
  if (store_job(js->service->store, js->id, &job, NULL)) return true;
  bool over = job_status_is_terminal(job.status) && job.last_seq <= letter->seq;
  job_record_clear(&job);
  return over;
}

/* A client that names no number gets the whole picture first, then what changes; of a job that has ended, its end again. */
static void job_sse(struct exchange *x, const struct job_record *job, struct stream *stream, bool given) {
  struct job_stream js = {api_service(x), job->id};
  value_auto struct value *state = NULL;
  bool ended = job_status_is_terminal(job->status);
  stream->ends = job_ends;
  stream->context = &js;
  if (given && ended && stream->subscription.since_seq >= job->last_seq) {
    http_empty(x, 204); /* an EventSource does not come back after this */
    return;
  }
  if (!given) {
    struct matter matter;
    struct error e = {0};
    if (service_state(api_service(x), job->id, NULL, &state, &matter, &e)) {
      http_error(x, &e);
      return;
    }
    uint64_t seen = (uint64_t)value_get_int(state, "seq", 0);
    enum job_status status;
    ended = job_status_from_word(value_get_text(state, "status", ""), &status) && job_status_is_terminal(status);
    stream->subscription.since_seq = ended && seen ? seen - 1 : seen;
    stream->state = state;
  }
  stream_sse(stream);
}

static void job_poll(struct exchange *x, const struct job_record *before, const struct stream *stream) {
  struct job_record job = {0};
  struct value *events = value_list();
  value_auto struct value *v = value_map();
  uint64_t last;
  int64_t wait_us;
  value_map_set(v, "events", events);
  if (!stream_wait(x, &wait_us)) return;
  if (job_status_is_terminal(before->status) && stream->subscription.since_seq >= before->last_seq) wait_us = 0;
  if (!stream_poll(stream, wait_us, events, &last)) return;
  struct error e = {0};
  if (store_job(api_service(x)->store, before->id, &job, &e)) {
    http_error(x, &e);
    return;
  }
  value_set_int(v, "lastSeq", (int64_t)last);
  value_set_text(v, "status", job_status_word(job.status));
  value_set_number(v, "pct", job.status == JOB_COMPLETED ? 100 : job.pct_ppm / 1e4);
  value_set_bool(v, "ended", job_status_is_terminal(job.status) && last >= job.last_seq);
  http_json(x, 200, v);
  job_record_clear(&job);
}

static void job_events(struct exchange *x) {
  struct job_record job = {0};
  struct stream stream = {.x = x};
  bool given;
  if (!stream_since(x, &stream.subscription.since_seq, &given) || !stream_rates(x, &stream.subscription)) return;
  if (!api_job_seen(x, &job)) return;
  stream.subscription.topic = (struct topic){TOPIC_JOB, job.id};
  stream.subscription.replay = true;
  if (stream_is_sse(x))
    job_sse(x, &job, &stream, given);
  else
    job_poll(x, &job, &stream);
  job_record_clear(&job);
}

/* ---- many ------------------------------------------------------------------------------------------------------------------ */

/* A batch or an asset that the caller may follow; `owner` (owned) is set where only that owner's part may be told. An asset
 * without a record is no more than a word that jobs carry: everybody may use it for their own. */
static bool group_seen(struct exchange *x, enum side_kind kind, const char *id, char **owner) {
  struct side_record record = {0};
  const struct principal *who = http_principal(x);
  bool known = store_side_get(api_service(x)->store, kind, id, &record, NULL) == ERR_OK;
  struct matter matter = {.owner = known ? record.owner : NULL};
  if (kind == SIDE_BATCH)
    matter.batch = id;
  else
    matter.asset = id;
  bool may = principal_may_see(who, &matter);
  bool word = !known && !may && kind == SIDE_ASSET && (who->scopes & SCOPE_READ);
  bool seen = word || (may && (known || kind == SIDE_ASSET));
  if (word) *owner = mem_text(api_subject(x));
  if (seen && known && !api_is_admin(x)) *owner = mem_text(record.owner);
  side_record_clear(&record);
  if (!seen) api_not_found(x, kind == SIDE_BATCH ? "batch" : "asset", id);
  return seen;
}

static bool events_topic(struct exchange *x, struct subscription *subscription, char **owner) {
  const char *asset = http_query(x, "asset"), *batch = http_query(x, "batch"), *all = http_query(x, "all");
  bool everything = all && strcmp(all, "true") == 0;
  if (!!(asset && *asset) + !!(batch && *batch) + everything > 1) {
    http_problem(x, 400, "invalid", "follow one thing: asset, batch or all");
    return false;
  }
  if (asset && *asset) {
    subscription->topic = (struct topic){TOPIC_ASSET, asset};
    if (!group_seen(x, SIDE_ASSET, asset, owner)) return false;
    subscription->owner = *owner;
    return true;
  }
  if (batch && *batch) {
    subscription->topic = (struct topic){TOPIC_BATCH, batch};
    return group_seen(x, SIDE_BATCH, batch, owner);
  }
  if (everything && !api_is_admin(x)) {
    http_problem(x, 403, "denied", "events of everybody take a token with scope admin");
    return false;
  }
  if (!everything && !(http_principal(x)->scopes & (SCOPE_READ | SCOPE_ADMIN))) {
    http_problem(x, 403, "denied", "a token with scope follow sees what its grants name: follow a job, a batch or an asset");
    return false;
  }
  subscription->topic = everything ? (struct topic){TOPIC_ALL, NULL} : (struct topic){TOPIC_OWN, api_subject(x)};
  return true;
}

/* Whoever begins without a number gets the one to go on from. */
static void events_poll(struct exchange *x, struct stream *stream, bool given) {
  struct value *events = value_list();
  value_auto struct value *v = value_map();
  uint64_t last;
  int64_t wait_us;
  value_map_set(v, "events", events);
  if (!stream_wait(x, &wait_us) || !stream_poll(stream, given ? wait_us : 0, events, &last)) return;
  value_set_int(v, stream->by_cursor ? "cursor" : "lastSeq", (int64_t)last);
  http_json(x, 200, v);
}

static void events_all(struct exchange *x) {
  struct stream stream = {.x = x};
  struct subscription *subscription = &stream.subscription;
  mem_auto char *owner = NULL;
  uint64_t since, newest = 0;
  bool given;
  struct error e = {0};
  if (!stream_since(x, &since, &given) || !stream_rates(x, subscription)) return;
  if (!events_topic(x, subscription, &owner)) return;
  stream.by_cursor = subscription->topic.kind != TOPIC_BATCH;
  if (!given && stream.by_cursor && store_last_cursor(api_service(x)->store, &newest, &e)) {
    http_error(x, &e);
    return;
  }
  subscription->replay = true;
  subscription->since_seq = since;
  subscription->since_cursor = given ? since : newest;
  if (stream_is_sse(x))
    stream_sse(&stream);
  else
    events_poll(x, &stream, given || !stream.by_cursor);
}

static const struct route routes[] = {
    {"GET", "/api/v1/jobs/{id}/events", SCOPE_READ | SCOPE_FOLLOW, ROUTE_TICKET, job_events, "followJob"},
    {"GET", "/api/v1/events", SCOPE_READ | SCOPE_FOLLOW, ROUTE_TICKET, events_all, "followMany"},
};
const struct api_table api_events = API_TABLE(routes);
