#include "cli/bars.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/clock.h"
#include "base/mem.h"

enum { BARS_NAME_WIDTH = 14, BARS_WIDTH = 24, BARS_PERCENT_WIDTH = 9, BARS_EVERY_US = 100 * 1000 };

struct bars {
  int fd;
  bool utf8, color;
  unsigned shown, lines; /* lines on the screen now; lines of the picture being made */
  unsigned turn;
  int64_t drawn_us;
  struct buf picture;
};

struct bars *bars_new(int fd) {
  struct bars *b = mem_alloc(sizeof *b);
  b->fd = fd;
  b->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  const char *no_color = getenv("NO_COLOR");
  b->color = !no_color || !*no_color;
  return b;
}

static void bars_write(struct bars *b, const struct buf *text) {
  size_t sent = 0;
  while (sent < text->size) {
    ssize_t n = write(b->fd, text->data + sent, text->size - sent);
    if (n <= 0) return;
    sent += (size_t)n;
  }
}

static void bars_erase(struct bars *b, struct buf *out) {
  if (b->shown) buf_format(out, "\x1b[%uA", b->shown);
  buf_text(out, "\r\x1b[J");
  b->shown = 0;
}

void bars_free(struct bars **at) {
  struct bars *b = *at;
  if (!b) return;
  struct buf out = {0};
  bars_erase(b, &out);
  bars_write(b, &out);
  buf_free(&out);
  buf_free(&b->picture);
  free(b);
  *at = NULL;
}

static unsigned bars_columns(const struct bars *b) {
  struct winsize size;
  return ioctl(b->fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* Lines there is room for: what scrolled out of sight cannot be drawn over. */
static unsigned bars_rows(const struct bars *b) {
  struct winsize size;
  return ioctl(b->fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row - 1u : 23;
}

/* Clips text to what fits into `columns` of the terminal, wide characters taking two; never splits one, never lets a
 * control character through. Answers the columns used. */
static unsigned bars_clip(struct buf *out, const char *text, unsigned columns) {
  unsigned used = 0;
  mbstate_t state = {0};
  for (const char *at = text; *at;) {
    wchar_t c;
    size_t size = mbrtowc(&c, at, MB_CUR_MAX, &state);
    if (size == 0 || size > MB_CUR_MAX) { /* no character of this locale: a byte at a time, shown as a dot */
      memset(&state, 0, sizeof state);
      size = 1;
      c = 0;
    }
    int width = c ? wcwidth(c) : 1;
    if (width >= 0 && used + (unsigned)width > columns) break;
    if (c && width >= 0) buf_add(out, at, size);
    if (!c) buf_char(out, '.');
    used += width > 0 ? (unsigned)width : 0;
    at += size;
  }
  return used;
}

void bars_print(struct bars *b, const char *line) {
  struct buf out = {0};
  bars_erase(b, &out);
  buf_text(&out, line);
  buf_char(&out, '\n');
  bars_write(b, &out);
  buf_free(&out);
}

void bars_begin(struct bars *b) {
  buf_reset(&b->picture);
  b->lines = 0;
  b->turn++;
}

static void bars_fill(struct bars *b, double fraction, unsigned width) {
  const char *full = b->utf8 ? "\xe2\x96\x88" : "#", *empty = b->utf8 ? "\xe2\x96\x91" : "-";
  if (b->color) buf_text(&b->picture, "\x1b[36m");
  for (unsigned i = 0; i < width; i++) {
    bool on = fraction >= 0 ? i < (unsigned)(fraction * width + 0.5) : (i + width - b->turn % width) % width < 3;
    buf_text(&b->picture, on ? full : empty);
  }
  if (b->color) buf_text(&b->picture, "\x1b[0m");
}

void bars_line(struct bars *b, const char *name, double fraction, const char *tail) {
  unsigned columns = bars_columns(b), width = BARS_WIDTH;
  if (b->lines >= bars_rows(b)) return;
  if (columns < BARS_NAME_WIDTH + BARS_WIDTH + BARS_PERCENT_WIDTH + 2)
    width = columns > BARS_NAME_WIDTH + BARS_PERCENT_WIDTH + 2 ? columns - BARS_NAME_WIDTH - BARS_PERCENT_WIDTH - 2 : 1;
  unsigned fixed = BARS_NAME_WIDTH + 1 + width + BARS_PERCENT_WIDTH;
  unsigned used = bars_clip(&b->picture, name, BARS_NAME_WIDTH);
  buf_format(&b->picture, "%*s", (int)(BARS_NAME_WIDTH - used + 1), "");
  bars_fill(b, fraction, width);
  if (fraction >= 0)
    buf_format(&b->picture, " %5.1f %% ", fraction * 100);
  else
    buf_text(&b->picture, "         ");
  if (columns > fixed + 1) bars_clip(&b->picture, tail, columns - fixed - 1);
  buf_char(&b->picture, '\n');
  b->lines++;
}

void bars_force(struct bars *b) {
  struct buf out = {0};
  bars_erase(b, &out);
  buf_add(&out, buf_string(&b->picture), b->picture.size);
  bars_write(b, &out);
  buf_free(&out);
  b->shown = b->lines;
  b->drawn_us = clock_boot(&clock_system);
}

void bars_draw(struct bars *b) {
  if (clock_boot(&clock_system) - b->drawn_us >= BARS_EVERY_US) bars_force(b);
}
