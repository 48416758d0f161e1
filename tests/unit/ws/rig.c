#include "rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "events/envelope.h"

struct ws_options net_options;
const char *net_listen = "127.0.0.1:0";

/* As the service answers it: from the store. */
static enum err state_of(void *context, const char *job, const char *batch, struct value **state, struct matter *matter,
                         struct error *e) {
  struct net *net = context;
  struct job_record record = {0};
  value_auto struct value *fields = value_map();
  if (!job) return error_set(e, ERR_NOT_FOUND, "no batch %s", batch);
  if (store_job(net->rig->scene->store, job, &record, e)) return e->code;
  value_set_text(fields, "status", job_status_word(record.status));
  value_set_number(fields, "pct", record.pct_ppm / 1e4);
  value_set_text(fields, "owner", record.owner);
  *state = event_unstored("state", job, record.last_seq, 0, fields);
  *matter =
      (struct matter){.owner = value_get_text(*state, "owner", NULL), .job = value_get_text(*state, "jobId", NULL)};
  job_record_clear(&record);
  return ERR_OK;
}

static void attach(void *sockets, struct mg_context *civetweb) { ws_server_attach(sockets, civetweb); }

int net_begin(void **state) {
  struct net *net = mem_alloc(sizeof *net);
  char key[128];
  struct error e = {0};
  static const char *const origins[] = {"https://app.example.org", NULL};
  if (rig_begin((void **)&net->rig)) return -1;
  snprintf(net->folder, sizeof net->folder, "/tmp/stagemill-ws-XXXXXX");
  if (!mkdtemp(net->folder)) return -1;
  snprintf(key, sizeof key, "%s/key", net->folder);
  struct ws_options ws = net_options;
  ws.hub = net->rig->hub;
  ws.store = net->rig->scene->store;
  ws.state = state_of;
  ws.context = net;
  enum err failed = keyring_open(&net->keyring, &(struct keyring_options){.own_file = key}, &e);
  ws.keyring = net->keyring;
  if (!failed) failed = ws_server_create(&net->ws, &ws, &e);
  struct http_options http = {.listen = net_listen,
                              .threads = 8,
                              .origins = origins,
                              .keyring = net->keyring,
                              .attach = attach,
                              .sockets = net->ws};
  if (!failed) failed = http_server_create(&net->http, &http, &e);
  if (!failed) failed = http_server_start(net->http, &e);
  if (failed) print_error("%s\n", e.message);
  net->port = failed ? 0 : http_server_port(net->http);
  *state = net;
  return failed ? -1 : 0;
}

int net_end(void **state) {
  struct net *net = *state;
  ws_server_drain(net->ws);
  http_server_destroy(&net->http);
  ws_server_destroy(&net->ws);
  keyring_close(&net->keyring);
  int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fs_remove_tree(tmp, net->folder + 5, NULL);
  close(tmp);
  int wrong = rig_end((void **)&net->rig);
  free(net);
  return wrong;
}

const char *net_token(struct net *net, const char *subject, unsigned scopes, int64_t lives_s) {
  static char *token;
  struct error e = {0};
  struct principal p = {
      .subject = mem_text(subject), .scopes = scopes, .expires_us = clock_wall(&clock_system) + lives_s * 1000000};
  free(token);
  token = NULL;
  if (keyring_mint(net->keyring, &p, &token, &e)) fail_msg("%s", e.message);
  principal_clear(&p);
  return token;
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

static bool readable(const struct client *c, int wait_ms) {
  struct pollfd p = {.fd = c->fd, .events = POLLIN};
  return poll(&p, 1, wait_ms) == 1;
}

/* False: nothing came, or the end. */
static bool read_more(struct client *c, int wait_ms, bool *end) {
  char data[4096];
  if (!readable(c, wait_ms)) return false;
  ssize_t n = recv(c->fd, data, sizeof data, 0);
  *end = n <= 0;
  if (n > 0) buf_add(&c->in, data, (size_t)n);
  return n > 0;
}

static void drop(struct buf *b, size_t size) {
  memmove(b->data, b->data + size, b->size - size);
  b->size -= size;
  b->data[b->size] = '\0';
}

void client_send(struct client *c, const struct buf *bytes) {
  for (size_t sent = 0; sent < bytes->size;) {
    ssize_t n = send(c->fd, bytes->data + sent, bytes->size - sent, MSG_NOSIGNAL);
    if (n <= 0) return; /* the server may close in the middle of what is wrong */
    sent += (size_t)n;
  }
}

void client_connect(struct client *c, struct net *net) {
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)net->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

void client_request(struct client *c, const char *target, const char *headers, const struct buf *early) {
  struct buf buf_auto out = {0};
  buf_format(&out, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target, headers);
  if (early) buf_add(&out, early->data, early->size);
  client_send(c, &out);
  bool end = false;
  while (!c->in.size || !strstr(c->in.data, "\r\n\r\n"))
    if (!read_more(c, 5000, &end)) fail_msg("no answer to %s", target);
  char *head_end = strstr(c->in.data, "\r\n\r\n"), *protocol = strstr(c->in.data, "Sec-WebSocket-Protocol: ");
  c->status = (unsigned)strtoul(c->in.data + 9, NULL, 10);
  if (protocol && protocol < head_end) sscanf(protocol, "Sec-WebSocket-Protocol: %63[^\r]", c->protocol);
  if (c->status == 101) assert_non_null(strstr(c->in.data, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  drop(&c->in, (size_t)(head_end + 4 - c->in.data));
}

void client_open(struct client *c, struct net *net, const char *target, const char *headers, const struct buf *early) {
  struct buf buf_auto all = {0};
  buf_format(&all, "%s%s", HANDSHAKE, headers ? headers : "");
  client_connect(c, net);
  client_request(c, target, buf_string(&all), early);
}

void client_close(struct client *c) {
  if (c->fd >= 0) close(c->fd);
  buf_free(&c->in);
  c->fd = -1;
}

void frame_add(struct buf *out, int head0, const void *data, size_t size) {
  static const unsigned char mask[4] = {0x12, 0x34, 0xab, 0xcd};
  unsigned char head[14] = {(unsigned char)head0};
  size_t extended = size < 126 ? 0 : size < 65536 ? 2 : 8;
  head[1] = (unsigned char)(0x80 | (extended == 0 ? size : extended == 2 ? 126 : 127));
  for (size_t i = 0; i < extended; i++)
    head[2 + i] = (unsigned char)((unsigned long long)size >> 8 * (extended - 1 - i));
  memcpy(head + 2 + extended, mask, 4);
  buf_add(out, head, 6 + extended);
  for (size_t i = 0; i < size; i++) buf_char(out, (char)(((const unsigned char *)data)[i] ^ mask[i & 3]));
}

void client_say(struct client *c, const char *text) {
  struct buf buf_auto out = {0};
  frame_add(&out, 0x81, text, strlen(text));
  client_send(c, &out);
}

static const char *describe(unsigned char first, const unsigned char *data, size_t size) {
  static struct buf text;
  buf_reset(&text);
  if ((first & 0x0f) == 8) {
    buf_format(&text, "C:%d", size < 2 ? 1005 : data[0] << 8 | data[1]);
    if (size > 2) buf_format(&text, ":%.*s", (int)size - 2, (const char *)data + 2);
  } else {
    buf_format(&text, "%c:%.*s",
               first == 0x81   ? 'T'
               : first == 0x89 ? 'I'
               : first == 0x8a ? 'O'
                               : '?',
               (int)size, (const char *)data);
  }
  return buf_string(&text);
}

const char *client_frame(struct client *c, int wait_ms) {
  bool end = false;
  for (;;) {
    const unsigned char *b = (const unsigned char *)c->in.data;
    size_t head = c->in.size < 2 ? 0 : (b[1] & 0x7f) == 126 ? 4 : (b[1] & 0x7f) == 127 ? 10 : 2;
    if (head && c->in.size >= head) {
      assert_false(b[1] & 0x80); /* a server does not mask */
      size_t size = head == 2 ? b[1] & 0x7f : head == 4 ? (size_t)b[2] << 8 | b[3] : 0;
      for (size_t i = 2; head == 10 && i < 10; i++) size = size << 8 | b[i];
      if (c->in.size >= head + size) {
        const char *frame = describe(b[0], b + head, size);
        drop(&c->in, head + size);
        return frame;
      }
    }
    if (!read_more(c, wait_ms, &end)) return end ? "EOF" : "-";
  }
}
