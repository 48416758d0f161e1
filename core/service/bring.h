/* bring.h - an input that lies elsewhere, for a pipeline that reads a file: a stage in front brings it
 * (share/stagemill/pipelines/sources/from-*.yaml). */
#pragma once
#include "service/service.h"

enum bring_from {
  BRING_URL = 1, /* somebody's word: by default only the public internet (inputs.networks) */
  BRING_OWN,     /* an address of our own making: our storage may be anywhere */
  BRING_DRIVE,   /* of a batch over a drive, with its caller's token */
};
/* *fronted: owned; NULL when nothing has to be brought (the input is a file, or the pipeline brings it by itself). What the stage
 * in front has to know is put into `given`. s3:// inputs come from the operator's bucket, whatever `from` says. */
enum err bring_input(struct service *service, const struct pipeline *pipeline, const char *input, enum bring_from from,
                     struct value *given, struct pipeline **fronted, struct error *e);
/* The secrets that those stages name: BATCH_TOKEN, which the caller of a batch brought; UPLOADS_ACCESS_KEY and UPLOADS_SECRET_KEY, by
 * whatever names the settings know them (uploads.s3). Owned; NULL: none of these. */
char *bring_secret(struct service *service, const char *batch, const char *name);
/* Where the operator's object storage is, as stages that use it want to know. */
void bring_storage(struct service *service, struct value *given);
