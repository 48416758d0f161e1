/* Errors, buffers, clocks, digests and log lines: what people get to read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

static void errors_carry_code_sentence_and_cause(void **state) {
  (void)state;
  struct error e;
  assert_int_equal(error_errno(&e, ENOSPC, "cannot write %s", "a.ts"), ERR_NO_SPACE);
  assert_string_equal(e.message, "cannot write a.ts: No space left on device");
  assert_non_null(strstr(e.debug, "28"));
  error_prefix(&e, "stage '%s'", "hls");
  assert_string_equal(e.message, "stage 'hls': cannot write a.ts: No space left on device");
  assert_int_equal(error_set(&e, ERR_STALE, "again: %s", e.message), ERR_STALE);
  assert_string_equal(e.message, "again: stage 'hls': cannot write a.ts: No space left on device");
  assert_string_equal(e.debug, "");
  assert_string_equal(err_word(ERR_NO_SPACE), "no-space");
  assert_int_equal(error_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

static void a_cut_sentence_ends_on_a_whole_character(void **state) {
  (void)state;
  struct error e;
  char text[1024];
  for (size_t shift = 0; shift < 3; shift++) {
    memset(text, 'x', shift);
    for (size_t i = shift; i + 4 < sizeof(text); i += 3) memcpy(text + i, "\xe2\x82\xac", 4);
    error_set(&e, ERR_INVALID, "%s", text);
    size_t size = strlen(e.message);
    assert_true(size > 500 && size < sizeof(e.message));
    assert_memory_equal(e.message + size - 3, "\xe2\x82\xac", 3);
  }
}

static void json_text_is_escaped_and_always_utf8(void **state) {
  (void)state;
  struct buf buf_auto b = {0};
  static const char hostile[] = "a\"\\\n\x01\xff\xc0\x80\xed\xa0\x80\xe2\x82\xac\0z";
  buf_json_text(&b, hostile, sizeof(hostile) - 1);
  const char *bad = "\xef\xbf\xbd";
  mem_auto char *wanted =
      mem_format("\"a\\\"\\\\\\n\\u0001%s%s%s%s%s%s\xe2\x82\xac\\u0000z\"", bad, bad, bad, bad, bad, bad);
  assert_string_equal(buf_string(&b), wanted);
}

static void a_buffer_grows_is_taken_and_starts_anew(void **state) {
  (void)state;
  struct buf b = {0};
  assert_string_equal(buf_string(&b), "");
  for (int i = 0; i < 1000; i++) buf_format(&b, "%d,", i);
  assert_int_equal(b.size, strlen(b.data));
  mem_auto char *text = buf_take(&b);
  assert_true(strncmp(text, "0,1,2,", 6) == 0);
  assert_int_equal(b.size, 0);
  mem_auto char *empty = buf_take(&b);
  assert_string_equal(empty, "");
}

static void times_read_as_people_and_rfc3339_write_them(void **state) {
  (void)state;
  char out[32];
  assert_string_equal(clock_format(1769860800123456, out), "2026-01-31T12:00:00.123Z");
  assert_string_equal(clock_format(-1, out), "1969-12-31T23:59:59.999Z");
  assert_string_equal(clock_format(INT64_MAX, out), "9999-12-31T23:59:59.999Z");
  int64_t us = 0;
  assert_true(clock_parse("2026-01-31T12:00:00.123Z", &us) && us == 1769860800123000);
  assert_true(clock_parse("2026-01-31T13:30+01:30", &us) && us == 1769860800000000);
  assert_true(clock_parse("2024-02-29", &us) && us == 1709164800000000);
  assert_true(clock_parse("2026-01-31t12:00:00.123456789z", &us) && us == 1769860800123456);
  assert_true(clock_parse("2026-01-31 12:00:00", &us) && us == 1769860800000000);
  assert_false(clock_parse("2026-01-31T12:00:00.123456789012345678901234567890", &us));
  assert_false(clock_parse("2026-01-31T12:00:00+1", &us));
  assert_false(clock_parse("2026-01-31T12:00:00Zulu", &us));
  static const char *const wrong[] = {"", "2026", "2026-02-29", "2026-1-31", "2026-01-31T", "2026-01-31T25:00Z", "2026-13-01 12:00",
                                      "2026-01-31T12:00Z ", "2026-01-31T12:00:00.Z", "tomorrow", "2026-13-01"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(clock_parse(wrong[i], &us));
  assert_string_equal(clock_human(850000, out), "850 ms");
  assert_string_equal(clock_human(2500000, out), "2.5 s");
  assert_string_equal(clock_human(6000000, out), "6 s");
  assert_string_equal(clock_human(200000000, out), "3 min 20 s");
  assert_string_equal(clock_human(7500000000, out), "2 h 5 min");
  assert_string_equal(clock_human(59960000, out), "1 min");
  assert_string_equal(clock_human(INT64_MIN, out), "-106751991 d 4 h");
}

static void digests_match_the_published_vectors(void **state) {
  (void)state;
  char hex[65]; /* FIPS 180-2, appendix B */
  digest_of("abc", 3, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  digest_of("", 0, hex);
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  FILE *f = tmpfile();
  fputs("abc", f);
  fflush(f);
  int64_t size = 0;
  assert_int_equal(digest_of_fd(fileno(f), hex, &size, NULL), ERR_OK);
  assert_int_equal(size, 3);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  fclose(f);
  struct error e;
  assert_int_equal(digest_of_fd(-1, hex, NULL, &e), ERR_IO);
}

static void read_back(int fd, char *out, size_t room) {
  ssize_t n = pread(fd, out, room - 1, 0);
  out[n > 0 ? n : 0] = '\0';
}

static void log_lines_name_their_job_and_hide_secrets(void **state) {
  (void)state;
  FILE *f = tmpfile();
  char text[2048];
  log_open(fileno(f), LOG_LEVEL_INFO, false);
  log_secret_add("hunter2");
  log_secret_add("hunter2-longer");
  log_secret_add("abc"); /* too short: would hide half of every line */
  log_context("j1", "hls", NULL, NULL);
  log_info("key hunter2-longer and hunter2hunter2, abc\nforged line");
  log_debug("not shown");
  read_back(fileno(f), text, sizeof(text));
  assert_non_null(strstr(text, " info    job=j1 stage=hls key *** and ******, abc forged line\n"));
  assert_null(strstr(text, "not shown"));
  assert_int_equal(ftruncate(fileno(f), 0), 0);
  lseek(fileno(f), 0, SEEK_SET);
  log_open(fileno(f), LOG_LEVEL_DEBUG, true);
  log_context(NULL, NULL, NULL, NULL);
  log_debug("say \"hunter2\"");
  read_back(fileno(f), text, sizeof(text));
  assert_non_null(strstr(text, "\"level\":\"debug\",\"message\":\"say \\\"***\\\"\"}\n"));
  log_open(STDERR_FILENO, LOG_LEVEL_INFO, false);
  fclose(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errors_carry_code_sentence_and_cause),
      cmocka_unit_test(a_cut_sentence_ends_on_a_whole_character),
      cmocka_unit_test(json_text_is_escaped_and_always_utf8),
      cmocka_unit_test(a_buffer_grows_is_taken_and_starts_anew),
      cmocka_unit_test(times_read_as_people_and_rfc3339_write_them),
      cmocka_unit_test(digests_match_the_published_vectors),
      cmocka_unit_test(log_lines_name_their_job_and_hide_secrets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
