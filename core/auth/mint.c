/* Tokens of our own making. */
#include <errno.h>
#include <jwt.h>
#include <openssl/rand.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/keyring.h"
#include "base/mem.h"

enum { HOUR_US = 3600 * 1000 * 1000LL, ID_BYTES = 16 };

static const struct key *key_that_signs(const struct keyset *keys) {
  for (size_t i = 0; i < keys->count; i++)
    if (keys->keys[i].sign.size) return &keys->keys[i];
  return NULL;
}

static void set_scopes(struct value *claims, unsigned scopes) {
  buf_auto struct buf words = {0};
  for (unsigned bit = 1; bit <= SCOPE_FOLLOW; bit <<= 1)
    if (scopes & bit) buf_format(&words, "%s%s", words.size ? " " : "", scope_word(bit));
  value_set_text(claims, "scope", buf_string(&words));
}

static void set_grants(struct value *claims, const struct principal *p) {
  if (!p->grant_count) return;
  struct value *list = value_list();
  for (size_t i = 0; i < p->grant_count; i++) value_list_add(list, value_text(p->grants[i]));
  value_map_set(claims, "grants", list);
}

static enum err set_id(struct value *claims, struct error *e) {
  unsigned char raw[ID_BYTES];
  buf_auto struct buf id = {0};
  if (RAND_bytes(raw, sizeof(raw)) != 1) return error_set(e, ERR_INTERNAL, "no random bytes for a token can be had");
  base64url_add(&id, raw, sizeof(raw));
  value_set_text(claims, "jti", buf_string(&id));
  return ERR_OK;
}

/* `iat` in whole seconds, though fractions are allowed: other libraries take half a second for the future. */
static enum err write_claims(const struct keyring *k, const struct principal *p, struct buf *json, struct error *e) {
  value_auto struct value *claims = value_map();
  int64_t now = clock_wall(k->clock);
  if (p->subject) value_set_text(claims, "sub", p->subject);
  value_set_int(claims, "iat", now / 1000000);
  value_set_int(claims, "exp", (p->expires_us ? p->expires_us : now + HOUR_US) / 1000000);
  set_scopes(claims, p->scopes);
  set_grants(claims, p);
  if (k->issuer) value_set_text(claims, "iss", k->issuer);
  if (k->audience) value_set_text(claims, "aud", k->audience);
  if (set_id(claims, e)) return ERR_INTERNAL;
  struct principal check = {0};
  enum err status = claims_judge(k, claims, &check, e); /* what would be refused is not handed out */
  principal_clear(&check);
  if (status) return error_set(e, ERR_USAGE, "such a token would be refused: %s", e ? e->message : "");
  value_json(json, claims, VALUE_JSON_COMPACT);
  return ERR_OK;
}

static int sign(jwt_t *jwt, const struct key *key, const char *json, char **text) {
  static const jwt_alg_t algs[] = {
      [KEY_HS256] = JWT_ALG_HS256, [KEY_RS256] = JWT_ALG_RS256, [KEY_ES256] = JWT_ALG_ES256};
  int fault = jwt_add_grants_json(jwt, json);
  if (!fault && key->kid) fault = jwt_add_header(jwt, "kid", key->kid);
  if (!fault) fault = jwt_set_alg(jwt, algs[key->alg], (const unsigned char *)key->sign.data, (int)key->sign.size);
  *text = fault ? NULL : jwt_encode_str(jwt);
  return *text ? 0 : fault ? fault : errno;
}

static enum err make(const struct key *key, const struct buf *json, char **token, struct error *e) {
  jwt_t *jwt = NULL;
  char *text = NULL;
  int fault = jwt_new(&jwt);
  if (!fault) fault = sign(jwt, key, buf_string(json), &text);
  if (jwt) jwt_free(jwt);
  if (fault) return error_errno(e, fault, "the token cannot be signed");
  *token = text;
  if (strlen(text) <= TOKEN_BYTES_MAX) return ERR_OK;
  mem_free_at(token);
  return error_set(e, ERR_USAGE, "such a token would be larger than 8 KiB: give it fewer grants");
}

enum err keyring_mint(struct keyring *k, const struct principal *p, char **token, struct error *e) {
  buf_auto struct buf json = {0};
  struct keyset *keys = keyring_keys(k);
  const struct key *key = key_that_signs(keys);
  struct error local;
  *token = NULL;
  if (!e) e = &local;
  enum err status =
      key ? write_claims(k, p, &json, e)
          : error_set(e, ERR_UNSUPPORTED, "the key set has public keys only: who holds a private one makes tokens");
  if (!status) status = make(key, &json, token, e);
  keyset_release(&keys);
  return status;
}
