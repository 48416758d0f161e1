/* parts.c - one large file in parts, several at a time. What is under way is checkpointed by key, size and part size with
 * the upload's id, so that a later attempt asks the server which parts it has and sends the others only. An upload that
 * cannot succeed is aborted; one that may be retried or was interrupted stays for the next attempt. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bucket.h"

enum { PART_ROUND = 1 << 20, WHOLE_TRIES = 2, ABORT_MS = 700 };

struct multipart {
  struct bucket *b;
  const struct item *item;
  char *key, *upload_id;
  char note[64]; /* checkpoint key */
  int fd;
  int64_t part_size;
  int count, next, done;
  unsigned char (*md5)[MD5_SIZE]; /* of parts that are there */
  char (*etags)[S3_ETAG_SIZE];
  bool *there;
  sm_status status;
  bool gone; /* the server forgot the upload */
};

struct lane { /* one part on its way */
  struct multipart *m;
  int number; /* from 1; 0: free */
  struct tries tries;
  bool in_flight, summed;
  struct checksum sum;
  struct s3_call call;
};

static int64_t part_length(const struct multipart *m, int number) {
  int64_t offset = (int64_t)(number - 1) * m->part_size, left = m->item->size - offset;
  return left < m->part_size ? left : m->part_size;
}

static sm_status no_memory(struct multipart *m) {
  return sm_fail(m->b->u->task, SM_RETRY, NULL, "memory ran out: try again");
}

/* ---- the upload's identity ------------------------------------------------------------------------------------- */

static void remember(struct multipart *m) {
  text_auto struct text value = {0};
  text_format(&value, "%lld %lld %s %s", (long long)m->item->size, (long long)m->part_size,
              m->item->sha256[0] ? m->item->sha256 : "-", m->upload_id);
  if (value.size <= 4000) sm_checkpoint(m->b->u->task, m->note, text_string(&value));
}

static void forget(struct multipart *m) {
  sm_checkpoint(m->b->u->task, m->note, "");
  free(m->upload_id);
  m->upload_id = NULL;
}

static void recall(struct multipart *m) {
  const char *value = sm_checkpoint_get(m->b->u->task, m->note);
  char sha256[SHA256_HEX_SIZE];
  long long size, part_size;
  int at = 0;
  if (!value || sscanf(value, "%lld %lld %64s %n", &size, &part_size, sha256, &at) != 3 || !at) return;
  if (size != m->item->size || part_size != m->part_size || !value[at]) return;
  if (strcmp(sha256, m->item->sha256[0] ? m->item->sha256 : "-") != 0) return;
  m->upload_id = strdup(value + at);
}

static sm_status create(struct multipart *m, struct s3_call *call) {
  text_auto struct text id = {0};
  call->key = m->key;
  bucket_headers(m->b, m->item, m->item->sha256, call);
  enum s3_outcome outcome = bucket_call(m->b, call, s3_create);
  if (outcome != S3_DONE) return bucket_verdict(m->b, call);
  if (!s3_upload_id(call, &id))
    return sm_fail(m->b->u->task, SM_RETRY, NULL, "object storage %s names no upload id for %s: is it S3-compatible?",
                   s3_endpoint(m->b->store), m->item->name);
  m->upload_id = text_take(&id);
  if (!m->upload_id) return no_memory(m);
  remember(m);
  return SM_OK;
}

/* ---- parts that are there already ------------------------------------------------------------------------------ */

/* Counts a part the server has, when its bytes are ours. */
static sm_status take_part(struct multipart *m, const struct s3_part_info *part) {
  struct checksum sum;
  char md5[MD5_HEX_SIZE];
  if (part->number > m->count || m->there[part->number - 1] || part->size != part_length(m, part->number)) return SM_OK;
  int why = checksum_of_range(m->fd, (off_t)(part->number - 1) * m->part_size, part->size, upload_stopped, m->b->u, &sum);
  if (why) return bucket_read_error(m->b, m->item, why);
  checksum_hex(sum.md5, MD5_SIZE, md5);
  if (strcmp(md5, part->etag) != 0) return SM_OK;
  memcpy(m->md5[part->number - 1], sum.md5, MD5_SIZE);
  memcpy(m->etags[part->number - 1], part->etag, S3_ETAG_SIZE);
  m->there[part->number - 1] = true;
  m->done++;
  upload_progress(m->b->u, m->item);
  return SM_OK;
}

static sm_status list_parts(struct multipart *m, struct s3_call *call) {
  sm_status status = SM_OK;
  int last = 0;
  for (int page = 0; page < 1 + S3_PARTS_MAX / 100 && status == SM_OK; page++) {
    struct s3_part_info part;
    size_t at = 0;
    *call = (struct s3_call){.x = call->x, .url = call->url, .authorization = call->authorization, .key = m->key,
                             .upload_id = m->upload_id, .part = last};
    enum s3_outcome outcome = bucket_call(m->b, call, s3_list_parts);
    if (outcome == S3_ABSENT) return forget(m), SM_OK;
    if (outcome != S3_DONE) return bucket_verdict(m->b, call);
    int before = last;
    while (status == SM_OK && s3_next_part(call, &at, &part)) {
      status = take_part(m, &part);
      last = part.number;
    }
    if (last == before || !s3_list_truncated(call)) break;
  }
  if (status == SM_OK && m->upload_id)
    sm_log(m->b->u->task, SM_LOG_INFO, "%s: going on with its upload, %d of %d parts are there", m->item->name, m->done,
           m->count);
  return status;
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static void sent(struct s3_call *call) {
  struct lane *lane = call->context;
  struct multipart *m = lane->m;
  char md5[MD5_HEX_SIZE];
  lane->in_flight = false;
  if (m->status != SM_OK) return;
  checksum_hex(lane->sum.md5, MD5_SIZE, md5);
  bool damaged = call->outcome == S3_DONE && s3_etag_is_md5(call) && strcmp(md5, call->etag) != 0;
  if (call->outcome == S3_DONE && !damaged && call->etag[0]) {
    memcpy(m->md5[lane->number - 1], lane->sum.md5, MD5_SIZE);
    memcpy(m->etags[lane->number - 1], call->etag, S3_ETAG_SIZE);
    m->there[lane->number - 1] = true;
    m->done++;
    lane->number = 0;
  } else if (call->outcome == S3_ABSENT) {
    m->gone = true;
  } else if (call->outcome == S3_TRANSIENT || call->outcome == S3_DONE) {
    if (damaged) snprintf(call->problem, sizeof call->problem, "part %d of %.200s arrived damaged", lane->number, m->key);
    call->outcome = S3_TRANSIENT;
    if (!tries_again(m->b, &lane->tries, call)) m->status = bucket_verdict(m->b, call);
  } else {
    m->status = bucket_verdict(m->b, call);
  }
}

static void step(struct lane *lane) {
  struct multipart *m = lane->m;
  struct s3_call *call = &lane->call;
  call->offset = (int64_t)(lane->number - 1) * m->part_size;
  call->size = part_length(m, lane->number);
  if (!lane->summed) {
    int why = checksum_of_range(m->fd, call->offset, call->size, upload_stopped, m->b->u, &lane->sum);
    if (why) {
      m->status = bucket_read_error(m->b, m->item, why);
      return;
    }
    lane->summed = true;
  }
  call->key = m->key;
  call->upload_id = m->upload_id;
  call->part = lane->number;
  call->fd = m->fd;
  call->checksum = &lane->sum;
  call->context = lane;
  call->done = sent;
  lane->in_flight = s3_part(m->b->store, call);
  if (!lane->in_flight) m->status = bucket_verdict(m->b, call);
}

static int next_part(struct multipart *m) {
  while (m->next < m->count)
    if (!m->there[m->next++]) return m->next;
  return 0;
}

static bool drive(struct multipart *m, struct lane *lanes) {
  bool any = false;
  int64_t ahead = 0;
  for (int i = 0; i < m->b->concurrency && m->status == SM_OK && !m->gone; i++) {
    struct lane *lane = &lanes[i];
    if (!lane->number) {
      lane->number = next_part(m);
      lane->tries = (struct tries){0};
      lane->summed = false;
    }
    if (!lane->number) continue;
    any = true;
    if (!lane->in_flight && tries_due(&lane->tries)) step(lane);
    if (lane->in_flight) ahead += lane->call.x.sent;
  }
  for (int i = 0; i < m->count; i++)
    if (m->there[i]) ahead += part_length(m, i + 1);
  bucket_progress(m->b, m->item, ahead);
  return any;
}

static sm_status send_parts(struct multipart *m) {
  struct lane *lanes = calloc((size_t)m->b->concurrency, sizeof *lanes);
  if (!lanes) return no_memory(m);
  for (int i = 0; i < m->b->concurrency; i++) lanes[i].m = m;
  m->status = SM_OK;
  m->next = 0;
  while (m->status == SM_OK && !m->gone && drive(m, lanes))
    if (m->status == SM_OK && !http_wait(m->b->client, 50)) m->status = SM_CANCELLED;
  http_stop(m->b->client); /* what still runs points into the lanes */
  for (int i = 0; i < m->b->concurrency; i++) s3_call_clear(&lanes[i].call);
  free(lanes);
  return m->status;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static bool etag_is_right(const struct multipart *m, const struct s3_call *call, const char *etag) {
  char wanted[S3_ETAG_SIZE];
  s3_multipart_etag((const unsigned char(*)[MD5_SIZE])m->md5, (size_t)m->count, wanted);
  return !s3_etag_is_md5(call) || !strchr(etag, '-') || strcmp(etag, wanted) == 0;
}

/* The answer to an earlier `complete` may have been lost: is the object there, and ours? */
static bool is_there(struct multipart *m, struct s3_call *call) {
  call->extra_count = 0;
  char wanted[S3_ETAG_SIZE];
  s3_multipart_etag((const unsigned char(*)[MD5_SIZE])m->md5, (size_t)m->count, wanted);
  return bucket_call(m->b, call, s3_head) == S3_DONE && http_length(&call->x) == m->item->size &&
         strcmp(call->etag, wanted) == 0;
}

static sm_status complete(struct multipart *m, struct s3_call *call) {
  text_auto struct text xml = {0};
  text_put(&xml, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
  for (int i = 0; i < m->count; i++)
    text_format(&xml, "<Part><PartNumber>%d</PartNumber><ETag>\"%s\"</ETag></Part>", i + 1, m->etags[i]);
  text_put(&xml, "</CompleteMultipartUpload>");
  if (xml.failed) return no_memory(m);
  call->key = m->key;
  call->upload_id = m->upload_id;
  call->body = text_string(&xml);
  call->extra_count = 0;
  enum s3_outcome outcome = bucket_call(m->b, call, s3_complete);
  if (outcome == S3_ABSENT) {
    m->gone = !is_there(m, call);
    return SM_OK;
  }
  if (outcome != S3_DONE) return bucket_verdict(m->b, call);
  s3_take_body_etag(call);
  if (etag_is_right(m, call, call->etag)) return SM_OK;
  return sm_fail(m->b->u->task, SM_RETRY, call->etag, "object storage %s put %s together wrongly: sending it again",
                 s3_endpoint(m->b->store), m->item->name);
}

/* Best effort, and quick even when the stage is being stopped: an upload left behind costs storage. */
static void abort_upload(struct multipart *m) {
  struct s3_call *call = calloc(1, sizeof *call);
  if (!call || !m->upload_id) {
    free(call);
    return;
  }
  call->key = m->key;
  call->upload_id = m->upload_id;
  if (s3_abort(m->b->store, call)) {
    int64_t until = bucket_now_ms() + ABORT_MS;
    while (call->x.slot && bucket_now_ms() < until)
      if (!http_wait(m->b->client, 50)) break;
    http_stop(m->b->client);
  }
  s3_call_clear(call);
  free(call);
  forget(m);
}

static sm_status run(struct multipart *m, struct s3_call *call) {
  sm_status status = SM_OK;
  for (int i = 0; i < WHOLE_TRIES; i++) {
    m->gone = false;
    recall(m);
    if (m->upload_id) status = list_parts(m, call);
    if (status == SM_OK && !m->upload_id) status = create(m, call);
    if (status == SM_OK) status = send_parts(m);
    if (status == SM_OK && !m->gone) status = complete(m, call);
    if (status != SM_OK || !m->gone) break;
    forget(m); /* the server dropped the upload: begin again, once */
    m->done = 0;
    memset(m->there, 0, (size_t)m->count * sizeof *m->there);
  }
  if (status == SM_OK && m->gone)
    status = sm_fail(m->b->u->task, SM_RETRY, NULL, "object storage %s forgets the multipart upload of %s",
                     s3_endpoint(m->b->store), m->item->name);
  if (status == SM_FAIL) abort_upload(m);
  if (status == SM_OK) forget(m);
  return status;
}

/* Already there from an earlier attempt? */
static bool there_already(struct multipart *m, struct s3_call *call) {
  if (!m->b->may_exist || !m->item->sha256[0]) return false;
  call->key = m->key;
  return bucket_call(m->b, call, s3_head) == S3_DONE && bucket_same(m->b, m->item, m->item->sha256, call);
}

static bool prepare(struct multipart *m) {
  char hex[SHA256_HEX_SIZE];
  int64_t least = (m->item->size + S3_PARTS_MAX - 1) / S3_PARTS_MAX;
  m->part_size = m->b->part_size;
  if (m->part_size < least) m->part_size = (least + PART_ROUND - 1) / PART_ROUND * PART_ROUND;
  m->count = (int)((m->item->size + m->part_size - 1) / m->part_size);
  m->key = bucket_key(m->b, m->item);
  m->md5 = calloc((size_t)m->count, sizeof *m->md5);
  m->etags = calloc((size_t)m->count, sizeof *m->etags);
  m->there = calloc((size_t)m->count, sizeof *m->there);
  if (!m->key || !m->md5 || !m->etags || !m->there) return false;
  checksum_sha256_hex(m->key, strlen(m->key), hex);
  snprintf(m->note, sizeof m->note, "multipart:%.40s", hex);
  return true;
}

sm_status parts_send(struct bucket *b, const struct item *item) {
  struct multipart m = {.b = b, .item = item, .fd = -1};
  struct s3_call *call = calloc(1, sizeof *call);
  sm_status status;
  if (!call || !prepare(&m)) {
    status = no_memory(&m);
  } else if (there_already(&m, call)) {
    upload_finished(b->u, item, false);
    status = SM_OK;
  } else if ((m.fd = sm_input_open(b->u->task, "files", item->index)) < 0) {
    status = bucket_read_error(b, item, errno);
  } else {
    status = run(&m, call);
    b->u->bytes_ahead = 0;
    if (status == SM_OK) upload_finished(b->u, item, true);
  }
  if (m.fd >= 0) close(m.fd);
  if (call) s3_call_clear(call);
  free(call);
  free(m.key);
  free(m.upload_id);
  free(m.md5);
  free(m.etags);
  free(m.there);
  return status;
}
