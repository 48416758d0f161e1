/* What a scripted job looks like: plain lines, JSON, silence, and bars in a narrow terminal. */
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "bench.h"
#include "cli/bars.h"
#include "cli/command.h"
#include "cli/screen.h"

static const char *const script[] = {
    "{\"type\":\"state\",\"jobId\":\"j\",\"seq\":1,\"status\":\"queued\",\"pct\":0,\"stages\":[]}",
    "{\"type\":\"stage\",\"jobId\":\"j\",\"seq\":2,\"stage\":\"poster\",\"status\":\"started\",\"title\":\"stills\"}",
    "{\"type\":\"progress\",\"jobId\":\"j\",\"seq\":2,\"pct\":40,\"stage\":\"poster\",\"stagePct\":50,\"message\":\"half\"}",
    "{\"type\":\"retrying\",\"jobId\":\"j\",\"seq\":3,\"stage\":\"poster\",\"currentAttempt\":1,\"maxAttempts\":4,"
    "\"delayMs\":2000,\"error\":\"no \\u001b[31mluck\\u009b\"}",
    "{\"type\":\"progress\",\"jobId\":\"j\",\"seq\":3,\"pct\":40,\"message\":\"the disk is full\"}",
    "{\"type\":\"stage\",\"jobId\":\"j\",\"seq\":4,\"stage\":\"poster\",\"status\":\"finished\",\"artifacts\":2,"
    "\"durationMs\":1500}",
    "{\"type\":\"stage\",\"jobId\":\"j\",\"seq\":5,\"stage\":\"up\",\"status\":\"skipped\",\"reason\":\"if: false\"}",
    "{\"type\":\"completed\",\"jobId\":\"j\",\"seq\":6,\"result\":{\"n\":3,\"said\":\"hi\"}}"};
enum { LINES = sizeof script / sizeof *script };

static char out[65536], err[65536];
static int code;

static void read_back(const char *path, char *text, size_t size) {
  buf_auto struct buf content = {0};
  assert_int_equal(fs_read_file(path, size - 1, &content, NULL), ERR_OK);
  snprintf(text, size, "%s", buf_string(&content));
  unlink(path);
}

/* Runs events through a screen with stdout and stderr in files. */
static void show(enum screen_mode mode, const char *const *events, size_t count) {
  char out_path[] = "/tmp/stagemill-out-XXXXXX", err_path[] = "/tmp/stagemill-err-XXXXXX";
  int saved[2] = {dup(1), dup(2)}, files[2] = {mkstemp(out_path), mkstemp(err_path)};
  fflush(NULL);
  dup2(files[0], 1);
  dup2(files[1], 2);
  struct screen *screen = screen_new(mode, "/tmp/out");
  code = -1;
  for (size_t i = 0; i < count; i++) {
    value_auto struct value *event = bench_json(events[i]);
    screen_event(screen, event, events[i]);
    int now = screen_outcome(screen, event);
    if (now >= 0) code = now;
  }
  screen_free(&screen);
  fflush(NULL);
  for (int i = 0; i < 2; i++) {
    dup2(saved[i], i + 1);
    close(saved[i]);
    close(files[i]);
  }
  read_back(out_path, out, sizeof out);
  read_back(err_path, err, sizeof err);
}

static void says(const char *text, const char *what) {
  if (!strstr(text, what)) fail_msg("'%s' is not in:\n%s", what, text);
}

static void test_plain_lines(void **state) {
  (void)state;
  show(SCREEN_LINES, script, LINES);
  assert_int_equal(code, CLI_DONE);
  assert_string_equal(out, "n: 3\nsaid: hi\n");
  says(err, "poster       started: stills\n");
  says(err, "poster       attempt 1 of 4 failed: no  [31mluck");
  says(err, "next attempt in 2 s");
  says(err, "the disk is full\n");
  says(err, "poster       finished in 1.5 s, 2 files\n");
  says(err, "up           skipped: if: false\n");
  says(err, "completed: /tmp/out\n");
  assert_null(strchr(err, '\x1b'));
  assert_null(strstr(err, "\xc2\x9b"));
}

static void test_json_is_the_events_as_they_came(void **state) {
  (void)state;
  show(SCREEN_JSON, script, LINES);
  buf_auto struct buf all = {0};
  for (size_t i = 0; i < LINES; i++) buf_format(&all, "%s\n", script[i]);
  assert_string_equal(out, buf_string(&all));
  assert_string_equal(err, "");
  assert_int_equal(code, CLI_DONE);
}

static void test_quiet_says_nothing_unless_it_fails(void **state) {
  (void)state;
  static const char *const failed[] = {
      "{\"type\":\"failed\",\"jobId\":\"j\",\"seq\":1,\"stage\":\"a\",\"error\":\"bad \\u001b]0;x\\u0007clip\"}"};
  show(SCREEN_QUIET, script, LINES);
  assert_string_equal(out, "");
  assert_string_equal(err, "");
  show(SCREEN_QUIET, failed, 1);
  assert_int_equal(code, CLI_FAILED);
  says(err, "the job failed in stage a: bad  ]0;x clip");
}

static void test_cancelled_and_states_that_are_ends(void **state) {
  (void)state;
  static const char *const cancelled[] = {"{\"type\":\"cancelled\",\"jobId\":\"j\",\"seq\":1,\"published\":[]}"};
  static const char *const before[] = {
      "{\"type\":\"state\",\"jobId\":\"j\",\"seq\":9,\"status\":\"completed\",\"result\":{\"a\":true}}"};
  show(SCREEN_LINES, cancelled, 1);
  assert_int_equal(code, CLI_CANCELLED);
  show(SCREEN_LINES, before, 1);
  assert_int_equal(code, CLI_DONE);
  assert_string_equal(out, "a: true\n");
}

/* What bars write into a terminal of this size, without the escape sequences that move and colour. */
static void draw(unsigned short columns, unsigned short rows, const char *tail, unsigned lines) {
  struct winsize size = {.ws_col = columns, .ws_row = rows};
  int master, slave;
  assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
  struct bars *bars = bars_new(slave);
  bars_begin(bars);
  for (unsigned i = 0; i < lines; i++) bars_line(bars, "stage-with-a-long-name", 0.5, tail);
  bars_force(bars);
  char raw[16384];
  ssize_t n = read(master, raw, sizeof raw - 1);
  raw[n > 0 ? n : 0] = '\0';
  size_t used = 0;
  for (const char *at = raw; *at; at++) {
    if (*at == '\r') continue;
    if (*at == '\x1b') {
      while (*++at && !((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z'))) continue;
      continue;
    }
    out[used++] = *at;
  }
  out[used] = '\0';
  close(master);
  bars_free(&bars);
  close(slave);
}

static unsigned widest(unsigned *lines) {
  unsigned most = 0, now = 0;
  *lines = 0;
  for (const char *at = out; *at; at++) {
    now = *at == '\n' ? 0 : now + 1;
    if (now > most) most = now;
    *lines += *at == '\n';
  }
  return most;
}

static void test_bars_never_wrap_and_never_scroll(void **state) {
  (void)state;
  static const unsigned short widths[] = {1, 10, 26, 40, 48, 60, 80, 200};
  unsigned lines;
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
    draw(widths[i], 24, "a message that is much longer than any terminal of this test is wide, so that it must be cut off", 3);
    unsigned width = widest(&lines);
    if (widths[i] >= 26 && width >= widths[i]) fail_msg("%u columns in %u:\n%s", width, widths[i], out);
    assert_int_equal(lines, 3);
  }
  draw(80, 5, "x", 40);
  widest(&lines);
  assert_true(lines <= 4);
  draw(80, 24, "\x1b[2Jboo\xff", 1);
  assert_non_null(strstr(out, "[2Jboo."));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain_lines), cmocka_unit_test(test_json_is_the_events_as_they_came),
      cmocka_unit_test(test_quiet_says_nothing_unless_it_fails), cmocka_unit_test(test_cancelled_and_states_that_are_ends),
      cmocka_unit_test(test_bars_never_wrap_and_never_scroll)};
  setenv("NO_COLOR", "1", 1);
  setenv("LC_ALL", "C", 1);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
