#include "service/upload_piece.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

enum { ROOM_EVERY = 16 << 20 };

bool upload_piece_knows(const char *algorithm) {
  return strcmp(algorithm, "sha1") == 0 || strcmp(algorithm, "sha256") == 0 || strcmp(algorithm, "md5") == 0;
}

/* ---- where a piece with a checksum began ------------------------------------------------------------------------ */

static char *base_path(struct service *service, const char *key) {
  mem_auto char *partial = upload_partial_path(service, key);
  return mem_format("%s.base", partial);
}

/* -1: no such piece was cut off. */
static int64_t base_read(struct service *service, const char *key) {
  mem_auto char *path = base_path(service, key);
  buf_auto struct buf text = {0};
  if (fs_read_file(path, 32, &text, NULL) || !text.size) return -1;
  return strtoll(buf_string(&text), NULL, 10);
}

static enum err base_write(struct service *service, const char *key, int64_t offset, struct error *e) {
  mem_auto char *path = base_path(service, key);
  char text[32];
  int size = snprintf(text, sizeof(text), "%lld", (long long)offset);
  return fs_write_durably(path, text, (size_t)size, 0600, e);
}

static void base_drop(struct service *service, const char *key) {
  mem_auto char *path = base_path(service, key);
  unlink(path);
}

/* ---- how far it is ---------------------------------------------------------------------------------------------- */

static int open_partial(struct service *service, const char *key, struct error *e) {
  mem_auto char *path = upload_partial_path(service, key);
  mem_auto char *folder = mem_text_n(path, (size_t)(strrchr(path, '/') - path));
  if (fs_make_folders(folder, 0700, e)) return -1;
  int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) error_errno(e, errno, "cannot open a file for an upload");
  return fd;
}

/* Back to where the piece began that nobody knows to be right. */
static enum err put_right(struct service *service, const char *key, int fd, int64_t *size, struct error *e) {
  int64_t base = base_read(service, key);
  if (base < 0) return ERR_OK;
  if (base < *size && ftruncate(fd, base) != 0) return error_errno(e, errno, "cannot cut an upload back");
  if (base < *size) *size = base;
  base_drop(service, key);
  return ERR_OK;
}

static enum err partial_size(struct service *service, const struct upload *u, int fd, int64_t *size, struct error *e) {
  struct stat s;
  if (fstat(fd, &s) != 0) return error_errno(e, errno, "cannot look at an upload");
  *size = s.st_size;
  if (*size > u->length) /* only a disk that lost its mind could do that */
    return error_set(e, ERR_CORRUPT, "the upload %s is longer than it was announced: begin it again", u->key);
  return put_right(service, u->key, fd, size, e);
}

static bool is_whole(struct service *service, const struct upload *u) {
  int64_t bytes;
  return upload_received(service, u, &bytes, NULL) == ERR_OK;
}

enum err upload_piece_offset(struct service *service, const struct upload *u, int64_t *offset, struct error *e) {
  if (is_whole(service, u)) {
    *offset = u->length;
    return ERR_OK;
  }
  fd_auto int fd = open_partial(service, u->key, e);
  if (fd < 0) return e ? e->code : ERR_IO;
  enum err err = partial_size(service, u, fd, offset, e);
  /* Everything had come when the daemon died, but for its name. An empty one is complete from the beginning. */
  if (!err && *offset == u->length) err = upload_publish(service, u->key, fd, e);
  return err;
}

/* ---- a piece ---------------------------------------------------------------------------------------------------- */

static enum err begin_digest(struct upload_piece *p, const char *algorithm, const void *wanted, size_t size,
                             struct error *e) {
  const EVP_MD *md = EVP_get_digestbyname(algorithm);
  if (!upload_piece_knows(algorithm) || !md || size != (size_t)EVP_MD_get_size(md))
    return error_set(e, ERR_INVALID, "a checksum is one of " UPLOAD_PIECE_ALGORITHMS ", in base64");
  p->digest = EVP_MD_CTX_new();
  if (!p->digest || EVP_DigestInit_ex(p->digest, md, NULL) != 1)
    return error_set(e, ERR_INTERNAL, "a checksum cannot be computed");
  memcpy(p->wanted, wanted, size);
  p->wanted_size = size;
  return base_write(p->service, p->upload->key, p->begin, e);
}

static enum err begin_at(struct upload_piece *p, int64_t offset, struct error *e) {
  int64_t size;
  enum err err = partial_size(p->service, p->upload, p->fd, &size, e);
  if (err) return err;
  if (size != offset)
    return error_set(e, ERR_CONFLICT, "the upload is at byte %lld, not at %lld", (long long)size, (long long)offset);
  if (lseek(p->fd, offset, SEEK_SET) < 0) return error_errno(e, errno, "cannot go to byte %lld", (long long)offset);
  p->begin = p->offset = p->checked = offset;
  return ERR_OK;
}

static void release(struct upload_piece *p) {
  if (p->fd >= 0) close(p->fd);
  p->fd = -1;
  EVP_MD_CTX_free(p->digest);
  p->digest = NULL;
}

enum err upload_piece_open(struct upload_piece *p, struct service *service, const struct upload *u, int64_t offset,
                           const char *algorithm, const void *wanted, size_t wanted_size, struct error *e) {
  *p = (struct upload_piece){.service = service, .upload = u, .fd = -1};
  if (is_whole(service, u)) {
    if (offset != u->length) return error_set(e, ERR_CONFLICT, "the upload is complete");
    p->begin = p->offset = offset;
    p->whole = true;
    return ERR_OK;
  }
  p->fd = open_partial(service, u->key, e);
  if (p->fd < 0) return e ? e->code : ERR_IO;
  enum err err = begin_at(p, offset, e);
  if (!err && algorithm) err = begin_digest(p, algorithm, wanted, wanted_size, e);
  if (err) release(p);
  return err;
}

enum err upload_piece_write(struct upload_piece *p, const void *data, size_t size, struct error *e) {
  const char *at = data;
  if (p->offset + (int64_t)size > p->upload->length)
    return error_set(e, ERR_TOO_LARGE, "the upload was announced with %lld bytes", (long long)p->upload->length);
  if (p->offset + (int64_t)size > p->checked) {
    if (upload_room(p->service, ROOM_EVERY, e)) return ERR_NO_SPACE;
    p->checked = p->offset + ROOM_EVERY;
  }
  if (p->digest) EVP_DigestUpdate(p->digest, data, size);
  while (size) {
    ssize_t n = write(p->fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_errno(e, errno, "cannot write an upload");
    at += n;
    size -= (size_t)n;
    p->offset += n;
  }
  return ERR_OK;
}

static enum err drop(struct upload_piece *p, struct error *e) {
  if (ftruncate(p->fd, p->begin) != 0) return error_errno(e, errno, "cannot cut an upload back");
  p->offset = p->begin;
  base_drop(p->service, p->upload->key);
  return ERR_OK;
}

static bool is_right(struct upload_piece *p) {
  unsigned char is[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  return EVP_DigestFinal_ex(p->digest, is, &size) == 1 && size == p->wanted_size &&
         CRYPTO_memcmp(is, p->wanted, size) == 0;
}

static enum err settle(struct upload_piece *p, bool ended, struct error *e) {
  if (p->digest && !ended) return drop(p, e);
  if (p->digest && !is_right(p)) {
    drop(p, NULL);
    return error_set(e, ERR_CORRUPT, "the checksum of this piece does not match: send it again");
  }
  if (p->offset == p->upload->length) {
    enum err err = upload_publish(p->service, p->upload->key, p->fd, e);
    p->whole = err == ERR_OK;
    if (err) return err;
  } else if (fdatasync(p->fd) != 0) {
    return error_errno(e, errno, "cannot sync an upload");
  }
  if (p->digest) base_drop(p->service, p->upload->key);
  return ERR_OK;
}

enum err upload_piece_close(struct upload_piece *p, bool ended, struct error *e) {
  enum err err = p->fd >= 0 ? settle(p, ended, e) : ERR_OK;
  release(p);
  return err;
}
