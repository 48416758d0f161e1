/* The attempt protocol: orders there and back, and a child that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/message.h"
#include "wire/unit.h"

static struct unit *sample(void) {
  struct unit *u = mem_alloc(sizeof(*u));
  *u = (struct unit){.kind = UNIT_PASS, .fence = UINT64_MAX, .cores = 2, .deadline_boot_us = 5, .stage_count = 2};
  u->job = mem_text("j1");
  u->source = mem_alloc(sizeof(*u->source));
  *u->source = (struct unit_artifact){.name = mem_text("clip.mp4"),
                                      .path = mem_text("/in/clip.mp4"),
                                      .size_bytes = -1,
                                      .root_slot = 0,
                                      .beneath = mem_text("")};
  u->stages = mem_array(2, sizeof(*u->stages));
  for (uint32_t i = 0; i < 2; i++) {
    struct unit_stage *s = &u->stages[i];
    s->id = mem_format("s%u", i);
    s->uses = mem_text("mark");
    s->plugin_path = mem_text("/p/mark.so");
    s->attempt = i + 1;
    s->params = value_map();
    s->links = mem_array(1, sizeof(*s->links));
    s->link_count = 1;
    s->links[0] = (struct unit_link){mem_text("video"), (int32_t)i - 1, i ? mem_text("video") : NULL};
  }
  struct value *secret = value_text("hunter2");
  secret->secret = true;
  value_map_set(u->stages[1].params, "key", secret);
  u->stages[1].artifacts = mem_array(1, sizeof(struct unit_artifact));
  u->stages[1].artifact_count = 1;
  u->stages[1].artifacts[0] = (struct unit_artifact){
      .port = mem_text("image"), .root_slot = 3, .beneath = mem_text("a/b.png"), .is_source = true};
  return u;
}

static void orders_survive_the_trip(void **state) {
  (void)state;
  struct unit *u = sample(), *back = NULL;
  struct buf buf_auto b = {0}, buf_auto again = {0};
  struct error e = {0};
  unit_pack(&b, u);
  if (unit_unpack(b.data, b.size, &back, &e)) fail_msg("%s", e.message);
  assert_true(back->fence == UINT64_MAX);
  assert_int_equal(back->stages[0].links[0].from_stage, -1);
  assert_null(back->stages[0].links[0].from_port);
  assert_string_equal(value_get_text(back->stages[1].params, "key", ""), "hunter2");
  assert_true(value_get(back->stages[1].params, "key")->secret);
  assert_string_equal(back->stages[1].artifacts[0].beneath, "a/b.png");
  assert_int_equal(back->source->size_bytes, -1);
  struct unit *third = NULL;
  unit_pack(&again, back);
  assert_int_equal(unit_unpack(again.data, again.size, &third, &e), ERR_OK);
  assert_int_equal(third->stage_count, 2);
  unit_free(&u);
  unit_free(&back);
  unit_free(&third);
}

static void damaged_orders_never_break_the_reader(void **state) {
  (void)state;
  struct unit *u = sample();
  struct buf buf_auto b = {0};
  unit_pack(&b, u);
  unit_free(&u);
  for (size_t size = 0; size < b.size; size += 3) {
    mem_auto char *cut = mem_text_n(b.data, size);
    assert_int_equal(unit_unpack(cut, size, &u, NULL), ERR_PROTOCOL);
  }
  srandom(11);
  for (int i = 0; i < 5000; i++) {
    mem_auto char *bytes = mem_text_n(b.data, b.size);
    bytes[(size_t)random() % b.size] = (char)random();
    if (unit_unpack(bytes, b.size, &u, NULL) == ERR_OK) unit_free(&u);
    assert_null(u);
  }
}

typedef void change_fn(struct unit *u);

static void refused(change_fn *change, const char *why) {
  struct unit *u = sample(), *back = NULL;
  struct buf buf_auto b = {0};
  struct error e = {0};
  change(u);
  unit_pack(&b, u);
  unit_free(&u);
  assert_int_equal(unit_unpack(b.data, b.size, &back, &e), ERR_PROTOCOL);
  if (!strstr(e.message, why)) fail_msg("'%s' does not say '%s'", e.message, why);
}

static void climb(struct unit *u) {
  free(u->source->beneath);
  u->source->beneath = mem_text("a/../../etc");
}
static void slot(struct unit *u) { u->stages[1].artifacts[0].root_slot = UNIT_SLOTS_MAX; }
static void link_out(struct unit *u) { u->stages[1].links[0].from_stage = 2; }
static void kind(struct unit *u) { u->kind = UNIT_PLAN + 1; }
static void nameless(struct unit *u) {
  free(u->stages[0].id);
  u->stages[0].id = NULL;
}

static void orders_out_of_range_are_refused(void **state) {
  (void)state;
  refused(climb, "'beneath'");
  refused(slot, "'root_slot'");
  refused(link_out, "'from_stage'");
  refused(kind, "'kind'");
  refused(nameless, "'id' is missing");
}

static void open_pair(int pair[2], int flags) {
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0, pair), 0);
}

static void close_pair(int pair[2]) {
  close(pair[0]);
  close(pair[1]);
}

static void messages_arrive_whole_and_in_order(void **state) {
  (void)state;
  int pair[2];
  struct message m = {0};
  value_auto struct value *body = value_map();
  value_set_text(body, "key", "duration");
  open_pair(pair, SOCK_NONBLOCK);
  assert_int_equal(message_receive(pair[1], &m, NULL), ERR_BUSY);
  assert_int_equal(message_send(pair[0], MESSAGE_RESULT, 3, body, NULL), ERR_OK);
  assert_int_equal(message_send(pair[0], MESSAGE_BYE, -1, NULL, NULL), ERR_OK);
  assert_int_equal(message_receive(pair[1], &m, NULL), ERR_OK);
  assert_int_equal(m.type, MESSAGE_RESULT);
  assert_int_equal(m.stage, 3);
  assert_true(value_equal(m.body, body));
  assert_int_equal(message_receive(pair[1], &m, NULL), ERR_OK);
  assert_int_equal(m.type, MESSAGE_BYE);
  assert_true(value_is_null(m.body));
  close(pair[0]);
  assert_int_equal(message_receive(pair[1], &m, NULL), ERR_LOST);
  assert_int_equal(message_send(pair[1], MESSAGE_BYE, -1, NULL, NULL), ERR_LOST);
  close(pair[1]);
  message_clear(&m);
}

static void a_full_socket_is_busy_and_a_large_body_refused(void **state) {
  (void)state;
  int pair[2];
  open_pair(pair, SOCK_NONBLOCK);
  mem_auto char *text = mem_alloc(MESSAGE_MAX + 1);
  memset(text, 'x', MESSAGE_MAX);
  value_auto struct value *large = value_text(text), *small = value_text_n(text, 30000);
  struct error e;
  assert_int_equal(message_send(pair[0], MESSAGE_LOG, 0, large, &e), ERR_TOO_LARGE);
  enum err status = ERR_OK;
  for (int i = 0; i < 1000 && !status; i++) status = message_send(pair[0], MESSAGE_LOG, 0, small, &e);
  assert_int_equal(status, ERR_BUSY);
  close_pair(pair);
}

static void lie(const void *bytes, size_t size, const char *why) {
  int pair[2];
  struct message m = {0};
  struct error e = {0};
  open_pair(pair, SOCK_NONBLOCK);
  assert_int_equal(send(pair[0], bytes, size, 0), size);
  assert_int_equal(message_receive(pair[1], &m, &e), ERR_PROTOCOL);
  if (!strstr(e.message, why)) fail_msg("'%s' does not say '%s'", e.message, why);
  assert_null(m.body);
  close_pair(pair);
}

static void lie_header(uint32_t magic, uint32_t type, int32_t stage, uint32_t size, const char *why) {
  struct {
    struct message_header h;
    unsigned char body;
  } packet = {{magic, type, stage, size}, VALUE_NULL};
  lie(&packet, sizeof(struct message_header) + 1, why);
}

static void liars_are_found_out(void **state) {
  (void)state;
  lie("x", 1, "shorter");
  lie_header(1, MESSAGE_HELLO, -1, 1, "does not begin");
  lie_header(MESSAGE_MAGIC, 99, -1, 1, "type is unknown");
  lie_header(MESSAGE_MAGIC, MESSAGE_HELLO, -2, 1, "out of range");
  lie_header(MESSAGE_MAGIC, MESSAGE_HELLO, UNIT_STAGES_MAX, 1, "out of range");
  lie_header(MESSAGE_MAGIC, MESSAGE_HELLO, -1, 7, "size is not");
  mem_auto char *large = mem_alloc(MESSAGE_MAX + 100);
  lie(large, MESSAGE_MAX + 100, "too large");
}

static int open_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 256; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static void descriptors_of_a_child_are_refused(void **state) {
  (void)state;
  int pair[2], passed = open("/dev/null", O_RDONLY | O_CLOEXEC);
  struct {
    struct message_header h;
    unsigned char body;
  } packet = {{MESSAGE_MAGIC, MESSAGE_HELLO, -1, 1}, VALUE_NULL};
  struct iovec part = {&packet, sizeof(struct message_header) + 1};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
  control.header =
      (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &passed, sizeof(passed));
  open_pair(pair, SOCK_NONBLOCK);
  assert_true(sendmsg(pair[0], &m, 0) > 0);
  int before = open_descriptors();
  struct message got = {0};
  struct error e = {0};
  assert_int_equal(message_receive(pair[1], &got, &e), ERR_PROTOCOL);
  assert_non_null(strstr(e.message, "descriptors"));
  assert_int_equal(open_descriptors(), before);
  close(passed);
  close_pair(pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(orders_survive_the_trip),
      cmocka_unit_test(damaged_orders_never_break_the_reader),
      cmocka_unit_test(orders_out_of_range_are_refused),
      cmocka_unit_test(messages_arrive_whole_and_in_order),
      cmocka_unit_test(a_full_socket_is_busy_and_a_large_body_refused),
      cmocka_unit_test(liars_are_found_out),
      cmocka_unit_test(descriptors_of_a_child_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
