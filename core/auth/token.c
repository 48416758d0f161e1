/* Tokens from outside: taken apart, matched with a key, checked by libjwt, judged.
 *
 * libjwt 1.10 decides by the token's own header which algorithm it runs, reads claims loosely and lets its JSON reader
 * recurse 2,048 levels deep before any signature is looked at. So header and payload are read here first, with bounds,
 * the algorithm has to be that of the key, and of libjwt only the verdict on the signature is used. */
#include <jwt.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/keyring.h"
#include "base/mem.h"

struct token {
  struct value *header, *payload;
};

static enum err denied(struct error *e, const char *why) { return error_set(e, ERR_DENIED, "%s", why); }

static void token_clear(struct token *t) {
  value_free(&t->header);
  value_free(&t->payload);
}

static enum err read_part(const char *text, size_t size, const char *what, struct value **v, struct error *e) {
  buf_auto struct buf json = {0};
  struct error inner;
  if (!base64url_read(text, size, &json)) return error_set(e, ERR_DENIED, "the token's %s is not in base64url", what);
  enum err status = value_from_json(buf_string(&json), json.size, v, &inner);
  if (!status && (*v)->type == VALUE_MAP) return ERR_OK;
  error_set(e, ERR_DENIED, "the token's %s is no JSON object", what);
  if (status) error_debug(e, "%s", inner.message);
  return ERR_DENIED;
}

static enum err take_apart(const char *text, struct token *t, struct error *e) {
  size_t size = strnlen(text, TOKEN_BYTES_MAX + 1);
  if (size > TOKEN_BYTES_MAX) return denied(e, "the token is larger than 8 KiB");
  const char *first = strchr(text, '.'), *second = first ? strchr(first + 1, '.') : NULL;
  if (!second || strchr(second + 1, '.')) return denied(e, "the token is no JWT of three parts");
  enum err status = read_part(text, (size_t)(first - text), "header", &t->header, e);
  if (status) return status;
  buf_auto struct buf signature = {0};
  if (!base64url_read(second + 1, size - (size_t)(second + 1 - text), &signature))
    return denied(e, "the token's signature is not in base64url");
  return read_part(first + 1, (size_t)(second - first - 1), "payload", &t->payload, e);
}

/* Text, or absent. False: another type. */
static bool text_of(const struct value *map, const char *name, const char **text) {
  const struct value *v = value_get(map, name);
  *text = v && v->type == VALUE_TEXT ? v->text : NULL;
  return !v || v->type == VALUE_TEXT;
}

static const struct key *key_named(const struct keyset *keys, const char *kid) {
  for (size_t i = 0; kid && i < keys->count; i++)
    if (keys->keys[i].kid && strcmp(keys->keys[i].kid, kid) == 0) return &keys->keys[i];
  return NULL;
}

static enum err choose_key(const struct keyset *keys, const struct value *header, const struct key **key,
                           struct error *e) {
  const char *kid;
  *key = NULL;
  if (!text_of(header, "kid", &kid)) return denied(e, "the token's `kid` is no text");
  if (!kid && keys->count > 1) return denied(e, "the token names no key (`kid`), and there are several");
  /* A lone key without a name of its own answers to any. */
  *key = keys->count == 1 && (!kid || !keys->keys[0].kid) ? &keys->keys[0] : key_named(keys, kid);
  return *key ? ERR_OK : denied(e, "the token names a key (`kid`) that is not known here");
}

static enum err check_header(const struct value *header, const struct key *key, struct error *e) {
  const char *alg, *type;
  if (value_get(header, "crit")) return denied(e, "the token demands extensions (`crit`) that are not supported here");
  if (!text_of(header, "typ", &type) || (type && strcasecmp(type, "JWT") != 0))
    return denied(e, "the token is of another type (`typ`) than JWT");
  if (!text_of(header, "alg", &alg) || !alg) return denied(e, "the token names no algorithm (`alg`)");
  if (strcmp(alg, key_alg_word(key->alg)) != 0)
    return error_set(e, ERR_DENIED, "the token's algorithm (`alg`) is not its key's, %s", key_alg_word(key->alg));
  return ERR_OK;
}

static jwt_alg_t library_alg(enum key_alg alg) {
  return alg == KEY_HS256 ? JWT_ALG_HS256 : alg == KEY_RS256 ? JWT_ALG_RS256 : JWT_ALG_ES256;
}

static enum err check_signature(const char *text, const struct key *key, struct error *e) {
  jwt_t *jwt = NULL;
  int fault = jwt_decode(&jwt, text, (const unsigned char *)key->verify.data, (int)key->verify.size);
  bool sound = fault == 0 && jwt && jwt_get_alg(jwt) == library_alg(key->alg);
  if (jwt) jwt_free(jwt);
  if (sound) return ERR_OK;
  denied(e, "the token's signature does not match its key");
  error_debug(e, "jwt_decode answered %d", fault);
  return ERR_DENIED;
}

static enum err check(struct keyring *k, const struct keyset *keys, const char *text, struct token *t,
                      struct principal *principal, struct error *e) {
  const struct key *key;
  enum err status = take_apart(text, t, e);
  if (!status) status = choose_key(keys, t->header, &key, e);
  if (!status) status = check_header(t->header, key, e);
  if (!status) status = check_signature(text, key, e);
  if (!status) status = claims_judge(k, t->payload, principal, e);
  if (!status && keyring_is_revoked(k, principal)) status = denied(e, "the token was revoked");
  return status;
}

enum err keyring_verify(struct keyring *k, const char *text, struct principal *principal, struct error *e) {
  struct token t = {0};
  struct keyset *keys = keyring_keys(k);
  *principal = (struct principal){0};
  enum err status = check(k, keys, text, &t, principal, e);
  if (status) principal_clear(principal);
  token_clear(&t);
  keyset_release(&keys);
  return status;
}
