/* manifest.h - what a stage made: checked, hashed files. Kept as a JSON file beside the job, its digest in the store. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/value.h"

struct artifact {
  char *port, *name, *media_type; /* name: relative to the stage's folder */
  char sha256[65];
  int64_t size_bytes;
  char *metadata_json; /* NULL: none */
};

struct manifest {
  struct artifact *items;
  size_t count;
};

enum { MANIFEST_FILES_MAX = 100000, MANIFEST_DEPTH_MAX = 16 };

void manifest_free(struct manifest **manifest);
/* Checks the tree below `folder` (no links, regular files only, bounded) against what the stage declared in `outputs`
 * (list of {port, name, type, meta}), hashes every file and makes all of it durable. Files that were not declared are removed. A
 * missing folder is fine when nothing was declared. Blocking: for the pool. */
enum err manifest_make(const char *folder, const struct value *outputs, int64_t max_bytes, struct manifest **manifest,
                       struct error *e);
enum err manifest_write(const struct manifest *manifest, const char *path, char sha256[65], struct error *e);
/* sha256 NULL: not checked. ERR_CORRUPT when the digest differs. */
enum err manifest_read(const char *path, const char *sha256, struct manifest **manifest, struct error *e);
