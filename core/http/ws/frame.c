#include "ws/frame.h"

#include <string.h>

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

/* Lead bytes by range: how many follow, and the bounds of the first that does (RFC 3629 section 4). */
static const struct {
  uint8_t first, last, missing, low, high;
} leads[] = {
    {0x00, 0x7f, 0, 0, 0},       {0xc2, 0xdf, 1, 0x80, 0xbf}, {0xe0, 0xe0, 2, 0xa0, 0xbf},
    {0xe1, 0xec, 2, 0x80, 0xbf}, {0xed, 0xed, 2, 0x80, 0x9f}, {0xee, 0xef, 2, 0x80, 0xbf},
    {0xf0, 0xf0, 3, 0x90, 0xbf}, {0xf1, 0xf3, 3, 0x80, 0xbf}, {0xf4, 0xf4, 3, 0x80, 0x8f},
};

static bool utf8_lead(struct utf8 *u, uint8_t byte) {
  for (size_t i = 0; i < sizeof leads / sizeof *leads; i++)
    if (byte >= leads[i].first && byte <= leads[i].last) {
      *u = (struct utf8){leads[i].missing, leads[i].low, leads[i].high};
      return true;
    }
  return false;
}

bool utf8_feed(struct utf8 *u, const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (!u->missing) {
      if (!utf8_lead(u, data[i])) return false;
      continue;
    }
    if (data[i] < u->low || data[i] > u->high) return false;
    *u = (struct utf8){(uint8_t)(u->missing - 1), 0x80, 0xbf};
  }
  return true;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool is_control(uint8_t opcode) { return opcode & 8; }

static uint64_t big_endian(const uint8_t *at, size_t size) {
  uint64_t n = 0;
  for (size_t i = 0; i < size; i++) n = n << 8 | at[i];
  return n;
}

/* The first two bytes say what it is and how long its head is. */
static enum close_code head_begin(struct frame_reader *r) {
  uint8_t length = r->head[1] & 0x7f;
  r->fin = r->head[0] & 0x80;
  r->opcode = r->head[0] & 0x0f;
  bool known = r->opcode <= OPCODE_BINARY || (r->opcode >= OPCODE_CLOSE && r->opcode <= OPCODE_PONG);
  if (r->head[0] & 0x70 || !known || !(r->head[1] & 0x80))
    return CLOSE_PROTOCOL; /* RSV, opcode, no mask: sections 5.2, 5.1 */
  if (is_control(r->opcode) && (!r->fin || length > CONTROL_MAX)) return CLOSE_PROTOCOL; /* section 5.5 */
  if (!is_control(r->opcode) && (r->opcode == OPCODE_CONTINUATION) != (r->message_type != 0))
    return CLOSE_PROTOCOL; /* 5.4 */
  r->need = (uint8_t)(2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4);
  return 0;
}

static bool too_big(const struct frame_reader *r, uint64_t length) {
  return !is_control(r->opcode) && length + r->message.size > (r->message_max ? r->message_max : MESSAGE_MAX);
}

static enum close_code head_end(struct frame_reader *r) {
  size_t extended = r->need - 6u;
  uint64_t length = extended ? big_endian(r->head + 2, extended) : r->head[1] & 0x7fu;
  if ((extended == 2 && length < 126) || (extended == 8 && (length < 65536 || length >> 63))) return CLOSE_PROTOCOL;
  if (too_big(r, length)) return CLOSE_TOO_BIG;
  memcpy(r->mask, r->head + r->need - 4, 4);
  if (r->opcode == OPCODE_TEXT || r->opcode == OPCODE_BINARY) r->message_type = r->opcode;
  r->length = (uint32_t)length;
  r->done = 0;
  r->in_payload = true;
  return 0;
}

/* As far as the head goes in what is there. The length is judged before the mask has come. */
static enum close_code head_read(struct frame_reader *r, const uint8_t **data, const uint8_t *end) {
  enum close_code wrong = 0;
  while (!wrong && *data < end && !r->in_payload) {
    r->head[r->have++] = *(*data)++;
    if (r->have == 2) wrong = head_begin(r);
    if (!wrong && r->have > 2 && r->have == r->need - 4 && too_big(r, big_endian(r->head + 2, r->have - 2u)))
      wrong = CLOSE_TOO_BIG;
    if (!wrong && r->have > 2 && r->have == r->need) wrong = head_end(r);
  }
  return wrong;
}

static void unmask(struct frame_reader *r, uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++) data[i] ^= r->mask[(r->done + i) & 3];
}

static enum close_code frame_end(struct frame_reader *r, frame_received *call, void *context, bool *stop) {
  enum opcode opcode = r->opcode;
  r->in_payload = false;
  r->have = r->need = 0;
  if (!is_control(r->opcode)) {
    if (!r->fin) return 0;
    if (r->message_type == OPCODE_TEXT && r->utf8.missing) return CLOSE_NOT_UTF8;
    opcode = r->message_type;
    r->message_type = 0;
  }
  struct buf *whole = is_control(r->opcode) ? &r->control : &r->message;
  *stop = !call(context, opcode, buf_string(whole), whole->size);
  buf_free(whole);
  return 0;
}

static enum close_code payload_read(struct frame_reader *r, uint8_t **data, const uint8_t *end) {
  size_t size = (size_t)(end - *data) < r->length - r->done ? (size_t)(end - *data) : r->length - r->done;
  unmask(r, *data, size);
  if (!is_control(r->opcode) && r->message_type == OPCODE_TEXT && !utf8_feed(&r->utf8, *data, size))
    return CLOSE_NOT_UTF8;
  if (size) buf_add(is_control(r->opcode) ? &r->control : &r->message, *data, size);
  r->done += (uint32_t)size;
  *data += size;
  return 0;
}

enum close_code frame_read(struct frame_reader *r, uint8_t *data, size_t size, frame_received *call, void *context) {
  uint8_t *end = data + size;
  enum close_code wrong = 0;
  bool stop = false;
  while (!wrong && !stop && (data < end || (r->in_payload && r->done == r->length))) {
    const uint8_t *at = data;
    if (!r->in_payload) wrong = head_read(r, &at, end);
    data += at - data;
    if (wrong || !r->in_payload) continue;
    wrong = payload_read(r, &data, end);
    if (!wrong && r->done == r->length) wrong = frame_end(r, call, context, &stop);
  }
  return wrong;
}

void frame_reader_clear(struct frame_reader *reader) {
  buf_free(&reader->message);
  buf_free(&reader->control);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

void frame_write(struct buf *out, enum opcode opcode, const void *data, size_t size) {
  uint8_t head[FRAME_HEAD_MAX] = {(uint8_t)(0x80 | opcode)};
  size_t extended = size < 126 ? 0 : size < 65536 ? 2 : 8;
  head[1] = extended == 0 ? (uint8_t)size : extended == 2 ? 126 : 127;
  for (size_t i = 0; i < extended; i++) head[2 + i] = (uint8_t)((uint64_t)size >> 8 * (extended - 1 - i));
  buf_add(out, head, 2 + extended);
  if (size) buf_add(out, data, size);
}

void frame_write_close(struct buf *out, enum close_code code, const char *reason) {
  uint8_t payload[CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
  size_t size = reason ? strlen(reason) : 0;
  if (size > CONTROL_MAX - 2) size = CONTROL_MAX - 2;
  while (size && reason[size] && (reason[size] & 0xc0) == 0x80) size--;
  if (size) memcpy(payload + 2, reason, size);
  frame_write(out, OPCODE_CLOSE, payload, code == CLOSE_NO_CODE ? 0 : size + 2);
}

/* Section 7.4: what may stand on the wire. 1012 to 1014 were registered later. */
static bool code_is_valid(unsigned code) {
  static const struct { unsigned first, last; } valid[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};
  for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
    if (code >= valid[i].first && code <= valid[i].last) return true;
  return false;
}

enum close_code frame_close_code(const char *data, size_t size, enum close_code *wrong) {
  const uint8_t *bytes = (const uint8_t *)data;
  *wrong = 0;
  if (!size) return CLOSE_NO_CODE;
  unsigned code = size > 1 ? (unsigned)bytes[0] << 8 | bytes[1] : 0;
  struct utf8 utf8 = {0};
  if (!code_is_valid(code))
    *wrong = CLOSE_PROTOCOL;
  else if (!utf8_feed(&utf8, bytes + 2, size - 2) || utf8.missing)
    *wrong = CLOSE_NOT_UTF8;
  return (enum close_code)code;
}
