#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "base/mem.h"

struct digest {
  EVP_MD_CTX *md;
};

struct digest *digest_new(void) {
  struct digest *d = mem_alloc(sizeof(*d));
  d->md = EVP_MD_CTX_new();
  /* Both fail only for want of memory: SHA-256 is in every provider. */
  if (!d->md || EVP_DigestInit_ex(d->md, EVP_sha256(), NULL) != 1) _exit(MEM_EXIT_CODE);
  return d;
}

void digest_add(struct digest *d, const void *data, size_t size) { EVP_DigestUpdate(d->md, data, size); }

void digest_hex(struct digest **d, char hex[65]) {
  static const char digits[] = "0123456789abcdef";
  unsigned char raw[EVP_MAX_MD_SIZE] = {0};
  EVP_DigestFinal_ex((*d)->md, raw, NULL);
  for (int i = 0; i < 32; i++) {
    hex[2 * i] = digits[raw[i] >> 4];
    hex[2 * i + 1] = digits[raw[i] & 15];
  }
  hex[64] = '\0';
  EVP_MD_CTX_free((*d)->md);
  free(*d);
  *d = NULL;
}

void digest_of(const void *data, size_t size, char hex[65]) {
  struct digest *d = digest_new();
  digest_add(d, data, size);
  digest_hex(&d, hex);
}

enum err digest_of_fd(int fd, char hex[65], int64_t *size_bytes, struct error *e) {
  enum { CHUNK = 256 * 1024 };
  mem_auto unsigned char *chunk = mem_alloc(CHUNK);
  struct digest *d = digest_new();
  int64_t at = 0;
  ssize_t n;
  while ((n = pread(fd, chunk, CHUNK, at)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    digest_add(d, chunk, (size_t)n);
    at += n;
  }
  int saved = errno;
  digest_hex(&d, hex);
  if (n < 0) return error_errno(e, saved, "cannot read a file to digest it");
  if (size_bytes) *size_bytes = at;
  return ERR_OK;
}
