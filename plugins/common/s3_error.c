/* s3_error.c - what an answer of object storage means, in words an operator can act on. */
#include <stdio.h>
#include <string.h>

#include "common/s3.h"
#include "common/url.h"
#include "common/xml.h"

/* Error codes: Amazon S3 API Reference, "List of error codes". `cure` follows "endpoint E, bucket B: ". */
static const struct {
  const char *code;
  enum s3_outcome outcome;
  const char *cure;
} codes[] = {
  {"NoSuchBucket", S3_REFUSED, "the bucket does not exist: create it or correct `to`"},
  {"InvalidBucketName", S3_REFUSED, "the bucket's name is not valid: correct `to`"},
  {"InvalidAccessKeyId", S3_REFUSED, "the access key is unknown there: check access-key"},
  {"SignatureDoesNotMatch", S3_REFUSED, "the signature was not accepted: check secret-key and region"},
  {"AccessDenied", S3_REFUSED, "access was denied: check access-key, secret-key and what they may do in the bucket"},
  {"AllAccessDisabled", S3_REFUSED, "all access to the bucket is disabled: enable it or choose another"},
  {"AccountProblem", S3_REFUSED, "the storage account has a problem: ask its provider"},
  {"ExpiredToken", S3_REFUSED, "the session token has expired: renew session-token"},
  {"InvalidToken", S3_REFUSED, "the session token is not valid: check session-token"},
  {"AuthorizationHeaderMalformed", S3_REFUSED, "the region is not the bucket's: correct `region`"},
  {"PermanentRedirect", S3_REFUSED, "the bucket lives at another endpoint: correct `endpoint` or `region`"},
  {"RequestTimeTooSkewed", S3_REFUSED, "the clocks of this machine and the server differ too much: set the clock"},
  {"QuotaExceeded", S3_TRANSIENT, "the storage quota is used up: make room or raise it"},
  {"EntityTooLarge", S3_REFUSED, "an object is larger than the server takes: use a smaller part-size"},
  {"EntityTooSmall", S3_REFUSED, "a part is smaller than the server takes: use a larger part-size"},
  {"AccessControlListNotSupported", S3_REFUSED, "the bucket does not take access lists: remove `acl`"},
  {"KeyTooLongError", S3_REFUSED, "a key is longer than 1024 bytes: shorten the prefix in `to`"},
  {"NoSuchKey", S3_ABSENT, "there is no such object"},
  {"NoSuchUpload", S3_ABSENT, "the multipart upload is gone"},
  {"BadDigest", S3_TRANSIENT, "the data arrived damaged"},
  {"XAmzContentSHA256Mismatch", S3_TRANSIENT, "the data arrived damaged"},
  {"IncompleteBody", S3_TRANSIENT, "the data arrived incomplete"},
  {"RequestTimeout", S3_TRANSIENT, "the server waited too long for data"},
  {"SlowDown", S3_TRANSIENT, "the server asks to slow down"},
  {"InternalError", S3_TRANSIENT, "the server had an internal error"},
  {"ServiceUnavailable", S3_TRANSIENT, "the server is not available at the moment"},
  {"OperationAborted", S3_TRANSIENT, "another operation on the object is in the way"},
};

static void say(struct s3_call *call, const char *clause) {
  const char *where = s3_endpoint(call->store);
  if (call->key)
    snprintf(call->problem, sizeof call->problem, "object storage %s, object %.200s: %s", where, call->key, clause);
  else
    snprintf(call->problem, sizeof call->problem, "object storage %s: %s", where, clause);
}

static void judge_network(struct s3_call *call) {
  char clause[400];
  call->outcome = http_is_transient(&call->x) ? S3_TRANSIENT : S3_REFUSED;
  if (call->x.end == HTTP_CANCELLED) call->outcome = S3_STOPPED;
  const char *cure = call->x.end == HTTP_UNREACHABLE ? "; check `endpoint` and the network"
                     : call->x.end == HTTP_UNTRUSTED ? "; give its authority's certificate in `ca`"
                                                     : "";
  snprintf(clause, sizeof clause, "%s%s", call->x.problem, cure);
  say(call, clause);
}

/* Statuses that come without a code: answers to HEAD, proxies, servers that are not S3. */
static void judge_status(struct s3_call *call) {
  char clause[400];
  long status = call->x.status;
  call->outcome = http_is_transient(&call->x) ? S3_TRANSIENT : status == 404 ? S3_ABSENT : S3_REFUSED;
  if (status >= 300 && status < 400)
    snprintf(clause, sizeof clause, "it redirects (status %ld): the bucket lives elsewhere, correct `endpoint` or `region`",
             status);
  else
    snprintf(clause, sizeof clause, "it answered %ld (%s)%s", status, http_answer_words(status),
             call->outcome == S3_REFUSED ? ": check endpoint, bucket, access-key and secret-key" : "");
  say(call, clause);
}

static void judge_code(struct s3_call *call) {
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    if (strcmp(call->code, codes[i].code) != 0) continue;
    call->outcome = codes[i].outcome;
    say(call, codes[i].cure);
    return;
  }
  char clause[400];
  text_auto struct text message = {0};
  xml_text(text_string(&call->x.kept), call->x.kept.size, "Message", &message);
  call->outcome = http_is_transient(&call->x) ? S3_TRANSIENT : call->x.status == 404 ? S3_ABSENT : S3_REFUSED;
  snprintf(clause, sizeof clause, "it answered %ld %s%s%.200s", call->x.status, call->code, message.size ? ": " : "",
           text_string(&message));
  say(call, clause);
}

/* A region named in the answer is the best cure there is. */
static void add_region(struct s3_call *call) {
  text_auto struct text region = {0};
  size_t used = strlen(call->problem);
  if (strcmp(call->code, "AuthorizationHeaderMalformed") != 0 && strcmp(call->code, "PermanentRedirect") != 0) return;
  if (xml_text(text_string(&call->x.kept), call->x.kept.size, "Region", &region) && region.size && region.size < 64)
    snprintf(call->problem + used, sizeof call->problem - used, " (the server names %s)", text_string(&region));
}

void s3_judge(struct s3_call *call) {
  text_auto struct text code = {0};
  char etag[S3_ETAG_SIZE + 2];
  call->problem[0] = call->code[0] = '\0';
  call->retry_after_s = http_retry_after_s(&call->x);
  if (call->x.end != HTTP_ANSWERED) {
    judge_network(call);
    return;
  }
  const char *body = text_string(&call->x.kept);
  size_t at = 0, inner_size;
  /* Completing an upload may answer 200 and say Error in the body. */
  const char *inner = xml_next(body, call->x.kept.size, "Error", &at, &inner_size);
  if (call->x.status >= 200 && call->x.status < 300 && !inner) {
    call->outcome = S3_DONE;
    if (http_answer_header(&call->x, "ETag", etag, sizeof etag)) {
      size_t length = strlen(etag);
      bool quoted = length >= 2 && etag[0] == '"' && etag[length - 1] == '"';
      snprintf(call->etag, sizeof call->etag, "%.*s", (int)(quoted ? length - 2 : length), quoted ? etag + 1 : etag);
    }
    return;
  }
  if (inner && xml_text(inner, inner_size, "Code", &code))
    snprintf(call->code, sizeof call->code, "%.60s", text_string(&code));
  if (!call->code[0]) {
    judge_status(call);
  } else {
    judge_code(call);
    add_region(call);
  }
}
