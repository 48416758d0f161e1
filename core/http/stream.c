/* stream.c - answers in pieces (RFC 9112 section 7.1). An HTTP/1.0 peer gets the bytes and the end of the connection.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "http/parts.h"

bool http_is_draining(const struct exchange *x) { return atomic_load(&x->server->draining); }

bool http_is_alive(struct exchange *x) {
  if (x->broken || http_is_draining(x) || (x->slot && atomic_load(&x->slot->cut))) return false;
  if (!credential_still_good(x)) return false;
  if (!x->slot || x->slot->fd < 0) return true;
  struct pollfd ask = {.fd = x->slot->fd, .events = POLLRDHUP};
  return poll(&ask, 1, 0) <= 0 || !(ask.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

bool http_linger(struct exchange *x) {
  if (!x->slot || slot_linger(x->slot)) return true;
  if (!x->status) {
    http_set_header(x, "Retry-After", "5");
    http_problem(x, 503, "busy",
                 "too many requests wait here for something to happen: try again later, or use a WebSocket");
  }
  x->broken = true;
  return false;
}

void http_begin(struct exchange *x, int status, const char *type) {
  if (x->status) return;
  if (strcmp(type, "text/event-stream") == 0 && !http_linger(x)) return;
  struct buf buf_auto out = {0};
  x->chunked = !x->http10;
  http_set_header(x, "X-Accel-Buffering", "no"); /* nginx passes each piece on as it comes */
  answer_head(x, &out, status, type, -1);
  x->open = true;
  answer_send(x, out.data, out.size);
}

bool http_write(struct exchange *x, const void *data, size_t size) {
  if (!x->open || !http_is_alive(x)) return false;
  if (x->head) return false; /* the head was all */
  if (size == 0) return true;
  if (!x->chunked) return answer_send(x, data, size);
  struct buf buf_auto out = {0};
  buf_format(&out, "%zx\r\n", size);
  buf_add(&out, data, size);
  buf_text(&out, "\r\n");
  return answer_send(x, out.data, out.size);
}

void http_end(struct exchange *x) {
  if (!x->open) return;
  x->open = false;
  if (x->chunked && !x->head) answer_send(x, "0\r\n\r\n", 5);
}
