/* The SDK's examples and template do what the manual says of them, and cope with hosts that lack a service. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness.h"

static void read_text(const char *path, char *to, size_t size) {
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  size_t n = fread(to, 1, size - 1, file);
  to[n] = 0;
  fclose(file);
}

static void digest_is_the_digest(void **state) {
  static const struct {
    const char *algorithm, *hex;
  } cases[] = {/* of "hello, this is not a film\n" */
               {NULL, DIGEST_SHA256},
               {"md5", DIGEST_MD5}};
  char text[128];
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct harness *h = harness_create(EXAMPLES "/digest.so", "digest");
    harness_input(h, "file", MEDIA "/text.mp4", "text/plain");
    if (cases[i].algorithm) harness_set(h, "algorithm", cases[i].algorithm);
    assert_int_equal(harness_run(h), SM_OK);
    assert_string_equal(harness_result_text(h, "hex"), cases[i].hex);
    read_text(harness_output_at(h, 0)->path, text, sizeof text);
    text[strcspn(text, "\n")] = 0;
    assert_string_equal(text, cases[i].hex);
    assert_true(harness_progress(h) == 1);
    harness_destroy(&h);
  }
}

static void digest_stops_and_fails_properly(void **state) {
  (void)state;
  struct harness *h = harness_create(EXAMPLES "/digest.so", "digest");
  assert_int_equal(harness_run(h), SM_FAIL);
  assert_non_null(strstr(harness_message(h), "give the job a file"));
  harness_destroy(&h);
  h = harness_create(EXAMPLES "/digest.so", "digest");
  harness_input(h, "file", MEDIA "/clip.mp4", "video/mp4");
  harness_cancel_after(h, 2);
  assert_int_equal(harness_run(h), SM_CANCELLED);
  assert_int_equal(harness_output_count(h), 0);
  harness_destroy(&h);
}

static void services_that_a_host_lacks_answer_and_do_not_crash(void **state) {
  (void)state;
  for (uint32_t bytes = 0; bytes <= sizeof(sm_host); bytes += 8) {
    struct harness *h = harness_create(EXAMPLES "/digest.so", "digest");
    struct sm_task *task = (struct sm_task *)h;
    sm_input input;
    harness_shrink_host(h, bytes);
    bool all = bytes == sizeof(sm_host);
    assert_int_equal(sm_plan_note(task, "output", "x", 0),
                     bytes >= offsetof(sm_host, extension) ? SM_OK : SM_UNSUPPORTED);
    assert_int_equal(sm_attempt(task), 1);
    if (!all && bytes < offsetof(sm_host, input)) {
      assert_int_equal(sm_input_info(task, "file", 0, &input), SM_UNSUPPORTED);
      assert_int_equal(sm_input_open(task, "file", 0), -1);
      assert_null(sm_output_path(task, "digest", "x"));
      assert_false(sm_param_given(task, "algorithm"));
      assert_false(sm_cancelled(task));
      assert_int_equal(sm_progress(task, 0, NULL), SM_UNSUPPORTED);
      assert_int_equal(sm_fail(task, SM_RETRY, NULL, "%s", "x"), SM_RETRY);
      sm_log(task, SM_LOG_INFO, "x");
    }
    assert_null(sm_extension(task, "none/1"));
    harness_destroy(&h);
  }
}

static void media_services_that_a_host_lacks_answer_and_do_not_crash(void **state) {
  struct harness *h = harness_create(EXAMPLES "/grayscale.so", "grayscale");
  struct sm_task *task = (struct sm_task *)h;
  sm_source source;
  int64_t time = 0;
  (void)state;
  ((sm_media_host *)task->media_host)->size = 8;
  assert_int_equal(sm_emit(task, 0, NULL), SM_UNSUPPORTED);
  assert_int_equal(sm_source_info(task, &source), SM_UNSUPPORTED);
  assert_int_equal(sm_only_at(task, 0, &time, 1, 0), SM_UNSUPPORTED);
  task->media_host = NULL; /* a task stage that calls them by mistake */
  assert_int_equal(sm_emit_nothing_before(task, 0, 0), SM_UNSUPPORTED);
  harness_destroy(&h);
}

static void grayscale_takes_the_colour_out(void **state) {
  static const struct {
    const char *amount;
    int keep;
  } cases[] = {{NULL, 0}, {"50%", 1}};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct harness *h = harness_create(EXAMPLES "/grayscale.so", "grayscale");
    if (cases[i].amount) harness_set(h, "amount", cases[i].amount);
    assert_int_equal(harness_play(h, &(struct harness_clip){.path = MEDIA "/odd.mkv"}), SM_OK); /* 4:4:4, odd sides */
    assert_int_equal(harness_emitted_count(h), 25);
    int strongest = 0;
    for (size_t k = 0; k < harness_emitted_count(h); k++) {
      const AVFrame *f = harness_emitted(h, k);
      for (int y = 0; y < (f->height + 1) / 2; y++)
        for (int x = 0; x < (f->width + 1) / 2; x++) {
          int off = abs(f->data[1][y * f->linesize[1] + x] - 128);
          strongest = off > strongest ? off : strongest;
        }
    }
    if (cases[i].keep) assert_in_range(strongest, 40, 64);
    else assert_int_equal(strongest, 0);
    harness_destroy(&h);
  }
}

static void the_template_copies(void **state) {
  char from[128], to[128];
  (void)state;
  struct harness *h = harness_create(EXAMPLES "/my_stage.so", "my-stage");
  harness_input(h, "file", MEDIA "/text.mp4", "text/plain");
  assert_int_equal(harness_run(h), SM_OK);
  read_text(MEDIA "/text.mp4", from, sizeof from);
  read_text(harness_output_at(h, 0)->path, to, sizeof to);
  assert_string_equal(from, to);
  assert_int_equal(harness_result_int(h, "bytes"), strlen(from));
  harness_destroy(&h);
  h = harness_create(EXAMPLES "/my_stage.so", "my-stage");
  harness_set(h, "name", "../escape");
  assert_int_equal(harness_run(h), SM_FAIL);
  harness_destroy(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(digest_is_the_digest),
    cmocka_unit_test(digest_stops_and_fails_properly),
    cmocka_unit_test(services_that_a_host_lacks_answer_and_do_not_crash),
    cmocka_unit_test(media_services_that_a_host_lacks_answer_and_do_not_crash),
    cmocka_unit_test(grayscale_takes_the_colour_out),
    cmocka_unit_test(the_template_copies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
