#include "engine/door.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "engine/job.h"
#include "events/envelope.h"

enum { DOOR_LINE_MAX = 256 * 1024, DOOR_OUT_MAX = 4 << 20, DOOR_PROGRESS_MAX = 64 * 1024, DOOR_CLIENTS_MAX = 64 };

struct client {
  struct client *next;
  struct door *door;
  int fd;
  struct loop_watch *watch;
  struct buf in, out;
  char *follows; /* job id, NULL: none */
  bool closing, answering;
};

struct door {
  struct engine *engine;
  struct loop *loop;
  char *path;
  int fd;
  struct loop_watch *watch;
  struct listener *listener;
  struct client *clients;
  unsigned client_count;
};

/* ---- answers --------------------------------------------------------------------------------------------------------- */

static struct value *answer_error(const struct error *e) {
  struct value *v = value_map();
  value_set_bool(v, "ok", false);
  value_set_text(v, "code", err_word(e->code));
  value_set_text(v, "message", e->message);
  return v;
}

static struct value *answer_ok(void) {
  struct value *v = value_map();
  value_set_bool(v, "ok", true);
  return v;
}

struct answering {
  door_answered *done;
  void *context;
  char id[STORE_ID_MAX];
};

static void answer_steered(void *context, const struct error *e) {
  struct answering *a = context;
  value_auto struct value *v = e->code ? answer_error(e) : answer_ok();
  value_set_text(v, "jobId", a->id);
  a->done(a->context, v);
  free(a);
}

static struct answering *answering_new(door_answered *done, void *context, const char *id) {
  struct answering *a = mem_alloc(sizeof *a);
  a->done = done;
  a->context = context;
  snprintf(a->id, sizeof a->id, "%s", id);
  return a;
}

static enum err answer_jobs(struct engine *engine, const struct value *request, struct value *v, struct error *e) {
  struct job_filter filter = {.limit = (size_t)value_get_int(request, "limit", 50)};
  const char *word = value_get_text(request, "status", NULL);
  enum job_status status;
  if (word && !job_status_from_word(word, &status))
    return error_set(e, ERR_USAGE,
                     "'%s' is no status: use queued, processing, retrying, held, paused, completed, failed or cancelled",
                     word);
  if (word) filter.statuses = 1u << status;
  filter.pipeline = value_get_text(request, "pipeline", NULL);
  struct job_list jobs = {0};
  struct value *list = value_list();
  value_map_set(v, "jobs", list);
  if (store_jobs(engine->store, &filter, &jobs, e)) return e->code;
  for (size_t i = 0; i < jobs.count; i++) value_list_add(list, describe_job(&jobs.items[i]));
  job_list_clear(&jobs);
  return ERR_OK;
}

static enum err answer_now(struct engine *engine, const char *op, const struct value *request, struct value *v,
                           struct error *e) {
  char id[STORE_ID_MAX];
  struct value *described = NULL;
  if (!strcmp(op, "hello")) {
    value_set_int(v, "pid", getpid());
    return ERR_OK;
  }
  if (!strcmp(op, "jobs")) return answer_jobs(engine, request, v, e);
  if (strcmp(op, "job") != 0) return error_set(e, ERR_USAGE, "unknown request '%s'", op);
  if (store_find(engine->store, value_get_text(request, "id", ""), id, e)) return e->code;
  if (engine_describe(engine, id, &described, e)) return e->code;
  value_map_set(v, "job", described);
  return ERR_OK;
}

void door_answer(struct engine *engine, const struct value *request, door_answered *done, void *context) {
  const char *op = value_get_text(request, "op", "");
  struct error e;
  char id[STORE_ID_MAX];
  bool cancel = !strcmp(op, "cancel"), retry = !strcmp(op, "retry");
  if (cancel || retry) {
    if (store_find(engine->store, value_get_text(request, "id", ""), id, &e)) {
      value_auto struct value *v = answer_error(&e);
      done(context, v);
    } else if (cancel) {
      engine_cancel(engine, id, answer_steered, answering_new(done, context, id));
    } else {
      engine_retry(engine, id, value_get_bool(request, "whole", false), answer_steered,
                   answering_new(done, context, id));
    }
    return;
  }
  struct value *v = answer_ok();
  if (answer_now(engine, op, request, v, &e)) {
    value_free(&v);
    v = answer_error(&e);
  }
  done(context, v);
  value_free(&v);
}

/* ---- clients --------------------------------------------------------------------------------------------------------- */

static void client_free(struct client *c) {
  struct door *door = c->door;
  for (struct client **at = &door->clients; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
  door->client_count--;
  loop_unwatch(door->loop, &c->watch);
  close(c->fd);
  buf_free(&c->in);
  buf_free(&c->out);
  free(c->follows);
  free(c);
}

static bool client_flush(struct client *c) {
  while (c->out.size) {
    ssize_t n = send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    memmove(c->out.data, c->out.data + n, c->out.size - (size_t)n);
    c->out.size -= (size_t)n;
  }
  return !c->closing;
}

static void client_update(struct client *c) {
  if (c->answering) return; /* a callback of its own is on the stack or on its way */
  if (!client_flush(c))
    client_free(c);
  else
    loop_watch_events(c->watch, EPOLLIN | (c->out.size ? EPOLLOUT : 0u));
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

static void client_answered(void *context, const struct value *answer) {
  struct client *c = context;
  client_say_value(c, answer);
  c->answering = false;
  client_update(c);
}

static void client_follow(struct client *c, const char *id) {
  struct error e;
  value_auto struct value *state = NULL;
  if (engine_state(c->door->engine, id, &state, &e)) {
    value_auto struct value *refusal = answer_error(&e);
    client_say_value(c, refusal);
    return;
  }
  value_auto struct value *v = answer_ok();
  enum job_status status;
  value_set_text(v, "jobId", id);
  value_set_int(v, "pid", getpid());
  client_say_value(c, v);
  client_say_value(c, state);
  if (job_status_from_word(value_get_text(state, "status", ""), &status) && job_status_is_terminal(status))
    c->closing = true;
  else
    c->follows = mem_text(id);
}

static void client_run(struct client *c, const struct value *request) {
  struct error e;
  struct job_record job = {0};
  const char *identity = value_get_text(request, "identity", "");
  if (store_by_identity(c->door->engine->store, identity, &job, NULL) == ERR_OK &&
      job_find(c->door->engine, job.id)) {
    client_follow(c, job.id);
  } else {
    error_set(&e, ERR_BUSY, "this state folder is in use by another command, process %d", (int)getpid());
    value_auto struct value *v = answer_error(&e);
    value_set_int(v, "pid", getpid());
    client_say_value(c, v);
  }
  job_record_clear(&job);
}

static void client_request(struct client *c, const char *line, size_t size) {
  value_auto struct value *request = NULL;
  struct error e;
  char id[STORE_ID_MAX];
  if (value_from_json(line, size, &request, &e)) {
    value_auto struct value *v = answer_error(&e);
    client_say_value(c, v);
    c->closing = true;
    return;
  }
  const char *op = value_get_text(request, "op", "");
  if (!strcmp(op, "run")) {
    client_run(c, request);
  } else if (!strcmp(op, "follow")) {
    if (store_find(c->door->engine->store, value_get_text(request, "id", ""), id, &e)) {
      value_auto struct value *v = answer_error(&e);
      client_say_value(c, v);
    } else {
      client_follow(c, id);
    }
  } else {
    c->answering = true;
    door_answer(c->door->engine, request, client_answered, c);
  }
}

static void client_lines(struct client *c) {
  char *end;
  while (!c->answering && !c->closing && c->in.size && (end = memchr(c->in.data, '\n', c->in.size))) {
    size_t size = (size_t)(end - c->in.data);
    mem_auto char *line = mem_text_n(c->in.data, size);
    memmove(c->in.data, end + 1, c->in.size - size - 1);
    c->in.size -= size + 1;
    client_request(c, line, size);
  }
}

static void client_ready(void *context, int fd, uint32_t events) {
  struct client *c = context;
  char block[16384];
  if (c->answering) {
    if (events & (EPOLLHUP | EPOLLERR)) loop_watch_events(c->watch, 0);
    return;
  }
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t n = recv(fd, block, sizeof block, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || (n > 0 && c->in.size + (size_t)n > DOOR_LINE_MAX)) {
      client_free(c);
      return;
    }
    if (n > 0) buf_add(&c->in, block, (size_t)n);
    client_lines(c);
  }
  client_update(c);
}

/* ---- listening ------------------------------------------------------------------------------------------------------- */

static bool event_is(const struct value *event, const char *type) {
  return strcmp(value_get_text(event, "type", ""), type) == 0;
}

/* Never waits for a client: one that does not read loses progress first, then the connection. */
static void door_event(void *context, const char *job, const struct value *event, const char *json) {
  struct door *door = context;
  for (struct client *c = door->clients, *next; c; c = next) {
    next = c->next;
    if (!c->follows || strcmp(c->follows, job) != 0) continue;
    if (event_is(event, "progress") && c->out.size > DOOR_PROGRESS_MAX) continue;
    client_say(c, json);
    if (event_is_terminal(value_get_text(event, "type", "")) || c->out.size > DOOR_OUT_MAX)
      c->closing = true;
    client_update(c);
  }
}

static void door_accept(void *context, int fd, uint32_t events) {
  struct door *door = context;
  (void)events;
  int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
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

/* Socket names are short: a long state folder is reached through a descriptor of it. */
static enum err door_address(const char *folder, struct sockaddr_un *address, int *folder_fd, struct error *e) {
  *folder_fd = -1;
  address->sun_family = AF_UNIX;
  if ((size_t)snprintf(address->sun_path, sizeof address->sun_path, "%s/control.sock", folder) <
      sizeof address->sun_path)
    return ERR_OK;
  *folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*folder_fd < 0) return error_errno(e, errno, "cannot open the state folder %s", folder);
  snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/control.sock", *folder_fd);
  return ERR_OK;
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
  loop_unwatch(door->loop, &door->watch);
  close(door->fd);
  unlink(door->path);
  free(door->path);
  free(door);
  *at = NULL;
}

/* ---- the other side ---------------------------------------------------------------------------------------------------- */

int door_connect(const char *state_folder) {
  struct sockaddr_un address = {0};
  int folder;
  if (door_address(state_folder, &address, &folder, NULL)) return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    fd = -1;
  }
  if (folder >= 0) close(folder);
  return fd;
}

enum err door_send(int fd, const struct value *request, struct error *e) {
  struct buf text = {0};
  value_json(&text, request, VALUE_JSON_COMPACT);
  buf_char(&text, '\n');
  size_t sent = 0;
  while (sent < text.size) {
    ssize_t n = send(fd, text.data + sent, text.size - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    sent += (size_t)n;
  }
  bool done = sent == text.size;
  buf_free(&text);
  return done ? ERR_OK : error_set(e, ERR_LOST, "the owner of the state folder went away");
}

enum err door_receive(int fd, struct buf *rest, int timeout_ms, struct value **line, struct error *e) {
  char block[16384];
  for (;;) {
    char *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
    if (end) {
      size_t size = (size_t)(end - rest->data);
      enum err err = value_from_json(rest->data, size, line, e);
      memmove(rest->data, end + 1, rest->size - size - 1);
      rest->size -= size + 1;
      return err;
    }
    struct pollfd poll_fd = {fd, POLLIN, 0};
    int ready = poll(&poll_fd, 1, timeout_ms);
    if (ready < 0 && errno == EINTR) return error_set(e, ERR_CANCELLED, "interrupted");
    if (ready == 0) return error_set(e, ERR_TIMEOUT, "the owner of the state folder does not answer");
    ssize_t n = recv(fd, block, sizeof block, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return error_set(e, ERR_LOST, "the owner of the state folder went away");
    buf_add(rest, block, (size_t)n);
  }
}
