/* Lines in both forms carry the same; credentials are seen by their names and their shape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/value.h"

static char *said(FILE *f, char text[2048]) {
  ssize_t n = pread(fileno(f), text, 2047, 0);
  text[n > 0 ? n : 0] = '\0';
  assert_int_equal(ftruncate(fileno(f), 0), 0);
  lseek(fileno(f), 0, SEEK_SET);
  return text;
}

static void both_forms_carry_the_same_and_switch_while_running(void **state) {
  (void)state;
  FILE *f = tmpfile();
  char text[2048];
  log_open(fileno(f), LOG_LEVEL_WARNING, false);
  log_context("j1", "stream", "2", "org.example.x");
  log_info("quiet");
  assert_string_equal(said(f, text), "");
  log_switch(LOG_LEVEL_INFO, false);
  log_info("loud");
  said(f, text);
  assert_string_equal(text + 24, " info    job=j1 stage=stream attempt=2 plugin=org.example.x loud\n");
  log_switch(LOG_LEVEL_DEBUG, true);
  assert_int_equal(log_lowest(), LOG_LEVEL_DEBUG);
  log_debug("loud");
  value_auto struct value *line = NULL;
  said(f, text);
  assert_int_equal(value_from_json(text, strlen(text), &line, NULL), 0);
  static const char *const members[][2] = {{"level", "debug"},          {"job", "j1"},
                                           {"stage", "stream"},         {"attempt", "2"},
                                           {"plugin", "org.example.x"}, {"message", "loud"}};
  for (size_t i = 0; i < 6; i++) assert_string_equal(value_get_text(line, members[i][0], ""), members[i][1]);
  assert_int_equal(strlen(value_get_text(line, "at", "")), 24);
  log_context(NULL, NULL, NULL, NULL);
  log_open(STDERR_FILENO, LOG_LEVEL_INFO, false);
  fclose(f);
}

static void levels_have_words(void **state) {
  (void)state;
  enum log_level level;
  assert_true(log_level_from_word("warning", &level));
  assert_int_equal(level, LOG_LEVEL_WARNING);
  assert_false(log_level_from_word("?", &level));
  assert_string_equal(log_level_word(LOG_LEVEL_ERROR), "error");
}

static void credentials_are_seen_by_name_and_shape(void **state) {
  (void)state;
  static const char *const lines[][2] = {
      {"GET /ws?jobId=1&token=abcdef&x=1 101", "GET /ws?jobId=1&token=***&x=1 101"},
      {"?ticket=abcdef", "?ticket=***"},
      {"?X-Amz-Signature=00ff&a", "?X-Amz-Signature=***&a"},
      {"access_TOKEN=abcdef.", "access_TOKEN=***"},
      {"Authorization: Bearer abc.def", "Authorization: Bearer ***"},
      {"authorization: basic dTpw, Host: x", "authorization: basic ***, Host: x"},
      {"Authorization: raw-key here", "Authorization: *** here"},
      {"X-Drive-Token: ya29.abc", "X-Drive-Token: ***"},
      {"{\"token\": \"abcdef\", \"a\": 1}", "{\"token\": \"***\", \"a\": 1}"},
      {"{\"password\":\"\"}", "{\"password\":\"\"}"},
      {"sent with bearer xyz", "sent with bearer ***"},
      {"got eyJhbGciOiJ.eyJzdWIiOiJhIn0.c2lnbmF0dXJl!", "got ***!"},
      {"the token: it expired", "the token: it expired"},
      {"tokens, tickets and secrets are fine; token=", "tokens, tickets and secrets are fine; token="},
      {"t=a token=x", "t=a token=*"},
      {"eyJ.eyJ.x and eyJhbGciOiJ alone", "eyJ.eyJ.x and eyJhbGciOiJ alone"},
      {"", ""},
  };
  for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
    char text[200];
    snprintf(text, sizeof(text), "%s", lines[i][0]);
    log_scrub_credentials(text);
    assert_string_equal(text, lines[i][1]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_forms_carry_the_same_and_switch_while_running),
      cmocka_unit_test(levels_have_words),
      cmocka_unit_test(credentials_are_seen_by_name_and_shape),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
