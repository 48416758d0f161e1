/* remote.h - a daemon somewhere else, as the commands that take --server see it: one request, a stream of events, a file up,
 * a file down. Errors arrive as the daemon worded them (problem+json), with the exit code that the same mistake has locally. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/value.h"
#include "cli/options.h"

#define REMOTE_OPTIONS                                                                                                 \
  OPTION_VALUE("server", 0, "URL", WORD_TEXT, "daemon to ask, such as http://127.0.0.1:8060 (or STAGEMILL_SERVER)"),   \
      OPTION_VALUE("token", 0, "T", WORD_TEXT, "token for it (or STAGEMILL_TOKEN)"),                                   \
      OPTION_VALUE("token-file", 0, "F", WORD_FILE, "file that holds the token (or STAGEMILL_TOKEN_FILE)")

/* A daemon is meant, not a state folder: --server, or STAGEMILL_SERVER unless a state folder is named. */
bool remote_named(const struct options *options);

struct remote;
/* NULL with *code set and the complaint printed: no server named, its address or the token file is off. */
struct remote *remote_open(const struct options *options, int *code);
void remote_close(struct remote **remote);

/* One request. path: "/api/v1/jobs?limit=1", encoded (remote_encode). body NULL: none. *answer (may be NULL) is owned; a null
 * value for an empty one. ERR_LOST: nobody answers there. */
enum err remote_call(struct remote *remote, const char *method, const char *path, const struct value *body,
                     struct value **answer, struct error *e);
/* The same with a further header ("Name: value"). */
enum err remote_call_with(struct remote *remote, const char *method, const char *path, const char *header,
                          const struct value *body, struct value **answer, struct error *e);
/* The same plus the complaint; NULL: *code says how to end. */
struct value *remote_ask(struct remote *remote, const char *method, const char *path, const struct value *body, int *code);
char *remote_encode(const char *text); /* one component of a path or query; malloc'ed */
/* The whole id that a unique beginning or "last" means; malloc'ed, NULL with e set. */
char *remote_job(struct remote *remote, const char *word, struct error *e);

/* Server-sent events of `path` (without `since`), from `since` on, each as envelope; comes back by itself after a lost connection, for
 * at most five minutes of silence from the server. ERR_OK: `event` answered false, which ends it. */
typedef bool remote_event(void *context, const struct value *event, const char *json);
enum err remote_follow(struct remote *remote, const char *path, const char *since, remote_event *event, void *context,
                       struct error *e);
/* A stream of text, as it comes, to a descriptor. */
enum err remote_copy(struct remote *remote, const char *path, int fd, const char *what, struct error *e);
/* PUTs a file to a (signed) address; shows progress on a terminal. */
enum err remote_put(struct remote *remote, const char *url, int fd, int64_t size, const char *type, const char *what,
                    struct error *e);
/* Uploads a local file for a submission; *key: what to name as input. */
enum err remote_upload(struct remote *remote, const char *path, const struct value *more, struct value **upload,
                       struct error *e);
