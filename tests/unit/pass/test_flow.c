/* The pass with synthetic streams and stages: interleaving, back-pressure, early ends, failures, cancellation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "synthetic.h"

struct bench {
  struct lab lab;
  struct synthetic source;
  struct value *stats;
};

static void bench_init(struct bench *b, bool seekable) {
  lab_init(&b->lab);
  synthetic_init(&b->source, 2, seekable);
  b->stats = value_map();
}

static sm_status bench_run(struct bench *b) {
  lab_ready(&b->lab);
  return pass_run(&b->lab.c, &b->source.origin, b->stats);
}

static void bench_free(struct bench *b) {
  for (uint32_t i = 0; i < b->lab.count; i++) {
    assert_false(b->lab.stage[i].wrong_thread);
    assert_false(b->lab.stage[i].merge_disorder);
    if (b->lab.stage[i].opens && !b->lab.stage[i].open_with) assert_true(b->lab.stage[i].closed);
  }
  lab_free(&b->lab);
  synthetic_free(&b->source);
  value_free(&b->stats);
}

static void one_frame_queues(void) {
  setenv("STAGEMILL_PASS_FRAMES", "1", 1);
  setenv("STAGEMILL_PASS_PACKETS", "1", 1);
}
static void usual_queues(void) {
  unsetenv("STAGEMILL_PASS_FRAMES");
  unsetenv("STAGEMILL_PASS_PACKETS");
  unsetenv("STAGEMILL_PASS_WINDOW_MS");
}

static void assert_all_seen(const struct bench *b, const struct lab_stage *s, uint32_t stream,
                            const struct seen *seen) {
  uint64_t expected = 0;
  for (uint32_t i = 0; i < b->source.count; i++) expected += b->source.items[i].stream == stream;
  assert_int_equal(seen->frames, expected);
  assert_false(seen->disorder);
  assert_true(seen->flushed);
  assert_int_equal(s->verdict, SM_OK);
  assert_int_equal(s->verdicts, 1);
}

/* A filter, two sinks, a usual file. */
static void frames_reach_everybody_once_and_in_order(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 20, 0, 20000000);
  lab_filter(&b.lab, "brand", -1, -2);
  struct lab_stage *stream = lab_sink(&b.lab, "stream", 0, -1), *other = lab_sink(&b.lab, "other", -1, -2);
  assert_int_equal(bench_run(&b), SM_OK);
  assert_all_seen(&b, stream, 0, lab_video(stream));
  assert_all_seen(&b, stream, 1, lab_audio(stream));
  assert_all_seen(&b, other, 0, lab_video(other));
  assert_int_equal(b.source.cursors, 1);
  assert_int_equal(b.lab.opened, 1);
  assert_int_equal(atomic_load(&b.lab.page.stages[1].fraction_ppm), 1000000);
  assert_true(atomic_load(&b.lab.page.stages[1].frames) == lab_video(stream)->frames + lab_audio(stream)->frames);
  bench_free(&b);
}

/* The classic deadlock: everything of one stream before everything of the other, queues of one. */
static void all_video_before_all_audio_gets_a_second_cursor(void **state) {
  (void)state;
  struct bench b;
  one_frame_queues();
  setenv("STAGEMILL_PASS_WINDOW_MS", "2000", 1);
  bench_init(&b, true);
  for (int64_t at = 0; at < 30000000; at += 40000) synthetic_add(&b.source, 0, at);
  for (int64_t at = 0; at < 30000000; at += 21333) synthetic_add(&b.source, 1, at);
  struct lab_stage *sink = lab_sink(&b.lab, "stream", -1, -1);
  assert_int_equal(bench_run(&b), SM_OK);
  assert_all_seen(&b, sink, 0, lab_video(sink));
  assert_all_seen(&b, sink, 1, lab_audio(sink));
  assert_int_equal(b.source.cursors, 2);
  assert_true(b.source.peak[0] <= 2 * 25 + 2); /* the window held */
  usual_queues();
  bench_free(&b);
}

static void a_source_that_cannot_seek_fails_with_a_sentence(void **state) {
  (void)state;
  struct bench b;
  setenv("STAGEMILL_PASS_WINDOW_MS", "2000", 1);
  bench_init(&b, false);
  for (int64_t at = 0; at < 30000000; at += 40000) synthetic_add(&b.source, 0, at);
  for (int64_t at = 0; at < 30000000; at += 21333) synthetic_add(&b.source, 1, at);
  struct lab_stage *sink = lab_sink(&b.lab, "stream", -1, -1);
  assert_int_equal(bench_run(&b), SM_FAIL);
  assert_int_equal(sink->verdict, SM_FAIL);
  assert_non_null(strstr(sink->blame, "too far apart"));
  usual_queues();
  bench_free(&b);
}

static void late_audio_does_not_stall_video(void **state) {
  (void)state;
  struct bench b;
  one_frame_queues();
  bench_init(&b, true);
  synthetic_fill(&b.source, 40, 20000000, 40000000);
  struct lab_stage *sink = lab_sink(&b.lab, "stream", -1, -1);
  assert_int_equal(bench_run(&b), SM_OK);
  assert_all_seen(&b, sink, 0, lab_video(sink));
  assert_all_seen(&b, sink, 1, lab_audio(sink));
  assert_true(lab_audio(sink)->floors >= 30); /* it was told that nothing comes, again and again */
  usual_queues();
  bench_free(&b);
}

static void audio_that_ends_early_ends_alone(void **state) {
  (void)state;
  struct bench b;
  one_frame_queues();
  bench_init(&b, true);
  synthetic_fill(&b.source, 30, 0, 5000000);
  struct lab_stage *sink = lab_sink(&b.lab, "stream", -1, -1);
  assert_int_equal(bench_run(&b), SM_OK);
  assert_all_seen(&b, sink, 0, lab_video(sink));
  assert_all_seen(&b, sink, 1, lab_audio(sink));
  usual_queues();
  bench_free(&b);
}

/* Chunks of four seconds of one stream, then of the other: within the window one cursor does. */
static void coarse_interleaving_grows_the_queues_within_the_window(void **state) {
  (void)state;
  struct bench b;
  one_frame_queues();
  bench_init(&b, false);
  for (int64_t chunk = 0; chunk < 40000000; chunk += 4000000) {
    for (int64_t at = chunk; at < chunk + 4000000; at += 40000) synthetic_add(&b.source, 0, at);
    for (int64_t at = chunk; at < chunk + 4000000; at += 20000) synthetic_add(&b.source, 1, at);
  }
  struct lab_stage *sink = lab_sink(&b.lab, "stream", -1, -1);
  assert_int_equal(bench_run(&b), SM_OK);
  assert_all_seen(&b, sink, 0, lab_video(sink));
  assert_all_seen(&b, sink, 1, lab_audio(sink));
  assert_int_equal(b.source.cursors, 1);
  usual_queues();
  bench_free(&b);
}

/* A filter that sits on 40 frames, beside a direct edge: the diamond that locks up naive passes. */
static void a_filter_that_holds_frames_back_does_not_lock_up(void **state) {
  (void)state;
  struct bench b;
  one_frame_queues();
  bench_init(&b, true);
  synthetic_fill(&b.source, 10, 0, 10000000);
  b.source.delay[0] = 7;
  lab_filter(&b.lab, "hold", -1, -2)->hold = 40;
  lab_filter(&b.lab, "both", 0, -1);
  struct lab_stage *sink = lab_sink(&b.lab, "stream", 1, -1), *copy = lab_sink(&b.lab, "copy", 0, 1);
  assert_int_equal(bench_run(&b), SM_OK);
  assert_all_seen(&b, sink, 0, lab_video(sink));
  assert_all_seen(&b, sink, 1, lab_audio(sink));
  assert_all_seen(&b, copy, 0, lab_video(copy));
  assert_all_seen(&b, copy, 1, lab_audio(copy));
  usual_queues();
  bench_free(&b);
}

static void a_filter_may_change_size_and_rate(void **state) {
  (void)state;
  struct bench b;
  one_frame_queues();
  bench_init(&b, true);
  synthetic_fill(&b.source, 10, 0, 10000000);
  struct lab_stage *filter = lab_filter(&b.lab, "half", -1, -2);
  filter->keep_one_in = 5;
  filter->out_width = 64;
  struct lab_stage *sink = lab_sink(&b.lab, "stream", 0, -1);
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(lab_video(sink)->frames, 50);
  assert_int_equal(lab_video(sink)->width, 64);
  assert_int_equal(sink->offered[0].width, 64);
  assert_int_equal(lab_video(sink)->last_us, 9800000);
  assert_all_seen(&b, sink, 1, lab_audio(sink));
  usual_queues();
  bench_free(&b);
}

static void conversions_are_made_for_those_who_want_them(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 4, 0, 4000000);
  struct lab_stage *small = lab_sink(&b.lab, "small", -1, -1), *small2 = lab_sink(&b.lab, "small2", -1, -2),
                   *plain = lab_sink(&b.lab, "plain", -1, -1);
  small->use_wants = small2->use_wants = true;
  small->want.want_width = small2->want.want_width = 16;
  small->want.want_sample_rate = 44100;
  small->want.want_channels = 2;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(lab_video(small)->width, 16);
  assert_int_equal(lab_video(small)->height, 8);
  assert_int_equal(lab_video(small2)->width, 16);
  assert_int_equal(lab_video(plain)->width, 32);
  assert_int_equal(lab_audio(small)->rate, 44100);
  assert_int_equal(lab_audio(small)->channels, 2);
  assert_int_equal(lab_audio(plain)->rate, 48000);
  assert_in_range(lab_audio(small)->samples, 44100 * 4 - 1024, 44100 * 4 + 1024);
  assert_false(lab_audio(small)->disorder);
  bench_free(&b);
}

static void a_sink_that_is_done_is_closed_at_once(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 20, 0, 20000000);
  struct lab_stage *poster = lab_sink(&b.lab, "poster", -1, -2), *stream = lab_sink(&b.lab, "stream", -1, -1);
  poster->done_at = 10;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(poster->verdict, SM_OK);
  assert_int_equal(poster->closed_with, SM_DONE);
  assert_int_equal(lab_video(poster)->frames, 10);
  assert_all_seen(&b, stream, 0, lab_video(stream));
  bench_free(&b);
}

static void when_all_are_done_the_rest_is_not_decoded(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 200, 0, 200000000);
  lab_filter(&b.lab, "brand", -1, -1);
  struct lab_stage *poster = lab_sink(&b.lab, "poster", 0, 0);
  poster->done_at = 10;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(poster->verdict, SM_OK);
  assert_int_equal(b.lab.stage[0].verdict, SM_OK);
  assert_int_equal(b.lab.stage[0].closed_with, SM_DONE);
  assert_true(atomic_load(&b.source.decoded) < 200);
  bench_free(&b);
}

static void a_soft_failure_costs_only_its_own_sink(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 10, 0, 10000000);
  struct lab_stage *poster = lab_sink(&b.lab, "poster", -1, -2), *stream = lab_sink(&b.lab, "stream", -1, -1);
  poster->soft = true;
  poster->fail_at = 5;
  poster->fail_with = SM_RETRY;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(poster->verdict, SM_RETRY);
  assert_int_equal(poster->closed_with, SM_FAIL);
  assert_all_seen(&b, stream, 0, lab_video(stream));
  bench_free(&b);
}

static void a_hard_failure_names_the_culprit_alone(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 60, 0, 60000000);
  struct lab_stage *bad = lab_sink(&b.lab, "bad", -1, -2), *good = lab_sink(&b.lab, "good", -1, -1);
  bad->fail_at = 50;
  assert_int_equal(bench_run(&b), SM_FAIL);
  assert_int_equal(bad->verdict, SM_FAIL);
  assert_int_equal(good->verdict, SM_CANCELLED);
  assert_int_equal(good->closed_with, SM_CANCELLED);
  assert_int_equal(good->verdicts, 1);
  assert_true(lab_video(good)->frames < 1500);
  bench_free(&b);
}

static void a_bypassing_filter_that_fails_lets_frames_through(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 10, 0, 10000000);
  struct lab_stage *brand = lab_filter(&b.lab, "brand", -1, -2), *stream = lab_sink(&b.lab, "stream", 0, -1);
  brand->soft = brand->bypass = true;
  brand->fail_at = 20;
  brand->out_width = 64; /* what passes is smaller: the host scales it to what was promised */
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(brand->verdict, SM_FAIL);
  assert_int_equal(brand->verdicts, 1);
  assert_int_equal(stream->verdict, SM_OK);
  assert_int_equal(lab_video(stream)->frames, 249); /* the frame it failed on is gone */
  assert_false(lab_video(stream)->odd_size);
  bench_free(&b);
}

static void a_bypassing_filter_that_fails_to_open_is_left_out(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 4, 0, 4000000);
  struct lab_stage *brand = lab_filter(&b.lab, "brand", -1, -2), *stream = lab_sink(&b.lab, "stream", 0, -1);
  brand->soft = brand->bypass = true;
  brand->open_with = SM_FAIL;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(brand->verdict, SM_FAIL);
  assert_all_seen(&b, stream, 0, lab_video(stream));
  bench_free(&b);
}

static void without_bypass_its_consumers_fail_with_it(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 10, 0, 10000000);
  struct lab_stage *brand = lab_filter(&b.lab, "brand", -1, -2), *stream = lab_sink(&b.lab, "stream", 0, -1),
                   *other = lab_sink(&b.lab, "other", -1, -1);
  brand->soft = stream->soft = true;
  brand->fail_at = 20;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(brand->verdict, SM_FAIL);
  assert_int_equal(stream->verdict, SM_FAIL);
  assert_non_null(strstr(stream->blame, "lost its frames"));
  assert_all_seen(&b, other, 0, lab_video(other));
  bench_free(&b);
}

static void *cancel_soon(void *context) {
  usleep(60000);
  atomic_store(&((struct lab *)context)->cancel, true);
  return NULL;
}

static void cancelling_ends_everything_soon(void **state) {
  (void)state;
  struct bench b;
  pthread_t thread;
  bench_init(&b, true);
  synthetic_fill(&b.source, 600, 0, 600000000);
  lab_filter(&b.lab, "brand", -1, -2);
  struct lab_stage *slow = lab_sink(&b.lab, "slow", 0, -1);
  slow->frame_us = 5000;
  pthread_create(&thread, NULL, cancel_soon, &b.lab);
  assert_int_equal(bench_run(&b), SM_CANCELLED);
  pthread_join(thread, NULL);
  assert_int_equal(slow->verdict, SM_CANCELLED);
  assert_int_equal(slow->closed_with, SM_CANCELLED);
  assert_true(slow->in_frames < 1000);
  bench_free(&b);
}

static void dropped_and_done_stages_take_no_part(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, true);
  synthetic_fill(&b.source, 4, 0, 4000000);
  struct lab_stage *done = lab_sink(&b.lab, "done", -1, -2), *dropped = lab_sink(&b.lab, "dropped", -1, -2),
                   *late = lab_sink(&b.lab, "late", -1, -1), *idle = lab_filter(&b.lab, "idle", -1, -2);
  done->done = true;
  late->late = true;
  b.lab.drop[1] = true;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_int_equal(done->opens, 0);
  assert_int_equal(done->verdicts, 0);
  assert_int_equal(dropped->verdicts, 0);
  assert_int_equal(dropped->closed_with, SM_CANCELLED);
  assert_int_equal(idle->opens, 0);
  assert_all_seen(&b, late, 0, lab_video(late));
  bench_free(&b);
}

static void only_the_frames_on_screen_at_the_asked_times(void **state) {
  (void)state;
  struct bench b;
  static const int64_t times[] = {0, 1000000, 1010000, 1999999, 500000000};
  one_frame_queues();
  bench_init(&b, true);
  synthetic_fill(&b.source, 10, 0, 10000000);
  struct lab_stage *poster = lab_sink(&b.lab, "poster", -1, -1), *stream = lab_sink(&b.lab, "stream", -1, -1);
  poster->times_us = times;
  poster->time_count = 5;
  assert_int_equal(bench_run(&b), SM_OK);
  assert_all_seen(&b, stream, 0, lab_video(stream));
  const struct seen *seen = lab_video(poster);
  assert_int_equal(seen->frames, 5);
  assert_int_equal(seen->shots_us[0], 0);
  assert_int_equal(seen->shots_us[1], 1000000);
  assert_int_equal(seen->shots_us[2], 1000000);
  assert_int_equal(seen->shots_us[3], 1960000);
  assert_int_equal(seen->shots_us[4], 9960000); /* beyond the end: the last one */
  assert_all_seen(&b, poster, 1, lab_audio(poster));
  usual_queues();
  bench_free(&b);
}

static void odd_interleavings_with_queues_of_one(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 12; seed++) {
    struct bench b;
    one_frame_queues();
    bench_init(&b, true);
    srand(seed);
    int64_t at[2] = {0, 0};
    while (at[0] < 20000000 || at[1] < 20000000) {
      uint32_t stream = (uint32_t)rand() & 1;
      for (int run = rand() % (seed % 3 ? 40 : 300); run > 0; run--, at[stream] += stream ? 21333 : 40000)
        if (at[stream] < 20000000) synthetic_add(&b.source, stream, at[stream]);
    }
    b.source.delay[0] = seed % 5;
    b.source.delay[1] = seed % 3;
    lab_filter(&b.lab, "f1", -1, seed & 1 ? -1 : -2)->hold = seed % 4 * 5;
    lab_filter(&b.lab, "f2", 0, -2);
    struct lab_stage *one = lab_sink(&b.lab, "one", 1, -1), *two = lab_sink(&b.lab, "two", 0, seed & 1 ? 0 : -1),
                     *three = lab_sink(&b.lab, "three", -2, -1);
    assert_int_equal(bench_run(&b), SM_OK);
    assert_all_seen(&b, one, 0, lab_video(one));
    assert_all_seen(&b, one, 1, lab_audio(one));
    assert_all_seen(&b, two, 0, lab_video(two));
    assert_all_seen(&b, two, 1, lab_audio(two));
    assert_all_seen(&b, three, 1, lab_audio(three));
    usual_queues();
    bench_free(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(frames_reach_everybody_once_and_in_order),
      cmocka_unit_test(all_video_before_all_audio_gets_a_second_cursor),
      cmocka_unit_test(a_source_that_cannot_seek_fails_with_a_sentence),
      cmocka_unit_test(late_audio_does_not_stall_video),
      cmocka_unit_test(audio_that_ends_early_ends_alone),
      cmocka_unit_test(coarse_interleaving_grows_the_queues_within_the_window),
      cmocka_unit_test(a_filter_that_holds_frames_back_does_not_lock_up),
      cmocka_unit_test(a_filter_may_change_size_and_rate),
      cmocka_unit_test(conversions_are_made_for_those_who_want_them),
      cmocka_unit_test(a_sink_that_is_done_is_closed_at_once),
      cmocka_unit_test(when_all_are_done_the_rest_is_not_decoded),
      cmocka_unit_test(a_soft_failure_costs_only_its_own_sink),
      cmocka_unit_test(a_hard_failure_names_the_culprit_alone),
      cmocka_unit_test(a_bypassing_filter_that_fails_lets_frames_through),
      cmocka_unit_test(a_bypassing_filter_that_fails_to_open_is_left_out),
      cmocka_unit_test(without_bypass_its_consumers_fail_with_it),
      cmocka_unit_test(cancelling_ends_everything_soon),
      cmocka_unit_test(dropped_and_done_stages_take_no_part),
      cmocka_unit_test(only_the_frames_on_screen_at_the_asked_times),
      cmocka_unit_test(odd_interleavings_with_queues_of_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
