/* error.h - the one error object of the core: a code, an operator sentence, a debug sentence.
 *
 * Functions that can fail return `enum err` and fill a caller-owned `struct error` (NULL: not interested). */
#pragma once

#define ERR_TABLE(X)                                                                                                   \
  X(OK, "ok")                                                                                                          \
  X(USAGE, "usage")             /* the call's words are off */                                                         \
  X(INVALID, "invalid")         /* malformed pipeline, media, request, plugin */                                       \
  X(NOT_FOUND, "not-found")                                                                                            \
  X(CONFLICT, "conflict")       /* the state does not allow it (already terminal, owned by another) */                 \
  X(STALE, "stale")             /* the fencing number is not current: the result was dropped */                        \
  X(BUSY, "busy")                                                                                                      \
  X(NO_SPACE, "no-space")       /* disk or map full: retry when space has returned, nothing was lost */                \
  X(IO, "io")                                                                                                          \
  X(DENIED, "denied")                                                                                                  \
  X(TIMEOUT, "timeout")                                                                                                \
  X(CANCELLED, "cancelled")                                                                                            \
  X(CORRUPT, "corrupt")                                                                                                \
  X(VERSION, "version")         /* written by a newer or an unsupported version */                                     \
  X(PROTOCOL, "protocol")       /* a peer broke the protocol */                                                        \
  X(LOST, "lost")               /* the process that did the work is gone */                                            \
  X(UNSUPPORTED, "unsupported")                                                                                        \
  X(TOO_LARGE, "too-large")                                                                                            \
  X(INTERNAL, "internal")       /* a bug of ours */

enum err {
#define ERR_ENUM(name, word) ERR_##name,
  ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

struct error {
  enum err code;
  char message[512]; /* for the operator: what, which thing, what to do */
  char debug[512];   /* for the log: errno text, library text; may be empty */
};

const char *err_word(enum err code); /* "no-space" */

/* Fills e (may be NULL) and returns code, so that a caller can `return error_set(...)`. Clears debug. */
enum err error_set(struct error *e, enum err code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same, with the text of `saved_errno` appended to the message and kept in debug. ENOSPC/EDQUOT become
 * ERR_NO_SPACE, ENOENT ERR_NOT_FOUND, EACCES/EPERM/EROFS ERR_DENIED, the rest ERR_IO. */
enum err error_errno(struct error *e, int saved_errno, const char *format, ...) __attribute__((format(printf, 3, 4)));
void error_debug(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "text: " before the message. */
void error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void error_clear(struct error *e);
