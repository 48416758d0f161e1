/* checksum.h - SHA-256, MD5 and HMAC by OpenSSL, of memory and of ranges of files. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SHA256_SIZE = 32, MD5_SIZE = 16, SHA256_HEX_SIZE = 65, MD5_HEX_SIZE = 33 };

/* Lower-case hex with a NUL; out has room for 2 * size + 1. */
void checksum_hex(const void *bytes, size_t size, char *out);
bool checksum_sha256(const void *data, size_t size, unsigned char out[SHA256_SIZE]);
bool checksum_sha256_hex(const void *data, size_t size, char out[SHA256_HEX_SIZE]);
bool checksum_md5(const void *data, size_t size, unsigned char out[MD5_SIZE]);
bool checksum_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                          unsigned char out[SHA256_SIZE]);
/* Standard base64 with padding; out has room for 4 * ((size + 2) / 3) + 1. */
void checksum_base64(const void *bytes, size_t size, char *out);

struct checksum { /* of one range of a file */
  unsigned char sha256[SHA256_SIZE], md5[MD5_SIZE];
};
/* Reads [offset, offset + size) with pread; both digests in one pass. `stop` (may be NULL) is asked every MiB.
 * 0, or an errno: ECANCELED when stopped, ENODATA when the file ends early, ENOMEM. */
int checksum_of_range(int fd, off_t offset, int64_t size, bool (*stop)(void *), void *context, struct checksum *out);

struct checksum_stream; /* a running SHA-256 */
struct checksum_stream *checksum_stream_new(void);
bool checksum_stream_add(struct checksum_stream *s, const void *data, size_t size);
bool checksum_stream_hex(struct checksum_stream *s, char out[SHA256_HEX_SIZE]); /* of what came so far; may go on */
void checksum_stream_free(struct checksum_stream **s);
