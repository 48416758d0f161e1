#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "http/parts.h"

const char *const http_socket_paths[] = {"/ws", "/api/v1/stream", NULL};

/* ---- names and values
 * ------------------------------------------------------------------------------------------------------ */

void params_add(struct params *params, const char *name, size_t name_size, char *moved_value) {
  params->items = mem_grow(params->items, params->count + 1, sizeof(*params->items));
  params->items[params->count++] = (struct param){mem_text_n(name, name_size), moved_value};
}

const char *params_get(const struct params *params, const char *name) {
  for (size_t i = 0; i < params->count; i++)
    if (strcmp(params->items[i].name, name) == 0) return params->items[i].value;
  return NULL;
}

void params_clear(struct params *params) {
  for (size_t i = 0; i < params->count; i++) {
    free(params->items[i].name);
    free(params->items[i].value);
  }
  free(params->items);
  *params = (struct params){0};
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)tolower((unsigned char)c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Well-formed UTF-8 by RFC 3629, without control characters. */
static bool is_clean(const char *text) {
  for (const unsigned char *s = (const unsigned char *)text; *s;) {
    if (*s < 0x20 || *s == 0x7f) return false;
    int more = *s < 0x80                 ? 0
               : *s >= 0xc2 && *s < 0xe0 ? 1
               : *s >= 0xe0 && *s < 0xf0 ? 2
               : *s >= 0xf0 && *s < 0xf5 ? 3
                                         : -1;
    if (more < 0) return false;
    unsigned least = more == 2 && *s == 0xe0 ? 0xa0 : more == 3 && *s == 0xf0 ? 0x90 : 0x80;
    unsigned most = more == 2 && *s == 0xed ? 0x9f : more == 3 && *s == 0xf4 ? 0x8f : 0xbf;
    s++;
    for (int i = 0; i < more; i++, s++) {
      if (*s < least || *s > most) return false;
      least = 0x80, most = 0xbf;
    }
  }
  return true;
}

char *request_decode(const char *text, size_t size, bool plus) {
  char *out = mem_alloc(size + 1);
  size_t n = 0;
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (c == '%') {
      if (size - i < 3 || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) goto bad;
      c = (char)(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else if (c == '+' && plus) {
      c = ' ';
    }
    if (c == '\0') goto bad;
    out[n++] = c;
  }
  if (is_clean(out)) return out;
bad:
  free(out);
  return NULL;
}

/* ---- what was asked
 * ---------------------------------------------------------------------------------------------------------- */

void *http_context(struct exchange *x) { return x->server->context; }
const char *http_method(const struct exchange *x) { return x->info->request_method; }
const char *http_path(const struct exchange *x) { return x->path; }
const char *http_param(const struct exchange *x, const char *name) { return params_get(&x->params, name); }
const char *http_peer(const struct exchange *x) { return x->peer; }
const struct principal *http_principal(const struct exchange *x) { return x->has_principal ? &x->principal : NULL; }
int64_t http_content_length(const struct exchange *x) { return x->length; }

const char *http_origin(struct exchange *x) {
  if (!x->origin) x->origin = policy_seen_origin(x->policy, x->info);
  return x->origin;
}

const char *request_header(const struct mg_request_info *info, const char *name) {
  for (int i = 0; i < info->num_headers; i++)
    if (strcasecmp(info->http_headers[i].name, name) == 0) return info->http_headers[i].value;
  return NULL;
}

const char *http_header(const struct exchange *x, const char *name) { return request_header(x->info, name); }

/* True when one of the comma-separated words of a header is this one (Connection, Upgrade). */
bool request_header_lists(const struct mg_request_info *info, const char *name, const char *token) {
  for (int i = 0; i < info->num_headers; i++) {
    if (strcasecmp(info->http_headers[i].name, name) != 0) continue;
    for (const char *at = info->http_headers[i].value; *at;) {
      at += strspn(at, " \t,");
      size_t size = strcspn(at, ","), word = strcspn(at, " \t,;");
      if (word == strlen(token) && strncasecmp(at, token, word) == 0) return true;
      at += size;
    }
  }
  return false;
}

static void parse_query(struct exchange *x) {
  x->query_parsed = true;
  const char *at = x->info->query_string;
  enum { PAIRS_MAX = 100 };
  while (at && *at && x->query.count < PAIRS_MAX) {
    size_t size = strcspn(at, "&"), name_size = strcspn(at, "=&");
    char *name = request_decode(at, name_size, true);
    char *value = name_size < size ? request_decode(at + name_size + 1, size - name_size - 1, true) : mem_text("");
    if (name && *name && value) {
      params_add(&x->query, name, strlen(name), value);
      value = NULL;
    }
    free(name);
    free(value);
    at += size + (at[size] == '&');
  }
}

const char *http_query(struct exchange *x, const char *name) {
  if (!x->query_parsed) parse_query(x);
  return params_get(&x->query, name);
}

enum err http_query_int(struct exchange *x, const char *name, int64_t least, int64_t most, int64_t otherwise,
                        int64_t *n, struct error *e) {
  const char *text = http_query(x, name);
  *n = otherwise;
  if (!text) return ERR_OK;
  char *end;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end || isspace((unsigned char)*text) || *text == '+' || strlen(text) > 19 || value < least ||
      value > most)
    return error_set(e, ERR_USAGE, "the parameter '%s' is '%.40s': it must be a whole number from %lld to %lld", name,
                     text, (long long)least, (long long)most);
  *n = value;
  return ERR_OK;
}

/* ---- what is refused
 * --------------------------------------------------------------------------------------------------------- */

static bool refuse(struct exchange *x, int status, const char *code, const char *why) {
  x->close = true;
  x->body_done = false; /* whatever follows on this connection is not to be trusted */
  http_problem(x, status, code, "%s", why);
  return false;
}

static int count_header(const struct mg_request_info *info, const char *name) {
  int n = 0;
  for (int i = 0; i < info->num_headers; i++) n += strcasecmp(info->http_headers[i].name, name) == 0;
  return n;
}

/* civetweb forgives a space before the colon (RFC 9112 section 5.1: refuse it). It cuts the lines where they stand, so
 * what stood between name and value can still be seen. */
static bool name_is_plain(const struct mg_header *header) {
  const char *at = header->name + strlen(header->name) + 1;
  while (at < header->value && (*at == ' ' || *at == '\t')) at++;
  return at == header->value;
}

/* It ends the headers silently at a line that begins with a space or a colon, and after its own maximum; another server
 * in front may have read on. What follows the last value it took must be the empty line. */
static bool headers_are_complete(const struct mg_request_info *info) {
  if (info->num_headers >= MG_MAX_HEADERS) return false;
  for (int i = 0; i < info->num_headers; i++)
    if (!name_is_plain(&info->http_headers[i])) return false;
  if (info->num_headers == 0) return true;
  const char *value = info->http_headers[info->num_headers - 1].value;
  const char *at = value + strlen(value) + 1;
  if (*at == '\0') at++;
  return *at == '\r' || *at == '\n';
}

static bool headers_are_single(const struct mg_request_info *info, const char **twice) {
  static const char *const once[] = {"Host",
                                     "Content-Length",
                                     "Transfer-Encoding",
                                     "Authorization",
                                     "Content-Type",
                                     "Origin",
                                     "Expect",
                                     "Range",
                                     "Idempotency-Key",
                                     NULL};
  for (const char *const *name = once; *name; name++)
    if (count_header(info, *twice = *name) > 1) return false;
  return true;
}

/* Digits, nothing else (RFC 9110 section 8.6); spaces around a value belong to the line. */
static bool parse_length(const char *text, int64_t *length) {
  size_t digits = strspn(text, "0123456789"), rest = strspn(text + digits, " \t");
  if (digits == 0 || digits > 18 || text[digits + rest]) return false;
  *length = strtoll(text, NULL, 10);
  return true;
}

static bool check_framing(struct exchange *x) {
  const char *length = request_header(x->info, "Content-Length"),
             *coding = request_header(x->info, "Transfer-Encoding");
  if (length && coding) return refuse(x, 400, "protocol", "the request has both Content-Length and Transfer-Encoding");
  if (coding && (x->http10 || strcasecmp(coding, "chunked") != 0))
    return refuse(x, 501, "unsupported", "the only transfer coding that is understood here is chunked, in HTTP/1.1");
  if (coding) {
    x->framing = FRAMING_CHUNKED;
    x->length = -1;
    x->body_done = false;
    x->close = true; /* civetweb does not find the end of a trailer section */
  } else if (length) {
    if (!parse_length(length, &x->length))
      return refuse(x, 400, "protocol", "Content-Length must be a number of bytes");
    x->framing = FRAMING_LENGTH;
    x->body_done = x->length == 0;
  }
  const char *expect = request_header(x->info, "Expect");
  if (expect && strcasecmp(expect, "100-continue") != 0)
    return refuse(x, 417, "unsupported", "the only expectation that is met here is 100-continue");
  x->expects_continue = expect && !x->http10 && !x->body_done;
  return true;
}

static bool is_host(const char *host) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:[]%";
  size_t size = strlen(host);
  return size > 0 && size <= 255 && strspn(host, allowed) == size;
}

static bool has_dot_segment(const char *path) {
  for (const char *at = path; at; at = strchr(at, '/')) {
    at += *at == '/';
    size_t size = strcspn(at, "/");
    if ((size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.')) return true;
  }
  return false;
}

static bool check_target(struct exchange *x) {
  const char *raw = x->info->local_uri_raw;
  if (!raw || *raw != '/') return refuse(x, 400, "protocol", "the target of the request is not a path");
  if (strchr(raw, '#')) return refuse(x, 400, "protocol", "the target of a request has no fragment");
  x->path = request_decode(raw, strlen(raw), false);
  if (!x->path)
    return refuse(x, 400, "protocol", "the path is malformed: a wrong percent sign, a control character, or not UTF-8");
  if (has_dot_segment(x->path)) return refuse(x, 400, "protocol", "the path holds '.' or '..'");
  return true;
}

bool request_check(struct exchange *x) {
  const struct mg_request_info *info = x->info;
  x->http10 = strcmp(info->http_version, "1.1") != 0;
  x->head = strcmp(info->request_method, "HEAD") == 0;
  x->close = x->http10 || request_header_lists(info, "Connection", "close");
  if (!headers_are_complete(info))
    return info->num_headers >= MG_MAX_HEADERS ? refuse(x, 431, "too-large", "too many headers: at most 63")
                                               : refuse(x, 400, "protocol", "a header line is malformed");
  const char *twice = NULL;
  if (!headers_are_single(info, &twice)) {
    char why[96];
    snprintf(why, sizeof(why), "the header %s may be there only once", twice);
    return refuse(x, 400, "protocol", why);
  }
  const char *host = request_header(info, "Host");
  if ((!host && !x->http10) || (host && !is_host(host)))
    return refuse(x, 400, "protocol", "the header Host is missing or malformed");
  return check_framing(x) && check_target(x);
}

/* ---- handshakes of sockets
 * --------------------------------------------------------------------------------------------------- */

bool request_is_socket_path(const char *path) {
  for (const char *const *p = http_socket_paths; *p; p++)
    if (strcmp(*p, path) == 0) return true;
  return false;
}

/* 16 bytes in base64 (RFC 6455 section 4.2.1): 22 characters and "==". */
static bool is_key(const char *key) {
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return key && strlen(key) == 24 && strspn(key, allowed) == 22 && strcmp(key + 22, "==") == 0;
}

bool request_is_handshake(struct exchange *x) {
  const char *version = request_header(x->info, "Sec-WebSocket-Version");
  bool upgrade =
      request_header_lists(x->info, "Upgrade", "websocket") && request_header_lists(x->info, "Connection", "Upgrade");
  if (strcmp(x->info->request_method, "GET") != 0) {
    http_set_header(x, "Allow", "GET");
    http_problem(x, 405, "method-not-allowed", "a WebSocket is opened with GET");
  } else if (!upgrade || x->http10 || !version || strcmp(version, "13") != 0) {
    http_set_header(x, "Upgrade", "websocket");
    http_set_header(x, "Sec-WebSocket-Version", "13");
    x->close = true;
    http_problem(x, 426, "upgrade-required", "this path speaks WebSocket, version 13");
  } else if (count_header(x->info, "Sec-WebSocket-Key") != 1 || !is_key(request_header(x->info, "Sec-WebSocket-Key"))) {
    refuse(x, 400, "protocol", "the header Sec-WebSocket-Key must hold 16 bytes in base64, once");
  } else if (x->framing != FRAMING_NONE && x->length != 0) {
    refuse(x, 400, "protocol", "a WebSocket handshake has no body");
  } else {
    return true;
  }
  return false;
}
