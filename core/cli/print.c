#include "cli/print.h"

#include <string.h>

#include "cli/command.h"

int print_json(const struct value *v, int code) {
  buf_auto struct buf text = {0};
  value_json(&text, v, VALUE_JSON_PRETTY);
  if (!text.size || text.data[text.size - 1] != '\n') buf_char(&text, '\n');
  return cli_print(&text, code);
}

void print_wrapped(struct buf *out, size_t indent, const char *text) {
  size_t column = 0;
  while (*text) {
    size_t size = strcspn(text, " ");
    if (column && column + 1 + size > 100 - indent) {
      buf_char(out, '\n');
      column = 0;
    }
    if (column)
      buf_char(out, ' ');
    else
      buf_format(out, "%*s", (int)indent, "");
    buf_add(out, text, size);
    column += size + 1;
    text += size;
    text += strspn(text, " ");
  }
  buf_char(out, '\n');
}

void print_tame(char *text) {
  for (unsigned char *at = (unsigned char *)text; *at; at++) {
    bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0; /* U+0080 to U+009F: CSI and its kin in one character */
    if (c1) *at++ = ' ';
    if (c1 || *at < 0x20 || *at == 0x7f) *at = ' ';
  }
}
