/* watermark: the right samples at the right place and time, and not one other sample changed. */
#include <stdarg.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavutil/pixdesc.h>

#include "harness.h"

enum { WIDTH = 640, HEIGHT = 360, GREY = 60, WHITE = 235 };

static struct harness *start(const char *image) {
  struct harness *h = harness_create(PLUGIN_FILE, "watermark");
  if (image) harness_set(h, "image", image);
  return h;
}
static struct harness *start_text(const char *text) {
  struct harness *h = start(NULL);
  harness_set(h, "text", text);
  return h;
}

/* A grey frame; 16-bit samples for deep formats. */
static AVFrame *grey(int width, int height, enum AVPixelFormat format, int64_t pts) {
  const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
  AVFrame *frame = av_frame_alloc();
  frame->width = width, frame->height = height, frame->format = format, frame->pts = pts;
  assert_int_equal(av_frame_get_buffer(frame, 0), 0);
  for (int p = 0; p < 3; p++) {
    int rows = p ? -(-height >> d->log2_chroma_h) : height, value = (p ? 128 : GREY) << (d->comp[0].depth - 8);
    for (int y = 0; y < rows; y++)
      for (int x = 0; x < frame->linesize[p] / d->comp[0].step; x++) {
        uint8_t *row = frame->data[p] + (ptrdiff_t)y * frame->linesize[p];
        if (d->comp[0].step == 2) ((uint16_t *)row)[x] = (uint16_t)value;
        else row[x] = (uint8_t)value;
      }
  }
  return frame;
}

static int sample(const AVFrame *f, int plane, int x, int y) {
  const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)f->format);
  const uint8_t *row = f->data[plane] + (ptrdiff_t)y * f->linesize[plane];
  return d->comp[plane].step == 2 ? ((const uint16_t *)row)[x] : row[x];
}

static sm_stream stream(int width, int height, enum AVPixelFormat format) {
  return (sm_stream){.kind = SM_STREAM_VIDEO,
                     .port = "video",
                     .time_base = {1, 1000},
                     .width = width,
                     .height = height,
                     .pixel_format = format,
                     .frame_rate = {25, 1}};
}

/* Opens for grey frames and sends one; the emitted frame is the harness's. */
static const AVFrame *marked_as(struct harness *h, int width, int height, enum AVPixelFormat format) {
  static sm_stream in;
  in = stream(width, height, format);
  sm_status status = harness_media_open(h, &in, 1, 0);
  if (status != SM_OK) fail_msg("open: %s (%s)", harness_message(h), harness_debug(h));
  assert_int_equal(in.want_pixel_format, -1);
  AVFrame *frame = grey(width, height, format, 0);
  assert_int_equal(harness_media_frame(h, 0, frame), SM_OK);
  av_frame_free(&frame);
  return harness_emitted(h, 0);
}
static const AVFrame *marked(struct harness *h) { return marked_as(h, WIDTH, HEIGHT, AV_PIX_FMT_YUV420P); }

static void done(struct harness **h) {
  assert_int_equal(harness_media_close(*h, SM_OK), SM_OK);
  harness_destroy(h);
}

struct box {
  int x, y, w, h;
};

/* What differs from the background in a plane. */
static struct box changed(const AVFrame *f, int plane) {
  const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)f->format);
  int w = plane ? -(-f->width >> d->log2_chroma_w) : f->width,
      h = plane ? -(-f->height >> d->log2_chroma_h) : f->height;
  int left = w, top = h, right = -1, bottom = -1, background = (plane ? 128 : GREY) << (d->comp[0].depth - 8);
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++)
      if (sample(f, plane, x, y) != background) {
        left = x < left ? x : left, right = x > right ? x : right;
        top = y < top ? y : top, bottom = y;
      }
  return (struct box){left, top, right - left + 1, bottom - top + 1};
}

static void assert_box(struct box b, int x, int y, int w, int h) {
  if (b.x != x || b.y != y || b.w != w || b.h != h)
    fail_msg("the mark is at %d,%d %dx%d, not at %d,%d %dx%d", b.x, b.y, b.w, b.h, x, y, w, h);
}

static void goes_to_all_nine_positions(void **state) {
  static const struct {
    const char *position;
    int x, y;
  } cases[] = {{"top-left", 10, 10},     {"top", 288, 10},     {"top-right", 566, 10},
               {"left", 10, 164},        {"center", 288, 164}, {"right", 566, 164},
               {"bottom-left", 10, 318}, {"bottom", 288, 318}, {"bottom-right", 566, 318}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct harness *h = start(MEDIA "/white.png"); /* 64x32 */
    harness_set(h, "position", cases[i].position);
    harness_set(h, "margin", "10");
    const AVFrame *f = marked(h);
    assert_box(changed(f, 0), cases[i].x, cases[i].y, 64, 32);
    assert_int_equal(sample(f, 0, cases[i].x, cases[i].y), WHITE);
    assert_int_equal(sample(f, 0, cases[i].x + 63, cases[i].y + 31), WHITE);
    assert_int_equal(harness_result_int(h, "x"), cases[i].x);
    assert_int_equal(harness_result_int(h, "y"), cases[i].y);
    done(&h);
  }
}

static void takes_free_places_in_px_and_percent(void **state) {
  (void)state;
  struct harness *h = start(MEDIA "/white.png");
  harness_set(h, "x", "7");
  harness_set(h, "y", "50%");
  assert_box(changed(marked(h), 0), 7, 180, 64, 32);
  done(&h);
  h = start(MEDIA "/white.png"); /* x alone: y from the position */
  harness_set(h, "x", "100");
  harness_set(h, "position", "top-left");
  harness_set(h, "margin", "5%");
  assert_box(changed(marked(h), 0), 100, 18, 64, 32);
  done(&h);
  h = start(MEDIA "/white.png"); /* over the edge: clipped */
  harness_set(h, "x", "-30");
  harness_set(h, "y", "350");
  assert_box(changed(marked(h), 0), 0, 350, 34, 10);
  done(&h);
}

static void has_the_size_asked_for(void **state) {
  static const struct {
    const char *size;
    int w, h;
  } cases[] = {{"128", 128, 64}, {"10%", 64, 32}, {"16", 16, 8}, {"33", 33, 17}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct harness *h = start(MEDIA "/white.png");
    harness_set(h, "size", cases[i].size);
    harness_set(h, "x", "0");
    harness_set(h, "y", "0");
    const AVFrame *f = marked(h);
    assert_box(changed(f, 0), 0, 0, cases[i].w, cases[i].h);
    assert_int_equal(sample(f, 0, cases[i].w / 2, cases[i].h / 2), WHITE);
    done(&h);
  }
}

static void is_made_to_fit_a_small_video(void **state) {
  (void)state;
  struct harness *h = start(MEDIA "/white.png");
  harness_set(h, "size", "100%");
  harness_set(h, "margin", "20");
  harness_set(h, "position", "center");
  assert_box(changed(marked(h), 0), 20, 30, 600, 300);
  done(&h);
  h = start(MEDIA "/white.png");
  harness_set(h, "margin", "2");
  assert_box(changed(marked_as(h, 34, 20, AV_PIX_FMT_YUV420P), 0), 2, 3, 30, 15);
  done(&h);
}

static void opacity_mixes_exactly(void **state) {
  static const struct {
    const char *opacity;
    double alpha;
  } cases[] = {{"0.5", 0.5}, {"80%", 0.8}, {"1", 1}, {"0.25", 0.25}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct harness *h = start(MEDIA "/white.png");
    harness_set(h, "opacity", cases[i].opacity);
    harness_set(h, "position", "center");
    int expected = (int)lround(GREY * (1 - cases[i].alpha) + WHITE * cases[i].alpha);
    assert_in_range(sample(marked(h), 0, WIDTH / 2, HEIGHT / 2), expected - 1, expected + 1);
    done(&h);
  }
  struct harness *h = start(MEDIA "/white.png");
  harness_set(h, "opacity", "0");
  assert_box(changed(marked(h), 0), WIDTH, HEIGHT, -WIDTH, -HEIGHT);
  done(&h);
}

static void alpha_and_colour_of_the_picture_count(void **state) {
  (void)state;
  struct harness *h = start(MEDIA "/half_red.png"); /* red, alpha 0.5 */
  harness_set(h, "position", "center");
  const AVFrame *f = marked(h); /* 360 lines, untagged: BT.601, red is 81 90 240 */
  assert_in_range(sample(f, 0, 320, 180), (GREY + 81) / 2 - 1, (GREY + 81) / 2 + 1);
  assert_in_range(sample(f, 1, 160, 90), (128 + 90) / 2 - 1, (128 + 90) / 2 + 1);
  assert_in_range(sample(f, 2, 160, 90), (128 + 240) / 2 - 1, (128 + 240) / 2 + 1);
  done(&h);
  h = start(MEDIA "/blue.jpg");
  harness_set(h, "position", "center");
  f = marked_as(h, 1280, 720, AV_PIX_FMT_YUV420P); /* BT.709: blue is 32 240 118 */
  assert_in_range(sample(f, 0, 640, 360), 30, 35);
  assert_in_range(sample(f, 1, 320, 180), 236, 241);
  done(&h);
}

static void is_shown_in_its_time_range_only(void **state) {
  static const struct {
    int64_t ms;
    int shown;
  } cases[] = {{0, 0}, {999, 0}, {1000, 1}, {2499, 1}, {2500, 0}, {9000, 0}};
  sm_stream in = stream(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P);
  (void)state;
  struct harness *h = start(MEDIA "/white.png");
  harness_set(h, "from", "1s");
  harness_set(h, "to", "2500ms");
  harness_set(h, "position", "center");
  assert_int_equal(harness_media_open(h, &in, 1, 0), SM_OK);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    AVFrame *frame = grey(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P, cases[i].ms);
    assert_int_equal(harness_media_frame(h, 0, frame), SM_OK);
    assert_int_equal(sample(harness_emitted(h, i), 0, 320, 180), cases[i].shown ? WHITE : GREY);
    assert_int_equal(harness_emitted(h, i)->pts, cases[i].ms);
    av_frame_free(&frame);
  }
  done(&h);
}

static void every_planar_yuv_format_works(void **state) {
  static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P,     AV_PIX_FMT_YUV422P,     AV_PIX_FMT_YUV444P,
                                               AV_PIX_FMT_YUV411P,     AV_PIX_FMT_YUV440P,     AV_PIX_FMT_YUV420P10LE,
                                               AV_PIX_FMT_YUV422P10LE, AV_PIX_FMT_YUV444P12LE, AV_PIX_FMT_YUV444P16LE};
  (void)state;
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    for (int odd = 0; odd < 2; odd++) {
      const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(formats[i]);
      struct harness *h = start(MEDIA "/white.png");
      harness_set(h, "x", odd ? "101" : "100");
      harness_set(h, "y", odd ? "33" : "32");
      const AVFrame *f = marked_as(h, odd ? 333 : 334, odd ? 77 : 78, formats[i]);
      assert_box(changed(f, 0), 100 + odd, 32 + odd, 64, 32);
      assert_int_equal(sample(f, 0, 130, 50), WHITE << (d->comp[0].depth - 8));
      assert_int_equal(sample(f, 1, 130 >> d->log2_chroma_w, 50 >> d->log2_chroma_h), 128 << (d->comp[0].depth - 8));
      done(&h);
    }
}

static void chroma_at_odd_edges_is_mixed(void **state) {
  (void)state;
  struct harness *h = start(MEDIA "/half_red.png");
  harness_set(h, "x", "101"); /* the left chroma column stands for one pixel beside and one under the mark */
  harness_set(h, "y", "32");
  const AVFrame *f = marked(h);
  int inside = sample(f, 2, 55, 20) - 128, edge = sample(f, 2, 50, 20) - 128;
  assert_in_range(edge * 2, inside - 3, inside + 3);
  assert_int_equal(sample(f, 2, 49, 20), 128);
  done(&h);
}

static void asks_for_another_format_where_it_cannot_draw(void **state) {
  static const struct {
    enum AVPixelFormat from;
    int want;
  } cases[] = {{AV_PIX_FMT_RGB24, AV_PIX_FMT_YUV420P},
               {AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P},
               {AV_PIX_FMT_PAL8, AV_PIX_FMT_YUV420P},
               {AV_PIX_FMT_P010LE, AV_PIX_FMT_YUV420P10LE},
               {AV_PIX_FMT_YUVA420P, AV_PIX_FMT_YUV420P},
               {AV_PIX_FMT_GBRP, AV_PIX_FMT_YUV420P},
               {AV_PIX_FMT_GRAY8, AV_PIX_FMT_YUV420P},
               {AV_PIX_FMT_YUV420P10LE, -1},
               {AV_PIX_FMT_YUVJ420P, -1}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_stream in = stream(WIDTH, HEIGHT, cases[i].from);
    struct harness *h = start(MEDIA "/white.png");
    assert_int_equal(harness_media_open(h, &in, 1, 0), SM_OK);
    assert_int_equal(in.want_pixel_format, cases[i].want);
    assert_int_equal(harness_out(h, 0)->pixel_format, cases[i].want < 0 ? (int)cases[i].from : cases[i].want);
    assert_int_equal(in.want_sdr, 0);
    done(&h);
  }
}

static void white_on_hdr_is_graphics_white(void **state) {
  static const struct {
    enum AVColorTransferCharacteristic transfer;
    double signal;
  } cases[] = {{AVCOL_TRC_SMPTE2084, 0.5806},
               {AVCOL_TRC_ARIB_STD_B67, 0.75}}; /* ITU-R BT.2408 table 1: 58 % PQ, 75 % HLG */
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    sm_stream in = stream(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P10LE);
    struct harness *h = start(MEDIA "/white.png");
    harness_set(h, "position", "center");
    harness_set(h, "hdr", "keep");
    in.color_transfer = (int32_t)cases[i].transfer;
    assert_int_equal(harness_media_open(h, &in, 1, 0), SM_OK);
    assert_int_equal(in.want_sdr, 0);
    AVFrame *frame = grey(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P10LE, 0);
    frame->color_trc = cases[i].transfer;
    frame->colorspace = AVCOL_SPC_BT2020_NCL;
    assert_int_equal(harness_media_frame(h, 0, frame), SM_OK);
    int expected = (int)lround(64 + 876 * cases[i].signal);
    assert_in_range(sample(harness_emitted(h, 0), 0, 320, 180), expected - 4, expected + 4);
    assert_in_range(sample(harness_emitted(h, 0), 1, 160, 90), 510, 514);
    av_frame_free(&frame);
    done(&h);
  }
}

static void hdr_becomes_standard_range_unless_kept(void **state) {
  sm_stream in = stream(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P10LE);
  (void)state;
  struct harness *h = start(MEDIA "/white.png");
  in.color_transfer = AVCOL_TRC_SMPTE2084, in.color_primaries = AVCOL_PRI_BT2020;
  assert_int_equal(harness_media_open(h, &in, 1, 0), SM_OK);
  assert_int_equal(in.want_sdr, 1);
  assert_int_equal(in.want_pixel_format, AV_PIX_FMT_YUV420P);
  assert_int_equal(harness_out(h, 0)->color_transfer, AVCOL_TRC_BT709);
  assert_int_equal(harness_out(h, 0)->color_primaries, AVCOL_PRI_BT709);
  assert_int_equal(harness_out(h, 0)->pixel_format, AV_PIX_FMT_YUV420P);
  done(&h);
}

static void full_range_is_honoured(void **state) {
  (void)state;
  struct harness *h = start(MEDIA "/white.png");
  harness_set(h, "position", "center");
  const AVFrame *f = marked_as(h, WIDTH, HEIGHT, AV_PIX_FMT_YUVJ420P);
  assert_int_equal(sample(f, 0, 320, 180), 255);
  done(&h);
}

static void does_not_touch_a_frame_that_others_hold(void **state) {
  sm_stream in = stream(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P);
  (void)state;
  struct harness *h = start(MEDIA "/white.png");
  harness_set(h, "position", "center");
  assert_int_equal(harness_media_open(h, &in, 1, 0), SM_OK);
  AVFrame *frame = grey(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P, 1234), *held = av_frame_clone(frame);
  frame->color_primaries = AVCOL_PRI_BT709, frame->colorspace = AVCOL_SPC_BT709, frame->pkt_duration = 40;
  av_dict_set(&frame->metadata, "key", "value", 0);
  assert_int_equal(harness_media_frame(h, 0, frame), SM_OK);
  const AVFrame *out = harness_emitted(h, 0);
  assert_int_equal(sample(held, 0, 320, 180), GREY);
  assert_int_equal(sample(out, 0, 320, 180), WHITE);
  assert_int_equal(out->pts, 1234);
  assert_int_equal(out->pkt_duration, 40);
  assert_int_equal(out->color_primaries, AVCOL_PRI_BT709);
  assert_int_equal(out->colorspace, AVCOL_SPC_BT709);
  assert_string_equal(av_dict_get(out->metadata, "key", NULL, 0)->value, "value");
  av_frame_free(&frame);
  av_frame_free(&held);
  done(&h);
}

static void draws_in_place_when_nobody_else_holds_the_frame(void **state) {
  sm_stream in = stream(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P);
  (void)state;
  struct harness *h = start(MEDIA "/white.png");
  assert_int_equal(harness_media_open(h, &in, 1, 0), SM_OK);
  AVFrame *frame = grey(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P, 0);
  assert_int_equal(harness_media_frame(h, 0, frame), SM_OK);
  assert_ptr_equal(harness_emitted(h, 0)->data[0], frame->data[0]);
  av_frame_free(&frame);
  done(&h);
}

static void writes_text_with_the_font_that_ships(void **state) {
  (void)state;
  struct harness *h = start_text("stagemill");
  harness_set(h, "size", "40");
  harness_set(h, "position", "top-left");
  harness_set(h, "margin", "10");
  struct box b = changed(marked(h), 0);
  assert_int_equal(b.x, 10);
  assert_int_equal(b.y, 10);
  assert_in_range(b.w, 150, 230);
  assert_in_range(b.h, 30, 45);
  assert_true(harness_result_int(h, "width") == b.w || harness_result_int(h, "width") == b.w + 1);
  done(&h);
}

static int text_width(const char *text) {
  struct harness *h = start_text(text);
  harness_set(h, "size", "20");
  marked(h);
  int width = (int)harness_result_int(h, "width");
  done(&h);
  return width;
}

static void text_cannot_smuggle_in_options(void **state) {
  static const char *const nasty[] = {"a:textfile=/etc/passwd",
                                      "a':fontsize=99:text='b",
                                      "%{gmtime}",
                                      "%{eif:1:d:9}",
                                      "back\\slash",
                                      "[in];color",
                                      "50% off, 100% fun",
                                      "a,b;c[d]",
                                      "tab\there"};
  (void)state;
  for (size_t i = 0; i < sizeof nasty / sizeof *nasty; i++) {
    int width = text_width(nasty[i]); /* every letter is drawn: about half an em each */
    if (width < 5 * (int)strlen(nasty[i]))
      fail_msg("'%s' is only %d px wide: it was not drawn as it is", nasty[i], width);
  }
  int plain = text_width("%{n}"), expanded = text_width("0");
  assert_true(plain > 2 * expanded);
}

static void text_has_its_colour_and_lines(void **state) {
  (void)state;
  struct harness *h = start_text("MMMM");
  harness_set(h, "color", "#ff0000");
  harness_set(h, "size", "100");
  harness_set(h, "position", "center");
  const AVFrame *f = marked(h);
  int reddest = 0;
  for (int y = 0; y < 180; y++)
    for (int x = 0; x < 320; x++) reddest = sample(f, 2, x, y) > reddest ? sample(f, 2, x, y) : reddest;
  assert_in_range(reddest, 235, 241);
  int one = (int)harness_result_int(h, "height");
  done(&h);
  h = start_text("MMMM\nMMMM");
  harness_set(h, "size", "100");
  marked(h);
  assert_true(harness_result_int(h, "height") > 2 * one);
  done(&h);
}

static void plays_a_clip_frame_by_frame(void **state) {
  static const char *const clips[] = {MEDIA "/clip.mp4", MEDIA "/vfr.mp4", MEDIA "/odd.mkv", MEDIA "/hdr10.mp4"};
  static const size_t frames[] = {100, 0, 25, 24};
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    struct harness *h = start(MEDIA "/white.png");
    harness_set(h, "size", "20%");
    assert_int_equal(harness_play(h, &(struct harness_clip){.path = clips[i]}), SM_OK);
    assert_int_equal(harness_emitted_count(h), harness_frames_given(h));
    if (frames[i]) assert_int_equal(harness_emitted_count(h), frames[i]);
    for (size_t k = 1; k < harness_emitted_count(h); k++)
      assert_true(harness_emitted(h, k)->pts > harness_emitted(h, k - 1)->pts);
    harness_destroy(&h);
  }
}

static void refused(const char *const *settings, const char *words) {
  sm_stream in = stream(WIDTH, HEIGHT, AV_PIX_FMT_YUV420P);
  struct harness *h = start(NULL);
  for (; settings[0]; settings += 2) harness_set(h, settings[0], settings[1]);
  assert_int_equal(harness_media_open(h, &in, 1, 0), SM_FAIL);
  if (!strstr(harness_message(h), words)) fail_msg("'%s' does not say '%s'", harness_message(h), words);
  harness_destroy(&h);
}

#define REFUSED(words, ...) refused((const char *const[]){__VA_ARGS__, NULL}, words)
static void says_why_it_cannot(void **state) {
  (void)state;
  REFUSED("cannot be opened: No such file", "image", "/nowhere/logo.png");
  REFUSED("is no whole PNG, JPEG, WebP or BMP", "image", MEDIA "/broken.png");
  REFUSED("is no whole PNG, JPEG, WebP or BMP", "image", MEDIA "/text.mp4");
  REFUSED("is empty or no file", "image", MEDIA "/empty.mp4");
  REFUSED("is empty or no file", "image", MEDIA);
  REFUSED("there is nothing to lay over", "position", "top");
  REFUSED("contradict each other", "image", MEDIA "/white.png", "text", "x");
  REFUSED("is not between 0 and 1", "image", MEDIA "/white.png", "opacity", "1.5");
  REFUSED("would never be shown", "image", MEDIA "/white.png", "from", "5s", "to", "5s");
  REFUSED("lies outside of the 640x360 picture", "image", MEDIA "/white.png", "x", "640");
  REFUSED("is larger than the video", "image", MEDIA "/white.png", "size", "101%");
  REFUSED("is no colour", "text", "x", "color", "no:such");
  REFUSED("text is empty", "text", "");
  REFUSED("draws nothing", "text", "   ");
  REFUSED("cannot be read", "text", "x", "font", "/nowhere/font.ttf");
  REFUSED("is no font that can be read", "text", "x", "font", MEDIA "/text.mp4");
  sm_stream none = {0};
  struct harness *h = start(MEDIA "/white.png");
  assert_int_equal(harness_media_open(h, &none, 0, 0), SM_FAIL);
  assert_non_null(strstr(harness_message(h), "audio only"));
  harness_destroy(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(goes_to_all_nine_positions),
    cmocka_unit_test(takes_free_places_in_px_and_percent),
    cmocka_unit_test(has_the_size_asked_for),
    cmocka_unit_test(is_made_to_fit_a_small_video),
    cmocka_unit_test(opacity_mixes_exactly),
    cmocka_unit_test(alpha_and_colour_of_the_picture_count),
    cmocka_unit_test(is_shown_in_its_time_range_only),
    cmocka_unit_test(every_planar_yuv_format_works),
    cmocka_unit_test(chroma_at_odd_edges_is_mixed),
    cmocka_unit_test(asks_for_another_format_where_it_cannot_draw),
    cmocka_unit_test(white_on_hdr_is_graphics_white),
    cmocka_unit_test(hdr_becomes_standard_range_unless_kept),
    cmocka_unit_test(full_range_is_honoured),
    cmocka_unit_test(does_not_touch_a_frame_that_others_hold),
    cmocka_unit_test(draws_in_place_when_nobody_else_holds_the_frame),
    cmocka_unit_test(writes_text_with_the_font_that_ships),
    cmocka_unit_test(text_cannot_smuggle_in_options),
    cmocka_unit_test(text_has_its_colour_and_lines),
    cmocka_unit_test(plays_a_clip_frame_by_frame),
    cmocka_unit_test(says_why_it_cannot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
