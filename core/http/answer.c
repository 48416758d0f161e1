#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/parts.h"

static const struct {
  int status;
  const char *phrase;
} phrases[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {460, "Checksum Mismatch"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *answer_phrase(int status) {
  for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
    if (phrases[i].status == status) return phrases[i].phrase;
  return status < 400 ? "OK" : status < 500 ? "Client Error" : "Server Error";
}

/* What goes out with every answer unless its handler says otherwise. Documents of users must never run as pages of
 * ours. */
static const struct {
  const char *name, *value;
} always[] = {
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Frame-Options", "DENY"},
    {"Content-Security-Policy",
     "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"},
    {"Cache-Control", "no-store"},
};

static bool is_token(const char *name) {
  static const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return *name && name[strspn(name, allowed)] == '\0';
}

static bool is_field_value(const char *value) {
  for (; *value; value++)
    if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f) return false;
  return true;
}

static struct param *find_header(struct exchange *x, const char *name) {
  for (size_t i = 0; i < x->answer_headers.count; i++)
    if (strcasecmp(x->answer_headers.items[i].name, name) == 0) return &x->answer_headers.items[i];
  return NULL;
}

/* These may be said in several places; the others are replaced. */
static bool is_list(const char *name) { return strcasecmp(name, "Vary") == 0 || strcasecmp(name, "Link") == 0; }

void http_set_header(struct exchange *x, const char *name, const char *value) {
  if (!is_token(name) || !value || !is_field_value(value)) {
    log_warning("http: the header %.40s of an answer was dropped: it holds what a header may not", name);
    return;
  }
  struct param *old = find_header(x, name);
  if (!old) {
    params_add(&x->answer_headers, name, strlen(name), mem_text(value));
    return;
  }
  char *text = is_list(name) ? mem_format("%s, %s", old->value, value) : mem_text(value);
  free(old->value);
  old->value = text;
}

static void add_date(struct buf *out) {
  char text[64];
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  if (strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm)) buf_format(out, "Date: %s\r\n", text);
}

static bool has_no_body(int status) { return status == 204 || status == 304 || status < 200; }

void answer_head(struct exchange *x, struct buf *out, int status, const char *type, int64_t length) {
  x->status = status;
  /* Bytes of a body that nobody read would be taken for the next request. */
  if (!x->body_done || x->http10 || atomic_load(&x->server->draining)) x->close = true;
  cors_decorate(x);
  buf_format(out, "HTTP/1.1 %d %s\r\n", status, answer_phrase(status));
  add_date(out);
  if (type) buf_format(out, "Content-Type: %s\r\n", type);
  if (length >= 0 && !has_no_body(status)) buf_format(out, "Content-Length: %lld\r\n", (long long)length);
  if (length < 0 && x->chunked) buf_text(out, "Transfer-Encoding: chunked\r\n");
  buf_format(out, "X-Request-Id: %s\r\n", x->request_id);
  for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
    if (!find_header(x, always[i].name)) buf_format(out, "%s: %s\r\n", always[i].name, always[i].value);
  for (size_t i = 0; i < x->answer_headers.count; i++)
    buf_format(out, "%s: %s\r\n", x->answer_headers.items[i].name, x->answer_headers.items[i].value);
  buf_format(out, "Connection: %s\r\n\r\n", x->close ? "close" : "keep-alive");
}

/* In pieces that a slow peer takes within the time that it is given when threads are short. */
bool answer_send(struct exchange *x, const void *data, size_t size) {
  enum { PIECE_BYTES = 16 * 1024 };
  if (x->broken) return false;
  enum slot_state before = x->slot ? x->slot->state : SLOT_BUSY;
  const char *at = data;
  while (size > 0 && !x->broken) {
    size_t piece = size < PIECE_BYTES ? size : PIECE_BYTES;
    if (before != SLOT_LINGER) slot_turn(x->slot, SLOT_WRITING);
    int wrote = mg_write(x->connection, at, piece);
    if (wrote != (int)piece) x->broken = x->close = true; /* a short count means that the peer does not take any more */
    if (wrote > 0) slot_moved(x->slot, (size_t)wrote), x->sent += (uint64_t)wrote;
    at += piece;
    size -= piece;
  }
  slot_turn(x->slot, before);
  return !x->broken;
}

void http_text(struct exchange *x, int status, const char *type, const void *body, size_t size) {
  if (x->status) {
    log_error("http: %s %s was answered twice (%d, then %d): the second is dropped", http_method(x), x->path, x->status,
              status);
    return;
  }
  struct buf buf_auto out = {0};
  answer_head(x, &out, status, type, (int64_t)size);
  if (!x->head && !has_no_body(status)) buf_add(&out, body, size);
  answer_send(x, out.data, out.size);
}

void http_json(struct exchange *x, int status, const struct value *body) {
  struct buf buf_auto text = {0};
  value_json(&text, body, VALUE_JSON_COMPACT);
  buf_char(&text, '\n');
  http_text(x, status, "application/json", buf_string(&text), text.size);
}

void http_empty(struct exchange *x, int status) { http_text(x, status, NULL, "", 0); }

static void problem(struct exchange *x, int status, const char *code, const char *detail) {
  struct value *value_auto body = value_map();
  char type[96];
  snprintf(type, sizeof(type), "urn:stagemill:%.64s", code ? code : "");
  value_set_text(body, "type", code ? type : "about:blank");
  value_set_text(body, "title", answer_phrase(status));
  value_set_int(body, "status", status);
  value_set_text(body, "detail", detail);
  if (code) value_set_text(body, "code", code);
  value_set_text(body, "requestId", x->request_id);
  struct buf buf_auto text = {0};
  value_json(&text, body, VALUE_JSON_COMPACT);
  buf_char(&text, '\n');
  http_text(x, status, "application/problem+json", buf_string(&text), text.size);
}

void http_problem(struct exchange *x, int status, const char *code, const char *format, ...) {
  char detail[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(detail, sizeof(detail), format, args);
  va_end(args);
  log_scrub(detail);
  problem(x, status, code, detail);
}

static const struct {
  enum err code;
  int status;
} statuses[] = {
    {ERR_INVALID, 400},  {ERR_USAGE, 400},     {ERR_DENIED, 403},      {ERR_NOT_FOUND, 404}, {ERR_CONFLICT, 409},
    {ERR_STALE, 409},    {ERR_TOO_LARGE, 413}, {ERR_BUSY, 429},        {ERR_NO_SPACE, 507},  {ERR_TIMEOUT, 504},
    {ERR_PROTOCOL, 400}, {ERR_LOST, 400},      {ERR_UNSUPPORTED, 501},
};

void http_error(struct exchange *x, const struct error *e) {
  int status = 500;
  for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
    if (statuses[i].code == e->code) status = statuses[i].status;
  if (status >= 500) log_error("http: request %s: %s%s%s", x->request_id, e->message, *e->debug ? ": " : "", e->debug);
  if (e->code == ERR_BUSY && !find_header(x, "Retry-After")) http_set_header(x, "Retry-After", "2");
  http_problem(x, status, err_word(e->code), "%s", e->message);
}
