/* Value trees: round trips through both forms, and bytes that want to do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/value.h"

static struct value *sample(void) {
  struct value *v = value_map(), *list = value_list();
  value_set_text(v, "name", "caf\xc3\xa9 \"x\"");
  value_set_int(v, "low", INT64_MIN);
  value_set_number(v, "ratio", 0.1);
  value_set_number(v, "whole", 2);
  value_set_bool(v, "yes", true);
  value_map_set(v, "none", value_null());
  value_map_set(v, "segment", value_of(VALUE_DURATION, 6500000, 0));
  value_map_set(v, "rate", value_of(VALUE_BITRATE, 800000, 0));
  value_map_set(v, "size", value_of(VALUE_SIZE, 1500, 0));
  value_map_set(v, "at", value_of(VALUE_PERCENT, 0, 10));
  value_list_add(list, value_int(1));
  value_list_add(list, value_map());
  value_map_set(v, "list", list);
  return v;
}

static void a_tree_survives_packing(void **state) {
  (void)state;
  value_auto struct value *v = sample(), *back = NULL;
  struct value *secret = value_text("s3cret");
  secret->secret = true;
  value_map_set(v, "password", secret);
  struct buf buf_auto b = {0};
  value_pack(&b, v);
  assert_int_equal(value_unpack(b.data, b.size, &back, NULL), ERR_OK);
  assert_true(value_equal(v, back));
  assert_true(value_get(back, "password")->secret);
  assert_string_equal(back->keys[0], "name");
  value_auto struct value *copy = value_copy(back);
  assert_true(value_equal(copy, v));
  value_set_int(copy, "low", 3);
  assert_false(value_equal(copy, v));
}

static void every_cut_of_packed_bytes_is_refused(void **state) {
  (void)state;
  value_auto struct value *v = sample();
  struct buf buf_auto b = {0};
  value_pack(&b, v);
  for (size_t size = 0; size < b.size; size++) {
    struct value *back = NULL;
    mem_auto char *exact = mem_text_n(b.data, size); /* a reader past its end is seen by the sanitizer */
    struct error e;
    assert_int_equal(value_unpack(exact, size, &back, &e), ERR_PROTOCOL);
    assert_null(back);
  }
  buf_char(&b, 0);
  struct value *back = NULL;
  assert_int_equal(value_unpack(b.data, b.size, &back, NULL), ERR_PROTOCOL);
}

static void flipped_bytes_never_break_the_reader(void **state) {
  (void)state;
  value_auto struct value *v = sample();
  struct buf buf_auto b = {0};
  value_pack(&b, v);
  srandom(7);
  for (int round = 0; round < 20000; round++) {
    mem_auto char *bytes = mem_text_n(b.data, b.size);
    for (int i = 0; i < 3; i++) bytes[(size_t)random() % b.size] = (char)random();
    value_auto struct value *back = NULL;
    enum err status = value_unpack(bytes, b.size, &back, NULL);
    assert_true((status == ERR_OK) == (back != NULL));
  }
}

static void refused(const char *bytes, size_t size, const char *why) {
  struct value *v = NULL;
  struct error e;
  assert_int_equal(value_unpack(bytes, size, &v, &e), ERR_PROTOCOL);
  if (!strstr(e.message, why)) fail_msg("'%s' does not say '%s'", e.message, why);
}

static void hostile_shapes_are_named(void **state) {
  (void)state;
  char deep[64 * 5];
  for (size_t i = 0; i < 64; i++) memcpy(deep + 5 * i, "\x0a\x01\0\0\0", 5);
  refused(deep, sizeof(deep), "nested too deeply");
  refused("\x0a\xff\xff\xff\xff", 5, "more items");
  refused("\x05\0\xff\xff\xff\xff", 6, "longer than what is there");
  refused("\x05\0\x02\0\0\0a\0", 8, "NUL");
  refused("\x63", 1, "unknown type");
  refused("\x04\0\0\0\0\0\0\xf8\x7f", 9, "not finite");
  refused("\x0b\x02\0\0\0\x01\0\0\0k\x01\x01\0\0\0k\x01", 17, "twice");
}

static void paths_and_typed_lookups_find_or_fall_back(void **state) {
  (void)state;
  value_auto struct value *v = sample();
  assert_int_equal(value_path(v, "list.0")->integer, 1);
  assert_null(value_path(v, "list.2"));
  assert_null(value_path(v, "list.x"));
  assert_null(value_path(v, "name.first"));
  assert_null(value_path(v, "list.99999999999999999999"));
  assert_string_equal(value_get_text(v, "low", "other"), "other");
  assert_int_equal(value_get_int(v, "segment", 0), 6500000);
  assert_true(fabs(value_get_number(v, "at", 0) - 10) < 1e-9);
  assert_true(value_get_bool(v, "yes", false));
  assert_true(value_is_null(value_get(v, "none")) && value_is_null(value_get(v, "absent")));
}

static void json_is_written_in_order_and_hides_secrets(void **state) {
  (void)state;
  value_auto struct value *v = sample();
  struct value *secret = value_text("s3cret");
  secret->secret = true;
  value_map_set(v, "key", secret);
  struct buf buf_auto b = {0};
  value_json(&b, v, VALUE_JSON_COMPACT);
  assert_string_equal(buf_string(&b),
                      "{\"name\":\"caf\xc3\xa9 \\\"x\\\"\",\"low\":-9223372036854775808,\"ratio\":0.1,\"whole\":2.0,"
                      "\"yes\":true,\"none\":null,\"segment\":6.5,\"rate\":800000,\"size\":1500,\"at\":10,"
                      "\"list\":[1,{}],\"key\":\"***\"}");
  buf_reset(&b);
  value_json(&b, v, VALUE_JSON_REVEAL | VALUE_JSON_PRETTY);
  assert_non_null(strstr(buf_string(&b), "\n  \"key\": \"s3cret\"\n}"));
}

static void json_is_read_back_as_written(void **state) {
  (void)state;
  static const char text[] = "{\"z\":1,\"a\":[true,null,-0.5,\"\\u00e9\",1e300],\"m\":{\"k\":9223372036854775807}}";
  value_auto struct value *v = NULL;
  assert_int_equal(value_from_json(text, sizeof(text) - 1, &v, NULL), ERR_OK);
  assert_string_equal(v->keys[0], "z");
  assert_int_equal(value_path(v, "m.k")->integer, INT64_MAX);
  struct buf buf_auto b = {0};
  value_json(&b, v, 0);
  value_auto struct value *again = NULL;
  assert_int_equal(value_from_json(b.data, b.size, &again, NULL), ERR_OK);
  assert_true(value_equal(v, again));
}

static void json_not_read(const char *text, size_t size) {
  struct value *v = NULL;
  struct error e;
  if (value_from_json(text, size, &v, &e) == ERR_OK) fail_msg("taken: %s", text);
  assert_int_equal(e.code, ERR_INVALID);
  assert_true(e.message[0] != '\0');
}

static void bad_json_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"",    "{",   "{\"a\":1,\"a\":2}",    "[1,]",  "\"\\u0000\"", "\"\xff\"",
                                    "1 2", "nul", "99999999999999999999", "1e999", "\"\\ud800\""};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) json_not_read(bad[i], strlen(bad[i]));
  json_not_read("\"a\0b\"", 5);
  char deep[200000];
  memset(deep, '[', sizeof(deep));
  json_not_read(deep, sizeof(deep));
  char nested[129] = {0};
  memset(nested, '[', 64);
  memset(nested + 64, ']', 64);
  value_auto struct value *v = NULL;
  assert_int_equal(value_from_json(nested, 128, &v, NULL), ERR_OK);
}

static void many_hostile_keys_cost_little(void **state) {
  (void)state;
  struct buf buf_auto b = {0};
  uint32_t count = 200000;
  buf_char(&b, VALUE_MAP);
  buf_add(&b, &count, 4);
  for (uint32_t i = 0; i < count; i++) {
    char key[9];
    uint32_t size = 8;
    snprintf(key, sizeof(key), "%08x", i);
    buf_add(&b, &size, 4);
    buf_add(&b, key, 8);
    buf_char(&b, VALUE_NULL);
  }
  value_auto struct value *v = NULL;
  assert_int_equal(value_unpack(b.data, b.size, &v, NULL), ERR_OK); /* quadratic: minutes, the test's limit ends it */
  assert_int_equal(v->count, count);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_tree_survives_packing),
      cmocka_unit_test(every_cut_of_packed_bytes_is_refused),
      cmocka_unit_test(flipped_bytes_never_break_the_reader),
      cmocka_unit_test(hostile_shapes_are_named),
      cmocka_unit_test(paths_and_typed_lookups_find_or_fall_back),
      cmocka_unit_test(json_is_written_in_order_and_hides_secrets),
      cmocka_unit_test(json_is_read_back_as_written),
      cmocka_unit_test(bad_json_is_refused),
      cmocka_unit_test(many_hostile_keys_cost_little),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
