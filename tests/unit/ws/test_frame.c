/* The frame reader against RFC 6455, every case cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ws/frame.h"

static bool keep(void *context, enum opcode opcode, const char *data, size_t size) {
  struct buf *log = context;
  buf_format(log, "%x[%.*s]", opcode, (int)size, data);
  return opcode != OPCODE_CLOSE;
}

/* bytes: hex and, in quotes, text; masks are 00000000, so payloads stand as they are. */
static size_t bytes_of(const char *text, uint8_t *out) {
  size_t n = 0;
  for (const char *at = text; *at;) {
    if (*at == ' ')
      at++;
    else if (*at == '\'')
      for (at++; *at++ != '\'';) out[n++] = (uint8_t)at[-1];
    else
      out[n++] = (uint8_t)strtoul((char[]){at[0], at[1], 0}, NULL, 16), at += 2;
  }
  return n;
}

#define M " 00000000 "
static const struct {
  const char *bytes, *heard;
  int code;
} cases[] = {
    /* messages, whole and in parts, control frames between them */
    {"81 85" M "'hello'", "1[hello]", 0},
    {"81 80" M, "1[]", 0},
    {"82 82" M "fffe", "2[\xff\xfe]", 0},
    {"01 82" M "'he'  80 83" M "'llo'", "1[hello]", 0},
    {"01 82" M "'he'  89 81" M "'p'  00 82" M "'ll'  8a 80" M "80 81" M "'o'", "9[p]a[]1[hello]", 0},
    {"01 80" M "00 80" M "80 80" M, "1[]", 0},
    {"81 81" M "'a' 81 81" M "'b' 88 80" M "81 81" M "'c'", "1[a]1[b]8[]", 0},
    /* 5.1 and 5.2: mask, reserved bits, reserved opcodes, shortest length */
    {"81 05 'hello'", "", 1002},
    {"c1 85" M "'hello'", "", 1002},
    {"a1 85" M "'hello'", "", 1002},
    {"91 85" M "'hello'", "", 1002},
    {"83 80" M, "", 1002},
    {"87 80" M, "", 1002},
    {"8b 80" M, "", 1002},
    {"8f 80" M, "", 1002},
    {"81 fe 0005" M "'hello'", "", 1002},
    {"81 ff 0000000000000005" M "'hello'", "", 1002},
    {"81 ff 8000000000000005" M, "", 1009},
    /* 5.4: fragments */
    {"80 80" M, "", 1002},
    {"00 81" M "'x'", "", 1002},
    {"01 81" M "'x' 81 81" M "'y'", "", 1002},
    {"01 81" M "'x' 02 81" M "'y'", "", 1002},
    {"81 81" M "'x' 80 81" M "'y'", "1[x]", 1002},
    /* 5.5: control frames */
    {"09 80" M, "", 1002},
    {"08 80" M, "", 1002},
    {"89 fe 007e" M, "", 1002},
    {"88 fe 007e" M, "", 1002},
    /* sizes: judged by the head alone, 64 KiB and a byte, whole or over fragments */
    {"81 ff 0000000000010001", "", 1009},
    {"81 ff 000000007fffffff", "", 1009},
    {"81 ff 7fffffffffffffff", "", 1009},
    {"02 82" M "'ab' 80 ff 000000000000ffff", "", 1009},
    /* 8.1: UTF-8, cut between and within fragments */
    {"81 82" M "c3a9", "1[\xc3\xa9]", 0},
    {"01 81" M "c3 80 81" M "a9", "1[\xc3\xa9]", 0},
    {"01 81" M "f0 00 81" M "9f 89 80" M "00 81" M "92 80 81" M "a9", "9[]1[\xf0\x9f\x92\xa9]", 0},
    {"81 81" M "c3", "", 1007},
    {"01 81" M "c3 80 80" M, "", 1007},
    {"01 81" M "c3 80 81" M "'a'", "", 1007},
    {"01 81" M "'a' 00 81" M "ff", "", 1007},
    {"81 82" M "c080", "", 1007},
    {"81 83" M "eda080", "", 1007},
    {"81 84" M "f4908080", "", 1007},
    {"81 84" M "f0808080", "", 1007},
    {"81 83" M "e08080", "", 1007},
    {"81 84" M "f48fbfbf", "1[\xf4\x8f\xbf\xbf]", 0},
    {"81 83" M "efbfbf", "1[\xef\xbf\xbf]", 0},
    {"02 81" M "c3 80 81" M "ff", "2[\xc3\xff]", 0},
};

static void check(size_t i, const uint8_t *bytes, size_t size, size_t step) {
  struct frame_reader reader = {0};
  struct buf buf_auto heard = {0};
  enum close_code code = 0;
  for (size_t at = 0; at < size && !code; at += step) {
    uint8_t piece[128];
    size_t n = size - at < step ? size - at : step;
    memcpy(piece, bytes + at, n);
    code = frame_read(&reader, piece, n, keep, &heard);
    if (strstr(buf_string(&heard), "8[")) break;
  }
  frame_reader_clear(&reader);
  if ((int)code != cases[i].code || strcmp(buf_string(&heard), cases[i].heard) != 0)
    fail_msg("case %s in pieces of %zu: code %d, heard %s", cases[i].bytes, step, (int)code, buf_string(&heard));
}

static void the_rfc_is_kept_wherever_the_bytes_are_cut(void **state) {
  (void)state;
  uint8_t bytes[256];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t size = bytes_of(cases[i].bytes, bytes);
    for (size_t step = 1; step <= size; step++) check(i, bytes, size, step);
  }
}

static void masks_are_taken_off(void **state) {
  (void)state;
  uint8_t frame[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}; /* the RFC's own example, 5.7 */
  struct frame_reader reader = {0};
  struct buf buf_auto heard = {0};
  for (size_t i = 0; i < sizeof frame; i++) assert_int_equal(frame_read(&reader, frame + i, 1, keep, &heard), 0);
  assert_string_equal(buf_string(&heard), "1[Hello]");
}

static void the_largest_message_passes(void **state) {
  (void)state;
  static uint8_t frame[14 + MESSAGE_MAX] = {0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0};
  struct frame_reader reader = {0};
  struct buf buf_auto heard = {0};
  memset(frame + 14, 'x', MESSAGE_MAX);
  assert_int_equal(frame_read(&reader, frame, sizeof frame, keep, &heard), 0);
  assert_int_equal(heard.size, MESSAGE_MAX + 3);
  assert_null(reader.message.data); /* nothing is kept between messages */
}

static void close_frames_are_judged(void **state) {
  (void)state;
  static const struct {
    const char *payload;
    int code, wrong;
  } closes[] = {
      {"", 1005, 0},          {"03e8", 1000, 0},    {"03e8 'bye'", 1000, 0},
      {"0bb8", 3000, 0},      {"1387", 4999, 0},    {"03f3", 1011, 0},
      {"03", 0, 1002},        {"0000", 0, 1002},    {"03e7", 0, 1002},
      {"03ec", 0, 1002},      {"03ed", 0, 1002},    {"03ee", 0, 1002},
      {"03f7", 0, 1002},      {"0448", 0, 1002},    {"07d0", 0, 1002},
      {"0bb7", 0, 1002},      {"1388", 0, 1002},    {"ffff", 0, 1002},
      {"03e8 c3a9", 1000, 0}, {"03e8 c3", 0, 1007}, {"03e8 'a' ff", 0, 1007},
  };
  uint8_t bytes[128];
  for (size_t i = 0; i < sizeof closes / sizeof *closes; i++) {
    size_t size = bytes_of(closes[i].payload, bytes);
    enum close_code wrong, code = frame_close_code((const char *)bytes, size, &wrong);
    if ((int)wrong != closes[i].wrong || (!wrong && (int)code != closes[i].code))
      fail_msg("close %s: %d, wrong %d", closes[i].payload, (int)code, (int)wrong);
  }
}

static void frames_are_written_with_the_shortest_length(void **state) {
  (void)state;
  static char data[70000];
  static const struct {
    size_t size;
    const char *head;
  } sizes[] = {
      {0, "81 00"}, {125, "81 7d"}, {126, "81 7e 007e"}, {65535, "81 7e ffff"}, {65536, "81 7f 0000000000010000"}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct buf buf_auto out = {0};
    uint8_t head[16];
    size_t n = bytes_of(sizes[i].head, head);
    frame_write(&out, OPCODE_TEXT, data, sizes[i].size);
    assert_int_equal(out.size, n + sizes[i].size);
    assert_memory_equal(out.data, head, n);
  }
  struct buf buf_auto close = {0};
  char reason[200];
  memset(reason, 'r', sizeof reason);
  memcpy(reason + 121, "\xf0\x9f\x92\xa9", 4); /* lies across the limit of 123 */
  reason[199] = '\0';
  frame_write_close(&close, CLOSE_TOO_SLOW, reason);
  assert_int_equal(close.size, 2 + 2 + 121);
  assert_int_equal((uint8_t)close.data[1], 123);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_rfc_is_kept_wherever_the_bytes_are_cut),
      cmocka_unit_test(masks_are_taken_off),
      cmocka_unit_test(the_largest_message_passes),
      cmocka_unit_test(close_frames_are_judged),
      cmocka_unit_test(frames_are_written_with_the_shortest_length),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
