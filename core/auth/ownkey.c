#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/base64url.h"
#include "auth/keyset.h"
#include "base/fs.h"
#include "base/mem.h"

enum { OWN_BYTES = 32 };

static enum err write_all(int fd, const struct buf *text, const char *path, struct error *e) {
  size_t done = 0;
  while (done < text->size) {
    ssize_t n = write(fd, text->data + done, text->size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_errno(e, errno, "cannot write %s", path);
    done += (size_t)n;
  }
  return fsync(fd) == 0 ? ERR_OK : error_errno(e, errno, "cannot sync %s", path);
}

static enum err draw(struct buf *text, struct error *e) {
  unsigned char raw[OWN_BYTES];
  if (RAND_bytes(raw, sizeof(raw)) != 1) return error_set(e, ERR_INTERNAL, "no random bytes for a key can be had");
  base64url_add(text, raw, sizeof(raw));
  buf_char(text, '\n');
  OPENSSL_cleanse(raw, sizeof(raw));
  return ERR_OK;
}

/* Complete under a name of its own first, then linked: the first link wins, and nobody ever sees half a key. */
static enum err make(const char *path, struct error *e) {
  struct buf text = {0};
  mem_auto char *temporary = mem_format("%s.new-XXXXXX", path);
  mem_auto char *folder = mem_text_n(path, (size_t)(fs_base_name(path) - path));
  fd_auto int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
  if (fd < 0) return error_errno(e, errno, "cannot make the key %s", path);
  enum err status = draw(&text, e);
  if (!status) status = write_all(fd, &text, temporary, e);
  if (!status && link(temporary, path) != 0 && errno != EEXIST)
    status = error_errno(e, errno, "cannot make the key %s", path);
  unlink(temporary);
  if (text.data) OPENSSL_cleanse(text.data, text.size);
  buf_free(&text);
  return status ? status : fs_sync_folder(*folder ? folder : ".", e);
}

static enum err read_own(const char *path, char **secret, struct error *e) {
  struct buf text = {0};
  struct stamps stamps = {0};
  struct key key = {0};
  enum err status = key_file_read(path, true, KEY_BYTES_MAX, &text, &stamps, e);
  if (!status) status = key_take_secret(&key, &text, e);
  if (status == ERR_INVALID) error_prefix(e, "%s", path);
  if (!status) *secret = mem_text_n(key.verify.data, key.verify.size);
  if (text.data) OPENSSL_cleanse(text.data, text.size);
  buf_free(&text);
  stamps_clear(&stamps);
  key_clear(&key);
  return status;
}

enum err ownkey_read(const char *path, char **secret, struct error *e) {
  struct stat s;
  *secret = NULL;
  if (stat(path, &s) != 0 && errno == ENOENT) {
    enum err status = make(path, e);
    if (status) return status;
  }
  return read_own(path, secret, e);
}
