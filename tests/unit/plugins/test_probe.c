/* probe, against ffprobe on many files, and against files that are no media. */
#include <stdarg.h>
#include <setjmp.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness.h"

static struct harness *probed(const char *name, sm_status expected) {
  char path[512];
  struct harness *h = harness_create(PLUGIN_FILE, "probe");
  snprintf(path, sizeof path, "%s/%s", MEDIA, name);
  harness_input(h, "source", path, "video/mp4");
  sm_status status = harness_run(h);
  if (status != expected) fail_msg("%s: verdict %d, '%s' (%s)", name, status, harness_message(h), harness_debug(h));
  return h;
}

static json_t *report_of(const struct harness *h) {
  json_error_t e;
  assert_int_equal(harness_output_count(h), 1);
  assert_string_equal(harness_output_at(h, 0)->name, "probe.json");
  json_t *report = json_load_file(harness_output_at(h, 0)->path, 0, &e);
  if (!report) fail_msg("probe.json: %s", e.text);
  return report;
}

static json_t *ffprobe(const char *name) {
  char command[1024];
  json_error_t e;
  snprintf(command, sizeof command, "%s -v error -of json -show_format -show_streams %s/%s", FFPROBE, MEDIA, name);
  FILE *pipe = popen(command, "r");
  json_t *judge = pipe ? json_loadf(pipe, 0, &e) : NULL;
  if (!judge) fail_msg("ffprobe %s: %s", name, e.text);
  pclose(pipe);
  return judge;
}

static const char *word(json_t *o, const char *key) {
  const char *text = json_string_value(json_object_get(o, key));
  return text ? text : "";
}
static json_int_t number(json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }

/* ffprobe says "unknown" or leaves a key out where the report has null. */
static void same_word(const char *file, json_t *ours, const char *key, json_t *theirs, const char *their_key) {
  const char *a = word(ours, key), *b = word(theirs, their_key);
  if (strcmp(b, "unknown") == 0 || strcmp(b, "0/0") == 0) b = "";
  if (strcmp(a, b) != 0) fail_msg("%s: %s is '%s', ffprobe's %s is '%s'", file, key, a, their_key, b);
}

static void same_number(const char *file, json_t *ours, const char *key, json_t *theirs, const char *their_key) {
  json_int_t a = number(ours, key), b = number(theirs, their_key);
  if (!json_is_integer(json_object_get(theirs, their_key))) b = atoll(word(theirs, their_key));
  if (a != b) fail_msg("%s: %s is %lld, ffprobe's %s is %lld", file, key, (long long)a, their_key, (long long)b);
}

static void same_video(const char *file, json_t *ours, json_t *theirs) {
  json_t *color = json_object_get(ours, "color");
  same_number(file, ours, "coded_width", theirs, "width");
  same_number(file, ours, "coded_height", theirs, "height");
  same_word(file, ours, "pixel_format", theirs, "pix_fmt");
  same_word(file, ours, "frame_rate_average", theirs, "avg_frame_rate");
  same_word(file, ours, "frame_rate_base", theirs, "r_frame_rate");
  same_word(file, ours, "field_order", theirs, "field_order");
  same_word(file, color, "space", theirs, "color_space");
  same_word(file, color, "transfer", theirs, "color_transfer");
  same_word(file, color, "primaries", theirs, "color_primaries");
  same_word(file, color, "range", theirs, "color_range");
  if (*word(theirs, "display_aspect_ratio")) same_word(file, ours, "display_aspect", theirs, "display_aspect_ratio");
}

static void same_audio(const char *file, json_t *ours, json_t *theirs) {
  same_number(file, ours, "channels", theirs, "channels");
  same_number(file, ours, "sample_rate", theirs, "sample_rate");
  same_word(file, ours, "sample_format", theirs, "sample_fmt");
  if (*word(theirs, "channel_layout")) same_word(file, ours, "layout", theirs, "channel_layout");
}

static void same_stream(const char *file, json_t *ours, json_t *theirs) {
  static const char *const kinds[] = {"default", "attached_pic", "forced", NULL};
  same_word(file, ours, "type", theirs, "codec_type");
  same_word(file, ours, "codec", theirs, "codec_name");
  if (!isdigit(*word(theirs, "profile"))) same_word(file, ours, "profile", theirs, "profile"); /* else it has no name */
  same_word(file, ours, "language", json_object_get(theirs, "tags"), "language");
  same_word(file, ours, "time_base", theirs, "time_base");
  if (number(theirs, "level") > 0) same_number(file, ours, "level", theirs, "level");
  if (strcmp(word(ours, "type"), "video") == 0) same_video(file, ours, theirs);
  else same_audio(file, ours, theirs);
  for (int i = 0; kinds[i]; i++) {
    size_t k;
    json_t *w;
    int have = 0;
    json_array_foreach(json_object_get(ours, "disposition"), k, w) have |= strcmp(json_string_value(w), kinds[i]) == 0;
    assert_int_equal(have, number(json_object_get(theirs, "disposition"), kinds[i]));
  }
}

static void agrees_with_ffprobe_on_every_clip(void **state) {
  static const char *const files[] = {
    "clip.mp4", "rotated.mp4", "vfr.mp4",      "even.mkv",  "hdr10.mp4", "hlg.mkv",  "interlaced.mpg", "odd.mkv",
    "one.mp4",  "audio.mp3",   "surround.m4a", "cover.mp3", "wrap.ts",   "web.webm", "faststart.mp4",  "blue.jpg"};
  (void)state;
  for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
    struct harness *h = probed(files[f], SM_OK);
    json_t *ours = report_of(h), *theirs = ffprobe(files[f]), *stream;
    json_t *streams = json_object_get(ours, "streams"), *format = json_object_get(theirs, "format");
    size_t i;
    same_word(files[f], json_object_get(ours, "container"), "name", format, "format_name");
    same_number(files[f], json_object_get(ours, "file"), "size_bytes", format, "size");
    assert_int_equal(json_array_size(streams), json_array_size(json_object_get(theirs, "streams")));
    json_array_foreach(streams, i, stream)
      same_stream(files[f], stream, json_array_get(json_object_get(theirs, "streams"), i));
    if (*word(format, "duration") && strcmp(files[f], "blue.jpg") != 0) {
      double expected = atof(word(format, "duration"));
      double got = (double)harness_result_int(h, "duration") / 1e6;
      if (fabs(got - expected) > 0.06) fail_msg("%s: duration %f, ffprobe says %f", files[f], got, expected);
    }
    json_decref(ours);
    json_decref(theirs);
    harness_destroy(&h);
  }
}

static void turns_the_size_of_a_rotated_clip(void **state) {
  (void)state;
  struct harness *h = probed("rotated.mp4", SM_OK);
  assert_int_equal(harness_result_int(h, "width"), 360);
  assert_int_equal(harness_result_int(h, "height"), 640);
  assert_int_equal(harness_result_int(h, "rotation"), 90);
  assert_int_equal(harness_result_int(h, "is_portrait"), 1);
  harness_destroy(&h);
}

static void shows_anamorphic_pictures_with_square_pixels(void **state) {
  (void)state;
  struct harness *h = probed("interlaced.mpg", SM_OK);
  assert_int_equal(harness_result_int(h, "width"), 1024);
  assert_int_equal(harness_result_int(h, "height"), 576);
  assert_int_equal(harness_result_int(h, "interlaced"), 1);
  harness_destroy(&h);
}

static void tells_even_from_uneven_frames(void **state) {
  static const struct {
    const char *file;
    int64_t vfr;
  } cases[] = {{"clip.mp4", 0}, {"vfr.mp4", 1},        {"even.mkv", 0},
               {"web.webm", 0}, {"interlaced.mpg", 0}, {"wrap.ts", 0}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct harness *h = probed(cases[i].file, SM_OK);
    if (harness_result_int(h, "is_vfr") != cases[i].vfr)
      fail_msg("%s: is_vfr %lld", cases[i].file, (long long)harness_result_int(h, "is_vfr"));
    harness_destroy(&h);
  }
  struct harness *h = probed("one.mp4", SM_OK); /* one frame has no spacing */
  assert_int_equal(harness_result(h, "is_vfr")->value.kind, SM_IS_ABSENT);
  harness_destroy(&h);
}

static void reads_hdr_metadata(void **state) {
  (void)state;
  struct harness *h = probed("hdr10.mp4", SM_OK);
  json_t *report = report_of(h), *stream = json_array_get(json_object_get(report, "streams"), 0);
  json_t *hdr = json_object_get(stream, "hdr"), *display = json_object_get(hdr, "mastering_display");
  assert_string_equal(harness_result_text(h, "hdr_format"), "hdr10");
  assert_int_equal(harness_result_int(h, "is_hdr"), 1);
  assert_int_equal(number(json_object_get(hdr, "content_light"), "max_cll"), 1000);
  assert_int_equal(number(json_object_get(hdr, "content_light"), "max_fall"), 400);
  assert_true(fabs(json_real_value(json_object_get(display, "max_luminance")) - 1000) < 0.01);
  assert_true(fabs(json_real_value(json_array_get(json_object_get(display, "red"), 0)) - 0.68) < 0.001);
  json_decref(report);
  harness_destroy(&h);
  h = probed("hlg.mkv", SM_OK);
  assert_string_equal(harness_result_text(h, "hdr_format"), "hlg");
  harness_destroy(&h);
  h = probed("clip.mp4", SM_OK);
  assert_int_equal(harness_result_int(h, "is_hdr"), 0);
  assert_int_equal(harness_result(h, "hdr_format")->value.kind, SM_IS_ABSENT);
  harness_destroy(&h);
}

static void sets_every_result_of_its_table(void **state) {
  static const char *const files[] = {"clip.mp4", "audio.mp3", "one.mp4"};
  static const char *const keys[] = {
    "duration",    "duration_method", "start",          "bitrate",     "size_bytes", "container",  "streams",
    "truncated",   "has_video",       "has_audio",      "has_cover",   "width",      "height",     "rotation",
    "is_portrait", "video_codec",     "pixel_format",   "frame_rate",  "is_vfr",     "interlaced", "is_hdr",
    "hdr_format",  "audio_codec",     "audio_channels", "sample_rate", "language"};
  (void)state;
  for (size_t f = 0; f < 3; f++) {
    struct harness *h = probed(files[f], SM_OK);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
      if (!harness_result(h, keys[i])) fail_msg("%s: result '%s' was not set", files[f], keys[i]);
    harness_destroy(&h);
  }
}

static void cover_art_is_no_video(void **state) {
  (void)state;
  struct harness *h = probed("cover.mp3", SM_OK);
  assert_int_equal(harness_result_int(h, "has_video"), 0);
  assert_int_equal(harness_result_int(h, "has_audio"), 1);
  assert_int_equal(harness_result_int(h, "has_cover"), 1);
  assert_int_equal(harness_result(h, "width")->value.kind, SM_IS_ABSENT);
  harness_destroy(&h);
}

static void finds_the_duration_of_a_file_without_one(void **state) {
  (void)state;
  struct harness *h = probed("no_duration.mkv", SM_OK);
  assert_string_equal(harness_result_text(h, "duration_method"), "scan");
  assert_true(llabs(harness_result_int(h, "duration") - 3000000) < 50000);
  harness_destroy(&h);
}

static void a_clip_cut_after_its_index_is_called_truncated(void **state) {
  (void)state;
  struct harness *h = probed("cut.mp4", SM_OK);
  assert_int_equal(harness_result_int(h, "truncated"), 1);
  harness_destroy(&h);
  h = probed("faststart.mp4", SM_OK);
  assert_int_equal(harness_result_int(h, "truncated"), 0);
  harness_destroy(&h);
}

static void says_what_is_wrong_with_a_file_that_is_no_media(void **state) {
  static const struct {
    const char *file, *words;
  } cases[] = {{"empty.mp4", "is empty (0 bytes)"},
               {"text.mp4", "is text, not media"},
               {"no_moov.mp4", "without its index (moov)"},
               {"noise.bin", "no media file that can be read"},
               {"zeros.bin", "no media file that can be read"},
               {"reach.m3u8", "is a playlist that refers to other files"},
               {"reach.concat", "is a playlist that refers to other files"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct harness *h = probed(cases[i].file, SM_FAIL);
    if (!strstr(harness_message(h), cases[i].words) || !strstr(harness_message(h), cases[i].file))
      fail_msg("%s: '%s' does not say '%s'", cases[i].file, harness_message(h), cases[i].words);
    assert_int_equal(harness_output_count(h), 0);
    harness_destroy(&h);
  }
}

static void fails_with_a_sentence_when_there_is_no_input(void **state) {
  (void)state;
  struct harness *h = harness_create(PLUGIN_FILE, "probe");
  assert_int_equal(harness_run(h), SM_FAIL);
  assert_non_null(strstr(harness_message(h), "give the job an input"));
  harness_destroy(&h);
}

static void stops_when_it_is_cancelled(void **state) {
  char path[512];
  (void)state;
  struct harness *h = harness_create(PLUGIN_FILE, "probe");
  snprintf(path, sizeof path, "%s/clip.mp4", MEDIA);
  harness_input(h, "source", path, "video/mp4");
  harness_cancel_after(h, 0);
  assert_int_equal(harness_run(h), SM_CANCELLED);
  harness_destroy(&h);
}

/* Bit flips all over a clip: any verdict will do, within time, without a crash. */
static void survives_damaged_files(void **state) {
  static unsigned char data[1 << 20];
  char path[] = "/tmp/stagemill-damaged-XXXXXX", from[512];
  struct timespec before, after;
  (void)state;
  snprintf(from, sizeof from, "%s/faststart.mp4", MEDIA);
  FILE *file = fopen(from, "rb");
  size_t size = fread(data, 1, sizeof data, file);
  fclose(file);
  int fd = mkstemp(path);
  unsigned seed = 20240601;
  clock_gettime(CLOCK_MONOTONIC, &before);
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 20; i++) { /* most of them in the index, at the front */
      seed = seed * 1103515245u + 12345u;
      data[(seed >> 8) % (i < 15 ? 4096 : size)] ^= (unsigned char)(1u << (seed >> 29));
    }
    assert_int_equal(pwrite(fd, data, size, 0), (ssize_t)size);
    struct harness *h = harness_create(PLUGIN_FILE, "probe");
    harness_input(h, "source", path, "video/mp4");
    sm_status status = harness_run(h);
    assert_true(status == SM_OK || (status == SM_FAIL && *harness_message(h)));
    harness_destroy(&h);
  }
  clock_gettime(CLOCK_MONOTONIC, &after);
  assert_true(after.tv_sec - before.tv_sec < 60);
  close(fd);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(agrees_with_ffprobe_on_every_clip),
    cmocka_unit_test(turns_the_size_of_a_rotated_clip),
    cmocka_unit_test(shows_anamorphic_pictures_with_square_pixels),
    cmocka_unit_test(tells_even_from_uneven_frames),
    cmocka_unit_test(reads_hdr_metadata),
    cmocka_unit_test(sets_every_result_of_its_table),
    cmocka_unit_test(cover_art_is_no_video),
    cmocka_unit_test(finds_the_duration_of_a_file_without_one),
    cmocka_unit_test(a_clip_cut_after_its_index_is_called_truncated),
    cmocka_unit_test(says_what_is_wrong_with_a_file_that_is_no_media),
    cmocka_unit_test(fails_with_a_sentence_when_there_is_no_input),
    cmocka_unit_test(stops_when_it_is_cancelled),
    cmocka_unit_test(survives_damaged_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
