/* upload_parts.h - what the handlers of uploads share. */
#pragma once
#include "api/parts.h"
#include "service/upload.h"

/* POST /api/v1/uploads/confirm: upload_confirm.c */
void upload_confirm(struct exchange *x);
/* What could not be started later is refused now: the pipeline, its parameters, somebody else's asset. */
enum err upload_announced_checks(struct exchange *x, const struct upload *upload, struct error *e);
void upload_delete(struct exchange *x); /* DELETE of the upload {key...} */
/* A pipeline of the shelf by name, held until upload_pipeline_release. ERR_INVALID: there is none, or it has errors. */
struct upload_pipeline {
  const struct shelf_set *set;
  const struct pipeline *pipeline;
};
enum err upload_pipeline_hold(struct service *service, const char *name, struct upload_pipeline *held, struct error *e);
void upload_pipeline_release(struct service *service, struct upload_pipeline *held);
/* How many requests may read uploads at once: half of the threads, so that everybody else is served too. */
unsigned upload_readers(struct service *service);
/* The same media type, whatever parameters and case. */
bool upload_type_is(const char *type, const char *wanted);
bool upload_type_is_good(const char *type); /* "video/mp4", at most 255 bytes */
/* Path of an upload's file that is downloaded: /api/v1/uploads/KEY with the origin in front. Owned. */
char *upload_file_url(struct exchange *x, const char *key);
