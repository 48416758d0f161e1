/* sigv4.h - AWS Signature Version 4: signed headers and presigned URLs.
 *
 * Source: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)". S3's rules apply: the path is
 * percent-encoded once and never normalised. Nothing here touches the network or the clock. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "common/text.h"

#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
enum { SIGV4_DATE_SIZE = 17, SIGV4_PRESIGN_SECONDS_MAX = 7 * 24 * 3600 };

struct sigv4_keys {
  const char *access_key, *secret_key;
  const char *session_token; /* NULL: permanent keys */
  const char *region, *service;
};

struct sigv4_field { /* a query field or a header, as plain text: not encoded */
  const char *name, *value;
};

struct sigv4_request {
  const char *method; /* "PUT" */
  const char *host;   /* as the Host header will say it: with the port unless it is the default one */
  const char *path;   /* plain text, "/bucket/a key" */
  const struct sigv4_field *query; /* any order; a field without value has "" */
  size_t query_count;
  /* Every header to sign besides host, x-amz-date and x-amz-security-token, which are added. Any order and case. */
  const struct sigv4_field *headers;
  size_t header_count;
  const char *payload_sha256; /* 64 hex digits or SIGV4_UNSIGNED */
  time_t at;
};

/* "20150830T123600Z" */
void sigv4_date(time_t at, char out[SIGV4_DATE_SIZE]);
/* The query as it goes on the wire: encoded and sorted, without "?". */
bool sigv4_query(struct text *out, const struct sigv4_field *query, size_t count);
/* Value of the Authorization header. The request must be sent with Host, X-Amz-Date (sigv4_date(at)),
 * X-Amz-Security-Token when there is one, and the headers given. False when memory ran out or a header is malformed
 * (a line break in it). */
bool sigv4_authorization(struct text *out, const struct sigv4_request *request, const struct sigv4_keys *keys);
/* Path and query ("/bucket/key?X-Amz-...") of a URL that works without further credentials for `seconds`, bounded to
 * 1 .. SIGV4_PRESIGN_SECONDS_MAX. Whoever uses it must send the signed headers given. */
bool sigv4_presign(struct text *out, const struct sigv4_request *request, const struct sigv4_keys *keys, long seconds);
