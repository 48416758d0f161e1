#include "common/checksum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

void checksum_hex(const void *bytes, size_t size, char *out) {
  static const char digits[] = "0123456789abcdef";
  const unsigned char *from = bytes;
  for (size_t i = 0; i < size; i++) {
    out[2 * i] = digits[from[i] >> 4];
    out[2 * i + 1] = digits[from[i] & 15];
  }
  out[2 * size] = '\0';
}

bool checksum_sha256(const void *data, size_t size, unsigned char out[SHA256_SIZE]) {
  return EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) == 1;
}

bool checksum_sha256_hex(const void *data, size_t size, char out[SHA256_HEX_SIZE]) {
  unsigned char digest[SHA256_SIZE] = {0};
  bool ok = checksum_sha256(data, size, digest);
  checksum_hex(digest, sizeof digest, out);
  return ok;
}

bool checksum_md5(const void *data, size_t size, unsigned char out[MD5_SIZE]) {
  return EVP_Digest(data, size, out, NULL, EVP_md5(), NULL) == 1;
}

bool checksum_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                          unsigned char out[SHA256_SIZE]) {
  unsigned int got = 0;
  return HMAC(EVP_sha256(), key, (int)key_size, data, size, out, &got) && got == SHA256_SIZE;
}

void checksum_base64(const void *bytes, size_t size, char *out) {
  EVP_EncodeBlock((unsigned char *)out, bytes, (int)size);
}

/* Feeds both digests from the file. */
static int hash_range(int fd, off_t offset, int64_t size, bool (*stop)(void *), void *context, EVP_MD_CTX *sha,
                      EVP_MD_CTX *md5, char *block, size_t block_size) {
  while (size > 0) {
    if (stop && stop(context)) return ECANCELED;
    size_t want = size < (int64_t)block_size ? (size_t)size : block_size;
    ssize_t got = pread(fd, block, want, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return ENODATA;
    if (EVP_DigestUpdate(sha, block, (size_t)got) != 1 || EVP_DigestUpdate(md5, block, (size_t)got) != 1) return ENOMEM;
    offset += got;
    size -= got;
  }
  return 0;
}

int checksum_of_range(int fd, off_t offset, int64_t size, bool (*stop)(void *), void *context, struct checksum *out) {
  enum { BLOCK = 1 << 20 };
  EVP_MD_CTX *sha = EVP_MD_CTX_new(), *md5 = EVP_MD_CTX_new();
  char *block = malloc(BLOCK);
  int failed = ENOMEM;
  if (sha && md5 && block && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1 &&
      EVP_DigestInit_ex(md5, EVP_md5(), NULL) == 1)
    failed = hash_range(fd, offset, size, stop, context, sha, md5, block, BLOCK);
  if (!failed && (EVP_DigestFinal_ex(sha, out->sha256, NULL) != 1 || EVP_DigestFinal_ex(md5, out->md5, NULL) != 1))
    failed = ENOMEM;
  free(block);
  EVP_MD_CTX_free(sha);
  EVP_MD_CTX_free(md5);
  return failed;
}

struct checksum_stream {
  EVP_MD_CTX *running;
};

struct checksum_stream *checksum_stream_new(void) {
  struct checksum_stream *s = calloc(1, sizeof *s);
  if (s) s->running = EVP_MD_CTX_new();
  if (s && (!s->running || EVP_DigestInit_ex(s->running, EVP_sha256(), NULL) != 1)) checksum_stream_free(&s);
  return s;
}

bool checksum_stream_add(struct checksum_stream *s, const void *data, size_t size) {
  return EVP_DigestUpdate(s->running, data, size) == 1;
}

bool checksum_stream_hex(struct checksum_stream *s, char out[SHA256_HEX_SIZE]) {
  unsigned char digest[SHA256_SIZE] = {0};
  EVP_MD_CTX *copy = EVP_MD_CTX_new();
  bool ok = copy && EVP_MD_CTX_copy_ex(copy, s->running) == 1 && EVP_DigestFinal_ex(copy, digest, NULL) == 1;
  EVP_MD_CTX_free(copy);
  checksum_hex(digest, sizeof digest, out);
  return ok;
}

void checksum_stream_free(struct checksum_stream **s) {
  if (!*s) return;
  EVP_MD_CTX_free((*s)->running);
  free(*s);
  *s = NULL;
}
