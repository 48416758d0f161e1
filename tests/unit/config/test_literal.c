/* The grammar of values with units, frozen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "config/literal.h"

static char *shown(const struct value *v) {
  buf_auto struct buf b = {0};
  buf_format(&b, "%s ", value_type_word(v->type));
  if (v->type == VALUE_DURATION)
    buf_format(&b, "%lld", (long long)v->integer);
  else
    value_json(&b, v, VALUE_JSON_COMPACT);
  return buf_take(&b);
}

static const struct {
  uint32_t takes;
  const char *text, *gives; /* NULL: refused */
} table[] = {
    {SM_TAKES_DURATION, "6s", "duration 6000000"},
    {SM_TAKES_DURATION, "250ms", "duration 250000"},
    {SM_TAKES_DURATION, "1m30s", "duration 90000000"},
    {SM_TAKES_DURATION, "2h", "duration 7200000000"},
    {SM_TAKES_DURATION, "1d", "duration 86400000000"},
    {SM_TAKES_DURATION, "1.5s", "duration 1500000"},
    {SM_TAKES_DURATION, "0", "duration 0"},
    {SM_TAKES_DURATION, "500us", "duration 500"},
    {SM_TAKES_DURATION, "1h1m1s1ms1us", "duration 3661001001"},
    {SM_TAKES_DURATION, "6", NULL},
    {SM_TAKES_DURATION, "s", NULL},
    {SM_TAKES_DURATION, "6 s", NULL},
    {SM_TAKES_DURATION, "30s1m", NULL},
    {SM_TAKES_DURATION, "1m1m", NULL},
    {SM_TAKES_DURATION, "1.5m10s", NULL},
    {SM_TAKES_DURATION, "-5s", NULL},
    {SM_TAKES_DURATION, "6S", NULL},
    {SM_TAKES_DURATION, "6sec", NULL},
    {SM_TAKES_DURATION, ".5s", NULL},
    {SM_TAKES_DURATION, "5.s", NULL},
    {SM_TAKES_DURATION, "99999999999999999d", NULL},
    {SM_TAKES_DURATION, "00:00:05", NULL},
    {SM_TAKES_SIZE, "64M", "size 64000000"},
    {SM_TAKES_SIZE, "1.5G", "size 1500000000"},
    {SM_TAKES_SIZE, "64Mi", "size 67108864"},
    {SM_TAKES_SIZE, "2Ki", "size 2048"},
    {SM_TAKES_SIZE, "10", "size 10"},
    {SM_TAKES_SIZE, "1Ti", "size 1099511627776"},
    {SM_TAKES_SIZE, "1.5", NULL},
    {SM_TAKES_SIZE, "64MB", NULL},
    {SM_TAKES_SIZE, "64m", NULL},
    {SM_TAKES_SIZE, "2ki", NULL},
    {SM_TAKES_SIZE, "-1", NULL},
    {SM_TAKES_SIZE, "99999999999T", NULL},
    {SM_TAKES_BITRATE, "800k", "bitrate 800000"},
    {SM_TAKES_BITRATE, "5M", "bitrate 5000000"},
    {SM_TAKES_BITRATE, "128000", "bitrate 128000"},
    {SM_TAKES_BITRATE, "2.5M", "bitrate 2500000"},
    {SM_TAKES_BITRATE, "1Ki", NULL},
    {SM_TAKES_BITRATE, "800kbps", NULL},
    {SM_TAKES_PERCENT, "10%", "percentage 10"},
    {SM_TAKES_PERCENT, "12.5%", "percentage 12.5"},
    {SM_TAKES_PERCENT, "100%", "percentage 100"},
    {SM_TAKES_PERCENT, "101%", NULL},
    {SM_TAKES_PERCENT, "-1%", NULL},
    {SM_TAKES_PERCENT, "10", NULL},
    {SM_TAKES_PERCENT, "%", NULL},
    {SM_TAKES_BOOL, "true", "boolean true"},
    {SM_TAKES_BOOL, "false", "boolean false"},
    {SM_TAKES_BOOL, "yes", NULL},
    {SM_TAKES_BOOL, "on", NULL},
    {SM_TAKES_BOOL, "True", NULL},
    {SM_TAKES_BOOL, "1", NULL},
    {SM_TAKES_INT, "42", "integer 42"},
    {SM_TAKES_INT, "-7", "integer -7"},
    {SM_TAKES_INT, "1.5", NULL},
    {SM_TAKES_INT, "010", NULL},
    {SM_TAKES_INT, "0x10", NULL},
    {SM_TAKES_INT, "1e3", NULL},
    {SM_TAKES_INT, "99999999999999999999", NULL},
    {SM_TAKES_INT, "1_000", NULL},
    {SM_TAKES_INT, "800k", NULL},
    {SM_TAKES_INT, "", NULL},
    {SM_TAKES_NUMBER, "1.5", "number 1.5"},
    {SM_TAKES_NUMBER, "-0.25", "number -0.25"},
    {SM_TAKES_NUMBER | SM_TAKES_INT, "3", "integer 3"},
    {SM_TAKES_NUMBER, "nan", NULL},
    {SM_TAKES_NUMBER, ".inf", NULL},
    {SM_TAKES_NUMBER, "1e9", NULL},
    {SM_TAKES_DURATION | SM_TAKES_PERCENT, "10%", "percentage 10"},
    {SM_TAKES_DURATION | SM_TAKES_PERCENT, "10s", "duration 10000000"},
    {SM_TAKES_DURATION | SM_TAKES_INT, "48", "integer 48"},
    {SM_TAKES_TEXT, "640", "text \"640\""},
    {SM_TAKES_TEXT | SM_TAKES_INT, "640", "integer 640"},
    {SM_TAKES_TEXT, "", "text \"\""},
    {SM_TAKES_FILE, "", NULL},
    {SM_TAKES_TARGET, "", "text \"\""},
};

static void every_literal_gives_what_the_reference_says(void **state) {
  (void)state;
  int failed = 0;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct rule rule = {.key = "x", .takes = table[i].takes};
    struct value *v = NULL;
    buf_auto struct buf why = {0};
    enum err err = literal_parse(&rule, table[i].text, true, &v, &why);
    mem_auto char *got = err ? mem_text(NULL) : shown(v);
    bool right = table[i].gives ? got && strcmp(got, table[i].gives) == 0 : err == ERR_INVALID && why.size;
    if (!right)
      print_message("%s: %s, expected %s\n", table[i].text, got ? got : buf_string(&why),
                    table[i].gives ? table[i].gives : "refusal");
    failed += !right;
    value_free(&v);
  }
  assert_int_equal(failed, 0);
}

static void quotes_make_text_only_where_text_is_taken(void **state) {
  (void)state;
  struct rule both = {.takes = SM_TAKES_TEXT | SM_TAKES_INT}, whole = {.takes = SM_TAKES_INT},
              time = {.takes = SM_TAKES_DURATION};
  struct value *v = NULL;
  buf_auto struct buf why = {0};
  assert_int_equal(literal_parse(&both, "640", false, &v, &why), ERR_OK);
  assert_int_equal(v->type, VALUE_TEXT);
  value_free(&v);
  assert_int_equal(literal_parse(&whole, "640", false, &v, &why), ERR_OK);
  assert_int_equal(v->type, VALUE_INT);
  value_free(&v);
  assert_int_equal(literal_parse(&time, "6s", false, &v, &why), ERR_OK);
  value_free(&v);
}

static void what_literal_text_writes_is_read_back(void **state) {
  (void)state;
  static const struct {
    uint32_t takes;
    const char *text, *written;
  } rows[] = {{SM_TAKES_DURATION, "1m30s", "90s"},
              {SM_TAKES_DURATION, "250ms", "0.25s"},
              {SM_TAKES_DURATION, "1us", "0.000001s"},
              {SM_TAKES_PERCENT, "12.5%", "12.5%"},
              {SM_TAKES_NUMBER, "0.00001", NULL},
              {SM_TAKES_NUMBER, "123456789012345", "123456789012345"},
              {SM_TAKES_SIZE, "1.5G", "1500000000"},
              {SM_TAKES_BOOL, "true", "true"},
              {SM_TAKES_INT, "-7", "-7"},
              {SM_TAKES_NUMBER, "0.1", "0.1"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct rule rule = {.takes = rows[i].takes};
    value_auto struct value *v = NULL, *again = NULL;
    buf_auto struct buf why = {0}, text = {0};
    assert_int_equal(literal_parse(&rule, rows[i].text, true, &v, &why), ERR_OK);
    assert_true(literal_text(v, &text));
    if (rows[i].written) assert_string_equal(buf_string(&text), rows[i].written);
    assert_int_equal(literal_parse(&rule, buf_string(&text), true, &again, &why), ERR_OK);
    assert_true(value_equal(v, again));
  }
}

static void sentences_say_what_is_valid(void **state) {
  (void)state;
  static const struct {
    struct rule rule;
    const char *text, *says;
  } rows[] = {
      {{.takes = SM_TAKES_DURATION}, "10", "`10` is not a duration (6s, 250ms, 1m30s); a duration needs a unit: 10s"},
      {{.takes = SM_TAKES_INT, .min = 16, .max = 8192, .unit = "px"},
       "8",
       "`8` is out of range: it has to be from 16 to 8192 px"},
      {{.takes = SM_TAKES_KEYWORD, .choices = "fast|medium|slow"},
       "fats",
       "`fats` is not one of fast, medium, slow; did you mean `fast`?"},
      {{.takes = SM_TAKES_SIZE}, "-5", "`-5` is negative: it has to be 0 or more"},
      {{.takes = SM_TAKES_INT | SM_TAKES_PERCENT, .min = 0, .max = 8192},
       "200%",
       "`200%` is out of range: it has to be from 0% to 100%"},
      {{.takes = SM_TAKES_INT, .flags = SM_REPEATED}, "x", "`x` is not a whole number, or a list of such"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct value *v = NULL;
    buf_auto struct buf why = {0};
    assert_int_equal(literal_parse(&rows[i].rule, rows[i].text, true, &v, &why), ERR_INVALID);
    assert_string_equal(buf_string(&why), rows[i].says);
  }
}

static void typed_values_are_made_to_fit(void **state) {
  (void)state;
  static const struct rule fields[] = {
      {.key = "width", .takes = SM_TAKES_INT, .min = 1, .max = 10, .flags = SM_REQUIRED},
      {.key = "rate", .takes = SM_TAKES_BITRATE},
      {0}};
  static const struct {
    struct rule rule;
    const char *json, *gives; /* gives begins with ! for a refusal: "!where why" */
  } rows[] = {
      {{.takes = SM_TAKES_SIZE}, "5", "size 5"},
      {{.takes = SM_TAKES_INT}, "5.0", "integer 5"},
      {{.takes = SM_TAKES_INT}, "5.5", "! `5.5` is not a whole number"},
      {{.takes = SM_TAKES_TEXT}, "true", "text \"true\""},
      {{.takes = SM_TAKES_DURATION}, "\"6s\"", "duration 6000000"},
      {{.takes = SM_TAKES_DURATION}, "0", "duration 0"},
      {{.takes = SM_TAKES_DURATION}, "5", "! `5` is not a duration (6s, 250ms, 1m30s); a duration needs a unit: 5s"},
      {{.takes = SM_TAKES_INT, .flags = SM_REPEATED}, "5", "list [5]"},
      {{.takes = SM_TAKES_INT, .flags = SM_REPEATED}, "[5,\"x\"]", "!1 `x` is not a whole number"},
      {{.takes = SM_TAKES_INT}, "[5]", "! `a list` is not a whole number"},
      {{.takes = SM_TAKES_INT}, "null", "! null is not a whole number"},
      {{.takes = SM_TAKES_RECORD, .fields = fields},
       "{\"width\":5,\"rate\":\"1M\"}",
       "map {\"width\":5,\"rate\":1000000}"},
      {{.takes = SM_TAKES_RECORD, .fields = fields, .flags = SM_REPEATED},
       "[{\"width\":50}]",
       "!0.width `50` is out of range: it has to be from 1 to 10"},
      {{.takes = SM_TAKES_RECORD, .fields = fields}, "{}", "!width `width` is required and has no value"},
      {{.takes = SM_TAKES_RECORD, .fields = fields}, "{\"hight\":5}", "! unknown key `hight`"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    value_auto struct value *in = NULL, *out = NULL;
    buf_auto struct buf where = {0}, why = {0};
    assert_int_equal(value_from_json(rows[i].json, strlen(rows[i].json), &in, NULL), ERR_OK);
    enum err err = literal_convert(&rows[i].rule, in, &out, &where, &why);
    mem_auto char *got = err ? mem_format("!%s %s", buf_string(&where), buf_string(&why)) : shown(out);
    assert_string_equal(got, rows[i].gives);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_literal_gives_what_the_reference_says),
      cmocka_unit_test(quotes_make_text_only_where_text_is_taken),
      cmocka_unit_test(what_literal_text_writes_is_read_back),
      cmocka_unit_test(sentences_say_what_is_valid),
      cmocka_unit_test(typed_values_are_made_to_fit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
