/* input.h - the source as bytes: one descriptor that the runner opened, read with pread so that every cursor has its
 * own place in it. A pipe is copied into an unlinked scratch file as it is read, which makes it readable in several
 * places too. Nothing else is ever opened: whatever a file names (playlists, references) stays closed. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct AVIOContext;
struct AVFormatContext;

struct input {
  int fd;    /* owned */
  int spill; /* scratch copy of a pipe, -1: none needed */
  bool seekable;
  int64_t size; /* -1: unknown */
  int64_t spilled;
  bool drained;      /* the pipe has ended */
  _Atomic int error; /* errno of the first failed read */
  bool (*stop)(void *context);
  void *context;
  pthread_mutex_t lock; /* of the pipe and its copy */
};

/* Takes fd. scratch: a folder for the copy of a pipe, NULL: none. */
void input_init(struct input *in, int fd, const char *scratch, bool (*stop)(void *), void *context);
void input_close(struct input *in);
/* A format context that reads `in` from its start, in its own time; free with input_detach. NULL: no memory. */
struct AVFormatContext *input_attach(struct input *in);
void input_detach(struct AVFormatContext **ic);
