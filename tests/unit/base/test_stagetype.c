/* Stage descriptions: what a plugin's process sends is checked row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"
#include "base/stagetype.h"

static struct value *port(const char *name, int kind, const char *type) {
  struct value *v = value_map(), *types = value_list();
  if (type) value_list_add(types, value_text(type));
  value_set_text(v, "name", name);
  value_set_int(v, "kind", kind);
  value_set_int(v, "flags", SM_PORT_MANY | SM_PORT_OPTIONAL | SM_PORT_SOURCE);
  value_map_set(v, "types", types);
  return v;
}

static struct value *param(const char *name, uint32_t takes) {
  struct value *v = value_map();
  value_set_text(v, "name", name);
  value_set_int(v, "takes", takes);
  value_set_int(v, "flags", SM_REQUIRED | SM_REPEATED);
  value_set_number(v, "min", 0);
  value_set_number(v, "max", 1);
  return v;
}

static struct value *stage(const char *name) {
  struct value *v = value_map(), *params = value_list(), *inputs = value_list(), *results = value_list();
  struct value *record = param("rung", SM_TAKES_RECORD), *fields = value_list(), *result = value_map();
  value_list_add(fields, param("width", SM_TAKES_INT));
  value_map_set(record, "fields", fields);
  value_list_add(params, param("opacity", SM_TAKES_NUMBER));
  value_list_add(params, record);
  value_list_add(inputs, port("file", SM_PORT_ARTIFACT, "image/*"));
  value_set_text(result, "key", "frame_rate");
  value_set_int(result, "type", SM_RESULT_TYPE_LIST);
  value_set_int(result, "available", SM_AT_END);
  value_set_int(result, "flags", SM_RESULT_NULLABLE);
  value_list_add(results, result);
  value_set_text(v, "name", name);
  value_set_int(v, "kind", SM_KIND_SINK);
  value_map_set(v, "params", params);
  value_map_set(v, "inputs", inputs);
  value_map_set(v, "results", results);
  value_set_text(v, "plugin_path", "/p/x.so");
  return v;
}

static void a_description_survives_the_trip(void **state) {
  (void)state;
  value_auto struct value *v = stage("hls"), *back = NULL;
  struct stage_type *t = NULL, *again = NULL;
  struct error e = {0};
  if (stage_type_from_value(v, &t, &e)) fail_msg("%s", e.message);
  back = stage_type_to_value(t);
  assert_int_equal(stage_type_from_value(back, &again, &e), ERR_OK);
  value_auto struct value *third = stage_type_to_value(again);
  assert_true(value_equal(back, third));
  assert_int_equal(stage_type_param(again, "rung")->fields[0].takes, SM_TAKES_INT);
  assert_int_equal(stage_type_result(again, "frame_rate")->available, SM_AT_END);
  assert_non_null(stage_type_input(again, "file"));
  assert_null(stage_type_output(again, "file"));
  stage_type_free(&t);
  stage_type_free(&again);
}

static void refused(struct value *moved, const char *why) {
  value_auto struct value *v = moved;
  struct stage_type *t = NULL;
  struct error e = {0};
  assert_int_equal(stage_type_from_value(v, &t, &e), ERR_INVALID);
  assert_null(t);
  if (!strstr(e.message, why)) fail_msg("'%s' does not say '%s'", e.message, why);
}

static struct value *with(const char *key, struct value *item) {
  struct value *v = stage("hls");
  value_map_set(v, key, item);
  return v;
}

static struct value *list_of(struct value *a, struct value *b) {
  struct value *list = value_list();
  value_list_add(list, a);
  if (b) value_list_add(list, b);
  return list;
}

static void bad_rows_are_named(void **state) {
  (void)state;
  refused(value_int(1), "no map");
  refused(stage("Bad Name"), "'name'");
  refused(stage(""), "'name'");
  refused(with("kind", value_int(SM_KIND_SINK + 1)), "'kind'");
  refused(with("params", list_of(param("ok", 1), param("ok", 1))), "parameter 2: 'name' repeats");
  refused(with("params", list_of(param("ok", SM_TAKES_RECORD << 1), NULL)), "parameter 1: 'takes'");
  refused(with("outputs", list_of(port("a", SM_PORT_PACKETS + 1, NULL), NULL)), "outputs 1: 'kind'");
  refused(with("inputs", value_text("no")), "'inputs' is no list");
  struct value *many = value_list();
  for (int i = 0; i < 257; i++) value_list_add(many, value_map());
  refused(with("results", many), "more than 256");
  mem_auto char *text = mem_alloc(5001);
  memset(text, 'x', 5000);
  refused(with("summary", value_text(text)), "4096");
  struct value *deep = param("p", SM_TAKES_RECORD);
  for (int i = 0; i < 8; i++) {
    struct value *outer = param("p", SM_TAKES_RECORD);
    value_map_set(outer, "fields", list_of(deep, NULL));
    deep = outer;
  }
  refused(with("params", list_of(deep, NULL)), "nested too deeply");
}

static bool meets(const char *output, const char *input) {
  char *a = (char *)(uintptr_t)output, *b = (char *)(uintptr_t)input;
  struct port_type from = {.kind = SM_PORT_ARTIFACT, .types = &a, .type_count = 1};
  struct port_type to = {.kind = SM_PORT_ARTIFACT, .types = &b, .type_count = 1};
  return port_types_match(&from, &to);
}

static void media_types_meet_by_half_and_wildcard(void **state) {
  (void)state;
  assert_true(meets("image/jpeg", "*/*"));
  assert_true(meets("image/jpeg", "image/*"));
  assert_true(meets("*/*", "video/mp4"));
  assert_true(meets("image/jpeg", "IMAGE/JPEG"));
  assert_false(meets("image/jpeg", "image/png"));
  assert_false(meets("image/jpeg", "video/*"));
  assert_false(meets("imag/jpeg", "image/*"));
  struct port_type frames = {.kind = SM_PORT_VIDEO}, sound = {.kind = SM_PORT_AUDIO};
  assert_true(port_types_match(&frames, &frames));
  assert_false(port_types_match(&frames, &sound));
}

static struct stage_type *made(const char *name) {
  value_auto struct value *v = stage(name);
  struct stage_type *t = NULL;
  assert_int_equal(stage_type_from_value(v, &t, NULL), ERR_OK);
  return t;
}

static void a_set_is_sorted_shared_and_keeps_the_first(void **state) {
  (void)state;
  struct stage_set *set = stage_set_new(), *other = stage_set_ref(set);
  struct error e;
  assert_int_equal(stage_set_add(set, made("probe"), &e), ERR_OK);
  assert_int_equal(stage_set_add(set, made("hls"), &e), ERR_OK);
  assert_int_equal(stage_set_add(set, made("upload"), &e), ERR_OK);
  assert_int_equal(stage_set_add(set, made("hls"), &e), ERR_CONFLICT);
  assert_non_null(strstr(e.message, "/p/x.so"));
  stage_set_unref(&set);
  assert_null(set);
  assert_int_equal(stage_set_count(other), 3);
  assert_string_equal(stage_set_at(other, 0)->name, "hls");
  assert_string_equal(stage_set_at(other, 2)->name, "upload");
  assert_null(stage_set_at(other, 3));
  assert_non_null(stage_set_find(other, "probe"));
  assert_null(stage_set_find(other, "prob"));
  stage_set_unref(&other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_description_survives_the_trip),
      cmocka_unit_test(bad_rows_are_named),
      cmocka_unit_test(media_types_meet_by_half_and_wildcard),
      cmocka_unit_test(a_set_is_sorted_shared_and_keeps_the_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
