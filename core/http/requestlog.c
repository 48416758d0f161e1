/* requestlog.c - one line for each request, without what would let its reader in. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/parts.h"

static const char *const secret_names[] = {"token", "ticket", "signature", "access_token", "key", "password", NULL};

static bool is_secret(const char *name, size_t size) {
  for (const char *const *s = secret_names; *s; s++)
    if (strlen(*s) == size && strncasecmp(*s, name, size) == 0) return true;
  return false;
}

static void add_printable(struct buf *out, const char *text, size_t size) {
  enum { SHOWN_MAX = 400 };
  for (size_t i = 0; i < size && i < SHOWN_MAX; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c > 0x20 && c < 0x7f && c != '"' && c != '\\')
      buf_char(out, (char)c);
    else
      buf_format(out, "\\x%02x", c);
  }
  if (size > SHOWN_MAX) buf_text(out, "...");
}

/* Nothing says what a path that leads nowhere holds: whatever is as long as a signature or a token is not shown. */
static void add_components(struct buf *out, const char *path, bool known) {
  enum { SECRET_LEAST = 40 };
  while (*path) {
    size_t size = strcspn(path, "/");
    if (!known && size >= SECRET_LEAST)
      buf_text(out, "***");
    else
      add_printable(out, path, size);
    path += size;
    if (*path == '/') buf_char(out, *path++);
  }
}

/* A path with a signature in it is shown as its route is written there. */
static void add_path(struct buf *out, const struct exchange *x) {
  const char *path = x->path ? x->path : x->info->local_uri_raw ? x->info->local_uri_raw : "-";
  const char *secret = params_get(&x->params, "signature");
  const char *at = secret && *secret ? strstr(path, secret) : NULL;
  if (!at) {
    add_components(out, path, x->route != NULL);
    return;
  }
  add_printable(out, path, (size_t)(at - path));
  buf_text(out, "***");
  add_printable(out, at + strlen(secret), strlen(at + strlen(secret)));
}

void requestlog_target(struct buf *out, const struct exchange *x) {
  add_path(out, x);
  const char *at = x->info->query_string;
  if (!at || !*at) return;
  buf_char(out, '?');
  while (*at) {
    size_t size = strcspn(at, "&"), name = strcspn(at, "=&");
    /* A name written with percent signs could be any: its value is not shown either. */
    if (name < size && (is_secret(at, name) || memchr(at, '%', name))) {
      add_printable(out, at, name);
      buf_text(out, "=***");
    } else {
      add_printable(out, at, size);
    }
    at += size;
    if (*at == '&') buf_char(out, *at++);
  }
}

void requestlog_line(const struct exchange *x) {
  struct buf buf_auto target = {0};
  requestlog_target(&target, x);
  int64_t us = clock_boot(&clock_system) - x->begun_us;
  log_line(x->status >= 500 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
           "http %s %s %d%s bytes=%llu ms=%lld peer=%s sub=%s id=%s", x->info->request_method, buf_string(&target),
           x->status, x->broken ? " (cut)" : "", (unsigned long long)x->sent, (long long)(us / 1000), x->peer,
           x->has_principal && x->principal.subject ? x->principal.subject : "-", x->request_id);
}
