#include "wire/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/unit.h"

void message_clear(struct message *m) {
  value_free(&m->body);
  *m = (struct message){0};
}

enum err message_send(int socket, enum message_type type, int32_t stage, const struct value *body, struct error *e) {
  struct buf buf_auto packet = {0};
  struct message_header header = {MESSAGE_MAGIC, (uint32_t)type, stage, 0};
  buf_add(&packet, &header, sizeof(header));
  value_pack(&packet, body);
  if (packet.size > MESSAGE_MAX)
    return error_set(e, ERR_TOO_LARGE, "a message of %zu bytes is above the %d that the attempt protocol carries",
                     packet.size, MESSAGE_MAX);
  header.body_size = (uint32_t)(packet.size - sizeof(header));
  memcpy(packet.data, &header, sizeof(header));
  ssize_t n;
  do n = send(socket, packet.data, packet.size, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n >= 0) return ERR_OK;
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
    return error_set(e, ERR_BUSY, "the other side of an attempt's socket does not read");
  if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
    return error_set(e, ERR_LOST, "the other side of an attempt's socket is gone");
  return error_errno(e, errno, "cannot send on an attempt's socket");
}

/* No room for ancillary data is given, so that the kernel discards descriptors a peer passes: it frees them and says
 * MSG_CTRUNC, and nothing of it ever enters our table. */
static ssize_t receive_packet(int socket, struct message_header *header, void *body, int *flags) {
  struct iovec parts[2] = {{header, sizeof(*header)}, {body, MESSAGE_MAX}};
  struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t n;
  do n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  *flags = m.msg_flags;
  return n;
}

static bool type_is_known(uint32_t type) {
  return (type >= MESSAGE_HELLO && type <= MESSAGE_BYE) || type == MESSAGE_GO;
}

static enum err check_packet(const struct message_header *h, size_t size, int flags, struct error *e) {
  const char *wrong = NULL;
  if (flags & MSG_CTRUNC)
    wrong = "it carries descriptors";
  else if (flags & MSG_TRUNC || size > MESSAGE_MAX)
    wrong = "it is too large";
  else if (size < sizeof(*h))
    wrong = "it is shorter than its header";
  else if (h->magic != MESSAGE_MAGIC)
    wrong = "it does not begin as messages do";
  else if (!type_is_known(h->type))
    wrong = "its type is unknown";
  else if (h->stage < -1 || h->stage >= UNIT_STAGES_MAX)
    wrong = "its stage is out of range";
  else if (h->body_size != size - sizeof(*h))
    wrong = "its size is not what its header says";
  if (!wrong) return ERR_OK;
  error_set(e, ERR_PROTOCOL, "a message broke the attempt protocol: %s", wrong);
  error_debug(e, "%zu bytes, flags %#x", size, (unsigned)flags);
  return ERR_PROTOCOL;
}

enum err message_receive(int socket, struct message *m, struct error *e) {
  struct message_header header = {0};
  int flags = 0;
  message_clear(m);
  mem_auto char *body = mem_grow(NULL, MESSAGE_MAX, 1);
  ssize_t n = receive_packet(socket, &header, body, &flags);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return error_set(e, ERR_BUSY, "no message waits");
  if (n < 0 && errno != ECONNRESET) return error_errno(e, errno, "cannot receive on an attempt's socket");
  if (n <= 0) return error_set(e, ERR_LOST, "the other side of an attempt's socket is gone");
  enum err status = check_packet(&header, (size_t)n, flags, e);
  if (status) return status;
  status = value_unpack(body, header.body_size, &m->body, e);
  if (status) return status;
  m->type = (enum message_type)header.type;
  m->stage = header.stage;
  return ERR_OK;
}
