#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

enum err fs_make_folders(const char *path, mode_t mode, struct error *e) {
  mem_auto char *copy = mem_text(path);
  size_t size = strlen(copy);
  for (size_t i = 1; i <= size; i++) {
    if (copy[i] != '/' && copy[i] != '\0') continue;
    char kept = copy[i];
    copy[i] = '\0';
    if (mkdir(copy, mode) != 0 && errno != EEXIST) return error_errno(e, errno, "cannot make the folder %s", copy);
    copy[i] = kept;
  }
  struct stat s;
  if (stat(path, &s) != 0) return error_errno(e, errno, "cannot look at the folder %s", path);
  if (!S_ISDIR(s.st_mode)) return error_set(e, ERR_CONFLICT, "%s is in the way: it is not a folder", path);
  return ERR_OK;
}

enum err fs_read_fd(int fd, size_t limit, struct buf *out, struct error *e) {
  struct stat s;
  if (fstat(fd, &s) != 0) return error_errno(e, errno, "cannot look at a file");
  if (!S_ISREG(s.st_mode)) return error_set(e, ERR_INVALID, "not a regular file");
  size_t room = limit < 65536 ? limit + 1 : 65536, total = 0;
  mem_auto char *chunk = mem_alloc(room);
  for (;;) {
    ssize_t n = read(fd, chunk, room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_errno(e, errno, "cannot read a file");
    if (n == 0) return ERR_OK;
    total += (size_t)n;
    if (total > limit) return error_set(e, ERR_TOO_LARGE, "larger than the %zu bytes allowed", limit);
    buf_add(out, chunk, (size_t)n);
  }
}

enum err fs_read_file(const char *path, size_t limit, struct buf *out, struct error *e) {
  /* O_NONBLOCK: a FIFO in the file's place must not hold us; it is refused as no regular file. */
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return error_errno(e, errno, "cannot open %s", path);
  enum err status = fs_read_fd(fd, limit, out, e);
  if (status) error_prefix(e, "%s", path);
  return status;
}

static char *folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return mem_text(".");
  return slash == path ? mem_text("/") : mem_text_n(path, (size_t)(slash - path));
}

enum err fs_sync_folder(const char *path, struct error *e) {
  fd_auto int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return error_errno(e, errno, "cannot open the folder %s", path);
  if (fsync(fd) != 0) return error_errno(e, errno, "cannot sync the folder %s", path);
  return ERR_OK;
}

static int write_and_sync(int fd, const char *data, size_t size, mode_t mode) {
  while (size) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data += n;
    size -= (size_t)n;
  }
  if (fchmod(fd, mode) != 0 || fsync(fd) != 0) return errno;
  return 0;
}

enum err fs_write_durably(const char *path, const void *data, size_t size, mode_t mode, struct error *e) {
  mem_auto char *temporary = mem_format("%s.tmp-XXXXXX", path);
  mem_auto char *folder = folder_of(path);
  int fd = mkostemp(temporary, O_CLOEXEC);
  if (fd < 0) return error_errno(e, errno, "cannot write beside %s", path);
  int fault = write_and_sync(fd, data, size, mode);
  if (close(fd) != 0 && !fault) fault = errno;
  if (!fault && rename(temporary, path) != 0) fault = errno;
  if (fault) {
    unlink(temporary);
    return error_errno(e, fault, "cannot write %s", path);
  }
  return fs_sync_folder(folder, e);
}

/* Appends the components of path to the clean form in out. */
static void add_components(struct buf *out, const char *path) {
  while (*path) {
    size_t size = strcspn(path, "/");
    if (size == 2 && path[0] == '.' && path[1] == '.') {
      while (out->size && out->data[--out->size] != '/') continue;
      if (out->data) out->data[out->size] = '\0';
    } else if (size && !(size == 1 && path[0] == '.')) {
      buf_char(out, '/');
      buf_add(out, path, size);
    }
    path += size;
    while (*path == '/') path++;
  }
}

char *fs_absolute(const char *base, const char *path) {
  struct buf out = {0};
  if (path[0] != '/') {
    mem_auto char *here = base && base[0] == '/' ? NULL : getcwd(NULL, 0);
    if (here) add_components(&out, here);
    if (base) add_components(&out, base);
  }
  add_components(&out, path);
  if (!out.size) buf_char(&out, '/');
  return buf_take(&out);
}

const char *fs_base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

int64_t fs_free_bytes(const char *path) {
  struct statvfs s;
  if (statvfs(path, &s) != 0) return -1;
  return (int64_t)s.f_bavail * (int64_t)s.f_frsize;
}
