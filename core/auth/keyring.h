/* keyring.h - what the files of the keyring share.
 *
 * Locks, none taken inside another: keys (which set is in force, its stamps), tickets, revocations. A set is immutable
 * and counted, so that a token is checked outside of any lock. */
#pragma once
#include <pthread.h>

#include "auth/auth.h"
#include "auth/keyset.h"
#include "base/value.h"

enum {
  TOKEN_BYTES_MAX = 8 * 1024,
  NAME_BYTES_MAX = 255,        /* of subjects, ids of grants and tokens: what the store takes */
  EARLY_US = 10 * 1000 * 1000, /* `nbf` and `iat` may lie so far ahead: an issuer's clock is never exactly ours */
  MASTER_SIZE = 32,
};

struct ticket {
  unsigned char digest[32]; /* of its text: finding it by comparing tells nothing about the text */
  struct principal principal;
  int64_t until_boot_us;
};

struct revocation {
  char *what; /* "jti:..." or "sub:..." */
  int64_t at_us, until_us;
};

struct keyring {
  char *file, *issuer, *audience;
  int64_t skew_us;
  const struct clock *clock;
  unsigned char master[MASTER_SIZE]; /* what links and seals derive their keys from; never changes */
  bool master_lasts;                 /* the same after a restart: what is sealed can be read again */

  pthread_mutex_t keys_lock;
  struct keyset *keys;
  struct stamps stamps;

  pthread_mutex_t tickets_lock;
  struct ticket *tickets; /* oldest first */
  size_t ticket_count, ticket_room;

  pthread_mutex_t revocations_lock;
  struct revocation *revocations; /* sorted by `what` */
  size_t revocation_count;
};

struct keyset *keyring_keys(struct keyring *keyring); /* held: keyset_release */

/* claims.c: fills the principal from a payload whose signature has been checked; ERR_DENIED. */
enum err claims_judge(const struct keyring *keyring, const struct value *payload, struct principal *principal,
                      struct error *e);
void tickets_clear(struct keyring *keyring);
void revocations_clear(struct keyring *keyring);
