/* credential.c - who asks (RFC 6750): the header everywhere, a query parameter only where a route says that it will do.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/parts.h"

static const char realm[] = "Bearer realm=\"stagemill\"";

static bool unauthorized(struct exchange *x, const char *error, const char *detail) {
  char challenge[96];
  snprintf(challenge, sizeof(challenge), "%s%s%s%s", realm, error ? ", error=\"" : "", error ? error : "",
           error ? "\"" : "");
  http_set_header(x, "WWW-Authenticate", challenge);
  http_problem(x, 401, "unauthorized", "%s", detail);
  return false;
}

static const char *bearer(const struct exchange *x, bool *malformed) {
  const char *header = http_header(x, "Authorization");
  *malformed = false;
  if (!header) return NULL;
  *malformed = strncasecmp(header, "Bearer ", 7) != 0;
  if (*malformed) return NULL;
  header += 7;
  return header + strspn(header, " ");
}

static bool verify(struct exchange *x, enum err err, const struct error *e) {
  if (err == ERR_OK) {
    x->has_principal = true;
    x->vouched_us = clock_boot(&clock_system);
    return true;
  }
  log_debug("http: request %s: %s%s%s", x->request_id, e->message, *e->debug ? ": " : "", e->debug);
  return unauthorized(x, "invalid_token", e->message);
}

/* Takes the credential there is. true with has_principal false: there is none. */
static bool take(struct exchange *x) {
  bool malformed, query = x->route->flags & ROUTE_TICKET;
  const char *token = bearer(x, &malformed);
  if (malformed) return unauthorized(x, "invalid_request", "the header Authorization must read: Bearer TOKEN");
  const char *ticket = !token && query ? http_query(x, "ticket") : NULL;
  if (!token && !ticket && query) token = http_query(x, "token");
  if (!token && !ticket) return true;
  if (!x->server->keyring) return unauthorized(x, "invalid_token", "this server has no keys: no token can be checked");
  struct error e = {0};
  enum err err = ticket ? ticket_redeem(x->server->keyring, ticket, &x->principal, &e)
                        : keyring_verify(x->server->keyring, token, &x->principal, &e);
  return verify(x, err, &e);
}

bool credential_still_good(struct exchange *x) {
  enum { EVERY_US = 1000000 };
  int64_t now_us = clock_boot(&clock_system);
  if (!x->has_principal || now_us - x->vouched_us < EVERY_US) return true;
  bool expired = x->principal.expires_us && x->principal.expires_us <= clock_wall(&clock_system);
  if (expired || (x->server->keyring && keyring_is_revoked(x->server->keyring, &x->principal))) return false;
  x->vouched_us = now_us;
  return true;
}

static void say_scopes(char *out, size_t room, unsigned scopes) {
  *out = '\0';
  for (unsigned bit = 1; bit <= SCOPE_FOLLOW; bit <<= 1)
    if (scopes & bit) {
      size_t used = strlen(out);
      snprintf(out + used, room - used, "%s%s", used ? " or " : "", scope_word((enum scope_bit)bit));
    }
}

/* Scope `follow` narrows a token: it does not add to what the other scopes allow (see http.h). */
static bool scopes_suffice(const struct principal *p, unsigned wanted) {
  if (p->scopes & SCOPE_ADMIN) return true;
  if (p->scopes & SCOPE_FOLLOW) return wanted & SCOPE_FOLLOW;
  return wanted == 0 || (p->scopes & wanted);
}

bool credential_check(struct exchange *x) {
  if (!take(x)) return false;
  if (x->route->flags & ROUTE_OPEN) return true;
  if (!x->has_principal)
    return unauthorized(x, NULL, "this needs a token: send it in the header Authorization: Bearer TOKEN");
  if (scopes_suffice(&x->principal, x->route->scopes)) return true;
  char words[96], challenge[160];
  say_scopes(words, sizeof(words), x->route->scopes ? x->route->scopes : (unsigned)SCOPE_READ);
  snprintf(challenge, sizeof(challenge), "%s, error=\"insufficient_scope\"", realm);
  http_set_header(x, "WWW-Authenticate", challenge);
  http_problem(x, 403, "denied", "the token does not allow this: it needs the scope %s", words);
  return false;
}
