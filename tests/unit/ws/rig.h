/* rig.h - a whole server of followers on a port of its own (store, hub, keys, HTTP), and a raw client that says exactly
 * what it is told to. Every wait is bounded. */
#pragma once
#include "events/rig.h"
#include "auth/auth.h"
#include "http/http.h"
#include "ws/ws.h"

struct net {
  struct rig *rig; /* ../events: store, hub, jobs */
  char folder[64];
  struct keyring *keyring;
  struct http_server *http;
  struct ws_server *ws;
  unsigned port;
};
/* cmocka set-ups; the options of the next net are taken from net_options. */
extern struct ws_options net_options;
extern const char *net_listen; /* where it listens */
int net_begin(void **state);
int net_end(void **state);
const char *net_token(struct net *net, const char *subject, unsigned scopes,
                      int64_t lives_s); /* valid until the next call */

struct client {
  int fd;
  struct buf in;   /* read, not yet looked at */
  unsigned status; /* of the handshake's answer */
  char protocol[64];
};
#define HANDSHAKE                                                                                                      \
  "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"                             \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
void client_connect(struct client *c, struct net *net);
/* A GET and the head of its answer. headers: lines, each ending in CRLF. early: bytes right behind it, or NULL. */
void client_request(struct client *c, const char *target, const char *headers, const struct buf *early);
/* Connects and sends a handshake with further headers, or NULL. */
void client_open(struct client *c, struct net *net, const char *target, const char *headers, const struct buf *early);
void client_close(struct client *c);
/* A frame with mask; head0: first byte. */
void frame_add(struct buf *out, int head0, const void *data, size_t size);
void client_send(struct client *c, const struct buf *bytes);
void client_say(struct client *c, const char *text);
/* Next frame as text: "T:..." "C:1000:reason" (1005: none) "I:..." (ping) "O:..." (pong); "EOF"; "-" when nothing came
 * in wait_ms. */
const char *client_frame(struct client *c, int wait_ms);
