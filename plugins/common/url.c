#include "common/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_unreserved(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The byte behind a "%XX" at s, or -1. Reads no further than the NUL. */
static int escape_at(const char *s) {
  if (s[0] != '%' || hex_digit(s[1]) < 0 || hex_digit(s[2]) < 0) return -1;
  return hex_digit(s[1]) * 16 + hex_digit(s[2]);
}

static char *copy_lower(const char *from, size_t size) {
  char *copy = strndup(from, size);
  for (char *c = copy; c && *c; c++)
    if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
  return copy;
}

void url_clear(struct url *url) {
  free(url->scheme);
  free(url->userinfo);
  free(url->host);
  free(url->path);
  free(url->query);
  free(url->fragment);
  *url = (struct url){.port = -1};
}

static size_t scheme_size(const char *s) {
  if (!isalpha((unsigned char)s[0])) return 0;
  size_t n = 1;
  while (isalnum((unsigned char)s[n]) || s[n] == '+' || s[n] == '-' || s[n] == '.') n++;
  return s[n] == ':' ? n : 0;
}

bool url_has_scheme(const char *string) {
  size_t n = scheme_size(string);
  return n >= 2 && strncmp(string + n, "://", 3) == 0;
}

/* Every byte printable ASCII or above 127, every escape complete. */
static bool check_bytes(const char *s, const char **why) {
  size_t n = 0;
  for (; s[n]; n++) {
    unsigned char c = (unsigned char)s[n];
    if (c <= ' ' || c == 127) return *why = "contains a blank or a control character", false;
    if (c == '\\' || c == '<' || c == '>' || c == '"') return *why = "contains a character no URL may have", false;
    if (c == '%' && escape_at(s + n) < 0) return *why = "contains a broken percent escape", false;
    if (n >= URL_SIZE_MAX) return *why = "is longer than 8192 bytes", false;
  }
  return true;
}

static bool parse_port(const char *s, size_t size, int *port, const char **why) {
  long value = 0;
  for (size_t i = 0; i < size; i++) {
    if (!isdigit((unsigned char)s[i])) return *why = "has a port that is not a number", false;
    value = value * 10 + (s[i] - '0');
    if (value > 65535) return *why = "has a port above 65535", false;
  }
  *port = size ? (int)value : -1;
  if (*port == 0) return *why = "has port 0", false;
  return true;
}

static bool host_is_plain(const char *host) {
  if (host[0] == '[') {
    size_t inside = strspn(host + 1, "0123456789abcdefABCDEF:.");
    return inside > 1 && strcmp(host + 1 + inside, "]") == 0;
  }
  for (const char *c = host; *c; c++)
    if (strchr("[]:@/?#", *c)) return false;
  return true;
}

/* [userinfo@]host[:port] */
static bool parse_authority(const char *s, size_t size, struct url *url, const char **why) {
  const char *at = NULL;
  for (size_t i = 0; i < size; i++)
    if (s[i] == '@') at = s + i; /* the last one: "user@evil@host" must not make evil the host */
  if (at) {
    url->userinfo = strndup(s, (size_t)(at - s));
    size -= (size_t)(at + 1 - s);
    s = at + 1;
  }
  size_t host = 0;
  if (size && s[0] == '[') {
    while (host < size && s[host] != ']') host++;
    if (host < size) host++;
  } else {
    while (host < size && s[host] != ':') host++;
  }
  url->host = copy_lower(s, host);
  if (!url->host) return *why = "does not fit into memory", false;
  if (host < size && s[host] != ':') return *why = "has a malformed host", false;
  if (!host_is_plain(url->host)) return *why = "has a malformed host", false;
  return host == size || parse_port(s + host + 1, size - host - 1, &url->port, why);
}

/* path[?query][#fragment] */
static bool parse_tail(const char *s, struct url *url) {
  size_t path = strcspn(s, "?#");
  url->path = strndup(s, path);
  s += path;
  if (*s == '?') {
    size_t query = strcspn(s + 1, "#");
    url->query = strndup(s + 1, query);
    s += 1 + query;
  }
  if (*s == '#') url->fragment = strdup(s + 1);
  return url->path != NULL;
}

bool url_parse(const char *string, struct url *url, const char **why) {
  const char *unused;
  if (!why) why = &unused;
  *url = (struct url){.port = -1};
  if (!check_bytes(string, why)) return false;
  size_t scheme = scheme_size(string);
  if (!scheme) return *why = "has no scheme such as https://", false;
  url->scheme = copy_lower(string, scheme);
  const char *rest = string + scheme + 1;
  bool ok = url->scheme != NULL;
  if (ok && rest[0] == '/' && rest[1] == '/') {
    size_t size = strcspn(rest + 2, "/?#");
    ok = parse_authority(rest + 2, size, url, why);
    rest += 2 + size;
  }
  if (ok && !parse_tail(rest, url)) ok = false, *why = "does not fit into memory";
  if (ok && (!url->host || !url->host[0]) && strcmp(url->scheme, "file") != 0) ok = false, *why = "has no host";
  if (!ok) url_clear(url);
  return ok;
}

int url_port(const struct url *url) {
  if (url->port > 0) return url->port;
  if (strcmp(url->scheme, "http") == 0) return 80;
  if (strcmp(url->scheme, "https") == 0) return 443;
  return -1;
}

bool url_same_origin(const struct url *a, const struct url *b) {
  return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host ? a->host : "", b->host ? b->host : "") == 0 &&
         url_port(a) == url_port(b);
}

void url_encode(struct text *out, const char *bytes, size_t size, enum url_keep keep) {
  static const char digits[] = "0123456789ABCDEF";
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (is_unreserved(c) || (c == '/' && keep == URL_KEEP_SLASHES)) {
      text_char(out, (char)c);
    } else {
      char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
      text_add(out, escape, 3);
    }
  }
}

char *url_decode(const char *string) {
  char *out = malloc(strlen(string) + 1), *to = out;
  for (const char *s = string; out && *s; s++) {
    int c = (unsigned char)*s;
    if (c == '%') {
      c = escape_at(s);
      if (c <= 0) {
        free(out);
        return NULL;
      }
      s += 2;
    }
    *to++ = (char)c;
  }
  if (out) *to = '\0';
  return out;
}

/* Upper-case escapes; escapes of unreserved characters undone (RFC 3986 6.2.2.1 and 6.2.2.2). */
static char *normal_escapes(const char *s) {
  text_auto struct text out = {0};
  for (; *s; s++) {
    int c = escape_at(s);
    if (c < 0) {
      text_char(&out, *s);
      continue;
    }
    if (is_unreserved((unsigned char)c))
      text_char(&out, (char)c);
    else
      text_format(&out, "%%%02X", (unsigned)c);
    s += 2;
  }
  return text_take(&out);
}

/* RFC 3986 5.2.4, for a path that begins with "/". */
static char *remove_dots(const char *path) {
  text_auto struct text out = {0};
  for (const char *s = path; *s;) {
    size_t segment = 1 + strcspn(s + 1, "/");
    bool last = s[segment] == '\0';
    if (segment == 2 && s[1] == '.') {
      if (last) text_char(&out, '/');
    } else if (segment == 3 && s[1] == '.' && s[2] == '.') {
      while (out.size && out.data[out.size - 1] != '/') out.size--;
      if (out.size) out.size--;
      if (out.data) out.data[out.size] = '\0';
      if (last) text_char(&out, '/');
    } else {
      text_add(&out, s, segment);
    }
    s += segment;
  }
  return text_take(&out);
}

static bool replace(char **slot, char *with) {
  if (!with) return false;
  free(*slot);
  *slot = with;
  return true;
}

bool url_normalise(struct url *url) {
  bool ok = replace(&url->path, normal_escapes(url->path));
  if (ok && url->path[0] == '/') ok = replace(&url->path, remove_dots(url->path));
  if (ok && !url->path[0] && url->host) ok = replace(&url->path, strdup("/"));
  if (ok && url->query) ok = replace(&url->query, normal_escapes(url->query));
  if (ok && url->host) ok = replace(&url->host, copy_lower(url->host, strlen(url->host)));
  if ((url->port == 80 && strcmp(url->scheme, "http") == 0) || (url->port == 443 && strcmp(url->scheme, "https") == 0))
    url->port = -1;
  return ok;
}

void url_format(struct text *out, const struct url *url, unsigned with) {
  text_put(out, url->scheme);
  text_char(out, ':');
  if (url->host) {
    text_put(out, "//");
    if ((with & URL_WITH_USERINFO) && url->userinfo) text_format(out, "%s@", url->userinfo);
    text_put(out, url->host);
    if (url->port > 0) text_format(out, ":%d", url->port);
  }
  text_put(out, url->path);
  if (url->query) text_format(out, "?%s", url->query);
  if ((with & URL_WITH_FRAGMENT) && url->fragment) text_format(out, "#%s", url->fragment);
}

/* Scheme, host and port of `base` before a reference that has none of its own. */
static void put_origin(struct text *out, const struct url *base) {
  text_format(out, "%s://%s", base->scheme, base->host ? base->host : "");
  if (base->port > 0) text_format(out, ":%d", base->port);
}

/* Servers write blanks and UTF-8 into Location although no URL has them: escaped here, as browsers do. */
static void put_tolerantly(struct text *out, const char *reference) {
  for (const char *s = reference; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == ' ' || c > 127)
      text_format(out, "%%%02X", c);
    else
      text_char(out, *s);
  }
}

bool url_resolve(const struct url *base, const char *written, struct url *out, const char **why) {
  text_auto struct text whole = {0}, clean = {0};
  put_tolerantly(&clean, written);
  const char *reference = text_string(&clean);
  if (scheme_size(reference)) {
    text_put(&whole, reference);
  } else if (reference[0] == '/' && reference[1] == '/') {
    text_format(&whole, "%s:%s", base->scheme, reference);
  } else if (reference[0] == '/') {
    put_origin(&whole, base);
    text_put(&whole, reference);
  } else if (reference[0] == '?') {
    put_origin(&whole, base);
    text_format(&whole, "%s%s", base->path, reference);
  } else if (!reference[0] || reference[0] == '#') {
    url_format(&whole, base, 0);
    text_put(&whole, reference);
  } else {
    const char *slash = strrchr(base->path, '/');
    put_origin(&whole, base);
    text_add(&whole, base->path, slash ? (size_t)(slash - base->path) : 0);
    text_format(&whole, "/%s", reference);
  }
  if (!url_parse(text_string(&whole), out, why)) return false;
  return url_normalise(out);
}

/* Words that give a query field away as a credential; matched anywhere in its name. */
static bool names_credential(const char *name, size_t size) {
  static const char *const words[] = {"token", "sig", "key", "secret", "password", "passwd", "pwd", "auth",
                                      "credential", "policy", "jwt", "session", "code", "hmac"};
  char lower[64];
  if (size >= sizeof lower) return true;
  for (size_t i = 0; i < size; i++) lower[i] = (char)tolower((unsigned char)name[i]);
  lower[size] = '\0';
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strstr(lower, words[i])) return true;
  return false;
}

static void redact_query(struct text *out, const char *query) {
  for (const char *s = query;;) {
    size_t field = strcspn(s, "&;");
    size_t name = strcspn(s, "=&;");
    bool hide = name < field && names_credential(s, name);
    text_add(out, s, hide ? name + 1 : field);
    if (hide) text_put(out, "***");
    s += field;
    if (!*s) return;
    text_char(out, *s++);
  }
}

char *url_redact(const char *string, char *out, size_t size) {
  url_auto struct url url = {.port = -1};
  text_auto struct text shown = {0};
  if (!url_has_scheme(string) && scheme_size(string) == 0) {
    snprintf(out, size, "%s", string); /* a plain path hides nothing */
    return out;
  }
  if (!url_parse(string, &url, NULL)) {
    snprintf(out, size, "%.*s://***", (int)scheme_size(string), string);
    return out;
  }
  text_format(&shown, "%s:", url.scheme);
  if (url.host) text_format(&shown, "//%s%s", url.userinfo ? "***@" : "", url.host);
  if (url.port > 0) text_format(&shown, ":%d", url.port);
  text_put(&shown, url.path);
  if (url.query) {
    text_char(&shown, '?');
    redact_query(&shown, url.query);
  }
  snprintf(out, size, "%s", text_string(&shown));
  return out;
}
