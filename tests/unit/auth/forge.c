#include "forge.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

/* Not the code under test: OpenSSL's own base64, its alphabet changed. */
static void add_base64(struct buf *out, const void *data, size_t size) {
  mem_auto unsigned char *text = mem_alloc(4 * (size / 3 + 1) + 1);
  int n = EVP_EncodeBlock(text, data, (int)size);
  for (int i = 0; i < n && text[i] != '='; i++)
    buf_char(out, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char)text[i]);
}

static void add_parts(struct buf *out, const char *header, const char *payload) {
  add_base64(out, header, strlen(header));
  buf_char(out, '.');
  add_base64(out, payload, strlen(payload));
}

char *forge_hs(const char *header, const char *payload, const void *secret, size_t size) {
  struct buf out = {0};
  unsigned char mac[32];
  unsigned n = 0;
  add_parts(&out, header, payload);
  HMAC(EVP_sha256(), secret, (int)size, (unsigned char *)out.data, out.size, mac, &n);
  buf_char(&out, '.');
  add_base64(&out, mac, n);
  return buf_take(&out);
}

static size_t der_to_raw(unsigned char *signature, size_t size, unsigned char raw[64]) {
  const unsigned char *at = signature;
  ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)size);
  BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
  ECDSA_SIG_free(sig);
  return 64;
}

char *forge_pair(const char *header, const char *payload, EVP_PKEY *pair) {
  struct buf out = {0};
  unsigned char signature[1024], raw[64];
  size_t size = sizeof(signature);
  EVP_MD_CTX *md = EVP_MD_CTX_new();
  add_parts(&out, header, payload);
  assert_int_equal(EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, pair), 1);
  assert_int_equal(EVP_DigestSign(md, signature, &size, (unsigned char *)out.data, out.size), 1);
  EVP_MD_CTX_free(md);
  buf_char(&out, '.');
  if (EVP_PKEY_get_base_id(pair) == EVP_PKEY_EC)
    add_base64(&out, raw, der_to_raw(signature, size, raw));
  else
    add_base64(&out, signature, size);
  return buf_take(&out);
}

char *forge_none(const char *header, const char *payload) {
  struct buf out = {0};
  add_parts(&out, header, payload);
  buf_char(&out, '.');
  return buf_take(&out);
}

char *forge_payload(const char *more) {
  return mem_format("{\"sub\":\"ann\",\"scope\":\"read submit\",\"exp\":%d%s}", NOW_S + 3600, more);
}

char *forge_path(const struct forge *f, const char *name) { return mem_format("%s/%s", f->folder, name); }

void forge_write(const struct forge *f, const char *name, const char *text, unsigned mode) {
  mem_auto char *path = forge_path(f, name);
  struct error e;
  assert_int_equal(fs_write_durably(path, text, strlen(text), mode, &e), ERR_OK);
}

char *forge_read(const struct forge *f, const char *name) {
  struct buf text = {0};
  struct error e;
  mem_auto char *path = forge_path(f, name);
  assert_int_equal(fs_read_file(path, 1 << 20, &text, &e), ERR_OK);
  return buf_take(&text);
}

static void save(const struct forge *f, const char *name, EVP_PKEY *pair, bool private) {
  mem_auto char *path = forge_path(f, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  int written = private ? PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL) : PEM_write_PUBKEY(file, pair);
  assert_int_equal(written, 1);
  fclose(file);
  assert_int_equal(chmod(path, private ? 0600 : 0644), 0);
}

void forge_open(struct forge *f) {
  const char *tmp = getenv("TMPDIR");
  snprintf(f->folder, sizeof(f->folder), "%s/auth-XXXXXX", tmp ? tmp : "/tmp");
  assert_non_null(mkdtemp(f->folder));
  clock_fake_init(&f->clock, 1000000, NOW_S * INT64_C(1000000));
  f->rsa = EVP_RSA_gen(2048);
  f->ec = EVP_EC_gen("P-256");
  EVP_PKEY *weak = EVP_RSA_gen(1024), *p384 = EVP_EC_gen("P-384");
  assert_true(f->rsa && f->ec && weak && p384);
  save(f, "rsa.pem", f->rsa, true);
  save(f, "rsa.pub", f->rsa, false);
  save(f, "ec.pem", f->ec, true);
  save(f, "ec.pub", f->ec, false);
  save(f, "weak.pub", weak, false);
  save(f, "p384.pem", p384, true);
  EVP_PKEY_free(weak);
  EVP_PKEY_free(p384);
}

void forge_close(struct forge *f) {
  EVP_PKEY_free(f->rsa);
  EVP_PKEY_free(f->ec);
  fs_remove_path(f->folder, NULL);
}
