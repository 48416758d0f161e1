/* remote_stream.c - what takes its time: events as they come, texts that grow, files up and down. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/remote_parts.h"
#include "common/mime.h"

enum { LINE_BYTES_MAX = 1 << 20, SILENCE_US = 300 * 1000 * 1000, BACKOFF_FIRST_US = 500 * 1000, BACKOFF_MAX_US = 10 * 1000 * 1000,
       STREAM_STALL_S = 60, SHOW_EVERY_US = 200 * 1000, SHOW_FROM_US = 1000 * 1000 };

/* ---- server-sent events (WHATWG HTML, 9.2) ------------------------------------------------------------------------ */

struct events {
  remote_event *event;
  void *context;
  struct buf line, data;
  char *since; /* id of the last event seen */
  bool ended, heard;
};

static void events_dispatch(struct events *s) {
  if (!s->data.size) return;
  value_auto struct value *event = NULL;
  if (!value_from_json(buf_string(&s->data), s->data.size, &event, NULL) && !s->event(s->context, event, buf_string(&s->data)))
    s->ended = true;
  buf_reset(&s->data);
}

static void events_line(struct events *s) {
  const char *line = buf_string(&s->line);
  const char *value = strchr(line, ':');
  if (!*line) {
    events_dispatch(s);
    return;
  }
  if (!value || value == line) return; /* a comment, or a field we do not know */
  size_t name = (size_t)(value - line);
  value += value[1] == ' ' ? 2 : 1;
  if (name == 4 && !strncmp(line, "data", 4)) {
    if (s->data.size) buf_char(&s->data, '\n');
    buf_text(&s->data, value);
  } else if (name == 2 && !strncmp(line, "id", 2)) {
    free(s->since);
    s->since = mem_text(value);
  }
}

static bool events_sink(struct http_exchange *x, const void *data, size_t size) {
  struct events *s = x->context;
  s->heard = true;
  for (const char *at = data, *end = at + size; at < end && !s->ended; at++) {
    if (*at == '\r') continue;
    if (*at != '\n') {
      buf_char(&s->line, *at);
      continue;
    }
    events_line(s);
    buf_reset(&s->line);
  }
  return !s->ended && s->line.size <= LINE_BYTES_MAX && s->data.size <= LINE_BYTES_MAX;
}

/* One connection, to its end. ERR_LOST: worth another one. */
static enum err follow_once(struct remote *remote, const char *path, struct events *s, struct error *e) {
  const char *headers[5];
  mem_auto char *since = remote_encode(s->since);
  mem_auto char *url = mem_format("%s%s%csince=%s", remote->base, path, strchr(path, '?') ? '&' : '?', since);
  struct http_exchange x = {.method = "GET", .url = url, .headers = headers, .sink = events_sink, .context = s,
                            .stall_s = STREAM_STALL_S};
  x.header_count = remote_headers(remote, headers, NULL, "Accept: text/event-stream");
  buf_reset(&s->line);
  buf_reset(&s->data);
  http_run(remote->client, &x);
  enum err err = ERR_LOST;
  if (s->ended) err = ERR_OK;
  else if (x.end == HTTP_ANSWERED && x.status / 100 != 2 && !http_is_transient(&x)) err = remote_problem(remote, &x, e);
  else if (x.end != HTTP_ANSWERED) remote_problem(remote, &x, e);
  else error_set(e, ERR_LOST, "the daemon at %s ended the stream", remote->base);
  http_reset(&x);
  return err;
}

enum err remote_follow(struct remote *remote, const char *path, const char *since, remote_event *event, void *context,
                       struct error *e) {
  struct events s = {.event = event, .context = context, .since = mem_text(since)};
  int64_t silent_us = clock_boot(&clock_system), pause_us = BACKOFF_FIRST_US;
  enum err err;
  while ((err = follow_once(remote, path, &s, e)) == ERR_LOST || err == ERR_TIMEOUT || err == ERR_BUSY) {
    int64_t now_us = clock_boot(&clock_system);
    if (s.heard) {
      silent_us = now_us;
      pause_us = BACKOFF_FIRST_US;
    }
    s.heard = false;
    if (now_us - silent_us > SILENCE_US) break;
    usleep((useconds_t)pause_us);
    pause_us = pause_us * 2 > BACKOFF_MAX_US ? BACKOFF_MAX_US : pause_us * 2;
  }
  buf_free(&s.line);
  buf_free(&s.data);
  free(s.since);
  return err;
}

/* ---- progress of a file on its way ---------------------------------------------------------------------------------- */

struct shown {
  const char *what;
  int64_t begun_us, last_us, total;
  bool drawn;
};

static void show(struct shown *shown, int64_t done) {
  int64_t now_us = clock_boot(&clock_system);
  if (!isatty(STDERR_FILENO) || now_us - shown->begun_us < SHOW_FROM_US || now_us - shown->last_us < SHOW_EVERY_US) return;
  shown->last_us = now_us;
  shown->drawn = true;
  double rate = (double)done / ((double)(now_us - shown->begun_us) / 1e6) / 1e6;
  if (shown->total > 0)
    fprintf(stderr, "\r%s  %5.1f %%  %.1f MB/s\033[K", shown->what, 100.0 * (double)done / (double)shown->total, rate);
  else
    fprintf(stderr, "\r%s  %.1f MB  %.1f MB/s\033[K", shown->what, (double)done / 1e6, rate);
}

static void show_end(const struct shown *shown) {
  if (shown->drawn) fprintf(stderr, "\r\033[K");
}

/* ---- down -------------------------------------------------------------------------------------------------------------- */

struct copying {
  int fd;
  int trouble; /* errno */
  int64_t bytes;
  struct shown shown;
};

static bool copy_sink(struct http_exchange *x, const void *data, size_t size) {
  struct copying *c = x->context;
  for (const char *at = data; size;) {
    ssize_t n = write(c->fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      c->trouble = errno;
      return false;
    }
    at += n;
    size -= (size_t)n;
    c->bytes += n;
  }
  c->shown.total = http_length(x);
  if (c->shown.what) show(&c->shown, c->bytes);
  return true;
}

enum err remote_copy(struct remote *remote, const char *path, int fd, const char *what, struct error *e) {
  const char *headers[5];
  mem_auto char *url = mem_format("%s%s", remote->base, path);
  struct copying c = {.fd = fd, .shown = {.what = what, .begun_us = clock_boot(&clock_system)}};
  struct http_exchange x = {.method = "GET", .url = url, .headers = headers, .sink = copy_sink, .context = &c,
                            .stall_s = STREAM_STALL_S};
  x.header_count = remote_headers(remote, headers, NULL, "Accept: */*");
  http_run(remote->client, &x);
  show_end(&c.shown);
  enum err err = ERR_OK;
  if (c.trouble)
    err = error_errno(e, c.trouble, "cannot write %s", what ? what : "the output");
  else if (x.end != HTTP_ANSWERED || x.status / 100 != 2)
    err = remote_problem(remote, &x, e);
  http_reset(&x);
  return err;
}

/* ---- up ---------------------------------------------------------------------------------------------------------------- */

enum err remote_put(struct remote *remote, const char *url, int fd, int64_t size, const char *type, const char *what,
                    struct error *e) {
  mem_auto char *header = mem_format("Content-Type: %s", type);
  const char *headers[] = {header};
  struct shown shown = {.what = what, .begun_us = clock_boot(&clock_system), .total = size};
  struct http_exchange x = {.method = "PUT", .url = url, .headers = headers, .header_count = 1, .body_fd = fd,
                            .has_body_fd = true, .body_size = size, .head = remote_keep};
  if (http_start(remote->client, &x))
    while (x.slot) {
      http_wait(remote->client, 100);
      show(&shown, x.sent);
    }
  show_end(&shown);
  enum err err = x.end == HTTP_ANSWERED && x.status / 100 == 2 ? ERR_OK : remote_problem(remote, &x, e);
  http_reset(&x);
  return err;
}

enum err remote_upload(struct remote *remote, const char *path, const struct value *more, struct value **upload,
                       struct error *e) {
  struct stat st;
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st)) return error_errno(e, errno, "cannot open %s", path);
  if (!S_ISREG(st.st_mode)) return error_set(e, ERR_USAGE, "%s is not a regular file", path);
  const char *name = fs_base_name(path), *type = mime_of_name(name);
  value_auto struct value *request = more ? value_copy(more) : value_map();
  value_set_text(request, "filename", name);
  value_set_text(request, "contentType", type);
  value_set_int(request, "bytes", (int64_t)st.st_size);
  if (remote_call(remote, "POST", "/api/v1/uploads", request, upload, e)) return e->code;
  const char *url = value_get_text(*upload, "uploadUrl", NULL);
  if (!url) return error_set(e, ERR_PROTOCOL, "the daemon named no address to upload %s to", name);
  return remote_put(remote, url, fd, (int64_t)st.st_size, type, name, e);
}
