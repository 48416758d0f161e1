/* descriptor.c - which descriptor a connection of civetweb has.
 *
 * civetweb tells nobody, and before a request has been read it tells nothing at all; yet a peer that keeps a worker
 * waiting for its request can only be cut by its descriptor. civetweb's own record of a connection holds it, followed
 * by the two addresses of the socket (its struct socket since 1.9). The record is read, not touched, through a call
 * that fails instead of faulting; what was found is believed only when the descriptor's own addresses say the same.
 * When nothing fits, the descriptor is looked for by its addresses once the request is there, and until then civetweb's
 * own time-outs hold. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "http/parts.h"

struct entry {
  int fd;
  struct sockaddr_in own, peer;
};

static bool same(const struct sockaddr_in *a, const struct sockaddr_in *b) {
  return a->sin_family == AF_INET && b->sin_family == AF_INET && a->sin_port == b->sin_port &&
         a->sin_addr.s_addr == b->sin_addr.s_addr;
}

static bool addresses_of(int fd, struct sockaddr_in *own, struct sockaddr_in *peer) {
  socklen_t own_size = sizeof(*own), peer_size = sizeof(*peer);
  return getpeername(fd, (struct sockaddr *)peer, &peer_size) == 0 && peer->sin_family == AF_INET &&
         getsockname(fd, (struct sockaddr *)own, &own_size) == 0;
}

static bool is_true(const struct entry *entry, unsigned port) {
  struct sockaddr_in own, peer;
  return entry->fd > 2 && entry->own.sin_family == AF_INET && ntohs(entry->own.sin_port) == port &&
         addresses_of(entry->fd, &own, &peer) && same(&own, &entry->own) && same(&peer, &entry->peer);
}

static bool read_at(const char *from, void *to, size_t size) {
  struct iovec local = {to, size}, remote = {(void *)(uintptr_t)from, size};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/* Looks through one record for the place; it is the same in all of them. */
static int learn(const char *record, unsigned port) {
  enum { RECORD_MAX = 4096, STEP = 4 };
  for (int at = STEP; at < RECORD_MAX; at += STEP) {
    struct entry entry;
    if (!read_at(record + at, &entry, sizeof(entry))) return 0;
    if (is_true(&entry, port)) return at;
  }
  return 0;
}

int descriptor_early(struct http_server *server, const struct mg_connection *connection, char peer[PEER_MAX]) {
  const char *record = (const char *)connection;
  struct entry entry;
  int at = atomic_load(&server->descriptor_at);
  if (!at || !read_at(record + at, &entry, sizeof(entry)) || !is_true(&entry, server->port)) {
    at = learn(record, server->port);
    if (!at || !read_at(record + at, &entry, sizeof(entry)) || !is_true(&entry, server->port)) return -1;
    atomic_store(&server->descriptor_at, at);
  }
  inet_ntop(AF_INET, &entry.peer.sin_addr, peer, PEER_MAX);
  return entry.fd;
}

int descriptor_of(const struct mg_request_info *info) {
  enum { FIRST = 3, SCANNED_MAX = 65536, GAP_MAX = 1024 };
  struct sockaddr_in own, peer;
  char text[INET_ADDRSTRLEN];
  struct rlimit limit;
  int end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < SCANNED_MAX ? (int)limit.rlim_cur : SCANNED_MAX;
  for (int fd = FIRST, gap = 0; fd < end && gap < GAP_MAX; fd++) {
    if (!addresses_of(fd, &own, &peer)) {
      gap = errno == EBADF ? gap + 1 : 0;
      continue;
    }
    gap = 0;
    if (ntohs(peer.sin_port) == info->remote_port && ntohs(own.sin_port) == info->server_port &&
        inet_ntop(AF_INET, &peer.sin_addr, text, sizeof(text)) && strcmp(text, info->remote_addr) == 0)
      return fd;
  }
  return -1;
}
