/* follow.h - GET and HEAD with redirects followed by hand, so that each hop is checked.
 *
 * A hop must be http or https; its number is bounded; the operator's own headers and the URL's user and password go to
 * the first origin only; once a public address has answered, a hop to a private one is refused (a stranger's server
 * must not make this machine talk to its own network). */
#pragma once
#include "common/http.h"
#include "common/url.h"

struct follow {
  const char *url;                   /* may carry userinfo */
  const char *const *origin_headers; /* for the first origin only */
  size_t origin_header_count;
  const char *const *headers;        /* for every hop */
  size_t header_count;
  int redirects_max;                 /* 0: 5; -1: none */

  struct text final_url; /* without userinfo and fragment; the one that answered */
  int redirects;
  bool refused;          /* the end is HTTP_IMPOSSIBLE for a redirect that was not followed; x->problem says why */
};

/* Fills x->method (if NULL), url and headers of each hop; x->head, sink, context are the caller's and see the final
 * answer only. */
enum http_end follow_run(struct http_client *client, struct http_exchange *x, struct follow *follow);
void follow_clear(struct follow *follow);
