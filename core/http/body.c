/* body.c - the body of a request, at the peer's pace and never more than was allowed. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/parts.h"

static bool say_continue(struct exchange *x) {
  static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
  if (!x->expects_continue) return true;
  x->expects_continue = false;
  return mg_write(x->connection, line, sizeof(line) - 1) == (int)sizeof(line) - 1;
}

static ssize_t lost(struct exchange *x, struct error *e) {
  x->body_broken = x->close = true;
  error_set(e, ERR_LOST, "the request's body ended before its end: %lld of %lld bytes came", (long long)x->taken,
            (long long)x->length);
  if (x->framing == FRAMING_CHUNKED)
    error_set(e, ERR_LOST, "the request's chunked body ended before its end, or a chunk is malformed");
  return -1;
}

/* civetweb waits until all that it was asked for is there. A slow peer's bytes are taken as they come, so that it can
 * be seen to move; what it sent along with the head lies in civetweb's own buffer, which nobody can look at. */
static size_t bytes_at_hand(const struct exchange *x, size_t room) {
  enum { LEAST = 1024 };
  int there = 0;
  if (!x->slot || x->slot->fd < 0 || ioctl(x->slot->fd, FIONREAD, &there) != 0) return room;
  size_t wanted = there > LEAST ? (size_t)there : LEAST;
  return wanted < room ? wanted : room;
}

ssize_t http_read(struct exchange *x, void *into, size_t room, struct error *e) {
  if (x->body_done || room == 0) return 0;
  if (x->body_broken || !say_continue(x)) return lost(x, e);
  if (x->framing == FRAMING_LENGTH && (int64_t)room > x->length - x->taken) room = (size_t)(x->length - x->taken);
  room = bytes_at_hand(x, room < COPY_BYTES ? room : COPY_BYTES);
  slot_turn(x->slot, SLOT_BODY);
  int got = mg_read(x->connection, into, room);
  if (got > 0) slot_moved(x->slot, (size_t)got);
  slot_turn(x->slot, SLOT_BUSY);
  if (got < 0 || (got == 0 && x->framing == FRAMING_LENGTH)) return lost(x, e);
  x->taken += got;
  x->body_done = got == 0 || (x->framing == FRAMING_LENGTH && x->taken == x->length);
  return got;
}

static bool too_large(struct exchange *x) {
  http_problem(x, 413, "too-large", "the body of this request may have at most %zu bytes", x->server->body_bytes_max);
  return false;
}

bool body_read_whole(struct exchange *x) {
  if (x->length > (int64_t)x->server->body_bytes_max) return too_large(x);
  enum { PIECE = 8192 };
  char piece[PIECE];
  struct error e;
  ssize_t got;
  while ((got = http_read(x, piece, sizeof(piece), &e)) > 0) {
    buf_add(&x->body, piece, (size_t)got);
    if (x->body.size > x->server->body_bytes_max) return too_large(x);
  }
  if (got == 0) return true;
  http_error(x, &e);
  return false;
}

const struct buf *http_body(struct exchange *x) { return &x->body; }

static bool is_json(const char *type) {
  if (!type) return false;
  size_t size = strcspn(type, "; \t");
  return (size == 16 && strncasecmp(type, "application/json", 16) == 0) ||
         (size > 17 && strncasecmp(type, "application/", 12) == 0 && strncasecmp(type + size - 5, "+json", 5) == 0);
}

const struct value *http_body_json(struct exchange *x) {
  if (x->json) return x->json;
  if (!is_json(http_header(x, "Content-Type"))) {
    http_set_header(x, "Accept", "application/json");
    http_problem(x, 415, "unsupported", "the body must be JSON: send Content-Type: application/json");
    return NULL;
  }
  struct error e;
  if (value_from_json(buf_string(&x->body), x->body.size, &x->json, &e) != ERR_OK) {
    http_problem(x, 400, "invalid", "the body is not JSON: %s", e.message);
  } else if (x->json->type != VALUE_MAP) {
    http_problem(x, 400, "invalid", "the body must be a JSON object, not a %s", value_type_word(x->json->type));
    value_free(&x->json);
  }
  return x->json;
}

/* A socket closed over unread bytes is reset, and the reset may overtake the answer. */
void body_drop_rest(struct exchange *x) {
  enum { DROP_BYTES = 16 << 20, DROP_US = 1000000 };
  if (x->body_done || x->broken || !x->slot || x->slot->fd < 0 || shutdown(x->slot->fd, SHUT_WR) != 0) return;
  slot_turn(x->slot, SLOT_READING); /* nobody needs what comes: when threads are short, this one goes on */
  int64_t until = clock_boot(&clock_system) + DROP_US, left;
  char sink[4096];
  for (size_t dropped = 0; dropped < DROP_BYTES && (left = until - clock_boot(&clock_system)) > 0;) {
    struct pollfd ask = {.fd = x->slot->fd, .events = POLLIN};
    if (poll(&ask, 1, (int)(left / 1000) + 1) <= 0) return;
    ssize_t got = recv(x->slot->fd, sink, sizeof(sink), MSG_DONTWAIT);
    if (got <= 0) return;
    dropped += (size_t)got;
  }
}
