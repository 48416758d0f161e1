/* The pass over awkward media (tests/media/make.sh): what arrives at a sink, compared with what the file holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavutil/pixfmt.h>

#include <cmocka.h>

#include "harness.h"
#include "media/module.h"

static char folder[512];
static struct lab lab;
static struct value *stats;

static const char *sample(const char *name) {
  static char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void begin(const char *name) {
  lab_init(&lab);
  lab.measures = true;
  lab.path = strdup(sample(name));
  lab.unit.input_name = strdup(name);
  stats = value_map();
}

static sm_status run(void) {
  lab_ready(&lab);
  return media_run(&lab.c, stats);
}

static void end(void) {
  for (uint32_t i = 0; i < lab.count; i++) {
    assert_false(lab.stage[i].wrong_thread);
    assert_false(lab.stage[i].merge_disorder);
    assert_int_equal(lab.stage[i].verdicts, 1);
    for (uint32_t k = 0; k < lab.stage[i].offered_count; k++) assert_false(lab.stage[i].seen[k].disorder);
  }
  free((char *)(uintptr_t)lab.path);
  free(lab.unit.input_name);
  lab_free(&lab);
  value_free(&stats);
}

static int64_t stat_of(const char *key) { return value_get_int(stats, key, -1); }

/* Frames as an independent decoder counts them. */
static int64_t probe_frames(const char *name, const char *stream) {
  char command[1400], line[64] = "";
  snprintf(command, sizeof command,
           "ffprobe -v error -count_frames -select_streams %s -show_entries stream=nb_read_frames -of csv=p=0 '%s'",
           stream, sample(name));
  FILE *f = popen(command, "r");
  assert_non_null(f);
  if (!fgets(line, sizeof line, f)) line[0] = 0;
  pclose(f);
  return atoll(line);
}

/* One sink on everything; all frames of both kinds arrive, once. */
static struct lab_stage *watch(const char *name) {
  begin(name);
  struct lab_stage *sink = lab_sink(&lab, "sink", -1, -1);
  if (run() != SM_OK) fail_msg("%s: %s", name, sink->blame);
  assert_int_equal(sink->verdict, SM_OK);
  return sink;
}

static void assert_counts(const char *name, const struct lab_stage *sink) {
  int64_t frames = probe_frames(name, "v:0");
  assert_int_equal(stat_of("decodedVideoFrames"), frames);
  assert_int_equal((int64_t)lab_video(sink)->frames, frames);
}

static void frames_are_those_an_independent_decoder_counts(void **state) {
  (void)state;
  static const char *const names[] = {"plain.mp4",  "vfr.mp4",   "video_only.mp4", "interlaced.mpg",
                                      "tenbit.mkv", "wrap.ts",   "avi.avi",        "raw.h264",
                                      "offset.mkv", "late20.ts", "apart.ts",       "editlist.mp4"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct lab_stage *sink = watch(names[i]);
    assert_counts(names[i], sink);
    assert_int_equal((int64_t)atomic_load(&lab.page.decoded_video_frames), stat_of("decodedVideoFrames"));
    end();
  }
}

static void assert_size(const char *name, int width, int height, int rotation) {
  struct lab_stage *sink = watch(name);
  assert_int_equal(sink->offered[0].width, width);
  assert_int_equal(sink->offered[0].height, height);
  assert_int_equal(sink->offered[0].rotation, rotation);
  assert_int_equal(lab_video(sink)->width, width);
  assert_int_equal(lab_video(sink)->height, height);
  assert_false(lab_video(sink)->odd_size);
  end();
}

static void pictures_are_upright_square_and_even(void **state) {
  (void)state;
  assert_size("plain.mp4", 320, 180, 0);
  assert_size("rot90.mp4", 180, 320, 270); /* ffmpeg's rotate tag counts the other way round */
  assert_size("rot270.mp4", 180, 320, 90);
  assert_size("rot180.mp4", 320, 180, 180);
  assert_size("odd444.mp4", 318, 180, 0);
  assert_size("odd.mkv", 332, 76, 0);
  assert_size("interlaced.mpg", 1024, 576, 0);
  assert_size("tall.mkv", 160, 180, 0);
}

/* Mean brightness of the four quarters of the first picture, as ffmpeg shows it. */
static void probe_quarters(const char *name, int width, int height, double quarters[4]) {
  char command[1400];
  uint8_t *picture = malloc((size_t)width * (size_t)height);
  snprintf(command, sizeof command, "ffmpeg -nostdin -v error -i '%s' -frames:v 1 -pix_fmt gray -f rawvideo -",
           sample(name));
  FILE *f = popen(command, "r");
  assert_non_null(f);
  assert_int_equal(fread(picture, (size_t)width, (size_t)height, f), height);
  pclose(f);
  lab_quarters(picture, width, width, height, quarters);
  free(picture);
}

static void pictures_are_turned_the_right_way(void **state) {
  (void)state;
  static const char *const names[] = {"plain.mp4", "rot90.mp4", "rot180.mp4", "rot270.mp4"};
  for (size_t i = 0; i < 4; i++) {
    double expected[4];
    struct lab_stage *sink = watch(names[i]);
    probe_quarters(names[i], lab_video(sink)->width, lab_video(sink)->height, expected);
    for (int q = 0; q < 4; q++) { /* the gray conversion stretches the range: compare what is brighter than what */
      for (int r = 0; r < q; r++)
        if (expected[q] - expected[r] > 6 || expected[r] - expected[q] > 6)
          assert_true((expected[q] > expected[r]) == (lab_video(sink)->quarters[q] > lab_video(sink)->quarters[r]));
    }
    end();
  }
}

static void timestamps_of_vfr_are_kept(void **state) {
  (void)state;
  struct lab_stage *sink = watch("vfr.mp4");
  assert_int_equal(sink->offered[0].is_vfr, 1);
  assert_int_equal(lab_video(sink)->last_us, 3960000);
  int64_t shortest = INT64_MAX, longest = 0;
  for (int i = 1; i < 50; i++) {
    int64_t delta = lab_video(sink)->shots_us[i] - lab_video(sink)->shots_us[i - 1];
    shortest = delta < shortest ? delta : shortest;
    longest = delta > longest ? delta : longest;
  }
  assert_int_equal(shortest, 40000);
  assert_true(longest >= 80000);
  end();
}

static void the_clock_begins_at_zero_whatever_the_container_says(void **state) {
  (void)state;
  static const char *const names[] = {"sixty.ts", "wrap.ts", "offset.mkv", "interlaced.mpg", "joined.ts"};
  static const int64_t ends[] = {60000000, 4000000, 3000000, 2000000, 6000000};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct lab_stage *sink = watch(names[i]);
    assert_in_range(lab_video(sink)->first_us, 0, 30000);
    assert_in_range(lab_video(sink)->end_us, ends[i] - 40000, ends[i] + 80000);
    assert_in_range(sink->source.duration_us, ends[i] - 100000, ends[i] + 100000);
    end();
  }
}

static void assert_sound(const struct lab_stage *sink, int from, int to) {
  for (int second = 0; second < 100; second++)
    if ((second >= from && second < to) != (lab_audio(sink)->seconds[second] != 0) && second != to)
      fail_msg("sound in second %d: %d", second, lab_audio(sink)->seconds[second]);
}

static void late_sound_arrives_where_it_belongs(void **state) {
  (void)state;
  static const char *const names[] = {"late20.mp4", "late20.ts"};
  for (size_t queues = 0; queues < 2; queues++)
    for (size_t i = 0; i < 2; i++) {
      if (queues) setenv("STAGEMILL_PASS_FRAMES", "1", 1), setenv("STAGEMILL_PASS_PACKETS", "1", 1);
      struct lab_stage *sink = watch(names[i]);
      assert_int_equal(lab_video(sink)->frames, 390);
      assert_sound(sink, 19, 26);
      assert_in_range(lab_audio(sink)->first_us, 19950000, 20050000);
      assert_true(lab_audio(sink)->floors > 10);
      end();
    }
  unsetenv("STAGEMILL_PASS_FRAMES");
  unsetenv("STAGEMILL_PASS_PACKETS");
}

static void a_file_with_all_pictures_before_all_sound_keeps_its_sound(void **state) {
  (void)state;
  for (int queues = 0; queues < 2; queues++) {
    if (queues) setenv("STAGEMILL_PASS_FRAMES", "1", 1), setenv("STAGEMILL_PASS_PACKETS", "1", 1);
    struct lab_stage *sink = watch("apart.ts");
    assert_int_equal(lab_video(sink)->frames, 900);
    assert_sound(sink, 0, 60);
    assert_in_range(lab_audio(sink)->samples, 44100 * 60 - 3000, 44100 * 60 + 3000);
    assert_int_equal(stat_of("cursors"), 2);
    end();
  }
  unsetenv("STAGEMILL_PASS_FRAMES");
  unsetenv("STAGEMILL_PASS_PACKETS");
}

static void streams_of_different_length_end_on_their_own(void **state) {
  (void)state;
  struct lab_stage *sink = watch("early_end.mp4");
  assert_int_equal(lab_video(sink)->frames, 180);
  assert_sound(sink, 0, 3);
  end();
  sink = watch("long_sound.mp4");
  assert_int_equal(lab_video(sink)->frames, 30);
  assert_sound(sink, 0, 6);
  end();
}

static void cover_art_is_no_video_and_tracks_are_all_there(void **state) {
  (void)state;
  struct lab_stage *sink = watch("cover.mp3");
  assert_int_equal(sink->offered_count, 1);
  assert_int_equal(sink->offered[0].kind, SM_STREAM_AUDIO);
  assert_int_equal(stat_of("decodedVideoFrames"), 0);
  end();
  sink = watch("tracks.mkv");
  assert_int_equal(sink->offered_count, 4);
  assert_string_equal(sink->offered[1].codec, "aac");
  assert_string_equal(sink->offered[2].language, "deu");
  assert_int_equal(sink->offered[2].is_default, 1);
  assert_int_equal(sink->offered[1].is_default, 0);
  assert_int_equal(sink->offered[3].index, 2);
  for (int i = 1; i < 4; i++) assert_true(sink->seen[i].frames > 80);
  end();
  sink = watch("audio51.m4a");
  assert_int_equal(lab_audio(sink)->channels, 6);
  end();
}

static void hdr_is_mapped_for_those_who_ask_and_only_for_them(void **state) {
  (void)state;
  static const char *const names[] = {"hdr10.mp4", "hlg.mkv"};
  for (size_t i = 0; i < 2; i++) {
    begin(names[i]);
    struct lab_stage *sdr = lab_sink(&lab, "sdr", -1, -1), *small = lab_sink(&lab, "small", -1, -1),
                     *hdr = lab_sink(&lab, "hdr", -1, -1);
    sdr->use_wants = small->use_wants = true;
    sdr->want.want_sdr = small->want.want_sdr = 1;
    small->want.want_width = 160;
    assert_int_equal(run(), SM_OK);
    assert_int_equal(lab_video(sdr)->transfer, AVCOL_TRC_BT709);
    assert_int_equal(lab_video(sdr)->matrix, AVCOL_SPC_BT709);
    assert_int_equal(lab_video(sdr)->format, AV_PIX_FMT_YUV420P);
    assert_int_equal(lab_video(sdr)->frames, 24);
    assert_int_equal(lab_video(small)->width, 160);
    assert_int_equal(lab_video(small)->height, 90);
    assert_int_equal(lab_video(small)->transfer, AVCOL_TRC_BT709);
    assert_int_equal(lab_video(hdr)->transfer, i ? AVCOL_TRC_ARIB_STD_B67 : AVCOL_TRC_SMPTE2084);
    assert_int_equal(lab_video(hdr)->format, AV_PIX_FMT_YUV420P10);
    assert_int_equal(stat_of("decodedVideoFrames"), 24); /* one decode for all three */
    end();
  }
}

/* A conversion of the pixel format must not make what open() said about colours untrue. */
static void conversions_keep_range_and_matrix(void **state) {
  (void)state;
  static const char *const names[] = {"full.mp4", "rgb.mkv", "tenbit.mkv"};
  static const int ranges[] = {AVCOL_RANGE_JPEG, AVCOL_RANGE_MPEG, AVCOL_RANGE_MPEG};
  for (size_t i = 0; i < 3; i++) {
    begin(names[i]);
    struct lab_stage *sink = lab_sink(&lab, "sink", -1, -1);
    sink->use_wants = true;
    sink->want.want_pixel_format = AV_PIX_FMT_YUV420P;
    assert_int_equal(run(), SM_OK);
    assert_int_equal(lab_video(sink)->frames, 25);
    assert_int_equal(lab_video(sink)->format, AV_PIX_FMT_YUV420P);
    assert_int_equal(lab_video(sink)->range, ranges[i]);
    if (sink->offered[0].color_range == AVCOL_RANGE_JPEG) assert_int_equal(lab_video(sink)->range, AVCOL_RANGE_JPEG);
    if (i == 1) assert_int_equal(lab_video(sink)->matrix, AVCOL_SPC_SMPTE170M);
    end();
  }
}

static void a_change_in_mid_course_is_announced_or_scaled_away(void **state) {
  (void)state;
  begin("changes.ts");
  struct lab_stage *plain = lab_sink(&lab, "plain", -1, -1), *changing = lab_sink(&lab, "changing", -1, -1);
  changing->takes_changes = true;
  assert_int_equal(run(), SM_OK);
  assert_int_equal(lab_video(plain)->frames, 75);
  assert_false(lab_video(plain)->odd_size);
  assert_int_equal(lab_video(plain)->width, 160);
  assert_int_equal(lab_audio(plain)->rate, 44100);
  assert_int_equal(lab_audio(plain)->channels, 1);
  assert_in_range(lab_audio(plain)->end_us, 4950000, 5100000);
  assert_int_equal(lab_video(changing)->changes, 1);
  assert_int_equal(lab_video(changing)->width, 320);
  assert_int_equal(lab_video(changing)->height, 240);
  assert_true(lab_audio(changing)->changes >= 1);
  assert_int_equal(lab_audio(changing)->rate, 48000);
  assert_int_equal(lab_audio(changing)->channels, 2);
  end();
}

static void assert_refused(const char *name, const char *because) {
  begin(name);
  struct lab_stage *sink = lab_sink(&lab, "sink", -1, -1);
  assert_int_equal(run(), SM_FAIL);
  assert_int_equal(sink->verdict, SM_FAIL);
  if (!strstr(sink->blame, because)) fail_msg("%s: %s", name, sink->blame);
  end();
}

static void damaged_and_hostile_files_fail_with_a_sentence(void **state) {
  (void)state;
  assert_refused("empty.mp4", "is empty");
  assert_refused("text.mp4", "not a media file");
  assert_refused("no_moov.mp4", "cut off or damaged");
  assert_refused("cut.mp4", "header promises 4.0 s");
  assert_refused("list.m3u8", "list of other files");
  assert_refused("list.ffconcat", "list of other files");
  assert_refused("does_not_exist.mp4", "reading");
}

static void a_few_flipped_bits_are_survived(void **state) {
  (void)state;
  struct lab_stage *sink = watch("flipped.mp4");
  assert_in_range(lab_video(sink)->frames, 90, 100);
  end();
}

static void a_poster_alone_is_found_by_seeking(void **state) {
  (void)state;
  static const int64_t times[] = {0, 1010000, 1990000, 2000000, 15500000, 100000000};
  static const int64_t exact[] = {0, 1000000, 1960000, 2000000, 15480000, 19960000},
                       near[] = {0, 2000000, 2000000, 2000000, 16000000, 18000000};
  for (int nearest = 0; nearest < 2; nearest++) {
    begin("keys.mp4");
    struct lab_stage *poster = lab_sink(&lab, "poster", -1, -2);
    poster->times_us = times;
    poster->time_count = 6;
    poster->time_flags = nearest ? SM_NEAREST_KEYFRAME : 0;
    assert_int_equal(run(), SM_OK);
    assert_int_equal(lab_video(poster)->frames, 6);
    for (int i = 0; i < 6; i++) assert_int_equal(lab_video(poster)->shots_us[i], nearest ? near[i] : exact[i]);
    assert_true(stat_of("seeks") > 0);
    assert_true(stat_of("decodedVideoFrames") < (nearest ? 10 : 260));
    end();
  }
}

/* Seeking and decoding everything must show the same pictures. */
static void seeking_finds_what_decoding_everything_finds(void **state) {
  (void)state;
  static const char *const names[] = {"sixty.ts", "interlaced.mpg", "rot90.mp4", "vfr.mp4",     "offset.mkv",
                                      "avi.avi",  "joined.ts",      "wrap.ts",   "editlist.mp4"};
  static const int64_t times[] = {0, 700000, 1234567, 1900000, 2500000, 3333333, 59000000};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    int64_t shots[7];
    for (int both = 0; both < 2; both++) {
      begin(names[i]);
      struct lab_stage *poster = lab_sink(&lab, "poster", -1, -2);
      poster->times_us = times;
      poster->time_count = 7;
      if (both) lab_sink(&lab, "all", -1, -2);
      assert_int_equal(run(), SM_OK);
      assert_int_equal(lab_video(poster)->frames, 7);
      for (int k = 0; k < 7; k++) {
        if (!both)
          shots[k] = lab_video(poster)->shots_us[k];
        else if (shots[k] != lab_video(poster)->shots_us[k])
          fail_msg("%s at %lld: %lld by seeking, %lld else", names[i], (long long)times[k], (long long)shots[k],
                   (long long)lab_video(poster)->shots_us[k]);
      }
      end();
    }
  }
}

static void a_poster_ends_before_the_rest_and_shares_the_decode(void **state) {
  (void)state;
  static const int64_t at[] = {2000000};
  begin("sixty.ts");
  struct lab_stage *poster = lab_sink(&lab, "poster", -1, -2), *stream = lab_sink(&lab, "stream", -1, -1);
  poster->times_us = at;
  poster->time_count = 1;
  stream->frame_us = 50;
  assert_int_equal(run(), SM_OK);
  assert_int_equal(poster->verdict, SM_OK);
  assert_true(poster->verdict_at < 200);
  assert_int_equal(stat_of("decodedVideoFrames"), 900);
  assert_int_equal(lab_video(stream)->frames, 900);
  end();
}

static void when_the_poster_is_all_nothing_more_is_decoded(void **state) {
  (void)state;
  begin("sixty.ts");
  struct lab_stage *poster = lab_sink(&lab, "poster", -1, -2);
  poster->done_at = 20;
  assert_int_equal(run(), SM_OK);
  assert_int_equal(poster->verdict, SM_OK);
  assert_true(stat_of("decodedVideoFrames") < 400);
  end();
}

/* ---- pipes ---- */

static int pipe_of(struct pass_context *c) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) return -1;
  if (fork() == 0) {
    dup2(ends[1], 1);
    execlp("cat", "cat", lab.path, (char *)NULL);
    _exit(1);
  }
  close(ends[1]);
  (void)c;
  return ends[0];
}

static void a_pipe_is_spilled_so_that_it_can_be_read_in_two_places(void **state) {
  (void)state;
  static const char *const names[] = {"apart.ts", "plain.mp4", "late20.mp4"};
  static const uint64_t frames[] = {900, 100, 390};
  for (size_t i = 0; i < 3; i++) {
    begin(names[i]);
    snprintf(lab.scratch, sizeof lab.scratch, "%s", "/tmp");
    lab.c.source_open = pipe_of;
    struct lab_stage *sink = lab_sink(&lab, "sink", -1, -1);
    if (run() != SM_OK) fail_msg("%s: %s", names[i], sink->blame);
    assert_int_equal(lab_video(sink)->frames, frames[i]);
    assert_true(lab_audio(sink)->frames > 100);
    end();
  }
}

static void *cancel_soon(void *context) {
  usleep(150000);
  atomic_store(&((struct lab *)context)->cancel, true);
  return NULL;
}

static void cancelling_stops_a_decode(void **state) {
  (void)state;
  pthread_t thread;
  begin("sixty.ts");
  struct lab_stage *slow = lab_sink(&lab, "slow", -1, -1);
  slow->frame_us = 3000;
  pthread_create(&thread, NULL, cancel_soon, &lab);
  assert_int_equal(run(), SM_CANCELLED);
  pthread_join(thread, NULL);
  assert_int_equal(slow->verdict, SM_CANCELLED);
  assert_true(stat_of("decodedVideoFrames") < 600);
  end();
}

static int make_samples(void **state) {
  char command[1200];
  (void)state;
  const char *given = getenv("STAGEMILL_MEDIA_SAMPLES");
  snprintf(folder, sizeof folder, "%s", given ? given : MEDIA_SAMPLES);
  snprintf(command, sizeof command, "sh '%s' '%s'", MEDIA_SCRIPT, folder);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(frames_are_those_an_independent_decoder_counts),
      cmocka_unit_test(pictures_are_upright_square_and_even),
      cmocka_unit_test(pictures_are_turned_the_right_way),
      cmocka_unit_test(timestamps_of_vfr_are_kept),
      cmocka_unit_test(the_clock_begins_at_zero_whatever_the_container_says),
      cmocka_unit_test(late_sound_arrives_where_it_belongs),
      cmocka_unit_test(a_file_with_all_pictures_before_all_sound_keeps_its_sound),
      cmocka_unit_test(streams_of_different_length_end_on_their_own),
      cmocka_unit_test(cover_art_is_no_video_and_tracks_are_all_there),
      cmocka_unit_test(hdr_is_mapped_for_those_who_ask_and_only_for_them),
      cmocka_unit_test(conversions_keep_range_and_matrix),
      cmocka_unit_test(a_change_in_mid_course_is_announced_or_scaled_away),
      cmocka_unit_test(damaged_and_hostile_files_fail_with_a_sentence),
      cmocka_unit_test(a_few_flipped_bits_are_survived),
      cmocka_unit_test(a_poster_alone_is_found_by_seeking),
      cmocka_unit_test(seeking_finds_what_decoding_everything_finds),
      cmocka_unit_test(a_poster_ends_before_the_rest_and_shares_the_decode),
      cmocka_unit_test(when_the_poster_is_all_nothing_more_is_decoded),
      cmocka_unit_test(a_pipe_is_spilled_so_that_it_can_be_read_in_two_places),
      cmocka_unit_test(cancelling_stops_a_decode),
  };
  return cmocka_run_group_tests(tests, make_samples, NULL);
}
