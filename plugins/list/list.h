/* list.h - private to the plugin: a list of files under way, one JSON object a line (files.ndjson):
 *
 *   name     what people call it
 *   input    where its bytes are: a URL, or (archives) a path below this stage's folder
 *   bytes    its size; absent when nobody knows it before it is fetched
 *   source   what makes it the same file tomorrow: place and version, ETag or checksum; absent: nothing does
 *   problem  oversized | empty | no-content | folder | unsafe-name | encrypted | unreadable: it is listed, not to be fetched
 *   message  a sentence about that
 */
#pragma once
#include <stdint.h>
#include <stdio.h>

#include <stagemill/stage.h>

#include "common/text.h"

struct listing {
  sm_task *task;
  FILE *out;
  int64_t files, bytes, problems, max_files, max_file_bytes; /* 0: no limit */
  bool failed; /* the file could not be written */
};

struct listed {
  const char *name, *input, *source; /* NULL: unknown */
  int64_t bytes;                     /* -1: unknown */
  const char *problem;               /* NULL: it can be fetched */
  const char *message;
};

sm_status listing_open(struct listing *l, sm_task *task);
/* SM_FAIL beyond `max-files`. A file above `max-file-size` becomes a problem by itself. */
sm_status listing_add(struct listing *l, const struct listed *file);
bool listing_is_oversized(const struct listing *l, int64_t bytes);
/* Closes the list; publishes it when `status` is SM_OK. */
sm_status listing_close(struct listing *l, sm_status status);

sm_status bucket_list(sm_task *task);
sm_status archive_list(sm_task *task);
sm_status drive_list(sm_task *task);
