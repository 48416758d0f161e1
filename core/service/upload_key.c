/* Names of uploads: nothing of what a caller writes reaches a disk or an address as it stands. */
#include <ctype.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "service/upload.h"

enum { OWNER_WORD_MAX = 64, CLEAN_MAX = 80, EXTENSION_MAX = 10 };
static const char head[] = "uploads/";

static bool is_plain(char c) {
  return isascii((unsigned char)c) && (isalnum((unsigned char)c) || c == '-' || c == '_');
}

/* A byte that does not stand for itself is ~HH, so that two subjects never share a folder. A dot stands for itself
 * except at the beginning: no folder is hidden, none is `..`. */
char *upload_owner_word(const char *subject) {
  struct buf out = {0};
  for (const char *c = subject; *c; c++) {
    if (is_plain(*c) || (*c == '.' && out.size))
      buf_char(&out, *c);
    else
      buf_format(&out, "~%02x", (unsigned char)*c);
  }
  if (out.size > OWNER_WORD_MAX) {
    char hex[65];
    digest_of(subject, strlen(subject), hex);
    out.size = OWNER_WORD_MAX - 34;
    buf_format(&out, "~~%.32s", hex);
  }
  if (!out.size) buf_text(&out, "~");
  return buf_take(&out);
}

/* Runs of what is not plain become one dash; none at either end. */
static void add_clean(struct buf *out, const char *name, size_t size) {
  size_t begin = out->size;
  for (size_t i = 0; i < size && out->size - begin < CLEAN_MAX; i++) {
    if (is_plain(name[i]))
      buf_char(out, name[i]);
    else if (out->size > begin && out->data[out->size - 1] != '-')
      buf_char(out, '-');
  }
  while (out->size > begin && out->data[out->size - 1] == '-') out->data[--out->size] = '\0';
  if (out->size == begin) buf_text(out, "file");
}

static void add_uuid(struct buf *out) {
  unsigned char raw[16] = {0};
  RAND_bytes(raw, sizeof(raw));
  raw[6] = (unsigned char)((raw[6] & 15) | 0x40); /* version 4, RFC 9562 */
  raw[8] = (unsigned char)((raw[8] & 63) | 0x80);
  for (size_t i = 0; i < sizeof(raw); i++)
    buf_format(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", raw[i]);
}

static const char *extension_of(const char *name) {
  const char *dot = strrchr(name, '.');
  size_t size = dot ? strlen(dot + 1) : 0;
  if (!dot || dot == name || size == 0 || size > EXTENSION_MAX) return NULL;
  for (const char *c = dot + 1; *c; c++)
    if (!isascii((unsigned char)*c) || !isalnum((unsigned char)*c)) return NULL;
  return dot;
}

char *upload_key_new(const char *owner, const char *filename, int64_t wall_us) {
  struct buf out = {0};
  const char *slash = strrchr(filename, '/'), *back = strrchr(filename, '\\');
  const char *name = back > slash ? back + 1 : slash ? slash + 1 : filename; /* some send whole paths */
  const char *dot = extension_of(name);
  mem_auto char *word = upload_owner_word(owner);
  buf_format(&out, "%s%s/%013lld-", head, word, (long long)(wall_us / 1000));
  add_clean(&out, name, dot ? (size_t)(dot - name) : strlen(name));
  buf_char(&out, '-');
  add_uuid(&out);
  buf_char(&out, '.');
  for (const char *c = dot ? dot + 1 : "bin"; *c; c++) buf_char(&out, (char)tolower((unsigned char)*c));
  return buf_take(&out);
}

const char *upload_key_name(const char *key) {
  const char *slash = strrchr(key, '/');
  return slash ? slash + 1 : key;
}

bool upload_key_is(const char *text) {
  size_t size = strnlen(text, UPLOAD_KEY_MAX);
  if (size == UPLOAD_KEY_MAX || strncmp(text, head, strlen(head)) != 0) return false;
  unsigned slashes = 0;
  for (const char *c = text; *c; c++) {
    if (!is_plain(*c) && *c != '.' && *c != '~' && *c != '/') return false;
    if (*c == '/' && (c[1] == '/' || c[1] == '.' || !c[1])) return false;
    slashes += *c == '/';
  }
  return slashes == 2;
}
