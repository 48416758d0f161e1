/* upload.h - private to the plugin: what is uploaded, where to, and how far it is. */
#pragma once
#include <stdint.h>

#include <stagemill/stage.h>

#include "common/s3.h"
#include "common/text.h"

/* A player must never see a playlist before what it names: files go in this order, each rank complete before the next. */
enum rank { RANK_MEDIA = 1, RANK_PLAYLIST, RANK_MASTER, RANK_END };

struct item { /* one artifact and its place below the target */
  uint32_t index;   /* at the input port */
  char *name;       /* relative to the target, "stream/480p/seg_000.ts" */
  char *type;       /* media type */
  char sha256[SHA256_HEX_SIZE]; /* "" when the host does not know it */
  int64_t size;
  enum rank rank;
};

struct target {
  bool is_bucket;
  char *folder;         /* absolute path, no slash at the end */
  char *bucket, *prefix; /* prefix: "" or "a/b/" */
  bool written_as_url;  /* file://: results are URLs too */
};

struct upload {
  sm_task *task;
  struct target target;
  struct item *items;
  uint32_t count;
  int64_t bytes;       /* of all items */
  int64_t bytes_done;  /* of finished ones */
  int64_t bytes_ahead; /* of those under way */
  int64_t bytes_shown; /* highest shown: a retried object must not turn the bar back */
  uint32_t finished, sent;
};

/* items.c: reads the port `files` into u->items, in the order they are to be sent. */
sm_status items_collect(struct upload *u);
void items_free(struct upload *u);
const struct item *items_entrance(const struct upload *u); /* what `url` points at: master, playlist or first file */

/* target.c */
sm_status target_parse(struct upload *u, const char *to);
void target_free(struct target *target);
/* The target as results name it: "s3://bucket/prefix/", a path or a file:// URL, with a slash at the end. */
bool target_text(const struct target *target, struct text *out);

sm_status folder_upload(struct upload *u);
sm_status bucket_upload(struct upload *u, struct text *entrance_url);

void upload_progress(struct upload *u, const struct item *item);
void upload_finished(struct upload *u, const struct item *item, bool was_sent);
bool upload_stopped(void *upload); /* for callbacks */
