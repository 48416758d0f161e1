/* keyset.h - the keys that tokens are checked with, as one file names them. Never changed once it is loaded: a new file
 * is a new set, and whoever verifies holds the one it began with. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/error.h"

enum { KEY_BYTES_MAX = 16 * 1024, KEYSET_BYTES_MAX = 256 * 1024, KEYS_MAX = 64, KEY_SECRET_MIN = 32 };

enum key_alg { KEY_HS256 = 1, KEY_RS256, KEY_ES256 };
const char *key_alg_word(enum key_alg alg); /* "HS256", as a token's header writes it */

struct key {
  char *kid; /* NULL: the one key of its set */
  enum key_alg alg;
  struct buf verify; /* secret, or public key as PEM */
  struct buf sign;   /* secret, or private key as PEM; empty: can only verify */
};
void key_clear(struct key *key); /* wiped before it is freed */

/* What a file was when it was read: another inode, size or time is another content. */
struct stamp {
  char *path;
  dev_t device;
  ino_t inode; /* 0: could not be opened */
  off_t size;
  struct timespec changed, modified;
};
struct stamps {
  struct stamp *items;
  size_t count;
};
void stamps_clear(struct stamps *stamps);
bool stamps_hold(const struct stamps *stamps); /* nothing has changed since */

struct keyset {
  atomic_uint references;
  struct key *keys;
  size_t count;
};
/* Stamps tell of every file that was looked at, also when the set is refused. */
enum err keyset_load(struct keyset **set, const char *file, struct stamps *stamps, struct error *e);
struct keyset *keyset_of_secret(const char *kid, const char *secret); /* one HS256 key */
struct keyset *keyset_hold(struct keyset *set);
void keyset_release(struct keyset **set);

/* ---- ownkey.c: a secret of this daemon's own -------------------------------------------------------------------- */

/* Reads it; makes it (32 random bytes as base64url, 0600, durable) when it is absent. Of two that make it at once, both
 * get the same. *secret is owned. */
enum err ownkey_read(const char *path, char **secret, struct error *e);

/* ---- keymaterial.c: one key's bytes ----------------------------------------------------------------------------- */

/* Whole file; ERR_DENIED when `secret` and others may read it. Adds its stamp. */
enum err key_file_read(const char *path, bool secret, size_t limit, struct buf *out, struct stamps *stamps,
                       struct error *e);
/* Takes the secret's bytes, without a last line feed. Refuses short ones and PEM: a public key is no secret. */
enum err key_take_secret(struct key *key, const struct buf *text, struct error *e);
/* Checks kind and strength and keeps them in one plain form. private_pem wins; both must belong together. */
enum err key_take_pem(struct key *key, const struct buf *public_pem, const struct buf *private_pem, struct error *e);
