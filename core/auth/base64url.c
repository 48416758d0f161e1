#include "auth/base64url.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_add(struct buf *out, const void *data, size_t size) {
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i += 3) {
    size_t n = size - i < 3 ? size - i : 3;
    uint32_t group = (uint32_t)bytes[i] << 16;
    if (n > 1) group |= (uint32_t)bytes[i + 1] << 8;
    if (n > 2) group |= bytes[i + 2];
    for (size_t c = 0; c <= n; c++) buf_char(out, alphabet[group >> (18 - 6 * c) & 63]);
  }
}

static int digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_read(const char *text, size_t size, struct buf *out) {
  uint32_t bits = 0;
  unsigned held = 0;
  if (size % 4 == 1) return false;
  for (size_t i = 0; i < size; i++) {
    int value = digit(text[i]);
    if (value < 0) return false;
    bits = (bits << 6 | (uint32_t)value) & 0xffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    buf_char(out, (char)(bits >> held & 255));
  }
  return (bits & ((1u << held) - 1)) == 0;
}
