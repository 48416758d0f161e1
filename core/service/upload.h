/* upload.h - files on their way in: announced by a request, put to a signed address of ours or of a bucket (or sent in
 * pieces, upload_piece.h), confirmed, and then the input of a job.
 *
 *   announced -> received -> confirmed          each may end by its owner's wish, the first two also by time
 *
 * A key reads `uploads/OWNER/MILLISECONDS-cleanname-UUID.ext`, all of it in characters that need no escaping anywhere.
 * A file of this machine lies at FOLDER/OWNER/MILLISECONDS-cleanname-UUID.ext once it is complete, never before; what
 * has come of it so far lies below FOLDER/.partial. Whether it was received is what the disk or the bucket says, and
 * written down nowhere.
 *
 * Threads: every function is [any-thread but the loop's]. What changes one upload is done under its lock. */
#pragma once
#include "service/service.h"

enum { UPLOAD_KEY_MAX = 256, UPLOAD_NAME_MAX = 255 };
#define UPLOAD_LOCAL_BUCKET "local" /* the name of this machine's disk where others have a bucket's */

struct upload {
  char *key, *owner;
  char *filename, *content_type;
  char *asset, *pipeline; /* NULL: none was named */
  struct value *params;   /* as they were given; NULL: none */
  char *bucket;           /* NULL: on this machine's disk */
  char *object;           /* its key in the bucket */
  int64_t length;         /* that were announced; -1: any */
  char *metadata;         /* in pieces: the header it came with; NULL: it does not come in pieces */
  /* Chosen when it is confirmed, before anything is made, so that doing it again makes the same. */
  char *asset_id, *job_id; /* job_id NULL: no pipeline was to be started */
  char *original_name;
  int64_t bytes; /* -1 until confirmed */
  bool confirmed;
  int64_t created_us, due_us; /* due_us 0: never */
  uint64_t version;
};
void upload_clear(struct upload *upload);

/* ---- upload_key.c ----------------------------------------------------------------------------------------------- */

/* A new key of this owner for a file of this name. Owned. */
char *upload_key_new(const char *owner, const char *filename, int64_t wall_us);
/* `subject` in characters that need no escaping; different ones differ. Long ones end in a digest. Owned. */
char *upload_owner_word(const char *subject);
const char *upload_key_name(const char *key); /* behind the last slash */
bool upload_key_is(const char *text);         /* may be one: its form, not whether it is known */

/* ---- upload.c: records ------------------------------------------------------------------------------------------ */

/* Takes the fields that a caller announces (owner to metadata), makes the rest: the record is durable when it returns.
 * ERR_TOO_LARGE: larger than may be; ERR_NO_SPACE: it would not fit. */
enum err upload_announce(struct service *service, struct upload *upload, struct error *e);
enum err upload_get(struct service *service, const char *key, struct upload *upload,
                    struct error *e); /* ERR_NOT_FOUND */
/* The same when the caller may see (or change) it; what is foreign is ERR_NOT_FOUND too. */
enum err upload_get_of(struct service *service, const struct principal *who, const char *key, bool change,
                       struct upload *upload, struct error *e);
/* Writes what has changed; ERR_CONFLICT: somebody else has, meanwhile. */
enum err upload_store(struct service *service, struct upload *upload, struct error *e);
/* The change that does so, for a transaction with others: record and json are filled in, to be cleared by the caller.
 */
void upload_record(const struct upload *upload, struct side_record *record, struct buf *json);
enum err upload_from_record(const struct side_record *record, struct upload *upload, struct error *e);
/* Record and file, whatever its state. */
enum err upload_remove(struct service *service, const struct upload *upload, struct error *e);
/* How many bytes there are of it, when it is complete. ERR_CONFLICT: not yet; ERR_TOO_LARGE: more than may be (in a
 * bucket). */
enum err upload_received(struct service *service, const struct upload *upload, int64_t *bytes, struct error *e);
/* What a job reads: path of the file, or a URL for its first stage to fetch. Owned. Keeps an unconfirmed one for a
 * week. */
enum err uploads_resolve(struct service *service, const char *key, const struct principal *who, char **path_or_url,
                         struct error *e);
/* A sweep_hook for SIDE_UPLOAD: removes the file with the record, unless a job still has it for its input. */
enum err upload_expired(struct service *service, const struct side_record *record, struct error *e);
int64_t upload_limit(struct service *service); /* uploads.max */

/* ---- upload_lock.c: one at a time may change an upload ---------------------------------------------------------- */

/* A request that was answered holds its upload for a moment longer: so much is waited for one that comes right behind it. */
enum { UPLOAD_SETTLE_US = 500 * 1000 };
/* Waits for at most wait_us. ERR_BUSY: somebody else is at it. */
enum err upload_lock(const char *key, int64_t wait_us, struct error *e);
/* The same for a thread that will read a body, of which there are at most `limit`; waits for UPLOAD_SETTLE_US. */
enum err upload_lock_to_read(const char *key, unsigned limit, struct error *e);
void upload_unlock(const char *key);

/* ---- upload_disk.c ---------------------------------------------------------------------------------------------- */

char *upload_folder(struct service *service);                        /* owned */
char *upload_path(struct service *service, const char *key);         /* of the complete file; owned */
char *upload_partial_path(struct service *service, const char *key); /* of what has come so far; owned */
/* ERR_NO_SPACE when so much more would leave too little for the daemon itself. */
enum err upload_room(struct service *service, int64_t bytes, struct error *e);
/* Makes what was written at `fd` the complete file: durable, then under its name. */
enum err upload_publish(struct service *service, const char *key, int fd, struct error *e);
void upload_unlink(struct service *service, const char *key); /* all that is there of it */

/* A file that comes in one go. */
struct upload_sink {
  struct service *service;
  const char *key;
  int fd;
  int64_t bytes, most, checked;
};
enum err upload_sink_open(struct upload_sink *sink, struct service *service, const char *key, int64_t most,
                          struct error *e);
enum err upload_sink_write(struct upload_sink *sink, const void *data, size_t size, struct error *e);
enum err upload_sink_close(struct upload_sink *sink, bool complete, struct error *e); /* not complete: it is gone */

/* ---- upload_bucket.c: an S3 bucket that browsers upload to directly --------------------------------------------- */

bool upload_has_bucket(struct service *service); /* one is configured now */
/* Name of the bucket and the key in it. Owned. */
void upload_bucket_names(struct service *service, const char *key, char **bucket, char **object);
enum err upload_bucket_url(struct service *service, const struct upload *upload, char **url,
                           struct error *e); /* unsigned */
enum err upload_bucket_presign(struct service *service, const struct upload *upload, const char *method,
                               int64_t seconds, char **url, struct error *e);
enum err upload_bucket_size(struct service *service, const struct upload *upload, int64_t *bytes, struct error *e);
enum err upload_bucket_delete(struct service *service, const struct upload *upload, struct error *e);
