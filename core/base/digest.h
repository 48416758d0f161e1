/* digest.h - SHA-256 (OpenSSL's EVP) and hex. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct digest; /* running */
struct digest *digest_new(void);
void digest_add(struct digest *d, const void *data, size_t size);
/* Ends and frees; hex gets 64 lower-case digits and a NUL. */
void digest_hex(struct digest **d, char hex[65]);
void digest_of(const void *data, size_t size, char hex[65]);
/* Hash of an open file from offset 0 (pread; the offset is not moved); size_bytes may be NULL. */
enum err digest_of_fd(int fd, char hex[65], int64_t *size_bytes, struct error *e);
