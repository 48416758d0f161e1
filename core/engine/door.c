/* door.c - the owner's side of control.sock. It waits for nobody: a client that does not read is not read from either, loses
 * progress, and in the end the connection. */
#include "engine/door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "engine/door_parts.h"
#include "engine/job.h"
#include "events/envelope.h"

enum {
  DOOR_LINE_MAX = 256 * 1024,
  DOOR_OUT_MAX = 4 << 20,        /* a follower behind by more is let go */
  DOOR_PAUSE_MAX = 512 * 1024,   /* more of its answers unread: no further request is taken */
  DOOR_PROGRESS_MAX = 64 * 1024, /* more unread: progress is left out */
  DOOR_CLIENTS_MAX = 64,
  DOOR_LINGER_US = 10 * 1000 * 1000,
  DOOR_TIRED_US = 1000 * 1000,
};

struct ask { /* a request that is answered later, perhaps when its client has gone */
  struct client *client; /* NULL: gone */
};

struct client {
  struct client *next;
  struct door *door;
  int fd;
  struct loop_watch *watch;
  struct buf in, out;
  char *follows;      /* job id, NULL: none */
  uint64_t seen;      /* `state` told about events up to here */
  struct ask *asking; /* NULL: no request is open */
  struct loop_timer *linger;
  bool closing, reading; /* reading: its lines are being gone through */
};

struct door {
  struct engine *engine;
  struct loop *loop;
  char *path;
  int fd;
  struct loop_watch *watch;
  struct loop_timer *tired; /* out of descriptors: no new clients for a moment */
  struct listener *listener;
  struct client *clients;
  unsigned client_count;
};

/* ---- one client --------------------------------------------------------------------------------------------------- */

static void client_free(struct client *c) {
  struct door *door = c->door;
  for (struct client **at = &door->clients; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
  door->client_count--;
  if (c->asking) c->asking->client = NULL;
  loop_cancel(door->loop, &c->linger);
  loop_unwatch(door->loop, &c->watch);
  close(c->fd);
  buf_free(&c->in);
  buf_free(&c->out);
  free(c->follows);
  free(c);
}

/* false: it has gone. */
static bool client_flush(struct client *c) {
  size_t sent = 0;
  bool there = true;
  while (there && sent < c->out.size) {
    ssize_t n = send(c->fd, c->out.data + sent, c->out.size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    there = n >= 0;
    sent += there ? (size_t)n : 0;
  }
  if (sent) memmove(c->out.data, c->out.data + sent, c->out.size - sent);
  c->out.size -= sent;
  return there;
}

static void client_say(struct client *c, const char *json) {
  buf_text(&c->out, json);
  buf_char(&c->out, '\n');
}

static void client_say_value(struct client *c, const struct value *v) {
  struct buf text = {0};
  value_json(&text, v, VALUE_JSON_COMPACT);
  client_say(c, buf_string(&text));
  buf_free(&text);
}

static void client_say_error(struct client *c, enum err code, const char *message) {
  struct error e;
  error_set(&e, code, "%s", message);
  value_auto struct value *v = answer_error(&e);
  client_say_value(c, v);
}

static void client_lingered(void *context) {
  struct client *c = context;
  c->linger = NULL;
  client_free(c);
}

static void client_ready(void *context, int fd, uint32_t events);

/* Sends what fits and listens for what can be used: a client whose request is open, or that leaves its answers unread, is
 * not listened to at all, or its own end would wake the loop without pause. */
static void client_update(struct client *c) {
  struct loop *loop = c->door->loop;
  if (!client_flush(c) || (c->closing && !c->out.size)) {
    client_free(c);
    return;
  }
  if (c->closing && !c->linger) c->linger = loop_after(loop, DOOR_LINGER_US, client_lingered, c);
  bool hears = !c->asking && !c->closing && c->out.size <= DOOR_PAUSE_MAX;
  uint32_t events = (hears ? (uint32_t)EPOLLIN : 0u) | (c->out.size ? (uint32_t)EPOLLOUT : 0u);
  if (!events)
    loop_unwatch(loop, &c->watch);
  else if (c->watch)
    loop_watch_events(c->watch, events);
  else
    c->watch = loop_watch(loop, c->fd, events, client_ready, c);
}

/* ---- requests ------------------------------------------------------------------------------------------------------ */

static void client_lines(struct client *c);

static void client_answered(void *context, const struct value *answer) {
  struct ask *ask = context;
  struct client *c = ask->client;
  free(ask);
  if (!c) return;
  c->asking = NULL;
  client_say_value(c, answer);
  if (c->reading) return; /* answered at once: whoever reads its lines goes on */
  client_lines(c);
  client_update(c);
}

static void client_follow(struct client *c, const char *id) {
  struct error e;
  value_auto struct value *state = NULL;
  if (engine_state(c->door->engine, id, &state, &e)) {
    client_say_error(c, e.code, e.message);
    return;
  }
  value_auto struct value *v = answer_ok();
  enum job_status status;
  value_set_text(v, "jobId", id);
  value_set_int(v, "pid", getpid());
  client_say_value(c, v);
  client_say_value(c, state);
  c->seen = (uint64_t)value_get_int(state, "seq", 0);
  free(c->follows);
  c->follows = NULL;
  if (job_status_from_word(value_get_text(state, "status", ""), &status) && job_status_is_terminal(status))
    c->closing = true;
  else
    c->follows = mem_text(id);
}

/* The same command as the owner's: followed, also when it has just ended. One whose submission is on its way to disk is
 * told to ask again. */
static void client_run(struct client *c, const struct value *request) {
  struct engine *engine = c->door->engine;
  struct job_record job = {0};
  bool known = store_by_identity(engine->store, value_get_text(request, "identity", ""), &job, NULL) == ERR_OK;
  if (known && (job_find(engine, job.id) || engine->serving || job.status == JOB_COMPLETED)) {
    client_follow(c, job.id);
  } else {
    struct error e;
    error_set(&e, ERR_BUSY, "this state folder is in use by another command, process %d", (int)getpid());
    value_auto struct value *v = answer_error(&e);
    value_set_int(v, "pid", getpid());
    value_set_bool(v, "starting", engine->submitting > 0);
    client_say_value(c, v);
  }
  job_record_clear(&job);
}

static void client_request(struct client *c, const char *line, size_t size) {
  value_auto struct value *request = NULL;
  struct error e;
  char id[STORE_ID_MAX];
  if (value_from_json(line, size, &request, &e) || request->type != VALUE_MAP) {
    client_say_error(c, ERR_PROTOCOL, "a request is one JSON object on a line");
    c->closing = true;
    return;
  }
  const char *op = value_get_text(request, "op", "");
  if (!strcmp(op, "run")) {
    client_run(c, request);
  } else if (strcmp(op, "follow") != 0) {
    c->asking = mem_alloc(sizeof *c->asking);
    c->asking->client = c;
    door_answer(c->door->engine, request, client_answered, c->asking);
  } else if (store_find(c->door->engine->store, value_get_text(request, "id", ""), id, &e)) {
    client_say_error(c, e.code, e.message);
  } else {
    client_follow(c, id);
  }
}

static void client_lines(struct client *c) {
  size_t done = 0;
  c->reading = true;
  while (!c->asking && !c->closing && c->out.size <= DOOR_PAUSE_MAX && done < c->in.size) {
    const char *begin = c->in.data + done, *end = memchr(begin, '\n', c->in.size - done);
    if (!end) break;
    size_t size = (size_t)(end - begin);
    mem_auto char *line = mem_text_n(begin, size);
    done += size + 1;
    client_request(c, line, size);
  }
  if (done) memmove(c->in.data, c->in.data + done, c->in.size - done);
  c->in.size -= done;
  c->reading = false;
  if (c->closing || c->in.size <= DOOR_LINE_MAX || memchr(c->in.data, '\n', c->in.size)) return;
  client_say_error(c, ERR_TOO_LARGE, "a request must have at most 256 KiB");
  c->closing = true;
}

static void client_ready(void *context, int fd, uint32_t events) {
  struct client *c = context;
  char block[16384];
  bool hears = !c->asking && !c->closing && c->out.size <= DOOR_PAUSE_MAX;
  if (hears && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t n = recv(fd, block, sizeof block, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      client_free(c);
      return;
    }
    if (n > 0) buf_add(&c->in, block, (size_t)n);
  }
  bool gone = !client_flush(c); /* what it reads now makes room for its next requests */
  if (!gone) client_lines(c);
  if (gone || (events & (EPOLLHUP | EPOLLERR) && !hears && !c->asking))
    client_free(c);
  else
    client_update(c);
}

/* ---- listening ------------------------------------------------------------------------------------------------------- */

static bool event_is(const struct value *event, const char *type) {
  return strcmp(value_get_text(event, "type", ""), type) == 0;
}

/* Never waits for a client: one that does not read loses progress first, then the connection. */
static void client_event(struct client *c, const struct value *event, const char *json) {
  bool progress = event_is(event, "progress");
  if (progress && c->out.size > DOOR_PROGRESS_MAX) return;
  if (!progress && (uint64_t)value_get_int(event, "seq", 0) <= c->seen) return; /* `state` knew it already */
  client_say(c, json);
  if (c->out.size > DOOR_OUT_MAX) {
    client_free(c);
    return;
  }
  if (event_is_terminal(value_get_text(event, "type", ""))) {
    free(c->follows);
    c->follows = NULL;
    c->closing = true;
  }
  client_update(c);
}

static void door_event(void *context, const struct news *news) {
  struct door *door = context;
  for (struct client *c = door->clients, *next; c; c = next) {
    next = c->next;
    if (c->follows && news->job && strcmp(c->follows, news->job) == 0) client_event(c, news->event, news->json);
  }
}

/* ---- the door --------------------------------------------------------------------------------------------------------- */

static void door_accept(void *context, int fd, uint32_t events);

static void door_rested(void *context) {
  struct door *door = context;
  door->tired = NULL;
  door->watch = loop_watch(door->loop, door->fd, EPOLLIN, door_accept, door);
}

static void door_accept(void *context, int fd, uint32_t events) {
  struct door *door = context;
  (void)events;
  int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
    loop_unwatch(door->loop, &door->watch); /* the caller stays in the queue, and would wake us without pause */
    door->tired = loop_after(door->loop, DOOR_TIRED_US, door_rested, door);
  }
  if (client < 0) return;
  if (door->client_count >= DOOR_CLIENTS_MAX) {
    close(client);
    return;
  }
  struct client *c = mem_alloc(sizeof *c);
  c->door = door;
  c->fd = client;
  c->next = door->clients;
  door->clients = c;
  door->client_count++;
  c->watch = loop_watch(door->loop, client, EPOLLIN, client_ready, c);
}

enum err door_open(struct door **door, struct engine *engine, struct loop *loop, const char *state_folder,
                      struct error *e) {
  struct sockaddr_un address = {0};
  int folder;
  if (door_address(state_folder, &address, &folder, e)) return e->code;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink(address.sun_path);
  mode_t mask = umask(0177);
  bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 16) == 0;
  int saved = errno;
  umask(mask);
  if (folder >= 0) close(folder);
  if (!bound) {
    if (fd >= 0) close(fd);
    return error_errno(e, saved, "cannot listen on %s/control.sock", state_folder);
  }
  struct door *c = mem_alloc(sizeof *c);
  c->engine = engine;
  c->loop = loop;
  c->fd = fd;
  c->path = mem_format("%s/control.sock", state_folder);
  c->watch = loop_watch(loop, fd, EPOLLIN, door_accept, c);
  c->listener = engine_listen(engine, door_event, c);
  *door = c;
  return ERR_OK;
}

void door_close(struct door **at) {
  struct door *door = *at;
  if (!door) return;
  engine_unlisten(door->engine, &door->listener);
  while (door->clients) {
    client_flush(door->clients);
    client_free(door->clients);
  }
  loop_cancel(door->loop, &door->tired);
  loop_unwatch(door->loop, &door->watch);
  close(door->fd);
  unlink(door->path);
  free(door->path);
  free(door);
  *at = NULL;
}
