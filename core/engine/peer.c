/* peer.c - the asking side of the owner's door: blocking, one request and its lines. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "engine/door.h"
#include "engine/door_parts.h"

/* Socket names are short: a long state folder is reached through a descriptor of it. */
enum err door_address(const char *folder, struct sockaddr_un *address, int *folder_fd, struct error *e) {
  *folder_fd = -1;
  address->sun_family = AF_UNIX;
  if ((size_t)snprintf(address->sun_path, sizeof address->sun_path, "%s/control.sock", folder) <
      sizeof address->sun_path)
    return ERR_OK;
  *folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*folder_fd < 0) return error_errno(e, errno, "cannot open the state folder %s", folder);
  snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/control.sock", *folder_fd);
  return ERR_OK;
}

int door_connect(const char *state_folder) {
  struct sockaddr_un address = {0};
  int folder;
  if (door_address(state_folder, &address, &folder, NULL)) return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    fd = -1;
  }
  if (folder >= 0) close(folder);
  return fd;
}

enum err door_send(int fd, const struct value *request, struct error *e) {
  struct buf text = {0};
  value_json(&text, request, VALUE_JSON_COMPACT);
  buf_char(&text, '\n');
  size_t sent = 0;
  while (sent < text.size) {
    ssize_t n = send(fd, text.data + sent, text.size - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    sent += (size_t)n;
  }
  bool done = sent == text.size;
  buf_free(&text);
  return done ? ERR_OK : error_set(e, ERR_LOST, "the owner of the state folder went away");
}

/* 64 MiB: an owner that never ends a line is not believed for ever. */
enum { RECEIVE_MAX = 64 << 20 };

enum err door_receive(int fd, struct buf *rest, int timeout_ms, struct value **line, struct error *e) {
  char block[16384];
  for (;;) {
    char *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
    if (end) {
      size_t size = (size_t)(end - rest->data);
      enum err err = value_from_json(rest->data, size, line, e);
      memmove(rest->data, end + 1, rest->size - size - 1);
      rest->size -= size + 1;
      return err;
    }
    struct pollfd poll_fd = {fd, POLLIN, 0};
    int ready = poll(&poll_fd, 1, timeout_ms);
    if (ready < 0 && errno == EINTR) return error_set(e, ERR_CANCELLED, "interrupted");
    if (ready == 0) return error_set(e, ERR_TIMEOUT, "the owner of the state folder does not answer");
    ssize_t n = recv(fd, block, sizeof block, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return error_set(e, ERR_LOST, "the owner of the state folder went away");
    if (rest->size + (size_t)n > RECEIVE_MAX)
      return error_set(e, ERR_PROTOCOL, "the owner of the state folder sends a line without end");
    buf_add(rest, block, (size_t)n);
  }
}
