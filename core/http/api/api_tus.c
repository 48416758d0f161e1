/* api_tus.c - resumable uploads by tus 1.0 (https://tus.io/protocols/resumable-upload): the core protocol with
 * creation, creation-with-upload, termination, checksum and expiration. The address of an upload ends in its key, by
 * which it is confirmed like any other. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/upload_parts.h"
#include "base/mem.h"
#include "service/upload_piece.h"

enum { PIECE = 32 * 1024, METADATA_MAX = 4096, NAME_BYTES = 255 };
static const char tus_path[] = "/api/v1/uploads/tus/", tus_type[] = "application/offset+octet-stream";

/* ---- headers ---------------------------------------------------------------------------------------------------- */

static void set_number(struct exchange *x, const char *name, int64_t n) {
  char text[32];
  snprintf(text, sizeof(text), "%lld", (long long)n);
  http_set_header(x, name, text);
}

/* IMF-fixdate, RFC 9110 section 5.6.7. */
static void set_date(struct exchange *x, const char *name, int64_t wall_us) {
  char text[64];
  time_t seconds = (time_t)(wall_us / 1000000);
  struct tm t;
  if (wall_us && gmtime_r(&seconds, &t) && strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &t))
    http_set_header(x, name, text);
}

static bool speaks_tus(struct exchange *x) {
  const char *version = http_header(x, "Tus-Resumable");
  http_set_header(x, "Tus-Resumable", "1.0.0");
  http_set_header(x, "Cache-Control", "no-store");
  if (version && strcmp(version, "1.0.0") == 0) return true;
  http_set_header(x, "Tus-Version", "1.0.0");
  http_problem(x, 412, "version", "the header Tus-Resumable has to be 1.0.0");
  return false;
}

static bool header_number(struct exchange *x, const char *name, int64_t *n) {
  const char *text = http_header(x, name);
  size_t digits = text ? strspn(text, "0123456789") : 0;
  *n = digits && digits <= 18 && !text[digits] ? strtoll(text, NULL, 10) : -1;
  if (*n >= 0) return true;
  http_problem(x, 400, "invalid", "the header %s has to be a number of bytes", name);
  return false;
}

/* Standard base64; NULL when it is none. Owned; *size may be NULL. */
static char *base64_read(const char *text, size_t length, size_t *size) {
  size_t padding = length && text[length - 1] == '=' ? 1 + (length > 1 && text[length - 2] == '=') : 0;
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (length % 4 || strspn(text, allowed) < length - padding) return NULL;
  char *out = mem_alloc(length / 4 * 3 + 1);
  int n = length ? EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)length) : 0;
  if (n < (int)padding) {
    free(out);
    return NULL;
  }
  out[n - (int)padding] = '\0';
  if (size) *size = (size_t)n - padding;
  return out;
}

/* ---- beginning one ---------------------------------------------------------------------------------------------- */

/* "filename d29ybGQ=,is_public,filetype dmlkZW8=" to a map of texts; false: malformed. */
static bool metadata_read(const char *header, struct value *metadata) {
  if (strlen(header) > METADATA_MAX) return false;
  for (const char *at = header; *at;) {
    at += strspn(at, " ");
    size_t pair = strcspn(at, ","), name_size = strcspn(at, " ,");
    const char *value = at + name_size + (name_size < pair);
    size_t size = pair - (size_t)(value - at);
    while (size && value[size - 1] == ' ') size--;
    mem_auto char *name = mem_text_n(at, name_size), *encoded = mem_text_n(value, size);
    size_t decoded_size = 0;
    mem_auto char *decoded = base64_read(encoded, size, &decoded_size);
    if (!name_size || !decoded || strlen(decoded) != decoded_size || value_get(metadata, name)) return false;
    value_set_text(metadata, name, decoded);
    at += pair + (at[pair] == ',');
  }
  return true;
}

static const char *either(const struct value *metadata, const char *first, const char *second, const char *otherwise) {
  const char *text = value_get_text(metadata, first, NULL);
  if (!text || !*text) text = value_get_text(metadata, second, NULL);
  return text && *text ? text : otherwise;
}

static const char *not_empty(const struct value *metadata, const char *key) { return either(metadata, key, key, NULL); }

static bool take_metadata(struct exchange *x, const struct value *metadata, struct upload *u) {
  static const char *const names[] = {"filename", "name", "asset", "pipeline"};
  const char *params = not_empty(metadata, "params");
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    if (strlen(value_get_text(metadata, names[i], "")) > NAME_BYTES) {
      http_problem(x, 400, "invalid", "'%s' in Upload-Metadata is longer than %d bytes", names[i], NAME_BYTES);
      return false;
    }
  u->filename = mem_text(either(metadata, "filename", "name", "file"));
  u->content_type = mem_text(either(metadata, "filetype", "type", "application/octet-stream"));
  u->asset = mem_text(not_empty(metadata, "asset"));
  u->pipeline = mem_text(not_empty(metadata, "pipeline"));
  if (!upload_type_is_good(u->content_type))
    http_problem(x, 400, "invalid", "'filetype' in Upload-Metadata has to be a media type: video/mp4");
  else if (params && (value_from_json(params, strlen(params), &u->params, NULL) || u->params->type != VALUE_MAP))
    http_problem(x, 400, "invalid", "'params' in Upload-Metadata has to be a JSON object");
  else
    return true;
  return false;
}

static bool announced(struct exchange *x, struct upload *u) {
  const char *header = http_header(x, "Upload-Metadata");
  value_auto struct value *metadata = value_map();
  if (http_header(x, "Upload-Defer-Length") || http_header(x, "Upload-Concat")) {
    http_problem(x, 400, "unsupported", "uploads begin with their length here, and are not put together from others");
    return false;
  }
  if (!header_number(x, "Upload-Length", &u->length)) return false;
  if (header && !metadata_read(header, metadata)) {
    http_problem(x, 400, "invalid", "Upload-Metadata has to be `name base64,name base64`, %d bytes at most",
                 METADATA_MAX);
    return false;
  }
  u->owner = mem_text(api_subject(x));
  u->metadata = mem_text(header ? header : "");
  return take_metadata(x, metadata, u);
}

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

struct checksum_header {
  char algorithm[16];
  char *wanted; /* raw; NULL: no checksum */
  size_t size;
};

static bool checksum_read(struct exchange *x, struct checksum_header *sum) {
  const char *header = http_header(x, "Upload-Checksum");
  *sum = (struct checksum_header){0};
  if (!header) return true;
  size_t name = strcspn(header, " ");
  if (name < sizeof(sum->algorithm) && header[name]) {
    memcpy(sum->algorithm, header, name);
    sum->wanted = base64_read(header + name + 1, strlen(header + name + 1), &sum->size);
  }
  if (sum->wanted && upload_piece_knows(sum->algorithm)) return true;
  free(sum->wanted);
  sum->wanted = NULL;
  http_problem(x, 400, "invalid",
               "Upload-Checksum has to be one of " UPLOAD_PIECE_ALGORITHMS " and its digest in base64");
  return false;
}

static enum err piece_copy(struct exchange *x, struct upload_piece *piece, struct error *e) {
  mem_auto char *bytes = mem_alloc(PIECE);
  ssize_t got = 0;
  while (!http_is_draining(x) && (got = http_read(x, bytes, PIECE, e)) > 0) {
    if (piece->whole) return error_set(e, ERR_TOO_LARGE, "the upload is complete");
    if (upload_piece_write(piece, bytes, (size_t)got, e)) return e->code;
  }
  if (got > 0) return error_set(e, ERR_BUSY, "the daemon is about to stop: go on when it is back");
  return got < 0 ? e->code : ERR_OK;
}

/* What came is kept, also when the rest did not. */
static enum err piece_take(struct exchange *x, const struct upload *u, int64_t offset,
                           const struct checksum_header *sum, int64_t *reached, struct error *e) {
  struct upload_piece piece;
  struct error closing = {0};
  enum err err = upload_piece_open(&piece, api_service(x), u, offset, sum->wanted ? sum->algorithm : NULL, sum->wanted,
                                   sum->size, e);
  if (err) return err;
  err = piece_copy(x, &piece, e);
  enum err closed = upload_piece_close(&piece, !err, &closing);
  *reached = piece.offset;
  if (err || !closed) return err;
  *e = closing;
  return closed;
}

static void tus_error(struct exchange *x, const struct error *e) {
  if (e->code == ERR_CORRUPT)
    http_problem(x, 460, "checksum", "%s", e->message); /* tus: Checksum Mismatch */
  else if (e->code == ERR_BUSY && http_is_draining(x))
    http_problem(x, 503, "busy", "%s", e->message);
  else
    http_error(x, e);
}

/* The upload of the address, locked, when the caller may change it; otherwise it was answered. */
static bool tus_take(struct exchange *x, bool reads, struct upload *u) {
  const char *key = http_param(x, "key");
  struct error e = {0};
  enum err err = reads ? upload_lock_to_read(key, upload_readers(api_service(x)), &e) : upload_lock(key, UPLOAD_SETTLE_US, &e);
  if (err) {
    http_problem(x, 423, "busy", "%s", e.message);
    return false;
  }
  err = upload_get_of(api_service(x), http_principal(x), key, true, u, &e);
  if (!err && !u->metadata) {
    upload_clear(u);
    err = error_set(&e, ERR_NOT_FOUND, "there is no upload in pieces %.200s", key);
  }
  if (!err && !u->confirmed && u->due_us && u->due_us <= clock_wall(&clock_system)) {
    http_problem(x, 410, "gone", "the upload has expired: begin a new one");
    upload_clear(u);
  } else if (err) {
    http_error(x, &e);
  } else {
    return true;
  }
  upload_unlock(key);
  return false;
}

static void tus_release(struct exchange *x, struct upload *u) {
  upload_unlock(http_param(x, "key"));
  upload_clear(u);
}

static void set_state(struct exchange *x, const struct upload *u, int64_t offset) {
  set_number(x, "Upload-Offset", offset);
  if (!u->confirmed) set_date(x, "Upload-Expires", u->due_us);
}

/* What can be said before a byte is read. */
static bool piece_fits(struct exchange *x, const struct upload *u, int64_t offset) {
  const char *type = http_header(x, "Content-Type");
  if (!type || !upload_type_is(type, tus_type))
    http_problem(x, 415, "unsupported", "a piece comes as %s", tus_type);
  else if (offset <= u->length && http_content_length(x) > u->length - offset)
    http_problem(x, 413, "too-large", "the upload was announced with %lld bytes", (long long)u->length);
  else
    return true;
  return false;
}

static void patch_locked(struct exchange *x, const struct upload *u) {
  struct checksum_header sum;
  struct error e = {0};
  int64_t offset, reached = 0;
  if (!header_number(x, "Upload-Offset", &offset) || !piece_fits(x, u, offset) || !checksum_read(x, &sum)) return;
  if (piece_take(x, u, offset, &sum, &reached, &e)) {
    tus_error(x, &e);
  } else {
    set_state(x, u, reached);
    http_empty(x, 204);
  }
  free(sum.wanted);
}

static void tus_patch(struct exchange *x) {
  struct upload u;
  if (!speaks_tus(x) || !tus_take(x, true, &u)) return;
  patch_locked(x, &u);
  tus_release(x, &u);
}

/* ---- creation --------------------------------------------------------------------------------------------------- */

static bool brings_first_piece(struct exchange *x) {
  const char *type = http_header(x, "Content-Type");
  return type && upload_type_is(type, tus_type) && http_content_length(x) != 0;
}

/* The file is there from the beginning, so that an empty one is complete. */
static enum err first_piece(struct exchange *x, const struct upload *u, int64_t *offset, struct error *e) {
  struct checksum_header sum;
  enum err err = upload_lock_to_read(u->key, upload_readers(api_service(x)), e);
  if (err) return err;
  err = upload_piece_offset(api_service(x), u, offset, e);
  if (!err && brings_first_piece(x)) {
    if (!checksum_read(x, &sum)) {
      upload_unlock(u->key);
      return ERR_OK; /* answered */
    }
    err = piece_take(x, u, 0, &sum, offset, e);
    free(sum.wanted);
  }
  upload_unlock(u->key);
  return err;
}

static void tus_created(struct exchange *x, const struct upload *u) {
  struct error e = {0};
  int64_t offset = 0;
  mem_auto char *address = mem_format("%s%s%s", http_origin(x), tus_path, u->key);
  http_set_header(x, "Location", address);
  if (first_piece(x, u, &offset, &e)) {
    tus_error(x, &e);
    return;
  }
  set_state(x, u, offset);
  http_empty(x, 201);
}

static void tus_create(struct exchange *x) {
  struct upload u = {0};
  struct error e = {0};
  if (!speaks_tus(x)) return;
  if (announced(x, &u)) {
    if (upload_announced_checks(x, &u, &e) || upload_announce(api_service(x), &u, &e))
      http_error(x, &e);
    else
      tus_created(x, &u);
  }
  upload_clear(&u);
}

/* ---- the rest --------------------------------------------------------------------------------------------------- */

static void tus_head(struct exchange *x) {
  struct upload u;
  struct error e = {0};
  int64_t offset;
  if (!speaks_tus(x) || !tus_take(x, false, &u)) return;
  if (upload_piece_offset(api_service(x), &u, &offset, &e)) {
    http_error(x, &e);
  } else {
    set_state(x, &u, offset);
    set_number(x, "Upload-Length", u.length);
    if (*u.metadata) http_set_header(x, "Upload-Metadata", u.metadata);
    http_empty(x, 200);
  }
  tus_release(x, &u);
}

static void tus_delete(struct exchange *x) {
  if (speaks_tus(x)) upload_delete(x);
}

static void tus_options(struct exchange *x) {
  http_set_header(x, "Tus-Resumable", "1.0.0");
  http_set_header(x, "Tus-Version", "1.0.0");
  http_set_header(x, "Tus-Extension", "creation,creation-with-upload,termination,checksum,expiration");
  http_set_header(x, "Tus-Checksum-Algorithm", UPLOAD_PIECE_ALGORITHMS);
  set_number(x, "Tus-Max-Size", upload_limit(api_service(x)));
  http_empty(x, 204);
}

/* For clients that can only POST. */
static void tus_override(struct exchange *x) {
  const char *method = http_header(x, "X-HTTP-Method-Override");
  if (method && strcmp(method, "PATCH") == 0)
    tus_patch(x);
  else if (method && strcmp(method, "DELETE") == 0)
    tus_delete(x);
  else if (method && strcmp(method, "HEAD") == 0)
    tus_head(x);
  else
    http_problem(x, 405, "method-not-allowed", "an upload is changed with PATCH, or X-HTTP-Method-Override: PATCH");
}

static const struct route routes[] = {
    {"OPTIONS", "/api/v1/uploads/tus/", 0, ROUTE_OPEN, tus_options, "tusOptions"},
    {"OPTIONS", "/api/v1/uploads/tus", 0, ROUTE_OPEN, tus_options, NULL},
    {"OPTIONS", "/api/v1/uploads/tus/{key...}", 0, ROUTE_OPEN, tus_options, NULL},
    {"POST", "/api/v1/uploads/tus/", SCOPE_SUBMIT, ROUTE_STREAM, tus_create, "tusCreate"},
    {"POST", "/api/v1/uploads/tus", SCOPE_SUBMIT, ROUTE_STREAM, tus_create, NULL},
    {"POST", "/api/v1/uploads/tus/{key...}", SCOPE_SUBMIT, ROUTE_STREAM, tus_override, NULL},
    {"HEAD", "/api/v1/uploads/tus/{key...}", SCOPE_SUBMIT, 0, tus_head, "tusHead"},
    {"PATCH", "/api/v1/uploads/tus/{key...}", SCOPE_SUBMIT, ROUTE_STREAM, tus_patch, "tusPatch"},
    {"DELETE", "/api/v1/uploads/tus/{key...}", SCOPE_SUBMIT, 0, tus_delete, "tusDelete"},
};
const struct api_table api_tus = API_TABLE(routes);
