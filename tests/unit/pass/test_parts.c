/* The small parts of the pass: what a display matrix means, timestamps of sound, the merge, pickers behind a filter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/channel_layout.h>
#include <libavutil/display.h>

#include <cmocka.h>

#include "media/picture.h"
#include "media/sound.h"
#include "media/source.h"
#include "synthetic.h"

/* ---- shapes ---- */

static struct picture_shape shape_of(const int32_t m[9], int width, int height, AVRational aspect) {
  struct source_stream stream = {.has_matrix = m != NULL};
  if (m) memcpy(stream.matrix, m, sizeof stream.matrix);
  return picture_shape(&stream, width, height, aspect);
}

/* Follows a corner of the coded picture through mirroring and turning, as the filters do. */
static void follow(const struct picture_shape *s, int *x, int *y) {
  int turns = s->rotation / 90, old;
  if (s->mirrored) *x = -*x;
  for (; turns > 0; turns--) { /* clockwise, y pointing down */
    old = *x;
    *x = -*y;
    *y = old;
  }
}

static void every_display_matrix_is_followed_exactly(void **state) {
  (void)state;
  static const int cases[8][4] = {{1, 0, 0, 1},  {0, 1, -1, 0}, {-1, 0, 0, -1}, {0, -1, 1, 0},
                                  {-1, 0, 0, 1}, {1, 0, 0, -1}, {0, 1, 1, 0},   {0, -1, -1, 0}};
  for (int i = 0; i < 8; i++) {
    const int *k = cases[i];
    int32_t m[9] = {k[0] * 65536, k[1] * 65536, 0, k[2] * 65536, k[3] * 65536, 0, 0, 0, 1 << 30};
    struct picture_shape s = shape_of(m, 320, 180, (AVRational){1, 1});
    int x = 3, y = 5; /* an asymmetric point around the centre */
    follow(&s, &x, &y);
    assert_int_equal(x, 3 * k[0] + 5 * k[2]);
    assert_int_equal(y, 3 * k[1] + 5 * k[3]);
    assert_int_equal(s.width, k[0] ? 320 : 180);
    assert_int_equal(s.height, k[0] ? 180 : 320);
  }
}

static void matrices_of_other_angles_are_left_alone(void **state) {
  int32_t m[9];
  (void)state;
  av_display_rotation_set(m, 33);
  struct picture_shape s = shape_of(m, 320, 180, (AVRational){1, 1});
  assert_int_equal(s.rotation, 0);
  assert_int_equal(s.width, 320);
}

static void sizes_become_square_and_even(void **state) {
  (void)state;
  struct picture_shape s = shape_of(NULL, 720, 576, (AVRational){64, 45});
  assert_int_equal(s.width, 1024);
  assert_int_equal(s.height, 576);
  s = shape_of(NULL, 639, 361, (AVRational){0, 1});
  assert_int_equal(s.width, 638);
  assert_int_equal(s.height, 360);
  assert_int_equal(s.scaled_width, 0); /* cropped, not scaled */
  s = shape_of(NULL, 1, 1, (AVRational){1, 1});
  assert_int_equal(s.width, 2);
  assert_int_equal(s.height, 2);
  s = shape_of(NULL, 320, 180, (AVRational){1000, 1}); /* nonsense */
  assert_int_equal(s.width, 320);
}

/* ---- sound ---- */

static int64_t stamp(struct sound_path *p, int64_t pts, int samples, bool *kept) {
  AVFrame *f = av_frame_alloc();
  f->pts = f->best_effort_timestamp = pts;
  f->nb_samples = samples;
  f->sample_rate = 48000;
  av_channel_layout_default(&f->ch_layout, 2);
  *kept = sound_path_stamp(p, f);
  int64_t at = f->pts;
  av_frame_free(&f);
  return at;
}

static void sound_follows_its_samples_and_keeps_real_gaps(void **state) {
  (void)state;
  struct sound_path p;
  bool kept;
  sound_path_init(&p, (AVRational){1, 1000}, (AVRational){1, 48000});
  assert_int_equal(stamp(&p, 0, 1024, &kept), 0);
  assert_int_equal(stamp(&p, 21, 1024, &kept), 1024); /* a millisecond clock rounds */
  assert_int_equal(stamp(&p, 43, 1024, &kept), 2048);
  assert_int_equal(stamp(&p, AV_NOPTS_VALUE, 1024, &kept), 3072);
  assert_int_equal(stamp(&p, 1000, 1024, &kept), 48000); /* a gap */
  stamp(&p, 500, 1024, &kept);                           /* half a second that was there before */
  assert_false(kept);
  assert_int_equal(stamp(&p, 1010, 1024, &kept), 49024); /* a little overlap is absorbed */
  assert_true(kept);
  stamp(&p, 1100, 0, &kept);
  assert_false(kept);
}

/* ---- pickers behind a filter ---- */

static void a_poster_behind_a_filter_gets_its_frames(void **state) {
  (void)state;
  static const int64_t times[] = {500000, 3000000};
  struct lab lab;
  struct synthetic source;
  struct value *stats = value_map();
  lab_init(&lab);
  synthetic_init(&source, 2, true);
  synthetic_fill(&source, 6, 0, 6000000);
  lab_filter(&lab, "brand", -1, -1);
  struct lab_stage *poster = lab_sink(&lab, "poster", 0, 0);
  poster->times_us = times;
  poster->time_count = 2;
  poster->no_audio = true;
  lab_ready(&lab);
  assert_int_equal(pass_run(&lab.c, &source.origin, stats), SM_OK);
  assert_int_equal(lab_video(poster)->frames, 2);
  assert_int_equal(lab_video(poster)->shots_us[0], 480000);
  assert_int_equal(lab_video(poster)->shots_us[1], 3000000);
  assert_true(atomic_load(&source.decoded) < 330); /* of 432: it ended when the last one was there */
  lab_free(&lab);
  synthetic_free(&source);
  value_free(&stats);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_display_matrix_is_followed_exactly),
      cmocka_unit_test(matrices_of_other_angles_are_left_alone),
      cmocka_unit_test(sizes_become_square_and_even),
      cmocka_unit_test(sound_follows_its_samples_and_keeps_real_gaps),
      cmocka_unit_test(a_poster_behind_a_filter_gets_its_frames),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
