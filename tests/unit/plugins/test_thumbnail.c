/* thumbnail: the exact frame, size, format, names, early end, unknown durations. The clips `levels.*` carry their time
 * in their brightness (20 levels a second), so that a picture tells which frame it is. */
#include <stdarg.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness.h"
#include "image.h"

#define CLIP(name)                                                                                                     \
  &(struct harness_clip) { .path = MEDIA "/" name }

static struct harness *start(void) { return harness_create(PLUGIN_FILE, "thumbnail"); }

/* The time of a frame of levels.*: 16 + 20 t in limited range. */
static double time_in(const char *path, enum AVCodecID codec) {
  double mean[3];
  AVFrame *rgb = image_load(path, codec);
  image_mean(rgb, 0, 0, rgb->width, rgb->height, mean);
  av_frame_free(&rgb);
  return mean[1] * 219 / 255 / 20;
}

static double png_time(const struct harness *h, size_t index) {
  return time_in(harness_output_at(h, index)->path, AV_CODEC_ID_PNG);
}

static void assert_time(double got, double expected) {
  if (fabs(got - expected) > 0.03) fail_msg("the picture shows %.3f s, not %.3f s", got, expected);
}

static double meta(const struct harness *h, size_t index, const char *key) {
  json_t *all = json_loads(harness_output_at(h, index)->metadata, 0, NULL);
  assert_non_null(all);
  double n = json_number_value(json_object_get(all, key));
  json_decref(all);
  return n;
}

static void takes_the_exact_frame_of_a_time(void **state) {
  for (int all = 0; all < 2; all++) {
    struct harness *h = start();
    (void)state;
    harness_set(h, "at", "3.25s"); /* between the frames of 3.2 and 3.3 s */
    harness_set(h, "format", "png");
    harness_play(h, &(struct harness_clip){.path = MEDIA "/levels.mp4", .decode_all = all});
    assert_int_equal(harness_output_count(h), 1);
    assert_string_equal(harness_output_at(h, 0)->name, "poster.png");
    assert_string_equal(harness_output_at(h, 0)->type, "image/png");
    assert_time(png_time(h, 0), 3.2);
    assert_int_equal(harness_result_int(h, "at"), 3200000);
    assert_string_equal(harness_result_text(h, "file"), "under-test/poster.png");
    assert_string_equal(harness_result_text(h, "method"), "time");
    assert_true(fabs(meta(h, 0, "at") - 3.2) < 1e-6);
    harness_destroy(&h);
  }
}

static void asks_the_host_to_seek_when_times_are_known(void **state) {
  const int64_t *times;
  (void)state;
  struct harness *h = start();
  harness_set(h, "at", "50%");
  harness_set(h, "at", "1s");
  assert_int_equal(harness_play(h, CLIP("levels.mp4")), SM_DONE); /* a frame starts at 4 s: no need for the next */
  assert_int_equal(harness_only_at(h, &times), 2);
  assert_int_equal(times[0], 1000000);
  assert_int_equal(times[1], 4000000);
  assert_int_equal(harness_frames_given(h), 2);
  /* numbered as written, not by time */
  assert_string_equal(harness_output_at(h, 0)->name, "thumb_001.jpg");
  assert_time(meta(h, 0, "at"), 4.0);
  assert_time(meta(h, 1, "at"), 1.0);
  assert_time(time_in(harness_output_at(h, 0)->path, AV_CODEC_ID_MJPEG), 4.0);
  harness_destroy(&h);
}

static void ends_early_once_every_picture_is_taken(void **state) {
  (void)state;
  struct harness *h = start();
  harness_set(h, "at", "10%");
  assert_int_equal(harness_play(h, &(struct harness_clip){.path = MEDIA "/levels.mp4", .decode_all = true}), SM_DONE);
  assert_true(harness_frames_given(h) <= 10); /* of 80 */
  assert_int_equal(harness_output_count(h), 1);
  assert_string_equal(harness_result_text(h, "method"), "percentage of the stated duration");
  assert_true(harness_progress(h) > 0.99);
  harness_destroy(&h);
}

static void a_tenth_is_the_default(void **state) {
  (void)state;
  struct harness *h = start();
  harness_play(h, CLIP("levels.mp4"));
  assert_string_equal(harness_output_at(h, 0)->name, "poster.jpg");
  assert_string_equal(harness_output_at(h, 0)->type, "image/jpeg");
  assert_time(meta(h, 0, "at"), 0.8);
  harness_destroy(&h);
}

static void every_makes_a_row_of_pictures_with_a_cap(void **state) {
  (void)state;
  for (int unknown = 0; unknown < 2; unknown++) {
    struct harness *h = start();
    harness_set(h, "every", "2s");
    harness_set(h, "format", "png");
    harness_set(h, "name", "tile");
    harness_play(h, &(struct harness_clip){.path = MEDIA "/levels.mp4", .unknown_duration = unknown});
    assert_int_equal(harness_output_count(h), 4);
    for (size_t i = 0; i < 4; i++) assert_time(png_time(h, i), (double)i * 2);
    assert_string_equal(harness_output_at(h, 3)->name, "tile_004.png");
    assert_int_equal(harness_result_int(h, "count"), 4);
    assert_string_equal(harness_result(h, "files")->items, "tile_001.png\ntile_002.png\ntile_003.png\ntile_004.png\n");
    harness_destroy(&h);
    h = start();
    harness_set(h, "every", "500ms");
    harness_set(h, "max", "3");
    harness_play(h, &(struct harness_clip){.path = MEDIA "/levels.mp4", .unknown_duration = unknown});
    assert_int_equal(harness_output_count(h), 3);
    harness_destroy(&h);
  }
}

static void a_percentage_of_an_unknown_duration_is_chosen_at_the_end(void **state) {
  (void)state;
  struct harness *h = start();
  harness_set(h, "at", "25%");
  harness_set(h, "at", "75%");
  harness_set(h, "at", "1s");
  harness_set(h, "format", "png");
  assert_int_equal(harness_play(h, &(struct harness_clip){.path = MEDIA "/levels.mkv", .unknown_duration = true}),
                   SM_OK);
  assert_int_equal(harness_only_at(h, NULL), 0);
  assert_int_equal(harness_output_count(h), 3);
  assert_string_equal(harness_result_text(h, "method"), "candidates");
  assert_true(fabs(png_time(h, 0) - 2.0) <= 0.55); /* the nearest keyframe, one a second */
  assert_true(fabs(png_time(h, 1) - 6.0) <= 0.55);
  assert_time(png_time(h, 2), 1.0);
  harness_destroy(&h);
}

static void keeps_few_candidates_of_a_long_video(void **state) {
  sm_stream in = {.kind = SM_STREAM_VIDEO,
                  .port = "video",
                  .time_base = {1, 10},
                  .width = 64,
                  .height = 48,
                  .pixel_format = AV_PIX_FMT_YUV420P};
  (void)state;
  struct harness *h = start();
  harness_set(h, "at", "50%");
  harness_set(h, "format", "png");
  assert_int_equal(harness_media_open(h, &in, 1, 0), SM_OK);
  AVFrame *frame = av_frame_alloc();
  frame->width = 64, frame->height = 48, frame->format = AV_PIX_FMT_YUV420P;
  assert_int_equal(av_frame_get_buffer(frame, 0), 0);
  for (int i = 0; i < 20000; i++) {
    frame->pts = i;
    frame->key_frame = i < 5000 && i % 7 == 0; /* none in the rest */
    memset(frame->data[0], 16 + i * 200 / 20000, (size_t)frame->linesize[0] * 48);
    memset(frame->data[1], 128, (size_t)frame->linesize[1] * 24);
    memset(frame->data[2], 128, (size_t)frame->linesize[2] * 24);
    assert_int_equal(harness_media_frame(h, 0, frame), SM_OK);
  }
  assert_int_equal(harness_media_flush(h, 0), SM_OK);
  assert_int_equal(harness_media_close(h, SM_OK), SM_OK);
  av_frame_free(&frame);
  if (fabs(meta(h, 0, "at") - 1000) > 70) fail_msg("the middle of 2000 s is %.1f s", meta(h, 0, "at"));
  harness_destroy(&h);
}

static void keeps_the_aspect(void **state) {
  static const struct {
    const char *width, *height;
    int w, h;
  } cases[] = {{NULL, NULL, 640, 360},
               {"320", NULL, 320, 180},
               {NULL, "90", 160, 90},
               {"100", "100", 100, 56},
               {"1280", NULL, 1280, 720}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct harness *h = start();
    if (cases[i].width) harness_set(h, "width", cases[i].width);
    if (cases[i].height) harness_set(h, "height", cases[i].height);
    harness_set(h, "at", "1s");
    harness_play(h, CLIP("clip.mp4"));
    AVFrame *image = image_load(harness_output_at(h, 0)->path, AV_CODEC_ID_MJPEG);
    assert_int_equal(image->width, cases[i].w);
    assert_int_equal(image->height, cases[i].h);
    assert_int_equal(harness_result_int(h, "width"), cases[i].w);
    assert_int_equal((int)meta(h, 0, "height"), cases[i].h);
    av_frame_free(&image);
    harness_destroy(&h);
  }
}

static void odd_sizes_and_formats_work(void **state) {
  (void)state;
  for (int png = 0; png < 2; png++) {
    struct harness *h = start();
    harness_set(h, "format", png ? "png" : "jpeg");
    harness_play(h, CLIP("odd.mkv"));
    AVFrame *image = image_load(harness_output_at(h, 0)->path, png ? AV_CODEC_ID_PNG : AV_CODEC_ID_MJPEG);
    assert_int_equal(image->width, 333);
    assert_int_equal(image->height, 77);
    av_frame_free(&image);
    harness_destroy(&h);
  }
}

static void colours_are_right(void **state) {
  static const uint8_t limited[2][3] = {{63, 102, 240}, {81, 90, 240}}; /* red in BT.709 and BT.601 */
  (void)state;
  for (int i = 0; i < 2; i++) {
    sm_stream in = {.kind = SM_STREAM_VIDEO, .port = "video", .time_base = {1, 10}, .width = 64, .height = 64};
    double mean[3];
    struct harness *h = start();
    harness_set(h, "at", "0s");
    harness_set(h, "quality", "100");
    assert_int_equal(harness_media_open(h, &in, 1, 1000000), SM_OK);
    assert_int_equal(in.want_sdr, 1);
    AVFrame *frame = av_frame_alloc();
    frame->width = frame->height = 64, frame->format = AV_PIX_FMT_YUV420P, frame->pts = 0;
    frame->colorspace = i ? AVCOL_SPC_SMPTE170M : AVCOL_SPC_BT709;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    for (int p = 0; p < 3; p++) memset(frame->data[p], limited[i][p], (size_t)frame->linesize[p] * (p ? 32 : 64));
    assert_int_equal(harness_media_frame(h, 0, frame), SM_DONE);
    assert_int_equal(harness_media_close(h, SM_DONE), SM_OK);
    AVFrame *image = image_load(harness_output_at(h, 0)->path, AV_CODEC_ID_MJPEG);
    image_mean(image, 16, 16, 32, 32, mean);
    if (mean[0] < 248 || mean[1] > 8 || mean[2] > 8) fail_msg("red became %.0f %.0f %.0f", mean[0], mean[1], mean[2]);
    av_frame_free(&image);
    av_frame_free(&frame);
    harness_destroy(&h);
  }
}

static void a_time_after_the_end_is_the_last_frame(void **state) {
  (void)state;
  for (int mode = 0; mode < 3; mode++) {
    struct harness *h = start();
    harness_set(h, "at", "1h"); /* one written time is one picture, wherever it lies */
    harness_set(h, "format", "png");
    harness_play(
      h, &(struct harness_clip){.path = MEDIA "/levels.mp4", .decode_all = mode == 1, .unknown_duration = mode == 2});
    assert_time(png_time(h, 0), 7.9);
    harness_destroy(&h);
  }
}

static void one_frame_is_enough(void **state) {
  static const char *const times[] = {"0s", "50%", "10s"};
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    struct harness *h = start();
    harness_set(h, "at", times[i]);
    harness_play(h, CLIP("one.mp4"));
    assert_int_equal(harness_output_count(h), 1);
    harness_destroy(&h);
  }
}

static void quality_changes_the_size_of_the_file(void **state) {
  static const char *const levels[] = {"10", "80", "100"};
  long sizes[3];
  (void)state;
  for (int i = 0; i < 3; i++) {
    struct harness *h = start();
    harness_set(h, "at", "1s");
    harness_set(h, "quality", levels[i]);
    harness_play(h, CLIP("clip.mp4"));
    FILE *file = fopen(harness_output_at(h, 0)->path, "rb");
    fseek(file, 0, SEEK_END);
    sizes[i] = ftell(file);
    fclose(file);
    harness_destroy(&h);
  }
  assert_true(sizes[0] * 3 < sizes[1] * 2 && sizes[1] * 3 < sizes[2] * 2);
}

static void skips_black_when_asked(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; mode++) {
    struct harness *h = start();
    harness_set(h, "at", "500ms"); /* black until 2 s */
    harness_set(h, "skip-black", "true");
    sm_status status = harness_play(h, &(struct harness_clip){.path = MEDIA "/black_first.mp4", .decode_all = mode});
    assert_true(status == SM_OK || status == SM_DONE);
    assert_time(meta(h, 0, "at"), 2.5);
    assert_int_equal(harness_output_count(h), 1);
    harness_destroy(&h);
  }
  struct harness *h = start();
  harness_set(h, "at", "500ms");
  harness_play(h, CLIP("black_first.mp4"));
  assert_time(meta(h, 0, "at"), 0.5);
  harness_destroy(&h);
}

static void failure_case(const char *file, const char *key, const char *value, const char *words) {
  char path[512];
  struct harness *h = start();
  snprintf(path, sizeof path, "%s/%s", MEDIA, file);
  if (key) harness_set(h, key, value);
  if (key && strcmp(key, "every") == 0) harness_set(h, "at", "1s");
  assert_int_equal(harness_play(h, &(struct harness_clip){.path = path}), SM_FAIL);
  if (!strstr(harness_message(h), words)) fail_msg("'%s' does not say '%s'", harness_message(h), words);
  assert_int_equal(harness_output_count(h), 0);
  harness_destroy(&h);
}

static void says_why_it_cannot(void **state) {
  (void)state;
  failure_case("audio.mp3", NULL, NULL, "there is no video to take pictures of");
  failure_case("clip.mp4", "every", "1s", "`at` and `every` contradict each other");
  failure_case("clip.mp4", "name", "../up", "cannot be a file name");
  failure_case("clip.mp4", "name", ".hidden", "cannot be a file name");
}

static void a_cancelled_pass_declares_nothing(void **state) {
  (void)state;
  struct harness *h = start();
  harness_set(h, "at", "7s");
  sm_status status =
    harness_play(h, &(struct harness_clip){.path = MEDIA "/levels.mp4", .decode_all = true, .stop_at_frame = 5});
  assert_int_equal(status, SM_CANCELLED);
  assert_int_equal(harness_output_count(h), 0);
  harness_destroy(&h);
}

static void an_older_host_without_seeking_is_served(void **state) {
  (void)state;
  struct harness *h = start();
  ((sm_media_host *)((struct sm_task *)h)->media_host)->size = (uint32_t)offsetof(sm_media_host, only_at);
  harness_set(h, "at", "3.25s");
  assert_int_equal(harness_play(h, CLIP("levels.mp4")), SM_DONE);
  assert_int_equal(harness_only_at(h, NULL), 0);
  assert_time(meta(h, 0, "at"), 3.2);
  harness_destroy(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(takes_the_exact_frame_of_a_time),
    cmocka_unit_test(asks_the_host_to_seek_when_times_are_known),
    cmocka_unit_test(ends_early_once_every_picture_is_taken),
    cmocka_unit_test(a_tenth_is_the_default),
    cmocka_unit_test(every_makes_a_row_of_pictures_with_a_cap),
    cmocka_unit_test(a_percentage_of_an_unknown_duration_is_chosen_at_the_end),
    cmocka_unit_test(keeps_few_candidates_of_a_long_video),
    cmocka_unit_test(keeps_the_aspect),
    cmocka_unit_test(odd_sizes_and_formats_work),
    cmocka_unit_test(colours_are_right),
    cmocka_unit_test(a_time_after_the_end_is_the_last_frame),
    cmocka_unit_test(one_frame_is_enough),
    cmocka_unit_test(quality_changes_the_size_of_the_file),
    cmocka_unit_test(skips_black_when_asked),
    cmocka_unit_test(says_why_it_cannot),
    cmocka_unit_test(a_cancelled_pass_declares_nothing),
    cmocka_unit_test(an_older_host_without_seeking_is_served),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
