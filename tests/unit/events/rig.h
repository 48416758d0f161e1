/* rig.h - a store and a hub, and short words for telling news and reading letters. */
#pragma once
#include "store/scene.h"
#include "events/hub.h"

struct rig {
  struct scene *scene;
  struct hub *hub;
};
int rig_begin(void **state); /* cmocka set-up and tear-down: *state is a rig */
int rig_end(void **state);

/* A job of this owner and asset in the store (NULL: none); its first event `queued` is stored, not told. */
void rig_job(struct rig *rig, char id[STORE_ID_MAX], const char *owner, const char *asset);
/* Stores an event of a job and answers its cursor; tell: publishes it, too. */
uint64_t rig_store(struct rig *rig, const char *job, const char *type, bool tell);
/* Publishes what is stored: the one event of `job` with that seq. */
void rig_tell(struct rig *rig, const char *job, uint64_t seq);
void rig_progress(struct rig *rig, const char *job, const char *stage, double pct);

struct follower *rig_follow(struct rig *rig, const char *topic,
                            const struct subscription *more); /* more: NULL or the rest */
/* Takes all there is; "queued1 stage2 progress40 gap" (type and seq, or pct of progress). */
const char *rig_take(struct follower *follower);
