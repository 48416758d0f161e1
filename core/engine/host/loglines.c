/* What an attempt writes to stdout and stderr: a bounded file for people, the last lines for the error. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/parts.h"

enum { TAIL_ROOM = 8 * 1024, READ_SIZE = 16 * 1024, READS_PER_TURN = 4, TAIL_LINES = 12 };

struct loglines {
  struct loop *loop;
  int pipes[2], file;
  struct loop_watch *watches[2];
  int64_t left; /* bytes the file may still take */
  bool cut;
  char tail[TAIL_ROOM];
  size_t tail_size;
};

static void keep_tail(struct loglines *l, const char *text, size_t size) {
  if (size >= TAIL_ROOM) {
    memcpy(l->tail, text + size - TAIL_ROOM, TAIL_ROOM);
    l->tail_size = TAIL_ROOM;
    return;
  }
  size_t over = l->tail_size + size > TAIL_ROOM ? l->tail_size + size - TAIL_ROOM : 0;
  memmove(l->tail, l->tail + over, l->tail_size - over);
  l->tail_size -= over;
  memcpy(l->tail + l->tail_size, text, size);
  l->tail_size += size;
}

static void write_file(struct loglines *l, const char *text, size_t size) {
  if (l->file < 0 || l->cut) return;
  if ((int64_t)size > l->left) {
    static const char note[] = "\n[the log is cut off here: its limit is reached]\n";
    size = (size_t)l->left;
    l->cut = true;
    if (write(l->file, text, size) < 0 || write(l->file, note, sizeof(note) - 1) < 0) return;
  } else if (write(l->file, text, size) < 0) {
    return; /* a full disk costs the log, not the attempt */
  }
  l->left -= (int64_t)size;
}

/* False at the end of the pipe or when nothing waits. */
static bool read_some(struct loglines *l, int which) {
  char text[READ_SIZE + 1];
  ssize_t size = read(l->pipes[which], text, READ_SIZE);
  if (size < 0 && errno == EINTR) return true;
  if (size < 0 && errno == EAGAIN) return false;
  if (size <= 0) {
    loop_unwatch(l->loop, &l->watches[which]);
    return false;
  }
  for (ssize_t i = 0; i < size; i++)
    if (!text[i]) text[i] = ' ';
  text[size] = '\0';
  log_scrub(text);
  size_t kept = strlen(text);
  write_file(l, text, kept);
  keep_tail(l, text, kept);
  return true;
}

static void on_readable(void *context, int fd, uint32_t events) {
  struct loglines *l = context;
  (void)events;
  int which = fd == l->pipes[1];
  for (int i = 0; i < READS_PER_TURN && read_some(l, which); i++) {}
}

void loglines_drain(struct loglines *l) {
  for (int which = 0; l && which < 2; which++)
    /* A pipe holds 64 KiB: nobody writes to it any more, so this ends; the bound is for one who still might. */
    for (int i = 0; i < 64 && l->watches[which] && read_some(l, which); i++) {}
}

void loglines_note(struct loglines *l, const char *level, const char *text) {
  if (!l) return;
  mem_auto char *line = mem_format("[%s] %s\n", level, text);
  log_scrub(line);
  write_file(l, line, strlen(line));
}

/* The last lines, whole ones where possible. */
char *loglines_tail(struct loglines *l) {
  if (!l) return mem_text("");
  size_t end = l->tail_size, begin = end;
  unsigned lines = 0;
  if (begin && l->tail[begin - 1] == '\n') begin = --end;
  while (begin && (l->tail[begin - 1] != '\n' || ++lines < TAIL_LINES)) begin--;
  return mem_text_n(l->tail + begin, end - begin);
}

static enum err open_file(struct loglines *l, const struct loglines_options *options, struct error *e) {
  if (!options->path) return ERR_OK;
  l->file = open(options->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640);
  if (l->file < 0) return error_errno(e, errno, "cannot open the log %s", options->path);
  l->left = options->limit_bytes;
  return ERR_OK;
}

enum err loglines_open(struct loglines **lines, const struct loglines_options *options, int *out, int *err_end,
                       struct error *e) {
  struct loglines *l = mem_alloc(sizeof(*l));
  int *ends[2] = {out, err_end};
  *l = (struct loglines){.loop = options->loop, .pipes = {-1, -1}, .file = -1};
  *out = *err_end = -1;
  *lines = l;
  enum err err = open_file(l, options, e);
  for (int i = 0; i < 2 && !err; i++) {
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) != 0) return error_errno(e, errno, "cannot make the log pipes of an attempt");
    l->pipes[i] = pair[0];
    *ends[i] = pair[1];
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    l->watches[i] = loop_watch(l->loop, pair[0], EPOLLIN, on_readable, l);
    if (!l->watches[i]) err = error_errno(e, errno, "cannot watch the log pipes of an attempt");
  }
  return err;
}

void loglines_close(struct loglines **lines) {
  struct loglines *l = *lines;
  if (!l) return;
  for (int i = 0; i < 2; i++) {
    loop_unwatch(l->loop, &l->watches[i]);
    fd_close_at(&l->pipes[i]);
  }
  fd_close_at(&l->file);
  free(l);
  *lines = NULL;
}
