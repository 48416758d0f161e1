/* One follower: what it follows, and what it takes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/metric.h"
#include "events/hub_parts.h"

enum { LINKS_MAX = 1000, EMPTY_STEPS_MAX = 2 };

struct follower *follower_attach(struct hub *hub, const struct follower_options *options) {
  struct follower *follower = mem_alloc(sizeof *follower);
  follower->hub = hub;
  follower->options = *options;
  pthread_mutex_lock(&hub->lock);
  hub->statistics.followers++;
  pthread_mutex_unlock(&hub->lock);
  return follower;
}

void follower_detach(struct hub *hub, struct follower **at) {
  struct follower *follower = *at;
  if (!follower) return;
  pthread_mutex_lock(&hub->lock);
  hub->statistics.followers--;
  while (follower->links) {
    struct link *link = follower->links;
    follower->links = link->next;
    link_free(&link);
  }
  mailbox_empty(follower);
  hub_throttles_not(follower);
  pthread_mutex_unlock(&hub->lock);
  while (follower->replay_next < follower->replay_count) body_release(&follower->replay[follower->replay_next++]);
  free(follower->replay);
  free(follower);
  *at = NULL;
}

/* ---- what it follows --------------------------------------------------------------------------------------------- */

static struct link **link_at(struct follower *follower, const struct topic *topic) {
  const char *id = topic->id ? topic->id : "";
  struct link **at = &follower->links;
  while (*at && ((*at)->node->kind != topic->kind || strcmp((*at)->node->id, id) != 0)) at = &(*at)->next;
  return at;
}

static void link_leave(struct follower *follower, struct link **at) {
  struct link *link = *at;
  *at = link->next;
  follower->link_count--;
  follower->replaying -= !link->live;
  link_free(&link);
  mailbox_forget_sent(follower); /* what it held back is for the other subscriptions to tell */
}

enum err follower_subscribe(struct follower *follower, const struct subscription *s, struct error *e) {
  pthread_mutex_lock(&follower->hub->lock);
  struct link **at = link_at(follower, &s->topic);
  if (*at) link_leave(follower, at);
  bool room = follower->link_count < LINKS_MAX;
  if (room) {
    struct link *link = link_new(follower, &s->topic);
    link->owner = mem_text(s->owner);
    link->min_step_pct = s->min_step_pct;
    link->min_interval_us = s->min_interval_us;
    link->live = !s->replay;
    link->position = topic_is_wide(s->topic.kind) ? s->since_cursor : s->since_seq;
    link->next = follower->links;
    follower->links = link;
    follower->link_count++;
    follower->replaying += s->replay;
    if (s->replay) follower_wake(follower);
  }
  pthread_mutex_unlock(&follower->hub->lock);
  return room ? ERR_OK
              : error_set(e, ERR_TOO_LARGE, "%d subscriptions are the most: unsubscribe from one first", LINKS_MAX);
}

enum err follower_unsubscribe(struct follower *follower, const struct topic *topic, struct error *e) {
  pthread_mutex_lock(&follower->hub->lock);
  struct link **at = link_at(follower, topic);
  bool found = *at != NULL;
  if (found) link_leave(follower, at);
  pthread_mutex_unlock(&follower->hub->lock);
  return found ? ERR_OK : error_set(e, ERR_NOT_FOUND, "that topic is not subscribed to");
}

/* ---- what it takes ----------------------------------------------------------------------------------------------- */

static enum taken letter_fill(struct letter *letter, struct letter_body *body) {
  *letter = (struct letter){.json = body->json,
                            .size = body->json_size,
                            .type = body->type,
                            .job = body->job,
                            .seq = body->seq,
                            .cursor = body->cursor,
                            .stored = body->stored,
                            .terminal = body->terminal,
                            .replayed = body->replayed,
                            .body = body};
  return TAKEN_MESSAGE;
}

static struct letter_body *replay_take(struct follower *follower) {
  if (follower->replay_next == follower->replay_count) return NULL;
  struct letter_body *body = follower->replay[follower->replay_next++];
  if (follower->replay_next == follower->replay_count) {
    free(follower->replay);
    follower->replay = NULL;
    follower->replay_count = follower->replay_room = follower->replay_next = 0;
  }
  return body;
}

static struct link *link_replaying(struct follower *follower) {
  struct link *link = follower->links;
  while (link && link->live) link = link->next;
  return link;
}

/* What is replayed comes before what waits: it is older. */
enum taken follower_take(struct follower *follower, struct letter *letter) {
  struct hub *hub = follower->hub;
  for (int empty_steps = 0;; empty_steps++) {
    struct letter_body *body = replay_take(follower);
    if (body) return letter_fill(letter, body);
    pthread_mutex_lock(&hub->lock);
    bool woken = follower->awake;
    follower->awake = false;
    bool overrun = follower->overrun;
    struct link *link = follower->replaying && !overrun ? link_replaying(follower) : NULL;
    bool sparse = link && topic_is_wide(link->node->kind) && empty_steps >= EMPTY_STEPS_MAX;
    if (sparse) { /* much that is not for it: let others have their turn */
      follower_wake(follower);
      pthread_mutex_unlock(&hub->lock);
      return TAKEN_NOTHING;
    }
    int64_t now_us = hub_now_us();
    if (!link && !overrun) body = mailbox_take(follower, now_us);
    pthread_mutex_unlock(&hub->lock);
    if (body && woken) metric_observe(hub->lag, (double)(now_us - body->published_us) / 1e6);
    if (body) return letter_fill(letter, body);
    if (!link) return overrun ? TAKEN_OVERRUN : TAKEN_NOTHING;
    if (!replay_step(follower, link)) return TAKEN_OVERRUN;
  }
}
