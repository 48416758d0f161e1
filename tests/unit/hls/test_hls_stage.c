/* The plugin file `hls` in a host made of tables: awkward streams in, segments looked at one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <libavutil/channel_layout.h>
#include <libavutil/log.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "fakehost.h"
#include "inspect.h"

enum { RATE = 48000, BLOCK = 1024, MOST = 64 };

/* ---- a source ------------------------------------------------------------------------------------------------- */

struct clip {
  int width, height; /* 0: no picture */
  double fps;
  double video_from, video_to, audio_from, audio_to; /* audio_to 0: no sound */
  bool vfr;                                          /* irregular times, and nothing between 3 and 8 s */
  bool picture_first;                                /* all pictures before all sound: the worst interleaving */
  bool silent_host;                                  /* never says "nothing before" */
};

struct run {
  struct fake_host *host;
  char folder[64];
  struct clip clip;
  sm_stream in[2];
  int count, video, audio;
  AVFrame *picture, *sound;
};

static void remove_folder(const char *folder) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  assert_int_equal(system(command), 0);
}

static void describe(struct run *r) {
  r->video = r->audio = -1;
  if (r->clip.width) {
    r->video = r->count;
    r->in[r->count++] = (sm_stream){.size = sizeof(sm_stream),
                                    .kind = SM_STREAM_VIDEO,
                                    .port = "video",
                                    .is_default = 1,
                                    .time_base = {1, 12800},
                                    .width = r->clip.width,
                                    .height = r->clip.height,
                                    .frame_rate = av_d2q(r->clip.fps, 1001000),
                                    .is_vfr = r->clip.vfr,
                                    .want_pixel_format = -1,
                                    .want_sample_format = -1};
  }
  if (r->clip.audio_to > 0) {
    r->audio = r->count;
    r->in[r->count++] = (sm_stream){.size = sizeof(sm_stream),
                                    .kind = SM_STREAM_AUDIO,
                                    .port = "audio",
                                    .is_default = 1,
                                    .time_base = {1, RATE},
                                    .sample_rate = RATE,
                                    .channels = 2,
                                    .want_pixel_format = -1,
                                    .want_sample_format = -1};
  }
}

static struct run *begin(struct clip clip) {
  struct run *r = calloc(1, sizeof *r);
  r->clip = clip;
  snprintf(r->folder, sizeof r->folder, "/tmp/hls-test-XXXXXX");
  assert_non_null(mkdtemp(r->folder));
  r->host = fake_create(HLS_PLUGIN, "hls", r->folder);
  r->host->duration_us = (int64_t)(fmax(clip.video_to, clip.audio_to) * 1e6);
  fake_set(r->host, "preset", "ultrafast");
  describe(r);
  return r;
}

static void end(struct run *r) {
  av_frame_free(&r->picture);
  av_frame_free(&r->sound);
  fake_destroy(&r->host);
  remove_folder(r->folder);
  free(r);
}

/* A gradient with a bar that moves. */
static sm_status send_picture(struct run *r, double time) {
  av_frame_free(&r->picture);
  AVFrame *f = r->picture = av_frame_alloc();
  f->format = AV_PIX_FMT_YUV420P;
  f->width = r->clip.width;
  f->height = r->clip.height;
  assert_int_equal(av_frame_get_buffer(f, 0), 0);
  int bar = (int)(time * 40) % f->width;
  for (int y = 0; y < f->height; y++)
    for (int x = 0; x < f->width; x++)
      f->data[0][y * f->linesize[0] + x] = (uint8_t)(abs(x - bar) < 8 ? 235 : 40 + x % 128);
  for (int plane = 1; plane < 3; plane++)
    memset(f->data[plane], 128, (size_t)f->linesize[plane] * (size_t)((f->height + 1) / 2));
  f->pts = llround(time * 12800);
  f->pkt_duration = r->clip.vfr ? 0 : llround(12800 / r->clip.fps);
  return fake_frame(r->host, (uint32_t)r->video, f);
}

static sm_status send_sound(struct run *r, double time) {
  av_frame_free(&r->sound);
  AVFrame *f = r->sound = av_frame_alloc();
  f->format = AV_SAMPLE_FMT_FLTP;
  f->sample_rate = RATE;
  f->nb_samples = BLOCK;
  av_channel_layout_default(&f->ch_layout, 2);
  assert_int_equal(av_frame_get_buffer(f, 0), 0);
  for (int c = 0; c < 2; c++)
    for (int i = 0; i < BLOCK; i++)
      ((float *)f->data[c])[i] = 0.5f * sinf((float)(6.2831853 * 440 * (time + (double)i / RATE)));
  f->pts = llround(time * RATE);
  return fake_frame(r->host, (uint32_t)r->audio, f);
}

static double next_picture(const struct run *r, double time) {
  if (!r->clip.vfr) return time + 1 / r->clip.fps;
  double step = (1 + (int)(time * 1000) % 3) / r->clip.fps;
  return time + step > 3 && time < 3 ? 8.123 : time + step;
}

/* Hands over both streams in order of time, or as badly as the clip says. */
static sm_status feed(struct run *r) {
  double v = r->clip.video_from, a = r->clip.audio_from;
  bool more_v = r->video >= 0, more_a = r->audio >= 0;
  sm_status status = SM_OK;
  while ((more_v || more_a) && status == SM_OK) {
    bool picture = more_v && (!more_a || r->clip.picture_first || v <= a);
    if (picture && v >= r->clip.video_to - 0.0005) {
      more_v = false;
      status = fake_flush(r->host, (uint32_t)r->video);
    } else if (!picture && a >= r->clip.audio_to - 0.0005) {
      more_a = false;
      status = fake_flush(r->host, (uint32_t)r->audio);
    } else if (picture) {
      status = send_picture(r, v);
      if (!r->clip.silent_host && !r->clip.picture_first && more_a && a > v && status == SM_OK)
        status = fake_nothing_before(r->host, (uint32_t)r->audio, llround(v * RATE));
      v = next_picture(r, v);
    } else {
      status = send_sound(r, a);
      if (!r->clip.silent_host && more_v && v > a && status == SM_OK)
        status = fake_nothing_before(r->host, (uint32_t)r->video, llround(a * 12800));
      a += (double)BLOCK / RATE;
    }
  }
  return status;
}

static void produce(struct run *r) {
  sm_status status = fake_open(r->host, r->in, (uint32_t)r->count);
  if (status != SM_OK) fail_msg("open: %s", r->host->message);
  status = feed(r);
  if (status != SM_OK) fail_msg("feed: %s", r->host->message);
  status = fake_close(r->host, SM_OK);
  if (status != SM_OK) fail_msg("close: %s", r->host->message);
}

/* ---- what came out -------------------------------------------------------------------------------------------- */

struct rendition {
  int count;
  double extinf[MOST], total;
  struct inspection segments[MOST];
};

static void read_rendition(struct run *r, const char *name, struct rendition *out) {
  char path[256], line[512], init[256] = "";
  memset(out, 0, sizeof *out);
  snprintf(path, sizeof path, "%s/clip_%s.m3u8", r->folder, name);
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("no %s", path);
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "#EXTINF:%lf", &out->extinf[out->count]) == 1) continue;
    if (!strncmp(line, "#EXT-X-MAP:URI=\"", 16)) {
      line[strlen(line) - 1] = '\0';
      snprintf(init, sizeof init, "%s/%.180s", r->folder, line + 16);
    }
    if (line[0] == '#') continue;
    snprintf(path, sizeof path, "%s/%.180s", r->folder, line);
    assert_in_range(out->count, 0, MOST - 2);
    if (!inspect_segment(init[0] ? init : NULL, path, &out->segments[out->count])) fail_msg("%s is damaged", path);
    out->total += out->extinf[out->count++];
  }
  fclose(file);
}

/* Every segment begins with a keyframe, carries what it should, and lasts as long as the playlist says. */
static void check(const struct run *r, const struct rendition *o, double total) {
  assert_true(fabs(o->total - total) < 1 / (r->clip.fps ? r->clip.fps : 25) + 0.002);
  for (int i = 0; i < o->count; i++) {
    const struct inspection *s = &o->segments[i];
    if (r->video >= 0) assert_true(s->pictures > 0 && s->starts_with_key);
    if (r->video >= 0) assert_int_equal(s->decoded_pictures, s->pictures);
    if (r->audio >= 0) assert_true(s->sounds > 0);
    if (r->audio >= 0) assert_true(s->last_sound - s->first_sound > o->extinf[i] - 0.07);
    if (r->video >= 0 && i) {
      double true_length = s->first_picture - o->segments[i - 1].first_picture;
      assert_true(fabs(true_length - o->extinf[i - 1]) < (i == 1 ? 0.05 : 0.001));
    }
  }
}

static void check_aligned(const struct rendition *a, const struct rendition *b) {
  assert_int_equal(a->count, b->count);
  for (int i = 0; i < a->count; i++) {
    assert_int_equal(a->segments[i].keys, b->segments[i].keys);
    assert_true(fabs(a->segments[i].first_picture - b->segments[i].first_picture) < 0.0002);
  }
}

static const struct clip ordinary = {.width = 320, .height = 180, .fps = 25, .video_to = 13, .audio_to = 13};

/* ---- scenarios ------------------------------------------------------------------------------------------------ */

static void two_renditions_are_cut_alike(void **state) {
  (void)state;
  struct run *r = begin(ordinary);
  struct rendition top, low;
  fake_set(r->host, "ladder", "180p,144p");
  produce(r);
  read_rendition(r, "180p", &top);
  read_rendition(r, "144p", &low);
  assert_int_equal(top.count, 3);
  check(r, &top, 13);
  check(r, &low, 13);
  check_aligned(&top, &low);
  assert_int_equal(low.segments[0].width, 256);
  assert_int_equal(fake_count(r->host, "segments"), 6);
  assert_int_equal(fake_count(r->host, "playlists"), 2);
  assert_int_equal(fake_count(r->host, "master"), 1);
  assert_string_equal(fake_result(r->host, "master")->text, "master.m3u8");
  assert_int_equal(fake_result(r->host, "renditions")->value.integer, 2);
  assert_int_equal(fake_result(r->host, "segments")->value.integer, 6);
  assert_true(llabs(fake_result(r->host, "duration")->value.integer - 13000000) < 50000);
  assert_float_equal(r->host->progress, 1, 0);
  end(r);
}

static void late_sound_is_preceded_by_silence(void **state) {
  (void)state;
  for (int silent = 0; silent < 2; silent++) {
    struct clip clip = ordinary;
    clip.audio_from = 7;
    clip.silent_host = silent;
    struct run *r = begin(clip);
    struct rendition o;
    produce(r);
    read_rendition(r, "180p", &o);
    check(r, &o, 13);
    assert_true(o.segments[0].loudness < 0.001);
    assert_true(o.segments[2].loudness > 0.3);
    assert_float_equal(o.segments[1].loudness, 0.5 / sqrt(2) * sqrt(5.0 / 6), 0.004); /* one of six seconds is silent */
    end(r);
  }
}

static void sound_that_ends_early_is_followed_by_silence(void **state) {
  (void)state;
  struct clip clip = ordinary;
  clip.audio_to = 5;
  struct run *r = begin(clip);
  struct rendition o;
  produce(r);
  read_rendition(r, "180p", &o);
  check(r, &o, 13);
  assert_true(o.segments[0].loudness > 0.2);
  assert_true(o.segments[2].loudness < 0.001);
  end(r);
}

static void longer_sound_keeps_the_last_picture(void **state) {
  (void)state;
  struct clip clip = ordinary;
  clip.video_to = 4;
  clip.audio_to = 20;
  struct run *r = begin(clip);
  struct rendition o;
  produce(r);
  read_rendition(r, "180p", &o);
  assert_int_equal(o.count, 4);
  check(r, &o, 20);
  end(r);
}

static void late_picture_is_preceded_by_black(void **state) {
  (void)state;
  struct clip clip = ordinary;
  clip.video_from = 7;
  struct run *r = begin(clip);
  struct rendition o;
  produce(r);
  read_rendition(r, "180p", &o);
  check(r, &o, 13);
  end(r);
}

static void pictures_before_all_sound_give_the_same(void **state) {
  (void)state;
  struct clip clip = ordinary;
  clip.picture_first = true;
  struct run *r = begin(clip);
  struct rendition o;
  produce(r);
  read_rendition(r, "180p", &o);
  check(r, &o, 13);
  for (int i = 0; i < o.count; i++) assert_true(o.segments[i].loudness > 0.3);
  end(r);
}

static void picture_alone_and_sound_alone_work(void **state) {
  (void)state;
  struct clip clip = ordinary;
  clip.audio_to = 0;
  struct run *r = begin(clip);
  struct rendition o;
  produce(r);
  read_rendition(r, "180p", &o);
  check(r, &o, 13);
  assert_int_equal(o.segments[0].sounds, 0);
  end(r);
  clip = ordinary;
  clip.width = 0;
  r = begin(clip);
  produce(r);
  read_rendition(r, "audio", &o);
  assert_int_equal(o.count, 3);
  check(r, &o, 13);
  assert_int_equal(fake_result(r->host, "width")->value.kind, SM_IS_ABSENT);
  end(r);
}

static void uneven_pictures_stay_uneven_and_aligned(void **state) {
  (void)state;
  struct clip clip = ordinary;
  clip.vfr = true;
  struct run *r = begin(clip);
  struct rendition top, low;
  fake_set(r->host, "ladder", "180p,144p");
  produce(r);
  read_rendition(r, "180p", &top);
  read_rendition(r, "144p", &low);
  check(r, &top, 13);
  check_aligned(&top, &low);
  assert_in_range(top.segments[0].pictures, 30, 60); /* 3 s at 12-25 a second, and one held at 4 s */
  end(r);
}

static void odd_tiny_and_portrait_sizes_work(void **state) {
  (void)state;
  static const struct {
    int width, height;
    const char *name;
    int out_width, out_height;
  } sizes[] = {
      {319, 181, "180p", 318, 180}, {64, 36, "36p", 64, 36}, {33, 17, "16p", 32, 16}, {180, 320, "180p", 180, 320}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct clip clip = {.width = sizes[i].width, .height = sizes[i].height, .fps = 25, .video_to = 2, .audio_to = 2};
    struct run *r = begin(clip);
    struct rendition o;
    produce(r);
    char *name = strdup(fake_result(r->host, "rungs")->text);
    name[strcspn(name, " ")] = '\0';
    if (sizes[i].width > 33) assert_string_equal(name, sizes[i].name);
    read_rendition(r, name, &o);
    free(name);
    check(r, &o, 2);
    assert_int_equal(o.segments[0].width, sizes[i].out_width);
    assert_int_equal(o.segments[0].height, sizes[i].out_height);
    end(r);
  }
}

static void fragmented_mp4_and_the_single_file_come_from_the_same_packets(void **state) {
  (void)state;
  struct run *r = begin(ordinary);
  struct rendition o;
  struct inspection whole;
  char path[128];
  fake_set(r->host, "container", "fmp4");
  fake_set(r->host, "mp4", "true");
  fake_set(r->host, "names", "{rendition}/{index}");
  fake_set(r->host, "gop", "25");
  fake_set(r->host, "segment", "4s");
  produce(r);
  read_rendition(r, "180p", &o);
  assert_int_equal(o.count, 4);
  check(r, &o, 13);
  assert_int_equal(o.segments[0].keys, 4);
  snprintf(path, sizeof path, "%s/clip.mp4", r->folder);
  assert_true(inspect_segment(NULL, path, &whole));
  assert_int_equal(whole.pictures, 325);
  assert_int_equal(fake_count(r->host, "mp4"), 1);
  assert_int_equal(fake_count(r->host, "segments"), 5); /* with the initialisation section */
  end(r);
}

static void bitrates_are_kept_when_asked_for(void **state) {
  (void)state;
  struct run *r = begin(ordinary);
  fake_set(r->host, "ladder.0.width", "320");
  fake_set(r->host, "ladder.0.height", "180");
  fake_set(r->host, "ladder.0.bitrate", "120k");
  fake_set(r->host, "ladder.0.name", "small");
  produce(r);
  struct rendition o;
  read_rendition(r, "small", &o);
  check(r, &o, 13);
  assert_in_range(fake_result(r->host, "average_bandwidth")->value.integer, 100000, 360000); /* with 128k of sound */
  end(r);
}

/* Segment files that cannot be written: a link to /dev/full stands where the second one goes. */
static void a_full_disk_is_the_worlds_fault(void **state) {
  (void)state;
  struct run *r = begin(ordinary);
  char path[128];
  snprintf(path, sizeof path, "%s/clip_180p_001.ts", r->folder);
  assert_int_equal(symlink("/dev/full", path), 0);
  assert_int_equal(fake_open(r->host, r->in, (uint32_t)r->count), SM_OK);
  sm_status status = feed(r);
  if (status == SM_OK)
    status = fake_close(r->host, SM_OK);
  else
    fake_close(r->host, SM_FAIL);
  assert_int_equal(status, SM_RETRY);
  assert_non_null(strstr(r->host->message, "disk is full"));
  assert_non_null(strstr(r->host->message, "clip_180p_001.ts"));
  assert_int_equal(fake_count(r->host, "master"), 0);
  end(r);
}

static void cancelling_ends_at_once(void **state) {
  (void)state;
  struct run *r = begin(ordinary);
  assert_int_equal(fake_open(r->host, r->in, (uint32_t)r->count), SM_OK);
  for (int i = 0; i < 20; i++) assert_int_equal(send_picture(r, i / 25.0), SM_OK);
  pthread_mutex_lock(&r->host->lock);
  r->host->cancelled = true;
  pthread_mutex_unlock(&r->host->lock);
  assert_int_equal(send_picture(r, 1), SM_CANCELLED);
  assert_int_equal(fake_close(r->host, SM_CANCELLED), SM_OK);
  assert_int_equal(fake_count(r->host, "playlists"), 0);
  end(r);
}

static void nothing_decoded_is_a_failure(void **state) {
  (void)state;
  struct run *r = begin(ordinary);
  assert_int_equal(fake_open(r->host, r->in, (uint32_t)r->count), SM_OK);
  assert_int_equal(fake_flush(r->host, 0), SM_OK);
  assert_int_equal(fake_flush(r->host, 1), SM_OK);
  assert_int_equal(fake_close(r->host, SM_OK), SM_FAIL);
  assert_non_null(strstr(r->host->message, "no picture"));
  end(r);
}

static void expect_refusal(const char *const *settings, const char *says) {
  struct run *r = begin(ordinary);
  for (; *settings; settings += 2) fake_set(r->host, settings[0], settings[1]);
  assert_int_equal(fake_open(r->host, r->in, (uint32_t)r->count), SM_FAIL);
  if (!strstr(r->host->message, says)) fail_msg("'%s' does not say '%s'", r->host->message, says);
  end(r);
}

static void contradictions_are_refused_with_a_sentence(void **state) {
  (void)state;
  expect_refusal((const char *const[]){"ladder.0.height", "180", "ladder.0.bitrate", "1M", "ladder.0.crf", "20", NULL},
                 "both bitrate and crf");
  expect_refusal((const char *const[]){"ladder.0.bitrate", "1M", NULL}, "neither width nor height");
  expect_refusal((const char *const[]){"ladder", "auto,480p", NULL}, "stands alone");
  expect_refusal((const char *const[]){"names", "{rendition}", NULL}, "{index}");
  expect_refusal((const char *const[]){"names", "x_{index}", NULL}, "{rendition}");
  expect_refusal((const char *const[]){"names", "{rendition}_{index}.m4s", NULL}, "container ts");
  expect_refusal((const char *const[]){"master", "index.html", NULL}, ".m3u8");
  expect_refusal((const char *const[]){"gop", "0", NULL}, "out of range");
  expect_refusal((const char *const[]){"ladder.0.height", "180", "ladder.0.name", "a/b", NULL}, "a/b");
}

static void plan_knows_the_ladder_from_the_header(void **state) {
  (void)state;
  struct run *r = begin(ordinary);
  fake_set(r->host, "mp4", "true");
  produce(r);
  struct fake_host *second = fake_create(HLS_PLUGIN, "hls", r->folder);
  snprintf(second->source_path, sizeof second->source_path, "%s/clip.mp4", r->folder);
  assert_int_equal(second->stage->plan(&second->task), SM_OK);
  assert_int_equal(second->rungs, 1);
  assert_non_null(strstr(second->rung[0], "180p 320x180 crf 23"));
  assert_true(second->memory > 20e6 && second->cost > 0.9);
  fake_destroy(&second);
  end(r);
}

/* libavutil counts references with atomics that this sanitizer cannot see, as libav is built without it. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:av_buffer_unref\nrace:av_packet_unref\n"; }

int main(void) {
  av_log_set_level(AV_LOG_QUIET);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_renditions_are_cut_alike),
      cmocka_unit_test(late_sound_is_preceded_by_silence),
      cmocka_unit_test(sound_that_ends_early_is_followed_by_silence),
      cmocka_unit_test(longer_sound_keeps_the_last_picture),
      cmocka_unit_test(late_picture_is_preceded_by_black),
      cmocka_unit_test(pictures_before_all_sound_give_the_same),
      cmocka_unit_test(picture_alone_and_sound_alone_work),
      cmocka_unit_test(uneven_pictures_stay_uneven_and_aligned),
      cmocka_unit_test(odd_tiny_and_portrait_sizes_work),
      cmocka_unit_test(fragmented_mp4_and_the_single_file_come_from_the_same_packets),
      cmocka_unit_test(bitrates_are_kept_when_asked_for),
      cmocka_unit_test(a_full_disk_is_the_worlds_fault),
      cmocka_unit_test(cancelling_ends_at_once),
      cmocka_unit_test(nothing_decoded_is_a_failure),
      cmocka_unit_test(contradictions_are_refused_with_a_sentence),
      cmocka_unit_test(plan_knows_the_ladder_from_the_header),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
