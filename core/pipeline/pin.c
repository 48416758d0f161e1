/* The canonical text: one flow-style YAML value, JSON but for plain scalars that carry their type by being plain. */
#include <string.h>

#include "pipeline/build.h"

/* Plain in every place and read back as the same plain scalar. */
static bool safe_plain(const struct node *n) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  const char *s = n->text;
  if (!n->plain || n->size == 0 || n->size > 100) return false;
  if (*s == '-') s++;
  if (!*s || !strchr(letters, *s)) return false;
  return s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.%+-")] == 0;
}

/* What libyaml refuses to read raw is escaped; everything else stays as it is. */
static void quoted(const char *s, size_t size, struct buf *out) {
  buf_char(out, '"');
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)s[i];
    bool c1 = c == 0xc2 && (unsigned char)s[i + 1] < 0xa0;
    bool line = c == 0xe2 && (unsigned char)s[i + 1] == 0x80 && ((unsigned char)s[i + 2] & 0xfe) == 0xa8;
    bool mark = c == 0xef && (unsigned char)s[i + 1] >= 0xbb;
    if (c == '"' || c == '\\')
      buf_format(out, "\\%c", c);
    else if (c < 0x20 || c == 0x7f)
      buf_format(out, "\\x%02x", c);
    else if (c1)
      buf_format(out, "\\x%02x", (unsigned char)s[++i]);
    else if (line || mark) {
      unsigned code = (c & 0xfu) << 12 | ((unsigned char)s[i + 1] & 0x3fu) << 6 | ((unsigned char)s[i + 2] & 0x3fu);
      buf_format(out, "\\u%04x", code);
      i += 2;
    } else
      buf_char(out, (char)c);
  }
  buf_char(out, '"');
}

static void indent(struct buf *out, unsigned depth) {
  buf_char(out, '\n');
  for (unsigned i = 0; i < depth; i++) buf_text(out, "  ");
}

static void pin(const struct node *n, struct buf *out, unsigned depth) {
  if (n->kind == NODE_SCALAR) {
    if (node_is_empty(n))
      buf_text(out, "null");
    else if (safe_plain(n))
      buf_add(out, n->text, n->size);
    else
      quoted(n->text, n->size, out);
    return;
  }
  bool map = n->kind == NODE_MAP;
  buf_char(out, map ? '{' : '[');
  for (size_t i = 0; i < n->count; i++) {
    if (i) buf_char(out, ',');
    indent(out, depth + 1);
    if (map) {
      quoted(n->entries[i].key->text, n->entries[i].key->size, out);
      buf_text(out, ": ");
    }
    pin(map ? n->entries[i].value : n->items[i], out, depth + 1);
  }
  if (n->count) indent(out, depth);
  buf_char(out, map ? '}' : ']');
}

void pin_text(const struct node *root, struct buf *out) {
  pin(root, out, 0);
  buf_char(out, '\n');
}
