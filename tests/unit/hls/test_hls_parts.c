/* The arithmetic of the stage `hls`: ladders, names, the keyframe grid, rates, codec names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "encoder.h"
#include "ladder.h"
#include "names.h"
#include "playlist.h"
#include "timeline.h"

/* ---- ladder --------------------------------------------------------------------------------------------------- */

static size_t automatic(int width, int height, struct rung *rungs) {
  struct ladder_choice choice = {.automatic = true, .crf = 23};
  struct ladder_source source = {width, height, 25};
  return ladder_build(&choice, &source, rungs);
}

static void check_rung(const struct rung *r, const char *name, int width, int height) {
  assert_string_equal(r->name, name);
  assert_int_equal(r->width, width);
  assert_int_equal(r->height, height);
}

static void auto_ladder_follows_the_short_edge(void **state) {
  (void)state;
  struct rung r[LADDER_MAX];
  assert_int_equal(automatic(1920, 1080, r), 4);
  check_rung(&r[0], "1080p", 1920, 1080);
  check_rung(&r[1], "720p", 1280, 720);
  check_rung(&r[2], "480p", 854, 480);
  check_rung(&r[3], "360p", 640, 360);
  assert_int_equal(automatic(3840, 2160, r), 6);
  check_rung(&r[0], "2160p", 3840, 2160);
}

static void auto_ladder_turns_for_portrait(void **state) {
  (void)state;
  struct rung r[LADDER_MAX];
  assert_int_equal(automatic(1080, 1920, r), 4);
  check_rung(&r[0], "1080p", 1080, 1920);
  check_rung(&r[2], "480p", 480, 854);
}

static void auto_ladder_never_upscales_and_never_is_empty(void **state) {
  (void)state;
  struct rung r[LADDER_MAX];
  for (int width = 2; width < 5000; width += 37)
    for (int height = 2; height < 5000; height += 53) {
      size_t count = automatic(width, height, r);
      assert_in_range(count, 1, LADDER_MAX);
      for (size_t i = 0; i < count; i++) {
        assert_in_range(r[i].width, 2, width);
        assert_in_range(r[i].height, 2, height);
        assert_int_equal(r[i].width % 2 + r[i].height % 2, 0);
      }
    }
  assert_int_equal(automatic(64, 36, r), 1);
  check_rung(&r[0], "36p", 64, 36);
}

static void auto_ladder_keeps_unusual_sizes_on_top(void **state) {
  (void)state;
  struct rung r[LADDER_MAX];
  assert_int_equal(automatic(1920, 800, r), 3); /* 720p would be nearly the same picture again */
  check_rung(&r[0], "800p", 1920, 800);
  check_rung(&r[1], "480p", 1152, 480);
  automatic(1920, 1088, r);
  check_rung(&r[0], "1080p", 1920, 1088);
  automatic(639, 361, r);
  check_rung(&r[0], "360p", 638, 360);
}

static size_t wished(const struct rung_wish *wishes, size_t count, int width, int height, bool upscale,
                     struct rung *r) {
  struct ladder_choice choice = {.upscale = upscale, .crf = 23, .wishes = wishes, .wish_count = count};
  struct ladder_source source = {width, height, 25};
  return ladder_build(&choice, &source, r);
}

static void boxes_turn_for_portrait_and_never_exceed_the_source(void **state) {
  (void)state;
  const struct rung_wish wishes[] = {{.width = 854, .height = 480, .bitrate = 800000, .crf = -1},
                                     {.width = 1920, .height = 1080, .bitrate = 5000000, .crf = -1}};
  struct rung r[LADDER_MAX];
  assert_int_equal(wished(wishes, 2, 1920, 1080, false, r), 2);
  check_rung(&r[0], "480p", 854, 480);
  assert_int_equal(r[0].bitrate, 800000);
  assert_int_equal(r[0].maxrate, 880000);
  check_rung(&r[1], "1080p", 1920, 1080);
  assert_int_equal(wished(wishes, 2, 1080, 1920, false, r), 2);
  check_rung(&r[0], "480p", 480, 854);
  assert_int_equal(wished(wishes, 2, 1280, 720, false, r), 2);
  check_rung(&r[1], "720p", 1280, 720); /* the larger box, at the source's own size */
  assert_int_equal(wished(wishes, 2, 640, 360, false, r), 1);
  check_rung(&r[0], "360p", 640, 360);
  assert_int_equal(r[0].bitrate, 800000);
  assert_int_equal(wished(wishes, 2, 640, 360, true, r), 2);
  check_rung(&r[1], "1080p", 1920, 1080);
}

static void short_edges_are_renamed_when_the_source_is_smaller(void **state) {
  (void)state;
  const struct rung_wish wishes[] = {{.name = "1080p", .height = 1080, .by_short_edge = true, .crf = -1},
                                     {.name = "480p", .height = 480, .by_short_edge = true, .crf = -1}};
  struct rung r[LADDER_MAX];
  assert_int_equal(wished(wishes, 2, 1280, 720, false, r), 2);
  check_rung(&r[0], "720p", 1280, 720);
  check_rung(&r[1], "480p", 854, 480);
  assert_int_equal(wished(wishes, 2, 1919, 1079, false, r), 2);
  check_rung(&r[0], "1080p", 1918, 1078);
}

static void rungs_get_names_of_their_own(void **state) {
  (void)state;
  const struct rung_wish wishes[] = {
      {.height = 480, .crf = 20}, {.height = 480, .crf = 30}, {.height = 480, .crf = 30}};
  struct rung r[LADDER_MAX];
  assert_int_equal(wished(wishes, 3, 1280, 720, false, r), 2); /* the third is the second again */
  assert_string_equal(r[0].name, "480p");
  assert_string_equal(r[1].name, "480p-2");
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static void stems_are_safe_in_urls_and_shells(void **state) {
  (void)state;
  char stem[NAMES_MAX];
  names_stem("/in/My clip #1 (final).mp4", stem);
  assert_string_equal(stem, "My_clip__1__final_");
  names_stem(".hidden", stem);
  assert_string_equal(stem, "hidden");
  names_stem("", stem);
  assert_string_equal(stem, "video");
  names_stem(NULL, stem);
  assert_string_equal(stem, "video");
  char longest[400];
  memset(longest, 0, sizeof longest);
  for (int i = 0; i < 199; i++) memcpy(longest + 2 * i, "\xc3\xa9", 2);
  names_stem(longest, stem);
  assert_int_equal(strlen(stem), 96); /* cut between letters, not within one */
}

static void patterns_expand_and_bad_ones_are_told(void **state) {
  (void)state;
  char out[NAMES_MAX];
  assert_true(names_expand("{name}_{rendition}_{index}.ts", "clip", "480p", 7, out));
  assert_string_equal(out, "clip_480p_007.ts");
  assert_true(names_expand("{rendition}/{index}.m4s", "clip", "480p", -1, out));
  assert_string_equal(out, "480p/init.mp4");
  assert_false(names_expand("{title}_{index}", "clip", "480p", 0, out));
  const char *const bad[] = {"{name}_{rendition}",
                             "/a/{rendition}{index}",
                             "../{rendition}{index}",
                             "a//{rendition}{index}",
                             "{index}/{rendition}",
                             "{rendition}/./{index}",
                             "{rendition\t{index}",
                             "",
                             "x{index}"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_non_null(names_check(bad[i], true, true));
  assert_null(names_check("{rendition}/seg_{index}", true, true));
  assert_null(names_check("x{index}", true, false));
}

static void references_are_relative_and_encoded(void **state) {
  (void)state;
  char out[NAMES_MAX];
  assert_true(names_reference("480p/list.m3u8", "480p/a b.ts", out, sizeof out));
  assert_string_equal(out, "a%20b.ts");
  assert_true(names_reference("lists/480p.m3u8", "480p/001.ts", out, sizeof out));
  assert_string_equal(out, "../480p/001.ts");
  assert_true(names_reference("master.m3u8", "lists/\xc3\xa9.m3u8", out, sizeof out));
  assert_string_equal(out, "lists/%C3%A9.m3u8");
  assert_false(names_reference("master.m3u8", "lists/long.m3u8", out, 8));
}

/* ---- timeline ------------------------------------------------------------------------------------------------- */

static void keyframes_stand_on_the_grid(void **state) {
  (void)state;
  struct timeline t;
  timeline_init(&t, 2 * TICKS, 29.97);
  int keys = 0;
  for (int i = 0; i < 3000; i++) {
    int64_t pts = (int64_t)i * 3003;
    bool key;
    assert_true(timeline_picture(&t, pts, 3003, &key));
    if (key)
      assert_in_range((pts + timeline_tolerance(t.gop)) % (2 * TICKS), 0, 3183); /* the first at or after the point */
    keys += key;
  }
  assert_int_equal(keys, 51);
  assert_int_equal(t.end, 3000 * 3003);
  assert_true(timeline_rate(&t, 29.97, false) == 29.97);
}

static void pictures_that_do_not_advance_are_dropped(void **state) {
  (void)state;
  struct timeline t;
  bool key;
  timeline_init(&t, 2 * TICKS, 25);
  assert_true(timeline_picture(&t, 3600, 0, &key));
  assert_true(key);
  assert_false(timeline_picture(&t, 3600, 0, &key));
  assert_false(timeline_picture(&t, 0, 0, &key));
  assert_int_equal(t.end, 7200);
}

static void only_long_gaps_are_filled(void **state) {
  (void)state;
  struct timeline t;
  bool key;
  int64_t at;
  timeline_init(&t, 2 * TICKS, 25);
  timeline_picture(&t, 0, 0, &key);
  assert_false(timeline_gap(&t, 2 * TICKS + 3600, &at)); /* the next picture is a little late: no need */
  assert_true(timeline_gap(&t, 7 * TICKS, &at));
  assert_int_equal(at, 2 * TICKS);
  assert_true(timeline_picture(&t, at, 0, &key));
  assert_true(key);
  assert_true(timeline_gap(&t, 7 * TICKS, &at));
  assert_int_equal(at, 4 * TICKS);
  timeline_picture(&t, at, 0, &key);
  assert_true(timeline_gap(&t, 7 * TICKS, &at));
  timeline_picture(&t, at, 0, &key);
  assert_false(timeline_gap(&t, 7 * TICKS, &at));
}

static void uneven_pictures_give_the_rate_of_the_busiest_second(void **state) {
  (void)state;
  struct timeline t;
  bool key;
  timeline_init(&t, 2 * TICKS, 20);
  for (int i = 0; i < 60; i++) timeline_picture(&t, i * 3000, 0, &key);          /* two seconds at 30 */
  for (int i = 0; i < 20; i++) timeline_picture(&t, 180000 + i * 9000, 0, &key); /* two at 10 */
  assert_float_equal(timeline_rate(&t, 20, true), 30, 1.01);
}

/* ---- playlists ------------------------------------------------------------------------------------------------ */

static bool uri(void *opaque, long index, char *out, size_t size) {
  (void)opaque;
  return index < 0 ? snprintf(out, size, "init.mp4") > 0 : snprintf(out, size, "s%ld.ts", index) > 0;
}

static void rates_follow_the_rfc(void **state) {
  (void)state;
  const struct segment segments[] = {
      {0, 6 * TICKS, 600000}, {6 * TICKS, 12 * TICKS, 900000}, {12 * TICKS, 13 * TICKS, 900000}};
  struct variant v = {.segments = segments, .count = 3};
  struct rates r = playlist_rates(&v);
  assert_int_equal(playlist_target(&v), 6);
  assert_int_equal(r.peak, 2057143); /* the short last segment counts together with its neighbour: 1.8 MB in 7 s */
  assert_int_equal(r.average, 1476924);
}

static void media_playlist_says_what_was_written(void **state) {
  (void)state;
  const struct segment segments[] = {{0, 540540, 100}, {540540, 600000, 100}};
  struct variant v = {.playlist = "480p.m3u8",
                      .segments = segments,
                      .count = 2,
                      .width = 854,
                      .height = 480,
                      .frame_rate = 30000.0 / 1001,
                      .codecs = "avc1.64001f"};
  char *text = playlist_media(&v, true, uri, NULL);
  assert_string_equal(text, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n"
                            "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n"
                            "#EXTINF:6.006000,\ns0.ts\n#EXTINF:0.660667,\ns1.ts\n#EXT-X-ENDLIST\n");
  free(text);
  text = playlist_master(&v, 1, "master.m3u8", true);
  assert_non_null(strstr(text, "CODECS=\"avc1.64001f\",RESOLUTION=854x480,FRAME-RATE=29.970\n480p.m3u8\n"));
  free(text);
}

static void codec_names_come_from_the_sps(void **state) {
  (void)state;
  const uint8_t good[] = {0, 0, 0, 1, 9, 16, 0, 0, 1, 0x67, 0x64, 0x00, 0x28, 0xac};
  char name[16];
  assert_true(encoder_codec_name(good, sizeof good, name));
  assert_string_equal(name, "avc1.640028");
  for (size_t size = 0; size < sizeof good - 1; size++) assert_false(encoder_codec_name(good, size, name));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(auto_ladder_follows_the_short_edge),
      cmocka_unit_test(auto_ladder_turns_for_portrait),
      cmocka_unit_test(auto_ladder_never_upscales_and_never_is_empty),
      cmocka_unit_test(auto_ladder_keeps_unusual_sizes_on_top),
      cmocka_unit_test(boxes_turn_for_portrait_and_never_exceed_the_source),
      cmocka_unit_test(short_edges_are_renamed_when_the_source_is_smaller),
      cmocka_unit_test(rungs_get_names_of_their_own),
      cmocka_unit_test(stems_are_safe_in_urls_and_shells),
      cmocka_unit_test(patterns_expand_and_bad_ones_are_told),
      cmocka_unit_test(references_are_relative_and_encoded),
      cmocka_unit_test(keyframes_stand_on_the_grid),
      cmocka_unit_test(pictures_that_do_not_advance_are_dropped),
      cmocka_unit_test(only_long_gaps_are_filled),
      cmocka_unit_test(uneven_pictures_give_the_rate_of_the_busiest_second),
      cmocka_unit_test(rates_follow_the_rfc),
      cmocka_unit_test(media_playlist_says_what_was_written),
      cmocka_unit_test(codec_names_come_from_the_sps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
