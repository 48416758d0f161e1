/* The public form of events: four common fields first, never overruled by a body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "events/envelope.h"

#pragma GCC diagnostic ignored "-Wcast-qual"
static void reads(const char *type, const char *body, const char *wanted) {
  struct event_record event = {.job = (char *)"j1",
                               .seq = 3,
                               .cursor = 99,
                               .type = (char *)type,
                               .at_us = 1769860800123456,
                               .body_json = (char *)body};
  struct buf buf_auto out = {0};
  event_envelope(&out, &event);
  assert_string_equal(buf_string(&out), wanted);
}

static void the_common_fields_come_first_and_the_body_follows(void **state) {
  (void)state;
  reads("retrying", "{\"status\":\"retrying\",\"delayMs\":2000,\"error\":{\"message\":\"say \\\"x\\\"\"},\"n\":null}",
        "{\"type\":\"retrying\",\"jobId\":\"j1\",\"seq\":3,\"at\":\"2026-01-31T12:00:00.123Z\",\"status\":\"retrying\","
        "\"delayMs\":2000,\"error\":{\"message\":\"say \\\"x\\\"\"},\"n\":null}");
}

static void a_body_cannot_speak_for_another_job(void **state) {
  (void)state;
  reads("stage", "{\"type\":\"completed\",\"jobId\":\"j2\",\"seq\":1,\"at\":\"then\",\"stage\":\"hls\"}",
        "{\"type\":\"stage\",\"jobId\":\"j1\",\"seq\":3,\"at\":\"2026-01-31T12:00:00.123Z\",\"stage\":\"hls\"}");
}

static void a_damaged_body_costs_only_itself(void **state) {
  (void)state;
  static const char bare[] = "{\"type\":\"queued\",\"jobId\":\"j1\",\"seq\":3,\"at\":\"2026-01-31T12:00:00.123Z\"}";
  reads("queued", NULL, bare);
  reads("queued", "", bare);
  reads("queued", "{\"half\":", bare);
  reads("queued", "[1,2]", bare);
  reads("queued", "{\"a\":1,\"a\":2}", bare);
}

static void what_is_not_stored_carries_the_last_seq_that_is(void **state) {
  (void)state;
  value_auto struct value *fields = value_map();
  value_set_number(fields, "pct", 41.5);
  value_set_int(fields, "seq", 77);
  value_auto struct value *v = event_unstored("progress", "j1", 4, 0, fields);
  struct buf buf_auto out = {0};
  value_json(&out, v, VALUE_JSON_COMPACT);
  assert_string_equal(buf_string(&out), "{\"type\":\"progress\",\"jobId\":\"j1\",\"seq\":4,"
                                        "\"at\":\"1970-01-01T00:00:00.000Z\",\"pct\":41.5}");
  value_auto struct value *empty = event_unstored("state", "j1", 0, 0, NULL);
  assert_int_equal(empty->count, 4);
}

static void only_ends_are_terminal(void **state) {
  (void)state;
  assert_true(event_is_terminal("completed") && event_is_terminal("failed") && event_is_terminal("cancelled"));
  assert_false(event_is_terminal("retrying") || event_is_terminal("stage") || event_is_terminal(""));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_common_fields_come_first_and_the_body_follows),
      cmocka_unit_test(a_body_cannot_speak_for_another_job),
      cmocka_unit_test(a_damaged_body_costs_only_itself),
      cmocka_unit_test(what_is_not_stored_carries_the_last_seq_that_is),
      cmocka_unit_test(only_ends_are_terminal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
