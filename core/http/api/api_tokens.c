/* api_tokens.c - who a token speaks for, tickets for sockets that cannot send one, and taking tokens back. */
#include <string.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/mem.h"
#include "service/keep.h"

enum { NAME_BYTES = 240 };
/* A token that names no end of its own for us to go by: longer than anybody lets one live. */
static const int64_t YEAR_US = 366ll * 86400 * 1000000, YEARS = 10;

static struct value *scopes_value(unsigned scopes) {
  static const enum scope_bit all[] = {SCOPE_READ, SCOPE_SUBMIT, SCOPE_PIPELINES, SCOPE_ADMIN, SCOPE_FOLLOW};
  struct value *list = value_list();
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (scopes & all[i]) value_list_add(list, value_text(scope_word(all[i])));
  return list;
}

static void whoami(struct exchange *x) {
  const struct principal *who = http_principal(x);
  value_auto struct value *v = value_map();
  struct value *grants = value_list();
  for (size_t i = 0; i < who->grant_count; i++) value_list_add(grants, value_text(who->grants[i]));
  value_set_text(v, "subject", who->subject);
  value_map_set(v, "scopes", scopes_value(who->scopes));
  value_map_set(v, "grants", grants);
  api_set_time(v, "expiresAt", who->expires_us);
  http_set_header(x, "Cache-Control", "no-store");
  http_json(x, 200, v);
}

static void ticket_make(struct exchange *x) {
  static const char *const none[] = {NULL};
  const struct value *body = api_body(x);
  char ticket[65];
  int64_t expires_us;
  struct error e = {0};
  if (!body || !api_keys(x, body, none)) return;
  if (ticket_issue(api_service(x)->keyring, http_principal(x), ticket, &expires_us, &e)) {
    http_error(x, &e);
    return;
  }
  value_auto struct value *v = value_map();
  value_set_text(v, "ticket", ticket);
  api_set_time(v, "expiresAt", expires_us);
  http_set_header(x, "Cache-Control", "no-store");
  http_json(x, 201, v);
}

/* On disk before it is in force: a restart must not give a token back. */
static void token_revoke(struct exchange *x) {
  static const char *const valid[] = {"jti", "sub", "until", NULL};
  struct service *service = api_service(x);
  const struct value *body = http_body_json(x);
  const char *jti, *sub;
  int64_t until_us, now_us = clock_wall(&clock_system);
  struct error e = {0};
  if (!body || !api_keys(x, body, valid) || !api_text(x, body, "jti", NAME_BYTES, &jti) ||
      !api_text(x, body, "sub", NAME_BYTES, &sub) || !api_until(x, body, &until_us))
    return;
  if (!jti == !sub) {
    http_problem(x, 400, "invalid", "name a token by its 'jti', or all tokens of a 'sub': one of the two");
    return;
  }
  char nothing[] = "{}";
  mem_auto char *id = mem_format("%s:%s", jti ? "jti" : "sub", jti ? jti : sub);
  struct side_record record = {.kind = SIDE_REVOCATION, .id = id, .due_us = until_us ? until_us : now_us + YEARS * YEAR_US,
                               .body_json = nothing};
  struct side_change change = {.record = &record, .expected_version = SIDE_ANY};
  if (keep_sides(service, &change, 1, NULL, &e)) {
    http_error(x, &e);
    return;
  }
  keyring_revoke(service->keyring, id, now_us, record.due_us);
  if (service->revoked) service->revoked(service->revoked_context);
  value_auto struct value *v = value_map();
  value_set_text(v, "revoked", id);
  api_set_time(v, "until", record.due_us);
  http_json(x, 200, v);
}

enum { ANY_SCOPE = SCOPE_READ | SCOPE_SUBMIT | SCOPE_PIPELINES | SCOPE_FOLLOW };
static const struct route routes[] = {
    {"GET", "/api/v1/whoami", ANY_SCOPE, 0, whoami, "whoami"},
    {"POST", "/api/v1/tickets", ANY_SCOPE, 0, ticket_make, "issueTicket"},
    {"POST", "/api/v1/tokens/revoke", SCOPE_ADMIN, 0, token_revoke, "revokeToken"},
};
const struct api_table api_tokens = API_TABLE(routes);
