/* What a token says, read by type: a claim of another type than RFC 7519 gives it refuses the token. */
#include <math.h>
#include <string.h>

#include "auth/keyring.h"
#include "base/mem.h"

enum { GRANTS_MAX = 256 };

/* Seconds since 1970, whole or not (RFC 7519 section 2); nothing beyond the year 9999. */
#define SECONDS_MAX 253402300799.0

static enum err wrong_type(struct error *e, const char *name) {
  return error_set(e, ERR_DENIED, "the token's `%s` has the wrong type", name);
}

static enum err take_time(const struct value *payload, const char *name, int64_t *us, struct error *e) {
  const struct value *v = value_get(payload, name);
  *us = 0;
  if (!v) return ERR_OK;
  if (v->type != VALUE_INT && v->type != VALUE_NUMBER) return wrong_type(e, name);
  double seconds = v->type == VALUE_INT ? (double)v->integer : v->number;
  if (!(seconds >= 1 && seconds <= SECONDS_MAX))
    return error_set(e, ERR_DENIED, "the token's `%s` is no time that can be", name);
  *us = v->type == VALUE_INT ? v->integer * 1000000 : (int64_t)(seconds * 1e6);
  return ERR_OK;
}

/* A name as the store takes it: no control characters, not longer than a record's names. */
static bool is_name(const struct value *v) {
  if (!v || v->type != VALUE_TEXT || !v->text_size || v->text_size > NAME_BYTES_MAX) return false;
  for (const char *c = v->text; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
  return true;
}

static enum err take_name(const struct value *payload, const char *name, char **text, struct error *e) {
  const struct value *v = value_get(payload, name);
  if (!v) return ERR_OK;
  if (v->type != VALUE_TEXT) return wrong_type(e, name);
  if (!is_name(v))
    return error_set(e, ERR_DENIED, "the token's `%s` is empty, longer than %d bytes or has control characters", name,
                     NAME_BYTES_MAX);
  *text = mem_text(v->text);
  return ERR_OK;
}

static bool is_text_list(const struct value *v) {
  if (v->type != VALUE_LIST) return false;
  for (size_t i = 0; i < v->count; i++)
    if (v->items[i]->type != VALUE_TEXT) return false;
  return true;
}

/* ---- times ------------------------------------------------------------------------------------------------------ */

static enum err judge_times(const struct keyring *k, const struct value *payload, struct principal *p,
                            struct error *e) {
  int64_t now = clock_wall(k->clock), not_before;
  if (take_time(payload, "exp", &p->expires_us, e) || take_time(payload, "nbf", &not_before, e) ||
      take_time(payload, "iat", &p->issued_us, e))
    return ERR_DENIED;
  if (!p->expires_us) return error_set(e, ERR_DENIED, "the token never ends: `exp` is required");
  if (now >= p->expires_us + k->skew_us) return error_set(e, ERR_DENIED, "the token has expired");
  if (not_before > now + EARLY_US) return error_set(e, ERR_DENIED, "the token is not valid yet (`nbf`)");
  if (p->issued_us > now + EARLY_US) return error_set(e, ERR_DENIED, "the token was issued in the future (`iat`)");
  return ERR_OK;
}

/* ---- who made it, for whom -------------------------------------------------------------------------------------- */

static enum err judge_issuer(const struct keyring *k, const struct value *payload, struct error *e) {
  const struct value *v = value_get(payload, "iss");
  if (v && v->type != VALUE_TEXT) return wrong_type(e, "iss");
  if (k->issuer && (!v || strcmp(v->text, k->issuer) != 0))
    return error_set(e, ERR_DENIED, "the token is from another issuer (`iss`) than %s", k->issuer);
  return ERR_OK;
}

static bool is_for(const struct value *aud, const char *audience) {
  if (aud->type == VALUE_TEXT) return strcmp(aud->text, audience) == 0;
  for (size_t i = 0; i < aud->count; i++)
    if (strcmp(aud->items[i]->text, audience) == 0) return true;
  return false;
}

static enum err judge_audience(const struct keyring *k, const struct value *payload, struct error *e) {
  const struct value *v = value_get(payload, "aud");
  if (v && v->type != VALUE_TEXT && !is_text_list(v)) return wrong_type(e, "aud");
  if (k->audience && (!v || !is_for(v, k->audience)))
    return error_set(e, ERR_DENIED, "the token is for another audience (`aud`) than %s", k->audience);
  return ERR_OK;
}

/* ---- what it allows --------------------------------------------------------------------------------------------- */

static void add_scopes(const char *words, unsigned *scopes) {
  for (const char *at = words + strspn(words, ", "); *at; at += strspn(at, ", ")) {
    size_t size = strcspn(at, ", ");
    mem_auto char *word = mem_text_n(at, size);
    unsigned scope;
    if (scopes_parse(word, &scope, NULL) == ERR_OK) *scopes |= scope;
    at += size;
  }
}

static enum err take_scopes(const struct value *payload, unsigned *scopes, struct error *e) {
  const struct value *v = value_get(payload, "scope");
  if (!v) return ERR_OK;
  if (v->type != VALUE_TEXT && !is_text_list(v)) return wrong_type(e, "scope");
  if (v->type == VALUE_TEXT) add_scopes(v->text, scopes);
  for (size_t i = 0; v->type == VALUE_LIST && i < v->count; i++) add_scopes(v->items[i]->text, scopes);
  if (*scopes & SCOPE_FOLLOW) *scopes = SCOPE_FOLLOW; /* a narrow token stays narrow, whatever stands beside it */
  return ERR_OK;
}

static bool is_grant(const struct value *v) {
  static const char *const kinds[] = {"job:", "batch:", "asset:", "pipeline:"};
  if (!is_name(v)) return false;
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
    if (strncmp(v->text, kinds[i], strlen(kinds[i])) == 0) return v->text[strlen(kinds[i])] != '\0';
  return false;
}

static enum err take_grants(const struct value *payload, struct principal *p, struct error *e) {
  const struct value *v = value_get(payload, "grants");
  if (!v) return ERR_OK;
  if (v->type != VALUE_LIST || v->count > GRANTS_MAX) return wrong_type(e, "grants");
  p->grants = mem_array(v->count, sizeof(*p->grants));
  for (size_t i = 0; i < v->count; i++) {
    if (!is_grant(v->items[i]))
      return error_set(e, ERR_DENIED, "the token's `grants` are not job:ID, batch:ID, asset:ID or pipeline:NAME");
    p->grants[p->grant_count++] = mem_text(v->items[i]->text);
  }
  return ERR_OK;
}

enum err claims_judge(const struct keyring *k, const struct value *payload, struct principal *p, struct error *e) {
  enum err status = judge_times(k, payload, p, e);
  if (!status) status = judge_issuer(k, payload, e);
  if (!status) status = judge_audience(k, payload, e);
  if (!status) status = take_name(payload, "sub", &p->subject, e);
  if (!status) status = take_name(payload, "jti", &p->token_id, e);
  if (!status) status = take_scopes(payload, &p->scopes, e);
  if (!status) status = take_grants(payload, p, e);
  if (!status && !p->subject) status = error_set(e, ERR_DENIED, "the token names nobody: `sub` is required");
  return status;
}
