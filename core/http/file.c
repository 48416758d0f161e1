/* file.c - a file as an answer: conditional requests and ranges (RFC 9110 sections 13 and 14). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/parts.h"

static const char date_format[] = "%a, %d %b %Y %H:%M:%S GMT";

struct shown {
  char *etag; /* quoted */
  time_t modified;
  int64_t size, first, last;
  bool part;
};

/* An entity tag in a list of them; W/ is not looked at unless strong ones are asked for. */
static bool list_has_tag(const char *list, const char *etag, bool strong) {
  if (strcmp(list, "*") == 0) return true;
  for (const char *at = list; *at;) {
    at += strspn(at, " \t,");
    bool weak = strncmp(at, "W/", 2) == 0;
    if (weak) at += 2;
    if (*at != '"') return false;
    const char *end = strchr(at + 1, '"');
    if (!end) return false;
    size_t size = (size_t)(end + 1 - at);
    if (size == strlen(etag) && memcmp(at, etag, size) == 0 && !(strong && weak)) return true;
    at = end + 1;
  }
  return false;
}

static bool parse_date(const char *text, time_t *when) {
  struct tm tm = {0};
  const char *end = strptime(text, date_format, &tm);
  if (!end || *end) return false;
  *when = timegm(&tm);
  return true;
}

/* 0: go on; else the status of an answer without a body. */
static int condition(const struct exchange *x, const struct shown *shown) {
  const char *match = http_header(x, "If-Match"), *none = http_header(x, "If-None-Match");
  const char *since = http_header(x, "If-Modified-Since");
  time_t when;
  if (match && !list_has_tag(match, shown->etag, true)) return 412;
  if (none) return list_has_tag(none, shown->etag, false) ? 304 : 0;
  return since && parse_date(since, &when) && shown->modified <= when ? 304 : 0;
}

static bool parse_number(const char **at, int64_t *n) {
  size_t digits = strspn(*at, "0123456789");
  if (digits == 0 || digits > 18) return false;
  *n = strtoll(*at, NULL, 10);
  *at += digits;
  return true;
}

/* One range. false: malformed or several of them, which is answered with the whole. first > last: not satisfiable. */
static bool parse_range(const char *text, int64_t size, int64_t *first, int64_t *last) {
  if (strncasecmp(text, "bytes=", 6) != 0) return false;
  text += 6 + strspn(text + 6, " \t");
  if (*text == '-') {
    int64_t n;
    text++;
    if (!parse_number(&text, &n) || *text) return false;
    *first = n > size ? 0 : size - n;
    *last = n == 0 ? *first - 1 : size - 1;
    return true;
  }
  if (!parse_number(&text, first) || *text++ != '-') return false;
  *last = size - 1;
  if (*text && (!parse_number(&text, last) || *text || *last < *first)) return false;
  if (*last >= size) *last = size - 1;
  return true;
}

static bool range_is_fresh(const struct exchange *x, const struct shown *shown) {
  const char *unless = http_header(x, "If-Range");
  time_t when;
  if (!unless) return true;
  return *unless == '"' ? strcmp(unless, shown->etag) == 0 : parse_date(unless, &when) && when == shown->modified;
}

/* 200, 206 or 416 */
static int choose_range(const struct exchange *x, struct shown *shown) {
  const char *range = http_header(x, "Range");
  int64_t first, last;
  shown->first = 0, shown->last = shown->size - 1;
  if (!range || x->head || !range_is_fresh(x, shown) || !parse_range(range, shown->size, &first, &last)) return 200;
  if (first > last || first >= shown->size) return 416;
  shown->first = first, shown->last = last, shown->part = true;
  return 206;
}

static void set_disposition(struct exchange *x, const char *name) {
  struct buf buf_auto text = {0};
  if (!name) return;
  buf_text(&text, "attachment; filename=\"");
  for (const char *at = name; *at; at++)
    buf_char(&text, (unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e || strchr("\"\\%/", *at) ? '_' : *at);
  buf_text(&text, "\"; filename*=UTF-8''");
  for (const char *at = name; *at; at++)
    if (strchr("!#$&+-.^_`|~", *at) || (*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') ||
        (*at >= 'a' && *at <= 'z'))
      buf_char(&text, *at);
    else
      buf_format(&text, "%%%02X", (unsigned char)*at);
  http_set_header(x, "Content-Disposition", buf_string(&text));
}

static bool has_header(const struct exchange *x, const char *name) {
  for (size_t i = 0; i < x->answer_headers.count; i++)
    if (strcasecmp(x->answer_headers.items[i].name, name) == 0) return true;
  return false;
}

static void set_headers(struct exchange *x, const struct shown *shown) {
  char date[64];
  struct tm tm;
  http_set_header(x, "ETag", shown->etag);
  http_set_header(x, "Accept-Ranges", "bytes");
  if (gmtime_r(&shown->modified, &tm) && strftime(date, sizeof(date), date_format, &tm))
    http_set_header(x, "Last-Modified", date);
  if (!has_header(x, "Cache-Control")) http_set_header(x, "Cache-Control", "private, no-cache");
}

static void send_part(struct exchange *x, int fd, int status, const char *type, const struct shown *shown) {
  int64_t at = shown->first, left = shown->last + 1 - shown->first;
  struct buf buf_auto head = {0};
  answer_head(x, &head, status, type, left);
  char *mem_auto block = mem_alloc(COPY_BYTES + head.size);
  size_t filled = head.size;
  memcpy(block, head.data, head.size);
  do {
    size_t room = COPY_BYTES + head.size - filled, want = left < (int64_t)room ? (size_t)left : room;
    ssize_t got = x->head || want == 0 ? 0 : pread(fd, block + filled, want, at);
    if (got > 0) filled += (size_t)got, at += got, left -= got;
    if (filled == 0 || !answer_send(x, block, filled)) break;
    filled = 0;
  } while (!x->head && left > 0);
  /* The file has shrunk under us: the length that was promised cannot be kept, so the connection ends. */
  if (left > 0 && !x->head) x->broken = x->close = true;
}

static char *make_etag(const char *given, const struct stat *st) {
  if (given && !strpbrk(given, "\"\r\n")) return mem_format("\"%s\"", given);
  return mem_format("\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"", (uint64_t)st->st_ino, (uint64_t)st->st_size,
                    (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec);
}

void http_file(struct exchange *x, int fd, const char *type, const char *etag, const char *attachment) {
  struct stat st;
  fd_auto int owned = fd;
  if (fstat(owned, &st) != 0 || !S_ISREG(st.st_mode)) {
    http_problem(x, 404, "not-found", "there is no such file");
    return;
  }
  struct shown shown = {.etag = make_etag(etag, &st), .modified = st.st_mtim.tv_sec, .size = st.st_size};
  int status = condition(x, &shown);
  set_headers(x, &shown);
  if (!status) status = choose_range(x, &shown);
  char range[80];
  if (shown.part)
    snprintf(range, sizeof(range), "bytes %" PRId64 "-%" PRId64 "/%" PRId64, shown.first, shown.last, shown.size);
  else
    snprintf(range, sizeof(range), "bytes */%" PRId64, shown.size);
  if (status == 206 || status == 416) http_set_header(x, "Content-Range", range);
  if (status == 200 || status == 206) {
    set_disposition(x, attachment);
    send_part(x, owned, status, type, &shown);
  } else if (status == 304) {
    http_empty(x, 304);
  } else if (status == 416) {
    http_problem(x, 416, "range", "the range lies outside of the file, which has %" PRId64 " bytes", shown.size);
  } else {
    http_problem(x, 412, "conflict", "the file is not the one that was asked for any more");
  }
  free(shown.etag);
}
