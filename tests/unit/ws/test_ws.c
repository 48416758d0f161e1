/* Followers over real sockets: who gets in, what they are told, how it ends. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "ws/frame.h"

enum { WAIT = 3000, READS = SCOPE_READ };

#define expect(client, wanted) assert_string_equal(client_frame(client, WAIT), wanted)
/* A text frame of this type with this field. */
#define expect_event(client, type, field)                                                                              \
  do {                                                                                                                 \
    const char *frame_ = client_frame(client, WAIT);                                                                   \
    if (strncmp(frame_, "T:{\"type\":\"" type "\"", sizeof("T:{\"type\":\"" type "\"") - 1) || !strstr(frame_, field)) \
      fail_msg("%d: wanted %s with %s, got %s", __LINE__, type, field, frame_);                                        \
  } while (0)

static const char *target(const char *format, const char *a, const char *b) {
  static char text[4096];
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(text, sizeof text, format, a, b);
  return text;
}

static void follow(struct client *c, struct net *net, const char *job, const char *subject) {
  client_open(c, net, target("/ws?jobId=%s&token=%s", job, net_token(net, subject, READS, 60)), NULL, NULL);
  assert_int_equal(c->status, 101);
}

static void end_job(struct net *net, const char *job, const char *type, enum job_status status) {
  struct job_record values = {.status = status};
  struct event_draft draft = {.type = type, .body_json = "{\"result\":{\"n\":1}}"};
  struct change change = {
      .job = job, .job_fields = JOB_SET_STATUS, .job_values = &values, .events = &draft, .event_count = 1};
  struct answer a = {0};
  store_change(net->rig->scene->store, &change, answer_keep, &a);
  assert_int_equal(store_flush(net->rig->scene->store, NULL), 0);
  rig_tell(net->rig, job, a.last_seq);
}

/* ---- one job
 * -------------------------------------------------------------------------------------------------------------------
 */

static void a_job_is_followed_from_state_to_its_end(void **state) {
  struct net *net = *state;
  struct client c;
  char job[STORE_ID_MAX];
  rig_job(net->rig, job, "ann", NULL);
  follow(&c, net, job, "ann");
  expect_event(&c, "state", "\"status\":\"queued\",\"pct\":0");
  rig_store(net->rig, job, "started", true);
  expect_event(&c, "started", "\"seq\":2");
  rig_progress(net->rig, job, "encode", 41.5);
  expect_event(&c, "progress", "\"pct\":41.5,\"stage\":\"encode\"");
  end_job(net, job, "completed", JOB_COMPLETED);
  expect_event(&c, "completed", "\"seq\":3");
  expect(&c, "C:1000:Job complete");
  struct buf buf_auto echo = {0};
  frame_add(&echo, 0x88, "\x03\xe8", 2);
  client_send(&c, &echo);
  expect(&c, "EOF");
  client_close(&c);
  follow(&c, net, job, "ann"); /* ended already */
  expect_event(&c, "state", "\"status\":\"completed\"");
  expect_event(&c, "completed", "\"seq\":3");
  expect(&c, "C:1000:Job complete");
  client_close(&c);
  client_open(&c, net, target("/ws?since=1&jobId=%s&token=%s", job, net_token(net, "ann", READS, 60)), NULL, NULL);
  expect_event(&c, "state", "\"seq\":3");
  expect_event(&c, "started", "\"seq\":2");
  expect_event(&c, "completed", "\"seq\":3");
  expect(&c, "C:1000:Job complete");
  client_close(&c);
  client_open(&c, net, target("/ws?since=3&jobId=%s&token=%s", job, net_token(net, "ann", READS, 60)), NULL, NULL);
  expect_event(&c, "state", "\"seq\":3");
  expect_event(&c, "completed", "\"seq\":3");
  expect(&c, "C:1000:Job complete");
  client_close(&c);
}

static void a_failed_job_ends_with_1000_and_says_so(void **state) {
  struct net *net = *state;
  struct client c;
  char job[STORE_ID_MAX];
  rig_job(net->rig, job, "ann", NULL);
  follow(&c, net, job, "ann");
  expect_event(&c, "state", "\"queued\"");
  end_job(net, job, "failed", JOB_FAILED);
  expect_event(&c, "failed", "\"seq\":2");
  expect(&c, "C:1000:Job ended");
  client_close(&c);
}

static void what_is_wrong_is_said_by_close_codes(void **state) {
  struct net *net = *state;
  struct client c;
  char job[STORE_ID_MAX], valid[2048], foreign[2048], admin[2048], writer[2048];
  rig_job(net->rig, job, "ann", NULL);
  snprintf(valid, sizeof valid, "%s", net_token(net, "ann", READS, 60));
  snprintf(foreign, sizeof foreign, "%s", net_token(net, "bob", READS, 60));
  snprintf(admin, sizeof admin, "%s", net_token(net, "root", SCOPE_ADMIN, 60));
  snprintf(writer, sizeof writer, "%s", net_token(net, "ann", SCOPE_SUBMIT, 60));
  const struct {
    const char *job, *token, *wanted;
  } cases[] = {
      {"", valid, "C:4001"},
      {job, "", "C:4001"},
      {job, "garbage", "C:4003"},
      {job, foreign, "C:4003"},
      {"nosuchjob", valid, "C:4003"},
      {"nosuchjob", foreign, "C:4003"},
      {"nosuchjob", admin, "C:4004"},
      {job, writer, "C:4003"},
      {job, admin, "T:{\"type\":\"state\""},
  };
  char reason[200] = "";
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    client_open(&c, net, target("/ws?jobId=%s&token=%s", cases[i].job, cases[i].token), NULL, NULL);
    assert_int_equal(c.status, 101);
    const char *frame = client_frame(&c, WAIT);
    if (strncmp(frame, cases[i].wanted, strlen(cases[i].wanted))) fail_msg("case %zu: %s", i, frame);
    if (i == 3)
      snprintf(reason, sizeof reason, "%s", frame); /* of a foreign job: the same words as of an unknown one */
    if (i == 4 || i == 5) assert_string_equal(frame, reason);
    client_close(&c);
  }
}

static void credentials_come_in_every_way(void **state) {
  struct net *net = *state;
  struct client c;
  char job[STORE_ID_MAX], headers[4096], ticket[65];
  int64_t expires_us;
  struct principal p = {.subject = (char[]){"ann"}, .scopes = READS};
  rig_job(net->rig, job, "ann", NULL);
  snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", net_token(net, "ann", READS, 60));
  client_open(&c, net, target("/ws?jobId=%s%s", job, ""), headers, NULL);
  expect_event(&c, "state", "\"queued\"");
  assert_string_equal(c.protocol, "");
  client_close(&c);
  snprintf(headers, sizeof headers, "Sec-WebSocket-Protocol: stagemill.v1, stagemill.token.%s\r\n",
           net_token(net, "ann", READS, 60));
  client_open(&c, net, target("/ws?jobId=%s%s", job, ""), headers, NULL);
  expect_event(&c, "state", "\"queued\"");
  assert_string_equal(c.protocol, "stagemill.v1");
  client_close(&c);
  p.expires_us = clock_wall(&clock_system) + 60 * 1000000;
  assert_int_equal(ticket_issue(net->keyring, &p, ticket, &expires_us, NULL), 0);
  client_open(&c, net, target("/ws?jobId=%s&ticket=%s", job, ticket), NULL, NULL);
  expect_event(&c, "state", "\"queued\"");
  client_close(&c);
  client_open(&c, net, target("/ws?jobId=%s&ticket=%s", job, ticket), NULL, NULL); /* once */
  assert_memory_equal(client_frame(&c, WAIT), "C:4003", 6);
  client_close(&c);
}

static void handshakes_that_are_none_are_refused_by_status(void **state) {
  struct net *net = *state;
  struct client c;
  client_open(&c, net, "/ws?jobId=x", "Origin: https://evil.example.org\r\n", NULL);
  assert_int_equal(c.status, 403);
  client_close(&c);
  client_open(&c, net, "/ws?jobId=x", "Origin: https://app.example.org\r\n", NULL);
  assert_int_equal(c.status, 101);
  client_close(&c);
  client_open(&c, net, "/ws/more", NULL, NULL);
  assert_int_equal(c.status, 404);
  client_close(&c);
}

/* ---- sessions
 * --------------------------------------------------------------------------------------------------------------------
 */

static void session(struct client *c, struct net *net, const char *subject, unsigned scopes) {
  client_open(c, net, target("/api/v1/stream?token=%s%s", net_token(net, subject, scopes, 60), ""), NULL, NULL);
  assert_int_equal(c->status, 101);
}

static void a_session_subscribes_and_unsubscribes(void **state) {
  struct net *net = *state;
  struct client c;
  char mine[STORE_ID_MAX], theirs[STORE_ID_MAX], text[256];
  rig_job(net->rig, mine, "ann", "video");
  rig_job(net->rig, theirs, "bob", "video");
  session(&c, net, "ann", READS);
  snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"job:%s\",\"since\":0,\"id\":[7]}", mine);
  client_say(&c, text);
  expect_event(&c, "subscribed", "\"id\":[7],\"topic\":\"job:");
  expect_event(&c, "queued", "\"seq\":1");
  snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"job:%s\",\"id\":8}", theirs);
  client_say(&c, text);
  expect_event(&c, "error", "\"id\":8,\"code\":\"not-found\"");
  client_say(&c, "{\"type\":\"subscribe\",\"topic\":\"job:nosuch\",\"id\":9}");
  expect_event(&c, "error", "\"id\":9,\"code\":\"not-found\"");
  client_say(&c, "{\"type\":\"subscribe\",\"topic\":\"all\"}");
  expect_event(&c, "error", "\"code\":\"denied\"");
  client_say(&c, "{\"type\":\"subscribe\",\"topic\":\"asset:video\"}");
  expect_event(&c, "subscribed", "\"cursor\":2");
  client_say(&c, "{\"type\":\"unsubscribe\",\"topic\":\"job:nosuch\"}");
  expect_event(&c, "error", "\"not-found\"");
  snprintf(text, sizeof text, "{\"type\":\"unsubscribe\",\"topic\":\"job:%s\"}", mine);
  client_say(&c, text);
  expect_event(&c, "unsubscribed", "\"topic\":\"job:");
  rig_store(net->rig, theirs, "started", true);
  rig_store(net->rig, mine, "started", true);
  expect_event(&c, "started", "\"seq\":2,"); /* her own about the asset, not his */
  client_say(&c, "{\"type\":\"ping\",\"id\":\"p\"}");
  expect(&c, "T:{\"type\":\"pong\",\"id\":\"p\"}");
  static const char *const wrong[] = {"nonsense",
                                      "[1]",
                                      "{\"type\":\"dance\"}",
                                      "{\"type\":\"subscribe\"}",
                                      "{\"type\":\"subscribe\",\"topic\":\"own\",\"since\":-1}",
                                      "{\"type\":\"subscribe\",\"topic\":\"own\",\"minStep\":\"x\"}"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    client_say(&c, wrong[i]);
    expect_event(&c, "error", "\"message\":");
  }
  client_close(&c);
}

static void an_admin_hears_everything_and_resumes_by_cursor(void **state) {
  struct net *net = *state;
  struct client c;
  char a[STORE_ID_MAX], b[STORE_ID_MAX], text[128];
  rig_job(net->rig, a, "ann", NULL);
  session(&c, net, "root", SCOPE_ADMIN);
  client_say(&c, "{\"type\":\"subscribe\",\"topic\":\"all\"}");
  expect_event(&c, "subscribed", "\"cursor\":1");
  rig_job(net->rig, b, "bob", NULL);
  rig_tell(net->rig, b, 1);
  expect_event(&c, "queued", "\"cursor\":2}");
  client_close(&c);
  uint64_t cursor = rig_store(net->rig, a, "started", true);
  session(&c, net, "root", SCOPE_ADMIN);
  snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"all\",\"since\":\"%llu\"}",
           (unsigned long long)cursor - 1);
  client_say(&c, text);
  expect_event(&c, "subscribed", "\"cursor\":2");
  expect_event(&c, "started", "\"cursor\":3}");
  client_close(&c);
}

static void a_session_may_bring_its_token_first(void **state) {
  struct net *net = *state;
  struct client c;
  char text[4096];
  client_open(&c, net, "/api/v1/stream", NULL, NULL);
  snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", net_token(net, "ann", READS, 60));
  client_say(&c, text);
  expect(&c, "T:{\"type\":\"authenticated\"}");
  snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", net_token(net, "bob", READS, 60));
  client_say(&c, text); /* another's token does not take the session over */
  assert_memory_equal(client_frame(&c, WAIT), "C:4003", 6);
  client_close(&c);
  client_open(&c, net, "/api/v1/stream", NULL, NULL);
  client_say(&c, "{\"type\":\"subscribe\",\"topic\":\"own\"}");
  assert_memory_equal(client_frame(&c, WAIT), "C:4001", 6);
  client_close(&c);
  client_open(&c, net, "/api/v1/stream", NULL, NULL);
  client_say(&c, "{\"type\":\"auth\",\"token\":\"x.y.z\"}");
  assert_memory_equal(client_frame(&c, WAIT), "C:4003", 6);
  client_close(&c);
}

/* ---- the protocol ------------------------------------------------------------------------------------------------ */

static void bytes_sent_with_the_request_are_handed_on(void **state) {
  struct net *net = *state;
  struct client c;
  struct buf buf_auto early = {0};
  char text[4096];
  snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", net_token(net, "ann", READS, 60));
  frame_add(&early, 0x81, text, strlen(text));
  frame_add(&early, 0x81, "{\"type\":\"ping\"}", 15);
  frame_add(&early, 0x89, "half", 4);
  early.size -= 2; /* the rest of the last frame comes later */
  client_open(&c, net, "/api/v1/stream", NULL, &early);
  expect(&c, "T:{\"type\":\"authenticated\"}");
  expect(&c, "T:{\"type\":\"pong\"}");
  assert_string_equal(client_frame(&c, 100), "-");
  struct buf rest = {.data = early.data + early.size, .size = 2};
  client_send(&c, &rest);
  expect(&c, "O:half");
  client_close(&c);
}

static void wrong_frames_close_with_the_code_of_the_rfc(void **state) {
  struct net *net = *state;
  static const struct {
    const char *bytes;
    size_t size;
    const char *wanted;
  } cases[] = {
      {"\x81\x05hello", 7, "C:1002"},                                                 /* no mask */
      {"\xc1\x80\0\0\0\0", 6, "C:1002"},                                              /* RSV1 */
      {"\x83\x80\0\0\0\0", 6, "C:1002"},                                              /* reserved opcode */
      {"\x89\xfe\0\x7e\0\0\0\0", 8, "C:1002"},                                        /* control frame of 126 bytes */
      {"\x80\x80\0\0\0\0", 6, "C:1002"},                                              /* continues nothing */
      {"\x81\xff\0\0\0\0\x7f\xff\xff\xff", 10, "C:1009:messages are at most 64 KiB"}, /* by its head alone */
      {"\x81\x81\0\0\0\0\xff", 7, "C:1007"},
      {"\x82\x80\0\0\0\0", 6, "C:1003:only text messages are understood"},
      {"\x88\x81\0\0\0\0x", 7, "C:1002"},
      {"\x88\x82\0\0\0\0\x03\xee", 8, "C:1002"},
      {"\x88\x83\0\0\0\0\x03\xe8\xff", 9, "C:1007"},
      {"\x88\x80\0\0\0\0", 6, "C:1005"},
      {"\x88\x82\0\0\0\0\x0f\xa0", 8, "C:4000"}, /* echoed */
  };
  char job[STORE_ID_MAX];
  rig_job(net->rig, job, "ann", NULL);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct client c;
    follow(&c, net, job, "ann");
    expect_event(&c, "state", "");
    struct buf bytes = {.data = (char *)(uintptr_t)cases[i].bytes, .size = cases[i].size};
    client_send(&c, &bytes);
    const char *frame = client_frame(&c, WAIT);
    if (strcmp(frame, cases[i].wanted)) fail_msg("case %zu: %s", i, frame);
    struct buf buf_auto echo = {0};
    frame_add(&echo, 0x88, "\x03\xe8", 2);
    client_send(&c, &echo);
    expect(&c, "EOF");
    client_close(&c);
  }
}

static void a_peer_that_misses_a_ping_is_dropped(void **state) {
  struct net *net = *state;
  struct client c;
  struct buf buf_auto pong = {0};
  frame_add(&pong, 0x8a, "", 0);
  client_open(&c, net, target("/api/v1/stream?token=%s%s", net_token(net, "ann", READS, 60), ""), NULL, NULL);
  for (int i = 0; i < 3; i++) {
    expect(&c, "I:");
    client_send(&c, &pong);
  }
  expect(&c, "I:");
  expect(&c, "EOF");
  client_close(&c);
}

static void a_peer_that_does_not_read_is_evicted_and_others_do_not_notice(void **state) {
  struct net *net = *state;
  struct client stalled, healthy;
  struct ws_statistics s;
  char job[STORE_ID_MAX];
  rig_job(net->rig, job, "ann", NULL);
  follow(&healthy, net, job, "ann");
  expect_event(&healthy, "state", "");
  follow(&stalled, net, job, "ann");
  static char body[8000];
  memset(body, 'x', sizeof body - 1);
  struct buf buf_auto json = {0}, pong = {0};
  frame_add(&pong, 0x8a, "", 0);
  for (uint64_t i = 0; i < 400; i++) { /* 3.2 MB: more than the kernel holds for it */
    buf_reset(&json);
    buf_format(&json, "{\"type\":\"stage\",\"jobId\":\"%s\",\"seq\":%llu,\"x\":\"%s\"}", job, (unsigned long long)i + 2,
               body);
    struct news news = {.subject = job,
                        .job = job,
                        .owner = "ann",
                        .type = "stage",
                        .seq = i + 2,
                        .cursor = i + 2,
                        .stored = true,
                        .json = buf_string(&json),
                        .json_size = json.size};
    hub_publish(net->rig->hub, &news);
    const char *frame = client_frame(&healthy, WAIT);
    for (; strcmp(frame, "I:") == 0; frame = client_frame(&healthy, WAIT)) client_send(&healthy, &pong);
    if (strncmp(frame, "T:{\"type\":\"stage\"", 17)) fail_msg("message %d: %.100s", (int)i, frame);
  }
  for (int i = 0; i < 300; i++) {
    ws_statistics(net->ws, &s);
    if (s.evicted) break;
    client_send(&healthy, &pong);
    usleep(10000);
  }
  assert_int_equal(s.evicted, 1);
  client_close(&stalled);
  client_close(&healthy);
}

static void tokens_expire_and_are_revoked_while_open(void **state) {
  struct net *net = *state;
  struct client expires, revoked;
  client_open(&expires, net, target("/api/v1/stream?token=%s%s", net_token(net, "ann", READS, 2), ""), NULL, NULL);
  session(&revoked, net, "bob", READS);
  assert_string_equal(client_frame(&revoked, 100), "-");
  int64_t now_us = clock_wall(&clock_system);
  keyring_revoke(net->keyring, "sub:bob", now_us + 1000000, now_us + 3600 * 1000000LL);
  ws_server_revoked(net->ws);
  expect(&revoked, "C:4003:the token is revoked");
  expect(&expires, "C:4003:the token has expired");
  client_close(&expires);
  client_close(&revoked);
}

static void draining_says_1001_and_lets_nobody_in(void **state) {
  struct net *net = *state;
  struct client c, late;
  session(&c, net, "ann", READS);
  usleep(50000);
  ws_server_drain(net->ws);
  expect(&c, "C:1001:the service stops: come back in a moment");
  client_open(&late, net, "/api/v1/stream", NULL, NULL);
  assert_int_equal(late.status, 503);
  client_close(&c);
  client_close(&late);
}

static void there_are_so_many_followers_and_no_more(void **state) {
  struct net *net = *state;
  struct client c[4];
  client_open(&c[0], net, "/api/v1/stream", NULL, NULL);
  client_open(&c[1], net, "/api/v1/stream", NULL, NULL); /* of those without a token, a quarter */
  assert_memory_equal(client_frame(&c[1], WAIT), "C:1013", 6);
  client_close(&c[1]);
  usleep(300000);
  const char *known = target("/api/v1/stream?token=%s%s", net_token(net, "ann", READS, 60), "");
  for (int i = 1; i < 4; i++) client_open(&c[i], net, known, NULL, NULL);
  for (int i = 0; i < 4; i++) assert_int_equal(c[i].status, i < 3 ? 101 : 503);
  for (int i = 0; i < 4; i++) client_close(&c[i]);
  struct ws_statistics s = {.sockets = 1};
  for (int i = 0; i < 300 && s.sockets; i++) {
    ws_statistics(net->ws, &s);
    usleep(10000);
  }
  assert_int_equal(s.sockets, 0);
  assert_int_equal(s.accepted, 4);
  assert_int_equal(s.refused, 1);
}

static void sockets_are_detached(void **state) {
  struct net *net = *state;
  struct client c;
  struct ws_statistics s;
  session(&c, net, "ann", READS);
  ws_statistics(net->ws, &s);
  assert_true(s.detached == 2 && s.pooled == 0); /* the self-test's and this one */
  client_close(&c);
}

static void sockets_stay_with_the_library_when_they_cannot_be_detached(void **state) {
  struct net *net = *state;
  struct client c;
  struct ws_statistics s;
  session(&c, net, "ann", READS);
  ws_statistics(net->ws, &s);
  assert_true(s.detached == 0 && s.pooled == 1);
  client_close(&c);
}

static void a_second_request_of_a_connection_is_not_detached(void **state) {
  struct net *net = *state;
  struct client c;
  struct ws_statistics s;
  client_connect(&c, net);
  client_request(&c, "/nothing", "", NULL);
  assert_int_equal(c.status, 404);
  usleep(50000);
  buf_reset(&c.in);
  client_request(&c, target("/api/v1/stream?token=%s%s", net_token(net, "ann", READS, 60), ""), HANDSHAKE, NULL);
  assert_int_equal(c.status, 101);
  client_say(&c, "{\"type\":\"ping\"}");
  expect(&c, "T:{\"type\":\"pong\"}");
  ws_statistics(net->ws, &s);
  assert_int_equal(s.pooled, 1);
  client_close(&c);
}

/* What the socket paths say to who does not speak WebSocket, or another version of it. */
static void others_are_told_to_upgrade(void **state) {
  struct net *net = *state;
  static const struct {
    const char *headers;
    unsigned status;
  } cases[] = {
      {"", 426},
      {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: "
       "dGhlIHNhbXBsZSBub25jZQ==\r\n",
       426},
      {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", 400},
      {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n", 400},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct client c;
    client_connect(&c, net);
    client_request(&c, i % 2 ? "/ws?jobId=x" : "/api/v1/stream", cases[i].headers, NULL);
    if (c.status != cases[i].status) fail_msg("case %zu: %u", i, c.status);
    client_close(&c);
  }
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int begin_pooled(void **state) {
  net_options = (struct ws_options){.no_detach = true};
  return net_begin(state);
}
static int begin_pings(void **state) {
  net_options = (struct ws_options){.ping_us = 200 * 1000};
  return net_begin(state);
}
static int begin_any(void **state) {
  net_options = (struct ws_options){0};
  net_listen = "0.0.0.0:0";
  int failed = net_begin(state);
  net_listen = "127.0.0.1:0";
  return failed;
}
static int begin_few(void **state) {
  net_options = (struct ws_options){.followers_max = 3};
  return net_begin(state);
}
static int begin_net(void **state) {
  net_options = (struct ws_options){0};
  return net_begin(state);
}

#define ws_test(name) cmocka_unit_test_setup_teardown(name, begin_net, net_end)
int main(void) {
  const struct CMUnitTest tests[] = {
      ws_test(sockets_are_detached),
      ws_test(a_job_is_followed_from_state_to_its_end),
      ws_test(a_failed_job_ends_with_1000_and_says_so),
      ws_test(what_is_wrong_is_said_by_close_codes),
      ws_test(credentials_come_in_every_way),
      ws_test(handshakes_that_are_none_are_refused_by_status),
      ws_test(others_are_told_to_upgrade),
      ws_test(a_session_subscribes_and_unsubscribes),
      ws_test(an_admin_hears_everything_and_resumes_by_cursor),
      ws_test(a_session_may_bring_its_token_first),
      ws_test(bytes_sent_with_the_request_are_handed_on),
      ws_test(wrong_frames_close_with_the_code_of_the_rfc),
      ws_test(tokens_expire_and_are_revoked_while_open),
      ws_test(draining_says_1001_and_lets_nobody_in),
      ws_test(a_second_request_of_a_connection_is_not_detached),
      cmocka_unit_test_setup_teardown(a_peer_that_misses_a_ping_is_dropped, begin_pings, net_end),
      cmocka_unit_test_setup_teardown(a_peer_that_does_not_read_is_evicted_and_others_do_not_notice, begin_pings,
                                      net_end),
      cmocka_unit_test_setup_teardown(sockets_are_detached, begin_any, net_end),
      cmocka_unit_test_setup_teardown(there_are_so_many_followers_and_no_more, begin_few, net_end),
      cmocka_unit_test_setup_teardown(sockets_stay_with_the_library_when_they_cannot_be_detached, begin_pooled,
                                      net_end),
      cmocka_unit_test_setup_teardown(a_job_is_followed_from_state_to_its_end, begin_pooled, net_end),
      cmocka_unit_test_setup_teardown(a_session_subscribes_and_unsubscribes, begin_pooled, net_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
