/* The keys in force: opened, read again when their file changes, closed. */
#include "auth/keyring.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"

enum { SKEW_MAX_S = 60 };

/* The master is a digest of the secret: one length, whatever the secret's. */
static void set_master(struct keyring *k, const void *secret, size_t size) {
  char hex[65];
  digest_of(secret, size, hex);
  for (size_t i = 0; i < MASTER_SIZE; i++) {
    unsigned char high = (unsigned char)hex[2 * i], low = (unsigned char)hex[2 * i + 1];
    k->master[i] =
        (unsigned char)((high <= '9' ? high - '0' : high - 'a' + 10) << 4 | (low <= '9' ? low - '0' : low - 'a' + 10));
  }
  k->master_lasts = true;
  OPENSSL_cleanse(hex, sizeof(hex));
}

static enum err choose_master(struct keyring *k, const char *own, struct error *e) {
  if (own) {
    set_master(k, own, strlen(own));
    return ERR_OK;
  }
  for (size_t i = 0; i < k->keys->count; i++) {
    const struct buf *secret = &k->keys->keys[i].sign;
    if (!secret->size) continue;
    set_master(k, secret->data, secret->size);
    return ERR_OK;
  }
  if (RAND_bytes(k->master, sizeof(k->master)) == 1) return ERR_OK;
  return error_set(e, ERR_INTERNAL, "no random bytes for a key can be had");
}

static enum err open_keys(struct keyring *k, const struct keyring_options *o, struct error *e) {
  char *own = NULL;
  enum err status = o->own_file ? ownkey_read(o->own_file, &own, e) : ERR_OK;
  if (own) log_secret_add(own);
  if (!status && o->file) status = keyset_load(&k->keys, o->file, &k->stamps, e);
  if (!status && !o->file) k->keys = keyset_of_secret("own", own);
  if (!status) status = choose_master(k, own, e);
  if (own) OPENSSL_cleanse(own, strlen(own));
  free(own);
  return status;
}

enum err keyring_open(struct keyring **keyring, const struct keyring_options *o, struct error *e) {
  *keyring = NULL;
  if (!o->file && !o->own_file)
    return error_set(e, ERR_USAGE, "no key: name a key set or a file for a key of one's own");
  if (o->skew_s > SKEW_MAX_S)
    return error_set(e, ERR_USAGE, "tokens may count for at most %d s after their end, not %u", SKEW_MAX_S, o->skew_s);
  struct keyring *k = mem_alloc(sizeof(*k));
  k->file = mem_text(o->file);
  k->issuer = mem_text(o->issuer);
  k->audience = mem_text(o->audience);
  k->skew_us = (int64_t)o->skew_s * 1000000;
  k->clock = o->clock ? o->clock : &clock_system;
  pthread_mutex_init(&k->keys_lock, NULL);
  pthread_mutex_init(&k->tickets_lock, NULL);
  pthread_mutex_init(&k->revocations_lock, NULL);
  enum err status = open_keys(k, o, e);
  if (status) keyring_close(&k);
  *keyring = k;
  return status;
}

void keyring_close(struct keyring **keyring) {
  struct keyring *k = *keyring;
  if (!k) return;
  tickets_clear(k);
  revocations_clear(k);
  keyset_release(&k->keys);
  stamps_clear(&k->stamps);
  pthread_mutex_destroy(&k->keys_lock);
  pthread_mutex_destroy(&k->tickets_lock);
  pthread_mutex_destroy(&k->revocations_lock);
  OPENSSL_cleanse(k->master, sizeof(k->master));
  free(k->file);
  free(k->issuer);
  free(k->audience);
  free(k);
  *keyring = NULL;
}

struct keyset *keyring_keys(struct keyring *k) {
  pthread_mutex_lock(&k->keys_lock);
  struct keyset *keys = keyset_hold(k->keys);
  pthread_mutex_unlock(&k->keys_lock);
  return keys;
}

static bool is_current(struct keyring *k) {
  pthread_mutex_lock(&k->keys_lock);
  bool current = stamps_hold(&k->stamps);
  pthread_mutex_unlock(&k->keys_lock);
  return current;
}

enum err keyring_reload(struct keyring *k, bool force, struct error *e) {
  if (!k->file || (!force && is_current(k))) return ERR_OK;
  struct stamps stamps = {0};
  struct keyset *fresh = NULL;
  enum err status = keyset_load(&fresh, k->file, &stamps, e);
  pthread_mutex_lock(&k->keys_lock);
  struct stamps old_stamps = k->stamps;
  struct keyset *old = fresh ? k->keys : NULL;
  k->stamps = stamps; /* also of a file that was refused: the same fault is told once */
  if (fresh) k->keys = fresh;
  pthread_mutex_unlock(&k->keys_lock);
  stamps_clear(&old_stamps);
  keyset_release(&old);
  return status;
}
