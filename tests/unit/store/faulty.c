#include "faulty.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { META_BYTES = 2 * 4096 };

atomic_int sync_count, sync_fault, write_fault, meta_fault;

static int failed(atomic_int *fault) {
  int code = atomic_load(fault);
  if (code) errno = code;
  return code != 0;
}

int fdatasync(int fd) {
  atomic_fetch_add(&sync_count, 1);
  return failed(&sync_fault) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  if (at < META_BYTES && failed(&meta_fault)) return -1;
  return failed(&write_fault) ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  return failed(&write_fault) ? -1 : syscall(SYS_writev, fd, parts, count);
}
