/* The expression language, frozen: what each expression gives, what is refused before a run, what fails in one.
 * pipelines/README.md describes it; a change here is a change of the language. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "pipeline/expr.h"

/* The names that the tables below use. */
static struct value *name_value(const char *name) {
  if (!strcmp(name, "text")) return value_text("Hello");
  if (!strcmp(name, "empty")) return value_text("");
  if (!strcmp(name, "int")) return value_int(7);
  if (!strcmp(name, "number")) return value_number(2.5);
  if (!strcmp(name, "flag")) return value_bool(true);
  if (!strcmp(name, "time")) return value_of(VALUE_DURATION, 90000000, 0);
  if (!strcmp(name, "size")) return value_of(VALUE_SIZE, 1000000, 0);
  if (!strcmp(name, "rate")) return value_of(VALUE_BITRATE, 800000, 0);
  if (!strcmp(name, "share")) return value_of(VALUE_PERCENT, 0, 10);
  if (!strcmp(name, "a-b_c")) return value_text("dashed");
  if (strcmp(name, "list") != 0) return value_null();
  struct value *list = value_list();
  value_list_add(list, value_text("en"));
  value_list_add(list, value_text("de"));
  return list;
}

static struct value *lookup(void *context, const struct reference *r) {
  (void)context;
  if (r->kind == REFERENCE_STAGE) return name_value(r->key);
  struct value *v = name_value(r->name);
  if (r->kind == REFERENCE_SECRET) v->secret = true;
  return v;
}

static bool status(void *context, const char *function) {
  (void)context;
  return strcmp(function, "always") == 0 || strcmp(function, "failure") == 0;
}

static const struct scope scope = {lookup, status, NULL};

static type_set type_of(void *context, const struct reference *r) {
  (void)context;
  struct value *v = r->kind == REFERENCE_STAGE ? name_value(r->key) : name_value(r->name);
  /* A result that is null here has a type in its stage's table. */
  enum value_type null_type = r->key && strcmp(r->key, "no-time") == 0   ? VALUE_DURATION
                              : r->key && strcmp(r->key, "no-text") == 0 ? VALUE_TEXT
                                                                         : VALUE_INT;
  type_set set =
      type_bit(v->type == VALUE_NULL ? null_type : v->type) | (r->kind == REFERENCE_STAGE ? type_bit(VALUE_NULL) : 0);
  value_free(&v);
  return set;
}

/* "type value", as the tables write it. */
static char *shown(const struct value *v) {
  buf_auto struct buf json = {0};
  if (v->type == VALUE_DURATION) return mem_format("duration %lldus", (long long)v->integer);
  value_json(&json, v, VALUE_JSON_COMPACT);
  return mem_format("%s %s", value_type_word(v->type), buf_string(&json));
}

static const struct {
  const char *text, *gives;
} good[] = {
    /* literals */
    {"null", "null null"},
    {"true", "boolean true"},
    {"12", "integer 12"},
    {"1.5", "number 1.5"},
    {"'it''s'", "text \"it's\""},
    {"''", "text \"\""},
    {"6s", "duration 6000000us"},
    {"1m30s", "duration 90000000us"},
    {"250ms", "duration 250000us"},
    {"2h", "duration 7200000000us"},
    {"800k", "integer 800000"},
    {"1.5G", "integer 1500000000"},
    {"2Ki", "integer 2048"},
    {"10%", "percentage 10"},
    {"0.1", "number 0.1"},
    /* references */
    {"params.text", "text \"Hello\""},
    {"params.a-b_c", "text \"dashed\""},
    {"stages.x-1.int", "integer 7"},
    {"stages.x.null", "null null"},
    {"job.text", "text \"Hello\""},
    {"secrets.text", "text \"***\""},
    {" params . text ", "text \"Hello\""},
    /* precedence */
    {"1 + 2 * 3", "integer 7"},
    {"(1 + 2) * 3", "integer 9"},
    {"10 - 2 - 3", "integer 5"},
    {"-2 * -3", "integer 6"},
    {"2 + 3 > 4 && !false", "boolean true"},
    {"true || false && false", "boolean true"},
    {"1 < 2 == true", "boolean true"},
    {"null ?? 1 + 1", "integer 2"},
    {"null ?? null ?? 3", "integer 3"},
    {"null ?? false || true", "boolean true"},
    {"!true == false", "boolean true"},
    {"- - 3", "integer 3"},
    {"!!'x'", "boolean true"},
    /* arithmetic */
    {"7 / 2", "number 3.5"},
    {"6 / 2", "integer 3"},
    {"7 % 4", "integer 3"},
    {"-7 % 4", "integer -3"},
    {"7.5 % 2", "number 1.5"},
    {"1 + 0.5", "number 1.5"},
    {"6s + 500ms", "duration 6500000us"},
    {"1m - 1s", "duration 59000000us"},
    {"2s * 3", "duration 6000000us"},
    {"3 * 2s", "duration 6000000us"},
    {"3s / 2", "duration 1500000us"},
    {"3s / 2s", "number 1.5"},
    {"7s % 3s", "duration 1000000us"},
    {"params.size + 24", "size 1000024"},
    {"params.rate * 2", "bitrate 1600000"},
    {"params.rate / params.rate", "number 1.0"},
    {"10% * params.time", "duration 9000000us"},
    {"params.time * 50%", "duration 45000000us"},
    {"10% * 200", "number 20.0"},
    {"10% + 5%", "percentage 15"},
    {"50% * 50%", "percentage 25"},
    {"-6s", "duration -6000000us"},
    {"10 % 4", "integer 2"},
    {"10%4", NULL},
    /* comparing */
    {"1 == 1.0", "boolean true"},
    {"'a' == 'A'", "boolean false"},
    {"'a' < 'b'", "boolean true"},
    {"6s == 6000ms", "boolean true"},
    {"params.time > 1m", "boolean true"},
    {"params.size >= 1M", "boolean true"},
    {"params.rate < 1M", "boolean true"},
    {"params.share == 10%", "boolean true"},
    {"params.time > 0", "boolean true"},
    {"0 < 5%", "boolean true"},
    {"params.flag == true", "boolean true"},
    {"params.list == params.list", "boolean true"},
    {"params.list != null", "boolean true"},
    /* null */
    {"null == null", "boolean true"},
    {"stages.x.null == null", "boolean true"},
    {"stages.x.int != null", "boolean true"},
    {"stages.x.int < stages.x.null", "boolean false"},
    {"stages.x.null < stages.x.int", "boolean false"},
    {"stages.x.null + 1", "null null"},
    {"-stages.x.null", "null null"},
    {"stages.x.null && true", "boolean false"},
    {"stages.x.null ?? 'none'", "text \"none\""},
    {"1s + stages.x.no-time ?? 5s", "duration 5000000us"},
    /* truth */
    {"!0", "boolean true"},
    {"!''", "boolean true"},
    {"!0s", "boolean true"},
    {"!params.list", "boolean false"},
    {"'x' && 2", "boolean true"},
    {"false || ''", "boolean false"},
    /* && and || look at the right side only when it matters */
    {"false && 1 / 0 > 1", "boolean false"},
    {"true || 1 / 0 > 1", "boolean true"},
    {"1 ?? 1 / 0", "integer 1"},
    /* functions */
    {"format('{}-{}!', 'a', 5)", "text \"a-5!\""},
    {"format('{{}}')", "text \"{}\""},
    {"format('{} {} {} {}', 90s, 10%, true, null)", "text \"90s 10% true \""},
    {"format('{}', 0.25s)", "text \"0.25s\""},
    {"contains('hello', 'ell')", "boolean true"},
    {"contains(params.list, 'de')", "boolean true"},
    {"contains(params.list, 'fr')", "boolean false"},
    {"contains(list('a', 'b'), 'b')", "boolean true"},
    {"length(list('a', stages.x.no-text, 5))", "integer 2"},
    {"contains(stages.x.no-text, 'a')", "boolean false"},
    {"starts-with('s3://x', 's3://')", "boolean true"},
    {"ends-with('a.mp4', '.mp4')", "boolean true"},
    {"ends-with('4', '.mp4')", "boolean false"},
    {"lower('ÄBc')", "text \"Äbc\""},
    {"upper('abc')", "text \"ABC\""},
    {"length('größe')", "integer 5"},
    {"length(params.list)", "integer 2"},
    {"min(3, 1, 2)", "integer 1"},
    {"max(1s, 2m)", "duration 120000000us"},
    {"min(1, stages.x.null)", "null null"},
    {"round(2.5)", "integer 3"},
    {"floor(-2.5)", "integer -3"},
    {"ceil(2.1)", "integer 3"},
    {"always()", "boolean true"},
    {"failure() && !success() && !cancelled()", "boolean true"},
    {"9223372036854775807", NULL},
    {"999999999999999999 + 1", "integer 1000000000000000000"},
};

static void every_expression_gives_what_the_reference_says(void **state) {
  (void)state;
  int failed = 0;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct expr *x = NULL;
    struct expr_problem problem = {0};
    struct error e = {0};
    struct value *v = NULL;
    type_set types = 0;
    enum err err = expr_parse(good[i].text, &x, &problem);
    if (!err) err = expr_check(x, type_of, NULL, &types, &problem);
    if (!err) err = expr_eval(x, &scope, &v, &e);
    mem_auto char *got = err ? mem_format("refused: %s%s", problem.message, e.message) : shown(v);
    bool right = good[i].gives ? !err && strcmp(got, good[i].gives) == 0 : err != ERR_OK;
    bool foretold = err || (types & type_bit(v->type));
    if (!right)
      print_message("%s\n  gives    %s\n  expected %s\n", good[i].text, got,
                    good[i].gives ? good[i].gives : "a refusal");
    if (!foretold) print_message("%s: the check did not foresee type %s\n", good[i].text, value_type_word(v->type));
    failed += !right || !foretold;
    value_free(&v);
    expr_free(&x);
  }
  assert_int_equal(failed, 0);
}

/* Refused before a run, with the place and what the sentence has to say. */
static const struct {
  const char *text;
  size_t offset;
  const char *says;
} bad[] = {
    {"", 0, "ends where a value"},
    {"1 +", 3, "ends where a value"},
    {"1 2", 2, "an operator or the end"},
    {"(1", 2, "`)`"},
    {"a", 0, "unknown word"},
    {"params", 6, ".NAME"},
    {"params.", 7, ".NAME"},
    {"stages.x", 8, ".RESULT"},
    {"stages.x.y.z", 10, "no parts"},
    {"pramas.x", 0, "did you mean `params`"},
    {"lenght('a')", 0, "did you mean `length`"},
    {"length()", 0, "takes 1 argument"},
    {"min()", 0, "takes 1 or more"},
    {"length('a',)", 11, "an argument"},
    {"length", 6, "`(`"},
    {"'abc", 0, "quote"},
    {"\"abc\"", 0, "single quotes"},
    {"a = b", 0, "unknown word"},
    {"1 = 1", 2, "`==`"},
    {"1 & 1", 2, "`&&`"},
    {"1 | 1", 2, "`||`"},
    {"1 # 1", 2, "cannot stand here"},
    {"1 < 2 < 3", 6, "do not chain"},
    {"1 == 2 == 3", 7, "do not chain"},
    {"5x", 0, "no number"},
    {"1..2", 0, "no number"},
    {"1s30m", 0, "no number"},
    {"1.5s30ms", 0, "no number"},
    {"\x01", 0, "inside quotes"},
    /* types that can never fit */
    {"params.time > 1", 0, "written with a unit"},
    {"params.time + 1", 0, "written with a unit"},
    {"params.text > 1", 0, "text and integer"},
    {"'a' + 'b'", 0, "format("},
    {"params.size > 1s", 0, "does not fit"},
    {"params.size + params.rate", 0, "does not fit"},
    {"params.share > 10", 0, "does not fit"},
    {"params.text == 1", 0, "does not fit"},
    {"params.flag < true", 0, "does not fit"},
    {"-params.text", 0, "before text"},
    {"params.list > params.list", 0, "does not fit"},
    {"length(5)", 7, "cannot take"},
    {"contains(5, 'a')", 9, "cannot take"},
    {"list(list(1))", 5, "cannot take"},
    {"lower(1)", 6, "cannot take"},
    {"min(1, 'a')", 7, "cannot take"},
    {"round('a')", 6, "cannot take"},
    {"format(1)", 7, "cannot take"},
    {"stages.x.text * 2", 0, "does not fit"},
};

static void every_mistake_is_told_with_its_place(void **state) {
  (void)state;
  int failed = 0;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct expr *x = NULL;
    struct expr_problem problem = {.offset = 999};
    type_set types;
    enum err err = expr_parse(bad[i].text, &x, &problem);
    if (!err) err = expr_check(x, type_of, NULL, &types, &problem);
    bool right = err == ERR_INVALID && problem.offset == bad[i].offset && strstr(problem.message, bad[i].says);
    if (!right)
      print_message("%s: %s at %zu: %s (expected %zu, %s)\n", bad[i].text, err_word(err), problem.offset,
                    problem.message, bad[i].offset, bad[i].says);
    failed += !right;
    expr_free(&x);
  }
  assert_int_equal(failed, 0);
}

/* Types may be unknown until a run (a parameter of several kinds): then it is the run that refuses. */
static const struct {
  const char *text, *says;
} failing[] = {{"1 / 0", "division by zero"},     {"1 % 0", "division by zero"},
               {"1s / 0", "division by zero"},    {"999999999999999999 * 999999999999", "too large"},
               {"999999999999G", NULL},           {"format('{}')", "more {} than values"},
               {"format('x', 1)", "more values"}, {"format('{')", "brace"}};

static void what_cannot_be_computed_is_an_error_with_its_expression(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
    struct expr *x = NULL;
    struct expr_problem problem = {0};
    struct error e = {0};
    struct value *v = NULL;
    if (expr_parse(failing[i].text, &x, &problem)) {
      assert_null(failing[i].says);
      continue;
    }
    enum err err = expr_eval(x, &scope, &v, &e);
    if (failing[i].says) {
      assert_int_equal(err, ERR_INVALID);
      assert_null(v);
      assert_non_null(strstr(e.message, failing[i].says));
      assert_non_null(strstr(e.message, "${{"));
    }
    value_free(&v);
    expr_free(&x);
  }
}

static void long_and_deep_expressions_are_refused(void **state) {
  (void)state;
  buf_auto struct buf deep = {0}, wide = {0}, nots = {0};
  struct expr *x = NULL;
  struct expr_problem problem;
  for (int i = 0; i < 1000; i++) buf_char(&deep, '('), buf_char(&nots, '!');
  for (int i = 0; i < 1000; i++) buf_text(&wide, "1+");
  buf_char(&wide, '1');
  assert_int_equal(expr_parse(buf_string(&deep), &x, &problem), ERR_INVALID);
  assert_int_equal(expr_parse(buf_string(&nots), &x, &problem), ERR_INVALID);
  assert_int_equal(expr_parse(buf_string(&wide), &x, &problem), ERR_INVALID);
  for (int i = 0; i < 10000; i++) buf_text(&wide, "          ");
  assert_int_equal(expr_parse(buf_string(&wide), &x, &problem), ERR_INVALID);
  assert_null(x);
}

static struct value *filled(const char *text) {
  struct template *t = NULL;
  struct expr_problem problem = {0};
  struct error e = {0};
  struct value *v = NULL;
  if (template_parse(text, &t, &problem)) fail_msg("%s: %s", text, problem.message);
  if (template_eval(t, &scope, &v, &e)) fail_msg("%s: %s", text, e.message);
  template_free(&t);
  return v;
}

static void a_single_expression_keeps_its_type_and_more_make_text(void **state) {
  (void)state;
  static const char *const table[][2] = {{"${{ params.int }}", "integer 7"},
                                         {"w${{ params.int }}", "text \"w7\""},
                                         {"${{ params.int }}${{ params.time }}", "text \"790s\""},
                                         {"plain", "text \"plain\""},
                                         {"", "text \"\""},
                                         {"${{ '}}' }}", "text \"}}\""},
                                         {"${{ '${{' }}", "text \"${{\""},
                                         {"a ${{ stages.x.null }} b", "text \"a  b\""},
                                         {"$ {{ x }} $}", "text \"$ {{ x }} $}\""}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    value_auto struct value *v = filled(table[i][0]);
    mem_auto char *got = shown(v);
    assert_string_equal(got, table[i][1]);
  }
}

static void what_touches_a_secret_is_secret(void **state) {
  (void)state;
  static const char *const secret[] = {"${{ secrets.text }}",
                                       "Bearer ${{ secrets.text }}",
                                       "${{ upper(secrets.text) }}",
                                       "${{ format('{}:{}', 'u', secrets.text) }}",
                                       "${{ stages.x.null ?? secrets.text }}",
                                       "${{ min(secrets.text, 'a') }}"};
  for (size_t i = 0; i < sizeof secret / sizeof *secret; i++) {
    value_auto struct value *v = filled(secret[i]);
    assert_true(v->secret);
  }
  value_auto struct value *plain = filled("${{ params.text }}");
  assert_false(plain->secret);
}

static void status_functions_are_known_to_the_planner(void **state) {
  (void)state;
  struct expr *x = NULL;
  struct expr_problem problem;
  assert_int_equal(expr_parse("  params.x && failure()  ", &x, &problem), ERR_OK);
  assert_true(expr_asks_status(x) && expr_runs_after_failure(x));
  assert_string_equal(expr_text(x), "params.x && failure()");
  expr_free(&x);
  assert_int_equal(expr_parse("success()", &x, &problem), ERR_OK);
  assert_true(expr_asks_status(x) && !expr_runs_after_failure(x));
  expr_free(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_expression_gives_what_the_reference_says),
      cmocka_unit_test(every_mistake_is_told_with_its_place),
      cmocka_unit_test(what_cannot_be_computed_is_an_error_with_its_expression),
      cmocka_unit_test(long_and_deep_expressions_are_refused),
      cmocka_unit_test(a_single_expression_keeps_its_type_and_more_make_text),
      cmocka_unit_test(what_touches_a_secret_is_secret),
      cmocka_unit_test(status_functions_are_known_to_the_planner),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
