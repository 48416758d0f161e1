/* auth.h - who may do what: keys, tokens, scopes, ownership, one-time tickets, signed links. No HTTP in here.
 *
 * Tokens are JWTs (RFC 7519) signed with HS256, RS256 or ES256; the algorithm is fixed by the key that `kid` names (a
 * token without kid: the one key there is). `exp` is required; `nbf`, `iss`, `aud`, `sub`, `scope`, `grants`, `jti` are
 * read by type: a claim of the wrong type refuses the token. Threads: every function is [any-thread]. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

enum scope_bit {
  SCOPE_READ = 1u << 0,
  SCOPE_SUBMIT = 1u << 1,
  SCOPE_PIPELINES = 1u << 2, /* inline pipelines */
  SCOPE_ADMIN = 1u << 3,     /* everything, of everybody */
  SCOPE_FOLLOW = 1u << 4,    /* what `grants` name is all it may see, and only see */
};
const char *scope_word(enum scope_bit scope);
/* "submit,read" or "submit read" to bits; ERR_USAGE names the word and what is valid. */
enum err scopes_parse(const char *words, unsigned *scopes, struct error *e);

/* Who a request or a socket speaks for. */
struct principal {
  char *subject; /* `sub` */
  unsigned scopes;
  char **grants; /* "job:ID", "batch:ID", "asset:ID", "pipeline:NAME" */
  size_t grant_count;
  char *token_id;     /* `jti`; NULL: none */
  int64_t issued_us;  /* `iat`; 0: none */
  int64_t expires_us; /* wall */
};
void principal_clear(struct principal *p);
void principal_copy(struct principal *to, const struct principal *from);

/* What is looked at: any of it may be NULL. */
struct matter {
  const char *owner, *job, *batch, *asset, *pipeline;
};
bool principal_may_see(const struct principal *p, const struct matter *m);    /* read, follow, artifact */
bool principal_may_change(const struct principal *p, const struct matter *m); /* cancel, retry, delete, ... */

struct keyring;
struct keyring_options {
  const char *file; /* key set for tokens; NULL: own_file's key is the one that tokens are signed with */
  /* Secret of this daemon, made (0600) when absent: signs links, seals what is kept, and tokens when there is no key
   * set. NULL: the key set's first secret does it; a set of public keys alone then has links that end with the process,
   * and cannot seal. */
  const char *own_file;
  const char *issuer, *audience; /* NULL: not asked for */
  unsigned skew_s;               /* so much later than `exp` a token still counts, 0-60 */
  const struct clock *clock;     /* NULL: the system's */
};
/* Key set file (YAML or JSON, the strict front door): keys: [{kid, alg: HS256|RS256|ES256, secret | secret-file |
 * public-key | public-key-file | private-key-file}]. `kid` may be left out when there is one key. Files are relative to
 * the key set's folder. What holds a secret must not be readable by others. Secrets are the bytes as they stand,
 * without a last line feed, 32 at least; RSA keys have 2,048 bits at least, ES256 means P-256. */
enum err keyring_open(struct keyring **keyring, const struct keyring_options *options, struct error *e);
void keyring_close(struct keyring **keyring);
/* Reads the key set again when it or a file that it names has changed (call it now and then, and on SIGHUP with force);
 * on any error the old keys stay, and it is told once. The daemon's own secret is read at opening only. */
enum err keyring_reload(struct keyring *keyring, bool force, struct error *e);
/* ERR_DENIED with a sentence for the log (`debug`: more). The sentence never holds the token. A token with scope
 * `follow` has no other scope, whatever else it says; words of scopes that are not ours are passed over (OAuth issuers
 * send more). */
enum err keyring_verify(struct keyring *keyring, const char *token, struct principal *principal, struct error *e);
/* A signed token (owned) with the first key that can sign; principal->expires_us 0: in an hour. jti and iat are made.
 * ERR_UNSUPPORTED: the key set has public keys only. */
enum err keyring_mint(struct keyring *keyring, const struct principal *principal, char **token, struct error *e);
/* Revoked until `until_us`: "jti:..." or "sub:..." (tokens of that subject issued up to `at_us`; `iat` has whole seconds, so
 * those of the same second too). Kept in memory here; the daemon stores them and tells them again at start. */
void keyring_revoke(struct keyring *keyring, const char *what, int64_t at_us, int64_t until_us);
bool keyring_is_revoked(struct keyring *keyring, const struct principal *principal);

/* One-time tickets for a socket that cannot send a header: random, in memory, 30 s, used once. Bounded: 100 per subject
 * and 10,000 in all (ERR_BUSY). */
enum err ticket_issue(struct keyring *keyring, const struct principal *principal, char ticket[65], int64_t *expires_us,
                      struct error *e);
enum err ticket_redeem(struct keyring *keyring, const char *ticket, struct principal *principal, struct error *e);

/* Signed, expiring links: HMAC-SHA256 over method, path and expiry with a key derived from the keyring's own secret,
 * base64url. */
void link_sign(struct keyring *keyring, const char *method, const char *path, int64_t expires_s, char signature[65]);
enum err link_verify(struct keyring *keyring, const char *method, const char *path, int64_t expires_s,
                     const char *signature, struct error *e); /* constant time; ERR_DENIED: wrong or expired */
/* Encrypts at rest (AES-256-GCM, key derived likewise): text to printable text and back; `context` is bound to it. */
enum err seal(struct keyring *keyring, const char *context, const char *plain, char **sealed, struct error *e);
enum err unseal(struct keyring *keyring, const char *context, const char *sealed, char **plain, struct error *e);
