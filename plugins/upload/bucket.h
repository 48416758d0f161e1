/* bucket.h - private: one upload into a bucket. object.c sends small files side by side, parts.c large ones in parts. */
#pragma once
#include "upload.h"

struct bucket {
  struct upload *u;
  struct http_client *client;
  struct s3_store *store;
  int concurrency, attempts;
  int64_t part_size;
  bool may_exist; /* something is there already: ask before sending */
  const char *acl, *cache_control, *playlist_cache_control;
};

/* A try of one request that goes wrong is repeated a little later, a bounded number of times; the whole stage's retry
 * is the engine's business. */
struct tries {
  int count;
  int64_t due_ms; /* not before */
};

int64_t bucket_now_ms(void);
bool tries_due(const struct tries *tries);
/* Plans another try after a transient outcome; false when there were enough. */
bool tries_again(const struct bucket *b, struct tries *tries, const struct s3_call *call);

char *bucket_key(const struct bucket *b, const struct item *item);
/* Content-Type and the other headers of a new object; sha256 "" when unknown. */
void bucket_headers(const struct bucket *b, const struct item *item, const char *sha256, struct s3_call *call);
/* The object that HEAD describes is this very file with these headers. */
bool bucket_same(const struct bucket *b, const struct item *item, const char *sha256, const struct s3_call *head);
/* Verdict and sentence of a call that ended for good. */
sm_status bucket_verdict(const struct bucket *b, const struct s3_call *call);
sm_status bucket_read_error(const struct bucket *b, const struct item *item, int why);
/* One request alone, with its tries; pauses let cancellation through. */
enum s3_outcome bucket_call(struct bucket *b, struct s3_call *call, s3_verb *verb);
void bucket_progress(struct bucket *b, const struct item *item, int64_t ahead);

/* Everything of one rank that is no larger than a part. */
sm_status objects_send(struct bucket *b, enum rank rank);
/* One large file. */
sm_status parts_send(struct bucket *b, const struct item *item);
