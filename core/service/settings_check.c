/* settings_check.c - what no single key of the configuration shows: addresses, URLs, contradictions. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "service/settings_parts.h"

static bool is_url(const char *text, const char *scheme) {
  size_t size = strlen(scheme);
  const char *host = text + size;
  return !strncmp(text, scheme, size) && *host && *host != '/' && *host != ':' && !strpbrk(text, " \t\r\n\"<>");
}

static bool is_web_url(const char *text) { return is_url(text, "http://") || is_url(text, "https://"); }

/* ---- one key each ------------------------------------------------------------------------------------------------ */

static void check_listen(const struct settings_source *source, const struct settings *s) {
  const char *colon = strrchr(s->listen, ':'), *digits = colon ? colon + 1 : "";
  size_t count = strspn(digits, "0123456789");
  mem_auto char *address = colon ? mem_text_n(s->listen, (size_t)(colon - s->listen)) : mem_text("");
  struct in_addr parsed;
  if (count && !strcmp(digits + count, "s"))
    settings_problem(source, "listen", "let a proxy in front terminate TLS: packaging/nginx shows a configuration",
                     "`%s`: TLS is not spoken here", s->listen);
  else if (strchr(s->listen, '['))
    settings_problem(source, "listen", "use an IPv4 address and let a proxy in front speak IPv6",
                     "`%s`: IPv6 is not spoken here", s->listen);
  else if (!count || digits[count] || count > 5 || atoi(digits) > 65535 || inet_pton(AF_INET, address, &parsed) != 1)
    settings_problem(source, "listen",
                     "write ADDRESS:PORT, for example 127.0.0.1:8060, or 0.0.0.0:8060 for every address",
                     "`%s` is not an address and a port", s->listen);
}

static bool is_network(const char *text) {
  const char *slash = strchr(text, '/');
  mem_auto char *address = mem_text_n(text, slash ? (size_t)(slash - text) : strlen(text));
  unsigned char raw[16];
  int most = inet_pton(AF_INET, address, raw) == 1 ? 32 : inet_pton(AF_INET6, address, raw) == 1 ? 128 : -1;
  if (most < 0 || !slash) return most > 0;
  size_t digits = strspn(slash + 1, "0123456789");
  return digits && digits <= 3 && !slash[1 + digits] && atoi(slash + 1) <= most;
}

static bool is_origin(const char *text) {
  if (!strcmp(text, "*")) return true;
  const char *host = strstr(text, "://");
  return is_web_url(text) && !strchr(host + 3, '/') && !strpbrk(host + 3, "?#@");
}

static bool is_secret_name(const char *text) {
  return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

static bool is_mail_server(const char *text) { return is_url(text, "smtp://") || is_url(text, "smtps://"); }

static bool is_mail_address(const char *text) {
  const char *at = strchr(text, '@');
  return at && at > text && at[1] && !strchr(at + 1, '@') && !strpbrk(text, " \t\r\n<>,;\"");
}

/* Every text of a key, be it one or a list, has to pass. */
static const struct wanted {
  const char *path;
  bool (*passes)(const char *text);
  const char *what, *hint;
} wanted[] = {
    {"public-url", is_web_url, "a URL", "for example https://media.example.org"},
    {"proxies", is_network, "an address or a network", "for example 127.0.0.1 or 10.0.0.0/8"},
    {"cors.origins", is_origin, "the origin of a web page",
     "for example https://app.example.org, without a path; * for every page"},
    {"uploads.s3.endpoint", is_web_url, "a URL", "for example https://s3.example.org"},
    {"uploads.s3.access-key", is_secret_name, "the name of a secret",
     "put the key itself into the secret of that name"},
    {"uploads.s3.secret-key", is_secret_name, "the name of a secret",
     "put the key itself into the secret of that name"},
    {"batches.drive-url", is_web_url, "a URL", "for example https://www.googleapis.com/drive/v3"},
    {"webhooks.urls", is_web_url, "a URL", "for example https://app.example.org/hooks/stagemill"},
    {"webhooks.secret", is_secret_name, "the name of a secret", "put the secret itself into a file of that name"},
    {"mail.server", is_mail_server, "a mail server", "for example smtp://mail.example.org:587"},
    {"mail.from", is_mail_address, "a mail address", NULL},
    {"mail.to", is_mail_address, "a mail address", NULL},
    {"mail.password", is_secret_name, "the name of a secret", "put the password itself into the secret of that name"},
};

static void check_texts(const struct settings_source *source, const struct settings *s) {
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    const struct settings_row *row = settings_row_find(wanted[i].path);
    const void *at = (const char *)s + row->offset;
    char *const *texts = settings_row_is_list(row) ? *(char **const *)at : (char *const[]){*(char *const *)at, NULL};
    for (; *texts; texts++)
      if (!wanted[i].passes(*texts))
        settings_problem(source, row->path, wanted[i].hint, "`%.200s` is not %s", *texts, wanted[i].what);
  }
}

/* ---- keys that need or exclude each other ------------------------------------------------------------------------ */

static bool has(const struct settings *s, const char *path) {
  const struct settings_row *row = settings_row_find(path);
  const void *at = (const char *)s + row->offset;
  if (settings_row_is_list(row)) return **(char **const *)at != NULL;
  return *(char *const *)at != NULL;
}

static void check_needs(const struct settings_source *source, const struct settings *s) {
  static const struct {
    const char *path, *needs;
  } rows[] = {
      {"uploads.s3.bucket", "uploads.s3.access-key"},
      {"uploads.s3.bucket", "uploads.s3.secret-key"},
      {"uploads.s3.access-key", "uploads.s3.bucket"},
      {"uploads.s3.secret-key", "uploads.s3.bucket"},
      {"uploads.s3.endpoint", "uploads.s3.bucket"},
      {"uploads.s3.prefix", "uploads.s3.bucket"},
      {"webhooks.urls", "webhooks.secret"},
      {"mail.server", "mail.from"},
      {"mail.to", "mail.server"},
      {"mail.user", "mail.password"},
      {"mail.password", "mail.user"},
      {"mail.user", "mail.server"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (has(s, rows[i].path) && !has(s, rows[i].needs))
      settings_problem(source, rows[i].path, "write both or none", "`%s` needs `%s`", rows[i].path, rows[i].needs);
  if (s->auth.keys && s->auth.own_key)
    settings_problem(source, "auth.make-key",
                     "keep `keys` for keys that somebody else makes, `make-key` for one of the daemon's own",
                     "`auth.keys` and `auth.make-key` exclude each other");
}

void settings_check(const struct settings_source *source, const struct settings *s) {
  check_listen(source, s);
  check_texts(source, s);
  check_needs(source, s);
}
