/* form.h - a submission as it comes over the wire: JSON, or multipart/form-data (RFC 7578) with the JSON in a part `request`
 * and one file in a part `file`, which goes straight to the disk. */
#pragma once
#include "http/http.h"

struct form {
  struct buf request;   /* JSON text */
  char *path, *name;    /* of the file; NULL: none came. Its name is clean: no folders, no control characters */
  int64_t bytes;
  char sha256[65];
};
struct form_limits {
  size_t request_bytes;
  int64_t file_bytes;
};
/* Reads the body of a ROUTE_STREAM request. The file is made below `folder` (made when it is needed), durable when this returns;
 * on an error it is gone again. ERR_UNSUPPORTED: another content type; ERR_TOO_LARGE, ERR_INVALID, ERR_LOST, ERR_NO_SPACE. */
enum err form_read(struct exchange *x, const char *folder, const struct form_limits *limits, struct form *form,
                   struct error *e);
void form_clear(struct form *form); /* leaves the file where it is */
/* A name for a file on this machine, from one that somebody sent: at most 120 bytes, never empty. Owned. */
char *form_file_name(const char *sent);
