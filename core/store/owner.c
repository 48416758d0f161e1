#include "store/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"

static void refuse(int fd, const char *folder, struct error *e) {
  char text[32] = "";
  ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
  long pid = n > 0 ? strtol(text, NULL, 10) : 0;
  if (pid > 0)
    error_set(e, ERR_BUSY, "%s is in use by process %ld", folder, pid);
  else
    error_set(e, ERR_BUSY, "%s is in use by another process", folder);
}

/* The pid is for messages alone: whether somebody owns the folder is what the lock says. */
static int write_pid(int fd) {
  char text[32];
  int size = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
  if (ftruncate(fd, 0) != 0) return errno;
  return pwrite(fd, text, (size_t)size, 0) == size ? 0 : errno;
}

int owner_lock(const char *folder, struct error *e) {
  mem_auto char *path = mem_format("%s/owner.lock", folder);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    error_errno(e, errno, "cannot open %s", path);
    return -1;
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      refuse(fd, folder, e);
    else
      error_errno(e, errno, "cannot lock %s", path);
    close(fd);
    return -1;
  }
  int fault = write_pid(fd);
  /* A full disk must not keep the owner out of its own store: the message is poorer, the lock is what counts. */
  (void)fault;
  return fd;
}
