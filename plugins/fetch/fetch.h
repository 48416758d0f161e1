/* fetch.h - private to the plugin: one fetch, from its settings to its results. */
#pragma once
#include <stdint.h>

#include <stagemill/stage.h>

#include "common/checksum.h"
#include "common/text.h"

enum { FETCH_NAME_MAX = 200, FETCH_SHOWN_MAX = 300 };

/* partial.c: the file while it arrives. */
struct partial {
  int fd;
  char *path;
  int64_t size;     /* bytes written and hashed */
  int64_t limit;    /* max-size; 0: none */
  struct checksum_stream *hash;
  bool kept;        /* lies where the next attempt finds it */
  int write_errno;  /* why a write failed */
  bool too_large;
};

struct fetch {
  sm_task *task;
  const char *url;
  char *at; /* what is asked in its place: the signed form; NULL: url itself */
  char shown[FETCH_SHOWN_MAX]; /* the URL without its secrets */
  char name[FETCH_NAME_MAX + 16];
  char media_type[128];
  int64_t total;               /* expected bytes, -1: unknown */
  double highest;              /* progress shown so far */
  struct partial partial;
};

/* Opens (or takes up again, when `resume`) the partial file. An sm_status. */
sm_status partial_open(struct fetch *f, bool resume);
bool partial_write(struct partial *p, const void *data, size_t size);
/* Back to nothing. */
bool partial_restart(struct partial *p);
/* Moves the complete file to `path`. 0 or errno. */
int partial_finish(struct partial *p, const char *path);
void partial_drop(struct partial *p); /* removes the file */
void partial_close(struct partial *p);
/* The verdict for a write that failed or a file that grew too large. */
sm_status partial_verdict(struct fetch *f);

sm_status local_fetch(struct fetch *f, const char *path);
sm_status web_fetch(struct fetch *f);
struct url;
sm_status object_fetch(struct fetch *f, const struct url *url);
void fetch_progress(struct fetch *f);

/* name.c: what the file is called. `name`, when given, is the operator's; all others are a server's word. */
void name_from_path(struct fetch *f, const char *path);
void name_from_answer(struct fetch *f, const char *disposition, const char *url, const char *content_type);
bool name_is_sane(const char *name);
