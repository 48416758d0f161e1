/* remote_parts.h - what the files of remote.h share. */
#pragma once
#include "cli/remote.h"
#include "common/http.h"
#include "common/url.h"

struct remote {
  char *base;          /* without a slash at its end */
  char *token;         /* NULL: none */
  char *authorization; /* the header; NULL: none */
  struct http_client *client;
};

enum err remote_problem(struct remote *remote, const struct http_exchange *x, struct error *e); /* what went wrong, in words */
/* Fills in the headers that every request has, returns how many; room for 3. */
size_t remote_headers(const struct remote *remote, const char **headers, const char *more, const char *accept);
enum http_take remote_keep(struct http_exchange *x); /* a `head` that keeps the body whatever the status */
