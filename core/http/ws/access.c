/* Who may follow what, in a session. Ids that do not exist and ids of others get the same answer. */
#include "ws/parts.h"

static enum err check_job(struct ws_server *server, const struct principal *p, const char *id, struct error *e) {
  struct job_record job = {0};
  enum err failed = store_job(server->options.store, id, &job, e);
  struct matter matter = {
      .owner = job.owner, .job = job.id, .batch = job.batch, .asset = job.asset, .pipeline = job.pipeline};
  if (!failed && !principal_may_see(p, &matter)) failed = ERR_NOT_FOUND;
  job_record_clear(&job);
  return failed;
}

static enum err check_batch(struct ws_server *server, const struct principal *p, const char *id, struct error *e) {
  struct side_record batch = {0};
  enum err failed = store_side_get(server->options.store, SIDE_BATCH, id, &batch, e);
  struct matter matter = {.owner = batch.owner, .batch = id};
  if (!failed && !principal_may_see(p, &matter)) failed = ERR_NOT_FOUND;
  side_record_clear(&batch);
  return failed;
}

enum err access_check(struct ws_server *server, const struct principal *p, const struct topic *topic, struct error *e) {
  bool admin = p->scopes & SCOPE_ADMIN, narrow = p->scopes & SCOPE_FOLLOW;
  enum err failed = ERR_OK;
  if (topic->kind == TOPIC_JOB)
    failed = check_job(server, p, topic->id, e);
  else if (topic->kind == TOPIC_BATCH)
    failed = check_batch(server, p, topic->id, e);
  else if (topic->kind == TOPIC_ALL && (!admin || narrow))
    failed = ERR_DENIED;
  else if (topic->kind == TOPIC_OWN && (narrow || !p->subject))
    failed = ERR_DENIED;
  else if (topic->kind == TOPIC_ASSET && narrow && !principal_may_see(p, &(struct matter){.asset = topic->id}))
    failed = ERR_DENIED;
  if (failed == ERR_NOT_FOUND)
    return error_set(e, failed, "there is no %s %.80s", topic->kind == TOPIC_JOB ? "job" : "batch", topic->id);
  if (failed == ERR_DENIED) return error_set(e, failed, "the token does not allow to follow this");
  return failed;
}

const char *access_owner(const struct principal *p, const struct topic *topic) {
  if (topic->kind != TOPIC_ASSET || p->scopes & SCOPE_ADMIN) return NULL;
  return principal_may_see(p, &(struct matter){.asset = topic->id}) ? NULL : p->subject ? p->subject : "";
}

bool access_may_follow(const struct principal *p) { return p->scopes & (SCOPE_READ | SCOPE_FOLLOW | SCOPE_ADMIN); }

bool access_by_cursor(enum topic_kind kind) { return kind != TOPIC_JOB && kind != TOPIC_BATCH; }

static enum err last_of_batch(struct store *store, const char *id, uint64_t *last, struct error *e) {
  for (size_t count = 1000; count == 1000;) { /* its record does not say */
    struct event_list list = {0};
    if (store_events(store, id, *last, 1000, &list, e)) return e->code;
    count = list.count;
    if (count) *last = list.items[count - 1].seq;
    event_list_clear(&list);
  }
  return ERR_OK;
}

enum err access_last(struct ws_server *server, const struct topic *topic, uint64_t *last, struct error *e) {
  struct store *store = server->options.store;
  struct job_record job = {0};
  *last = 0;
  if (access_by_cursor(topic->kind)) return store_last_cursor(store, last, e);
  if (topic->kind == TOPIC_BATCH) return last_of_batch(store, topic->id, last, e);
  enum err failed = store_job(store, topic->id, &job, e);
  *last = job.last_seq;
  job_record_clear(&job);
  return failed;
}
