/* What the daemon's own secret is good for besides tokens: signed links, and text that rests encrypted. Every purpose
 * has a key of its own (HKDF), so that nothing made for one can serve another. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/keyring.h"
#include "base/mem.h"

enum { SALT = 32, KEY = 32, NONCE = 12, TAG = 16, SEAL_BYTES_MAX = 1 << 20 };
static const char seal_mark[] = "v1.";

/* HKDF-SHA256 (RFC 5869) of the master secret. */
static bool derive(const struct keyring *k, const void *salt, size_t salt_size, const char *purpose, unsigned char *out,
                   size_t size) {
  EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
  EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)k->master, MASTER_SIZE),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, salt_size),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)purpose, strlen(purpose)),
      OSSL_PARAM_construct_end()};
  bool done = context && EVP_KDF_derive(context, out, size, params) == 1;
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(kdf);
  return done;
}

/* ---- links ------------------------------------------------------------------------------------------------------ */

void link_sign(struct keyring *k, const char *method, const char *path, int64_t expires_s, char signature[65]) {
  static const char purpose[] = "stagemill link v1";
  unsigned char key[KEY], mac[32];
  unsigned size = 0;
  mem_auto char *text = mem_format("%s\n%lld\n%s", method, (long long)expires_s, path);
  buf_auto struct buf out = {0};
  signature[0] = '\0'; /* verifies nothing */
  if (!derive(k, "", 0, purpose, key, sizeof(key))) return;
  if (HMAC(EVP_sha256(), key, sizeof(key), (const unsigned char *)text, strlen(text), mac, &size)) {
    base64url_add(&out, mac, size);
    memcpy(signature, buf_string(&out), out.size + 1);
  }
  OPENSSL_cleanse(key, sizeof(key));
}

enum err link_verify(struct keyring *k, const char *method, const char *path, int64_t expires_s, const char *signature,
                     struct error *e) {
  char right[65];
  link_sign(k, method, path, expires_s, right);
  size_t size = strlen(right);
  if (!size || strnlen(signature, 65) != size || CRYPTO_memcmp(right, signature, size) != 0)
    return error_set(e, ERR_DENIED, "the link's signature does not match it");
  if (clock_wall(k->clock) / 1000000 >= expires_s) return error_set(e, ERR_DENIED, "the link has expired");
  return ERR_OK;
}

/* ---- seals: "v1." base64url(salt, sealed text, tag); key and nonce come from the salt, so neither is ever used twice  */

static bool seal_key(const struct keyring *k, const unsigned char salt[SALT], unsigned char out[KEY + NONCE]) {
  return derive(k, salt, SALT, "stagemill seal v1", out, KEY + NONCE);
}

static bool cipher_run(EVP_CIPHER_CTX *c, const unsigned char secret[KEY + NONCE], const char *context,
                       const unsigned char *in, int size, unsigned char *out, unsigned char tag[TAG], bool encrypt) {
  int n;
  if (EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, secret, secret + KEY, encrypt) != 1) return false;
  if (!encrypt && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) != 1) return false;
  if (EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)context, (int)strlen(context)) != 1) return false;
  if (size && EVP_CipherUpdate(c, out, &n, in, size) != 1) return false;
  if (EVP_CipherFinal_ex(c, out + size, &n) != 1) return false;
  return !encrypt || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1;
}

static bool cipher(const struct keyring *k, const unsigned char salt[SALT], const char *context,
                   const unsigned char *in, int size, unsigned char *out, unsigned char tag[TAG], bool encrypt) {
  unsigned char secret[KEY + NONCE];
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  bool done = c && seal_key(k, salt, secret) && cipher_run(c, secret, context, in, size, out, tag, encrypt);
  EVP_CIPHER_CTX_free(c);
  OPENSSL_cleanse(secret, sizeof(secret));
  return done;
}

enum err seal(struct keyring *k, const char *context, const char *plain, char **sealed, struct error *e) {
  size_t size = strlen(plain);
  *sealed = NULL;
  if (!k->master_lasts)
    return error_set(e, ERR_UNSUPPORTED, "nothing can be kept encrypted: the key set has public keys only");
  if (size > SEAL_BYTES_MAX) return error_set(e, ERR_TOO_LARGE, "too much to be kept encrypted: %zu bytes", size);
  mem_auto unsigned char *raw = mem_alloc(SALT + size + TAG);
  if (RAND_bytes(raw, SALT) != 1 ||
      !cipher(k, raw, context, (const unsigned char *)plain, (int)size, raw + SALT, raw + SALT + size, true))
    return error_set(e, ERR_INTERNAL, "a text cannot be encrypted");
  struct buf out = {0};
  buf_text(&out, seal_mark);
  base64url_add(&out, raw, SALT + size + TAG);
  *sealed = buf_take(&out);
  return ERR_OK;
}

enum err unseal(struct keyring *k, const char *context, const char *sealed, char **plain, struct error *e) {
  buf_auto struct buf raw = {0};
  size_t mark = strlen(seal_mark);
  *plain = NULL;
  if (strncmp(sealed, seal_mark, mark) != 0 || strlen(sealed) > 2 * SEAL_BYTES_MAX ||
      !base64url_read(sealed + mark, strlen(sealed + mark), &raw) || raw.size < SALT + TAG)
    return error_set(e, ERR_CORRUPT, "what was kept encrypted is damaged");
  size_t size = raw.size - SALT - TAG;
  unsigned char *bytes = (unsigned char *)raw.data;
  char *out = mem_alloc(size + 1);
  if (!cipher(k, bytes, context, bytes + SALT, (int)size, (unsigned char *)out, bytes + SALT + size, false)) {
    OPENSSL_cleanse(out, size);
    free(out);
    return error_set(e, ERR_DENIED,
                     "what was kept encrypted was changed, is for something else, or the key was replaced");
  }
  *plain = out;
  return ERR_OK;
}
