/* From the store to live, without loss or duplicate. A link that replays is not live: what is published meanwhile is
 * not queued, only the newest cursor of it is kept (`skipped`). Each step reads a bounded piece of the store; at the
 * end of what was committed when the target was noted, the link goes live under the lock if nothing newer was skipped
 * (everything up to the target is told, so live messages at or before it are duplicates: `floor`), else a new target is
 * noted. This holds in whatever order events are published after their commit, and a follower slower than its topic
 * simply keeps reading. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "events/hub_parts.h"

enum { STEP = 128 };

static void replay_add(struct follower *follower, struct letter_body *body) {
  if (follower->replay_count == follower->replay_room) {
    follower->replay_room = follower->replay_room ? follower->replay_room * 2 : 16;
    follower->replay = mem_grow(follower->replay, follower->replay_room, sizeof *follower->replay);
  }
  follower->replay[follower->replay_count++] = body;
}

static void replay_gap(struct follower *follower, struct link *link, uint64_t first) {
  struct topic topic = {.kind = link->node->kind, .id = link->node->id};
  replay_add(follower, body_of_gap(&topic, link->position, first));
  link->position = first - 1;
}

/* ---- what a topic selects of the stream over all jobs ------------------------------------------------------------ */

/* Whose an event is: its body says so; what it leaves out the job's record knows. */
static void event_whose(struct hub *hub, const struct event_record *event, char **owner, char **asset) {
  value_auto struct value *body = NULL;
  if (event->body_json && value_from_json(event->body_json, strlen(event->body_json), &body, NULL)) body = NULL;
  *owner = mem_text(value_get_text(body, "owner", NULL));
  *asset = mem_text(value_get_text(body, "asset", NULL));
  if (*owner && *asset) return;
  struct job_record job = {0};
  if (store_job(hub->store, event->job, &job, NULL)) return;
  if (!*owner) *owner = mem_text(job.owner);
  if (!*asset) *asset = mem_text(job.asset);
  job_record_clear(&job);
}

static bool selects(const struct link *link, const struct event_record *event) {
  if (link->node->kind == TOPIC_ALL) return true;
  mem_auto char *owner = NULL, *asset = NULL;
  event_whose(link->follower->hub, event, &owner, &asset);
  if (link->owner && (!owner || strcmp(owner, link->owner) != 0)) return false;
  const char *mine = link->node->kind == TOPIC_OWN ? owner : asset;
  return mine && strcmp(mine, link->node->id) == 0;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* Each reads one piece behind link->position. `reached`: there is nothing more up to the target. */
static enum err step_by_cursor(struct follower *follower, struct link *link, bool *reached, struct error *e) {
  struct event_list list = {0};
  uint64_t first = 0;
  if (!link->begun && link->position > link->target) replay_gap(follower, link, link->target + 1);
  enum err failed = store_events_since(follower->hub->store, link->position, STEP, &list, &first, e);
  if (failed) return failed;
  if (first && link->position + 1 < first) replay_gap(follower, link, first);
  *reached = list.count < STEP;
  for (size_t i = 0; i < list.count; i++) {
    if (list.items[i].cursor > link->target) {
      *reached = true;
      break;
    }
    if (selects(link, &list.items[i])) replay_add(follower, body_of_event(&list.items[i], true));
    link->position = list.items[i].cursor;
  }
  event_list_clear(&list);
  return ERR_OK;
}

/* The first step also looks whether the last one seen is there: a store that never gave that number is another store.
 */
static enum err step_first_by_seq(struct follower *follower, struct link *link, struct error *e) {
  struct event_list list = {0};
  if (!link->position) return ERR_OK;
  enum err failed = store_events(follower->hub->store, link->node->id, link->position - 1, 1, &list, e);
  bool there = list.count && list.items[0].seq == link->position;
  uint64_t next = list.count ? list.items[0].seq : 0;
  event_list_clear(&list);
  if (failed || there) return failed;
  if (!next) {
    failed = store_events(follower->hub->store, link->node->id, 0, 1, &list, e);
    next = list.count ? list.items[0].seq : 1;
    event_list_clear(&list);
  }
  if (!failed && next != link->position + 1) replay_gap(follower, link, next);
  return failed;
}

static enum err step_by_seq(struct follower *follower, struct link *link, bool *reached, struct error *e) {
  struct event_list list = {0};
  if (!link->begun && step_first_by_seq(follower, link, e)) return e->code;
  if (store_events(follower->hub->store, link->node->id, link->position, STEP, &list, e)) return e->code;
  *reached = list.count < STEP;
  for (size_t i = 0; i < list.count; i++) {
    if (list.items[i].cursor > link->target) {
      *reached = true;
      break;
    }
    if (list.items[i].seq != link->position + 1) replay_gap(follower, link, list.items[i].seq);
    replay_add(follower, body_of_event(&list.items[i], false));
    link->position = list.items[i].seq;
  }
  event_list_clear(&list);
  return ERR_OK;
}

/* Progress of what was just read waits in the mailbox, but is older. */
static void clear_overtaken(struct follower *follower) {
  for (size_t i = 0; i < follower->replay_count; i++) {
    const struct letter_body *body = follower->replay[i];
    if (body->stored && *body->job) mailbox_clear_job(follower, body->job, body->job_hash, body->seq);
  }
}

bool replay_step(struct follower *follower, struct link *link) {
  struct hub *hub = follower->hub;
  struct error e = {0};
  bool reached = false, by_cursor = topic_is_wide(link->node->kind);
  enum err failed = link->has_target ? ERR_OK : store_last_cursor(hub->store, &link->target, &e);
  link->has_target = true;
  if (!failed) failed = (by_cursor ? step_by_cursor : step_by_seq)(follower, link, &reached, &e);
  link->begun = true;
  if (failed) log_error("cannot replay events to a follower: %s", e.message);
  pthread_mutex_lock(&hub->lock);
  follower->overrun |= failed != ERR_OK;
  clear_overtaken(follower);
  if (reached && !failed) {
    link->live = link->skipped <= link->target;
    link->floor = link->target;
    link->has_target = false;
    follower->replaying -= link->live;
  }
  pthread_mutex_unlock(&hub->lock);
  return !failed;
}
