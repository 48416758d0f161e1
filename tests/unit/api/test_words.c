/* Priorities, page marks, and what is shown of what was submitted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/parts.h"
#include "base/mem.h"

static bool priority(struct value *moved, int32_t wanted) {
  int32_t n = -1;
  bool good = api_priority(moved, &n) && n == wanted;
  value_free(&moved);
  return good;
}

static void priorities(void **state) {
  (void)state;
  assert_true(priority(value_text("high"), 75) && priority(value_text("normal"), 50) && priority(value_text("low"), 25));
  assert_true(priority(value_int(0), 0) && priority(value_int(100), 100));
  assert_false(priority(value_int(101), 101) || priority(value_int(-1), -1) || priority(value_text("urgent"), -1) ||
               priority(value_number(50), 50) || priority(value_null(), -1));
}

static void page_marks(void **state) {
  (void)state;
  mem_auto char *cursor = api_cursor_make("01k3xq7v9s2m4t6w8y0z1a3c5e");
  mem_auto char *mark = api_cursor_read(cursor);
  assert_string_equal(mark, "01k3xq7v9s2m4t6w8y0z1a3c5e");
  assert_null(strpbrk(cursor, "+/= "));
  static const char *const bad[] = {"", "@", "AAAA", "a", "YQ==", "Y Q"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_null(api_cursor_read(bad[i]));
}

static void urls_lose_their_credentials(void **state) {
  (void)state;
  static const struct {
    const char *url, *shown;
  } rows[] = {
      {"plain text", "plain text"},
      {"https://a.example/x", "https://a.example/x"},
      {"https://user:pass@a.example/x@y", "https://***@a.example/x@y"},
      {"https://a@b@c.example/", "https://***@c.example/"},
      {"https://a.example/x?token=abc&b=c", "https://a.example/x?token=***&b=c"},
      {"https://a.example/x?X-Amz-Credential=a%2Fb&X-Amz-Signature=1#t", "https://a.example/x?X-Amz-Credential=***&X-Amz-Signature=***#t"},
      {"s3://bucket/key", "s3://bucket/key"},
      {"https://a.example/?monkey=1&KEY=2", "https://a.example/?monkey=1&KEY=***"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    mem_auto char *shown = api_masked_url(rows[i].url);
    assert_string_equal(shown, rows[i].shown);
  }
}

static void parameters_lose_their_secrets(void **state) {
  (void)state;
  static const char json[] = "{\"text\":\"x\",\"db_password\":\"p\",\"list\":[\"https://u:p@h/\"],\"n\":4,\"nested\":{\"apiKey\":\"k\",\"api-key\":\"\"}}";
  struct value *v = NULL;
  struct buf out = {0};
  assert_int_equal(value_from_json(json, sizeof json - 1, &v, NULL), ERR_OK);
  struct value *shown = api_masked(NULL, v);
  value_json(&out, shown, VALUE_JSON_COMPACT);
  assert_string_equal(buf_string(&out), "{\"text\":\"x\",\"db_password\":\"***\",\"list\":[\"https://***@h/\"],\"n\":4,"
                                        "\"nested\":{\"apiKey\":\"***\",\"api-key\":\"\"}}");
  value_free(&shown);
  value_free(&v);
  buf_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(priorities), cmocka_unit_test(page_marks),
                                     cmocka_unit_test(urls_lose_their_credentials),
                                     cmocka_unit_test(parameters_lose_their_secrets)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
