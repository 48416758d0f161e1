/* One socket: bytes in, frames out, and every way it can end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "ws/parts.h"

struct socket *socket_new(struct ws_server *server, int fd, bool is_session) {
  struct socket *s = mem_alloc(sizeof *s);
  s->server = server;
  s->fd = fd;
  s->phase = PHASE_OPEN;
  s->is_session = is_session;
  s->ping_at_us = ws_now_us() + server->options.ping_us;
  atomic_fetch_add(&server->count, 1);
  return s;
}

void socket_free(struct socket **at) {
  struct socket *s = *at;
  if (!s) return;
  follower_detach(s->server->options.hub, &s->follower);
  if (s->fd >= 0) close(s->fd);
  session_known(s);
  frame_reader_clear(&s->reader);
  principal_clear(&s->principal);
  buf_free(&s->out);
  buf_free(&s->inbox);
  atomic_fetch_sub(&s->server->count, 1);
  free(s);
  *at = NULL;
}

void socket_gone(struct socket *s) { s->phase = PHASE_GONE; }

/* ---- out --------------------------------------------------------------------------------------------------------- */

static void blocked(struct socket *s) {
  s->writable = false;
  if (!s->blocked_us) s->blocked_us = ws_now_us();
}

/* How much of it went; less than all: the peer does not take more now, or is gone. */
static size_t push(struct socket *s, const char *data, size_t size) {
  size_t sent = 0;
  while (sent < size && s->writable) {
    ssize_t n = send(s->fd, data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += (size_t)n;
      s->blocked_us = 0;
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      blocked(s);
    } else {
      s->writable = false;
      socket_gone(s);
    }
  }
  return sent;
}

/* What is left unsent waits in `out`, which exists only then. */
static void push_out(struct socket *s) {
  if (!s->out.size) return;
  s->out_sent += push(s, s->out.data + s->out_sent, s->out.size - s->out_sent);
  if (s->out_sent < s->out.size) return;
  buf_free(&s->out);
  s->out_sent = 0;
}

static void push_batch(struct socket *s) {
  struct buf *batch = &s->server->batch;
  if (!batch->size) return;
  size_t sent = push(s, batch->data, batch->size);
  if (sent < batch->size && s->phase != PHASE_GONE) buf_add(&s->out, batch->data + sent, batch->size - sent);
  buf_reset(batch);
}

static struct buf *unsent(struct socket *s) {
  if (s->out.size - s->out_sent > OUT_MAX) { /* asks and does not read the answers */
    atomic_fetch_add(&s->server->evicted, 1);
    socket_gone(s);
  }
  return &s->out;
}

void socket_send(struct socket *s, const char *text, size_t size) {
  if (s->phase == PHASE_OPEN) frame_write(unsent(s), OPCODE_TEXT, text, size);
}

void socket_send_value(struct socket *s, const struct value *value) {
  struct buf buf_auto json = {0};
  value_json(&json, value, VALUE_JSON_COMPACT);
  socket_send(s, buf_string(&json), json.size);
}

void socket_close(struct socket *s, enum close_code code, const char *reason) {
  if (s->phase != PHASE_OPEN) return;
  follower_detach(s->server->options.hub, &s->follower);
  frame_write_close(&s->out, code, reason);
  s->phase = PHASE_CLOSING;
  s->deadline_us = ws_now_us() + CLOSING_US;
}

/* Packs what waits into one send. Answers whether there may be more. */
static bool fill_batch(struct socket *s) {
  struct letter letter;
  enum taken taken = TAKEN_NOTHING;
  int64_t until_us = ws_now_us() + REPLAY_TURN_US;
  bool late = false; /* reading the store takes time that others wait for */
  while (!late && s->server->batch.size < BATCH_BYTES &&
         (taken = follower_take(s->follower, &letter)) == TAKEN_MESSAGE) {
    if (s->is_session || follow_wants(s, &letter))
      frame_write(&s->server->batch, OPCODE_TEXT, letter.json, letter.size);
    if (!s->is_session) follow_told(s, &letter);
    late = letter.replayed && ws_now_us() > until_us;
    letter_clear(&letter);
  }
  push_batch(s);
  if (taken == TAKEN_MESSAGE) return true;
  if (taken == TAKEN_OVERRUN) {
    atomic_fetch_add(&s->server->evicted, 1);
    socket_close(s, CLOSE_TOO_SLOW, "too slow: come back with since");
  } else if (!s->is_session && s->phase == PHASE_OPEN) {
    follow_quiet(s);
  }
  return false;
}

void socket_write(struct socket *s) {
  push_out(s);
  if (s->phase == PHASE_OPEN && s->wants && s->follower && s->writable && !s->out.size) s->wants = fill_batch(s);
  push_out(s); /* a CLOSE that came of it */
  if (s->phase == PHASE_CLOSING && !s->out.size && s->peer_closed)
    socket_gone(s); /* the server closes first: section 7.1.1 */
  else if (s->phase == PHASE_CLOSING && !s->out.size && s->drop_input)
    shutdown(s->fd, SHUT_WR);
}

/* ---- in ---------------------------------------------------------------------------------------------------------- */

static void received_close(struct socket *s, const char *data, size_t size) {
  enum close_code wrong, code = frame_close_code(data, size, &wrong);
  s->peer_closed = true;
  socket_close(s, wrong ? wrong : code, NULL); /* while closing: this was the answer */
}

static bool received(void *context, enum opcode opcode, const char *data, size_t size) {
  struct socket *s = context;
  if (opcode == OPCODE_CLOSE) {
    received_close(s, data, size);
    return false;
  }
  if (s->phase != PHASE_OPEN) return true;
  if (opcode == OPCODE_PING)
    frame_write(unsent(s), OPCODE_PONG, data, size);
  else if (opcode == OPCODE_BINARY)
    socket_close(s, CLOSE_UNSUPPORTED, "only text messages are understood");
  else if (opcode == OPCODE_TEXT)
    session_message(s, data, size);
  return s->phase != PHASE_GONE;
}

static void feed(struct socket *s, char *data, size_t size) {
  s->pinged = false; /* any byte is a sign of life */
  if (s->drop_input || s->peer_closed) return;
  enum close_code wrong = frame_read(&s->reader, (uint8_t *)data, size, received, s);
  if (!wrong) return;
  s->drop_input = true;
  frame_reader_clear(&s->reader);
  socket_close(s, wrong, wrong == CLOSE_TOO_BIG ? "messages are at most 64 KiB" : NULL);
}

static void read_inbox(struct socket *s) {
  pthread_mutex_lock(&s->server->lock);
  struct buf inbox = s->inbox;
  bool end = s->pooled_end;
  s->inbox = (struct buf){0};
  pthread_mutex_unlock(&s->server->lock);
  if (inbox.size) feed(s, inbox.data, inbox.size);
  buf_free(&inbox);
  if (end && s->phase != PHASE_GONE) socket_gone(s);
}

/* Until the kernel has no more, or others should have their turn; never while answers to what was read wait unsent. */
void socket_read(struct socket *s) {
  char data[8192];
  if (s->pooled || s->inbox.size)
    read_inbox(s); /* without civetweb's reader only early bytes: from before the hand-over */
  if (s->pooled) s->readable = false;
  for (size_t turn = 0; s->readable && s->phase != PHASE_GONE && turn < READ_TURN;) {
    if (s->phase == PHASE_OPEN && s->out.size > BATCH_BYTES) return;
    ssize_t n = recv(s->fd, data, sizeof data, MSG_DONTWAIT);
    if (n > 0) {
      turn += (size_t)n;
      feed(s, data, (size_t)n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      s->readable = false;
    } else {
      s->readable = false;
      socket_gone(s);
    }
  }
}

bool socket_has_more(const struct socket *s) {
  if (s->phase == PHASE_OPEN && s->wants && s->follower && s->writable && !s->out.size) return true;
  return s->readable && (s->phase != PHASE_OPEN || s->out.size <= BATCH_BYTES);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void evict(struct socket *s) {
  atomic_fetch_add(&s->server->evicted, 1);
  shutdown(s->fd, SHUT_RDWR); /* a CLOSE would stand behind what it does not read */
  socket_gone(s);
}

static void ping(struct socket *s, int64_t now_us) {
  if (s->pinged) { /* the last one was not answered */
    shutdown(s->fd, SHUT_RDWR);
    socket_gone(s);
    return;
  }
  s->ping_at_us = now_us + s->server->options.ping_us;
  if (s->blocked_us) return; /* its time runs already */
  frame_write(&s->out, OPCODE_PING, NULL, 0);
  s->pinged = true;
  socket_write(s);
}

void socket_tick(struct socket *s, int64_t now_us, int64_t wall_us) {
  struct ws_server *server = s->server;
  bool over = s->deadline_us && now_us >= s->deadline_us;
  if (s->phase == PHASE_CLOSING && over) socket_gone(s);
  if (s->phase != PHASE_OPEN) return;
  if (s->blocked_us && now_us - s->blocked_us >= server->options.ping_us)
    evict(s);
  else if (!s->authenticated && over)
    socket_close(s, CLOSE_UNKNOWN_CLIENT, "no token came");
  else if (s->authenticated && s->principal.expires_us && wall_us >= s->principal.expires_us)
    socket_close(s, CLOSE_DENIED, "the token has expired");
  else if (now_us >= s->ping_at_us)
    ping(s, now_us);
  if (s->phase == PHASE_CLOSING) socket_write(s);
}
