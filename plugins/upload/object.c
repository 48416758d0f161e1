/* object.c - small files: up to `concurrency` at a time on one thread, each on its own little way
 *
 *   CHECK (only when something may be there) --same--> finished
 *     |
 *   SEND --ETag right--> finished
 *     ^ a transient failure comes back here after a pause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bucket.h"

enum phase { PHASE_CHECK = 1, PHASE_SEND };

struct lane {
  struct bucket *b;
  struct item *item; /* NULL: free */
  enum phase phase;
  struct tries tries;
  bool in_flight;
  int fd;
  char *key;
  char sha256[SHA256_HEX_SIZE]; /* "" while unknown */
  struct checksum sum;
  bool summed;
  struct s3_call call;
  sm_status *status; /* of the whole rank: the first failure */
};

static void leave(struct lane *lane) {
  if (lane->fd >= 0) close(lane->fd);
  free(lane->key);
  lane->fd = -1;
  lane->key = NULL;
  lane->item = NULL;
}

static void finish(struct lane *lane, bool was_sent) {
  upload_finished(lane->b->u, lane->item, was_sent);
  leave(lane);
}

/* The digest that only a damaged transfer could make differ. */
static bool etag_is_right(struct lane *lane) {
  char md5[MD5_HEX_SIZE];
  if (!s3_etag_is_md5(&lane->call) || strlen(lane->call.etag) != 32) return true;
  checksum_hex(lane->sum.md5, MD5_SIZE, md5);
  return strcmp(md5, lane->call.etag) == 0;
}

static void come_back(struct lane *lane) {
  if (!tries_again(lane->b, &lane->tries, &lane->call)) *lane->status = bucket_verdict(lane->b, &lane->call);
}

static void checked(struct lane *lane) {
  struct s3_call *call = &lane->call;
  if (call->outcome == S3_DONE && bucket_same(lane->b, lane->item, lane->sha256, call))
    finish(lane, false);
  else if (call->outcome == S3_TRANSIENT)
    come_back(lane);
  else if (call->outcome == S3_STOPPED)
    *lane->status = SM_CANCELLED;
  else
    lane->phase = PHASE_SEND; /* absent, other, or keys that may not look: writing tells */
}

static void sent(struct lane *lane) {
  struct s3_call *call = &lane->call;
  if (call->outcome == S3_DONE && etag_is_right(lane)) {
    finish(lane, true);
    return;
  }
  if (call->outcome == S3_DONE) {
    call->outcome = S3_TRANSIENT;
    snprintf(call->problem, sizeof call->problem, "object storage %s, object %.200s: the data arrived damaged",
             s3_endpoint(lane->b->store), call->key);
  }
  if (call->outcome == S3_TRANSIENT)
    come_back(lane);
  else
    *lane->status = bucket_verdict(lane->b, call);
}

static void done(struct s3_call *call) {
  struct lane *lane = call->context;
  lane->in_flight = false;
  if (*lane->status != SM_OK) return;
  if (lane->phase == PHASE_CHECK)
    checked(lane);
  else
    sent(lane);
}

static bool hash(struct lane *lane) {
  if (lane->summed) return true;
  int why = checksum_of_range(lane->fd, 0, lane->item->size, upload_stopped, lane->b->u, &lane->sum);
  if (why) return *lane->status = bucket_read_error(lane->b, lane->item, why), false;
  checksum_hex(lane->sum.sha256, SHA256_SIZE, lane->sha256);
  return lane->summed = true;
}

static void step(struct lane *lane) {
  struct s3_call *call = &lane->call;
  if (!lane->sha256[0] || lane->phase == PHASE_SEND)
    if (!hash(lane)) return;
  call->key = lane->key;
  call->context = lane;
  call->done = done;
  call->extra_count = 0;
  if (lane->phase == PHASE_SEND) {
    bucket_headers(lane->b, lane->item, lane->sha256, call);
    call->fd = lane->fd;
    call->offset = 0;
    call->size = lane->item->size;
    call->checksum = &lane->sum;
  }
  lane->in_flight = lane->phase == PHASE_CHECK ? s3_head(lane->b->store, call) : s3_put(lane->b->store, call);
  if (!lane->in_flight) *lane->status = bucket_verdict(lane->b, call);
}

static void enter(struct lane *lane, struct item *item) {
  lane->item = item;
  lane->phase = lane->b->may_exist ? PHASE_CHECK : PHASE_SEND;
  lane->tries = (struct tries){0};
  lane->summed = false;
  memcpy(lane->sha256, item->sha256, sizeof lane->sha256);
  lane->key = bucket_key(lane->b, item);
  lane->fd = sm_input_open(lane->b->u->task, "files", item->index);
  if (!lane->key || lane->fd < 0)
    *lane->status = sm_fail(lane->b->u->task, SM_RETRY, NULL, "%s cannot be opened", item->name);
}

/* Next small file of the rank from *at on, or NULL. */
static struct item *next_item(struct bucket *b, enum rank rank, uint32_t *at) {
  for (; *at < b->u->count; (*at)++) {
    struct item *item = &b->u->items[*at];
    if (item->rank == rank && item->size <= b->part_size) return (*at)++, item;
  }
  return NULL;
}

/* Moves every lane that can move; false when none has anything left. */
static bool drive(struct bucket *b, struct lane *lanes, enum rank rank, uint32_t *at, sm_status *status) {
  bool any = false;
  int64_t ahead = 0;
  const struct item *shown = NULL;
  for (int i = 0; i < b->concurrency && *status == SM_OK; i++) {
    struct lane *lane = &lanes[i];
    if (!lane->item) {
      struct item *item = next_item(b, rank, at);
      if (item) enter(lane, item);
    }
    if (!lane->item) continue;
    any = true;
    shown = lane->item;
    if (*status == SM_OK && !lane->in_flight && tries_due(&lane->tries)) step(lane);
    if (lane->in_flight && lane->phase == PHASE_SEND) ahead += lane->call.x.sent;
  }
  if (shown) bucket_progress(b, shown, ahead);
  return any;
}

sm_status objects_send(struct bucket *b, enum rank rank) {
  struct lane *lanes = calloc((size_t)b->concurrency, sizeof *lanes);
  sm_status status = SM_OK;
  uint32_t at = 0;
  if (!lanes) return sm_fail(b->u->task, SM_RETRY, NULL, "memory ran out: try again");
  for (int i = 0; i < b->concurrency; i++) {
    lanes[i].b = b;
    lanes[i].fd = -1;
    lanes[i].status = &status;
  }
  while (status == SM_OK && drive(b, lanes, rank, &at, &status))
    if (status == SM_OK && !http_wait(b->client, 50)) status = SM_CANCELLED;
  b->u->bytes_ahead = 0;
  http_stop(b->client); /* what still runs points into the lanes */
  for (int i = 0; i < b->concurrency; i++) {
    leave(&lanes[i]);
    s3_call_clear(&lanes[i].call);
  }
  free(lanes);
  return status;
}
