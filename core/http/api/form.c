#include "api/form.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"

enum { BLOCK = 64 * 1024, HEADERS_MAX = 8 * 1024, BOUNDARY_MAX = 70, PARTS_MAX = 16, NAME_MAX_BYTES = 120 };

struct reading {
  struct exchange *x;
  const struct form_limits *limits;
  const char *folder;
  struct form *form;
  struct error *e;
  char delimiter[BOUNDARY_MAX + 8]; /* CR LF -- boundary */
  size_t delimiter_size;
  char *data; /* BLOCK bytes of the body that were not used yet */
  size_t size;
  bool ended; /* the body has no more */
  int fd;
  struct digest *digest;
};

char *form_file_name(const char *sent) {
  const char *slash = strrchr(sent, '/'), *back = strrchr(sent, '\\');
  const char *name = slash && (!back || slash > back) ? slash + 1 : back ? back + 1 : sent;
  size_t size = strlen(name);
  if (size > NAME_MAX_BYTES) { /* the end is kept: it says what the file is */
    name += size - NAME_MAX_BYTES;
    while ((*name & 0xc0) == 0x80) name++;
  }
  struct buf out = {0};
  for (; *name; name++) {
    bool bad = (unsigned char)*name < 0x20 || *name == 0x7f || (*name == '.' && !out.size);
    buf_char(&out, bad ? '_' : *name);
  }
  if (!out.size) buf_text(&out, "file");
  return buf_take(&out);
}

void form_clear(struct form *form) {
  buf_free(&form->request);
  free(form->path);
  free(form->name);
  form->path = form->name = NULL;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------ */

/* Fills up the block. False: an error. */
static bool more(struct reading *r) {
  while (!r->ended && r->size < BLOCK) {
    ssize_t n = http_read(r->x, r->data + r->size, BLOCK - r->size, r->e);
    if (n < 0) return false;
    if (n == 0) r->ended = true;
    r->size += (size_t)n;
  }
  return true;
}

static void used(struct reading *r, size_t size) {
  memmove(r->data, r->data + size, r->size - size);
  r->size -= size;
}

/* ---- where a part goes ---------------------------------------------------------------------------------------------------- */

static enum err file_open(struct reading *r, const char *sent) {
  if (r->form->path) return error_set(r->e, ERR_INVALID, "the request has two parts named file: send one");
  if (fs_make_folders(r->folder, 0700, r->e)) return r->e->code;
  r->form->name = form_file_name(sent);
  r->form->path = mem_format("%s/%s", r->folder, r->form->name);
  r->fd = open(r->form->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (r->fd < 0) return error_errno(r->e, errno, "cannot store the file %s", r->form->name);
  r->digest = digest_new();
  return ERR_OK;
}

static enum err file_write(struct reading *r, const char *data, size_t size) {
  r->form->bytes += (int64_t)size;
  if (r->limits->file_bytes && r->form->bytes > r->limits->file_bytes)
    return error_set(r->e, ERR_TOO_LARGE, "the file is larger than the %lld bytes that may be sent",
                     (long long)r->limits->file_bytes);
  digest_add(r->digest, data, size);
  while (size) {
    ssize_t n = write(r->fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_errno(r->e, errno, "cannot store the file %s", r->form->name);
    data += n;
    size -= (size_t)n;
  }
  return ERR_OK;
}

static enum err file_close(struct reading *r) {
  digest_hex(&r->digest, r->form->sha256);
  enum err err = fsync(r->fd) ? error_errno(r->e, errno, "cannot store the file %s", r->form->name) : ERR_OK;
  fd_close_at(&r->fd);
  r->fd = -1;
  return err ? err : fs_sync_folder(r->folder, r->e);
}

static enum err request_add(struct reading *r, const char *data, size_t size) {
  if (r->form->request.size + size > r->limits->request_bytes)
    return error_set(r->e, ERR_TOO_LARGE, "the request is larger than %zu bytes", r->limits->request_bytes);
  buf_add(&r->form->request, data, size);
  return ERR_OK;
}

enum part { PART_REQUEST = 1, PART_FILE };

static enum err part_write(struct reading *r, enum part part, size_t size) {
  enum err err = part == PART_FILE ? file_write(r, r->data, size) : request_add(r, r->data, size);
  used(r, size);
  return err;
}

/* ---- multipart ---------------------------------------------------------------------------------------------------------------- */

/* name="file" of a Content-Disposition; owned, NULL: absent. A quoted value ends at its quote, \" and \\ are escapes. */
static char *disposition(const char *line, const char *parameter) {
  size_t size = strlen(parameter);
  for (const char *s = strchr(line, ';'); s; s = strchr(s, ';')) {
    s += 1 + strspn(s + 1, " \t");
    if (strncasecmp(s, parameter, size) != 0 || s[size] != '=') continue;
    s += size + 1;
    struct buf out = {0};
    if (*s != '"') return mem_text_n(s, strcspn(s, "; \t\r\n"));
    for (s++; *s && *s != '"'; s++) {
      if (*s == '\\' && (s[1] == '"' || s[1] == '\\')) s++;
      buf_char(&out, *s);
    }
    return buf_take(&out);
  }
  return NULL;
}

static enum err part_begin(struct reading *r, const char *headers, enum part *part) {
  static const char field[] = "content-disposition:";
  const char *line = headers;
  while (line && strncasecmp(line, field, sizeof field - 1) != 0) line = (line = strchr(line, '\n')) ? line + 1 : NULL;
  mem_auto char *own = line ? mem_text_n(line, strcspn(line, "\r\n")) : NULL;
  mem_auto char *name = own ? disposition(own, "name") : NULL, *file = own ? disposition(own, "filename") : NULL;
  if (!name) return error_set(r->e, ERR_INVALID, "a part of the request has no name");
  if (strcmp(name, "request") == 0) {
    *part = PART_REQUEST;
    if (r->form->request.size) return error_set(r->e, ERR_INVALID, "the request has two parts named request: send one");
    return ERR_OK;
  }
  *part = PART_FILE;
  if (strcmp(name, "file") != 0)
    return error_set(r->e, ERR_INVALID, "there is no part '%.40s' here: valid are request and file", name);
  return file_open(r, file ? file : "file");
}

/* The headers of a part, without the blank line behind them. */
static enum err part_headers(struct reading *r, char **headers) {
  if (!more(r)) return r->e->code;
  char *end = memmem(r->data, r->size, "\r\n\r\n", 4);
  if (!end || end - r->data > HEADERS_MAX)
    return error_set(r->e, ERR_INVALID, "the request is no multipart/form-data: a part's headers do not end");
  *headers = mem_text_n(r->data, (size_t)(end - r->data));
  used(r, (size_t)(end - r->data) + 4);
  return ERR_OK;
}

/* Up to the next delimiter, which is used up too. */
static enum err part_body(struct reading *r, enum part part) {
  for (;;) {
    if (!more(r)) return r->e->code;
    char *end = memmem(r->data, r->size, r->delimiter, r->delimiter_size);
    size_t safe = end ? (size_t)(end - r->data) : r->size > r->delimiter_size ? r->size - r->delimiter_size : 0;
    if (!end && r->ended) return error_set(r->e, ERR_INVALID, "the request ends in the middle of a part");
    if (safe && part_write(r, part, safe)) return r->e->code;
    if (!end) continue;
    used(r, r->delimiter_size);
    return part == PART_FILE ? file_close(r) : ERR_OK;
  }
}

/* Behind a delimiter: "--" ends it all, a line's end begins the next part. */
static enum err part_next(struct reading *r, bool *last) {
  if (!more(r)) return r->e->code;
  *last = r->size >= 2 && memcmp(r->data, "--", 2) == 0;
  size_t blanks = 0;
  while (blanks < r->size && (r->data[blanks] == ' ' || r->data[blanks] == '\t')) blanks++;
  if (*last) return ERR_OK;
  if (r->size < blanks + 2 || memcmp(r->data + blanks, "\r\n", 2) != 0)
    return error_set(r->e, ERR_INVALID, "the request is no multipart/form-data: a boundary is followed by something else");
  used(r, blanks + 2);
  return ERR_OK;
}

static enum err multipart_read(struct reading *r) {
  bool last = false;
  if (!more(r)) return r->e->code;
  /* The first delimiter may stand at the very beginning, without the line's end before it. */
  size_t begin = r->delimiter_size - 2;
  if (r->size < begin || memcmp(r->data, r->delimiter + 2, begin) != 0)
    return error_set(r->e, ERR_INVALID, "the request is no multipart/form-data: it does not begin with its boundary");
  used(r, begin);
  for (unsigned parts = 0;; parts++) {
    mem_auto char *headers = NULL;
    enum part part = PART_REQUEST;
    if (part_next(r, &last)) return r->e->code;
    if (last) break;
    if (parts == PARTS_MAX) return error_set(r->e, ERR_INVALID, "the request has more than %d parts", PARTS_MAX);
    if (part_headers(r, &headers) || part_begin(r, headers, &part) || part_body(r, part)) return r->e->code;
  }
  while (!r->ended && more(r)) r->size = 0; /* an epilogue says nothing */
  if (!r->form->request.size) return error_set(r->e, ERR_INVALID, "the part 'request' is missing: it holds the submission as JSON");
  return ERR_OK;
}

static enum err boundary_read(struct reading *r, const char *type) {
  mem_auto char *boundary = disposition(type, "boundary");
  size_t size = boundary ? strlen(boundary) : 0;
  if (!size || size > BOUNDARY_MAX)
    return error_set(r->e, ERR_INVALID, "the Content-Type has no boundary of 1 to %d characters", BOUNDARY_MAX);
  memcpy(r->delimiter, "\r\n--", 4);
  memcpy(r->delimiter + 4, boundary, size);
  r->delimiter_size = size + 4;
  return ERR_OK;
}

/* ---- either ------------------------------------------------------------------------------------------------------------------- */

static enum err json_read(struct reading *r) {
  while (!r->ended || r->size) {
    if (!more(r)) return r->e->code;
    if (request_add(r, r->data, r->size)) return r->e->code;
    r->size = 0;
  }
  return ERR_OK;
}

static bool type_is(const char *type, const char *wanted) {
  size_t size = strlen(wanted);
  return type && strncasecmp(type, wanted, size) == 0 && (!type[size] || strchr("; \t", type[size]));
}

static void reading_end(struct reading *r, enum err err) {
  char unused[65];
  if (r->digest) digest_hex(&r->digest, unused);
  if (r->fd >= 0) close(r->fd);
  if (err && r->form->path) unlink(r->form->path);
  if (err) form_clear(r->form);
  free(r->data);
}

enum err form_read(struct exchange *x, const char *folder, const struct form_limits *limits, struct form *form,
                   struct error *e) {
  const char *type = http_header(x, "Content-Type");
  struct reading r = {.x = x, .limits = limits, .folder = folder, .form = form, .e = e, .fd = -1};
  memset(form, 0, sizeof *form);
  bool json = type_is(type, "application/json"), multipart = type_is(type, "multipart/form-data");
  if (!json && !multipart)
    return error_set(e, ERR_UNSUPPORTED, "send application/json, or multipart/form-data with the parts request and file");
  r.data = mem_alloc(BLOCK);
  enum err err = multipart ? boundary_read(&r, type) : ERR_OK;
  if (!err) err = multipart ? multipart_read(&r) : json_read(&r);
  reading_end(&r, err);
  return err;
}
