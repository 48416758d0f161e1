#include "common/sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "common/checksum.h"
#include "common/url.h"

enum { FIELDS_MAX = 64 };

struct pair { /* encoded, ready to be sorted */
  char *name, *value;
};

void sigv4_date(time_t at, char out[SIGV4_DATE_SIZE]) {
  struct tm utc;
  if (!gmtime_r(&at, &utc) || strftime(out, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &utc) == 0) out[0] = '\0';
}

static int compare_pairs(const void *a, const void *b) {
  const struct pair *left = a, *right = b;
  int order = strcmp(left->name, right->name);
  return order ? order : strcmp(left->value, right->value);
}

static char *encoded(const char *plain) {
  text_auto struct text out = {0};
  url_encode(&out, plain, strlen(plain), URL_KEEP_UNRESERVED);
  return text_take(&out);
}

static void free_pairs(struct pair *pairs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(pairs[i].name);
    free(pairs[i].value);
  }
}

bool sigv4_query(struct text *out, const struct sigv4_field *query, size_t count) {
  struct pair pairs[FIELDS_MAX] = {0};
  if (count > FIELDS_MAX) return false;
  bool ok = true;
  for (size_t i = 0; i < count; i++) {
    pairs[i].name = encoded(query[i].name);
    pairs[i].value = encoded(query[i].value);
    ok = ok && pairs[i].name && pairs[i].value;
  }
  if (ok) qsort(pairs, count, sizeof *pairs, compare_pairs);
  for (size_t i = 0; ok && i < count; i++) text_format(out, "%s%s=%s", i ? "&" : "", pairs[i].name, pairs[i].value);
  free_pairs(pairs, count);
  return ok && !out->failed;
}

/* Lower-case name; value without surrounding blanks, inner runs of blanks made one. */
static bool canonical_header(const struct sigv4_field *field, struct pair *out) {
  text_auto struct text value = {0};
  if (strpbrk(field->value, "\r\n") || strpbrk(field->name, "\r\n: ")) return false;
  bool blank = false;
  for (const char *s = field->value; *s; s++) {
    if (*s == ' ' || *s == '\t') {
      blank = value.size > 0;
      continue;
    }
    if (blank) text_char(&value, ' ');
    blank = false;
    text_char(&value, *s);
  }
  out->name = strdup(field->name);
  for (char *c = out->name; c && *c; c++)
    if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
  out->value = text_take(&value);
  return out->name && out->value;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

/* "name:value\n" lines into `lines`, "name;name" into `names`. Presigned requests carry date and token in the query. */
static bool canonical_headers(struct text *lines, struct text *names, const struct sigv4_request *r,
                              const struct sigv4_keys *keys, bool presigned) {
  struct pair pairs[FIELDS_MAX] = {0};
  char date[SIGV4_DATE_SIZE];
  sigv4_date(r->at, date);
  struct sigv4_field own[3] = {{"host", r->host}};
  size_t count = 1;
  if (!presigned) own[count++] = (struct sigv4_field){"x-amz-date", date};
  if (!presigned && keys->session_token)
    own[count++] = (struct sigv4_field){"x-amz-security-token", keys->session_token};
  if (r->header_count + count > FIELDS_MAX) return false;
  bool ok = true;
  for (size_t i = 0; ok && i < count; i++) ok = canonical_header(&own[i], &pairs[i]);
  for (size_t i = 0; ok && i < r->header_count; i++) ok = canonical_header(&r->headers[i], &pairs[count + i]);
  count += r->header_count;
  if (ok) qsort(pairs, count, sizeof *pairs, compare_names);
  for (size_t i = 0; ok && i < count; i++) {
    text_format(lines, "%s:%s\n", pairs[i].name, pairs[i].value);
    text_format(names, "%s%s", i ? ";" : "", pairs[i].name);
  }
  free_pairs(pairs, count);
  return ok && !lines->failed && !names->failed;
}

static void put_scope(struct text *out, const char *date, const struct sigv4_keys *keys) {
  text_format(out, "%.8s/%s/%s/aws4_request", date, keys->region, keys->service);
}

static bool signing_key(const char *date, const struct sigv4_keys *keys, unsigned char key[SHA256_SIZE]) {
  text_auto struct text first = {0};
  text_format(&first, "AWS4%s", keys->secret_key);
  unsigned char next[SHA256_SIZE];
  bool ok = !first.failed && checksum_hmac_sha256(first.data, first.size, date, 8, key) &&
            checksum_hmac_sha256(key, SHA256_SIZE, keys->region, strlen(keys->region), next) &&
            checksum_hmac_sha256(next, SHA256_SIZE, keys->service, strlen(keys->service), key) &&
            checksum_hmac_sha256(key, SHA256_SIZE, "aws4_request", 12, next);
  memcpy(key, next, SHA256_SIZE);
  OPENSSL_cleanse(next, sizeof next);
  if (first.data) OPENSSL_cleanse(first.data, first.size);
  return ok;
}

/* Signature (hex) of the canonical request made of these parts. */
static bool signature(const struct sigv4_request *r, const struct sigv4_keys *keys, const char *query,
                      const char *header_lines, const char *header_names, char out[SHA256_HEX_SIZE]) {
  text_auto struct text canonical = {0}, to_sign = {0};
  char date[SIGV4_DATE_SIZE], hash[SHA256_HEX_SIZE];
  unsigned char key[SHA256_SIZE], mac[SHA256_SIZE];
  sigv4_date(r->at, date);
  text_format(&canonical, "%s\n", r->method);
  url_encode(&canonical, r->path, strlen(r->path), URL_KEEP_SLASHES);
  text_format(&canonical, "\n%s\n%s\n%s\n%s", query, header_lines, header_names, r->payload_sha256);
  if (canonical.failed || !checksum_sha256_hex(canonical.data, canonical.size, hash)) return false;
  text_format(&to_sign, "AWS4-HMAC-SHA256\n%s\n", date);
  put_scope(&to_sign, date, keys);
  text_format(&to_sign, "\n%s", hash);
  bool ok = !to_sign.failed && signing_key(date, keys, key) &&
            checksum_hmac_sha256(key, sizeof key, to_sign.data, to_sign.size, mac);
  OPENSSL_cleanse(key, sizeof key);
  if (ok) checksum_hex(mac, sizeof mac, out);
  return ok;
}

bool sigv4_authorization(struct text *out, const struct sigv4_request *r, const struct sigv4_keys *keys) {
  text_auto struct text query = {0}, lines = {0}, names = {0};
  char hex[SHA256_HEX_SIZE], date[SIGV4_DATE_SIZE];
  if (!sigv4_query(&query, r->query, r->query_count) || !canonical_headers(&lines, &names, r, keys, false) ||
      !signature(r, keys, text_string(&query), text_string(&lines), text_string(&names), hex))
    return false;
  sigv4_date(r->at, date);
  text_format(out, "AWS4-HMAC-SHA256 Credential=%s/", keys->access_key);
  put_scope(out, date, keys);
  text_format(out, ", SignedHeaders=%s, Signature=%s", text_string(&names), hex);
  return !out->failed;
}

bool sigv4_presign(struct text *out, const struct sigv4_request *r, const struct sigv4_keys *keys, long seconds) {
  text_auto struct text query = {0}, lines = {0}, names = {0}, credential = {0};
  char hex[SHA256_HEX_SIZE], date[SIGV4_DATE_SIZE], expires[24];
  struct sigv4_field fields[FIELDS_MAX];
  if (r->query_count + 6 > FIELDS_MAX) return false;
  if (seconds < 1) seconds = 1;
  if (seconds > SIGV4_PRESIGN_SECONDS_MAX) seconds = SIGV4_PRESIGN_SECONDS_MAX;
  sigv4_date(r->at, date);
  text_format(&credential, "%s/", keys->access_key);
  put_scope(&credential, date, keys);
  if (!canonical_headers(&lines, &names, r, keys, true)) return false;
  snprintf(expires, sizeof expires, "%ld", seconds);
  size_t n = 0;
  for (; n < r->query_count; n++) fields[n] = r->query[n];
  fields[n++] = (struct sigv4_field){"X-Amz-Algorithm", "AWS4-HMAC-SHA256"};
  fields[n++] = (struct sigv4_field){"X-Amz-Credential", text_string(&credential)};
  fields[n++] = (struct sigv4_field){"X-Amz-Date", date};
  fields[n++] = (struct sigv4_field){"X-Amz-Expires", expires};
  fields[n++] = (struct sigv4_field){"X-Amz-SignedHeaders", text_string(&names)};
  if (keys->session_token) fields[n++] = (struct sigv4_field){"X-Amz-Security-Token", keys->session_token};
  if (!sigv4_query(&query, fields, n) ||
      !signature(r, keys, text_string(&query), text_string(&lines), text_string(&names), hex))
    return false;
  url_encode(out, r->path, strlen(r->path), URL_KEEP_SLASHES);
  text_format(out, "?%s&X-Amz-Signature=%s", text_string(&query), hex);
  return !out->failed;
}
