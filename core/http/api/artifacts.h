/* artifacts.h - what a job's stages have published, from their manifests. Manifests never change (they are named by their
 * digest): the last few are kept in memory, for a player asks for one segment after the other. */
#pragma once
#include "service/service.h"

/* Every artifact of finished stages: {stage, port, path, bytes, sha256, mediaType, metadata?}. */
enum err artifacts_list(struct service *service, const struct job_record *job, struct value *list, struct error *e);

struct artifact_file {
  int fd; /* open for reading */
  char sha256[65];
  const char *type; /* media type to send; never one that a browser runs */
  bool attachment;  /* to be saved, not shown */
};
/* Opens one beneath the job's output folder, no link followed. ERR_NOT_FOUND: none of its artifacts, or not there any more. */
enum err artifacts_open(struct service *service, const struct job_record *job, const char *path, struct artifact_file *file,
                        struct error *e);
/* True when some artifact has this path, or (it ends with a slash) lies below it. */
bool artifacts_has(struct service *service, const struct job_record *job, const char *path);
