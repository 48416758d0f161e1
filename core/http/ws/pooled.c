/* Sockets that stay with civetweb: where detaching failed its test, or cannot be told to be safe. civetweb's thread
 * reads the frames; each is framed again and goes the way of the others, through the same checks (but for masks, and
 * for length before allocation: its reader takes what is declared). Sending stays with the server's thread, on a
 * descriptor of its own, and never blocks. */
#include <civetweb.h>
#include <string.h>

#include "ws/parts.h"

enum { INBOX_MAX = 256 * 1024 };

static struct socket **find_locked(struct ws_server *server, const struct mg_connection *connection) {
  struct socket **at = &server->pooled_list;
  while (*at && (*at)->pooled != connection) at = &(*at)->next_pooled;
  return at;
}

static void unlist(struct ws_server *server, struct socket **at) {
  *at = (*at)->next_pooled;
  atomic_fetch_sub(&server->pooled, 1);
}

void pooled_attach(struct ws_server *server, struct socket *s, const struct mg_connection *connection) {
  pthread_mutex_lock(&server->lock);
  struct socket **at = find_locked(server, connection), *stale = *at;
  if (stale) unlist(server, at); /* its handshake did not reach the client: civetweb says nothing then */
  s->pooled = connection;
  s->next_pooled = server->pooled_list;
  server->pooled_list = s;
  atomic_fetch_add(&server->pooled, 1);
  pthread_mutex_unlock(&server->lock);
  socket_free(&stale);
}

void pooled_ready(struct mg_connection *connection, void *context) {
  struct ws_server *server = context;
  pthread_mutex_lock(&server->lock);
  struct socket *s = *find_locked(server, connection);
  pthread_mutex_unlock(&server->lock);
  if (s) server_adopt(s);
}

/* A frame as a client would send it, with a mask of zeros. */
static void frame_again(struct buf *out, int bits, const char *data, size_t size) {
  size_t at = out->size;
  frame_write(out, OPCODE_TEXT, data, size);
  size_t head = out->size - at - size;
  buf_add(out, "\0\0\0\0", 4);
  memmove(out->data + at + head + 4, out->data + at + head, size);
  memset(out->data + at + head, 0, 4);
  out->data[at] = (char)bits;
  out->data[at + 1] = (char)(out->data[at + 1] | 0x80);
}

int pooled_data(struct mg_connection *connection, int bits, char *data, size_t size, void *context) {
  struct ws_server *server = context;
  pthread_mutex_lock(&server->lock);
  struct socket *s = *find_locked(server, connection);
  bool room = s && s->inbox.size + size <= INBOX_MAX;
  if (room) {
    frame_again(&s->inbox, bits, data, size);
    server_wake_locked(s);
  }
  pthread_mutex_unlock(&server->lock);
  return room;
}

void pooled_close(const struct mg_connection *connection, void *context) {
  struct ws_server *server = context;
  pthread_mutex_lock(&server->lock);
  struct socket **at = find_locked(server, connection), *s = *at;
  if (s) {
    unlist(server, at);
    s->pooled_end = true;
    server_wake_locked(s);
  }
  pthread_mutex_unlock(&server->lock);
}
