/* s3.h - S3-compatible object storage, path style: one call is one signed request, run alone or many at once.
 *
 *   store = s3_open(client, settings)
 *   call = {.key = ..., ...};  s3_put(store, &call) ...   sets the request up and starts it in the client
 *   http_wait(client, ms)                                 call.done comes; call.outcome says how it went
 *   s3_run(store, &call, s3_head)                         the same for one call alone
 *
 * Payloads are signed by their SHA-256 and carry Content-MD5, so the server checks what arrives; ETags are ours to
 * compare afterwards. Source: Amazon S3 API Reference (2006-03-01). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "common/checksum.h"
#include "common/http.h"
#include "common/sigv4.h"

enum { S3_KEY_MAX = 1024, S3_PART_MIN = 5 << 20, S3_PARTS_MAX = 10000, S3_ETAG_SIZE = 80, S3_UPLOAD_ID_SIZE = 1024 };
#define S3_PART_MAX ((int64_t)5 << 30)

enum s3_outcome {
  S3_DONE = 1,
  S3_TRANSIENT, /* the network's or the server's fault: worth another try */
  S3_ABSENT,    /* no such key or upload */
  S3_REFUSED,   /* credentials, bucket, rights, region: trying again cannot help */
  S3_STOPPED,   /* cancelled */
};

struct s3_settings {
  const char *endpoint; /* "http://127.0.0.1:7480" or with a path in front; NULL: Amazon's of the region */
  const char *region;   /* NULL: us-east-1 */
  const char *bucket;
  const char *access_key, *secret_key, *session_token;
};

struct s3_store;
/* NULL with a clause in *why ("has a path with a query") when the settings make no sense. The client is borrowed. */
struct s3_store *s3_open(struct http_client *client, const struct s3_settings *settings, const char **why);
void s3_close(struct s3_store **store);
const char *s3_endpoint(const struct s3_store *store); /* "http://127.0.0.1:7480", for messages */
/* Plain URL of an object, unsigned: where a reader finds it. */
bool s3_url(const struct s3_store *store, const char *key, struct text *out);
/* A URL that lets its holder do `method` on the key for `seconds` without further credentials. */
bool s3_presigned(const struct s3_store *store, const char *method, const char *key, long seconds, struct text *out);

enum { S3_EXTRA_MAX = 12 };

struct s3_call {
  /* Asked for; borrowed until done. */
  const char *key;                    /* plain text */
  const char *upload_id;              /* multipart calls */
  int part;                           /* from 1 */
  struct sigv4_field extra[S3_EXTRA_MAX]; /* further headers, signed: content-type, cache-control, x-amz-... */
  size_t extra_count;
  int fd;                             /* put and part: a range of a file */
  int64_t offset, size;
  const struct checksum *checksum;    /* of that range */
  const char *body;                   /* complete: the list of parts as XML */
  const char *prefix, *after;         /* list: only keys that start so; continuation token or NULL */
  int max_keys;                       /* list, list_parts: 0: 1000; list_parts: `part` is the marker */
  void (*done)(struct s3_call *call);
  void *context;

  /* Answered. */
  enum s3_outcome outcome;
  char code[64];        /* S3's error code, "NoSuchBucket"; "" when there is none */
  char problem[512];    /* sentence for the operator, empty when done */
  long retry_after_s;   /* what the server asked for */
  char etag[S3_ETAG_SIZE]; /* without quotes */

  struct http_exchange x;
  struct s3_store *store;
  struct text url, authorization;
  char lines[S3_EXTRA_MAX + 8][2200];
  const char *line_list[S3_EXTRA_MAX + 8];
};

typedef bool s3_verb(struct s3_store *store, struct s3_call *call);
/* Each starts one request; false with outcome and problem set when that was impossible (done is not called). */
s3_verb s3_put, s3_head, s3_get, s3_delete, s3_list;
s3_verb s3_create, s3_part, s3_complete, s3_abort, s3_list_parts;
/* Starts and waits. */
enum s3_outcome s3_run(struct s3_store *store, struct s3_call *call, s3_verb *verb);
void s3_call_clear(struct s3_call *call);

/* Reading answers. */
bool s3_upload_id(const struct s3_call *call, struct text *out);    /* of create */
void s3_take_body_etag(struct s3_call *call);                       /* of complete: it comes in the body */
struct s3_part_info { int number; int64_t size; char etag[S3_ETAG_SIZE]; };
bool s3_next_part(const struct s3_call *call, size_t *at, struct s3_part_info *part); /* of list_parts */
bool s3_list_truncated(const struct s3_call *call);
bool s3_list_has_keys(const struct s3_call *call);
/* ETag of an object uploaded in parts: MD5 of the parts' MD5s, "-", their number. */
void s3_multipart_etag(const unsigned char (*md5)[MD5_SIZE], size_t count, char out[S3_ETAG_SIZE]);
/* True when the answer's ETag is a plain MD5 one: not so under SSE-KMS or SSE-C. */
bool s3_etag_is_md5(const struct s3_call *call);

/* s3_error.c: turns a finished exchange into outcome, code and problem. */
void s3_judge(struct s3_call *call);
