/* url.h - URLs as RFC 3986 has them: parse, encode, normalise, resolve, and hide what is secret in them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"

enum { URL_SIZE_MAX = 8192 };

/* Parts as written (still percent-encoded), each its own allocation; absent ones are NULL, the path is "" at least. */
struct url {
  char *scheme;   /* lower case */
  char *userinfo; /* "user:password" */
  char *host;     /* lower case; an IPv6 address keeps its brackets */
  int port;       /* -1: none written */
  char *path, *query, *fragment;
};

/* Parses an absolute URL. False with a clause for the operator ("has no host") in *why when it is not one: control
 * characters, blanks, bad percent escapes, bad ports and more than URL_SIZE_MAX bytes are refused. */
bool url_parse(const char *string, struct url *url, const char **why);
void url_clear(struct url *url);
#define url_auto __attribute__((cleanup(url_clear)))

/* "http:" or "s3:" at the start: a scheme of at least two letters, then "//". Plain paths have none. */
bool url_has_scheme(const char *string);
/* The port in use: the one written, else 80 or 443, else -1. */
int url_port(const struct url *url);
/* Same scheme, host and port (RFC 6454). */
bool url_same_origin(const struct url *a, const struct url *b);

/* What percent-encoding leaves alone. */
enum url_keep {
  URL_KEEP_UNRESERVED = 1, /* letters, digits, - . _ ~ (RFC 3986 2.3): for one component */
  URL_KEEP_SLASHES,        /* those and "/": for a path */
};
void url_encode(struct text *out, const char *bytes, size_t size, enum url_keep keep);
/* Decoded text (malloc'ed) or NULL when an escape is malformed or stands for NUL. */
char *url_decode(const char *string);

/* Normalises in place (RFC 3986 6.2.2, 6.2.3): case, needless escapes, dot segments, default port, empty path. */
bool url_normalise(struct url *url);
/* The URL as text; userinfo and fragment only when asked for. */
enum { URL_WITH_USERINFO = 1, URL_WITH_FRAGMENT = 2 };
void url_format(struct text *out, const struct url *url, unsigned with);
/* What `reference` means at `base` (RFC 3986 5.2), as an absolute URL; false when it is malformed. */
bool url_resolve(const struct url *base, const char *reference, struct url *out, const char **why);
/* For logs and messages: userinfo, fragment and the values of query fields that look like credentials become "***".
 * A string that does not parse yields its scheme only. Cuts at `size`. Returns out. */
char *url_redact(const char *string, char *out, size_t size);
