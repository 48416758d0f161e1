#include "wire/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

struct control_header {
  uint32_t magic, type;
};

union fd_room { /* aligned as cmsg wants it */
  struct cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS_MAX)];
};

void control_clear(struct control *c) {
  value_free(&c->body);
  for (size_t i = 0; i < c->fd_count; i++)
    if (c->fds[i] >= 0) close(c->fds[i]);
  c->fd_count = 0;
}

static void attach_fds(struct msghdr *m, union fd_room *room, const int *fds, size_t count) {
  memset(room, 0, sizeof(*room));
  m->msg_control = room->bytes;
  m->msg_controllen = CMSG_SPACE(sizeof(int) * count);
  struct cmsghdr *c = CMSG_FIRSTHDR(m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int) * count);
  memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
}

enum err control_send(int socket, enum control_type type, const struct value *body, const int *fds, size_t fd_count,
                      struct error *e) {
  struct control_header header = {CONTROL_MAGIC, (uint32_t)type};
  buf_auto struct buf packet = {0};
  buf_add(&packet, &header, sizeof(header));
  value_pack(&packet, body);
  if (packet.size > CONTROL_MAX || fd_count > CONTROL_FDS_MAX)
    return error_set(e, ERR_TOO_LARGE, "a control message of %zu bytes and %zu descriptors is too large", packet.size,
                     fd_count);
  struct iovec part = {packet.data, packet.size};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
  union fd_room room;
  if (fd_count) attach_fds(&m, &room, fds, fd_count);
  ssize_t sent;
  do sent = sendmsg(socket, &m, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return ERR_OK;
  if (errno == EAGAIN || errno == ENOBUFS) return error_set(e, ERR_BUSY, "the control socket is full");
  if (errno == EPIPE || errno == ECONNRESET) return error_set(e, ERR_LOST, "the other end of the control socket is gone");
  return error_errno(e, errno, "cannot send a control message");
}

/* Takes every descriptor that came, also of a message that is refused afterwards: none may leak. */
static void take_fds(struct msghdr *m, struct control *c) {
  for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && c->fd_count < CONTROL_FDS_MAX; i++)
      memcpy(&c->fds[c->fd_count++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
  }
}

enum err control_receive(int socket, struct control *c, struct error *e) {
  control_clear(c);
  mem_auto char *packet = mem_alloc(CONTROL_MAX);
  union fd_room room;
  struct iovec part = {packet, CONTROL_MAX};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof(room.bytes)};
  ssize_t got;
  do got = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return error_set(e, ERR_BUSY, "nothing waits on the control socket");
  if (got < 0 && errno != ECONNRESET) return error_errno(e, errno, "cannot read the control socket");
  if (got <= 0) return error_set(e, ERR_LOST, "the other end of the control socket is gone");
  take_fds(&m, c);
  struct control_header header;
  if ((size_t)got < sizeof(header) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
    return error_set(e, ERR_PROTOCOL, "a control message was cut off");
  memcpy(&header, packet, sizeof(header));
  if (header.magic != CONTROL_MAGIC) return error_set(e, ERR_PROTOCOL, "a control message has a wrong beginning");
  c->type = (enum control_type)header.type;
  return value_unpack(packet + sizeof(header), (size_t)got - sizeof(header), &c->body, e);
}
