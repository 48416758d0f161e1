#include "ws/detach.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EARLY_MAX = 64 * 1024, ESTABLISHED = 1 };

/* ---- which descriptor -------------------------------------------------------------------------------------------- */

/* The connection's own addresses, as civetweb took them from accept(): never what a proxy's headers say. */
static bool is_pair(int fd, const struct mg_request_info *info) {
  struct sockaddr_in peer = {0}, own = {0};
  socklen_t size = sizeof peer, own_size = sizeof own;
  char text[INET_ADDRSTRLEN];
  if (getpeername(fd, (struct sockaddr *)&peer, &size) || peer.sin_family != AF_INET) return false;
  if (getsockname(fd, (struct sockaddr *)&own, &own_size)) return false;
  return ntohs(peer.sin_port) == info->remote_port && ntohs(own.sin_port) == info->server_port &&
         inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text) && strcmp(text, info->remote_addr) == 0;
}

/* Where every address of this machine is listened on, the same peer address and port may be connected to two of them,
 * and civetweb does not say which: two matches are none. */
static bool is_only_match(int fd, const struct mg_request_info *info) {
  for (int other = 3; other < DESCRIPTOR_LEAST; other++)
    if (other != fd && is_pair(other, info)) return false;
  return true;
}

bool detach_matches(const struct mg_connection *connection, int fd, bool any_address) {
  const struct mg_request_info *info = mg_get_request_info(connection);
  return fd >= 0 && fd < DESCRIPTOR_LEAST && is_pair(fd, info) && (!any_address || is_only_match(fd, info));
}

static bool same_inode(int a, int b) {
  struct stat x, y;
  return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev && S_ISSOCK(x.st_mode);
}

int detach_share(const struct mg_connection *connection, int fd) {
  if (!is_pair(fd, mg_get_request_info(connection))) return -1;
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTOR_LEAST);
  if (copy < 0 && errno == EINVAL) copy = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* the limit of descriptors is lower */
  if (copy >= 0 && same_inode(fd, copy)) return copy;
  if (copy >= 0) close(copy);
  return -1;
}

int detach_take(const struct mg_connection *connection, int fd, int dead) {
  int taken = detach_share(connection, fd);
  if (taken < 0) return -1;
  if (dup3(dead, fd, O_CLOEXEC) == fd && same_inode(dead, fd) && is_pair(taken, mg_get_request_info(connection)))
    return taken;
  close(taken);
  return -1;
}

/* ---- what civetweb has read -------------------------------------------------------------------------------------- */

/* The request lies in civetweb's buffer with its separators overwritten: behind the last value's end (CR, LF) stand the
 * CR and LF of the empty line. Everything else is not a head as we know it. */
static const char *head_end(const struct mg_request_info *info) {
  static const char tail[4] = {'\0', '\0', '\r', '\0'};
  if (!info->num_headers) return NULL;
  const char *end = info->http_headers[info->num_headers - 1].value;
  end += strlen(end);
  return memcmp(end, tail, sizeof tail) == 0 ? end + sizeof tail : NULL;
}

/* Bytes that civetweb took from the kernel: all received less those still there. Read twice, since more may come
 * meanwhile. */
static bool bytes_taken(int fd, size_t *taken) {
  for (int try = 0; try < 100; try++) {
    struct tcp_info before = {0}, after = {0};
    socklen_t size = sizeof before, size_after = sizeof after;
    int unread = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &before, &size) || ioctl(fd, SIOCINQ, &unread)) return false;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &after, &size_after)) return false;
    if (size <= offsetof(struct tcp_info, tcpi_bytes_sent) || after.tcpi_bytes_sent)
      return false;                                     /* not its first request */
    if (before.tcpi_state != ESTABLISHED) return false; /* a FIN would count as a byte */
    if (before.tcpi_bytes_received != after.tcpi_bytes_received) continue;
    *taken = (size_t)before.tcpi_bytes_received - (size_t)unread;
    return true;
  }
  return false;
}

bool detach_early_bytes(const struct mg_connection *connection, int fd, struct buf *early) {
  const struct mg_request_info *info = mg_get_request_info(connection);
  const char *end = head_end(info);
  size_t taken = 0;
  if (!is_pair(fd, info) || !end || !bytes_taken(fd, &taken)) return false;
  size_t head = (size_t)(end - info->request_method);
  if (taken < head || taken - head > EARLY_MAX) return false;
  /* Empty lines before the request, which civetweb skips, count too: what is there must look like a client's frame. */
  if (taken > head && (taken - head < 2 || end[0] & 0x70 || !(end[1] & 0x80))) return false;
  buf_add(early, end, taken - head);
  return true;
}
