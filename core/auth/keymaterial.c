/* One key's bytes: where they lie, whether they are what the algorithm needs, and strong enough. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

#include "auth/keyset.h"
#include "base/fs.h"
#include "base/mem.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192 };

const char *key_alg_word(enum key_alg alg) { return alg == KEY_HS256 ? "HS256" : alg == KEY_RS256 ? "RS256" : "ES256"; }

static void wipe(struct buf *b) {
  if (b->data) OPENSSL_cleanse(b->data, b->size);
  buf_free(b);
}

void key_clear(struct key *key) {
  free(key->kid);
  wipe(&key->verify);
  wipe(&key->sign);
  *key = (struct key){0};
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static struct stamp stamp_of(const char *path, const struct stat *s) {
  struct stamp stamp = {.path = mem_text(path)};
  if (!s) return stamp;
  stamp.device = s->st_dev;
  stamp.inode = s->st_ino;
  stamp.size = s->st_size;
  stamp.changed = s->st_ctim;
  stamp.modified = s->st_mtim;
  return stamp;
}

static void stamps_add(struct stamps *stamps, const char *path, const struct stat *s) {
  stamps->items = mem_grow(stamps->items, stamps->count + 1, sizeof(*stamps->items));
  stamps->items[stamps->count++] = stamp_of(path, s);
}

void stamps_clear(struct stamps *stamps) {
  for (size_t i = 0; i < stamps->count; i++) free(stamps->items[i].path);
  free(stamps->items);
  *stamps = (struct stamps){0};
}

static bool same_time(const struct timespec *a, const struct timespec *b) {
  return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool stamps_hold(const struct stamps *stamps) {
  for (size_t i = 0; i < stamps->count; i++) {
    const struct stamp *then = &stamps->items[i];
    struct stat s;
    if (stat(then->path, &s) != 0) {
      if (then->inode) return false;
      continue;
    }
    if (s.st_dev != then->device || s.st_ino != then->inode || s.st_size != then->size ||
        !same_time(&s.st_ctim, &then->changed) || !same_time(&s.st_mtim, &then->modified))
      return false;
  }
  return true;
}

enum err key_file_read(const char *path, bool secret, size_t limit, struct buf *out, struct stamps *stamps,
                       struct error *e) {
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  struct stat s;
  if (fd < 0 || fstat(fd, &s) != 0) {
    int fault = errno;
    stamps_add(stamps, path, NULL);
    return error_errno(e, fault, "cannot open %s", path);
  }
  stamps_add(stamps, path, &s);
  if (secret && s.st_mode & (S_IRWXO | S_IWGRP))
    return error_set(e, ERR_DENIED, "%s holds a secret and is open to others (mode %04o): chmod 600 it", path,
                     (unsigned)s.st_mode & 07777);
  enum err status = fs_read_fd(fd, limit, out, e);
  if (status) error_prefix(e, "%s", path);
  return status;
}

/* ---- secrets ---------------------------------------------------------------------------------------------------- */

enum err key_take_secret(struct key *key, const struct buf *text, struct error *e) {
  size_t size = text->size;
  if (size && text->data[size - 1] == '\n') size--;
  if (size && text->data[size - 1] == '\r') size--;
  if (size < KEY_SECRET_MIN)
    return error_set(e, ERR_INVALID,
                     "the secret has %zu bytes, HS256 needs %d at least: `openssl rand -hex 32` makes one", size,
                     KEY_SECRET_MIN);
  /* Everybody may know a public key: as a secret it would let everybody sign. */
  if (memmem(text->data, size, "-----BEGIN", 10))
    return error_set(e, ERR_INVALID, "the secret is a PEM file: a key pair belongs to alg RS256 or ES256");
  buf_add(&key->verify, text->data, size);
  buf_add(&key->sign, text->data, size);
  return ERR_OK;
}

/* ---- key pairs -------------------------------------------------------------------------------------------------- */

/* Nobody is there to be asked for a passphrase. */
static int no_passphrase(char *into, int room, int writing, void *context) {
  (void)into, (void)room, (void)writing, (void)context;
  return 0;
}

static EVP_PKEY *read_pem(const struct buf *text, bool private) {
  BIO *bio = BIO_new_mem_buf(text->data, (int)text->size);
  if (!bio) return NULL;
  EVP_PKEY *pair = private ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
                           : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
  BIO_free(bio);
  return pair;
}

static bool write_pem(EVP_PKEY *pair, bool private, struct buf *out) {
  BIO *bio = BIO_new(BIO_s_mem());
  char *data = NULL;
  if (!bio) return false;
  bool written = private ? PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL) == 1
                         : PEM_write_bio_PUBKEY(bio, pair) == 1;
  long size = BIO_get_mem_data(bio, &data);
  if (written && size > 0) buf_add(out, data, (size_t)size);
  if (data && size > 0) OPENSSL_cleanse(data, (size_t)size);
  BIO_free(bio);
  return written;
}

static enum err check_pair(const struct key *key, EVP_PKEY *pair, struct error *e) {
  char group[32] = "";
  if (key->alg == KEY_RS256) {
    int bits = EVP_PKEY_get_bits(pair);
    if (EVP_PKEY_get_base_id(pair) != EVP_PKEY_RSA) return error_set(e, ERR_INVALID, "RS256 needs an RSA key");
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
      return error_set(e, ERR_INVALID, "the RSA key has %d bits: RS256 takes %d to %d", bits, RSA_BITS_MIN,
                       RSA_BITS_MAX);
    return ERR_OK;
  }
  if (EVP_PKEY_get_base_id(pair) != EVP_PKEY_EC || EVP_PKEY_get_group_name(pair, group, sizeof(group), NULL) != 1 ||
      strcmp(group, "prime256v1") != 0)
    return error_set(e, ERR_INVALID, "ES256 needs a key on the curve P-256 (prime256v1)");
  return ERR_OK;
}

static enum err keep_pair(struct key *key, EVP_PKEY *pair, bool private, struct error *e) {
  if (check_pair(key, pair, e)) return ERR_INVALID;
  if (!write_pem(pair, false, &key->verify) || (private && !write_pem(pair, true, &key->sign)))
    return error_set(e, ERR_INVALID, "the key cannot be used");
  return ERR_OK;
}

enum err key_take_pem(struct key *key, const struct buf *public_pem, const struct buf *private_pem, struct error *e) {
  EVP_PKEY *private = private_pem->size ? read_pem(private_pem, true) : NULL;
  EVP_PKEY *public = public_pem->size ? read_pem(public_pem, false) : NULL;
  enum err status = ERR_OK;
  if (private_pem->size && !private)
    status =
        error_set(e, ERR_INVALID, "the private key is no PEM file without passphrase (-----BEGIN PRIVATE KEY-----)");
  else if (public_pem->size && !public)
    status = error_set(e, ERR_INVALID, "the public key is no PEM text (-----BEGIN PUBLIC KEY-----)");
  else if (private && public && EVP_PKEY_eq(private, public) != 1)
    status = error_set(e, ERR_INVALID, "public and private key do not belong together");
  else
    status = keep_pair(key, private ? private : public, private != NULL, e);
  EVP_PKEY_free(private);
  EVP_PKEY_free(public);
  return status;
}
